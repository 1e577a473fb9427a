// SPDX-License-Identifier: Apache-2.0
//! Debian's containerd with `conex-runtime` in its shim.

use std::fs;
use std::time::Duration;

use conex_testkit::run::poll;
use conex_testkit::{Run, Sandbox, binaries, busybox, leak, needs, require};

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
