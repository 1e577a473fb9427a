// SPDX-License-Identifier: Apache-2.0
//! The seccomp profile that a container gets unless it is told otherwise: `default.json`, made into the
//! `linux.seccomp` of the runtime-spec for the capabilities that the container has.
//!
//! | part of `default.json` | answer |
//! |---|---|
//! | `everyone` | allowed |
//! | `with_capability` | allowed to a container that has the capability, else EPERM |
//! | `with_arguments` | allowed with these arguments |
//! | `refused` | EPERM: known, and nothing for a container |
//! | anything else | ENOSYS: other arguments, newer than the profile, or `clone3`, `socketcall` and io_uring, whose arguments a filter cannot see; libraries fall back to the older call |
//!
//! There are no sockets of the families AF_ALG (38) and AF_VSOCK (40): the first is a large part of the kernel behind
//! one call, the second leads to the hypervisor past every network namespace. They are left out by ranges, because
//! libseccomp, which runc uses, takes no two conditions on one argument. `clone` may not make namespaces.

use std::collections::BTreeMap;

use conex_spec::runtime::{Action, Seccomp, SyscallArg, SyscallRule};
use serde::Deserialize;

use crate::{Result, Wrap as _};

const ENOSYS: u32 = 38;
const EPERM: u32 = 1;

#[derive(Deserialize)]
struct Profile {
    everyone: Vec<String>,
    with_capability: BTreeMap<String, Vec<String>>,
    with_arguments: Vec<Conditional>,
    refused: Vec<String>,
}

#[derive(Deserialize)]
struct Conditional {
    names: Vec<String>,
    args: Vec<SyscallArg>,
}

/// The default profile for a container with these capabilities (`CAP_…`).
pub(crate) fn default_profile(capabilities: &[String]) -> Result<Seccomp> {
    let profile: Profile =
        serde_json::from_str(include_str!("default.json")).wrap(|| "the default seccomp profile")?;
    let (mut granted, mut refused) = (Vec::new(), profile.refused);
    for (capability, names) in profile.with_capability {
        let list = if capabilities.contains(&capability) { &mut granted } else { &mut refused };
        list.extend(names);
    }
    // A container that may unshare may clone as it likes.
    if granted.iter().any(|name| name == "unshare") {
        granted.push("clone".to_owned());
    }
    // clone3 must look absent, not forbidden: libraries then take clone.
    refused.retain(|name| !granted.contains(name) && name != "clone3");

    let mut syscalls =
        vec![rule(profile.everyone, None), rule(granted.clone(), None), rule(refused, Some(EPERM))];
    let conditional =
        profile.with_arguments.into_iter().filter(|one| !one.names.iter().any(|n| granted.contains(n)));
    syscalls.extend(conditional.map(|one| SyscallRule { args: one.args, ..rule(one.names, None) }));
    syscalls.retain(|rule| !rule.names.is_empty());
    Ok(Seccomp {
        default_action: Action::Errno,
        default_errno_ret: Some(ENOSYS),
        architectures: architectures(),
        flags: Vec::new(),
        listener_path: String::new(),
        listener_metadata: String::new(),
        syscalls,
    })
}

/// Allowed, or refused with this errno.
fn rule(mut names: Vec<String>, errno: Option<u32>) -> SyscallRule {
    names.sort();
    names.dedup();
    let action = if errno.is_some() { Action::Errno } else { Action::Allow };
    SyscallRule { names, action, errno_ret: errno, args: Vec::new() }
}

/// The native architecture and those that its kernel also runs.
fn architectures() -> Vec<String> {
    let names: &[&str] = match std::env::consts::ARCH {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "s390x" => &["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
        "riscv64" => &["SCMP_ARCH_RISCV64"],
        "powerpc64" => &["SCMP_ARCH_PPC64LE"],
        _ => &[],
    };
    names.iter().map(|&name| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use conex_spec::runtime::Operator;

    use super::*;

    fn answer(profile: &Seccomp, name: &str) -> Vec<(Action, Option<u32>, usize)> {
        let of = |rule: &&SyscallRule| rule.names.iter().any(|n| n == name);
        profile
            .syscalls
            .iter()
            .filter(of)
            .map(|rule| (rule.action, rule.errno_ret, rule.args.len()))
            .collect()
    }

    #[test]
    fn a_capability_opens_its_system_calls_and_no_others() {
        let plain = default_profile(&[]).unwrap();
        assert_eq!(answer(&plain, "mount"), [(Action::Errno, Some(EPERM), 0)]);
        assert_eq!(answer(&plain, "read"), [(Action::Allow, None, 0)]);
        assert_eq!(answer(&plain, "clone"), [(Action::Allow, None, 1)]);
        for absent in ["clone3", "socketcall", "io_uring_setup"] {
            assert_eq!(answer(&plain, absent), [], "{absent} gets the default, ENOSYS");
        }
        let admin = default_profile(&["CAP_SYS_ADMIN".to_owned()]).unwrap();
        assert_eq!(answer(&admin, "mount"), [(Action::Allow, None, 0)]);
        assert_eq!(answer(&admin, "clone"), [(Action::Allow, None, 0)]);
        assert_eq!(answer(&admin, "reboot"), [(Action::Errno, Some(EPERM), 0)]);
    }

    #[test]
    fn every_socket_family_but_two_is_allowed() {
        let profile = default_profile(&[]).unwrap();
        let sockets: Vec<&SyscallRule> =
            profile.syscalls.iter().filter(|rule| rule.names == ["socket"]).collect();
        let holds = |rule: &SyscallRule, family: u64| match rule.args[..] {
            [SyscallArg { op: Operator::Less, value, .. }] => family < value,
            [SyscallArg { op: Operator::Equal, value, .. }] => family == value,
            [SyscallArg { op: Operator::Greater, value, .. }] => family > value,
            _ => panic!("{rule:?}"),
        };
        let refused: Vec<u64> =
            (0..64).filter(|family| !sockets.iter().any(|rule| holds(rule, *family))).collect();
        assert_eq!(refused, [38, 40]);
    }

    #[test]
    fn no_system_call_is_both_allowed_to_all_and_refused() {
        let profile = default_profile(&[]).unwrap();
        let everyone = &profile.syscalls[0].names;
        for rule in profile.syscalls.iter().skip(1) {
            let twice: Vec<_> = rule.names.iter().filter(|name| everyone.contains(name)).collect();
            assert!(twice.is_empty(), "{twice:?}");
        }
    }
}
