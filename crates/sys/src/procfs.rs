// SPDX-License-Identifier: Apache-2.0
//! A `/proc` that nobody else can mount over, and the few facts about processes that are read from it.
//!
//! [`Procfs`] is an own detached mount where the kernel allows that, else the host's `/proc` after a look at its
//! filesystem type. Below it no symbolic link is followed and no mount crossed, so a write to `sys/…` or
//! `self/attr/…` goes to that very file and to no other.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::Call;
use crate::mount::{self, Attributes, Filesystem};
use crate::{Error, Result};

/// An open procfs.
#[derive(Debug)]
pub struct Procfs {
    root: OwnedFd,
}

impl Procfs {
    /// An instance for the pid namespace of the caller.
    pub fn open() -> Result<Self> {
        let attributes =
            Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NODEV | Attributes::MOUNT_ATTR_NOEXEC;
        match Filesystem::open("proc").and_then(|proc| proc.mount(attributes)) {
            Ok(root) => Ok(Self { root }),
            // Not privileged, or the visible /proc is partly covered and the kernel gives no fresh one.
            Err(refused) if matches!(refused.errno(), Errno::PERM | Errno::NOSYS) => Self::of_host(),
            Err(other) => Err(other),
        }
    }

    /// The `/proc` of the host, if it is one.
    pub fn of_host() -> Result<Self> {
        let root = mount::open_dir(Path::new("/proc"))?;
        let kind = rustix::fs::fstatfs(&root).call(|| "fstatfs(\"/proc\")".to_owned())?.f_type;
        if kind != rustix::fs::PROC_SUPER_MAGIC {
            return Err(Error::new("fstatfs(\"/proc\") is not procfs", Errno::NODEV));
        }
        Ok(Self { root })
    }

    /// Opens a file below, `self/…` being the calling process.
    pub fn open_file(&self, path: &str, flags: OFlags) -> Result<File> {
        let own = match path.strip_prefix("self/") {
            Some(rest) => format!("{}/{rest}", self.own_id()?),
            None => path.to_owned(),
        };
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_XDEV
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_SYMLINKS;
        let file = rustix::fs::openat2(&self.root, &own, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
            .call(|| format!("openat2(/proc, {own:?}, {flags:?})"))?;
        Ok(File::from(file))
    }

    /// The id of the caller as this instance numbers processes.
    fn own_id(&self) -> Result<String> {
        let link = rustix::fs::readlinkat(&self.root, "self", Vec::new())
            .call(|| "readlinkat(/proc, \"self\")".to_owned())?;
        Ok(link.to_string_lossy().into_owned())
    }

    /// Writes a whole value in one write(2), as the kernel's files want it.
    pub fn write(&self, path: &str, value: &[u8]) -> Result<()> {
        let mut file = self.open_file(path, OFlags::WRONLY)?;
        file.write_all(value).call(|| format!("write(/proc/{path})"))
    }

    /// Reads a whole file.
    pub fn read(&self, path: &str) -> Result<String> {
        let mut text = String::new();
        let mut file = self.open_file(path, OFlags::RDONLY)?;
        file.read_to_string(&mut text).call(|| format!("read(/proc/{path})"))?;
        Ok(text)
    }
}

impl AsFd for Procfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// From `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `D`, `Z`, `X`, ….
    pub state: char,
    /// When the process began, in clock ticks since boot: with the pid and the boot id, a name for ever.
    pub start_time: u64,
    /// It is another program than the one it was born with.
    pub has_executed: bool,
}

/// Reads the host's `/proc/<pid>/stat`. `None` if there is no such process.
pub fn stat(pid: i32) -> Result<Option<Stat>> {
    let path = format!("/proc/{pid}/stat");
    match crate::file::read_record(Path::new(&path)) {
        Ok(text) => parse_stat(&String::from_utf8_lossy(&text))
            .map(Some)
            .ok_or_else(|| Error::new(format!("read({path:?}) is not a stat line"), Errno::INVAL)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        Err(error) => Err(error).call(|| format!("read({path:?})")),
    }
}

/// The second field is a name in parentheses that may itself hold spaces and parentheses.
fn parse_stat(line: &str) -> Option<Stat> {
    let (_, rest) = line.rsplit_once(')')?;
    /// `PF_FORKNOEXEC`, include/linux/sched.h.
    const BORN_SO: u32 = 0x40;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let flags: u32 = fields.nth(5)?.parse().ok()?;
    Some(Stat { state, start_time: fields.nth(12)?.parse().ok()?, has_executed: flags & BORN_SO == 0 })
}

/// A row of `/proc/<pid>/limits`; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In force; the process may move it up to `hard`.
    pub soft: Option<u64>,
    /// The process may lower it, and raise it only with CAP_SYS_RESOURCE.
    pub hard: Option<u64>,
}

/// The text of `/proc/<pid>/limits`, by the names in its first column. What does not parse is left out.
pub fn parse_limits(text: &str) -> BTreeMap<String, Limit> {
    let row = |line: &str| {
        // Names hold spaces, never two in a row.
        let (name, values) = line.split_once("  ")?;
        let mut values = values.split_ascii_whitespace().map(|word| match word {
            "unlimited" => Some(None),
            number => number.parse().ok().map(Some),
        });
        Some((name.to_owned(), Limit { soft: values.next()??, hard: values.next()?? }))
    };
    text.lines().filter_map(row).collect()
}

/// Changes with every boot, and so never while a process lives: it is read once.
pub fn boot_id() -> Result<String> {
    static READ: OnceLock<String> = OnceLock::new();
    if let Some(known) = READ.get() {
        return Ok(known.clone());
    }
    let path = "/proc/sys/kernel/random/boot_id";
    let text = crate::file::read_record(Path::new(path)).call(|| format!("read({path:?})"))?;
    Ok(READ.get_or_init(|| String::from_utf8_lossy(&text).trim().to_owned()).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) b (c)) S 1 2 3 4 5 4194560 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        assert_eq!(parse_stat(line), Some(Stat { state: 'S', start_time: 4242, has_executed: true }));
        let own = stat(i32::try_from(std::process::id()).unwrap()).unwrap().unwrap();
        assert!(own.has_executed);
        assert_eq!(parse_stat("7 (x"), None);
    }

    #[test]
    fn limits_by_their_names() {
        let own = std::fs::read_to_string("/proc/self/limits").unwrap();
        assert_eq!(parse_limits(&own).len(), 16);
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max open files            1024                 unlimited            files     \n";
        let files = Limit { soft: Some(1024), hard: None };
        assert_eq!(parse_limits(text), BTreeMap::from([("Max open files".to_owned(), files)]));
    }

    #[test]
    fn reads_itself() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(stat(own).unwrap().unwrap().start_time > 0);
        assert_eq!(boot_id().unwrap().len(), 36);
        assert!(Procfs::of_host().unwrap().read("self/status").unwrap().contains("Threads:"));
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let proc = Procfs::of_host().unwrap();
        assert_eq!(proc.read("self/exe").unwrap_err().errno(), Errno::LOOP);
        assert_eq!(proc.read("mounts").unwrap_err().errno(), Errno::LOOP);
    }
}
