// SPDX-License-Identifier: Apache-2.0
//! A plan as data: what `plan` decides, what `create` and `init` walk, and what `conex-runtime plan` prints.
//!
//! Nothing is decided here and nothing is done. All of it serializes, and all of it has words ([`std::fmt::Display`]).

mod display;
mod mount;
mod step;

use conex_spec::runtime::{Hooks, IdMapping, NamespaceKind, TimeOffset};
use serde::Serialize;

pub use mount::{Mount, MountAttr, MountSource, Propagation, PropagationKind, TargetRule};
pub use step::{
    AdditionalGroups, Capabilities, CapabilitySet, DeviceNode, EnterRoot, HookMoment, Listener, Question,
    SeccompStep, Step,
};

use crate::cgroup::CgroupPlan;
use crate::resctrl::Resctrl;

/// Everything that `create` will do.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Absolute path of the root filesystem on the host.
    pub rootfs: String,
    /// Created by `clone3`, each kind at most once.
    pub create: Vec<NamespaceKind>,
    /// Joined before `clone3` (`pid` takes effect in the child), in this order.
    pub join: Vec<JoinNamespace>,
    /// Maps of the user namespace in `create`.
    pub id_maps: Option<IdMaps>,
    /// By clock, for the time namespace in `create`.
    pub time_offsets: Vec<(String, TimeOffset)>,
    /// Where the container is accounted, and its limits.
    pub cgroup: CgroupPlan,
    /// Its shares of caches and memory bandwidth.
    pub resctrl: Option<Resctrl>,
    /// On the host, before `clone3`, in order.
    pub before_clone: Vec<BeforeClone>,
    /// On the host, while the new process waits for its first word, in order.
    pub after_clone: Vec<AfterClone>,
    /// In the new process, in order. Ends with [`Step::Execute`].
    pub steps: Vec<Step>,
    /// The hooks that the host side runs at other moments than `create`: poststart and poststop.
    pub hooks: Hooks,
    /// What the configuration asks for and will not get, in words for a log.
    pub warnings: Vec<String>,
}

/// A namespace that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinNamespace {
    pub kind: NamespaceKind,
    pub path: String,
}

/// The two maps of a new user namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdMaps {
    pub uid: Vec<IdMapping>,
    pub gid: Vec<IdMapping>,
    pub writer: MapWriter,
}

/// Who may write the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum MapWriter {
    /// The runtime itself: it is privileged, or maps nothing but its own ids (setgroups is denied first then).
    Direct,
    /// `newuidmap` and `newgidmap`, by the ranges of /etc/subuid and /etc/subgid.
    Helpers,
}

/// Work that needs the host's privileges or its mount tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum BeforeClone {
    /// Open the source of a bind mount that the container's user may be unable to reach: `open_tree(CLONE)`, and
    /// with `idmap` a mapped one. [`MountSource::Opened`] refers to it by position.
    OpenSource(OpenSource),
    /// On which CPUs the runtime is, and so the new process, until it is in its cgroup. A list such as `0-3,7`.
    SetAffinity { cpus: String },
}

/// A detached copy of a host's mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenSource {
    pub source: String,
    /// With all mounts below.
    pub recursive: bool,
    pub idmap: Option<IdMap>,
}

/// How the ids of a mount are shifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdMap {
    pub mapping: IdMapSource,
    /// All mounts below, too.
    pub recursive: bool,
}

/// Where the shift comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum IdMapSource {
    Maps {
        uid: Vec<IdMapping>,
        gid: Vec<IdMapping>,
    },
    /// A user namespace that exists.
    Namespace {
        path: String,
    },
}

/// Work that needs the new process to exist and the caller's privileges on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum AfterClone {
    WriteIdMaps,
    /// The process walks in by itself where clone3 could not put it (v1): see `cgroup::entrance`.
    EnterCgroup,
    /// The groups of [`Plan::resctrl`].
    EnterResctrl,
    AdjustOomScore {
        value: i32,
    },
    /// Once it is in its cgroup. A list such as `0-3,7`.
    SetAffinity {
        cpus: String,
    },
    /// Once it is in its cgroup: what its caller may be bound to is not the container's.
    FreeAffinity,
    /// Rename on the way if `name` differs.
    MoveNetDevice {
        host_name: String,
        name: String,
    },
}

impl Plan {
    /// Whether `start` waits for the program, or for why there is none.
    pub fn start_is_watched(&self) -> bool {
        !self.hooks.start_container.is_empty() || !self.hooks.poststart.is_empty()
    }

    /// Whether the new process may walk the steps while the runtime still does and records what is its own to do.
    /// Nothing of what it makes may outlive it, or be needed by another.
    pub fn begins_alone(&self) -> bool {
        let is_own = |action: &AfterClone| {
            use AfterClone::{AdjustOomScore, EnterCgroup, FreeAffinity, SetAffinity};
            matches!(action, EnterCgroup | SetAffinity { .. } | FreeAffinity | AdjustOomScore { .. })
        };
        self.create.contains(&NamespaceKind::Mount)
            && self.after_clone.iter().all(is_own)
            && !self.steps.iter().any(|step| matches!(step, Step::Hooks { .. }))
    }
}
