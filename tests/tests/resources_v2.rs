// SPDX-License-Identifier: Apache-2.0
//! Limits, devices, updates, readings and the freezer on pure cgroup v2 with every controller: what a hybrid host
//! cannot show. One boot for all, because emulation is slow.

use conex_testkit::vm::Machine;
use conex_testkit::{Sandbox, binaries, bundle::Bundle, needs, require};
use serde_json::{Value, json};

/// Prints what there is to see, each line with a name; nothing here is decided.
const SCRIPT: &str = r#"
set -u
runtime() { timeout 100 conex-runtime "$@"; }
cgroup=/sys/fs/cgroup/web
show() { for file; do echo "$step $file: $(cat $cgroup/$file)"; done; }
try() { runtime exec web sh -c 'for d in k n m; do (: < /dev/$d) 2>/dev/null && printf $d; done; echo'; }
update() { printf '%s' "$2" | runtime update -r - web 2>&1 | sed "s/^/$1 /"; }
# The numbers of a disk are this kernel's.
disk=$(cat /sys/block/vda/dev)
sed -i "s/4001/${disk%:*}/g; s/4002/${disk#*:}/g" bundle/config.json

step=created
runtime create --bundle bundle web; echo "create: $?"
show memory.max memory.swap.max memory.low memory.high cpu.weight cpu.max cpu.max.burst cpuset.cpus cpuset.mems pids.max
show hugetlb.2MB.max hugetlb.2MB.rsvd.max
[ -e $cgroup/io.bfq.weight ] && show io.bfq.weight || show io.weight
step=disk; grep -o 'rbps=.*' $cgroup/io.max | sed 's/^/created io.max: /'

runtime pause web; runtime state web | grep -o '"status": "[a-z]*"' | sed 's/^/created and paused: /'
runtime start web 2>&1 | grep -o 'cannot start.*paused state'
runtime resume web; runtime state web | grep -o '"status": "[a-z]*"' | sed 's/^/and resumed: /'
runtime start web; echo "start: $?"

step=frozen
runtime pause web; echo "pause: $?"
show cgroup.freeze; grep frozen $cgroup/cgroup.events; runtime state web | grep -o '"status": "[a-z]*"'
runtime resume web; grep frozen $cgroup/cgroup.events
echo "ps: $(runtime ps -f json web | tr -d 0-9)"

# 1:11 is k, 1:3 n, 1:1 m.
runtime exec web sh -c 'mknod /dev/k c 1 11; mknod /dev/n c 1 3; mknod /dev/m c 1 1'
echo "devices at first: $(try)"
update rules '{"devices":[{"allow":true,"type":"c","major":1,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":1,"access":"rwm"}]}'
echo "devices with a hole in a wildcard: $(try)"
update rules '{"devices":[{"allow":false,"access":"rwm"}]}'
echo "devices closed: $(try)"
runtime update --pids-limit 30 web
echo "devices after another update: $(try)"
update rules '{"devices":[{"allow":true,"access":"rwm"}]}'
echo "devices open: $(try)"

step=updated
runtime update --memory 64m --memory-swap 96m --memory-reservation 40m --cpu-share 2048 --cpu-burst 70000 \
  --cpu-quota 90000 --cpuset-cpus 0 web; echo "update: $?"
show memory.max memory.swap.max memory.low cpu.weight cpu.max cpu.max.burst cpuset.cpus pids.max memory.high
runtime update --memory-swap 80m web
step=swap; show memory.max memory.swap.max
runtime update --cpu-quota 20000 --cpu-burst 10000 web
step=lower; show cpu.max cpu.max.burst
runtime update --cpu-quota 5000 web 2>&1
runtime update --memory -1 web
step=unlimited; show memory.max memory.swap.max
runtime update --cpu-idle 1 web
step=idle; show cpu.idle cpu.weight
runtime update --cpu-idle 0 web
step=busy; show cpu.idle cpu.weight
update unified '{"unified":{"pids.max":"25","memory.high":"30000000\n50000000","cpu.max":"max 50000"}}'
step=unified; show pids.max memory.high cpu.max
update absent '{"pids":{"limit":3},"unified":{"nothing.here":"1"}}'
update refused '{"pids":{"limit":3},"cpu":{"cpus":"77"}}'
update escaping '{"pids":{"limit":3},"unified":{"../pids.max":"1"}}'
step=unharmed; show pids.max cpuset.cpus
update checked '{"memory":{"limit":4096,"checkBeforeUpdate":true}}' | grep -o 'rejecting memory limit 4096'

runtime update --memory 32m --memory-swap 32m --cpu-burst 0 --cpu-quota 2000 --cpu-period 20000 web
runtime exec web sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done'
runtime events --stats web > stats.json
for word in '"throttledPeriods":[1-9]' '"psi":{' '"limit":33554432' '"hugetlb":{' '"cpus":\[0\]'; do
  grep -q "$word" stats.json && echo "told: $word"
done
runtime update --cpu-quota -1 web
runtime events --interval 1s web > events.json & events=$!
# With the first reading it has been watching for a second.
until [ -s events.json ]; do sleep 1; done
runtime exec web tail /dev/zero; echo "hog: $?"
runtime kill web KILL
wait $events; echo "events ended: $?"
grep oom events.json | sed 's/^/event: /'
runtime delete web; echo "delete: $?"
[ -e $cgroup ] && echo "cgroup left" || echo "cgroup gone"

# Below cgroups that have processes of their own.
for name in busy full; do
  mkdir /sys/fs/cgroup/$name
  sleep 1000 & echo $! > /sys/fs/cgroup/$name/cgroup.procs
done
runtime run --bundle plain plain | sed 's/^/plain /'
runtime run --bundle memory memory 2>&1 | grep -o 'the memory controller .* processes of its own'
cgroup=/sys/fs/cgroup/full/threads; step=threads
runtime create --bundle threads --pid-file pid threads; echo "threads: $?"
runtime start threads
show cgroup.type pids.max
runtime exec threads cat /proc/self/cgroup | sed 's/^/entered /'
echo "ps: $(runtime ps --format json threads | sed "s/$(cat pid)/init/")"
runtime pause threads
show cgroup.freeze
runtime delete --force threads; echo "delete threads: $?"
runtime run --bundle domain domain 2>&1 | grep -o 'cannot enter cgroupv2 .* invalid state'
echo "left: $(find /sys/fs/cgroup/busy /sys/fs/cgroup/full -mindepth 1 -type d | wc -l)"
"#;

fn limits() -> Value {
    let device = json!({ "major": 4001, "minor": 4002, "rate": 1_048_576 });
    let rates = json!({ "major": 4001, "minor": 4002, "rate": 500 });
    json!({
        "memory": { "limit": 33_554_432, "swap": 50_331_648, "reservation": 16_777_216 },
        "cpu": { "shares": 512, "quota": 50_000, "period": 100_000, "burst": 20_000, "cpus": "0-1", "mems": "0" },
        "pids": { "limit": 17 },
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }],
        "blockIO": {
            "weight": 500,
            "throttleReadBpsDevice": [device], "throttleWriteBpsDevice": [device],
            "throttleReadIOPSDevice": [rates], "throttleWriteIOPSDevice": [rates],
        },
        "unified": { "memory.high": "29360128" },
        "devices": [{ "allow": false, "access": "rwm" }],
    })
}

/// Lines that must be there, in this order, and what is behind them.
const SAID: &[&str] = &[
    "create: 0",
    "created memory.max: 33554432",
    "created memory.swap.max: 16777216",
    "created memory.low: 16777216",
    "created memory.high: 29360128",
    "created cpu.weight: 59",
    "created cpu.max: 50000 100000",
    "created cpu.max.burst: 20000",
    "created cpuset.cpus: 0-1",
    "created cpuset.mems: 0",
    "created pids.max: 17",
    "created hugetlb.2MB.max: 4194304",
    "created hugetlb.2MB.rsvd.max: 4194304",
    "created io.max: rbps=1048576 wbps=1048576 riops=500 wiops=500",
    "created and paused: \"status\": \"paused\"",
    "cannot start a container in the paused state",
    "and resumed: \"status\": \"created\"",
    "start: 0",
    "pause: 0",
    "frozen cgroup.freeze: 1",
    "frozen 1",
    "\"status\": \"paused\"",
    "frozen 0",
    "ps: []",
    "devices at first: n",
    "devices with a hole in a wildcard: kn",
    "devices closed: n",
    "devices after another update: n",
    "devices open: knm",
    "update: 0",
    "updated memory.max: 67108864",
    "updated memory.swap.max: 33554432",
    "updated memory.low: 41943040",
    "updated cpu.weight: 174",
    "updated cpu.max: 90000 100000",
    "updated cpu.max.burst: 70000",
    "updated cpuset.cpus: 0",
    "updated pids.max: 30",
    "updated memory.high: 29360128",
    "swap memory.max: 67108864",
    "swap memory.swap.max: 16777216",
    "lower cpu.max: 20000 100000",
    "lower cpu.max.burst: 10000",
    "unlimited memory.max: max",
    "unlimited memory.swap.max: max",
    "idle cpu.idle: 1",
    "idle cpu.weight: 0",
    "busy cpu.idle: 0",
    "busy cpu.weight: 174",
    "unified pids.max: 25",
    "unified memory.high: 49999872",
    "unified cpu.max: max 50000",
    "unharmed pids.max: 25",
    "unharmed cpuset.cpus: 0",
    "rejecting memory limit 4096",
    "told: \"throttledPeriods\":[1-9]",
    "told: \"psi\":{",
    "told: \"limit\":33554432",
    "told: \"hugetlb\":{",
    "told: \"cpus\":\\[0\\]",
    "hog: 137",
    "events ended: 0",
    "event: {\"type\":\"oom\",\"id\":\"web\"}",
    "delete: 0",
    "cgroup gone",
    "plain 0::/busy/plain",
    "the memory controller is not to be had here, because /sys/fs/cgroup/busy has processes of its own",
    "threads: 0",
    "threads cgroup.type: threaded",
    "threads pids.max: 17",
    "entered 0::/full/threads",
    "ps: [init]",
    "threads cgroup.freeze: 1",
    "delete threads: 0",
    "cannot enter cgroupv2 \\\"/sys/fs/cgroup/full/domain\\\" with domain controllers -- it is in an invalid state",
    "left: 0",
];

#[test]
fn vm_resources_on_pure_cgroup_v2() {
    needs!(require::program("qemu-system-x86_64"));
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.path("machine/bundle"), &["sleep", "1000"]));
    bundle.change(|config| {
        config["linux"]["cgroupsPath"] = "/web".into();
        config["linux"]["resources"] = limits();
        let some = json!(["CAP_MKNOD", "CAP_SYSLOG", "CAP_SYS_RAWIO"]);
        config["process"]["capabilities"] = json!({ "bounding": some, "effective": some, "permitted": some });
    });
    let pids = json!({ "pids": { "limit": 17 } });
    let memory = json!({ "memory": { "limit": 33_554_432 } });
    for (name, path, resources) in [
        ("plain", "/busy/plain", json!({})),
        ("memory", "/busy/memory", memory.clone()),
        ("threads", "/full/threads", pids),
        ("domain", "/full/domain", memory),
    ] {
        let words: &[&str] = if name == "plain" { &["cat", "/proc/self/cgroup"] } else { &["sleep", "1000"] };
        let mut bundle = needs!(Bundle::create(&sandbox.path("machine").join(name), words));
        bundle.change(|config| {
            config["linux"]["cgroupsPath"] = path.into();
            config["linux"]["resources"] = resources;
        });
    }
    let machine = Machine {
        // Debian's kernels measure pressure only when asked to.
        parameters: vec!["psi=1".into()],
        programs: vec![binaries::runtime().into()],
        share: Some(sandbox.path("machine")),
        ..Machine::default()
    };
    let ended = needs!(machine.run(SCRIPT)).output.success();
    let mut lines = ended.stdout.lines().map(str::trim_end);
    for line in SAID {
        assert!(lines.any(|had| had == *line), "no {line:?} in its place in:\n{ended}");
    }
    let said = |part: &str| assert!(ended.stdout.contains(part), "no {part:?} in:\n{ended}");
    said("the nothing controller is not to be had here");
    said("the burst is not larger than the quota");
    said("nothing was changed");
    said("must be a file name (no slashes)");
    sandbox.finish();
}
