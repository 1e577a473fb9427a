// SPDX-License-Identifier: Apache-2.0
//! Mounts as descriptors: fsopen(2), fsmount(2), open_tree(2), move_mount(2), mount_setattr(2).
//!
//! A mount is made detached, gets its attributes while nobody can see it, and is then attached to a descriptor.
//! No function here takes a target path except the two that must ([`detach`], [`set_propagation`]).
//! A filesystem's own words on a failure (its context log) are part of the error.

mod remount;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::error::Call;
use crate::raw::{check, show};
use crate::{Error, Result};

/// `MOUNT_ATTR_*`: read-only, nosuid, nodev, noexec, atime, nosymfollow.
pub use rustix::mount::MountAttrFlags as Attributes;

/// How mount events travel between copies of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Both ways, between peers.
    Shared,
    /// From the peer group here only.
    Slave,
    /// Neither way.
    Private,
    /// Neither way, and it cannot be bound elsewhere.
    Unbindable,
}

impl Propagation {
    fn flag(self) -> u64 {
        match self {
            Self::Shared => libc::MS_SHARED,
            Self::Slave => libc::MS_SLAVE,
            Self::Private => libc::MS_PRIVATE,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// Whether an operation is for one mount, or for the whole tree below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The mount alone.
    One,
    /// The mount and everything mounted below it.
    Tree,
}

/// A filesystem that is being configured: fsopen(2) … fsmount(2).
#[derive(Debug)]
pub struct Filesystem {
    kind: String,
    context: OwnedFd,
}

impl Filesystem {
    /// Begins a new instance of the filesystem type `kind`.
    pub fn open(kind: &str) -> Result<Self> {
        let context =
            rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).call(|| format!("fsopen({kind:?})"))?;
        Ok(Self { kind: kind.to_owned(), context })
    }

    /// `key=value`.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let done = rustix::mount::fsconfig_set_string(&self.context, key, value);
        self.told(done, || format!("fsconfig({}, {key}={value})", self.kind))
    }

    /// A word without a value.
    pub fn set_flag(&self, key: &str) -> Result<()> {
        let done = rustix::mount::fsconfig_set_flag(&self.context, key);
        self.told(done, || format!("fsconfig({}, {key})", self.kind))
    }

    /// A key whose value is an open file.
    pub fn set_fd(&self, key: &str, value: BorrowedFd<'_>) -> Result<()> {
        let done = rustix::mount::fsconfig_set_fd(&self.context, key, value);
        self.told(done, || format!("fsconfig({}, {key}={})", self.kind, show(&value)))
    }

    /// Every option of a comma separated list, `key=value` or a bare word.
    pub fn set_all<'a>(&self, options: impl IntoIterator<Item = &'a str>) -> Result<()> {
        options.into_iter().filter(|option| !option.is_empty()).try_for_each(|option| {
            match option.split_once('=') {
                Some((key, value)) => self.set(key, value),
                None => self.set_flag(option),
            }
        })
    }

    /// Makes the instance and a detached mount of it.
    pub fn mount(self, attributes: Attributes) -> Result<OwnedFd> {
        let created = rustix::mount::fsconfig_create(&self.context);
        self.told(created, || format!("fsconfig({}, CREATE)", self.kind))?;
        let mounted = rustix::mount::fsmount(&self.context, FsMountFlags::FSMOUNT_CLOEXEC, attributes);
        self.told(mounted, || format!("fsmount({}, {attributes:?})", self.kind))
    }

    /// Adds what the filesystem wrote into its context log to a failure.
    fn told<T>(&self, outcome: rustix::io::Result<T>, call: impl FnOnce() -> String) -> Result<T> {
        outcome.map_err(|errno| {
            let mut log = [0; 256];
            let length = rustix::io::read(&self.context, &mut log).unwrap_or_default();
            let words = String::from_utf8_lossy(&log[..length]);
            let words = words.trim().trim_start_matches("e ").trim_start_matches("w ");
            let call = if words.is_empty() { call() } else { format!("{} ({words})", call()) };
            Error::new(call, errno)
        })
    }
}

/// A new detached tmpfs.
pub fn tmpfs(options: &[&str], attributes: Attributes) -> Result<OwnedFd> {
    let filesystem = Filesystem::open("tmpfs")?;
    filesystem.set("source", "tmpfs")?;
    filesystem.set_all(options.iter().copied())?;
    filesystem.mount(attributes)
}

/// The directories an overlay is made of; the topmost lower directory comes first.
#[derive(Clone, Copy, Debug)]
pub struct Overlay<'a> {
    /// Read-only layers, topmost first. At least one, or two if there is no upper directory.
    pub lower: &'a [&'a Path],
    /// The writable layer and its work directory, on one filesystem.
    pub upper: Option<(&'a Path, &'a Path)>,
    /// Further options, `key=value` or bare words (`userxattr`, `volatile`, `metacopy=on`).
    pub options: &'a [&'a str],
}

impl Overlay<'_> {
    /// A detached mount of it.
    ///
    /// KERNEL(6.5): each lower directory is one `lowerdir+`, so hundreds fit. Before, one `lowerdir=` string with
    /// escaped colons, which the kernel limits to 255 bytes on fsconfig and a page on mount(2).
    pub fn mount(&self, attributes: Attributes) -> Result<OwnedFd> {
        let filesystem = Filesystem::open("overlay")?;
        filesystem.set("source", "overlay")?;
        filesystem.set_all(self.options.iter().copied())?;
        for (index, lower) in self.lower.iter().enumerate() {
            match filesystem.set("lowerdir+", &utf8(lower)?) {
                Err(refused) if index == 0 && refused.errno() == Errno::INVAL => {
                    self.lower_as_one_string(&filesystem)?;
                    break;
                }
                outcome => outcome?,
            }
        }
        if let Some((upper, work)) = self.upper {
            filesystem.set("upperdir", &utf8(upper)?)?;
            filesystem.set("workdir", &utf8(work)?)?;
        }
        filesystem.mount(attributes)
    }

    fn lower_as_one_string(&self, filesystem: &Filesystem) -> Result<()> {
        let escaped =
            self.lower.iter().map(|lower| Ok(utf8(lower)?.replace('\\', "\\\\").replace(':', "\\:")));
        filesystem.set("lowerdir", &escaped.collect::<Result<Vec<_>>>()?.join(":"))
    }
}

fn utf8(path: &Path) -> Result<String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::new(format!("fsconfig(overlay, {path:?})"), Errno::ILSEQ))
}

/// A detached copy of the mount at `path` below `at`, or of `at` itself if `path` is empty. Links are followed:
/// a path from inside a container is resolved first, and comes here as a descriptor.
pub fn clone(at: BorrowedFd<'_>, path: &Path, extent: Extent) -> Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if extent == Extent::Tree {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(at, path, flags)
        .call(|| format!("open_tree({}, {path:?}, {flags:?})", show(&at)))
}

/// A detached copy of what is mounted at, or lies at, a path of the host. Links are followed, as mount(8) does.
pub fn clone_host(path: &Path, extent: Extent) -> Result<OwnedFd> {
    clone(rustix::fs::CWD, path, extent)
}

/// Attaches a detached mount on top of `target`.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags)
        .call(|| format!("move_mount({}, {})", show(&mount), show(&target)))
}

/// What [`change`] does to a mount.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Attributes to switch on.
    pub set: Attributes,
    /// Attributes to switch off. Any atime choice in `set` clears the earlier one by itself.
    pub clear: Attributes,
    /// The new propagation, if any.
    pub propagation: Option<Propagation>,
    /// The user namespace whose id maps the mount shall show files through.
    pub idmap: Option<BorrowedFd<'a>>,
    /// The mount, or the tree below it.
    pub extent: Extent,
}

impl Change<'_> {
    /// Changes nothing yet.
    pub const NONE: Self = Self {
        set: Attributes::empty(),
        clear: Attributes::empty(),
        propagation: None,
        idmap: None,
        extent: Extent::One,
    };
}

/// The atime choices: a field of several bits, to be cleared as a whole before one is chosen.
const ATIME: Attributes = Attributes::MOUNT_ATTR__ATIME;

/// Changes an open mount that is attached, or with mount_setattr(2) any. KERNEL(5.12): see [`remount`].
pub fn change(mount: BorrowedFd<'_>, change: &Change<'_>) -> Result<()> {
    match change_detached(mount, change) {
        Err(error) if error.errno() == Errno::NOSYS => remount::remount(mount, change, error),
        outcome => outcome,
    }
}

/// mount_setattr(2) on an open mount, attached or not. KERNEL(5.12): `ENOSYS`; attach it and use [`change`].
pub fn change_detached(mount: BorrowedFd<'_>, change: &Change<'_>) -> Result<()> {
    let mut clear = change.clear;
    // The default, relatime, is the value 0 of the field: it is chosen by clearing.
    if change.set.intersects(ATIME) || change.clear.intersects(ATIME) {
        clear |= ATIME;
    }
    let idmap = change.idmap.map_or(0, |_| libc::MOUNT_ATTR_IDMAP);
    let attributes = libc::mount_attr {
        attr_set: u64::from(change.set.bits()) | idmap,
        attr_clr: u64::from(clear.bits()),
        propagation: change.propagation.map_or(0, Propagation::flag),
        userns_fd: change.idmap.map_or(0, |fd| u64::try_from(fd.as_raw_fd()).unwrap_or_default()),
    };
    let mut flags = libc::AT_EMPTY_PATH;
    if change.extent == Extent::Tree {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is a static C string, and `attributes` is a live struct of exactly the size that is passed.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    check(returned).map(drop).call(|| format!("mount_setattr({}, {change:?})", show(&mount)))
}

/// The attributes that one mount has now.
pub fn attributes_of(at: BorrowedFd<'_>) -> Result<Attributes> {
    let flags = rustix::fs::fstatvfs(at).call(|| format!("fstatvfs({})", show(&at)))?.f_flag;
    use rustix::fs::StatVfsMountFlags as Have;
    let pairs = [
        (Have::RDONLY, Attributes::MOUNT_ATTR_RDONLY),
        (Have::NOSUID, Attributes::MOUNT_ATTR_NOSUID),
        (Have::NODEV, Attributes::MOUNT_ATTR_NODEV),
        (Have::NOEXEC, Attributes::MOUNT_ATTR_NOEXEC),
        (Have::NOATIME, Attributes::MOUNT_ATTR_NOATIME),
        (Have::NODIRATIME, Attributes::MOUNT_ATTR_NODIRATIME),
    ];
    let named = pairs.into_iter().filter(|(have, _)| flags.contains(*have)).map(|(_, attribute)| attribute);
    // Of the three kinds of access times relatime is 0, and strictatime has no name in statfs.
    let strict = !flags.intersects(Have::NOATIME | Have::RELATIME);
    Ok(named.chain(strict.then_some(Attributes::MOUNT_ATTR_STRICTATIME)).collect())
}

/// Changes the propagation of the mount at `path`: `/`, or one relative to where the process stands.
pub fn set_propagation(path: &Path, propagation: Propagation, extent: Extent) -> Result<()> {
    use rustix::mount::MountPropagationFlags as Flags;
    let mut flags = match propagation {
        Propagation::Shared => Flags::SHARED,
        Propagation::Slave => Flags::DOWNSTREAM,
        Propagation::Private => Flags::PRIVATE,
        Propagation::Unbindable => Flags::UNBINDABLE,
    };
    if extent == Extent::Tree {
        flags |= Flags::REC;
    }
    rustix::mount::mount_change(path, flags).call(|| format!("mount({path:?}, {flags:?})"))
}

/// Makes the directory the process stands in its root, and leaves the old root mounted on top of the same spot:
/// `pivot_root(".", ".")`. Follow with [`detach`]`(".")`.
pub fn pivot_root_here() -> Result<()> {
    rustix::process::pivot_root(".", ".").call(|| "pivot_root(\".\", \".\")".to_owned())
}

/// Takes an open mount out of sight, by way of an open procfs, where the process stands afterwards.
pub fn detach_open(mount: BorrowedFd<'_>, procfs: BorrowedFd<'_>) -> Result<()> {
    stand_in(procfs)?;
    let path = format!("self/fd/{}", mount.as_raw_fd());
    rustix::mount::unmount(&path, UnmountFlags::DETACH).call(|| format!("umount2({path:?}, MNT_DETACH)"))
}

/// Takes the mount at `path` out of sight; it goes away when nobody uses it any more.
pub fn detach(path: &Path) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .call(|| format!("umount2({path:?}, MNT_DETACH)"))
}

/// Moves the mount that the process stands in onto `/`, for hosts where pivot_root(2) is refused (an initramfs).
pub fn move_here_to_root() -> Result<()> {
    rustix::mount::mount_move(".", "/").call(|| "mount(\".\", \"/\", MS_MOVE)".to_owned())
}

/// Makes the directory the process stands in its root, without a mount namespace's help.
pub fn chroot_here() -> Result<()> {
    rustix::process::chroot(".").call(|| "chroot(\".\")".to_owned())
}

/// An `O_PATH` descriptor of a directory of the host.
pub fn open_dir(path: &Path) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .call(|| format!("open({path:?}, O_PATH|O_DIRECTORY)"))
}

/// The directory above an open one.
pub fn open_parent(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::openat(directory, "..", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .call(|| format!("openat({}, \"..\", O_PATH|O_DIRECTORY)", show(&directory)))
}

/// The numbers of the mount that a descriptor is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// As in `/proc/PID/mountinfo`; given anew once the mount is gone.
    pub id: u64,
    /// Never given again until the machine boots. KERNEL(6.8): 0 before.
    pub unique_id: u64,
}

/// statx(2), `STATX_MNT_ID` and `STATX_MNT_ID_UNIQUE`. A detached mount keeps its numbers when it is attached.
pub fn identity(at: BorrowedFd<'_>) -> Result<Identity> {
    use rustix::fs::{AtFlags, StatxFlags};
    const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
    let number = |wanted: StatxFlags| {
        let answer = rustix::fs::statx(at, "", AtFlags::EMPTY_PATH, wanted)
            .call(|| format!("statx({}, {wanted:?})", show(&at)))?;
        Ok(if answer.stx_mask & wanted.bits() == 0 { 0 } else { answer.stx_mnt_id })
    };
    Ok(Identity { id: number(StatxFlags::MNT_ID)?, unique_id: number(UNIQUE)? })
}

/// Whether something lies on a procfs.
pub fn is_procfs(at: BorrowedFd<'_>) -> Result<bool> {
    let kind = rustix::fs::fstatfs(at).call(|| format!("fstatfs({})", show(&at)))?.f_type;
    Ok(kind == rustix::fs::PROC_SUPER_MAGIC)
}

/// An `O_PATH` descriptor of anything of the host; a symbolic link is followed.
pub fn open_path(path: &Path) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .call(|| format!("open({path:?}, O_PATH)"))
}

/// Makes the process stand in its root.
pub fn stand_at_root() -> Result<()> {
    rustix::process::chdir("/").call(|| "chdir(\"/\")".to_owned())
}

/// Makes the process stand in an open directory.
pub fn stand_in(directory: impl AsFd) -> Result<()> {
    rustix::process::fchdir(&directory).call(|| format!("fchdir({})", show(&directory.as_fd())))
}

/// Whether all of cgroup v2 is mounted here, and not a part of it. What cannot be looked at is not.
pub fn is_whole_cgroup2(path: &Path) -> bool {
    /// Of the top in every kernfs.
    const FIRST_INODE: u64 = 1;
    const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
    rustix::fs::statfs(path).is_ok_and(|filesystem| filesystem.f_type as u64 == CGROUP2_SUPER_MAGIC)
        && rustix::fs::stat(path).is_ok_and(|stat| stat.st_ino == FIRST_INODE)
}
