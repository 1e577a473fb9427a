// SPDX-License-Identifier: Apache-2.0
//! Debian's podman and buildah with `conex-runtime`, as root or as an ordinary user: storage, locks, logs and state are
//! in the sandbox. Root's have a mount namespace of their own, so that nobody else starts with a copy of their mounts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::require::{self, Requirement};
use crate::run::{Background, LIMIT, Output, Run, poll};
use crate::sandbox::Sandbox;
use crate::user::User;
use crate::{dockerd, leak};

/// Limits that a host without CAP_SYS_RESOURCE may set too; locks as files, because the other kind is the host's.
const CONFIGURATION: &str = "[containers]
default_ulimits = [\"nofile=1000:1000\", \"nproc=1000:1000\"]
init_path = \"/usr/bin/catatonit\"
netns = \"none\"
[engine]
cgroup_manager = \"cgroupfs\"
events_logger = \"file\"
lock_type = \"file\"
";

/// One user's podman with the image `busybox`.
#[derive(Debug)]
pub struct Podman<'a> {
    sandbox: &'a Sandbox,
    user: Option<&'a User<'a>>,
    /// Holds root's mount namespace from one command to the next.
    holder: Option<Background>,
    program: PathBuf,
    /// What it starts containers with: its name decides which features podman expects.
    runtime: PathBuf,
}

impl<'a> Podman<'a> {
    /// Root's, with a runtime of this name: `conex-runtime`, `crun` or `runc`.
    pub fn of_root(sandbox: &'a Sandbox, runtime: &str) -> Requirement<Self> {
        Self::new(sandbox, None, runtime)
    }

    /// An ordinary user's.
    pub fn of(user: &'a User<'a>, sandbox: &'a Sandbox, runtime: &str) -> Requirement<Self> {
        require::userns()?;
        require::program("newuidmap")?;
        Self::new(sandbox, Some(user), runtime)
    }

    fn new(sandbox: &'a Sandbox, user: Option<&'a User<'a>>, runtime: &str) -> Requirement<Self> {
        require::root()?;
        require::program("catatonit")?;
        let program = require::packaged("podman")?;
        let holder = user.is_none().then(|| hold_mounts(sandbox));
        let podman = Self { sandbox, user, holder, program, runtime: sandbox.programs().join(runtime) };
        fs::write(sandbox.path("containers.conf"), CONFIGURATION).map_err(|error| error.to_string())?;
        fs::create_dir_all(podman.session()).map_err(|error| error.to_string())?;
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(podman.session(), private).map_err(|error| error.to_string())?;
        let archive = dockerd::archive(sandbox)?;
        if let Some(user) = user {
            user.own(&podman.session());
            user.own(&sandbox.work());
        }
        podman.podman(&["load", "--input", archive]).run().success();
        Ok(podman)
    }

    /// `$XDG_RUNTIME_DIR`.
    fn session(&self) -> PathBuf {
        self.sandbox.path("session")
    }

    /// Any program in podman's surroundings and with its user.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = match (self.user, &self.holder) {
            (Some(user), _) => user.command(program),
            (None, Some(holder)) => {
                let mut command = self.sandbox.command("nsenter");
                command.arg(format!("--mount=/proc/{}/ns/mnt", holder.child.id()));
                command.args(["sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(self.sandbox.work()).arg(program);
                command
            }
            (None, None) => unreachable!("root's has a holder"),
        };
        command.env("PATH", require::HOST_PATH.join(":")).env("XDG_RUNTIME_DIR", self.session());
        command.env("CONTAINERS_CONF", self.sandbox.path("containers.conf"));
        command
    }

    /// `podman WORDS`.
    pub fn podman(&self, words: &[&str]) -> Command {
        let mut command = self.command(&self.program);
        if self.user.is_none() {
            self.storage(&mut command);
            command.arg("--tmpdir").arg(self.sandbox.path("session/libpod"));
        }
        command.args(["--storage-driver", "overlay"]).arg("--runtime").arg(&self.runtime).args(words);
        command
    }

    /// `buildah WORDS`, over the same storage.
    pub fn buildah(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = self.command(program);
        if self.user.is_none() {
            self.storage(&mut command);
        }
        command.args(["--storage-driver", "overlay"]).args(words);
        command
    }

    /// What it starts containers with.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// For root, the places where a user's would be by default.
    fn storage(&self, command: &mut Command) {
        for (option, place) in [("--root", "data/containers/storage"), ("--runroot", "session/containers")] {
            command.arg(option).arg(self.sandbox.path(place));
        }
    }

    /// Its standard output without the last newline; panics if it fails.
    #[track_caller]
    pub fn says(&self, words: &[&str]) -> String {
        self.podman(words).run().success().stdout.trim_end().to_owned()
    }

    /// `podman run --rm FLAGS busybox sh -c SCRIPT`.
    pub fn sh(&self, flags: &[&str], script: &str) -> Output {
        let mut command = self.podman(&["run", "--rm", "--cgroup-parent", &self.cgroup()]);
        command.args(flags).args(["busybox", "sh", "-c", script]).run()
    }

    /// Starts a container that stays, with this name.
    #[track_caller]
    pub fn detached(&self, name: &str, flags: &[&str], script: &str) {
        let mut command =
            self.podman(&["run", "--detach", "--name", name, "--cgroup-parent", &self.cgroup()]);
        command.args(flags).args(["busybox", "sh", "-c", script]).run().success();
    }

    /// The cgroup for containers, which has the sandbox's tag.
    pub fn cgroup(&self) -> String {
        format!("/{}", self.sandbox.tag())
    }

    /// What the runtime still records of containers in here.
    fn states(&self) -> Vec<PathBuf> {
        let runtime = self.runtime.file_name().expect("it has a name");
        let root = if self.user.is_some() { self.session() } else { PathBuf::from("/run") }.join(runtime);
        let entries = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        let ours = |path: &PathBuf| {
            fs::read_to_string(path.join("state.json")).is_ok_and(|state| state.contains(self.sandbox.tag()))
        };
        entries.filter(ours).collect()
    }

    /// Removes everything: containers, pods, and what podman keeps for later commands.
    #[track_caller]
    pub fn end(self) {
        self.says(&["pod", "rm", "--all", "--force", "--time", "0"]);
        self.says(&["rm", "--all", "--force", "--time", "0"]);
        assert_eq!(self.states(), Vec::<PathBuf>::new(), "containers that the runtime still knows");
        if self.user.is_some() {
            // Ends the process that holds the user's namespaces.
            self.says(&["system", "migrate"]);
        }
        drop(self.holder);
        leak::remove_cgroups(self.sandbox.tag());
    }
}

/// A process that sleeps in a mount namespace of its own.
fn hold_mounts(sandbox: &Sandbox) -> Background {
    let mut command = sandbox.command("unshare");
    let holder = command.args(["--mount", "--propagation", "private", "sleep", "infinity"]).background();
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let moved = || (namespace(&holder.child.id().to_string()) != namespace("self")).then_some(());
    poll(LIMIT, moved).expect("unshare makes a namespace");
    holder
}
