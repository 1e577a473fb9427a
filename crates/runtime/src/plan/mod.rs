// SPDX-License-Identifier: Apache-2.0
//! What will be done, in order, decided before anything is done: `config.json` in, a list of [`Step`]s out.
//!
//! `plan` decides *policy*: the order, the flags, what an unprivileged caller must go without. It is pure: all it
//! knows of the host is in [`Host`]. `init` is the mechanism: which system call, which fallback on an old kernel.
//! A reader of `conex-runtime plan --bundle B` sees exactly what `create` walks.
//!
//! ```text
//!  runtime process (host)                           init (inside)
//!  ─────────────────────                            ─────────────
//!  before_clone: open bind sources, idmaps
//!  clone3(namespaces, cgroup) ────────────────────► waits
//!  after_clone: id maps, cgroup, oom, net devices
//!  "go" ──────────────────────────────────────────► steps[0], steps[1], …
//!                                                     mounts, devices
//!  the parent's part of an Ask ◄──── index n ────── Step::Ask(…)
//!  "done" ────────────────────────────────────────►   console, pivot, credentials, seccomp
//!  writes pid file, state "created"  ◄── ready ───── Step::AwaitStart
//!  `start` opens the fifo ────────────────────────►   startContainer hooks, execve
//! ```

mod cgroup;
mod credentials;
mod devices;
mod display;
mod exec;
mod limits;
mod mount_options;
mod mounts;
mod namespaces;
mod rootfs;
mod seccomp;

use conex_spec::runtime::{
    Config, DeviceKind, Hook, Hooks, IdMapping, IoPriority, Linux, MemoryPolicy, NamespaceKind,
    PersonalityDomain, Rlimit, Scheduler, TimeOffset,
};
use serde::Serialize;

pub use mount_options::NAMES as MOUNT_OPTIONS;

pub use exec::plan_exec;

use crate::cgroup::CgroupPlan;
use crate::seccomp::Filter;

/// Everything that `create` will do.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
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
pub struct JoinNamespace {
    pub kind: NamespaceKind,
    pub path: String,
}

/// The two maps of a new user namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdMaps {
    pub uid: Vec<IdMapping>,
    pub gid: Vec<IdMapping>,
    pub writer: MapWriter,
}

/// Who may write the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum MapWriter {
    /// The runtime itself: it is privileged, or maps nothing but its own ids (setgroups is denied first then).
    Direct,
    /// `newuidmap` and `newgidmap`, by the ranges of /etc/subuid and /etc/subgid.
    Helpers,
}

/// Work that needs the host's privileges or its mount tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum BeforeClone {
    /// Open the source of a bind mount that the container's user may be unable to reach: `open_tree(CLONE)`, and
    /// with `idmap` a mapped one. [`MountSource::Opened`] refers to it by position.
    OpenSource { source: String, recursive: bool, idmap: Option<IdMap> },
}

/// How the ids of a mount are shifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdMap {
    pub mapping: IdMapSource,
    /// All mounts below, too.
    pub recursive: bool,
}

/// Where the shift comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
pub enum AfterClone {
    WriteIdMaps,
    /// Move the process there, unless `clone3` already did, and write the limits.
    EnterCgroup,
    AdjustOomScore {
        value: i32,
    },
    /// Rename on the way if `name` differs.
    MoveNetDevice {
        host_name: String,
        name: String,
    },
}

/// One thing that the new process does to itself. Paths are the container's unless a field says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// Make the root filesystem a mount of its own, and the mount it lies on private, as pivot_root wants it.
    BindRoot {
        rootfs: String,
        private_parent: bool,
    },
    Mount(Mount),
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
    /// The root's propagation, where it is not private or slave (those are set by `IsolateMounts`).
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
    /// Tried before the user changes; a refusal is kept for `ConfirmWorkingDirectory`.
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
    /// Try again if the first try was refused; then prove that the directory lies inside the root.
    ConfirmWorkingDirectory {
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
    Execute {
        args: Vec<String>,
        env: Vec<String>,
    },
}

/// What only the parent can do. It has the same plan, so the number of the step is all that is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Question {
    /// Run prestart and createRuntime hooks in the runtime's namespaces.
    RuntimeHooks { prestart: Vec<Hook>, create_runtime: Vec<Hook> },
    /// Raise limits that need the host's CAP_SYS_RESOURCE.
    Rlimits { limits: Vec<Rlimit> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum HookMoment {
    CreateContainer,
    StartContainer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum EnterRoot {
    Pivot,
    /// `--no-pivot`: move the root mount over `/` and chroot (a ramdisk cannot be pivoted away from).
    Move,
}

/// mount_setattr(2)'s `propagation`, or MS_* of mount(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Propagation {
    pub kind: PropagationKind,
    pub recursive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum PropagationKind {
    Private,
    Slave,
    Shared,
    Unbindable,
}

/// One mount, ready for fsopen/open_tree, mount_setattr, move_mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    pub source: MountSource,
    /// Absolute, inside the container.
    pub target: String,
    pub target_rule: TargetRule,
    /// Of this mount alone. For a bind mount applied only if it asks for anything, else the source's stay.
    pub attr: MountAttr,
    /// Switched off as well, unless the kernel has locked them (a mount from outside of a user namespace): a bind
    /// mount that asks for anything gets exactly what it asks for.
    pub reset: u64,
    /// Of this mount and all below it (`rro`, `rnosuid`, …).
    pub recursive_attr: MountAttr,
    pub propagation: Vec<Propagation>,
    /// Fill the tmpfs with what it hides.
    pub copy_up: bool,
    /// Neither bind nor new: change the flags of what is mounted there.
    pub remount: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum MountSource {
    /// A filesystem, with its own options as fsconfig(2) takes them: flags have no value. A tmpfs without `mode` gets
    /// the mode of the directory that it covers.
    Filesystem { kind: String, name: String, options: Vec<(String, Option<String>)> },
    /// `path` is the host's, absolute.
    Bind { path: String, recursive: bool },
    /// The container's directory of a v1 hierarchy, with all below; `fallback`, the caller's own, where it could not
    /// be made (rootless).
    CgroupBind { path: String, fallback: String },
    /// The n-th [`BeforeClone::OpenSource`]; `path` is for messages.
    Opened { index: usize, path: String },
    /// cgroup v2: its own mount where allowed; on EPERM or EBUSY bind `fallback` (the host's path) instead; where
    /// that is missing and `mask_if_missing`, hide the target.
    Cgroup2 { options: Vec<(String, Option<String>)>, fallback: String, mask_if_missing: bool },
}

/// What the target must be, and what is created where it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum TargetRule {
    /// A directory; links inside the root are followed.
    Directory,
    /// A directory reached without any symbolic link (`proc`, `sysfs`).
    RealDirectory,
    /// A directory or a file, as the source is.
    LikeSource,
}

/// MOUNT_ATTR_* of mount_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MountAttr {
    pub set: u64,
    pub clear: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeccompStep {
    pub filter: Filter,
    /// Where to send the notify descriptor, if the filter has notify rules.
    pub listener: Option<Listener>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// A unix socket of the host: the parent connects.
    pub path: String,
    pub metadata: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum AdditionalGroups {
    /// An empty list is skipped where setgroups(2) turns out to be denied.
    Set(Vec<u32>),
    /// setgroups(2) is denied in this user namespace: the caller's groups stay.
    Keep,
}

/// One bit per capability number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CapabilitySet(pub u64);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    pub effective: CapabilitySet,
    pub permitted: CapabilitySet,
    pub inheritable: CapabilitySet,
    pub ambient: CapabilitySet,
}

/// What the caller of `create` says besides the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    pub no_pivot: bool,
    pub no_new_keyring: bool,
    /// `--preserve-fds` and the sockets of LISTEN_FDS.
    pub preserve_fds: u32,
    pub systemd_cgroup: bool,
}

/// What `plan` must know of the host. The caller finds it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The caller has no privilege in its user namespace's outside: cgroups and some mounts are best effort.
    pub rootless: bool,
    pub euid: u32,
    pub egid: u32,
    /// The caller lives in a user namespace itself: no mknod, no raising of limits.
    pub in_user_namespace: bool,
    pub cgroup: crate::cgroup::Layout,
    pub selinux: bool,
    /// /run/systemd/system exists.
    pub systemd: bool,
    /// /proc/kcore exists.
    pub kcore: bool,
    /// The highest capability that the kernel knows.
    pub last_capability: u8,
}

/// Decides everything. The configuration must have passed validation.
pub fn plan(config: &Config, request: &Request, host: &Host) -> Result<Plan, PlanError> {
    let process =
        config.process.as_ref().ok_or_else(|| PlanError::new("process property must not be empty"))?;
    let mut draft =
        Draft { config, request, host, before_clone: Vec::new(), steps: Vec::new(), warnings: Vec::new() };
    let id_maps = draft.id_maps()?;
    let cgroup = draft.cgroup()?;
    draft.keyring(process);
    draft.root_filesystem(&cgroup)?;
    draft.steps.push(Step::MakeWorkingDirectory { path: process.cwd.clone() });
    draft.console(process);
    draft.finish_root_filesystem();
    draft.identity(process);
    draft.restrict_paths();
    draft.scheduling(process);
    draft.credentials(process, id_maps.as_ref())?;
    draft.execution(process);
    Ok(Plan {
        rootfs: draft.rootfs(),
        create: draft.namespaces_to_create(),
        join: draft.namespaces_to_join(),
        time_offsets: draft.time_offsets(),
        after_clone: draft.after_clone(process, id_maps.is_some()),
        id_maps,
        cgroup,
        before_clone: draft.before_clone,
        steps: draft.steps,
        hooks: config.hooks.clone(),
        warnings: draft.warnings,
    })
}

/// The three inputs, and the lists as they grow. Each chapter's decisions are methods in a file of their own.
struct Draft<'a> {
    config: &'a Config,
    request: &'a Request,
    host: &'a Host,
    before_clone: Vec<BeforeClone>,
    steps: Vec<Step>,
    warnings: Vec<String>,
}

impl Draft<'_> {
    /// The `linux` object; a configuration without one asks for nothing.
    fn linux(&self) -> &Linux {
        static NOTHING: std::sync::LazyLock<Linux> = std::sync::LazyLock::new(Linux::default);
        self.config.linux.as_ref().unwrap_or(&NOTHING)
    }

    /// A path of the configuration: absolute, or relative to the bundle.
    fn on_host(&self, path: &str) -> String {
        if path.starts_with('/') { path.into() } else { format!("{}/{path}", self.request.bundle) }
    }

    fn rootfs(&self) -> String {
        self.on_host(self.config.root.as_ref().map_or("", |root| &root.path))
    }
}

/// A configuration that is valid in itself but asks for what cannot be had here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    pub message: String,
}

impl Plan {
    /// Whether this may happen while the steps are walked. Moving a process into a v1 cgroup waits for a grace period
    /// of the kernel, as long as all the steps together take; only a new cgroup namespace, whose root is where the
    /// process is, and programs of others that run in the container need it to be there before.
    pub fn runs_beside(&self, action: &AfterClone) -> bool {
        let others = |step: &Step| matches!(step, Step::Hooks { moment: HookMoment::CreateContainer, .. });
        *action == AfterClone::EnterCgroup
            && !self.create.contains(&NamespaceKind::Cgroup)
            && !self.steps.iter().any(others)
    }
}

impl PlanError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl std::fmt::Display for PlanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PlanError {}
