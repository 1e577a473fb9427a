// SPDX-License-Identifier: Apache-2.0
//! config-linux.md, "Seccomp".

use super::Report;
use crate::runtime::{Action, Seccomp};

/// Every architecture that the specification lists. A runtime need not know how to filter all of them.
pub const ARCHITECTURES: [&str; 23] = [
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

impl Report {
    pub(super) fn seccomp(&mut self, seccomp: &Seccomp) {
        let at = "/linux/seccomp";
        if seccomp.default_action == Action::Notify {
            self.add(format!("{at}/defaultAction"), "SCMP_ACT_NOTIFY cannot be used as default action");
        }
        self.errno(&format!("{at}/defaultErrnoRet"), seccomp.default_action, seccomp.default_errno_ret);
        for (index, name) in seccomp.architectures.iter().enumerate() {
            if !ARCHITECTURES.contains(&name.as_str()) {
                self.add(
                    format!("{at}/architectures/{index}"),
                    format!("string {name} is not a valid arch for seccomp"),
                );
            }
        }
        self.no_nul(format!("{at}/listenerPath"), &seccomp.listener_path);
        if !seccomp.listener_metadata.is_empty() && seccomp.listener_path.is_empty() {
            self.add(format!("{at}/listenerMetadata"), "must not be set without listenerPath");
        }
        for (index, rule) in seccomp.syscalls.iter().enumerate() {
            let at = format!("{at}/syscalls/{index}");
            if rule.names.is_empty() {
                self.add(format!("{at}/names"), "must name at least one system call");
            }
            self.errno(&format!("{at}/errnoRet"), rule.action, rule.errno_ret);
            if rule.action == Action::Notify {
                if seccomp.listener_path.is_empty() {
                    self.add(format!("{at}/action"), "SCMP_ACT_NOTIFY needs a listenerPath");
                }
                // The descriptor has to be sent when the filter is in force already, and the agent has it not yet.
                for name in ["write", "sendmsg"] {
                    if rule.names.iter().any(|one| one == name) {
                        let message = format!("SCMP_ACT_NOTIFY cannot be used for the {name} syscall");
                        self.add(format!("{at}/names"), message);
                    }
                }
            }
            for (index, argument) in rule.args.iter().enumerate() {
                if argument.index > 5 {
                    self.add(format!("{at}/args/{index}/index"), "a system call has arguments 0 to 5");
                }
            }
        }
    }

    fn errno(&mut self, at: &str, action: Action, errno: Option<u32>) {
        match errno {
            Some(_) if !matches!(action, Action::Errno | Action::Trace) => {
                self.add(at, "only SCMP_ACT_ERRNO and SCMP_ACT_TRACE take an errno");
            }
            Some(number) if action == Action::Errno && number > 4095 => {
                self.add(at, "must be at most 4095");
            }
            Some(number) if number > 0xffff => self.add(at, "must be at most 65535"),
            _ => {}
        }
    }
}
