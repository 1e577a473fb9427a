// SPDX-License-Identifier: Apache-2.0
//! Applying and packing are inverses: whatever a tree holds and whatever is done to it, what is packed unpacks to the same.
//! The trees and what is done to them come from a generator whose seed a failure names.
//!
//! ```text
//!  tree ──insert──► image ──unpack──► bundle ──change──► bundle ──repack──► image ──unpack──► the same
//!                                                 └────────── again ──────────┘       flat: the same
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, which looks at trees from outside"
)]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use conex_image::Image;
use conex_image::bundle::{IdMapping, RepackOptions, UnpackOptions, repack, unpack};
use conex_image::layer::apply::Owner;
use conex_image::layer::pack;
use conex_image::layout::{Layout, LayoutName, LayoutSource};
use conex_image::merged::{Hash, Merged};
use conex_image::mutate::{Content, Draft, flatten, insert};
use conex_spec::image::Platform;
use conex_spec::image::media_type::Compression;
use conex_sys::path::{Dir, FileType, Time};
use conex_testkit::{effort, needs, require, tree};

/// Numbers that look like chance and are the same every time.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    fn name(&mut self) -> OsString {
        let odd: [&[u8]; 12] = [
            b"\xff\xfe",
            b"new\nline",
            b" blank ",
            b"-dash",
            b"...",
            b".w",
            b"*?[]{}",
            b"back\\slash",
            b"#hash",
            b"%41",
            "\u{e4}\u{1f600}".as_bytes(),
            b"wh.x",
        ];
        match self.below(8) {
            0 => OsString::from_vec(self.one_of(&odd).to_vec()),
            1 => "n".repeat(100 + self.below(156)).into(),
            _ => format!("{}", (b'a' + u8::try_from(self.below(12)).unwrap()) as char).into(),
        }
    }

    fn time(&mut self) -> i64 {
        *self.one_of(&[0, 1, 999_999_999, 1_600_000_000, 4_000_000_000, 9_000_000_000, -5])
    }
}

/// A tree that is made and changed.
struct Wild<'a> {
    root: &'a Path,
    chance: &'a mut Chance,
    /// Whether devices, owners and the kernel's own attributes are there to be tried.
    privileged: bool,
    /// Whether names of overlayfs' own attributes are: umoci leaves them out.
    overlay: bool,
}

impl Wild<'_> {
    fn paths(&self) -> Vec<PathBuf> {
        let mut names = Vec::new();
        let mut next = vec![self.root.to_owned()];
        while let Some(dir) = next.pop() {
            let mut entries: Vec<_> =
                fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
            entries.sort();
            for path in entries {
                if path.symlink_metadata().unwrap().is_dir() {
                    next.push(path.clone());
                }
                names.push(path);
            }
        }
        names
    }

    fn directory(&mut self) -> PathBuf {
        let mut directories: Vec<_> =
            self.paths().into_iter().filter(|path| path.symlink_metadata().unwrap().is_dir()).collect();
        directories.push(self.root.to_owned());
        self.chance.one_of(&directories).clone()
    }

    fn any(&mut self) -> Option<PathBuf> {
        let paths = self.paths();
        if paths.is_empty() { None } else { Some(self.chance.one_of(&paths).clone()) }
    }

    fn remove(path: &Path) {
        match path.symlink_metadata() {
            Ok(found) if found.is_dir() => fs::remove_dir_all(path).unwrap(),
            Ok(_) => fs::remove_file(path).unwrap(),
            Err(_) => {}
        }
    }

    /// Something new, in place of what has the name.
    fn create(&mut self) {
        let path = self.directory().join(self.chance.name());
        if path.as_os_str().len() > 3000 {
            return;
        }
        let other = self.any();
        Self::remove(&path);
        match self.chance.below(12) {
            0..4 => fs::create_dir(&path).unwrap(),
            4 | 5 => fs::write(&path, vec![b'x'; self.chance.below(3000)]).unwrap(),
            6 => {
                let mut file = File::create(&path).unwrap();
                file.seek(SeekFrom::Start(1 << 17)).unwrap();
                file.write_all(b"behind a hole").unwrap();
                file.set_len(1 << 18).unwrap();
            }
            7 => symlink(self.chance.one_of(&["/", "..", "a", "no/where", "/etc/passwd"]), &path).unwrap(),
            8 => symlink("l".repeat(1 + self.chance.below(400)), &path).unwrap(),
            9 => match other.filter(|other| other.symlink_metadata().is_ok_and(|found| !found.is_dir())) {
                Some(other) => fs::hard_link(other, &path).unwrap(),
                None => fs::write(&path, "").unwrap(),
            },
            10 => self.node(&path, FileType::Fifo),
            _ if self.privileged => {
                let kind = *self.chance.one_of(&[FileType::CharacterDevice, FileType::BlockDevice]);
                self.node(&path, kind);
            }
            _ => fs::write(&path, "no device").unwrap(),
        }
        self.describe(&path);
    }

    fn node(&mut self, path: &Path, kind: FileType) {
        let (dir, name) = at(path);
        let (major, minor) = if kind == FileType::Fifo { (0, 0) } else { (1 + self.chance.below(200), 3) };
        dir.make_node(&name, kind, 0o600, u32::try_from(major).unwrap(), minor).unwrap();
    }

    /// Mode, owner, attributes, in the order in which they do not undo each other.
    fn describe(&mut self, path: &Path) {
        let (dir, name) = at(path);
        let found = path.symlink_metadata().unwrap();
        if self.privileged && self.chance.below(3) == 0 {
            let ids = [0, 5, 1000, 65_534, 2_097_152, 4_000_000_000];
            dir.chown(&name, *self.chance.one_of(&ids), *self.chance.one_of(&ids)).unwrap();
        }
        if !found.is_symlink() && self.chance.below(2) == 0 {
            let locked: &[u32] =
                if self.privileged { &[0, 0o7777, 0o1777, 0o4755, 0o2750] } else { &[0o700, 0o755, 0o1777] };
            fs::set_permissions(path, fs::Permissions::from_mode(*self.chance.one_of(locked))).unwrap();
        }
        if found.is_file() && self.chance.below(4) == 0 || found.is_dir() && self.chance.below(6) == 0 {
            let name = format!("user.{}", self.chance.below(3));
            let value = vec![u8::try_from(self.chance.below(256)).unwrap(); 1 + self.chance.below(300)];
            // Not on every file system.
            let _ = set_xattr(path, name.as_bytes(), &value);
        }
        if self.privileged && found.is_file() && self.chance.below(8) == 0 {
            let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            set_xattr(path, b"security.capability", &capability).unwrap();
            if self.overlay {
                set_xattr(path, b"trusted.overlay.opaque", b"y").unwrap();
            }
        }
    }

    /// One thing that may happen to a tree.
    fn change(&mut self) {
        let Some(path) = self.any() else { return self.create() };
        let found = path.symlink_metadata().unwrap();
        match self.chance.below(12) {
            0..4 => self.create(),
            4 => Self::remove(&path),
            5 | 6 => self.describe(&path),
            7 if found.is_file() && found.len() > 0 => {
                // As long as before, and as old.
                let time = found.mtime();
                File::options().write(true).open(&path).unwrap().write_all(b"!").unwrap();
                set_time(&path, time);
            }
            8 if found.is_file() => {
                File::options().append(true).open(&path).unwrap().write_all(b"more").unwrap()
            }
            9 if found.is_dir() => {
                // All new below an old name.
                Self::remove(&path);
                fs::create_dir(&path).unwrap();
                fs::write(path.join("fresh"), "").unwrap();
            }
            10 => {
                let to = self.directory().join(self.chance.name());
                if !to.starts_with(&path) && to.symlink_metadata().is_err() {
                    fs::rename(&path, to).unwrap();
                }
            }
            _ => set_time(&path, self.chance.time()),
        }
    }

    /// Layers have whole seconds.
    fn settle(&mut self) {
        let mut paths = self.paths();
        paths.push(self.root.to_owned());
        for path in paths.iter().rev() {
            let found = path.symlink_metadata().unwrap();
            if found.mtime_nsec() != 0 {
                let time = self.chance.time();
                set_time(path, time);
            }
        }
    }
}

fn at(path: &Path) -> (Dir, OsString) {
    (Dir::open_host(path.parent().unwrap()).unwrap(), path.file_name().unwrap().to_owned())
}

fn set_time(path: &Path, sec: i64) {
    let time = Time { sec, nsec: 0 };
    match path.file_name() {
        Some(_) => {
            let (dir, name) = at(path);
            dir.set_times(&name, time, time).unwrap();
        }
        None => unreachable!("a tree is not /"),
    }
}

fn set_xattr(path: &Path, name: &[u8], value: &[u8]) -> conex_sys::Result<()> {
    let (dir, file) = at(path);
    dir.set_xattr(&file, name, value)
}

/// One story. Ends in a panic that says what differs.
struct Story {
    scratch: tempfile::TempDir,
    options: UnpackOptions,
    rounds: u32,
}

impl Story {
    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn source(&self, tag: &str) -> LayoutSource {
        LayoutSource::open(&LayoutName { path: self.path("layout"), reference: Some(tag.to_owned()) })
            .unwrap()
    }

    fn unpack(&mut self, tag: &str) -> PathBuf {
        self.rounds += 1;
        let bundle = self.path(&format!("bundle-{}", self.rounds));
        unpack(&self.source(tag), &Platform::host(), &bundle, &self.options).unwrap();
        bundle
    }

    fn pack_options(&self) -> pack::Options {
        let owner = if self.options.rootless { Owner::Caller } else { Owner::Keep };
        pack::Options { owner, times: pack::Times::Kept }
    }

    fn image(&self, tree: &Path) {
        Layout::init(&self.path("layout")).unwrap();
        let layout = Layout::open(&self.path("layout")).unwrap();
        let mut draft = Draft::new(&Platform::host(), "2020-01-01T00:00:00Z".parse().unwrap());
        let content = Content::Merged(tree.join("."));
        let options = self.pack_options();
        let layer = insert(&draft, &layout, &content, Path::new("/"), Compression::None, options).unwrap();
        draft.append(layer, None);
        draft.commit(&layout, "0").unwrap();
    }

    /// The image's layers as one, beside it.
    fn flatten(&self, tag: &str) {
        let source = self.source(tag);
        let layout = Layout::open(&self.path("layout")).unwrap();
        let image = Image::load(&source, &Platform::host()).unwrap();
        let mut draft = Draft::of(image.clone());
        let layer = flatten(&draft, &layout, &image, &source, Compression::None, None).unwrap();
        draft.replace_layers(layer, None);
        draft.commit(&layout, "flat").unwrap();
        let flat = self.source("flat");
        let flat = Merged::read(&Image::load(&flat, &Platform::host()).unwrap(), &flat, Hash::Files).unwrap();
        assert_eq!(Merged::read(&image, &source, Hash::Files).unwrap().compare(&flat), []);
    }
}

fn same(one: &Path, other: &Path, what: &str) {
    let differences = tree::difference(&tree::read(one), &tree::read(other));
    assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
    // The root's own line is not among them.
    let root = |path: &Path| {
        path.metadata().map(|found| (found.mode(), found.uid(), found.gid(), found.mtime())).unwrap()
    };
    assert_eq!(root(one), root(other), "{what}: the root");
}

fn story(seed: u64, rootless: bool) {
    let mut chance = Chance::new(seed);
    let own = |id| vec![IdMapping { container_id: 0, host_id: id, size: 1 }];
    let scratch = tempfile::tempdir().unwrap();
    let me = scratch.path().metadata().unwrap();
    let mut options = UnpackOptions { rootless, ..UnpackOptions::default() };
    if rootless {
        (options.uid_map, options.gid_map) = (own(me.uid()), own(me.gid()));
    }
    let mut story = Story { scratch, options, rounds: 0 };
    let tree = story.path("tree");
    fs::create_dir(&tree).unwrap();
    let mut wild = Wild { root: &tree, chance: &mut chance, privileged: !rootless, overlay: true };
    (0..25).for_each(|_| wild.create());
    wild.settle();
    story.image(&tree);
    let mut bundle = story.unpack("0");
    same(&tree, &bundle.join("rootfs"), &format!("seed {seed}: unpack"));
    for round in 1..4 {
        let rootfs = bundle.join("rootfs");
        let mut wild = Wild { root: &rootfs, chance: &mut chance, privileged: !rootless, overlay: true };
        (0..12).for_each(|_| wild.change());
        wild.settle();
        let tag = round.to_string();
        let refresh = chance.below(2) == 0;
        let options = RepackOptions { refresh, ..RepackOptions::default() };
        repack(&story.path("layout"), &tag, &bundle, &options)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let again = story.unpack(&tag);
        same(&rootfs, &again.join("rootfs"), &format!("seed {seed}: repack {round}"));
        story.flatten(&tag);
        let flat = story.unpack("flat");
        same(&rootfs, &flat.join("rootfs"), &format!("seed {seed}: flat {round}"));
        // The next round starts from what was unpacked, or from the bundle that followed.
        bundle = if refresh { bundle } else { again };
    }
}

#[test]
fn root_what_is_packed_unpacks_to_the_same() {
    needs!(require::root());
    let rounds = effort::rounds(20, 5000);
    (0..rounds as u64).for_each(|seed| story(seed, false));
    effort::tell(&format!("{rounds} trees with three changes each"));
}

#[test]
fn what_is_packed_without_privileges_unpacks_to_the_same() {
    (0..effort::rounds(15, 2500) as u64).for_each(|seed| story(seed, true));
}

/// Whichever name of a file is changed, the others stay names of it.
#[test]
fn names_of_one_file_stay_together() {
    type Edit = fn(&Path);
    let edits: [(&str, Edit); 6] = [
        ("one is renamed", |at| fs::rename(at.join("b"), at.join("c")).unwrap()),
        ("one goes, one comes", |at| {
            fs::remove_file(at.join("a")).unwrap();
            fs::hard_link(at.join("b"), at.join("0")).unwrap();
        }),
        ("one more", |at| fs::hard_link(at.join("b"), at.join("d/x")).unwrap()),
        ("one less", |at| fs::remove_file(at.join("b")).unwrap()),
        ("a directory moves with one", |at| fs::rename(at.join("d"), at.join("e")).unwrap()),
        // Two files, two names each, before and after, all with the same facts.
        ("they change partners", |at| {
            for (name, of) in [("t", "b"), ("b", "v"), ("v", "t")] {
                let _ = fs::remove_file(at.join(name));
                fs::hard_link(at.join(of), at.join(name)).unwrap();
            }
            fs::remove_file(at.join("t")).unwrap();
            set_time(at, 1_000);
        }),
    ];
    for (what, edit) in edits {
        let scratch = tempfile::tempdir().unwrap();
        let me = scratch.path().metadata().unwrap();
        let own = |id| vec![IdMapping { container_id: 0, host_id: id, size: 1 }];
        let (uid_map, gid_map) = (own(me.uid()), own(me.gid()));
        let options = UnpackOptions { rootless: true, uid_map, gid_map, ..UnpackOptions::default() };
        let mut story = Story { scratch, options, rounds: 0 };
        let tree = story.path("tree");
        fs::create_dir_all(tree.join("d")).unwrap();
        for (one, other) in [("a", "b"), ("u", "v"), ("d/p", "q")] {
            fs::write(tree.join(one), if one == "d/p" { "" } else { "twice" }).unwrap();
            fs::hard_link(tree.join(one), tree.join(other)).unwrap();
        }
        let settle = |root: &Path| {
            let mut chance = Chance::new(1);
            let wild = Wild { root, chance: &mut chance, privileged: false, overlay: false };
            for path in wild.paths().iter().rev().chain([&root.to_owned()]) {
                set_time(path, 1_000);
            }
        };
        settle(&tree);
        story.image(&tree);
        let rootfs = story.unpack("0").join("rootfs");
        edit(&rootfs);
        settle(&rootfs);
        repack(&story.path("layout"), "1", rootfs.parent().unwrap(), &RepackOptions::default()).unwrap();
        same(&rootfs, &story.unpack("1").join("rootfs"), what);
    }
}

/// GNU tar reads the layers, and umoci what was repacked; both see the tree that was packed.
#[test]
fn root_what_is_packed_is_what_umoci_and_tar_unpack() {
    needs!(require::root());
    let [umoci, tar] = [needs!(require::program("umoci")), needs!(require::program("tar"))];
    for seed in 0..effort::rounds(2, 400) as u64 {
        let mut chance = Chance::new(seed + 1_000_000);
        let scratch = tempfile::tempdir().unwrap();
        let mut story = Story { scratch, options: UnpackOptions::default(), rounds: 0 };
        let tree = story.path("tree");
        fs::create_dir(&tree).unwrap();
        let mut wild = Wild { root: &tree, chance: &mut chance, privileged: true, overlay: false };
        (0..25).for_each(|_| wild.create());
        wild.settle();
        story.image(&tree);
        let image = Image::load(&story.source("0"), &Platform::host()).unwrap();
        let blob = story.path("layout/blobs/sha256").join(image.manifest.layers[0].digest.hex());
        fs::create_dir(story.path("tar")).unwrap();
        run(Command::new(tar.as_os_str())
            .args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"])
            .arg(blob)
            .arg("-C")
            .arg(story.path("tar")));
        same(&tree, &story.path("tar"), &format!("seed {seed}: GNU tar"));
        let bundle = story.unpack("0");
        let rootfs = bundle.join("rootfs");
        let mut wild = Wild { root: &rootfs, chance: &mut chance, privileged: true, overlay: false };
        (0..12).for_each(|_| wild.change());
        wild.settle();
        repack(&story.path("layout"), "1", &bundle, &RepackOptions::default()).unwrap();
        let image = format!("{}:1", story.path("layout").display());
        run(Command::new(umoci.as_os_str())
            .args(["raw", "unpack", "--image", &image])
            .arg(story.path("umoci")));
        same(&rootfs, &story.path("umoci"), &format!("seed {seed}: umoci"));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
