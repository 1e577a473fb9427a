// SPDX-License-Identifier: Apache-2.0
//! Debian's containerd with `conex-runtime` behind its runc shim: for `ctr`, and for a kubelet over the Container
//! Runtime Interface. All it writes is in the sandbox; it lives in a mount namespace of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::require::{self, Requirement};
use crate::run::{Background, Run, poll};
use crate::sandbox::Sandbox;
use crate::{binaries, busybox, leak};

/// The image `docker.io/library/busybox:latest` in the kubelet's namespace.
pub const BUSYBOX: &str = "docker.io/library/busybox:latest";
/// What the first container of a pod runs.
const PAUSE: &str = "docker.io/library/pause:1";

/// A network plugin that gives a pod no network but the namespace it came with.
const NO_NETWORK: &str = r#"#!/bin/sh
cat > /dev/null
case $CNI_COMMAND in
ADD) echo '{"cniVersion": "0.4.0", "interfaces": [{"name": "eth0", "sandbox": "'"$CNI_NETNS"'"}],
            "ips": [{"version": "4", "address": "127.0.0.2/32", "interface": 0}]}' ;;
VERSION) echo '{"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0"]}' ;;
esac
"#;
const NETWORKS: &str = r#"{"cniVersion": "0.4.0", "name": "none", "plugins": [{"type": "none"}]}"#;

/// A daemon that runs as long as this value lives.
#[derive(Debug)]
pub struct Containerd<'a> {
    sandbox: &'a Sandbox,
    client: PathBuf,
    socket: PathBuf,
    daemon: Background,
}

impl<'a> Containerd<'a> {
    /// Starts it and waits until it answers.
    pub fn start(sandbox: &'a Sandbox) -> Requirement<Self> {
        require::root()?;
        let (program, client) = (require::packaged("containerd")?, require::packaged("ctr")?);
        let socket = sandbox.path("containerd.sock");
        fs::write(sandbox.path("containerd.toml"), configuration(sandbox, &socket))
            .map_err(|error| error.to_string())?;
        write_network(&sandbox.path("cni")).map_err(|error| error.to_string())?;
        let mut command = sandbox.command("unshare");
        command.args(["--mount", "--propagation", "private"]).arg(program);
        command.arg("--config").arg(sandbox.path("containerd.toml"));
        command.env("PATH", require::HOST_PATH.join(":"));
        let started = Self { sandbox, client, socket, daemon: command.background() };
        let answers = || started.ctr(&["version"]).run().status.success().then_some(());
        poll(Duration::from_secs(60), answers)
            .ok_or_else(|| format!("containerd does not start here: {}", started.daemon.output()))?;
        Ok(started)
    }

    /// `ctr WORDS`.
    pub fn ctr(&self, words: &[&str]) -> Command {
        let mut command = self.sandbox.command(&self.client);
        command.arg("--address").arg(&self.socket).args(words);
        command
    }

    /// `ctr run` of a directory with a root filesystem, in a cgroup with the sandbox's tag.
    pub fn ctr_run(&self, flags: &[&str], rootfs: &Path, id: &str, words: &[&str]) -> Command {
        let mut command = self.ctr(&["run", "--runc-binary"]);
        command.arg(binaries::runtime()).arg("--cgroup").arg(format!("/{}/{id}", self.sandbox.tag()));
        command.args(flags).arg("--rootfs").arg(rootfs).arg(id).args(words);
        command
    }

    /// Brings the images that pods need, where the client for a kubelet's calls can run.
    pub fn import_images(&self) -> Requirement {
        require::program(require::PYTHON_GRPC)?;
        let skopeo = require::packaged("skopeo")?;
        let layout = self.sandbox.layout("images");
        layout.add("busybox", &busybox::image()?);
        layout.add("pause", &busybox::image()?.cmd(&["sleep", "1000000"]));
        for (tag, name) in [("busybox", BUSYBOX), ("pause", PAUSE)] {
            let (from, to) = (format!("oci:images:{tag}"), format!("docker-archive:{tag}.tar:{name}"));
            let copy = ["copy", "--insecure-policy", &from, &to];
            self.sandbox.command(&skopeo).args(copy).run().success();
            self.ctr(&["--namespace", "k8s.io", "images", "import", &format!("{tag}.tar")]).run().success();
        }
        Ok(())
    }

    /// One call as a kubelet makes it, and the answer.
    #[track_caller]
    pub fn ask(&self, method: &str, request: &Value) -> Value {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/programs/cri.py");
        let mut command = self.sandbox.command("/usr/bin/python3");
        command.arg(program).arg(&self.socket).arg(method).arg(request.to_string());
        serde_json::from_str(&command.run().success().stdout).expect("the client prints JSON")
    }

    /// Ends the daemon and takes away the cgroup it was told to use.
    pub fn end(mut self) {
        self.daemon.stop();
        leak::remove_cgroups(self.sandbox.tag());
    }
}

fn configuration(sandbox: &Sandbox, socket: &Path) -> String {
    let path = |name: &str| sandbox.path(name);
    format!(
        r#"version = 2
root = {:?}
state = {:?}
[grpc]
address = {socket:?}
[plugins."io.containerd.internal.v1.opt"]
path = {:?}
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = {:?}
conf_dir = {:?}
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "conex"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.conex]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.conex.options]
BinaryName = {:?}
"#,
        path("containerd"),
        path("containerd-run"),
        path("containerd-opt"),
        path("cni"),
        path("cni"),
        binaries::runtime(),
    )
}

fn write_network(directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    for name in ["none", "loopback"] {
        fs::write(directory.join(name), NO_NETWORK)?;
        fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o755))?;
    }
    fs::write(directory.join("10-none.conflist"), NETWORKS)
}
