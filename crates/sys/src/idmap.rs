// SPDX-License-Identifier: Apache-2.0
//! Id maps of a user namespace: written directly where the kernel allows it, else by newuidmap and newgidmap.
//!
//! The kernel lets an unprivileged writer map exactly one id, its own, and groups only after `setgroups` is denied.
//! For ranges, the two setuid helpers of the uidmap package check `/etc/subuid` and `/etc/subgid`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;

use crate::error::Call;
use crate::{Error, Result};

/// `count` ids from `inside` on are `outside` and following in the parent namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First id in the new namespace.
    pub inside: u32,
    /// First id in the namespace around it.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// Which ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// `uid_map`, newuidmap.
    Users,
    /// `gid_map`, newgidmap.
    Groups,
}

impl Ids {
    fn file(self) -> &'static str {
        match self {
            Self::Users => "uid_map",
            Self::Groups => "gid_map",
        }
    }

    fn helper(self) -> &'static str {
        match self {
            Self::Users => "newuidmap",
            Self::Groups => "newgidmap",
        }
    }
}

/// Where a helper may be. Never `$PATH`: its owner could point it anywhere.
const HELPER_DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin"];

/// Writes both maps of the user namespace that process `pid` lives in.
pub fn write(pid: i32, users: &[Range], groups: &[Range]) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        write_directly(pid, Ids::Users, users)?;
        return write_directly(pid, Ids::Groups, groups);
    }
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    write_unprivileged(pid, Ids::Users, users, own.0)?;
    if is_own_id_alone(groups, own.1) {
        deny_setgroups(pid)?;
    }
    write_unprivileged(pid, Ids::Groups, groups, own.1)
}

/// Without it an unprivileged process may not write its map of groups.
pub fn deny_setgroups(pid: i32) -> Result<()> {
    write_file(&format!("/proc/{pid}/setgroups"), "deny")
}

fn is_own_id_alone(ranges: &[Range], own: u32) -> bool {
    matches!(ranges, [Range { outside, count: 1, .. }] if *outside == own)
}

fn write_unprivileged(pid: i32, ids: Ids, ranges: &[Range], own: u32) -> Result<()> {
    if is_own_id_alone(ranges, own) {
        write_directly(pid, ids, ranges)
    } else {
        write_by_helper(pid, ids, ranges)
    }
}

/// Writes one map file; an empty map is left unwritten.
pub fn write_directly(pid: i32, ids: Ids, ranges: &[Range]) -> Result<()> {
    if ranges.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for Range { inside, outside, count } in ranges {
        writeln!(text, "{inside} {outside} {count}").expect("a String takes everything");
    }
    write_file(&format!("/proc/{pid}/{}", ids.file()), &text)
}

fn write_file(path: &str, text: &str) -> Result<()> {
    fs::write(path, text).call(|| format!("write({path:?}, {text:?})"))
}

/// Lets newuidmap or newgidmap write one map. The helper gets an empty environment.
pub fn write_by_helper(pid: i32, ids: Ids, ranges: &[Range]) -> Result<()> {
    let helper =
        HELPER_DIRECTORIES.iter().map(|at| Path::new(at).join(ids.helper())).find(|path| path.exists());
    let Some(helper) = helper else {
        let what = format!("{} (not installed: install the package uidmap)", ids.helper());
        return Err(Error::new(what, Errno::NOENT));
    };
    let numbers = ranges.iter().flat_map(|range| [range.inside, range.outside, range.count]);
    let words: Vec<_> =
        std::iter::once(pid.to_string()).chain(numbers.map(|number| number.to_string())).collect();
    let call = || format!("{} {}", helper.display(), words.join(" "));
    let output = Command::new(&helper).args(&words).env_clear().output().call(call)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!("{} ({})", call(), said.trim()), Errno::PERM))
}

/// The subordinate ranges of a user in the text of `/etc/subuid` or `/etc/subgid`: `(first, count)`.
/// A line is for a name or a number; lines that do not parse are somebody else's concern.
pub fn subordinate_ranges(text: &str, name: &str, id: u32) -> Vec<(u32, u32)> {
    let number = id.to_string();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            let range = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            (owner == name || owner == number).then_some(range)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_ranges_by_name_and_by_number() {
        let text = "root:1:2\nana:100000:65536\n1000:5:6\nana:x:1\n";
        assert_eq!(subordinate_ranges(text, "ana", 1000), [(100_000, 65_536), (5, 6)]);
        assert!(subordinate_ranges(text, "bob", 7).is_empty());
    }

    #[test]
    fn only_the_own_id_alone_needs_no_helper() {
        let one = Range { inside: 0, outside: 1000, count: 1 };
        assert!(is_own_id_alone(&[one], 1000));
        assert!(!is_own_id_alone(&[one], 1001));
        assert!(!is_own_id_alone(&[one, one], 1000));
        assert!(!is_own_id_alone(&[Range { count: 2, ..one }], 1000));
    }
}
