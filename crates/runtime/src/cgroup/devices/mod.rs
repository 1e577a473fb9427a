// SPDX-License-Identifier: Apache-2.0
//! Which devices may be opened or made (config-linux.md, "Allowed Device list"): a list of exceptions for cgroup v1's
//! `devices` controller, an eBPF program for v2.
//!
//! The rules mean the same on both: each kind of access (read, write, mknod) is decided by the last rule that speaks
//! of it; what no rule names is denied. v2's program says just that. v1 keeps one list, and what it cannot say is
//! refused here, because the kernel would take it and do something else.

mod program;
mod v1;

use std::fs::File;
use std::os::fd::AsFd;

use conex_spec::runtime::DeviceRule;
use conex_sys::file::{self, Access};

use super::{Version, directory};
use crate::{Result, Wrap};

/// `BPF_DEVCG_ACC_*`, and the letters that v1 has for them.
const ACCESSES: [(i32, char); 3] = [(MKNOD, 'm'), (READ, 'r'), (WRITE, 'w')];
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
const EVERY_ACCESS: i32 = MKNOD | READ | WRITE;

/// What a rule speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Devices {
    /// `c` or `b`; `None` is both.
    kind: Option<char>,
    /// `None` is any.
    major: Option<u32>,
    minor: Option<u32>,
}

impl Devices {
    fn of(rule: &DeviceRule) -> Self {
        // A number too large for any device must not become a wildcard.
        let number = |number: Option<i64>| {
            number.filter(|number| *number >= 0).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
        };
        Self {
            kind: rule.kind.chars().next().filter(|kind| *kind != 'a'),
            major: number(rule.major),
            minor: number(rule.minor),
        }
    }

    /// Whether some device is in both.
    fn overlaps(self, other: Self) -> bool {
        let meets = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        (self.kind.is_none() || other.kind.is_none() || self.kind == other.kind)
            && meets(self.major, other.major)
            && meets(self.minor, other.minor)
    }

    /// Whether every device of `other` is in this, too.
    fn covers(self, other: Self) -> bool {
        let holds = |a: Option<u32>, b: Option<u32>| a.is_none() || a == b;
        (self.kind.is_none() || self.kind == other.kind)
            && holds(self.major, other.major)
            && holds(self.minor, other.minor)
    }
}

fn access_bits(access: &str) -> i32 {
    ACCESSES.iter().filter(|(_, letter)| access.contains(*letter)).fold(0, |bits, (bit, _)| bits | bit)
}

/// Puts the rules in the place of those that a cgroup had, whose directory may be open already. In v2 that is one step of the kernel's; in v1, as long as
/// the default stays "deny", nothing is open in between that is closed before and after.
pub(super) fn apply(path: &str, open: Option<&File>, version: Version, rules: &[DeviceRule]) -> Result<()> {
    match (version, open) {
        (Version::V2, Some(directory)) => attach(directory, rules),
        (Version::V2, None) => {
            attach(&file::open(path.as_ref(), Access::Read).wrap(|| format!("open {path}"))?, rules)
        }
        (Version::V1, _) => {
            let wanted = v1::List::of(rules)?;
            let now = v1::List::parse(&directory::read(path, "devices.list")?);
            let changed = write_list(path, &now, &wanted);
            changed.inspect_err(|_| {
                // What went wrong matters more than what goes wrong on the way back.
                let undone = v1::List::parse(&directory::read(path, "devices.list").unwrap_or_default());
                drop(write_list(path, &undone, &now));
            })
        }
    }
}

fn write_list(path: &str, now: &v1::List, wanted: &v1::List) -> Result<()> {
    now.steps_to(wanted).iter().try_for_each(|(file, lines)| directory::write_lines(path, file, lines))
}

fn attach(directory: &File, rules: &[DeviceRule]) -> Result<()> {
    let program = conex_sys::bpf::load_device_filter(&program::program(rules))?;
    let earlier = conex_sys::bpf::device_filters(directory.as_fd())?;
    let first = earlier.first().map(AsFd::as_fd);
    conex_sys::bpf::attach_device_filter(directory.as_fd(), program.as_fd(), first)?;
    // All filters must agree to an access: one too many could only deny what the new rules allow.
    for old in earlier.iter().skip(1) {
        conex_sys::bpf::detach_device_filter(directory.as_fd(), old.as_fd())?;
    }
    Ok(())
}

#[cfg(test)]
fn rule(allow: bool, kind: &str, major: Option<i64>, minor: Option<i64>, access: &str) -> DeviceRule {
    DeviceRule { allow, kind: kind.into(), major, minor, access: access.into() }
}
