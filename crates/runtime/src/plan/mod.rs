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

mod annotation;
mod cgroup;
mod credentials;
mod data;
mod devices;
mod exec;
mod execution;
mod limits;
mod mount_options;
mod mounts;
mod namespaces;
mod rootfs;
mod running;
mod seccomp;

use conex_spec::runtime::{Config, Linux, Process, Violation};

use crate::cgroup::Driver;

pub(crate) use annotation::{UNSAFE as UNSAFE_ANNOTATIONS, ignored as ignored_annotation};
pub use data::*;
pub use devices::device_rules;
pub use exec::plan_exec;

use crate::resctrl::Resctrl;
pub use mount_options::NAMES as MOUNT_OPTIONS;
pub(crate) use mount_options::{ACCESS_TIME, LOCKABLE};
pub use running::{plan_mounts, plan_unmounts};

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
    /// LISTEN_FDS: so many of the preserved descriptors, the first ones, are sockets that the program may accept on.
    pub sockets: u32,
    pub cgroup_driver: Driver,
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
    /// Where systemd may be reached: that of the user for a rootless caller, else the machine's.
    pub managers: Vec<crate::dbus::Address>,
    /// /proc/kcore exists.
    pub kcore: bool,
    /// The highest capability that the kernel knows.
    pub last_capability: u8,
    /// What the caller has and could hand on, a bit per capability.
    pub capabilities: u64,
}

/// Decides everything. The configuration must have passed validation.
pub fn plan(config: &Config, request: &Request, host: &Host) -> Result<Plan, PlanError> {
    let nothing = Process { cwd: "/".into(), ..Process::default() };
    let process = config.process.as_ref().unwrap_or(&nothing);
    let mut draft = Draft::new(config, request, host);
    draft.needs_selinux("/linux/mountLabel", &draft.linux().mount_label);
    let id_maps = draft.id_maps();
    let cgroup = draft.cgroup();
    let resctrl = draft.linux().intel_rdt.as_ref().map(|config| Resctrl::of(config, &request.id));
    draft.keyring(process);
    draft.root_filesystem(&cgroup);
    draft.steps.push(Step::MakeWorkingDirectory { path: process.cwd.clone() });
    draft.console(process);
    draft.finish_root_filesystem();
    draft.identity(process);
    draft.restrict_paths();
    draft.propagate_root();
    draft.scheduling(process);
    draft.credentials(process, id_maps.as_ref());
    draft.execution(process);
    if !draft.errors.is_empty() {
        return Err(draft.give_up());
    }
    Ok(Plan {
        rootfs: draft.rootfs(),
        create: draft.namespaces_to_create(),
        join: draft.namespaces_to_join(),
        time_offsets: draft.time_offsets(),
        after_clone: draft.after_clone(process, id_maps.is_some()),
        id_maps,
        cgroup,
        resctrl,
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
    /// The steps are walked where the host's files are out of reach: the container runs already.
    running: bool,
    /// All are collected: who mends one wants to know of the others.
    errors: Vec<Violation>,
}

impl<'a> Draft<'a> {
    fn new(config: &'a Config, request: &'a Request, host: &'a Host) -> Self {
        let (before_clone, steps, warnings, errors) = Default::default();
        Self { config, request, host, before_clone, steps, warnings, running: false, errors }
    }

    /// Something that cannot be had; the pointer is into the configuration, empty for what the caller asked.
    fn fail(&mut self, pointer: impl Into<String>, message: impl Into<String>) -> &mut Self {
        self.errors.push(Violation { pointer: pointer.into(), message: message.into() });
        self
    }

    fn give_up(&mut self) -> PlanError {
        PlanError(std::mem::take(&mut self.errors))
    }
    /// The `linux` object; a configuration without one asks for nothing.
    fn linux(&self) -> &'a Linux {
        static NOTHING: std::sync::LazyLock<Linux> = std::sync::LazyLock::new(Linux::default);
        self.config.linux.as_ref().unwrap_or(&NOTHING)
    }

    /// A path of the configuration: absolute, or relative to the bundle.
    fn on_host(&self, path: &str) -> String {
        if path.starts_with('/') { path.into() } else { format!("{}/{path}", self.request.bundle) }
    }

    /// A label that nobody would look at is an error, not a promise.
    fn needs_selinux(&mut self, pointer: &str, label: &str) {
        if !label.is_empty() && !self.host.selinux {
            let what = "selinux label is specified in config, but selinux is disabled or not supported";
            self.fail(pointer, what);
        }
    }

    fn rootfs(&self) -> String {
        self.on_host(self.config.root.as_ref().map_or("", |root| &root.path))
    }
}

/// A configuration that is valid in itself but asks for what cannot be had here: all of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError(pub Vec<Violation>);

impl std::fmt::Display for PlanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, Violation { pointer, message }) in self.0.iter().enumerate() {
            let (before, between) =
                (if index == 0 { "" } else { "\n" }, if pointer.is_empty() { "" } else { ": " });
            write!(f, "{before}{pointer}{between}{message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanError {}

impl From<PlanError> for crate::Error {
    fn from(error: PlanError) -> Self {
        Self::new(crate::ErrorKind::Config, error.to_string())
    }
}
