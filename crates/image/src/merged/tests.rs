// SPDX-License-Identifier: Apache-2.0

use std::path::Path;

use conex_spec::image::Platform;
use conex_spec::image::media_type::Compression;
use conex_sys::path::Dir;

use super::*;
use crate::layer::apply::{Below, Form, Options, Owner, Tree};
use crate::layer::compare::compare;
use crate::layer::tar::{Segment, Time, Writer};
use crate::snapshot::Stack;
use crate::testing::{Layer, Memory};

fn image(layers: Vec<Vec<u8>>) -> (Memory, Image) {
    let memory = Memory::image(&layers, Compression::None);
    let image = Image::load(&memory, &Platform::host()).unwrap();
    (memory, image)
}

fn tree(directory: &Path) -> Tree {
    let is_root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(directory).unwrap()) == 0;
    let options = Options {
        form: Form::Plain { keep_dirlinks: false },
        owner: if is_root { Owner::Keep } else { Owner::Caller },
        unprivileged: !is_root,
        limits: Limits::default(),
        digests: false,
    };
    Tree::new(Dir::open_host(directory).unwrap(), options, Below::Layers(Stack::empty())).unwrap()
}

fn applied(directory: &Path, layers: &[Vec<u8>]) -> Result<()> {
    let mut tree = tree(directory);
    for layer in layers {
        tree.apply(&layer[..])?;
    }
    tree.finish().map(drop)
}

/// Whether what is written of these layers unpacks to the same as the layers do.
fn check(layers: Vec<Vec<u8>>, what: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| {
        let path = scratch.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    });
    let expected = applied(&one, &layers);
    let (memory, image) = image(layers);
    let found = Merged::read(&image, &memory, Hash::Files);
    let merged = match (expected, found) {
        (Ok(()), Ok(merged)) => merged,
        (Err(expected), Err(found)) => {
            assert_eq!(expected.kind(), found.kind(), "{what}: {expected}, but {found}");
            return;
        }
        (expected, found) => panic!("{what}: {expected:?}, but {:?}", found.map(drop)),
    };
    let flat = merged.write(&image, &memory, Vec::new(), None, For::Layer).unwrap();
    applied(&two, std::slice::from_ref(&flat)).unwrap();
    let [one, two] = [one, two].map(|path| Dir::open_host(&path).unwrap());
    assert_eq!(compare(&one, &two).unwrap(), None, "{what}");
    let (flat, flat_image) = self::image(vec![flat]);
    let flat = Merged::read(&flat_image, &flat, Hash::Files).unwrap();
    assert_eq!(merged.compare(&flat), [], "{what}");
}

/// Numbers that look like chance and are the same every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn name(&mut self) -> &'static str {
        ["a", "b", "c", "d"][self.below(4) as usize]
    }

    fn path(&mut self) -> PathBuf {
        (0..=self.below(3)).map(|_| self.name()).collect()
    }

    fn entry(&mut self) -> (Entry, Vec<u8>) {
        let path = self.path();
        let data = vec![b'x'; self.below(4) as usize];
        let kind = match self.below(16) {
            0..5 => Kind::Directory,
            5..8 => Kind::file(data.len() as u64),
            8..10 => Kind::Link { target: self.path() },
            10 => Kind::Symlink { target: self.path().into() },
            11 => Kind::Symlink { target: Path::new("..").join(self.path()).into() },
            12 => Kind::Fifo,
            13 => return (Entry::new(path.join(".wh..wh..opq"), Kind::file(0), 0), Vec::new()),
            _ => {
                let name = format!(".wh.{}", self.name());
                return (Entry::new(path.with_file_name(name), Kind::file(0), 0), Vec::new());
            }
        };
        let mut entry = Entry::new(path, kind, 0o700 + self.below(8) as u32);
        entry.mtime = Time { sec: self.below(1 << 30) as i64, nsec: self.below(2) as u32 * 5000 };
        let data = if matches!(entry.kind, Kind::File { .. }) { data } else { Vec::new() };
        (entry, data)
    }

    fn layer(&mut self) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for _ in 0..=self.below(12) {
            let (entry, data) = self.entry();
            writer.append(&entry, &mut &data[..]).unwrap();
        }
        writer.finish().unwrap()
    }
}

#[test]
fn any_layers_merge_to_what_they_unpack_to() {
    for seed in 1..conex_testkit::effort::rounds(150, 10_000) as u64 {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let layers = (0..=chance.below(4)).map(|_| chance.layer()).collect();
        check(layers, &format!("seed {seed}"));
    }
}

#[test]
fn second_names_survive_the_first() {
    let lower =
        Layer::new().dir("d", 0o755).file("d/a", "content").link("b", "d/a").symlink("l", "d").link("m", "l");
    let upper = Layer::new().file(".wh.d", "").file("c", "x").file("d/new", "y");
    check(vec![lower.tar(), upper.tar()], "the first name is gone");
    let lower = Layer::new().file("a", "1").link("b", "a");
    let upper = Layer::new().link("z", "b").file("b", "2").file("a", "3");
    check(vec![lower.tar(), upper.tar()], "both names are replaced");
}

#[test]
fn what_is_hostile_in_a_layer_is_refused() {
    for layer in [
        Layer::new().link("a", "b"),
        Layer::new().dir("d", 0o755).link("a", "d"),
        Layer::new().file("a", "").link("a", "a"),
        Layer::new().symlink("a", "b").symlink("b", "a").file("a/x", ""),
        Layer::new().file(".wh.", ""),
        Layer::new().file(".wh...", ""),
    ] {
        let (memory, image) = image(vec![layer.tar()]);
        let error = Merged::read(&image, &memory, Hash::No).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Hostile, "{error}");
    }
}

#[test]
fn files_are_found_through_the_images_own_links() {
    let layer =
        Layer::new().file("usr/lib/os-release", "ID=x").symlink("etc/os-release", "../usr/lib/os-release");
    let layer =
        layer.symlink("lib", "/usr/lib").symlink("out", "../../../etc/passwd").symlink("loop", "loop");
    let (memory, image) = image(vec![layer.tar()]);
    let merged = Merged::read(&image, &memory, Hash::No).unwrap();
    for path in ["/etc/os-release", "lib/os-release", "usr/../lib/os-release"] {
        let mut output = Vec::new();
        merged.write_file(&image, &memory, Path::new(path), &mut output).unwrap();
        assert_eq!(output, b"ID=x", "{path}");
    }
    for path in ["out", "none", "loop", "usr", "usr/lib/os-release/x"] {
        assert!(merged.write_file(&image, &memory, Path::new(path), &mut Vec::new()).is_err(), "{path}");
    }
}

#[test]
fn holes_are_filled() {
    let segments = vec![Segment { offset: 3, len: 2 }, Segment { offset: 7, len: 1 }];
    let entry = Entry::new("f", Kind::File { size: 10, holes: Some(segments) }, 0);
    let mut data = &b"abc"[..];
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut Expanded::new(&entry, &mut data), &mut content).unwrap();
    assert_eq!(content, b"\0\0\0ab\0\0c\0\0");
    let mut cut = &b"ab"[..];
    assert!(std::io::Read::read_to_end(&mut Expanded::new(&entry, &mut cut), &mut Vec::new()).is_err());
}

#[test]
fn differences_are_named() {
    let xattr = |value: &[u8]| Layer::new().xattr_file("x", "user.a", value);
    let one = xattr(b"1").file("same", "1").file("f", "1").dir("d", 0o755).link("l", "f").file("gone", "");
    let two = xattr(b"2").file("same", "1").file("f", "2").dir("d", 0o700).file("l", "2").symlink("new", "x");
    let read = |layer: Layer| {
        let (memory, image) = image(vec![layer.tar()]);
        Merged::read(&image, &memory, Hash::Files).unwrap()
    };
    let told: Vec<_> = read(one)
        .compare(&read(two))
        .into_iter()
        .map(|difference| format!("{} {:?}", difference.path.display(), difference.change))
        .collect();
    let expected = [
        "d Changed([\"mode\"])",
        "f Changed([\"content\", \"links\"])",
        "gone Removed",
        "l Changed([\"content\", \"links\"])",
        "new Added",
        "x Changed([\"xattrs\"])",
    ];
    assert_eq!(told, expected);
}
