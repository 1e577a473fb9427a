// SPDX-License-Identifier: Apache-2.0
//! Under another kernel, with a pure cgroup v2 hierarchy: what this host cannot show.

use conex_testkit::vm::Machine;
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

/// What a container sees of its mounts, and what an old kernel cannot do.
const OLDEST: &str = r#"
uname -r | grep -q '^5[.]10[.]' && echo "the oldest kernel"
runtime="timeout 60 conex-runtime"
$runtime run --bundle /share/flags flags; echo "flags: $?"
$runtime run --bundle /share/users users; echo "users: $?"
$runtime run --bundle /share/recursive recursive; echo "recursive: $?"
"#;

/// mount_setattr(2) came with 5.12, close_range's CLOEXEC with 5.11.
#[test]
fn vm_mounts_have_their_flags_on_the_oldest_kernel() {
    needs!(require::program("qemu-system-x86_64"));
    let sandbox = Sandbox::new();
    let look = "awk '{ print $5, $6 }' /proc/self/mountinfo
        echo x > /file || echo root read-only; echo x > /etc/motd || echo file read-only
        cat /proc/kcore | wc -c; ls /proc/self/fd | wc -w";
    let mut bundle = needs!(Bundle::create(&sandbox.path("machine/flags"), &["sh", "-c", look]));
    bundle.change(|config| {
        config["root"]["readonly"] = true.into();
        let bind = |destination: &str, source: &str, options: [&str; 4]| {
            serde_json::json!({ "destination": destination, "source": source, "type": "bind",
                "options": options })
        };
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(bind("/etc/motd", "config.json", ["bind", "ro", "nosuid", "noatime"]));
        mounts.push(bind("/srv", "rootfs/etc", ["bind", "rw", "nodev", "noexec"]));
    });
    let mut recursive = needs!(Bundle::create(&sandbox.path("machine/recursive"), &["true"]));
    recursive.change(|config| {
        let mount = serde_json::json!({ "destination": "/srv", "source": "rootfs/etc", "type": "bind",
            "options": ["rbind", "rro"] });
        config["mounts"].as_array_mut().unwrap().push(mount);
    });
    let mut users = needs!(Bundle::create(&sandbox.path("machine/users"), &["cat", "/etc/motd"]));
    users.change(|config| {
        let map = serde_json::json!([{ "containerID": 0, "hostID": 0, "size": 1000 }]);
        config["linux"]["namespaces"].as_array_mut().unwrap().push(serde_json::json!({ "type": "user" }));
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        let mount = serde_json::json!({ "destination": "/etc/motd", "source": "/share/hello", "type": "bind",
            "options": ["bind", "ro"] });
        config["mounts"].as_array_mut().unwrap().push(mount);
    });
    std::fs::write(sandbox.path("machine/hello"), "users have it\n").unwrap();
    let machine = Machine {
        kernel: Some("5.10".into()),
        programs: vec![binaries::runtime().into()],
        share: Some(sandbox.path("machine")),
        ..Machine::default()
    };
    let ended = needs!(machine.run(OLDEST)).output;
    let said =
        |line: &str| assert!(ended.stdout.lines().any(|had| had.trim_end() == line), "{line:?}\n{ended}");
    said("the oldest kernel");
    said("root read-only");
    said("file read-only");
    // As the disk is that they come from.
    said("/ ro,noatime");
    said("/etc/motd ro,nosuid,noatime");
    said("/srv rw,nodev,noexec,noatime");
    said("/dev rw,nosuid");
    said("/sys ro,nosuid,nodev,noexec,relatime");
    said("/proc/sys ro,relatime");
    said("/proc/kcore ro,nosuid,nodev,noexec,relatime");
    said("flags: 0");
    said("users have it");
    said("recursive: 1");
    assert!(ended.stderr.contains("recursive mount attributes need Linux 5.12"), "{ended}");
    sandbox.finish();
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
