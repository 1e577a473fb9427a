// SPDX-License-Identifier: Apache-2.0

use std::io::Read;
use std::path::Path;

use super::*;
use crate::ErrorKind;

/// Reads a whole archive: entries with their data.
fn read(archive: &[u8]) -> crate::Result<Vec<(Entry, Vec<u8>)>> {
    let mut reader = Reader::new(archive);
    let mut members = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut data = Vec::new();
        reader.data().read_to_end(&mut data)?;
        members.push((entry, data));
    }
    Ok(members)
}

fn write(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in entries {
        writer.append(entry, &mut &data[..]).unwrap();
    }
    writer.finish().unwrap()
}

fn samples() -> Vec<(Entry, &'static [u8])> {
    let long = format!("{}/{}", "d".repeat(120), "n".repeat(200));
    let mut odd = Entry::new(long.clone(), Kind::file(5), 0o4755);
    odd.uid = 4_000_000_000;
    odd.gid = 70_000_000;
    odd.mtime = Time { sec: -2, nsec: 500_000_000 };
    odd.atime = Some(Time { sec: 3, nsec: 1 });
    odd.xattrs = vec![
        Xattr { name: b"user.a".to_vec(), value: b"1\n2=\0".to_vec() },
        Xattr { name: b"security.capability".to_vec(), value: vec![1, 0, 0, 2] },
    ];
    vec![
        (Entry::new("", Kind::Directory, 0o755), b""),
        (Entry::new("etc", Kind::Directory, 0o1777), b""),
        (odd, b"hello"),
        (Entry::new("etc/empty", Kind::file(0), 0o600), b""),
        (Entry::new("etc/link", Kind::Link { target: long.into() }, 0o644), b""),
        (Entry::new("abs", Kind::Symlink { target: "/etc/../x".into() }, 0o777), b""),
        (Entry::new("null", Kind::Char { major: 1, minor: 3 }, 0o666), b""),
        (Entry::new("sda", Kind::Block { major: 8, minor: 0 }, 0o660), b""),
        (Entry::new("pipe", Kind::Fifo, 0o600), b""),
    ]
}

#[test]
fn what_is_written_is_read_back() {
    let archive = write(&samples());
    assert_eq!(archive.len() % BLOCK, 0);
    let members = read(&archive).unwrap();
    let expected: Vec<_> = samples().into_iter().map(|(entry, data)| (entry, data.to_vec())).collect();
    assert_eq!(members, expected);
    assert_eq!(write(&samples()), archive, "the same input must give the same bytes");
}

/// One raw header, with fields to overwrite; the checksum is put right afterwards.
fn raw(name: &[u8], kind: u8, size: &[u8], change: impl Fn(&mut [u8; BLOCK])) -> Vec<u8> {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name);
    block[header::MODE].copy_from_slice(b"0000644\0");
    block[header::UID].copy_from_slice(b"0000000\0");
    block[header::GID].copy_from_slice(b"0000000\0");
    block[header::SIZE][..size.len()].copy_from_slice(size);
    block[header::MTIME].copy_from_slice(b"00000000000\0");
    block[header::TYPE] = kind;
    block[header::MAGIC].copy_from_slice(b"ustar\x0000");
    change(&mut block);
    block[header::CHECKSUM].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[header::CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.to_vec()
}

/// A record with the right length.
fn record(key: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    pax::put(&mut out, key.as_bytes(), value.as_bytes());
    out
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn octal(n: usize) -> Vec<u8> {
    format!("{n:011o}\0").into_bytes()
}

/// An extended header of `kind` with this content, then a plain file `a` of three bytes.
fn extended(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut out = raw(b"x", kind, &octal(content.len()), |_| {});
    out.extend(padded(content));
    out.extend(raw(b"a", b'0', &octal(3), |_| {}));
    out.extend(padded(b"abc"));
    out.extend([0; 2 * BLOCK]);
    out
}

#[test]
fn an_archive_may_end_without_its_last_padding() {
    let unpadded = [raw(b"a", b'0', &octal(3), |_| {}), b"abc".to_vec()].concat();
    for archive in [unpadded.clone(), [unpadded, vec![0; 7]].concat()] {
        let members = read(&archive).unwrap();
        assert_eq!(members.len(), 1);
        assert_eq!(members[0].1, b"abc");
    }
}

#[test]
fn hostile_or_ambiguous_archives_are_refused() {
    let plain = |name: &[u8]| [raw(name, b'0', &octal(0), |_| {}), vec![0; 1024]].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "P: bad checksum",
            {
                let mut a = plain(b"a");
                a[0] = b'b';
                a
            },
            "checksum",
        ),
        ("P: negative size", raw(b"a", b'0', &[0xff; 12], |_| {}), "negative"),
        ("P: enormous size", raw(b"a", b'0', b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", |_| {}), "size"),
        ("P: octal with a letter", raw(b"a", b'0', b"0000000000z\0", |_| {}), "size is not a number"),
        (
            "P: uid over 32 bits",
            raw(b"a", b'0', &octal(0), |b| b[header::UID].copy_from_slice(&[0x80, 0, 0, 1, 0, 0, 0, 0])),
            "uid is too large",
        ),
        ("P: unknown type", raw(b"a", b'V', &octal(0), |_| {}), "unknown type 'V'"),
        ("P: truncated header", plain(b"a")[..300].to_vec(), "ends in the middle"),
        ("P: truncated data", raw(b"a", b'0', &octal(9), |_| {}), "ends in the middle"),
        ("P: record length too long", extended(b'x', b"99 path=b\n"), "length does not fit"),
        ("P: record length zero", extended(b'x', b"0 path=b\n"), "length does not fit"),
        ("P: record without newline", extended(b'x', b"10 path=bb"), "without end"),
        ("P: record without =", extended(b'x', b"9 pathbb\n"), "without ="),
        ("P: record with text length", extended(b'x', b"x path=b\n"), "not a number"),
        ("P: NUL in a path", extended(b'x', &record("path", "b\0c")), "malformed value"),
        ("P: size not a number", extended(b'x', &record("size", "-1")), "malformed value"),
        (
            "P: two different paths",
            {
                let mut a = raw(b"x", b'L', &octal(3), |_| {});
                a.extend(padded(b"zz\0"));
                a.extend(extended(b'x', b"9 path=b\n"));
                a
            },
            "different paths",
        ),
        (
            "P: extended header at the end",
            {
                let mut a = raw(b"x", b'x', &octal(9), |_| {});
                a.extend(padded(b"9 path=b\n"));
                a.extend([0; 1024]);
                a
            },
            "at the end",
        ),
        ("P: gigantic extended header", raw(b"x", b'x', &octal(1 << 30), |_| {}), "1 MiB"),
        ("L: climbing name", plain(b"a/../../b"), ".. component"),
        (
            "L: climbing link",
            raw(b"a", b'1', &octal(0), |b| b[header::LINK][..5].copy_from_slice(b"../..")),
            ".. component",
        ),
        ("L: empty name", plain(b""), "empty"),
        ("L: long component", extended(b'x', &record("path", &"n".repeat(297))), "255"),
        (
            "P: overlapping sparse map",
            extended(b'x', &[record("GNU.sparse.size", "9"), record("GNU.sparse.map", "0,2,1,1")].concat()),
            "overlap",
        ),
    ];
    for (name, archive, complaint) in cases {
        let error = read(&archive).expect_err(name);
        assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Hostile), "{name}: {error}");
        assert!(error.to_string().contains(complaint), "{name}: {error}");
    }
}

#[test]
fn extended_headers_win_over_the_plain_one() {
    let archive = extended(
        b'x',
        &[record("mtime", "1350244992.023960108"), record("path", "b"), record("SCHILY.xattr.user.x", "")]
            .concat(),
    );
    let members = read(&archive).unwrap();
    assert_eq!(members[0].0.path, Path::new("b"));
    assert_eq!(members[0].0.mtime, Time { sec: 1_350_244_992, nsec: 23_960_108 });
    assert_eq!(members[0].0.xattrs, [Xattr { name: b"user.x".to_vec(), value: Vec::new() }]);
    // The size in an extended header is the one that counts: what follows is not taken for headers.
    let mut archive = raw(b"x", b'x', &octal(12), |_| {});
    archive.extend(padded(b"12 size=600\n"));
    archive.extend(raw(b"a", b'0', &octal(0), |_| {}));
    archive.extend(padded(&[b'z'; 600]));
    archive.extend([0; 1024]);
    assert_eq!(read(&archive).unwrap()[0].1, [b'z'; 600]);
}

#[test]
fn global_headers_and_leading_slashes_mean_nothing() {
    let members = read(&extended(b'g', b"9 path=b\n")).unwrap();
    assert_eq!(members[0].0.path, Path::new("a"));
    let archive = raw(b"/.//./a/b/", b'5', &octal(0), |_| {});
    assert_eq!(read(&archive).unwrap()[0].0.path, Path::new("a/b"));
}

#[test]
fn libarchive_xattrs_are_understood() {
    let archive = extended(b'x', &record("LIBARCHIVE.xattr.user.a%20b", "aGVsbG8"));
    let expected = Xattr { name: b"user.a b".to_vec(), value: b"hello".to_vec() };
    assert_eq!(read(&archive).unwrap()[0].0.xattrs, [expected]);
}

#[test]
fn base_256_numbers() {
    assert_eq!(header::number(&[0xff; 8]), Some(-1));
    assert_eq!(header::number(&[0x80, 0, 0, 0, 0, 0, 1, 0]), Some(256));
    assert_eq!(header::number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]), Some(-256));
    assert_eq!(
        header::number(&[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        None
    );
    assert_eq!(header::octal(b" 644 \0"), Some(0o644));
    assert_eq!(header::octal(b"\0\0\0"), Some(0));
}

#[test]
fn times_before_1970_round_trip() {
    for time in [Time { sec: -1, nsec: 999_999_999 }, Time { sec: -1, nsec: 0 }, Time { sec: 5, nsec: 10 }] {
        assert_eq!(pax::time(pax::time_text(time).as_bytes()), Some(time));
    }
    assert_eq!(pax::time(b"-1.5"), Some(Time { sec: -2, nsec: 500_000_000 }));
    assert_eq!(pax::time(b"1.x"), None);
}

/// GNU tar reads what is written here, and what GNU tar writes in each of its formats is read here.
#[test]
fn gnu_tar_agrees() {
    if std::process::Command::new("tar").arg("--version").output().is_err() {
        eprintln!("SKIP gnu_tar_agrees: no tar program");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    let long = format!("{}/{}", "d".repeat(150), "n".repeat(180));
    std::fs::create_dir_all(tree.join(&long).parent().unwrap()).unwrap();
    std::fs::write(tree.join(&long), "long").unwrap();
    std::fs::hard_link(tree.join(&long), tree.join("second")).unwrap();
    std::os::unix::fs::symlink("x".repeat(170), tree.join("symlink")).unwrap();
    let sparse = std::fs::File::create(tree.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"middle", 100_000).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 3_000_000).unwrap();
    drop(sparse);
    for format in [
        &["--format=gnu"][..],
        &["--format=pax"],
        &["--format=gnu", "--sparse"],
        &["--format=pax", "--sparse", "--sparse-version=0.0"],
        &["--format=pax", "--sparse", "--sparse-version=0.1"],
        &["--format=pax", "--sparse", "--sparse-version=1.0"],
    ] {
        let output = std::process::Command::new("tar")
            .args(format)
            .args(["--sort=name", "--numeric-owner", "-cf", "-", "-C"])
            .arg(&tree)
            .arg(".")
            .output()
            .unwrap();
        assert!(output.status.success(), "{format:?}");
        let members = read(&output.stdout).unwrap_or_else(|e| panic!("{format:?}: {e}"));
        let find = |path: &str| members.iter().find(|m| m.0.path == Path::new(path)).unwrap();
        assert_eq!(find(&long).1, b"long", "{format:?}");
        assert_eq!(find("second").0.kind, Kind::Link { target: long.clone().into() }, "{format:?}");
        assert_eq!(find("symlink").0.kind, Kind::Symlink { target: "x".repeat(170).into() });
        let (entry, data) = find("sparse");
        let Kind::File { size, holes } = &entry.kind else { panic!("{format:?}") };
        assert_eq!(*size, 3_000_003);
        let mut whole = vec![0; 3_000_003];
        let mut stored = data.as_slice();
        for segment in holes.clone().unwrap_or_else(|| vec![Segment { offset: 0, len: *size }]) {
            let (now, later) = stored.split_at(usize::try_from(segment.len).unwrap());
            let at = usize::try_from(segment.offset).unwrap();
            whole[at..at + now.len()].copy_from_slice(now);
            stored = later;
        }
        assert_eq!(holes.is_some(), format.contains(&"--sparse"), "{format:?}");
        assert_eq!(
            (&whole[100_000..100_006], &whole[3_000_000..]),
            (&b"middle"[..], &b"end"[..]),
            "{format:?}"
        );
        assert_eq!(whole.iter().filter(|b| **b != 0).count(), 9, "{format:?}");
    }
}
