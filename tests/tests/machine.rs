// SPDX-License-Identifier: Apache-2.0
//! Under another kernel, with a pure cgroup v2 hierarchy: what this host cannot show.

use conex_testkit::vm::{Machine, System};
use conex_testkit::{Sandbox, binaries, bundle::Bundle, needs, require};

/// One container with every limit of the walking skeleton; the script prints what the kernel says of it.
const SCRIPT: &str = r#"
set -u
echo "kernel: $(uname -r)"
echo "controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
# Emulation is slow, but nothing here may take longer.
runtime="timeout 60 conex-runtime"
$runtime create --bundle /share/bundle limited || echo "create: $?"
cgroup=/sys/fs/cgroup/conex/limited
echo "memory.max: $(cat $cgroup/memory.max)"
echo "pids.max: $(cat $cgroup/pids.max)"
echo "cpu.max: $(cat $cgroup/cpu.max)"
echo "cpu.weight: $(cat $cgroup/cpu.weight)"
$runtime start limited || echo "start: $?"
sleep 1
echo "state: $($runtime state limited | grep -o '"status": *"[a-z]*"')"
echo "procs: $(wc -l < $cgroup/cgroup.procs)"
$runtime exec limited cat /proc/self/cgroup | sed 's/^/inside: /'
$runtime kill limited KILL || echo "kill: $?"
sleep 1
$runtime delete limited || echo "delete: $?"
[ -e $cgroup ] && echo "cgroup left" || echo "cgroup gone"
$runtime run --bundle /share/bomb bomb
echo "bomb: $?"
[ -e /sys/fs/cgroup/conex/bomb ] && echo "cgroup left" || echo "second cgroup gone"
"#;

#[test]
fn vm_limits_are_the_kernels_on_pure_cgroup_v2() {
    needs!(require::program("qemu-system-x86_64"));
    let sandbox = Sandbox::new();
    let mut limited = needs!(Bundle::create(&sandbox.path("machine/bundle"), &["sleep", "1000"]));
    limited.change(|config| {
        config["linux"]["cgroupsPath"] = "/conex/limited".into();
        config["linux"]["namespaces"].as_array_mut().unwrap().push(serde_json::json!({ "type": "cgroup" }));
        config["linux"]["resources"] = serde_json::json!({
            "memory": { "limit": 33_554_432 },
            "pids": { "limit": 17 },
            "cpu": { "quota": 50_000, "period": 100_000, "shares": 512 },
        });
    });
    // Allocates until the kernel says no: 137 only if the limit of 32 MiB is real.
    let mut bomb = needs!(Bundle::create(&sandbox.path("machine/bomb"), &["tail", "/dev/zero"]));
    bomb.change(|config| {
        config["linux"]["cgroupsPath"] = "/conex/bomb".into();
        config["linux"]["resources"] = serde_json::json!({ "memory": { "limit": 33_554_432 } });
    });
    let machine = Machine {
        programs: vec![binaries::runtime().into()],
        share: Some(sandbox.path("machine")),
        ..Machine::default()
    };
    let ended = needs!(machine.run(SCRIPT)).output.success();
    let console = ended.stdout;
    let said =
        |line: &str| assert!(console.lines().any(|had| had.trim_end() == line), "no {line:?} in:\n{console}");
    said("memory.max: 33554432");
    said("pids.max: 17");
    said("cpu.max: 50000 100000");
    // shares of 512 by the curve that runc and crun have agreed on, on which 1024 is the default weight of 100.
    said("cpu.weight: 59");
    said("procs: 1");
    said("inside: 0::/");
    said("cgroup gone");
    said("bomb: 137");
    said("second cgroup gone");
    sandbox.finish();
}

#[test]
fn vm_selinux_enforces_debians_policy() {
    let machine = Machine { system: System::Systemd, selinux: true, ..Machine::default() };
    let script = "getenforce; id -Z; runcon system_u:system_r:getty_t:s0 cat /etc/shadow && echo read";
    let output = needs!(machine.run(script)).output.fails();
    assert_eq!(output.stdout, "Enforcing\nsystem_u:system_r:initrc_t:s0\n", "{output}");
}

#[test]
fn vm_a_disk_survives_a_power_cut() {
    let sandbox = Sandbox::new();
    let machine = Machine { disk: Some(sandbox.path("disk")), ..Machine::default() };
    let write = "echo kept > /disk/kept; sync; echo written; sleep 1000";
    let mut running = needs!(machine.boot(&["sh", "-c", write]));
    running.until("written").unwrap_or_else(|error| panic!("{error}"));
    running.power_cut();
    let again = needs!(machine.run("cat /disk/kept; dmesg | grep -c 'recovery complete'")).output.success();
    assert_eq!(again.stdout, "kept\n1\n", "{again}");
    sandbox.finish();
}
