// SPDX-License-Identifier: Apache-2.0
//! config.md, "Mounts": each is made detached, gets its flags, and is attached to a target that was resolved inside
//! the root to a descriptor. So neither can be exchanged on the way, nor seen with the wrong flags.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use conex_sys::mount::{self, Attributes, Change, Extent, Filesystem};
use conex_sys::path::{Dir, FileType, Root};
use conex_sys::{Errno, path};

use super::root::{leave_peers, propagation};
use super::{World, copy_up, hide, in_root, missing};
use crate::plan::{ACCESS_TIME, LOCKABLE, Mount, MountAttr, MountSource, Propagation, TargetRule};
use crate::{Error, ErrorKind, Result};

/// What a file below /proc may be covered with by a configuration (LXCFS and the like); everything else there could
/// make later writes to /proc go somewhere else.
const COVERABLE: [&str; 11] = [
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/meminfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "proc/loadavg",
    "proc/slabinfo",
    "proc/kpagecgroup",
    "proc/sys/kernel/ns_last_pid",
    "proc/sys/crypto/fips_enabled",
];

/// Does one mount of the plan.
pub(super) fn mount(world: &mut World<'_>, wanted: &Mount) -> Result<()> {
    let known = world.directory.take();
    if wanted.remount {
        change(world, &wanted.target, wanted.attr)?;
        let target = in_root(world)?.resolve(&wanted.target)?;
        return set_propagation(&target, &wanted.propagation);
    }
    let Some(source) = open_source(world, wanted)? else {
        return hide::mask(world, std::slice::from_ref(&wanted.target), "");
    };
    let root = in_root(world)?;
    let (target, directory) = target(root, Path::new(&wanted.target), wanted.target_rule, &source, known)?;
    if !matches!(&wanted.source, MountSource::Filesystem { kind, .. } if kind == "proc") {
        refuse_inside_proc(root, &target)?;
    }
    if wanted.copy_up {
        // A mount's own descriptor is O_PATH, and cannot be written through.
        let new = Dir::from(source.try_clone()?).reopen()?;
        copy_up::copy(&root.open_dir(&wanted.target)?, &new)?;
    }
    // An old kernel changes no mount that is not attached yet.
    let late = match set_flags(&source, wanted, mount::change_detached) {
        Err(error) if error.errno() == Some(Errno::NOSYS) => true,
        outcome => outcome.map(|()| false)?,
    };
    if wanted.recursive_attr != MountAttr::default() {
        let tree = attributes(wanted.recursive_attr, Extent::Tree);
        mount::change_detached(source.as_fd(), &tree)
            .map_err(|error| since(error, "recursive mount attributes"))?;
    }
    leave_peers(world.plan, &source)?;
    mount::attach(source.as_fd(), target.as_fd()).map_err(|error| unlike(error, &source, &target))?;
    if late {
        set_flags(&source, wanted, mount::change)?;
    }
    set_propagation(&source, &wanted.propagation)?;
    world.spent.extend([source, target]);
    world.directory = directory;
    Ok(())
}

/// What is mounted at a path, links followed inside the root. One that is no mount is the kernel's EINVAL.
pub(super) fn unmount(world: &World<'_>, path: &str) -> Result<()> {
    let target = in_root(world)?.resolve(path)?;
    Ok(mount::detach_open(target.as_fd(), world.inherited.proc.as_fd())?)
}

/// Of what is mounted at a path.
pub(super) fn label(world: &World<'_>, target: &str, label: &str) -> Result<()> {
    let mounted = in_root(world)?.open_dir(target)?;
    Ok(path::set_xattr(&mounted, b"security.selinux", label.as_bytes())?)
}

/// KERNEL(5.12): what has no fallback.
pub(crate) fn since(error: conex_sys::Error, what: &str) -> Error {
    let missing = error.errno() == Errno::NOSYS;
    if missing { Error::from(error).explained(format_args!("{what} need Linux 5.12")) } else { error.into() }
}

/// The kernel's EINVAL for a directory over a file, or a file over a directory, in the word that callers look for.
fn unlike(error: conex_sys::Error, source: &OwnedFd, target: &OwnedFd) -> Error {
    let is_directory = |fd| file_type(fd).is_ok_and(|kind| kind == FileType::Directory);
    let (source, target) = (is_directory(source), is_directory(target));
    if error.errno() != Errno::INVAL || source == target {
        return error.into();
    }
    let kind = |is_directory| if is_directory { "a directory" } else { "a file" };
    let (source, target) = (kind(source), kind(target));
    Error::new(ErrorKind::Os, format!("the source is {source}, the target {target}: not a directory"))
}

fn set_propagation(mounted: &OwnedFd, wanted: &[Propagation]) -> Result<()> {
    for one in wanted {
        let (kind, extent) = propagation(*one);
        mount::change(mounted.as_fd(), &Change { propagation: Some(kind), extent, ..Change::NONE })?;
    }
    Ok(())
}

fn attributes(wanted: MountAttr, extent: Extent) -> Change<'static> {
    Change { set: flags(wanted.set), clear: flags(wanted.clear), extent, ..Change::NONE }
}

fn flags(bits: u64) -> Attributes {
    Attributes::from_bits_retain(u32::try_from(bits).unwrap_or_default())
}

/// Changes the flags of what is mounted at a path.
pub(super) fn change(world: &World<'_>, path: &str, wanted: MountAttr) -> Result<()> {
    let target = in_root(world)?.resolve(path)?;
    Ok(mount::change(target.as_fd(), &attributes(wanted, Extent::One))?)
}

/// A detached mount of the source; `None` if the plan prefers to hide the target then.
fn open_source(world: &World<'_>, wanted: &Mount) -> Result<Option<OwnedFd>> {
    match &wanted.source {
        MountSource::Filesystem { kind, name, options } => {
            let mode = inherited_mode(in_root(world)?, kind, options, &wanted.target)?;
            let options: Vec<_> = options.iter().cloned().chain(mode).collect();
            filesystem(kind, name, &options, flags(wanted.attr.set)).map(Some).map_err(Error::from)
        }
        MountSource::Bind { path, recursive } => {
            let extent = if *recursive { Extent::Tree } else { Extent::One };
            Ok(Some(mount::clone_host(Path::new(path), extent)?))
        }
        MountSource::CgroupBind { path, fallback } => {
            let source = match mount::clone_host(Path::new(path), Extent::Tree) {
                Err(error) if error.errno() == Errno::NOENT => {
                    mount::clone_host(Path::new(fallback), Extent::Tree)?
                }
                outcome => outcome?,
            };
            Ok(Some(source))
        }
        MountSource::Answered { .. } => {
            let source = world.answered.as_ref().ok_or_else(|| missing("opened source"))?;
            Ok(Some(source.try_clone()?))
        }
        MountSource::Opened { index, .. } => {
            let source = world.inherited.sources.get(*index).ok_or_else(|| missing("opened source"))?;
            Ok(Some(source.try_clone()?))
        }
        MountSource::Cgroup2 { options, fallback, mask_if_missing } => {
            cgroup2(options, Path::new(fallback), *mask_if_missing, wanted)
        }
    }
}

/// A bind mount gets what was asked for. What the kernel has locked, because the mount came from outside of this
/// user namespace, stays as it is. A new filesystem has its flags already.
fn set_flags(
    source: &OwnedFd,
    wanted: &Mount,
    change: fn(BorrowedFd<'_>, &Change<'_>) -> conex_sys::Result<()>,
) -> Result<()> {
    if wanted.attr == MountAttr::default() || matches!(wanted.source, MountSource::Filesystem { .. }) {
        return Ok(());
    }
    if wanted.keeps_locks {
        refuse_to_unlock(source, wanted.attr)?;
    }
    let exactly = MountAttr { clear: wanted.attr.clear | wanted.reset, ..wanted.attr };
    match change(source.as_fd(), &attributes(exactly, Extent::One)) {
        Err(error) if wanted.reset & LOCKABLE != 0 && error.errno() == Errno::PERM => {
            let clear = wanted.attr.clear | wanted.reset & !LOCKABLE;
            Ok(change(source.as_fd(), &attributes(MountAttr { clear, ..wanted.attr }, Extent::One))?)
        }
        outcome => Ok(outcome?),
    }
}

/// The source was opened outside of the container's user namespace, where the kernel had locked nothing: the answer
/// that it would have given inside.
fn refuse_to_unlock(source: &OwnedFd, wanted: MountAttr) -> Result<()> {
    let have = u64::from(mount::attributes_of(source.as_fd())?.bits());
    let lifts = wanted.clear & have & LOCKABLE != 0;
    let other_times = wanted.clear & ACCESS_TIME != 0 && wanted.set & ACCESS_TIME != have & ACCESS_TIME;
    if !lifts && !other_times {
        return Ok(());
    }
    let what = "the source's mount has flags that a container with a user namespace cannot take away";
    Err(Error::received(
        ErrorKind::Os,
        format!("{what}: operation not permitted"),
        Errno::PERM.raw_os_error(),
    ))
}

/// A tmpfs without a mode takes that of the directory it covers.
fn inherited_mode(
    root: &Root,
    kind: &str,
    options: &[(String, Option<String>)],
    target: &str,
) -> Result<Option<(String, Option<String>)>> {
    if kind != "tmpfs" || options.iter().any(|(key, _)| key == "mode") {
        return Ok(None);
    }
    let Some(found) = root.find(target)? else { return Ok(None) };
    let mode = path::stat(&found)?.st_mode & 0o7777;
    Ok(Some(("mode".to_owned(), Some(format!("{mode:o}")))))
}

fn filesystem(
    kind: &str,
    name: &str,
    options: &[(String, Option<String>)],
    flags: Attributes,
) -> conex_sys::Result<OwnedFd> {
    let filesystem = Filesystem::open(kind)?;
    if !name.is_empty() {
        filesystem.set("source", name)?;
    }
    for (key, value) in options {
        match value {
            Some(value) => filesystem.set(key, value)?,
            None => filesystem.set_flag(key)?,
        }
    }
    filesystem.mount(flags)
}

/// The kernel gives no cgroup2 of its own to a user namespace that does not own the cgroup namespace.
fn cgroup2(
    options: &[(String, Option<String>)],
    fallback: &Path,
    mask_if_missing: bool,
    wanted: &Mount,
) -> Result<Option<OwnedFd>> {
    match filesystem("cgroup2", "cgroup", options, flags(wanted.attr.set)) {
        Err(error) if [Errno::PERM, Errno::BUSY].contains(&error.errno()) => {}
        outcome => return Ok(Some(outcome?)),
    }
    match mount::clone_host(fallback, Extent::One) {
        Err(error) if mask_if_missing && error.errno() == Errno::NOENT => Ok(None),
        outcome => Ok(Some(outcome?)),
    }
}

/// A directory of the container by the path that led there.
type Known = Option<(PathBuf, Dir)>;

/// Where to mount: resolved inside the root, and made if it is missing. Besides, in which directory it was made: as long
/// as nothing is mounted but on what is new in there, its path leads there.
fn target(
    root: &Root,
    path: &Path,
    rule: TargetRule,
    source: &OwnedFd,
    known: Known,
) -> Result<(OwnedFd, Known)> {
    match rule {
        TargetRule::RealDirectory => Ok((real_directory(root, path)?, None)),
        TargetRule::Directory => directory(root, path, known),
        TargetRule::LikeSource if file_type(source)? == FileType::Directory => directory(root, path, known),
        TargetRule::LikeSource => Ok((file(root, path)?, None)),
    }
}

fn directory(root: &Root, path: &Path, known: Known) -> Result<(OwnedFd, Known)> {
    if let Some((above, directory)) = known
        && path.parent() == Some(&above)
        && let Some(name) = path.file_name()
        && directory.make_dir(name, 0o755).is_ok()
    {
        return Ok((OwnedFd::from(directory.open_dir(name)?), Some((above, directory))));
    }
    if let Some(found) = root.find(path)? {
        return Ok((found, None));
    }
    if let Some((made, above)) = last_directory(root, path)? {
        return Ok((made, above));
    }
    Ok((OwnedFd::from(root.make_dir_all(promised(root, path)?, 0o755)?), None))
}

/// Makes the last directory of a path, where only that is missing and its name is free: no dangling link has it.
fn last_directory(root: &Root, path: &Path) -> Result<Option<(OwnedFd, Known)>> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let Some(directory) = root.find_dir(above)? else { return Ok(None) };
    match directory.make_dir(name, 0o755) {
        Err(error) if error.errno() == Errno::EXIST => Ok(None),
        outcome => {
            outcome?;
            Ok(Some((OwnedFd::from(directory.open_dir(name)?), Some((above.to_owned(), directory)))))
        }
    }
}

/// One name after the other, none of them a symbolic link: /proc and /sys must be where they are looked for.
fn real_directory(root: &Root, path: &Path) -> Result<OwnedFd> {
    let mut reached = None;
    for component in path.components() {
        let Component::Normal(name) = component else { continue };
        let here = reached.as_ref().unwrap_or(root.dir());
        let next = match here.open_dir(name) {
            Err(error) if error.errno() == Errno::NOENT => {
                here.make_dir(name, 0o755)?;
                here.open_dir(name)?
            }
            Err(error) if [Errno::LOOP, Errno::NOTDIR].contains(&error.errno()) => {
                let what =
                    format!("{} must be mounted on ordinary directory, not a symbolic link", path.display());
                return Err(Error::from(error).wrap(what));
            }
            outcome => outcome?,
        };
        reached = Some(next);
    }
    Ok(OwnedFd::from(reached.map_or_else(|| root.dir().try_clone(), Ok)?))
}

/// How many dangling links in a row are followed to the file that they promise.
const MAX_LINKS: u32 = 40;

fn file(root: &Root, path: &Path) -> Result<OwnedFd> {
    if let Some(found) = root.find(path)? {
        return Ok(found);
    }
    let path = promised(root, path)?;
    let directory = root.make_dir_all(path.parent().unwrap_or(Path::new("/")), 0o755)?;
    Ok(OwnedFd::from(directory.create_file(path.file_name().unwrap_or_default(), 0o644)?))
}

/// Where a path leads when all that is missing on the way has been made: its symbolic links, dangling ones too, are
/// followed inside the root. Only what is made there later is resolved for good, and never through a link.
fn promised(root: &Root, path: &Path) -> Result<PathBuf> {
    let names =
        |path: &Path| path.components().rev().map(|part| PathBuf::from(part.as_os_str())).collect::<Vec<_>>();
    let (mut here, mut left, mut links) = (PathBuf::from("/"), names(path), 0);
    while let Some(name) = left.pop() {
        match name.components().next() {
            Some(Component::RootDir) => here = PathBuf::from("/"),
            Some(Component::ParentDir) => drop(here.pop()),
            Some(Component::Normal(name)) => match root.open_dir(&here).and_then(|dir| dir.read_link(name)) {
                Ok(link) if links < MAX_LINKS => {
                    links += 1;
                    left.extend(names(Path::new(&link)));
                }
                Ok(_) => {
                    let what = format!("{}: too many symbolic links", path.display());
                    return Err(Error::new(ErrorKind::Os, what));
                }
                // No link, or not there: it will be a directory or file of this name.
                Err(_) => here.push(name),
            },
            _ => {}
        }
    }
    Ok(here)
}

pub(super) fn file_type(fd: &OwnedFd) -> Result<FileType> {
    Ok(FileType::from_raw_mode(path::stat(fd)?.st_mode))
}

/// A volume over a part of /proc could turn the runtime's own writes there to another file.
fn refuse_inside_proc(root: &Root, target: &OwnedFd) -> Result<()> {
    if !mount::is_procfs(target.as_fd())? {
        return Ok(());
    }
    let identity = |fd: &OwnedFd| path::stat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    let wanted = identity(target)?;
    let coverable = COVERABLE.iter().any(|name| {
        root.resolve(name).is_ok_and(|known| identity(&known).is_ok_and(|identity| identity == wanted))
    });
    coverable.then_some(()).ok_or_else(|| {
        Error::new(ErrorKind::Config, "the target is inside /proc: only a procfs can be mounted there")
    })
}
