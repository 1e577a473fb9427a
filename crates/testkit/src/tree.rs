// SPDX-License-Identifier: Apache-2.0
//! A directory tree as lines that can be compared: one line per file with everything an image can say of it.
//!
//! ```text
//! usr/bin/su  file 4755 0:0 size=71912 sha256=… mtime=1679567895.0 links=[usr/bin/su] xattr:security.capability=…
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha2::Digest;

use crate::image::hex;

/// Path from the root of the tree → what there is.
pub type Tree = BTreeMap<String, String>;

/// Reads a whole tree, without following any link.
pub fn read(root: &Path) -> Tree {
    let mut paths = Vec::new();
    walk(root, &mut paths);
    let mut links: BTreeMap<(u64, u64), Vec<String>> = BTreeMap::new();
    for path in &paths {
        let metadata = fs::symlink_metadata(path).expect("stat");
        if metadata.is_file() && metadata.nlink() > 1 {
            links.entry((metadata.dev(), metadata.ino())).or_default().push(name(root, path));
        }
    }
    links.values_mut().for_each(|names| names.sort());
    paths.iter().map(|path| (name(root, path), describe(path, &links))).collect()
}

/// Lines that differ: `- left`, `+ right`. Empty means equal.
pub fn difference(left: &Tree, right: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    let names: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    for name in names {
        let (a, b) = (left.get(name), right.get(name));
        if a != b {
            lines.extend(a.map(|line| format!("- {name}  {line}")));
            lines.extend(b.map(|line| format!("+ {name}  {line}")));
        }
    }
    lines
}

fn walk(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("read a directory") {
        let path = entry.expect("read a directory").path();
        let is_dir = fs::symlink_metadata(&path).expect("stat").is_dir();
        paths.push(path.clone());
        if is_dir {
            walk(&path, paths);
        }
    }
}

fn name(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned()
}

fn describe(path: &Path, links: &BTreeMap<(u64, u64), Vec<String>>) -> String {
    let metadata = fs::symlink_metadata(path).expect("stat");
    let kind = metadata.file_type();
    let what = if kind.is_dir() {
        "dir".into()
    } else if kind.is_symlink() {
        format!("link -> {}", fs::read_link(path).expect("readlink").display())
    } else if kind.is_file() {
        format!("file size={} sha256={}", metadata.size(), sha256(path))
    } else if kind.is_char_device() || kind.is_block_device() {
        let letter = if kind.is_char_device() { 'c' } else { 'b' };
        format!("{letter} {:#x}", metadata.rdev())
    } else if kind.is_fifo() {
        "fifo".into()
    } else {
        "socket".into()
    };
    // A symlink's mode means nothing on Linux.
    let mode = if kind.is_symlink() { 0o777 } else { metadata.mode() & 0o7777 };
    let mut line =
        format!("{what} {mode:04o} {}:{} mtime={}", metadata.uid(), metadata.gid(), metadata.mtime());
    if let Some(names) = links.get(&(metadata.dev(), metadata.ino())) {
        line += &format!(" same={names:?}");
    }
    for (name, value) in xattrs(path) {
        line += &format!(" {name}={value}");
    }
    line
}

fn sha256(path: &Path) -> String {
    let mut file = fs::File::open(path).expect("open");
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).expect("read") {
            0 => return hex(&hasher.finalize()),
            length => hasher.update(&buffer[..length]),
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, String> {
    let mut names = vec![0u8; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0u8; 1 << 16];
            let key = std::ffi::OsStr::from_bytes(name);
            let length = rustix::fs::lgetxattr(path, key, &mut value).expect("read an xattr");
            (String::from_utf8_lossy(name).into_owned(), hex(&value[..length]))
        })
        .collect()
}
