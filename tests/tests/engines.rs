// SPDX-License-Identifier: Apache-2.0
//! Other people's engines run containers with `conex-runtime`: Debian's podman and containerd.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use conex_testkit::dockerd::archive;
use conex_testkit::run::poll;
use conex_testkit::{Run, Sandbox, binaries, busybox, leak, needs, require};

/// Limits that a host without CAP_SYS_RESOURCE may set too.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000"];

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
