// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::path::Path;

use conex_spec::image::Manifest;
use conex_spec::image::annotation::TITLE;

use super::*;

/// A tree with a file, a directory and a link in it.
fn tree() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("notes.txt"), "hello").unwrap();
    fs::create_dir_all(scratch.path().join("dir/below")).unwrap();
    fs::write(scratch.path().join("dir/below/deep"), "x".repeat(100_000)).unwrap();
    std::os::unix::fs::symlink("below/deep", scratch.path().join("dir/link")).unwrap();
    scratch
}

/// As from within the directory.
fn piece(tree: &Path, name: &str) -> Piece {
    let path = tree.join(name);
    let mut piece = match path.is_dir() {
        true => piece::directory(&path, name).unwrap(),
        false => Piece::of_file(&path, "text/plain").unwrap(),
    };
    piece.descriptor.annotations.insert(TITLE.to_owned(), name.to_owned());
    piece
}

fn packed(tree: &Path) -> Packed {
    Draft { pieces: vec![piece(tree, "notes.txt"), piece(tree, "dir")], ..Draft::default() }.pack()
}

fn manifest(packed: &Packed) -> Manifest {
    serde_json::from_slice(&packed.manifest.bytes).unwrap()
}

#[test]
fn files_come_out_as_they_went_in() {
    let (tree, out) = (tree(), tempfile::tempdir().unwrap());
    let packed = packed(tree.path());
    let taken = take(&packed, &manifest(&packed), out.path(), Existing::Refuse).unwrap();
    assert_eq!(
        taken.iter().map(|taken| taken.path.clone().unwrap()).collect::<Vec<_>>(),
        [Path::new("notes.txt"), Path::new("dir")]
    );
    assert_eq!(fs::read(out.path().join("notes.txt")).unwrap(), b"hello");
    assert_eq!(fs::read(out.path().join("dir/link")).unwrap().len(), 100_000);
    let again = take(&packed, &manifest(&packed), out.path(), Existing::Refuse).unwrap_err();
    assert!(again.to_string().contains("notes.txt"), "{again}");
    let mut names: Vec<_> =
        fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["dir", "notes.txt"], "nothing half-done is left");
}

#[test]
fn the_same_files_are_the_same_artifact() {
    let (one, other) = (tree(), tree());
    assert_eq!(packed(one.path()).manifest, packed(other.path()).manifest);
    let manifest = manifest(&packed(one.path()));
    assert_eq!(manifest.artifact_type.as_deref(), Some(UNKNOWN));
    assert_eq!(manifest.config.data.as_deref(), Some("e30="));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let (tree, out) = (tree(), tempfile::tempdir().unwrap());
    fs::create_dir(out.path().join("inside")).unwrap();
    std::os::unix::fs::symlink("/", out.path().join("inside/away")).unwrap();
    let target = out.path().join("outside");
    for name in ["../x", "/etc/x", "a/../../x", "", ".", "a/./../../x"] {
        let mut piece = piece(tree.path(), "notes.txt");
        piece.descriptor.annotations.insert(TITLE.to_owned(), name.to_owned());
        let packed = Draft { pieces: vec![piece], ..Draft::default() }.pack();
        let error =
            take(&packed, &manifest(&packed), &out.path().join("inside"), Existing::Replace).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Hostile, "{name}: {error}");
    }
    let mut through = piece(tree.path(), "notes.txt");
    through.descriptor.annotations.insert(TITLE.to_owned(), format!("away{}", target.display()));
    let packed = Draft { pieces: vec![through], ..Draft::default() }.pack();
    let inside = out.path().join("inside");
    take(&packed, &manifest(&packed), &inside, Existing::Replace).unwrap();
    assert!(!target.exists(), "a link of the directory leads into it");
}

#[test]
fn false_bytes_are_not_kept() {
    let (tree, out) = (tree(), tempfile::tempdir().unwrap());
    let packed = packed(tree.path());
    fs::write(tree.path().join("notes.txt"), "hallo").unwrap();
    let error = take(&packed, &manifest(&packed), out.path(), Existing::Replace).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}

#[test]
fn paths_become_names() {
    for path in ["/etc/hostname", "../x", "."] {
        assert_eq!(Piece::named(Path::new(path), None).unwrap_err().kind(), ErrorKind::Usage, "{path}");
    }
    let own = Piece::named(Path::new("./src/artifact/mod.rs"), Some("text/rust")).unwrap();
    assert_eq!(own.descriptor.annotations[TITLE], "src/artifact/mod.rs");
    assert_eq!(own.descriptor.media_type, "text/rust");
}
