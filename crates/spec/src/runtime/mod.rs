// SPDX-License-Identifier: Apache-2.0
//! runtime-spec v1.3 as data: a bundle's configuration, a container's state, a runtime's features.
//!
//! Reading follows Go's leniency: every field has a default, unknown keys are ignored, a `null` list is an empty
//! one. Words from a closed set are enums where an unknown one must be an error (namespace types, seccomp
//! actions); they stay strings where it must only be a warning (capabilities) or is nobody's business here.
//! What the types cannot say, [`validate`] says.

mod config;
mod features;
mod hooks;
mod linux;
mod list;
mod mount;
mod namespace;
mod process;
mod read;
mod resources;
mod seccomp;
mod state;
mod validate;

pub use config::{Config, Root};
pub use features::{
    CgroupFeatures, Enabled, Features, IntelRdtFeatures, LinuxFeatures, MemoryPolicyFeatures,
    MountExtensions, SeccompFeatures,
};
pub use hooks::{Hook, Hooks};
pub use linux::{
    Device, DeviceKind, IntelRdt, Linux, MemoryPolicy, MemoryPolicyFlag, MemoryPolicyMode, NetDevice,
    Personality, PersonalityDomain, RootfsPropagation, TimeOffset,
};
pub use list::number_list;
pub use mount::{IdMapping, Mount};
pub use namespace::{Namespace, NamespaceKind};
pub use process::{
    Capabilities, ConsoleSize, CpuAffinity, IoPriority, IoPriorityClass, Process, Resource, Rlimit,
    Scheduler, SchedulerFlag, SchedulerPolicy, User,
};
pub use read::{Mistake, locate, read};
pub use resources::{
    BlockIo, Cpu, DeviceRule, HugepageLimit, InterfacePriority, Memory, Network, Pids, Rdma, Resources,
    ThrottleDevice, WeightDevice,
};
pub use seccomp::{Action, Operator, ProcessState, Seccomp, SeccompFlag, SyscallArg, SyscallRule};
pub use state::{State, Status};
pub use validate::{
    ARCHITECTURES as SECCOMP_ARCHITECTURES, Violation, validate, validate_destinations, validate_mounts,
};

/// The newest version of the specification that these types describe.
pub const VERSION: &str = "1.3.0";

/// For `skip_serializing_if`.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
