// SPDX-License-Identifier: Apache-2.0
//! Each case runs on both ways to resolve: openat2 and the walk.

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::*;
use crate::Errno;

/// A directory that goes away with the test. (This crate has no test dependencies.)
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("conex-sys-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("root/etc")).unwrap();
        std::fs::create_dir(path.join("outside")).unwrap();
        std::fs::write(path.join("outside/secret"), "secret").unwrap();
        Self(path)
    }

    fn roots(&self) -> [Root; 2] {
        let root = self.0.join("root");
        [Root::open_host(&root).unwrap(), Root::without_openat2(Dir::open_host(&root).unwrap())]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read(root: &Root, path: &str) -> Result<String, Errno> {
    let mut text = String::new();
    match root.open_file(path) {
        Ok(mut file) => file.read_to_string(&mut text).unwrap(),
        Err(error) => return Err(error.errno()),
    };
    Ok(text)
}

#[test]
fn every_way_out_leads_back_in() {
    let scratch = Scratch::new("in-root");
    let root = scratch.0.join("root");
    std::fs::write(root.join("etc/passwd"), "inside").unwrap();
    std::fs::write(root.join("secret"), "decoy").unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("../../../../../../etc/passwd", root.join("climbing")).unwrap();
    symlink(scratch.0.join("outside"), root.join("host")).unwrap();
    symlink("..", root.join("etc/up")).unwrap();
    symlink("etc/", root.join("slash")).unwrap();
    for root in scratch.roots() {
        assert_eq!(read(&root, "absolute").unwrap(), "inside");
        assert_eq!(read(&root, "climbing").unwrap(), "inside");
        assert_eq!(read(&root, "/etc/passwd").unwrap(), "inside");
        assert_eq!(read(&root, "../../etc/../etc/passwd").unwrap(), "inside");
        assert_eq!(read(&root, "etc/up/etc/up/secret").unwrap(), "decoy");
        assert_eq!(read(&root, "etc/up/../secret").unwrap(), "decoy");
        assert_eq!(read(&root, "slash/passwd").unwrap(), "inside");
        assert_eq!(read(&root, "host/secret"), Err(Errno::NOENT));
        assert_eq!(read(&root, "etc/passwd/x"), Err(Errno::NOTDIR));
    }
}

#[test]
fn loops_end() {
    let scratch = Scratch::new("loops");
    symlink("b", scratch.0.join("root/a")).unwrap();
    symlink("a", scratch.0.join("root/b")).unwrap();
    symlink("self/x", scratch.0.join("root/self")).unwrap();
    for root in scratch.roots() {
        assert_eq!(read(&root, "a"), Err(Errno::LOOP));
        assert_eq!(read(&root, "self/y"), Err(Errno::LOOP));
    }
}

#[test]
fn magic_links_are_refused() {
    let proc = Dir::open_host(Path::new("/proc/self")).unwrap();
    let root = Root::new(proc);
    assert_eq!(root.resolve("root/etc").unwrap_err().errno(), Errno::LOOP);
    // The walk does not refuse them, but reads them as text: they lead to a path inside.
    let root = Root::without_openat2(Dir::open_host(Path::new("/proc/self")).unwrap());
    assert_eq!(root.resolve("exe").unwrap_err().errno(), Errno::NOENT);
}

#[test]
fn names_are_single_and_never_followed() {
    let scratch = Scratch::new("names");
    symlink("../outside/secret", scratch.0.join("root/link")).unwrap();
    let dir = Dir::open_host(&scratch.0.join("root")).unwrap();
    for bad in ["", ".", "..", "a/b", "/etc", "../outside/x"] {
        assert_eq!(dir.create_file(bad, 0o600).unwrap_err().errno(), Errno::INVAL, "{bad:?}");
        assert_eq!(dir.remove_all(bad).unwrap_err().errno(), Errno::INVAL, "{bad:?}");
        assert_eq!(dir.make_link(&dir, "link", bad).unwrap_err().errno(), Errno::INVAL, "{bad:?}");
    }
    assert_eq!(dir.open_file("link").unwrap_err().errno(), Errno::LOOP);
    assert_eq!(dir.open_or_create_file("link", 0o600).unwrap_err().errno(), Errno::LOOP);
    assert_eq!(dir.create_file("link", 0o600).unwrap_err().errno(), Errno::EXIST);
    assert_eq!(dir.chmod("link", 0o777).unwrap_err().errno(), Errno::OPNOTSUPP);
    dir.make_link(&dir, "link", "second").unwrap();
    assert_eq!(dir.read_link("second").unwrap(), "../outside/secret");
    assert_eq!(std::fs::read_to_string(scratch.0.join("outside/secret")).unwrap(), "secret");
}

#[test]
fn make_dir_all_stays_inside() {
    let scratch = Scratch::new("mkdir");
    symlink("/var", scratch.0.join("root/v")).unwrap();
    std::fs::create_dir(scratch.0.join("root/var")).unwrap();
    for (n, root) in scratch.roots().into_iter().enumerate() {
        root.make_dir_all(format!("v/lib/{n}/x"), 0o755).unwrap();
        assert!(scratch.0.join(format!("root/var/lib/{n}/x")).is_dir());
        assert_eq!(root.make_dir_all("../x", 0o755).unwrap_err().errno(), Errno::INVAL);
        let (parent, name) = root.parent(format!("v/lib/{n}/file")).unwrap();
        parent.create_file(&name, 0o644).unwrap().write_all(b"x").unwrap();
        assert!(scratch.0.join(format!("root/var/lib/{n}/file")).is_file());
    }
}

#[test]
fn removes_deep_trees_without_leaving_them() {
    let scratch = Scratch::new("remove");
    let root = Dir::open_host(&scratch.0.join("root")).unwrap();
    root.make_dir("deep", 0o755).unwrap();
    let mut here = root.open_dir("deep").unwrap();
    // Deeper than there are file descriptors or PATH_MAX.
    for n in 0..3000 {
        here.make_dir("a-rather-long-name", 0o755).unwrap();
        here.create_file(format!("file{n}"), 0o644).unwrap();
        here.make_symlink("/".as_ref(), "out").unwrap();
        here = here.open_dir("a-rather-long-name").unwrap();
    }
    root.remove_all("deep").unwrap();
    assert_eq!(root.find("deep").unwrap().map(|s| s.st_ino), None);
    root.remove_all("deep").unwrap();
    assert!(scratch.0.join("outside/secret").exists());
}

#[test]
fn attributes_of_names_and_files() {
    let scratch = Scratch::new("attributes");
    let dir = Dir::open_host(&scratch.0.join("root")).unwrap();
    let file = dir.create_file("f", 0o600).unwrap();
    let time = Time { sec: -5, nsec: 7 };
    chmod(&file, 0o4751).unwrap();
    set_times(&file, time, time).unwrap();
    let stat = dir.stat("f").unwrap();
    assert_eq!((stat.st_mode & 0o7777, stat.st_mtime, stat.st_mtime_nsec), (0o4751, -5, 7));
    dir.make_node("fifo", FileType::Fifo, 0o600, 0, 0).unwrap();
    dir.chmod("fifo", 0o644).unwrap();
    assert_eq!(dir.stat("fifo").unwrap().st_mode & 0o7777, 0o644);
    // A FIFO without a writer does not hold the reader up, and is not a regular file.
    assert!(Root::new(dir.reopen().unwrap()).open_regular("fifo").unwrap().is_none());
    if set_xattr(&file, b"user.a", &[1; 3000]).is_ok() {
        assert_eq!(dir.get_xattr("f", b"user.a").unwrap(), [1; 3000]);
        assert_eq!(dir.list_xattrs("f").unwrap(), [b"user.a"]);
        dir.remove_xattr("f", b"user.a").unwrap();
        assert_eq!(list_xattrs(&file).unwrap(), Vec::<Vec<u8>>::new());
    } else {
        eprintln!("SKIP attributes_of_names_and_files: no user xattrs on {}", scratch.0.display());
    }
}

#[test]
fn errors_name_the_call_and_the_file() {
    let scratch = Scratch::new("errors");
    let dir = Dir::open_host(&scratch.0.join("root")).unwrap();
    let error = dir.open_file("missing").unwrap_err().to_string();
    assert!(error.starts_with("openat(["), "{error}");
    assert!(error.contains("root>, \"missing\"") && error.contains("no such file"), "{error}");
}
