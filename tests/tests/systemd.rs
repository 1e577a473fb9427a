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
for file in memory.max memory.high pids.max cpu.max cpu.weight cpuset.cpus hugetlb.2MB.max; do value $group $file; done
try start $runtime start one
say exec "$($runtime exec one cat /proc/self/cgroup)"
mkdir $group/below
say below "$($runtime exec --cgroup below one cat /proc/self/cgroup)"
say beside "$($runtime exec --cgroup ../one one true 2>&1 | grep -o -e '--cgroup .*cgroup')"
say absent "$($runtime exec --cgroup absent one true 2>&1 | grep -o 'open cgroup.*absent: no such')"
say devices "$($runtime exec one sh -c 'echo > /dev/null && echo open; mknod /tmp/kmsg c 1 11 && echo made; : < /tmp/kmsg' 2>&1 | tr '\n' ' ')"
# What systemd knows it keeps when it reads its configuration again.
try update $runtime update --memory 67108864 --pids-limit 33 --cpu-quota 12345 one
systemctl daemon-reload
systemctl show eng-one.scope -p MemoryMax,TasksMax,CPUQuotaPerSecUSec | sed 's/^/then /'
for file in memory.max pids.max cpu.max hugetlb.2MB.max; do value $group $file; done | sed 's/^/then /'
# Its own words for a limit are not the last: without a quota it knows no period.
try 'update period' $runtime update --cpu-quota -1 --cpu-period 50000 one
value $group cpu.max | sed 's/^/free /'
say both "$($runtime update --cpu-share 200 --cpu-idle 1 one 2>&1 | grep -o 'unable to apply both') $(cat $group/cpu.idle)"
try 'update weight' $runtime update --cpu-share 200 one
say awake "$(cat $group/cpu.idle $group/cpu.weight | xargs) $(systemctl show -P CPUWeight eng-one.scope)"
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
say busy "$($runtime exec --cgroup / one true 2>&1 | grep -o 'adding pid .* to cgroups')"
try delete $runtime delete --force one
say gone "$(systemctl show -P LoadState eng-one.scope) $(ls -d $group 2>&1 | grep -c 'No such')"

say alone "$(timeout 60 conex-runtime --cgroup-manager systemd run --bundle alone two)"
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
say taken "$($runtime run --bundle default seven 2>&1 | grep -o "container's cgroup is not empty: 1 process.es. found")"
say unharmed "$(systemctl is-active runc-seven.scope)"
systemctl stop runc-seven.scope
# And somebody's frozen cgroup, in which nothing would ever run.
mkdir /sys/fs/cgroup/system.slice/runc-ice.scope
echo 1 > /sys/fs/cgroup/system.slice/runc-ice.scope/cgroup.freeze
say ice "$($runtime run --bundle default ice 2>&1 | grep -o "container's cgroup unexpectedly frozen")"
rmdir /sys/fs/cgroup/system.slice/runc-ice.scope

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
hugetlb.2MB.max: 4194304
exec: 0::/cx.slice/cx-pod.slice/eng-one.scope
below: 0::/cx.slice/cx-pod.slice/eng-one.scope/below
beside: --cgroup ../one: bad sub cgroup path: not below the container's cgroup
absent: open cgroup /sys/fs/cgroup/cx.slice/cx-pod.slice/eng-one.scope/absent: no such
devices: open made sh: can't open /tmp/kmsg: Operation not permitted
then CPUQuotaPerSecUSec=130ms
then MemoryMax=67108864
then TasksMax=33
then memory.max: 67108864
then pids.max: 33
then cpu.max: 13000 100000
then hugetlb.2MB.max: 4194304
free cpu.max: max 50000
both: unable to apply both 1
awake: 0 29 29
still open: yes
frozen: 1
follows: 0::/cx.slice/cx-pod.slice/eng-one.scope/below
busy: adding pid of a new process to cgroups
gone: not-found 1
alone: 0::/system.slice/runc-two.scope
default: 0::/system.slice/runc-three.scope
bus: 0::/system.slice/runc-four.scope
no bus: cannot reach systemd: connect(\"/nowhere\"): no such file or directory
calls seen: 1
writers of cgroup.procs: 0
taken: container's cgroup is not empty: 1 process(es) found
unharmed: active
ice: container's cgroup unexpectedly frozen
failed unit: not-found
wrong: Cannot set property NoSuchThing
inject failed: 137 Killed
left: 0 cgroups, 0 containers
"#;

/// As an ordinary user, within a service of theirs.
const USER: &str = r#"
top=/sys/fs/cgroup
group=/user.slice/user-1000.slice/user@1000.service/my.slice/my-pod.slice/eng-one.scope
properties() { systemctl --user show "$@"; }
say me "$(id -un) $(cat $top/user.slice/user-1000.slice/user@1000.service/cgroup.controllers)"
try create $runtime create --bundle limited --pid-file /tmp/pid one
say procs "$(cat $top$group/cgroup.procs)" | sed "s/ $(cat /tmp/pid)$/ init/"
properties eng-one.scope -p Slice,ControlGroup,Delegate,MemoryMax,TasksMax,CPUWeight,CPUQuotaPerSecUSec
for file in memory.max memory.high pids.max cpu.max cpu.weight; do value $top$group $file; done
try start $runtime start one
say exec "$($runtime exec one cat /proc/self/cgroup)"
try update $runtime update --memory 67108864 --pids-limit 33 one
systemctl --user daemon-reload
properties eng-one.scope -p MemoryMax,TasksMax | sed 's/^/then /'
for file in memory.max pids.max; do value $top$group $file; done | sed 's/^/then /'
try pause $runtime pause one
say frozen "$(cat $top$group/cgroup.freeze)"
try resume $runtime resume one
say stats "$($runtime events --stats one | grep -o '"limit":67108864')"
say ps "$($runtime ps --format json one)" | sed "s/$(cat /tmp/pid)/init/"
try delete $runtime delete --force one
say gone "$(properties -P LoadState eng-one.scope) $(ls -d $top$group 2>&1 | grep -c 'No such')"

# Whoever asks is found by the directory of the session alone, and by the address alone.
say session "$(env -u DBUS_SESSION_BUS_ADDRESS $runtime run --bundle default two)"
say bus "$(DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/./bus $runtime run --bundle default three)"
say 'root of a user namespace' "$(unshare --user --map-root-user $runtime run --bundle inside four)"
say neither "$(env -u DBUS_SESSION_BUS_ADDRESS -u XDG_RUNTIME_DIR $runtime --root /tmp/state run --bundle default five 2>&1 | grep -o 'cannot reach systemd: .*enable-linger')"

# What memory there is not to be had beyond is real.
$runtime run --bundle hog hog; say hog $?
# A controller that nobody has passed on to the user.
say weight "$($runtime run --bundle weight weight 2>&1 | grep -o 'the io controller is not to be had here')"

# Nobody writes a cgroup.procs but systemd.
try strace strace -f -e trace=open,openat,creat -o /tmp/calls $runtime run --bundle default six > /dev/null
say 'calls seen' "$(grep -c default/config.json /tmp/calls)"
say 'writers of cgroup.procs' "$(grep -c 'cgroup.procs.*O_\(WRONLY\|RDWR\)' /tmp/calls)"

# By the files of a cgroup that is the user's, without systemd.
own=$(cut -d: -f3 /proc/self/cgroup)
mkdir $top$own/mine
echo $$ > $top$own/mine/cgroup.procs
try files timeout 60 conex-runtime create --bundle files files
for file in memory.max pids.max; do value $top$own/files $file; done
try 'start by files' timeout 60 conex-runtime start files
say inside "$(timeout 60 conex-runtime exec files cat /proc/self/cgroup)" | sed "s|$own|own|"
try 'delete by files' timeout 60 conex-runtime delete --force files
say left "$(find $top/user.slice -name 'runc-*' -o -name 'eng-*' -o -name files | wc -l) cgroups, $(systemctl --user list-units --all --no-legend 'runc-*' 'eng-*' | wc -l) units, $($runtime list -q | wc -l) containers"
"#;

/// The same user outside of what their systemd rules: in a cgroup of the system's.
const OUTSIDE: &str = r#"
say here "$(cat /proc/self/cgroup)"
try create $runtime create --bundle sleeping --pid-file /tmp/pid seven
try start $runtime start seven
say init "$(cat /proc/$(cat /tmp/pid)/cgroup)"
say exec "$($runtime exec seven cat /proc/self/cgroup)"
try delete $runtime delete --force seven
say gone "$(find /sys/fs/cgroup/user.slice -name 'runc-*' | wc -l)"
"#;

const USER_SAYS: &str = r#"
me: user cpu memory pids
procs: init
Slice=my-pod.slice
ControlGroup=/user.slice/user-1000.slice/user@1000.service/my.slice/my-pod.slice/eng-one.scope
Delegate=yes
CPUWeight=59
CPUQuotaPerSecUSec=500ms
MemoryMax=33554432
TasksMax=17
memory.max: 33554432
memory.high: 31457280
pids.max: 17
cpu.max: 50000 100000
cpu.weight: 59
exec: 0::/user.slice/user-1000.slice/user@1000.service/my.slice/my-pod.slice/eng-one.scope
then MemoryMax=67108864
then TasksMax=33
then memory.max: 67108864
then pids.max: 33
frozen: 1
stats: "limit":67108864
ps: [init]
gone: not-found 1
session: 0::/user.slice/user-1000.slice/user@1000.service/user.slice/runc-two.scope
bus: 0::/user.slice/user-1000.slice/user@1000.service/user.slice/runc-three.scope
root of a user namespace: 0::/user.slice/user-1000.slice/user@1000.service/user.slice/runc-four.scope
neither: cannot reach systemd: no address is known (for a user: log in so that $XDG_RUNTIME_DIR is set, or `loginctl enable-linger
hog: 137
weight: the io controller is not to be had here
calls seen: 1
writers of cgroup.procs: 0
memory.max: 33554432
pids.max: 17
inside: 0::own/files
left: 0 cgroups, 0 units, 0 containers
here: 0::/system.slice/vm.service
init: 0::/user.slice/user-1000.slice/user@1000.service/user.slice/runc-seven.scope
exec: 0::/user.slice/user-1000.slice/user@1000.service/user.slice/runc-seven.scope
gone: 0
"#;

/// With the hierarchies of v1: systemd knows some of them, the others are the runtime's.
const HYBRID: &str = r#"
scope=cx.slice/cx-pod.slice/eng-one.scope
files() {
  for file in memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us cpuset/cpuset.cpus hugetlb/hugetlb.2MB.limit_in_bytes; do
    value /sys/fs/cgroup/${file%/*}/$scope ${file#*/}
  done
}
try create $runtime create --bundle limited one
systemctl show eng-one.scope -p Slice,ControlGroup,Delegate,MemoryLimit,TasksMax,CPUShares,CPUQuotaPerSecUSec,DevicePolicy
files
try start $runtime start one
$runtime exec one cat /proc/self/cgroup | cut -d: -f3 | sort | uniq -c | sed 's/^ */in /'
try update $runtime update --memory 67108864 --pids-limit 33 one
systemctl daemon-reload
systemctl show eng-one.scope -p MemoryLimit,TasksMax | sed 's/^/then /'
files | sed 's/^/then /'
try pause $runtime pause one
value /sys/fs/cgroup/freezer/$scope freezer.state
try delete $runtime delete --force one
say unit "$(systemctl show -P LoadState eng-one.scope)"
find /sys/fs/cgroup -name 'eng-one*'
say 'slices left' "$(find /sys/fs/cgroup -name cx.slice | grep -c -E '/(freezer|cpuset|hugetlb|perf_event|rdma|misc|net_[a-z,_]*)/')"
"#;

/// Slices stay where systemd knows of them.
const HYBRID_SAYS: &str = r#"
Slice=cx-pod.slice
ControlGroup=/cx.slice/cx-pod.slice/eng-one.scope
Delegate=yes
CPUShares=512
CPUQuotaPerSecUSec=500ms
MemoryLimit=33554432
DevicePolicy=strict
TasksMax=17
memory.limit_in_bytes: 33554432
pids.max: 17
cpu.cfs_quota_us: 50000
cpuset.cpus: 0
hugetlb.2MB.limit_in_bytes: 4194304
in 14 /cx.slice/cx-pod.slice/eng-one.scope
then MemoryLimit=67108864
then TasksMax=33
then memory.limit_in_bytes: 67108864
then pids.max: 33
then cpu.cfs_quota_us: 50000
then cpuset.cpus: 0
then hugetlb.2MB.limit_in_bytes: 4194304
freezer.state: FROZEN
unit: not-found
slices left: 0
"#;

/// A runtime, its bundles and the machine they are for.
fn run(sandbox: &Sandbox, script: &str, parameters: &[&str]) -> require::Requirement<Output> {
    let machine = Machine {
        system: System::Systemd,
        parameters: parameters.iter().map(|word| (*word).to_owned()).collect(),
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
            "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }],
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
    let output = needs!(run(&sandbox, SYSTEM, &[]));
    assert_said(&output, SYSTEM_SAYS);
    sandbox.finish();
}

/// A container of an ordinary user, who is root in there.
fn rootless(config: &mut serde_json::Value) {
    let one = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
    config["linux"]["uidMappings"] = one.clone();
    config["linux"]["gidMappings"] = one;
    config["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({ "type": "user" }));
}

#[test]
fn vm_scopes_of_a_user() {
    needs!(require::program("qemu-system-x86_64"));
    let sandbox = Sandbox::new();
    let own = ["cat", "/proc/self/cgroup"];
    let limits = json!({
        "memory": { "limit": 33_554_432 },
        "pids": { "limit": 17 },
        "cpu": { "quota": 50_000, "period": 100_000, "shares": 512 },
        "unified": { "memory.high": "31457280" },
    });
    needs!(bundle(&sandbox, "limited", &["sleep", "1000"], |config| {
        rootless(config);
        config["linux"]["cgroupsPath"] = "my-pod.slice:eng:one".into();
        config["linux"]["resources"] = limits.clone();
    }));
    needs!(bundle(&sandbox, "default", &own, rootless));
    needs!(bundle(&sandbox, "sleeping", &["sleep", "1000"], rootless));
    needs!(bundle(&sandbox, "inside", &own, |_| {}));
    needs!(bundle(&sandbox, "hog", &["tail", "/dev/zero"], |config| {
        rootless(config);
        config["linux"]["resources"] = json!({ "memory": { "limit": 33_554_432 } });
    }));
    needs!(bundle(&sandbox, "weight", &own, |config| {
        rootless(config);
        config["linux"]["resources"] = json!({ "unified": { "io.weight": "10" } });
    }));
    needs!(bundle(&sandbox, "files", &["sleep", "1000"], |config| {
        rootless(config);
        config["linux"]["resources"] = limits.clone();
    }));
    let script = |name: &str, text: &str| {
        std::fs::write(sandbox.path("machine").join(name), format!("{PRELUDE}{text}"))
            .expect("write a script");
    };
    script("user", USER);
    script("outside", OUTSIDE);
    let output = needs!(run(
        &sandbox,
        "chown -R user /share; chmod 755 /share; as-user sh user
         setpriv --reuid=1000 --regid=1000 --init-groups env -u DBUS_SESSION_BUS_ADDRESS \
             XDG_RUNTIME_DIR=/run/user/1000 USER=user HOME=/home/user sh outside",
        &[],
    ));
    assert_said(&output, USER_SAYS);
    sandbox.finish();
}

#[test]
fn vm_scopes_on_cgroup_v1() {
    needs!(require::program("qemu-system-x86_64"));
    let sandbox = Sandbox::new();
    needs!(bundle(&sandbox, "limited", &["sleep", "1000"], |config| {
        config["linux"]["cgroupsPath"] = "cx-pod.slice:eng:one".into();
        config["linux"]["resources"] = json!({
            "memory": { "limit": 33_554_432 },
            "pids": { "limit": 17 },
            "cpu": { "quota": 50_000, "period": 100_000, "shares": 512, "cpus": "0" },
            "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }],
        });
    }));
    let output = needs!(run(&sandbox, HYBRID, &["systemd.unified_cgroup_hierarchy=0"]));
    assert_said(&output, HYBRID_SAYS);
    sandbox.finish();
}
