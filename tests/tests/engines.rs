// SPDX-License-Identifier: Apache-2.0
//! Other people's engines run containers with `conex-runtime`: Debian's podman, and a dockerd of our own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use conex_testkit::run::{Background, poll};
use conex_testkit::server::Registry;
use conex_testkit::{Run, Sandbox, binaries, busybox, leak, needs, require};

/// Limits that a host without CAP_SYS_RESOURCE may set too.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000"];

/// The small image as `docker save` writes it, which both engines load; its file name.
fn archive(sandbox: &Sandbox) -> require::Requirement<&'static str> {
    let skopeo = require::program("skopeo")?;
    sandbox.layout("busybox").add("latest", &busybox::image()?);
    let copy =
        ["copy", "--insecure-policy", "oci:busybox:latest", "docker-archive:busybox.tar:busybox:latest"];
    sandbox.command(&skopeo).args(copy).run().success();
    Ok("busybox.tar")
}

/// podman with everything it writes inside the sandbox.
fn podman(sandbox: &Sandbox, program: &PathBuf) -> Command {
    let mut command = sandbox.command(program);
    command.env("PATH", require::HOST_PATH.join(":"));
    for (option, place) in [("--root", "podman"), ("--runroot", "podman-run"), ("--tmpdir", "tmp/podman")] {
        command.arg(option).arg(sandbox.path(place));
    }
    command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file", "--storage-driver", "vfs"]);
    command.arg("--runtime").arg(binaries::runtime());
    command
}

#[test]
fn root_podman_runs_with_conex_runtime() {
    needs!(require::root());
    let program = needs!(require::program("podman"));
    let sandbox = Sandbox::new();
    let archive = needs!(archive(&sandbox));
    podman(&sandbox, &program).args(["load", "--input", archive]).run().success();
    let parent = format!("/{}", sandbox.tag());
    let run = |words: &[&str]| {
        let mut command = podman(&sandbox, &program);
        command.args(words).args(["--network", "none", "--cgroup-parent", &parent]).args(LIMITS);
        command
    };

    let hello = run(&["run", "--rm"]).arg("busybox").run().success();
    assert_eq!(hello.stdout, busybox::MOTD);
    run(&["run", "--rm"]).args(["busybox", "sh", "-c", "exit 7"]).run().exits(7);

    run(&["run", "--detach", "--name", "web", "--memory", "64m"])
        .args(["busybox", "sleep", "1000"])
        .run()
        .success();
    let inside = podman(&sandbox, &program).args(["exec", "web", "cat", "/etc/motd"]).run().success();
    assert_eq!(inside.stdout, busybox::MOTD);
    let state = podman(&sandbox, &program).args(["inspect", "--format", "{{.State.Status}}", "web"]).run();
    assert_eq!(state.stdout.trim(), "running", "{state}");
    podman(&sandbox, &program).args(["kill", "web"]).run().success();
    podman(&sandbox, &program).args(["rm", "--force", "--time", "0", "web"]).run().success();
    leak::remove_cgroups(sandbox.tag());
    sandbox.finish();
}

/// A dockerd on its own socket, in its own mount namespace: it leaves mounts when it ends.
struct Dockerd {
    socket: String,
    program: PathBuf,
    _daemon: Background,
}

impl Dockerd {
    fn start(sandbox: &Sandbox) -> require::Requirement<Self> {
        let (daemon, program) = (require::program("dockerd")?, require::program("docker")?);
        let socket = format!("unix://{}", sandbox.path("docker.sock").display());
        let mut command = sandbox.command("unshare");
        command.args(["--mount", "--propagation", "private"]).arg(daemon).args(["--host", &socket]);
        for (option, place) in
            [("--data-root", "docker"), ("--exec-root", "docker-exec"), ("--pidfile", "docker.pid")]
        {
            command.arg(option).arg(sandbox.path(place));
        }
        command.args(["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]);
        command.args(["--bridge=none", "--storage-driver=vfs", "--default-runtime=conex"]);
        command.arg(format!("--cgroup-parent=/{}", sandbox.tag()));
        command.arg(format!("--add-runtime=conex={}", binaries::runtime().display()));
        command.env("PATH", require::HOST_PATH.join(":"));
        let started = Self { socket, program, _daemon: command.background() };
        let answers = || started.docker(sandbox, &["version"]).run().status.success().then_some(());
        poll(Duration::from_secs(60), answers).ok_or_else(|| {
            let said = started._daemon.output();
            format!("dockerd does not start here: {}", said.lines().last().unwrap_or_default())
        })?;
        Ok(started)
    }

    fn docker(&self, sandbox: &Sandbox, words: &[&str]) -> Command {
        let mut command = sandbox.command(&self.program);
        command.args(["--host", &self.socket]).args(words);
        command
    }
}

#[test]
fn root_docker_runs_with_conex_runtime() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let archive = needs!(archive(&sandbox));
    let dockerd = needs!(Dockerd::start(&sandbox));
    dockerd.docker(&sandbox, &["load", "--input", archive]).run().success();

    let hello = dockerd.docker(&sandbox, &["run", "--rm", "--network", "none", "busybox"]).run().success();
    assert_eq!(hello.stdout, busybox::MOTD);
    let exits = ["run", "--rm", "--network", "none", "busybox", "sh", "-c", "exit 7"];
    dockerd.docker(&sandbox, &exits).run().exits(7);

    let detached = ["run", "--detach", "--name", "web", "--network", "none", "--memory", "64m", "busybox"];
    dockerd.docker(&sandbox, &detached).args(["sleep", "1000"]).run().success();
    let inside = dockerd.docker(&sandbox, &["exec", "web", "cat", "/etc/motd"]).run().success();
    assert_eq!(inside.stdout, busybox::MOTD);
    let none =
        dockerd.docker(&sandbox, &["run", "--rm", "--network", "none", "busybox", "no-such-program"]).run();
    assert_eq!(none.code(), 127, "{none}");
    dockerd.docker(&sandbox, &["rm", "--force", "web"]).run().success();
    drop(dockerd);
    leak::remove_cgroups(sandbox.tag());
    assert!(!fs::exists(sandbox.path("docker.pid")).unwrap(), "dockerd has ended");
    sandbox.finish();
}

#[test]
fn root_docker_pushes_to_and_pulls_from_the_registry() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let archive = needs!(archive(&sandbox));
    let registry = Registry::conex(&sandbox);
    let dockerd = needs!(Dockerd::start(&sandbox));
    let docker = |words: &[&str]| dockerd.docker(&sandbox, words).run().success();
    let name = format!("{}/team/busybox:1", registry.address);
    docker(&["load", "--input", archive]);
    docker(&["tag", "busybox", &name]);
    docker(&["push", "--quiet", &name]);
    docker(&["rmi", &name, "busybox"]);
    docker(&["pull", "--quiet", &name]);
    assert_eq!(docker(&["run", "--rm", "--network", "none", &name]).stdout, busybox::MOTD);
    drop(dockerd);
    leak::remove_cgroups(sandbox.tag());
    drop(registry);
    sandbox.finish();
}

/// A containerd of our own starts a container through its shim, with `conex-runtime` in runc's place.
#[test]
fn root_containerd_runs_with_conex_runtime() {
    needs!(require::root());
    let (daemon, ctr) = (needs!(require::program("containerd")), needs!(require::program("ctr")));
    let sandbox = Sandbox::new();
    let bundle = needs!(conex_testkit::bundle::Bundle::create(&sandbox.work(), &["true"]));
    let socket = sandbox.path("containerd.sock").display().to_string();
    let config = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {socket:?}\n",
        sandbox.path("containerd"),
        sandbox.path("containerd-run"),
    );
    fs::write(sandbox.path("containerd.toml"), config).unwrap();
    let mut command = sandbox.command("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(daemon).arg("--config");
    command.arg(sandbox.path("containerd.toml")).env("PATH", require::HOST_PATH.join(":"));
    let mut running = command.background();
    let client = || {
        let mut command = sandbox.command(&ctr);
        command.args(["--address", &socket]);
        command
    };
    let answers = || client().arg("version").run().status.success().then_some(());
    if poll(Duration::from_secs(30), answers).is_none() {
        conex_testkit::skip!("containerd does not start here: {}", running.output());
    }
    let id = sandbox.id("ctr");
    let mut run = client();
    run.args(["run", "--rm", "--runc-binary"]).arg(binaries::runtime()).arg("--rootfs");
    run.arg(bundle.path.join("rootfs")).args([&id, "sh", "-c", "cat /etc/motd; exit 3"]);
    assert_eq!(run.run().exits(3).stdout, busybox::MOTD);
    running.stop();
    leak::remove_cgroups(sandbox.tag());
    sandbox.finish();
}
