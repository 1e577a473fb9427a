// SPDX-License-Identifier: Apache-2.0
//! Debian's dockerd with `conex-runtime` as its default runtime: all it writes is in the sandbox, it lives in a mount
//! namespace of its own (it leaves mounts when it ends), and it touches no bridge and no firewall.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::require::{self, Requirement};
use crate::run::{Background, Output, Run, poll};
use crate::sandbox::Sandbox;
use crate::{binaries, busybox, leak};

/// A daemon that runs as long as this value lives.
#[derive(Debug)]
pub struct Dockerd<'a> {
    sandbox: &'a Sandbox,
    client: PathBuf,
    socket: String,
    daemon: Background,
}

/// What the daemon gets besides the usual.
#[derive(Debug, Default)]
pub struct Setup<'a> {
    pub flags: &'a [&'a str],
    /// A shell script in the daemon's mount namespace, before it starts.
    pub before: &'a str,
}

impl<'a> Dockerd<'a> {
    /// Starts it and waits until it answers, with the image `busybox` loaded.
    pub fn start(sandbox: &'a Sandbox, setup: &Setup<'_>) -> Requirement<Self> {
        require::root()?;
        let (program, client) = (require::packaged("dockerd")?, require::packaged("docker")?);
        let archive = archive(sandbox)?;
        let socket = format!("unix://{}", sandbox.path("docker.sock").display());
        let mut command = sandbox.command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-e", "-c"]);
        command.arg(format!("{}\nexec \"$@\"", setup.before)).arg("sh").arg(program);
        for (option, place) in
            [("--data-root", "docker"), ("--exec-root", "docker-exec"), ("--pidfile", "docker.pid")]
        {
            command.arg(option).arg(sandbox.path(place));
        }
        command.args(["--host", &socket, "--bridge=none", "--storage-driver=overlay2"]);
        command.args(["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]);
        command.arg("--default-runtime=conex").arg(format!("--cgroup-parent=/{}", sandbox.tag()));
        command.arg(format!("--add-runtime=conex={}", binaries::runtime().display())).args(setup.flags);
        // BuildKit looks for runc there, and finds the personality.
        command.env("PATH", format!("{}:{}", sandbox.programs().display(), require::HOST_PATH.join(":")));
        let started = Self { sandbox, client, socket, daemon: command.background() };
        let answers = || started.docker(&["version"]).run().status.success().then_some(());
        poll(Duration::from_secs(60), answers).ok_or_else(|| {
            let said = started.daemon.output();
            format!("dockerd does not start here: {}", said.lines().last().unwrap_or_default())
        })?;
        started.docker(&["load", "--input", archive]).run().success();
        Ok(started)
    }

    /// Its client.
    pub fn docker(&self, words: &[&str]) -> Command {
        let mut command = self.sandbox.command(&self.client);
        command.args(["--host", &self.socket]).args(words);
        command
    }

    /// The client's standard output without the last newline; panics if it fails.
    #[track_caller]
    pub fn says(&self, words: &[&str]) -> String {
        self.docker(words).run().success().stdout.trim_end().to_owned()
    }

    /// `docker run --rm --network none FLAGS busybox sh -c SCRIPT`.
    pub fn sh(&self, flags: &[&str], script: &str) -> Output {
        let mut command = self.docker(&["run", "--rm", "--network", "none"]);
        command.args(flags).args(["busybox", "sh", "-c", script]).run()
    }

    /// Starts a container that stays, with this name.
    #[track_caller]
    pub fn detached(&self, name: &str, flags: &[&str], script: &str) {
        let mut command = self.docker(&["run", "--detach", "--network", "none", "--name", name]);
        command.args(flags).args(["busybox", "sh", "-c", script]).run().success();
    }

    /// Waits until a container's property, a Go template of `docker inspect`, has this value.
    #[track_caller]
    pub fn wait_for(&self, name: &str, property: &str, value: &str) {
        let mut last = String::new();
        let reached = poll(Duration::from_secs(60), || {
            last = self.says(&["inspect", "--format", property, name]);
            (last == value).then_some(())
        });
        assert!(reached.is_some(), "{property} of {name} is {last:?}, expected {value:?}");
    }

    /// Removes every container, ends the daemon and takes away the cgroup it was told to use.
    pub fn end(mut self) {
        let left = self.says(&["ps", "--all", "--quiet"]);
        let names: Vec<&str> = left.lines().collect();
        if !names.is_empty() {
            self.docker(&["rm", "--force", "--volumes"]).args(names).run().success();
        }
        self.daemon.stop();
        leak::remove_cgroups(self.sandbox.tag());
    }
}

/// The small image as `docker save` writes it; its file name.
pub fn archive(sandbox: &Sandbox) -> Requirement<&'static str> {
    let skopeo = require::packaged("skopeo")?;
    sandbox.layout("busybox").add("latest", &busybox::image()?);
    let copy =
        ["copy", "--insecure-policy", "oci:busybox:latest", "docker-archive:busybox.tar:busybox:latest"];
    sandbox.command(&skopeo).args(copy).run().success();
    Ok("busybox.tar")
}
