// SPDX-License-Identifier: Apache-2.0
//! Copies between directories, as root of whatever namespace this is: owners are asked for only as the caller's own.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;

struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["context/a/b", "tree/etc", "outside"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("context/a/x.c"), "x").unwrap();
        fs::write(dir.path().join("context/a/b/y.c"), "y").unwrap();
        fs::write(dir.path().join("outside/secret"), "secret").unwrap();
        Self { dir }
    }

    fn tree(&self, path: &str) -> PathBuf {
        self.dir.path().join("tree").join(path)
    }

    fn context(&self, path: &str) -> PathBuf {
        self.dir.path().join("context").join(path)
    }

    fn copy(&self, sources: &[&str], target: &str, options: &CopyOptions) -> Result<Digest> {
        // Files are given to whoever runs the test, so that an ordinary user can.
        let own = fs::metadata(self.dir.path()).unwrap();
        let chown = Some(format!("{}:{}", own.uid(), own.gid()));
        let options = CopyOptions { chown: options.chown.clone().or(chown), ..options.clone() };
        let sources: Vec<String> = sources.iter().map(|&source| source.to_owned()).collect();
        let root = |name: &str| Root::open_host(&self.dir.path().join(name)).unwrap();
        let scratch = self.dir.path().join("scratch");
        copy(
            &Origin::context(root("context")),
            &sources,
            &root("tree"),
            Path::new(target),
            &options,
            &scratch,
        )
    }
}

#[test]
fn a_directory_is_what_is_in_it() {
    let scratch = Scratch::new();
    scratch.copy(&["a"], "/new/place", &CopyOptions::default()).unwrap();
    assert_eq!(fs::read_to_string(scratch.tree("new/place/b/y.c")).unwrap(), "y");
    scratch.copy(&["a/x.c"], "/etc", &CopyOptions::default()).unwrap();
    scratch.copy(&["a/x.c"], "/etc/named", &CopyOptions::default()).unwrap();
    scratch.copy(&["a/x.c"], "/etc/dir/", &CopyOptions::default()).unwrap();
    for name in ["etc/x.c", "etc/named", "etc/dir/x.c"] {
        assert!(scratch.tree(name).is_file(), "{name}");
    }
}

#[test]
fn wildcards_parents_and_what_is_left_out() {
    let scratch = Scratch::new();
    let options = CopyOptions { parents: true, ..CopyOptions::default() };
    scratch.copy(&["a/*.c", "a/./b"], "/p/", &options).unwrap();
    assert!(scratch.tree("p/a/x.c").is_file() && scratch.tree("p/b/y.c").is_file());
    let options = CopyOptions { exclude: Ignore::of(["**/*.c"]).unwrap(), ..CopyOptions::default() };
    scratch.copy(&["a"], "/q", &options).unwrap();
    assert!(
        scratch.tree("q/b").is_dir() && !scratch.tree("q/x.c").exists() && !scratch.tree("q/b/y.c").exists()
    );
    for source in ["nothing", "*.h"] {
        let error = scratch.copy(&[source], "/r", &CopyOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

/// B09: links of the context and of the tree lead nowhere else.
#[test]
fn links_do_not_lead_out() {
    let scratch = Scratch::new();
    let outside = scratch.dir.path().join("outside");
    symlink(&outside, scratch.context("out")).unwrap();
    symlink("../outside/secret", scratch.context("up")).unwrap();
    symlink(outside.join("secret"), scratch.context("abs")).unwrap();
    for source in ["out", "out/secret", "up", "abs", "../outside/secret", "a/../../outside/secret"] {
        scratch.copy(&[source], "/x/", &CopyOptions::default()).unwrap_err();
    }
    symlink(&outside, scratch.tree("door")).unwrap();
    symlink("../../outside", scratch.tree("etc/door")).unwrap();
    for target in ["/door/", "/etc/door/", "/../../outside/"] {
        let _refused_or_inside = scratch.copy(&["a/x.c"], target, &CopyOptions::default());
    }
    symlink(outside.join("secret"), scratch.tree("etc/x.c")).unwrap();
    scratch.copy(&["a/x.c"], "/etc/x.c", &CopyOptions::default()).unwrap();
    assert!(fs::symlink_metadata(scratch.tree("etc/x.c")).unwrap().is_file(), "the link itself is replaced");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
}

#[test]
fn a_link_that_is_named_is_followed_and_others_are_copied() {
    let scratch = Scratch::new();
    symlink("a/x.c", scratch.context("named")).unwrap();
    symlink("x.c", scratch.context("a/inner")).unwrap();
    scratch.copy(&["named"], "/n", &CopyOptions::default()).unwrap();
    assert!(fs::symlink_metadata(scratch.tree("n")).unwrap().is_file());
    scratch.copy(&["a"], "/d", &CopyOptions::default()).unwrap();
    assert_eq!(fs::read_link(scratch.tree("d/inner")).unwrap(), Path::new("x.c"));
}

#[test]
fn the_digest_is_of_what_matters_and_not_of_the_time() {
    let scratch = Scratch::new();
    let options = CopyOptions::default();
    let first = scratch.copy(&["a"], "/1", &options).unwrap();
    let file = fs::File::options().write(true).open(scratch.context("a/x.c")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(scratch.copy(&["a"], "/1", &options).unwrap(), first);
    let chmod = CopyOptions { chmod: Chmod::parse("0600"), ..CopyOptions::default() };
    assert_ne!(
        scratch.copy(&["a/x.c"], "/2", &chmod).unwrap(),
        scratch.copy(&["a/x.c"], "/2", &options).unwrap()
    );
    assert_eq!(fs::metadata(scratch.tree("2")).unwrap().permissions().mode() & 0o777, 0o644);
    fs::write(scratch.context("a/x.c"), "z").unwrap();
    assert_ne!(scratch.copy(&["a"], "/1", &options).unwrap(), first);
}

/// What a cache is asked with is what a copy comes to, unless a file changes in between.
#[test]
fn walking_alone_comes_to_the_digest_of_the_copy() {
    let scratch = Scratch::new();
    symlink("x.c", scratch.context("a/inner")).unwrap();
    fs::hard_link(scratch.context("a/x.c"), scratch.context("a/b/again.c")).unwrap();
    conex_sys::path::set_host_xattr(&scratch.context("a/x.c"), "user.note", b"kept").unwrap();
    let root = |name: &str| Root::open_host(&scratch.dir.path().join(name)).unwrap();
    let (context, tree) = (Origin::image(root("context")), root("tree"));
    let options = CopyOptions { exclude: Ignore::of(["y.*"]).unwrap(), ..CopyOptions::default() };
    let walked = || {
        let mut content = Content::new();
        content.source(&context, "a", false, &options.exclude).unwrap();
        content.digest()
    };
    let unpacked = scratch.dir.path().join("unpacked");
    let copied = |target: &str| {
        let target = Target::of(Path::new(target), false);
        let mut copier = Copier::new(&tree, target, &options, &unpacked).unwrap();
        for selected in context.select("a", false).unwrap() {
            copier.path(&context, &selected).unwrap();
        }
        copier.finish().digest()
    };
    let before = walked();
    assert_eq!(copied("/one"), before);
    let inode = |path: &str| fs::metadata(scratch.tree(path)).unwrap().ino();
    assert_eq!(inode("one/x.c"), inode("one/b/again.c"), "two names of one file stay so");
    let note = fs::File::open(scratch.tree("one/x.c")).unwrap();
    assert_eq!(conex_sys::path::get_xattr(&note, b"user.note").unwrap(), b"kept");
    conex_sys::path::set_host_xattr(&scratch.context("a/x.c"), "user.note", b"else").unwrap();
    assert_ne!(walked(), before, "attributes count");
    assert_eq!(copied("/two"), walked());
}

#[test]
fn directories_of_any_depth_keep_their_parents() {
    let scratch = Scratch::new();
    let options = CopyOptions { parents: true, ..CopyOptions::default() };
    scratch.copy(&["**/*.c"], "/all/", &options).unwrap();
    assert!(scratch.tree("all/a/x.c").is_file() && scratch.tree("all/a/b/y.c").is_file());
    // A file where the pattern has a directory fits nothing.
    scratch.copy(&["a/*/*.c"], "/some/", &CopyOptions::default()).unwrap();
    assert!(scratch.tree("some/y.c").is_file());
}
