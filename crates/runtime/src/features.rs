// SPDX-License-Identifier: Apache-2.0
//! The `features` verb: features.md and features-linux.md.

use std::collections::BTreeMap;

use conex_spec::runtime::{
    CgroupFeatures, Enabled, Features, IntelRdtFeatures, LinuxFeatures, MemoryPolicyFeatures,
    MountExtensions, NamespaceKind, SECCOMP_ARCHITECTURES, SeccompFeatures, VERSION,
};
use conex_sys::credentials::CAPABILITY_NAMES;

use crate::plan::{MOUNT_OPTIONS, UNSAFE_ANNOTATIONS};

/// What this runtime implements, whatever the host offers. Callers decide by it what they may ask for, so it never
/// promises more than there is.
pub fn features() -> Features {
    Features {
        oci_version_min: "1.0.0".into(),
        oci_version_max: VERSION.into(),
        hooks: Some(strings(&[
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ])),
        mount_options: Some(MOUNT_OPTIONS()),
        linux: Some(linux()),
        annotations: Some(BTreeMap::from([
            ("org.opencontainers.runc.checkpoint.enabled".into(), "false".into()),
            ("io.conex.version".into(), env!("CARGO_PKG_VERSION").into()),
        ])),
        potentially_unsafe_config_annotations: Some(strings(&UNSAFE_ANNOTATIONS)),
    }
}

fn linux() -> LinuxFeatures {
    let mut namespaces: Vec<_> = NamespaceKind::ALL.iter().map(|kind| kind.name().to_owned()).collect();
    namespaces.sort();
    LinuxFeatures {
        namespaces: Some(namespaces),
        capabilities: Some(strings(&CAPABILITY_NAMES)),
        cgroup: Some(CgroupFeatures { v1: true, v2: true, systemd: true, systemd_user: true, rdma: true }),
        seccomp: Some(seccomp_features()),
        apparmor: Some(Enabled { enabled: true }),
        selinux: Some(Enabled { enabled: true }),
        memory_policy: Some(MemoryPolicyFeatures {
            modes: strings(&[
                "MPOL_BIND",
                "MPOL_DEFAULT",
                "MPOL_INTERLEAVE",
                "MPOL_LOCAL",
                "MPOL_PREFERRED",
                "MPOL_PREFERRED_MANY",
                "MPOL_WEIGHTED_INTERLEAVE",
            ]),
            flags: strings(&["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"]),
        }),
        intel_rdt: Some(IntelRdtFeatures { enabled: true, schemata: true, monitoring: true }),
        mount_extensions: Some(MountExtensions { idmap: Enabled { enabled: true } }),
        net_devices: Some(Enabled { enabled: true }),
    }
}

fn seccomp_features() -> SeccompFeatures {
    let flags = strings(&[
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ]);
    SeccompFeatures {
        enabled: true,
        actions: strings(&[
            "SCMP_ACT_ALLOW",
            "SCMP_ACT_ERRNO",
            "SCMP_ACT_KILL",
            "SCMP_ACT_KILL_PROCESS",
            "SCMP_ACT_KILL_THREAD",
            "SCMP_ACT_LOG",
            "SCMP_ACT_NOTIFY",
            "SCMP_ACT_TRACE",
            "SCMP_ACT_TRAP",
        ]),
        operators: strings(&[
            "SCMP_CMP_EQ",
            "SCMP_CMP_GE",
            "SCMP_CMP_GT",
            "SCMP_CMP_LE",
            "SCMP_CMP_LT",
            "SCMP_CMP_MASKED_EQ",
            "SCMP_CMP_NE",
        ]),
        archs: strings(&SECCOMP_ARCHITECTURES),
        known_flags: flags.clone(),
        supported_flags: flags,
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}
