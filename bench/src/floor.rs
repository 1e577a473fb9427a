// SPDX-License-Identifier: Apache-2.0
//! `conex-floor ROOTFS [NAMESPACE…] [HIERARCHY…]`: what no runtime can be faster than. It makes the namespaces, and
//! with a mount namespace the mounts, nodes, masks and read-only paths of a default container, pivots into ROOTFS,
//! executes `/bin/true` there and waits for it. With mount points of cgroup hierarchies (all of v1's, or the one of v2)
//! it makes a cgroup in each with the default devices, is in there from its beginning, and removes it at the end.
//!
//! It reads no configuration, keeps no state, drops no right, and checks nothing that an image could have put in its
//! way: a measure, not a runtime.
#![forbid(unsafe_code)]

mod cgroup;

use std::convert::Infallible;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use conex_sys::Result;
use conex_sys::mount::{self, Attributes, Change, Extent, Filesystem, Propagation};
use conex_sys::namespace::{self, Kind};
use conex_sys::path::{Dir, FileType};
use conex_sys::process::{self, Exit, Spawn, Words};

use cgroup::Cgroup;

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let Some(rootfs) = words.next() else {
        return failure("usage: conex-floor ROOTFS [NAMESPACE…] [HIERARCHY…]");
    };
    let (hierarchies, wanted): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with('/'));
    let kinds: Vec<_> =
        Kind::ALL.into_iter().filter(|kind| wanted.iter().any(|name| name == kind.file_name())).collect();
    let hierarchies: Vec<_> = hierarchies.into_iter().map(PathBuf::from).collect();
    match live(Path::new(&rootfs), &kinds, &hierarchies) {
        Ok(Exit::Code(0)) => ExitCode::SUCCESS,
        Ok(other) => failure(&format!("{other:?}")),
        Err(error) => failure(&error.to_string()),
    }
}

/// A container's whole life.
fn live(rootfs: &Path, kinds: &[Kind], hierarchies: &[PathBuf]) -> Outcome<Exit> {
    let cgroup = Cgroup::make(hierarchies)?;
    let request = Spawn {
        namespaces: namespace::flags(kinds.iter().copied()),
        cgroup: cgroup.born_in(),
        ..Spawn::default()
    };
    let child = process::spawn(&request, || match begin(rootfs, kinds, &cgroup) {
        Ok(never) => match never {},
        Err(error) => {
            failure(&error.to_string());
            1
        }
    })?;
    let exit = process::wait(child.pidfd.as_fd())?;
    cgroup.remove()?;
    Ok(exit)
}

fn begin(rootfs: &Path, kinds: &[Kind], cgroup: &Cgroup) -> Outcome<Infallible> {
    cgroup.walk_in()?;
    if kinds.contains(&Kind::Mount) { enter(rootfs) } else { chroot(rootfs) }?;
    Ok(run()?)
}

fn run() -> Result<Infallible> {
    Err(process::exec(c"/bin/true", &Words::new(["/bin/true"])?, &Words::new(["PATH=/bin"])?))
}

fn chroot(rootfs: &Path) -> Result<()> {
    mount::stand_in(mount::open_dir(rootfs)?)?;
    mount::chroot_here()
}

const QUIET: Attributes =
    Attributes::MOUNT_ATTR_NOSUID.union(Attributes::MOUNT_ATTR_NODEV).union(Attributes::MOUNT_ATTR_NOEXEC);
const READONLY: Change<'static> = Change { set: Attributes::MOUNT_ATTR_RDONLY, ..Change::NONE };

/// A default container's root filesystem.
fn enter(rootfs: &Path) -> Result<()> {
    mount::set_propagation(Path::new("/"), Propagation::Private, Extent::Tree)?;
    let root = mount::clone_host(rootfs, Extent::Tree)?;
    mount::attach(root.as_fd(), mount::open_dir(rootfs)?.as_fd())?;
    mount::stand_in(&root)?;
    put("proc", &[], Attributes::empty(), "proc")?;
    put("tmpfs", &["mode=755", "size=65536k"], Attributes::MOUNT_ATTR_NOSUID, "dev")?;
    let dev = Dir::from(mount::open_dir(Path::new("dev"))?);
    for name in ["pts", "shm", "mqueue"] {
        dev.make_dir(OsStr::new(name), 0o755)?;
    }
    put("devpts", &["newinstance", "ptmxmode=0666", "mode=0620"], Attributes::MOUNT_ATTR_NOSUID, "dev/pts")?;
    put("tmpfs", &["mode=1777", "size=65536k"], QUIET, "dev/shm")?;
    put("mqueue", &[], QUIET, "dev/mqueue")?;
    put("sysfs", &[], QUIET | Attributes::MOUNT_ATTR_RDONLY, "sys")?;
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        dev.make_node(OsStr::new(name), FileType::CharacterDevice, 0o666, major, minor)?;
    }
    for (name, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        dev.make_symlink(OsStr::new(target), OsStr::new(name))?;
    }
    mount::pivot_root_here()?;
    mount::detach(Path::new("."))?;
    for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"] {
        let copy = mount::clone_host(Path::new(path), Extent::Tree)?;
        mount::change(copy.as_fd(), &READONLY)?;
        mount::attach(copy.as_fd(), mount::open_path(Path::new(path))?.as_fd())?;
    }
    for path in ["/proc/keys", "/proc/timer_list"] {
        let null = mount::clone_host(Path::new("/dev/null"), Extent::One)?;
        mount::attach(null.as_fd(), mount::open_path(Path::new(path))?.as_fd())?;
    }
    for path in ["/proc/acpi", "/sys/firmware"] {
        put("tmpfs", &[], Attributes::MOUNT_ATTR_RDONLY, path)?;
    }
    Ok(())
}

/// Mounts a new filesystem at a path.
fn put(kind: &str, options: &[&str], attributes: Attributes, at: &str) -> Result<()> {
    let filesystem = Filesystem::open(kind)?;
    filesystem.set_all(options.iter().copied())?;
    let mounted: OwnedFd = filesystem.mount(attributes)?;
    mount::attach(mounted.as_fd(), mount::open_dir(Path::new(at))?.as_fd())
}

#[expect(clippy::print_stderr, reason = "this is a program")]
fn failure(message: &str) -> ExitCode {
    eprintln!("conex-floor: {message}");
    ExitCode::FAILURE
}
