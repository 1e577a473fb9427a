// SPDX-License-Identifier: Apache-2.0
//! Who a process is and what it may: ids, groups, the five capability sets.

use std::path::Path;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet};

use crate::Result;
use crate::error::Call;

/// The five sets; bit n is capability number n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// What execve(2) can ever give.
    pub bounding: u64,
    /// What the kernel checks.
    pub effective: u64,
    /// What files with inheritable capabilities may add.
    pub inheritable: u64,
    /// What may be made effective.
    pub permitted: u64,
    /// What survives execve(2) of a program without file capabilities.
    pub ambient: u64,
}

/// The names, by number. The kernel appends; it never renumbers.
pub const CAPABILITY_NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The number of a capability by its name, with or without `CAP_`, in any case.
pub fn capability_number(name: &str) -> Option<u8> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let found = CAPABILITY_NAMES.iter().position(|known| known.strip_prefix("CAP_") == Some(bare))?;
    u8::try_from(found).ok()
}

/// The highest capability number that this kernel knows. The newest known one is asked for first.
pub fn last_capability() -> u8 {
    let knows = |number: u8| rustix::thread::capability_is_in_bounding_set(set(1 << number)).is_ok();
    let newest = u8::try_from(CAPABILITY_NAMES.len() - 1).expect("less than 64");
    let oldest = (0..=newest).rev().find(|number| knows(*number)).unwrap_or_default();
    (oldest + 1..64).take_while(|number| knows(*number)).last().unwrap_or(oldest)
}

fn set(bits: u64) -> CapabilitySet {
    CapabilitySet::from_bits_retain(bits)
}

/// What the calling thread has, ambient and bounding left out.
pub fn effective_capabilities() -> Result<u64> {
    let have = rustix::thread::capabilities(None).call(|| "capget()".to_owned())?;
    Ok(have.effective.bits())
}

/// What the calling thread may make effective, and hand on.
pub fn permitted_capabilities() -> Result<u64> {
    let have = rustix::thread::capabilities(None).call(|| "capget()".to_owned())?;
    Ok(have.permitted.bits())
}

/// Whether user ids here are not the host's (user_namespaces(7)): root of such a place has no say on the host.
pub fn in_user_namespace() -> bool {
    const INITIAL: [&str; 3] = ["0", "0", "4294967295"];
    let map = crate::file::read_text(Path::new("/proc/self/uid_map"));
    map.is_ok_and(|map| map.split_ascii_whitespace().ne(INITIAL))
}

/// Takes everything out of the bounding set that is not in `keep`. Needs CAP_SETPCAP.
pub fn limit_bounding_set(keep: u64) -> Result<()> {
    for number in (0..64).filter(|number| keep & (1 << number) == 0) {
        match rustix::thread::remove_capability_from_bounding_set(set(1 << number)) {
            // One more than the kernel has.
            Err(Errno::INVAL) if number > 0 => break,
            outcome => outcome.call(|| format!("prctl(PR_CAPBSET_DROP, {})", name_of(number)))?,
        }
    }
    Ok(())
}

/// The name of a capability, or the number itself if it is newer than this list.
pub fn name_of(number: u8) -> String {
    CAPABILITY_NAMES.get(usize::from(number)).map_or_else(|| number.to_string(), |&name| name.to_owned())
}

/// Keeps the permitted set across the change from user 0 to another; it is cleared by execve(2).
pub fn keep_capabilities(keep: bool) -> Result<()> {
    rustix::thread::set_keep_capabilities(keep).call(|| format!("prctl(PR_SET_KEEPCAPS, {keep})"))
}

/// Sets the effective, permitted and inheritable sets.
pub fn set_capabilities(wanted: &Capabilities) -> Result<()> {
    let sets = rustix::thread::CapabilitySets {
        effective: set(wanted.effective),
        permitted: set(wanted.permitted),
        inheritable: set(wanted.inheritable),
    };
    rustix::thread::set_capabilities(None, sets).call(|| format!("capset({wanted:x?})"))
}

/// Makes exactly `ambient` the ambient set. Each must be permitted and inheritable.
pub fn set_ambient_capabilities(ambient: u64) -> Result<()> {
    rustix::thread::clear_ambient_capability_set().call(|| "prctl(PR_CAP_AMBIENT_CLEAR_ALL)".to_owned())?;
    for number in (0..64).filter(|number| ambient & (1 << number) != 0) {
        rustix::thread::configure_capability_in_ambient_set(set(1 << number), true)
            .call(|| format!("prctl(PR_CAP_AMBIENT_RAISE, {})", name_of(number)))?;
    }
    Ok(())
}

/// Undoes special rules about user 0 that the caller may have inherited.
pub fn clear_secure_bits() -> Result<()> {
    rustix::thread::set_capabilities_secure_bits(CapabilitiesSecureBits::empty())
        .call(|| "prctl(PR_SET_SECUREBITS, 0)".to_owned())
}

/// Becomes user `uid` for good: real, effective, saved.
pub fn set_user(uid: u32) -> Result<()> {
    let uid = Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid).call(|| format!("setresuid({uid}, {uid}, {uid})"))
}

/// Becomes group `gid` for good: real, effective, saved.
pub fn set_group(gid: u32) -> Result<()> {
    let gid = Gid::from_raw(gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid).call(|| format!("setresgid({gid}, {gid}, {gid})"))
}

/// Sets the supplementary groups.
pub fn set_groups(groups: &[u32]) -> Result<()> {
    let ids: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
    rustix::thread::set_thread_groups(&ids).call(|| format!("setgroups({groups:?})"))
}

/// The effective user of this process.
pub fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The effective group of this process.
pub fn effective_group() -> u32 {
    rustix::process::getegid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_and_without_the_prefix() {
        assert_eq!(capability_number("CAP_CHOWN"), Some(0));
        assert_eq!(capability_number("checkpoint_restore"), Some(40));
        assert_eq!(capability_number("CAP_"), None);
        assert_eq!(capability_number("CAP_FLY"), None);
    }

    #[test]
    fn the_running_kernel_knows_at_least_what_the_baseline_knows() {
        assert!(last_capability() >= 39, "Linux 5.10 has CAP_BPF (39)");
    }
}
