// SPDX-License-Identifier: Apache-2.0
//! config-linux.md, "Network Devices": a device of the host becomes the container's. The "host" is a network namespace
//! made for the test, so that the machine's own is never touched.

use std::fs;

use conex_testkit::bundle::Bundle;
use conex_testkit::{Output, Run, Sandbox, needs, require};
use serde_json::{Value, json};

/// Runs `inside` in a container; `outside` prepares the namespace that the runtime is started in.
fn moved(sandbox: &Sandbox, outside: &str, devices: Value, inside: &str) -> require::Requirement<Output> {
    require::program("ip")?;
    let unshare = require::program("unshare")?;
    let mut bundle = Bundle::create(&sandbox.work(), &["sh", "-c", inside])?;
    bundle.change(|config| config["linux"]["netDevices"] = devices);
    let script = format!("set -e; {outside}; exec \"$@\"");
    let mut command = sandbox.command(unshare);
    command.args(["--net", "sh", "-c", &script, "sh"]);
    command.arg(sandbox.programs().join("conex-runtime"));
    command.arg("--root").arg(sandbox.path("run/runtime"));
    Ok(command.args(["run", &sandbox.id("a")]).run())
}

const DEVICE: &str = "ip link add host0 type veth peer name peer0; ip link set host0 mtu 1400 address 02:00:00:00:00:07; \
                      ip address add 192.0.2.7/24 dev host0; ip -6 address add 2001:db8::7/64 dev host0; \
                      ip address add 192.0.2.9/32 dev host0 scope link; ip link set host0 up";

#[test]
fn root_a_device_comes_with_its_addresses_under_a_new_name_and_up() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let inside = "cd /sys/class/net/eth0; cat mtu address; ip address show eth0; ls /sys/class/net";
    let output = needs!(moved(&sandbox, DEVICE, json!({ "host0": { "name": "eth0" } }), inside)).success();
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(lines[..2], ["1400", "02:00:00:00:00:07"]);
    for wanted in ["UP", "inet 192.0.2.7/24 ", "inet6 2001:db8::7/64 "] {
        assert!(output.stdout.contains(wanted), "no {wanted:?}: {output}");
    }
    assert!(!output.stdout.contains("192.0.2.9"), "an address of link scope stays behind: {output}");
    assert!(!lines.contains(&"host0"), "{output}");
    sandbox.finish();
}

#[test]
fn root_a_name_of_its_own_or_a_template_does() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let outside = format!("{DEVICE}; ip link add other type veth peer name peer1");
    let devices = json!({ "host0": {}, "other": { "name": "net%d" } });
    let output = needs!(moved(&sandbox, &outside, devices, "ls /sys/class/net | tr '\\n' ' '")).success();
    assert_eq!(output.stdout, "host0 lo net0 ");
    sandbox.finish();
}

#[test]
fn root_a_name_that_is_taken_and_a_device_that_cannot_move_are_errors() {
    needs!(require::root());
    let outside = format!("{DEVICE}; ip link add bridge0 type bridge");
    for (name, devices, message) in [
        ("taken", json!({ "host0": { "name": "lo" } }), "network device lo is already there"),
        ("fixed", json!({ "bridge0": {} }), "move network device bridge0"),
        ("missing", json!({ "nosuch": {} }), "find network device nosuch"),
    ] {
        let sandbox = Sandbox::new();
        let output = needs!(moved(&sandbox, &outside, devices, "true")).exits(1);
        assert!(output.stderr.contains(message), "{name}: {output}");
        sandbox.finish();
    }
}

/// The namespace is joined by the container's process itself, later than the device moves.
#[test]
fn root_a_device_moves_into_a_namespace_that_exists() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let pinned = sandbox.path("netns");
    fs::write(&pinned, "").unwrap();
    let devices = json!({ "host0": { "name": "eth0" } });
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["ip", "address", "show", "eth0"]));
    bundle.change(|config| {
        config["linux"]["netDevices"] = devices;
        config["linux"]["namespaces"][1] = json!({ "type": "network", "path": pinned });
    });
    let runtime = sandbox.programs().join("conex-runtime");
    let script = format!(
        "set -e; {DEVICE}; unshare --net mount --bind /proc/self/ns/net {pinned}; \
         {runtime} --root {root} run {id}; nsenter --net={pinned} ip link show eth0; umount {pinned}",
        pinned = pinned.display(),
        runtime = runtime.display(),
        root = sandbox.path("run/runtime").display(),
        id = sandbox.id("a"),
    );
    let unshare = needs!(require::program("unshare"));
    // A mount namespace, so that a failure leaves no mount of a namespace behind.
    let words = ["--net", "--mount", "sh", "-c", &script];
    let output = sandbox.command(unshare).args(words).run().success();
    assert!(output.stdout.contains("inet 192.0.2.7/24 "), "{output}");
    sandbox.finish();
}
