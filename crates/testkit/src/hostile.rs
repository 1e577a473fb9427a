// SPDX-License-Identifier: Apache-2.0
//! Layers that want out, lie, or never end: one case for each way that has been tried on somebody. The letters are
//! classes: L links and names, P the archive's own format, G good ones that a careless defence refuses.

use crate::image::{Compression, Layer};
use crate::tar::{self, Entry, Kind};

/// What must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An error.
    Refused,
    /// An error or not, as long as nothing outside is touched.
    Contained,
    /// Unpacked: real images have it.
    Accepted,
}

/// One image's layers.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: &'static str,
    pub verdict: Verdict,
    /// Tar archives, the lowest first.
    pub layers: Vec<Vec<u8>>,
}

impl Case {
    /// The layers as they are stored.
    pub fn stored(&self, compression: Compression) -> Vec<Layer> {
        self.layers.iter().map(|archive| Layer::of_tar(archive, compression)).collect()
    }
}

/// All cases. `victim` is a directory outside, with a file `hello` in it.
pub fn cases(victim: &str) -> Vec<Case> {
    let up = format!("{}{}", "../".repeat(20), victim.trim_start_matches('/'));
    let mut cases = links(victim, &up);
    cases.extend(whiteouts(&up));
    cases.extend(formats());
    cases.extend(good());
    cases
}

fn case<const N: usize>(name: &'static str, verdict: Verdict, layers: [&[Entry]; N]) -> Case {
    Case { name, verdict, layers: layers.iter().map(|entries| tar::archive(entries)).collect() }
}

fn links(victim: &str, up: &str) -> Vec<Case> {
    use Verdict::{Contained, Refused};
    let hello = format!("{up}/hello");
    let out = tar::symlink("out", victim);
    vec![
        case("L01 a name that climbs", Contained, [&[tar::file(&hello, "x")]]),
        case("L02 an absolute name", Contained, [&[tar::file(&format!("{victim}/hello"), "x")]]),
        case("L03 through a symlink", Contained, [&[out.clone(), tar::file("out/hello", "x")]]),
        case(
            "L04 through a symlink of the layer below",
            Contained,
            [std::slice::from_ref(&out), &[tar::file("out/hello", "x")]],
        ),
        case(
            "L05 through two symlinks",
            Contained,
            [&[tar::symlink("a", "b"), tar::symlink("b", up), tar::file("a/hello", "x")]],
        ),
        case("L06 the root as a symlink", Refused, [&[tar::symlink("./", victim), tar::file("hello", "x")]]),
        case(
            "L07 the root as a symlink, then a layer",
            Refused,
            [&[tar::symlink(".", "/")], &[tar::file("hello", "x")]],
        ),
        case("L09 a file over a symlink", Contained, [&[tar::symlink("f", &hello), tar::file("f", "x")]]),
        case("L10 a hard link outside", Refused, [&[tar::hardlink("f", &hello)]]),
        case(
            "L11 a hard link to a symlink, then a mode",
            Contained,
            [&[tar::symlink("s", &hello), tar::hardlink("h", "s"), tar::file("h", "x").mode(0o777)]],
        ),
        case(
            "L12 a directory over a symlink",
            Contained,
            [&[out.clone(), tar::directory("out").mode(0o777)]],
        ),
        case(
            "L13 directories made through a symlink",
            Contained,
            [&[out.clone(), tar::directory("out/new/deep")]],
        ),
        case("L14 a hard link through a symlink", Refused, [&[out.clone(), tar::hardlink("f", "out/hello")]]),
        case("L15 a hard link to the root", Refused, [&[tar::hardlink("f", "/")]]),
        case("L16 a hard link to itself", Refused, [&[tar::hardlink("f", "f")]]),
        case(
            "L17 symlinks in a circle",
            Refused,
            [&[tar::symlink("a", "b"), tar::symlink("b", "a"), tar::file("a/f", "x")]],
        ),
        case(
            "L18 /proc/self/fd",
            Contained,
            [&[tar::symlink("p", "/proc/self/root"), tar::file(&format!("p{victim}/hello"), "x")]],
        ),
        case(
            "L19 a device, then through it",
            Contained,
            [&[Entry::new("d", Kind::Block(8, 0), 0o666), tar::file("d", "x")]],
        ),
        case(
            "L32 a device number that there is not",
            Refused,
            [&[Entry::new("d", Kind::Character(1 << 20, 1), 0o666)]],
        ),
        case("L34 a name without end", Refused, [&[tar::file("x", "").pax("path", "a".repeat(100_000))]]),
    ]
}

fn whiteouts(up: &str) -> Vec<Case> {
    use Verdict::{Contained, Refused};
    let mut opaque = vec![tar::directory("d")];
    opaque.extend((0..20_000).map(|_| tar::opaque("d")));
    vec![
        case("L20 a whiteout that climbs", Contained, [&[tar::file(&format!("{up}/.wh.hello"), "")]]),
        case("L21 a whiteout of ..", Refused, [&[tar::file("d/.wh...", "")]]),
        case("L22 a whiteout of nothing", Refused, [&[tar::file(".wh.", "")]]),
        case(
            "L23 an opaque directory that climbs",
            Contained,
            [&[tar::file(&format!("{up}/.wh..wh..opq"), "")]],
        ),
        case("L24 the same directory opaque again and again", Contained, [&[tar::file("d/f", "x")], &opaque]),
        case(
            "L25 a whiteout through a symlink",
            Contained,
            [&[tar::symlink("out", up)], &[tar::file("out/.wh.hello", "")]],
        ),
        case(
            "L28 attributes through a symlink",
            Contained,
            [&[tar::symlink("f", &format!("{up}/hello")).xattr("user.note", "x")]],
        ),
        case("L30 an attribute without a name", Contained, [&[tar::file("f", "x").xattr("", "x")]]),
    ]
}

fn formats() -> Vec<Case> {
    use Verdict::{Contained, Refused};
    let hidden = tar::archive(&[tar::file("smuggled", "x")]);
    let cut = |mut archive: Vec<u8>, len: usize| {
        archive.truncate(len);
        archive
    };
    let of = |name, verdict, layer| Case { name, verdict, layers: vec![layer] };
    let plain = tar::archive(&[tar::file("f", "x".repeat(3000))]);
    let mut checksum = plain.clone();
    checksum[150] ^= 1;
    vec![
        case(
            "P01 a PAX size over the header's",
            Contained,
            [&[tar::file("f", &hidden).claim_size(0).pax("size", hidden.len().to_string())]],
        ),
        case(
            "P03 a PAX record that is shorter than it says",
            Refused,
            [&[Entry::new("x", Kind::Raw(b'x', b"99 path=a\n".to_vec()), 0o644), tar::file("f", "x")]],
        ),
        case(
            "P04 a PAX record without a number",
            Refused,
            [&[Entry::new("x", Kind::Raw(b'x', b"path=a\n".to_vec()), 0o644), tar::file("f", "x")]],
        ),
        case("P05 a PAX size that is none", Refused, [&[tar::file("f", "x").pax("size", "many")]]),
        case("P06 a negative PAX size", Refused, [&[tar::file("f", "x").pax("size", "-1")]]),
        case("P07 a size beyond the end", Refused, [&[tar::file("f", "x").claim_size(1 << 33)]]),
        case(
            "P08 a size that overflows",
            Refused,
            [&[tar::file("f", "x").pax("size", u64::MAX.to_string())]],
        ),
        case(
            "P09 PAX headers without end",
            Refused,
            [&[tar::file("f", "x").pax("comment", vec![b'x'; 4 << 20])]],
        ),
        case(
            "P10 holes without end",
            Contained,
            [&[tar::file("f", "")
                .pax("GNU.sparse.major", "1")
                .pax("GNU.sparse.minor", "0")
                .pax("GNU.sparse.realsize", (1_u64 << 62).to_string())]],
        ),
        of("P11 cut off in a header", Refused, cut(plain.clone(), 100)),
        of("P12 cut off in a file", Refused, cut(plain, 2000)),
        of("P14 a wrong checksum", Refused, checksum),
        case(
            "P15 a type that there is not",
            Contained,
            [&[Entry::new("f", Kind::Raw(b'Z', b"x".to_vec()), 0o644)]],
        ),
        of("P16 no archive at all", Refused, b"this is not a tar archive".repeat(100)),
    ]
}

fn good() -> Vec<Case> {
    use Verdict::Accepted;
    vec![
        case(
            "G01 an absolute symlink among the parents",
            Accepted,
            [&[tar::directory("usr/lib"), tar::symlink("lib", "/usr/lib"), tar::file("lib/so", "x")]],
        ),
        case(
            "G02 a symlink among the parents, from the layer below",
            Accepted,
            [&[tar::directory("usr/lib"), tar::symlink("lib", "usr/lib")], &[tar::file("lib/so", "x")]],
        ),
        case("G03 an absolute hard link", Accepted, [&[tar::file("f", "x"), tar::hardlink("g", "/f")]]),
        case(
            "G04 names with ./",
            Accepted,
            [&[tar::directory("./"), tar::directory("./d"), tar::file("./d/f", "x")]],
        ),
        case(
            "G05 a symlink that leads nowhere",
            Accepted,
            [&[tar::symlink("s", "/nowhere"), tar::symlink("t", "../../x")]],
        ),
        case(
            "G06 a directory that is there already",
            Accepted,
            [&[tar::directory("d"), tar::file("d/f", "x"), tar::directory("d").mode(0o700)]],
        ),
        case(
            "G07 a whiteout of what is not there",
            Accepted,
            [&[tar::file("f", "x")], &[tar::whiteout("g")]],
        ),
        case("G08 an empty layer", Accepted, [&[], &[tar::file("f", "x")]]),
    ]
}
