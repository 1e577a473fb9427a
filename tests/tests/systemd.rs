// SPDX-License-Identifier: Apache-2.0
//! The systemd cgroup driver, under a real systemd: on the bus of the system and on that of a user. Each machine
//! runs one script; what that finds it says as `name: value`.

use conex_testkit::bundle::Bundle;
use conex_testkit::vm::{Machine, System};
use conex_testkit::{Output, Sandbox, binaries, needs, require};
use serde_json::json;

/// What both scripts need.
const PRELUDE: &str = r#"
runtime="timeout 60 conex-runtime --systemd-cgroup"
say() { echo "$1: $2"; }
# Exit statuses that are not what they should be, with the error.
try() { what=$1; shift; "$@" 2> /tmp/error || say "$what failed" "$? $(cat /tmp/error)"; }
value() { sed "s/^/$2: /" "$1/$2"; }
"#;

const SYSTEM: &str = r#"
group=/sys/fs/cgroup/cx.slice/cx-pod.slice/eng-one.scope
try create $runtime create --bundle limited --pid-file /tmp/pid one
# The stage that systemd moved is gone, init was never moved.
say procs "$(cat $group/cgroup.procs)" | sed "s/ $(cat /tmp/pid)$/ init/"
systemctl show eng-one.scope -p Slice,ControlGroup,Delegate,MemoryMax,MemoryLow,TasksMax,CPUWeight,CPUQuotaPerSecUSec
systemctl show eng-one.scope -p AllowedCPUs,DevicePolicy,TimeoutStopUSec,CollectMode
systemctl show eng-one.scope -p DeviceAllow | grep -E '/1:3 |block-' | sort
for file in memory.max memory.high pids.max cpu.max cpu.weight cpuset.cpus; do value $group $file; done
try start $runtime start one
say exec "$($runtime exec one cat /proc/self/cgroup)"
mkdir $group/below
say below "$($runtime exec --cgroup below one cat /proc/self/cgroup)"
say beside "$($runtime exec --cgroup ../one one true 2>&1 | grep -o -e '--cgroup .*cgroup')"
say devices "$($runtime exec one sh -c 'echo > /dev/null && echo open; mknod /tmp/kmsg c 1 11 && echo made; : < /tmp/kmsg' 2>&1 | tr '\n' ' ')"
# What systemd knows it keeps when it reads its configuration again.
try update $runtime update --memory 67108864 --pids-limit 33 --cpu-quota 12345 one
systemctl daemon-reload
systemctl show eng-one.scope -p MemoryMax,TasksMax,CPUQuotaPerSecUSec | sed 's/^/then /'
for file in memory.max pids.max cpu.max; do value $group $file; done | sed 's/^/then /'
say 'still open' "$($runtime exec one sh -c 'echo > /dev/null && echo yes')"
try pause $runtime pause one
say frozen "$(cat $group/cgroup.freeze)"
try resume $runtime resume one
# Cgroups of the container's own, with a controller: exec goes to where init is.
$runtime exec one true
init=$(cat /tmp/pid)
echo $init > $group/below/cgroup.procs
echo +memory > $group/cgroup.subtree_control
say follows "$($runtime exec one cat /proc/self/cgroup)"
try delete $runtime delete --force one
say gone "$(systemctl show -P LoadState eng-one.scope) $(ls -d $group 2>&1 | grep -c 'No such')"

say alone "$(timeout 60 conex-runtime --cgroup-manager systemd run --bundle alone two) $?"
say default "$($runtime run --bundle default three)"
say bus "$(DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus/./system_bus_socket $runtime run --bundle default four)"
say 'no bus' "$(DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nowhere $runtime run --bundle default five 2>&1 | grep -o 'cannot reach systemd: .*directory')"

# Nobody writes a cgroup.procs but systemd.
try strace strace -f -e trace=open,openat,creat -o /tmp/calls $runtime run --bundle default six > /dev/null
say 'calls seen' "$(grep -c default/config.json /tmp/calls)"
say 'writers of cgroup.procs' "$(grep -c 'cgroup.procs.*O_\(WRONLY\|RDWR\)' /tmp/calls)"

# Somebody else's unit of the name.
systemd-run --quiet --scope --unit=runc-seven sleep 1000 &
until systemctl is-active --quiet runc-seven.scope; do sleep 0.2; done
say taken "$($runtime run --bundle default seven 2>&1 | grep -o 'Unit runc-seven.scope.*already.*' | cut -d. -f1-2)"
say unharmed "$(systemctl is-active runc-seven.scope)"
systemctl stop runc-seven.scope

# A unit that has failed stays until somebody takes note.
try 'create short' $runtime create --bundle short short
until systemctl is-failed --quiet runc-short.scope; do sleep 0.2; done
try 'delete short' $runtime delete short
say 'failed unit' "$(systemctl show -P LoadState runc-short.scope)"

# A property that systemd does not take.
say wrong "$($runtime run --bundle wrong wrong 2>&1 | grep -o 'Cannot set property NoSuchThing')"

# The runtime is killed while systemd works: what systemd makes of it is gone with the container.
units() { systemctl list-units --all --no-legend --plain 'runc-*' 'eng-*'; }
try inject strace -f -qq -o /dev/null -e inject=recvfrom:signal=KILL:when=3 conex-runtime --systemd-cgroup create --bundle default eight
while pgrep conex-runtime > /dev/null || [ -n "$(systemctl list-jobs --no-legend)" ]; do sleep 0.2; done
try 'delete eight' $runtime delete --force eight
until [ -z "$(units)" ]; do sleep 0.2; done
say left "$(find /sys/fs/cgroup -name 'runc-*' -o -name 'eng-*' | wc -l) cgroups, $($runtime list -q | wc -l) containers"
"#;

/// In answer; quotas in whole per cents, in both places.
const SYSTEM_SAYS: &str = r#"
procs: init
Slice=cx-pod.slice
ControlGroup=/cx.slice/cx-pod.slice/eng-one.scope
Delegate=yes
CPUWeight=59
CPUQuotaPerSecUSec=500ms
MemoryLow=16777216
MemoryMax=33554432
TasksMax=17
TimeoutStopUSec=12s
AllowedCPUs=0
DevicePolicy=strict
CollectMode=inactive-or-failed
DeviceAllow=/dev/char/1:3 rwm
DeviceAllow=block-* m
memory.max: 33554432
memory.high: 31457280
pids.max: 17
cpu.max: 50000 100000
cpu.weight: 59
cpuset.cpus: 0
exec: 0::/cx.slice/cx-pod.slice/eng-one.scope
below: 0::/cx.slice/cx-pod.slice/eng-one.scope/below
beside: --cgroup ../one: bad sub cgroup path: not below the container's cgroup
devices: open made sh: can't open /tmp/kmsg: Operation not permitted
then CPUQuotaPerSecUSec=130ms
then MemoryMax=67108864
then TasksMax=33
then memory.max: 67108864
then pids.max: 33
then cpu.max: 13000 100000
still open: yes
frozen: 1
follows: 0::/cx.slice/cx-pod.slice/eng-one.scope/below
gone: not-found 1
alone: 0::/system.slice/runc-two.scope 0
default: 0::/system.slice/runc-three.scope
bus: 0::/system.slice/runc-four.scope
no bus: cannot reach systemd: connect(\"/nowhere\"): no such file or directory
calls seen: 1
writers of cgroup.procs: 0
taken: Unit runc-seven.scope was already loaded or has a fragment file
unharmed: active
failed unit: not-found
wrong: Cannot set property NoSuchThing
inject failed: 137 Killed
left: 0 cgroups, 0 containers
"#;

/// A runtime, its bundles and the machine they are for.
fn run(sandbox: &Sandbox, script: &str) -> require::Requirement<Output> {
    let machine = Machine {
        system: System::Systemd,
        programs: vec![binaries::runtime().into()],
        share: Some(sandbox.path("machine")),
        ..Machine::default()
    };
    Ok(machine.run(&format!("{PRELUDE}{script}"))?.output.success())
}

fn bundle(
    sandbox: &Sandbox,
    name: &str,
    words: &[&str],
    change: impl FnOnce(&mut serde_json::Value),
) -> require::Requirement {
    Bundle::create(&sandbox.path("machine").join(name), words)?.change(change);
    Ok(())
}

/// Every line that the script was to say, in order.
#[track_caller]
fn assert_said(output: &Output, expected: &str) {
    let lines: Vec<&str> = output.stdout.lines().map(str::trim_end).collect();
    let expected: Vec<&str> = expected.trim().lines().collect();
    assert_eq!(lines, expected, "{output}");
}

#[test]
fn vm_scopes_of_the_system() {
    needs!(require::program("qemu-system-x86_64"));
    let sandbox = Sandbox::new();
    let own = ["cat", "/proc/self/cgroup"];
    needs!(bundle(&sandbox, "limited", &["sleep", "1000"], |config| {
        config["linux"]["cgroupsPath"] = "cx-pod.slice:eng:one".into();
        config["linux"]["resources"] = json!({
            "memory": { "limit": 33_554_432, "reservation": 16_777_216 },
            "pids": { "limit": 17 },
            "cpu": { "quota": 50_000, "period": 100_000, "shares": 512, "cpus": "0" },
            "unified": { "memory.high": "31457280" },
        });
        config["annotations"] = json!({
            "org.systemd.property.TimeoutStopSec": "12",
            "org.systemd.property.CollectMode": "'inactive-or-failed'",
        });
        let caps = json!(["CAP_MKNOD", "CAP_KILL"]);
        config["process"]["capabilities"] = json!({ "bounding": caps, "effective": caps, "permitted": caps });
    }));
    // No room for the process that makes it, but for the container's own.
    needs!(bundle(&sandbox, "alone", &own, |config| config["linux"]["resources"] =
        json!({ "pids": { "limit": 1 } })));
    needs!(bundle(&sandbox, "default", &own, |_| {}));
    needs!(bundle(&sandbox, "short", &["sleep", "1000"], |config| {
        config["annotations"] = json!({
            "org.systemd.property.RuntimeMaxSec": "1", "org.systemd.property.TimeoutStopSec": "1"
        });
    }));
    needs!(bundle(&sandbox, "wrong", &own, |config| {
        config["annotations"] = json!({ "org.systemd.property.NoSuchThing": "uint64 1" });
    }));
    let output = needs!(run(&sandbox, SYSTEM));
    assert_said(&output, SYSTEM_SAYS);
    sandbox.finish();
}
