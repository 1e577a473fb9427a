// SPDX-License-Identifier: Apache-2.0
//! What the new process does to itself, step by step, and what it asks of its parent.

use conex_spec::runtime::{DeviceKind, Hook, IoPriority, MemoryPolicy, PersonalityDomain, Rlimit, Scheduler};
use serde::Serialize;

use super::{Mount, MountAttr, OpenSource, Propagation, PropagationKind};
use crate::seccomp::Filter;

/// One thing that the new process does to itself. Paths are the container's unless a field says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Step {
    /// A new session keyring, so that the host's keys stay out of reach.
    JoinKeyring {
        name: String,
        label: String,
    },
    /// Bring `lo` up in a new network namespace.
    RaiseLoopback,
    /// Stop mounts from propagating to the host: the flags for `/` of the new mount namespace.
    IsolateMounts {
        propagation: Propagation,
    },
    /// Make the root filesystem a mount of its own. The mount it lies on must not be shared: pivot_root refuses
    /// that, and what is mounted into the root would show on the host.
    BindRoot {
        rootfs: String,
        parent: PropagationKind,
    },
    /// Instead of both without a mount namespace: attach the copy that the parent opened, and recorded, where the root
    /// filesystem lies on the host. From then on nothing below it is seen, or mounted, anywhere else.
    AttachRoot {
        rootfs: String,
        index: usize,
    },
    Mount(Mount),
    /// Take away what is mounted there; it goes when nobody uses it any more.
    Unmount {
        path: String,
    },
    /// Make a device node; bind the host's where mknod is not allowed.
    Device(DeviceNode),
    Symlink {
        path: String,
        target: String,
    },
    /// `/dev/ptmx` → `pts/ptmx`, instead of whatever is there.
    LinkPtmx,
    /// The parent has to do something before the next step.
    Ask(Question),
    /// Programs of the container's creator, run here, with the state on standard input.
    Hooks {
        moment: HookMoment,
        hooks: Vec<Hook>,
    },
    /// From here on the container's root is `/`.
    EnterRoot {
        method: EnterRoot,
    },
    /// The root's propagation, where it is not private or slave (those are set by `IsolateMounts`). After the masks:
    /// nothing of what is unbindable can be bound read-only onto itself.
    PropagateRoot {
        propagation: Propagation,
    },
    /// Take /dev/null from the container for standard descriptors that are the host's /dev/null.
    ReopenDevNull,
    /// Create the working directory if it is missing.
    MakeWorkingDirectory {
        path: String,
    },
    /// A pty from the container's devpts: standard descriptors, controlling terminal, /dev/console.
    Console {
        width: u16,
        height: u16,
        mount: bool,
    },
    /// A tmpfs that had to be writable while the container was set up.
    RemountReadonly {
        path: String,
        attr: MountAttr,
    },
    RemountRootReadonly,
    SetUmask {
        mask: u32,
    },
    SetHostname {
        name: String,
    },
    SetDomainname {
        name: String,
    },
    /// On the next execve.
    ApparmorProfile {
        profile: String,
    },
    Sysctl {
        key: String,
        value: String,
    },
    ReadonlyPath {
        path: String,
    },
    /// Files by an empty file of ours, directories by one read-only empty tmpfs. What does not exist is skipped.
    MaskPaths {
        paths: Vec<String>,
        label: String,
    },
    /// `linux.mountLabel` for a mount that takes no `context`.
    LabelMount {
        path: String,
        label: String,
    },
    NoNewPrivileges,
    Scheduler(Scheduler),
    IoPriority(IoPriority),
    Personality {
        domain: PersonalityDomain,
    },
    MemoryPolicy(MemoryPolicy),
    /// Set here where the process is privileged enough, otherwise by [`Question::Rlimits`].
    Rlimits {
        limits: Vec<Rlimit>,
    },
    /// On the next execve.
    SelinuxLabel {
        label: String,
    },
    Seccomp(SeccompStep),
    /// Close-on-exec for everything from this descriptor on.
    CloseDescriptorsFrom {
        first: u32,
    },
    /// Tried before the user changes and a filter is loaded, with the proof that it lies inside the root; a refusal is
    /// kept for `RetryWorkingDirectory`.
    EnterWorkingDirectory {
        path: String,
    },
    DropBoundingSet {
        keep: CapabilitySet,
    },
    /// With capabilities kept over the change.
    SetUser {
        uid: u32,
        gid: u32,
        groups: AdditionalGroups,
    },
    /// Only if the first try was refused.
    RetryWorkingDirectory {
        path: String,
    },
    SetCapabilities(Capabilities),
    /// `HOME` from the container's passwd, where the environment has none.
    DefaultHome {
        uid: u32,
    },
    /// Find `args[0]` in the environment's PATH now, while `create` can still report it.
    FindProgram {
        name: String,
    },
    /// Tell the parent that all is ready, then block on the fifo until `start`.
    AwaitStart,
    /// The variables of sd_listen_fds(3) are added if there are `sockets`: only inside is the process's number known.
    Execute {
        args: Vec<String>,
        env: Vec<String>,
        sockets: u32,
    },
}

/// What only the parent can do. It has the same plan, so the number of the step is all that is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Question {
    /// Run prestart and createRuntime hooks in the runtime's namespaces.
    RuntimeHooks { prestart: Vec<Hook>, create_runtime: Vec<Hook> },
    /// Raise limits that need the host's CAP_SYS_RESOURCE.
    Rlimits { limits: Vec<Rlimit> },
    /// Open a source in the mount namespace of the container, but with the host's rights.
    OpenSource(OpenSource),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum HookMoment {
    CreateContainer,
    StartContainer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum EnterRoot {
    Pivot,
    /// `--no-pivot`: move the root mount over `/` and chroot (a ramdisk cannot be pivoted away from).
    Move,
    /// Without a mount namespace.
    Chroot,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceNode {
    pub path: String,
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// mknod is known to be refused (user namespace): bind the host's node at once.
    pub bind: bool,
    /// One that every container has: what the image put there instead gives way.
    pub default: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompStep {
    pub filter: Filter,
    /// Where to send the notify descriptor, if the filter has notify rules.
    pub listener: Option<Listener>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// A unix socket of the host: the parent connects.
    pub path: String,
    pub metadata: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum AdditionalGroups {
    /// An empty list is skipped where setgroups(2) turns out to be denied.
    Set(Vec<u32>),
    /// setgroups(2) is denied in this user namespace: the caller's groups stay.
    Keep,
}

/// One bit per capability number. Serializes as names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySet(pub u64);

impl CapabilitySet {
    /// In the order of their numbers; a capability newer than this program is a number.
    pub fn names(self) -> impl Iterator<Item = String> {
        (0..64).filter(move |number| self.0 & (1 << number) != 0).map(conex_sys::credentials::name_of)
    }
}

impl Serialize for CapabilitySet {
    fn serialize<S: serde::Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.collect_seq(self.names())
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    pub effective: CapabilitySet,
    pub permitted: CapabilitySet,
    pub inheritable: CapabilitySet,
    pub ambient: CapabilitySet,
}
