// SPDX-License-Identifier: Apache-2.0

use std::io::{BufReader, Read};

use conex_sys::path::{Dir, Root};
use conex_testkit::tar::{self, archive};
use flate2::bufread::GzDecoder;

use super::*;

#[test]
fn sums_are_gos() {
    let mut crc = Crc64::default();
    crc.update(b"ne");
    crc.update(b"w");
    assert_eq!(crc.sum(), [0x2a, 0xb2, 0xdd, 0xb0, 0, 0, 0, 0]);
}

#[test]
fn an_archive_comes_apart_and_together() {
    let long = "d/".repeat(80) + "name";
    let bytes = archive(&[
        tar::directory("./"),
        tar::file("a", "content").owner(7, 8),
        tar::file("empty", ""),
        tar::file("b", vec![1; 1000]).pax("path", &long),
        tar::symlink("l", "a"),
        tar::hardlink("h", "a"),
    ]);
    let bytes = [bytes, vec![0; 3000]].concat();
    let mut splitter = Splitter::new(BufReader::with_capacity(77, &bytes[..]), Vec::new());
    let mut passed = Vec::new();
    splitter.read_to_end(&mut passed).unwrap();
    assert_eq!(passed, bytes);
    let (notes, anatomy) = splitter.finish().unwrap();
    assert_eq!(anatomy.size, bytes.len() as u64);
    assert!(anatomy.has_root && anatomy.uids.contains(&7) && anatomy.gids.contains(&8));

    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("a"), "content").unwrap();
    let path = scratch.path().join(&long);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, vec![1; 1000]).unwrap();
    let lines = || BufReader::new(GzDecoder::new(&notes[..]));
    let files = || Root::new(Dir::open_host(scratch.path()).unwrap());
    assert_eq!(Joined::measure(&mut lines()).unwrap(), anatomy.size);
    let mut back = Vec::new();
    Joined::new(lines(), files()).read_to_end(&mut back).unwrap();
    assert_eq!(back, bytes);

    for (content, complaint) in [("cont3nt", "has changed"), ("cont", "is shorter")] {
        std::fs::write(scratch.path().join("a"), content).unwrap();
        let error = Joined::new(lines(), files()).read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains(complaint), "{error}");
    }
    std::fs::remove_file(scratch.path().join("a")).unwrap();
    assert!(Joined::new(lines(), files()).read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn what_is_no_archive_passes_whole() {
    for bytes in [&b"short"[..], &[7; 5000], &[0; 1024]] {
        let mut splitter = Splitter::new(bytes, Vec::new());
        std::io::copy(&mut splitter, &mut std::io::sink()).unwrap();
        let (notes, _) = splitter.finish().unwrap();
        let lines = BufReader::new(GzDecoder::new(&notes[..]));
        let mut back = Vec::new();
        let scratch = tempfile::tempdir().unwrap();
        let files = Root::new(Dir::open_host(scratch.path()).unwrap());
        Joined::new(lines, files).read_to_end(&mut back).unwrap();
        assert_eq!(back, bytes);
    }
}
