// SPDX-License-Identifier: Apache-2.0
//! Under another kernel, with a pure cgroup v2 hierarchy: what this host cannot show.

use conex_testkit::vm::Machine;
use conex_testkit::{Sandbox, binaries, bundle::Bundle, needs, require, skip};

/// One container with every limit of the walking skeleton; the script prints what the kernel says of it.
const SCRIPT: &str = r#"
set -u
echo "kernel: $(uname -r)"
echo "controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
# Emulation is slow, but nothing here may take longer.
runtime="timeout 20 /usr/bin/conex-runtime"
$runtime create --bundle /payload/bundle limited || echo "create: $?"
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
$runtime run --bundle /payload/bomb bomb
echo "bomb: $?"
[ -e /sys/fs/cgroup/conex/bomb ] && echo "cgroup left" || echo "second cgroup gone"
"#;

#[test]
fn vm_limits_are_the_kernels_on_pure_cgroup_v2() {
    needs!(require::program("qemu-system-x86_64"));
    let sandbox = Sandbox::new();
    let mut limited = needs!(Bundle::create(&sandbox.path("limited"), &["sleep", "1000"]));
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
    let mut bomb = needs!(Bundle::create(&sandbox.path("bomb"), &["tail", "/dev/zero"]));
    bomb.change(|config| {
        config["linux"]["cgroupsPath"] = "/conex/bomb".into();
        config["linux"]["resources"] = serde_json::json!({ "memory": { "limit": 33_554_432 } });
    });
    let mut machine = needs!(Machine::new());
    machine.program("usr/bin/conex-runtime", binaries::runtime());
    machine.tree("payload/bundle", &limited.path);
    machine.tree("payload/bomb", &bomb.path);
    let console = match machine.run(SCRIPT) {
        Ok(console) => console,
        Err(reason) => skip!("{reason}"),
    };
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
    said("script ended: 0");
    sandbox.finish();
}
