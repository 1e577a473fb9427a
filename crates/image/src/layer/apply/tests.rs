// SPDX-License-Identifier: Apache-2.0
//! What layers do to a tree, in both forms; and what they must not do to anything else.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use super::*;
use crate::testing::Layer;

/// A tree to be, with something beside it that must not change.
struct Scratch {
    dir: tempfile::TempDir,
}

const PLAIN: Form = Form::Plain { keep_dirlinks: false };
/// `user.*`, so that it works without privileges, too.
const OVERLAY: Form = Form::Overlay { userxattr: true };

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("victim")).unwrap();
        fs::write(dir.path().join("victim/hello"), "SECRET").unwrap();
        fs::set_permissions(dir.path().join("victim/hello"), fs::Permissions::from_mode(0o600)).unwrap();
        Self { dir }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("tree").join(path)
    }

    fn is_root(&self) -> bool {
        fs::metadata(self.dir.path()).unwrap().uid() == 0
    }

    fn options(&self, form: Form) -> Options {
        let root = self.is_root();
        Options {
            form,
            owner: if root { Owner::Keep } else { Owner::Caller },
            unprivileged: !root,
            limits: Limits::default(),
            digests: true,
        }
    }

    /// Applies layers to a new directory `name`.
    fn apply_to(&self, name: &str, form: Form, below: Below, layers: &[Vec<u8>]) -> Result<Vec<Applied>> {
        let path = self.dir.path().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        let mut tree = Tree::new(Dir::open_host(&path)?, self.options(form), below)?;
        let applied: Result<Vec<_>> = layers.iter().map(|tar| tree.apply(tar.as_slice())).collect();
        let applied = applied?;
        tree.finish()?;
        Ok(applied)
    }

    fn apply(&self, form: Form, layers: &[Vec<u8>]) -> Result<Vec<Applied>> {
        self.apply_to("tree", form, Below::Unknown, layers)
    }

    /// All paths of the tree, sorted; directories end in a slash, whiteouts in `!`, opaque directories in `/*`.
    fn list(&self) -> Vec<String> {
        self.list_of("tree")
    }

    fn list_of(&self, name: &str) -> Vec<String> {
        let top = self.dir.path().join(name);
        let mut found = Vec::new();
        let mut left = vec![top.clone()];
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let meta = path.symlink_metadata().unwrap();
                let mut text = path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned();
                if meta.is_dir() {
                    text.push('/');
                    let dir = Dir::open_host(&path).unwrap();
                    if conex_sys::path::get_xattr(&dir, b"user.overlay.opaque").is_ok() {
                        text.push('*');
                    }
                    left.push(path);
                } else if meta.file_type().is_char_device() && meta.rdev() == 0 {
                    text.push('!');
                }
                found.push(text);
            }
        }
        found.sort();
        found
    }

    /// What can be seen of everything outside the tree, down to the change times.
    fn outside(&self) -> Vec<String> {
        let victim = self.dir.path().join("victim");
        let see = |path: &Path| {
            let meta = path.symlink_metadata().unwrap();
            format!(
                "{path:?} {:o} {} {} {} {}.{}",
                meta.mode(),
                meta.uid(),
                meta.nlink(),
                meta.size(),
                meta.ctime(),
                meta.ctime_nsec()
            )
        };
        let mut seen = vec![see(&victim), see(&victim.join("hello"))];
        seen.push(fs::read_to_string(victim.join("hello")).unwrap());
        let mut names: Vec<_> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "tree")
            .collect();
        names.sort();
        seen.extend(names);
        seen
    }
}

fn base() -> Vec<u8> {
    Layer::new()
        .dir("", 0o755)
        .dir("a", 0o750)
        .file("a/one", "1")
        .file("a/two", "2")
        .dir("a/sub", 0o755)
        .file("a/sub/deep", "d")
        .file("b", "b")
        .symlink("l", "a")
        .tar()
}

#[test]
fn whiteouts_remove_lower_entries_wherever_they_stand() {
    let scratch = Scratch::new();
    for swapped in [false, true] {
        let whiteouts =
            |layer: Layer| layer.file("a/.wh.one", "").file(".wh.b", "").file("a/sub/.wh.nothing", "");
        let entries = |layer: Layer| layer.dir("a", 0o755).file("a/new", "n").file("b", "again");
        let layer = if swapped { entries(whiteouts(Layer::new())) } else { whiteouts(entries(Layer::new())) };
        scratch.apply(PLAIN, &[base(), layer.tar()]).unwrap();
        assert_eq!(scratch.list(), ["a/", "a/new", "a/sub/", "a/sub/deep", "a/two", "b", "l"], "{swapped}");
        assert_eq!(fs::read_to_string(scratch.path("b")).unwrap(), "again");
    }
}

#[test]
fn opaque_whiteouts_keep_their_own_layer() {
    let scratch = Scratch::new();
    let late = Layer::new().dir("a", 0o755).file("a/new", "").file("a/.wh..wh..opq", "").file("a/newer", "");
    scratch.apply(PLAIN, &[base(), late.tar()]).unwrap();
    assert_eq!(scratch.list(), ["a/", "a/new", "a/newer", "b", "l"]);
    let inner = Layer::new().file("a/sub/fresh", "").file(".wh.a", "");
    scratch.apply(PLAIN, &[base(), inner.tar()]).unwrap();
    assert_eq!(scratch.list(), ["a/", "a/sub/", "a/sub/fresh", "b", "l"]);
}

#[test]
fn one_type_replaces_another() {
    let scratch = Scratch::new();
    let layer = Layer::new().file("a", "now a file").dir("b", 0o700).file("b/x", "").dir("l", 0o755).tar();
    scratch.apply(PLAIN, &[base(), layer]).unwrap();
    assert_eq!(scratch.list(), ["a", "b/", "b/x", "l/"]);
    let layer = Layer::new().dir("a", 0o711).tar();
    scratch.apply(PLAIN, &[base(), layer]).unwrap();
    assert_eq!(fs::metadata(scratch.path("a")).unwrap().mode() & 0o7777, 0o711);
    assert!(scratch.path("a/one").exists(), "a directory over a directory keeps its children");
}

#[test]
fn a_write_does_not_go_through_links() {
    let scratch = Scratch::new();
    let first =
        Layer::new().file("file", "old").link("second", "file").symlink("out", "../victim/hello").tar();
    let second = Layer::new().file("second", "new").file("out", "mine").tar();
    scratch.apply(PLAIN, &[first, second]).unwrap();
    assert_eq!(fs::read_to_string(scratch.path("file")).unwrap(), "old");
    assert_eq!(fs::read_to_string(scratch.path("out")).unwrap(), "mine");
}

#[test]
fn symlinked_parents_are_walked_inside() {
    let scratch = Scratch::new();
    let victim = scratch.dir.path().join("victim");
    let before = scratch.outside();
    let layer = Layer::new()
        .dir("usr", 0o755)
        .dir("usr/lib", 0o755)
        .symlink("lib", "/usr/lib")
        .symlink("evil", victim.to_str().unwrap())
        .symlink("up", "../../../victim")
        .file("lib/so", "x")
        .file("evil/hello", "overwritten")
        .file("up/hello", "overwritten")
        .tar();
    scratch.apply(PLAIN, &[layer]).unwrap();
    assert!(scratch.path("usr/lib/so").exists());
    assert!(scratch.path(victim.strip_prefix("/").unwrap().join("hello").to_str().unwrap()).exists());
    assert_eq!(scratch.outside(), before);
}

#[test]
fn metadata_is_what_the_archive_says() {
    let scratch = Scratch::new();
    let mut suid = Entry::new("bin/su", Kind::file(2), 0o4755);
    suid.mtime = Time { sec: 1_000_000_001, nsec: 5 };
    suid.xattrs = vec![Xattr { name: b"user.note".to_vec(), value: b"v".to_vec() }];
    let mut bin = Entry::new("bin", Kind::Directory, 0o2555);
    bin.mtime = Time { sec: 1_000_000_000, nsec: 0 };
    let mut link = Entry::new("bin/link", Kind::Symlink { target: "su".into() }, 0o777);
    link.mtime = Time { sec: 7, nsec: 0 };
    let fifo = Entry::new("bin/fifo", Kind::Fifo, 0o622);
    let layer = Layer::new().entry(&bin, b"").entry(&suid, b"su").entry(&link, b"").entry(&fifo, b"").tar();
    // A later layer puts something into the directory; its time stays what the archive said.
    let later = Layer::new().file("bin/more", "m").tar();
    scratch.apply(PLAIN, &[layer, later]).unwrap();
    let meta = |path: &str| scratch.path(path).symlink_metadata().unwrap();
    assert_eq!(
        (meta("bin/su").mode() & 0o7777, meta("bin/su").mtime(), meta("bin/su").mtime_nsec()),
        (0o4755, 1_000_000_001, 5)
    );
    assert_eq!((meta("bin").mode() & 0o7777, meta("bin").mtime()), (0o2555, 1_000_000_000));
    assert_eq!(meta("bin/link").mtime(), 7);
    assert_eq!(meta("bin/fifo").mode() & 0o7777, 0o622);
    let su = Dir::open_host(&scratch.path("bin")).unwrap();
    assert_eq!(su.get_xattr("su", b"user.note").unwrap(), b"v");
}

#[test]
fn hard_links_share_one_file() {
    let scratch = Scratch::new();
    let layer = Layer::new().file("a", "x").link("b", "/a").symlink("s", "nowhere").link("t", "./s");
    let second = Layer::new().link("c", "b").tar();
    scratch.apply(PLAIN, &[layer.tar(), second]).unwrap();
    let ino = |path: &str| scratch.path(path).symlink_metadata().unwrap().ino();
    assert_eq!((ino("a"), ino("a")), (ino("b"), ino("c")));
    assert_eq!(ino("s"), ino("t"));
}

#[test]
fn overlay_form_writes_whiteouts_down() {
    let scratch = Scratch::new();
    let layer = Layer::new()
        .dir("a", 0o755)
        .file("a/.wh.one", "")
        .dir("o", 0o755)
        .file("o/.wh.hidden", "")
        .file("o/.wh..wh..opq", "")
        .file("o/.wh.later", "")
        .file("o/kept", "")
        .file(".wh.back", "")
        .dir("back", 0o755)
        .dir("front", 0o755)
        .file(".wh.front", "")
        .file("plain", "")
        .file(".wh.plain", "")
        .file(".wh..wh.plnk", "")
        .tar();
    let applied = scratch.apply(OVERLAY, &[layer]).unwrap();
    assert_eq!(scratch.list(), ["a/", "a/one!", "back/*", "front/*", "o/*", "o/kept", "plain"]);
    assert!(!applied[0].implicit_parents && !applied[0].lower_links);
}

#[test]
fn overlay_form_notes_what_depends_on_lower_layers() {
    let scratch = Scratch::new();
    let implied = Layer::new().file("a/sub/x", "").tar();
    assert!(scratch.apply(OVERLAY, &[implied]).unwrap()[0].implicit_parents);
    let linked = Layer::new().link("x", "b").tar();
    let applied = scratch.apply(OVERLAY, &[linked]).unwrap();
    assert!(applied[0].lower_links && !applied[0].implicit_parents);
    let hidden = Layer::new().file(".wh.a", "").file("a/sub/x", "").tar();
    let applied = scratch.apply(OVERLAY, &[hidden]).unwrap();
    assert!(!applied[0].implicit_parents, "below a whiteout there is nothing to inherit");
    assert_eq!(scratch.list(), ["a/*", "a/sub/", "a/sub/x"]);
}

#[test]
fn overlay_form_takes_what_it_needs_from_below() {
    let scratch = Scratch::new();
    let lower = Layer::new()
        .dir("usr", 0o755)
        .dir("usr/lib", 0o751)
        .symlink("lib", "usr/lib")
        .file("usr/target", "shared")
        .tar();
    scratch.apply_to("lower", OVERLAY, Below::Unknown, &[lower]).unwrap();
    let stack = || {
        let lower = Dir::open_host(&scratch.dir.path().join("lower")).unwrap();
        Below::Layers(Stack::new(vec![Arc::new(lower)], true))
    };
    let upper = Layer::new().file("lib/so", "x").link("second", "usr/target").tar();
    let applied = scratch.apply_to("tree", OVERLAY, stack(), &[upper]).unwrap();
    assert!(!applied[0].implicit_parents && !applied[0].lower_links);
    assert_eq!(scratch.list(), ["second", "usr/", "usr/lib/", "usr/lib/so", "usr/target"]);
    assert_eq!(fs::metadata(scratch.path("usr/lib")).unwrap().mode() & 0o7777, 0o751);
    let ino = |path: PathBuf| fs::metadata(path).unwrap().ino();
    assert_eq!(ino(scratch.path("second")), ino(scratch.dir.path().join("lower/usr/target")));
    let missing = Layer::new().link("x", "nowhere").tar();
    let error = scratch.apply_to("tree", OVERLAY, stack(), &[missing]).unwrap_err();
    assert!(error.to_string().contains("which is not there"), "{error}");
}

#[test]
fn overlay_form_escapes_its_own_attributes() {
    let scratch = Scratch::new();
    let layer = Layer::new().xattr_file("f", "user.overlay.redirect", b"/etc").tar();
    scratch.apply(OVERLAY, &[layer]).unwrap();
    let names = Dir::open_host(&scratch.path("")).unwrap().list_xattrs("f").unwrap();
    assert!(names.contains(&b"user.overlay.overlay.redirect".to_vec()), "{names:?}");
    assert!(!names.contains(&b"user.overlay.redirect".to_vec()));
    let device = Entry::new("w", Kind::Char { major: 0, minor: 0 }, 0o666);
    let error = scratch.apply(OVERLAY, &[Layer::new().entry(&device, b"").tar()]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Hostile);
}

#[test]
fn hostile_layers_are_refused_and_reach_nothing() {
    let scratch = Scratch::new();
    let victim = scratch.dir.path().join("victim/hello");
    let victim = victim.to_str().unwrap();
    let device = |major, minor| Entry::new("d", Kind::Block { major, minor }, 0o666);
    let cases: Vec<(&str, Layer)> = vec![
        ("L: the root as a file", Layer::new().file("", "x")),
        ("L: the root as a symlink", Layer::new().symlink(".", "/")),
        ("L: hard link to the root", Layer::new().link("x", "/")),
        ("L: hard link outside", Layer::new().link("x", victim)),
        ("L: hard link through a symlink", Layer::new().symlink("d", "/victim").link("x", "d/hello")),
        ("L: hard link to a directory", Layer::new().dir("d", 0o755).link("x", "d")),
        ("L: hard link to itself", Layer::new().file("x", "").link("x", "x")),
        ("L: hard link to nothing", Layer::new().link("x", "y")),
        ("L: symlinks in a circle", Layer::new().symlink("a", "b").symlink("b", "a").file("a/x", "")),
        ("L: empty whiteout", Layer::new().file(".wh.", "")),
        ("L: whiteout of ..", Layer::new().file("d/.wh...", "")),
        ("L: device number", Layer::new().entry(&device(5000, 1), b"")),
    ];
    let before = scratch.outside();
    for (name, layer) in cases {
        let tar = layer.tar();
        let error = scratch.apply(PLAIN, &[base(), tar]).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Hostile, "{name}: {error}");
        assert_eq!(scratch.outside(), before, "{name}");
    }
}

#[test]
fn a_swapped_parent_does_not_lead_out() {
    let scratch = Scratch::new();
    let before = scratch.outside();
    // The directory is open and cached when the archive puts a symlink in its place, and back again.
    let mut layer = Layer::new();
    for round in 0..50 {
        layer = layer
            .dir("d", 0o755)
            .file("d/hello", "x")
            .symlink("d", "../victim")
            .file("d/hello", &round.to_string())
            .file("d/.wh.hello", "")
            .file("d/.wh..wh..opq", "");
    }
    scratch.apply(PLAIN, &[layer.tar()]).unwrap();
    assert_eq!(scratch.outside(), before);
    symlink("/", scratch.dir.path().join("decoy")).unwrap();
}

#[test]
fn budgets_hold() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("")).unwrap();
    let mut options = scratch.options(PLAIN);
    options.limits = Limits { entries: 3, bytes: 100, memory: 2000 };
    let apply = |tar: Vec<u8>| {
        let dir = Dir::open_host(&scratch.path("")).unwrap();
        Tree::new(dir, options.clone(), Below::Unknown).unwrap().apply(tar.as_slice())
    };
    let many = Layer::new().file("1", "").file("2", "").file("3", "").file("4", "").tar();
    assert_eq!(apply(many).unwrap_err().kind(), ErrorKind::Hostile);
    let large = Layer::new().file("5", &"x".repeat(101)).tar();
    assert_eq!(apply(large).unwrap_err().kind(), ErrorKind::Hostile);
    // Small archives that would have to be remembered whole: attributes of directories, names of their parents.
    let mut wide = Entry::new("6", Kind::Directory, 0o755);
    wide.xattrs = vec![Xattr { name: b"user.x".to_vec(), value: vec![b'x'; 2000] }];
    for tar in [Layer::new().entry(&wide, b"").tar(), Layer::new().file(&["d"; 50].join("/"), "").tar()] {
        let error = apply(tar).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Hostile);
        assert!(error.to_string().contains("bytes of memory"), "{error}");
    }
}

#[test]
fn replacing_the_same_name_over_and_over_is_linear() {
    let scratch = Scratch::new();
    let mut layer = Layer::new();
    for i in 0..20_000 {
        layer = layer.dir(&format!("d{i}"), 0o755).file("x", "");
    }
    scratch.apply(PLAIN, &[layer.tar()]).unwrap();
    assert_eq!(scratch.list().len(), 20_001);
}

#[test]
fn repeated_opaque_whiteouts_are_linear() {
    let scratch = Scratch::new();
    let mut lower = Layer::new().dir("d", 0o755);
    for i in 0..3000 {
        lower = lower.file(&format!("d/{i}"), "");
    }
    let mut upper = Layer::new();
    for i in 0..20_000 {
        upper = upper.file("d/.wh..wh..opq", "");
        if i < 3000 {
            upper = upper.file(&format!("d/n{i}"), "");
        }
    }
    scratch.apply(PLAIN, &[lower.tar(), upper.tar()]).unwrap();
    assert_eq!(scratch.list().len(), 3001);
}

#[test]
fn very_deep_paths_are_unpacked_and_removed() {
    let scratch = Scratch::new();
    // A symlink to the deepest directory so far makes it twice as deep: deeper than PATH_MAX.
    let deep = vec!["d"; 1500].join("/");
    let layer = Layer::new()
        .file(&format!("{deep}/x"), "")
        .symlink("s", &deep)
        .file(&format!("s/{deep}/y"), "")
        .tar();
    scratch.apply(PLAIN, &[layer, Layer::new().file(".wh.d", "").tar()]).unwrap();
    assert_eq!(scratch.list(), ["s"]);
}

#[test]
fn keep_dirlinks_writes_through() {
    let scratch = Scratch::new();
    let lower = Layer::new().dir("usr", 0o755).symlink("lib", "usr").symlink("dangling", "nowhere").tar();
    let upper = Layer::new().dir("lib", 0o700).file("lib/x", "").dir("dangling", 0o755).tar();
    scratch.apply(Form::Plain { keep_dirlinks: true }, &[lower.clone(), upper.clone()]).unwrap();
    assert_eq!(scratch.list(), ["dangling/", "lib", "usr/", "usr/x"]);
    assert_eq!(fs::metadata(scratch.path("usr")).unwrap().mode() & 0o7777, 0o700);
    scratch.apply(PLAIN, &[lower, upper]).unwrap();
    assert_eq!(scratch.list(), ["dangling/", "lib/", "lib/x", "usr/"]);
}

#[test]
fn root_devices_owners_and_capabilities() {
    let scratch = Scratch::new();
    if !scratch.is_root() {
        eprintln!("SKIP root_devices_owners_and_capabilities: needs root");
        return;
    }
    let mut null = Entry::new("null", Kind::Char { major: 1, minor: 3 }, 0o666);
    null.gid = 5;
    let mut ping = Entry::new("ping", Kind::file(1), 0o6755);
    (ping.uid, ping.gid) = (1000, 2000);
    let capability = vec![1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    ping.xattrs = vec![
        Xattr { name: b"security.capability".to_vec(), value: capability.clone() },
        Xattr { name: b"security.selinux".to_vec(), value: b"host".to_vec() },
    ];
    scratch.apply(PLAIN, &[Layer::new().entry(&null, b"").entry(&ping, b"x").tar()]).unwrap();
    let meta = |path: &str| scratch.path(path).symlink_metadata().unwrap();
    assert_eq!((meta("null").rdev(), meta("null").gid(), meta("null").mode() & 0o7777), (0x103, 5, 0o666));
    assert_eq!((meta("ping").uid(), meta("ping").gid(), meta("ping").mode() & 0o7777), (1000, 2000, 0o6755));
    let dir = Dir::open_host(&scratch.path("")).unwrap();
    assert_eq!(dir.get_xattr("ping", b"security.capability").unwrap(), capability);
    assert!(dir.get_xattr("ping", b"security.selinux").is_err());
}

#[test]
fn digests_follow_files_and_links() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("")).unwrap();
    let dir = Dir::open_host(&scratch.path("")).unwrap();
    let mut tree = Tree::new(dir, scratch.options(PLAIN), Below::Unknown).unwrap();
    tree.apply(Layer::new().dir("d", 0o755).file("d/a", "one").link("b", "d/a").tar().as_slice()).unwrap();
    tree.apply(Layer::new().file("d/a", "two").tar().as_slice()).unwrap();
    let digests = tree.finish().unwrap();
    assert_eq!(digests[Path::new("b")].digest, crate::verify::sha256(b"one"));
    assert_eq!(digests[Path::new("d/a")].digest, crate::verify::sha256(b"two"));
}
