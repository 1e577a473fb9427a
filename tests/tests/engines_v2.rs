// SPDX-License-Identifier: Apache-2.0
//! Debian's engines on pure cgroup v2, with systemd as the manager of cgroups: podman as root and as an ordinary user,
//! docker, containerd. One boot; but its image takes minutes to make, so only `CONEX_FULL=1` does all this.

use conex_testkit::bundle::Bundle;
use conex_testkit::vm::{Machine, System};
use conex_testkit::{Sandbox, binaries, effort, needs, require};

/// Each line that a script says begins with the engine's name.
const PRELUDE: &str = r#"
say() { echo "$engine $1: $2"; }
try() { what=$1; shift; "$@" > /tmp/said.$engine 2>&1 || say "$what failed" "$? $(cat /tmp/said.$engine)"; }
value() { say "$1" "$(cat /sys/fs/cgroup$group/$1)"; }
runtime=/run/vm/bin/conex-runtime
# Where the container is, as the host sees it.
place() {
  group=$(cut -d: -f3 /proc/$1/cgroup)
  say group "$group" | sed 's/-[0-9a-f]\{64\}/-ID/'
  for file in memory.max cpu.max; do value $file; done
}
left() { say left "$(find /sys/fs/cgroup -name "$1" | wc -l)"; }
# What podman and docker have in common.
life() {
  tar -C /share/box/rootfs -c . > /tmp/box.$engine
  try import $command import /tmp/box.$engine box
  try run $command run -d --name one --network none --memory 33554432 --memory-swap 33554432 --pids-limit 17 --cpus 0.5 box sleep 1000
  place $($command inspect --format '{{.State.Pid}}' one)
  value pids.max
  say exec "$($command exec one cat /proc/self/cgroup)"
  say stats "$($command stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' one)" | sed 's|: .*/|:|'
  try update $command update --memory 67108864 --memory-swap 67108864 one
  value memory.max
  try pause $command pause one
  value cgroup.freeze
  try unpause $command unpause one
  try stop $command stop -t 1 one
  say ended "$($command inspect --format '{{.State.Status}} {{.State.ExitCode}}' one)"
  try rm $command rm one
  $command run --name hog --network none --memory 33554432 box tail /dev/zero > /dev/null 2>&1
  say hog $?
}
"#;

const PODMAN: &str = r#"
command="timeout 100 podman --runtime $runtime --cgroup-manager systemd"
life
try rm $command rm hog
left 'libpod-*'
"#;

/// Docker's own containerd serves ctr too.
const DOCKER: &str = r#"
engine=docker command="timeout 100 docker"
dockerd --exec-opt native.cgroupdriver=systemd --add-runtime conex=$runtime --default-runtime conex \
    --bridge none --iptables=false > /tmp/dockerd 2>&1 &
daemon=$!
until docker info > /tmp/info 2>&1; do kill -0 $daemon || { tail /tmp/dockerd; exit 1; }; sleep 0.5; done
life
say oom "$($command inspect --format '{{.State.OOMKilled}}' hog)"
try rm $command rm hog
left 'docker-*.scope'
engine=containerd command="timeout 100 ctr --address /run/docker/containerd/containerd.sock"
try run $command run -d --rootfs --runc-binary $runtime --runc-systemd-cgroup --cgroup system.slice:ctr:three \
    --memory-limit 33554432 --cpu-quota 50000 --cpu-period 100000 /share/box/rootfs three sleep 1000
place $($command task ls | awk '$1 == "three" { print $2 }')
say exec "$($command task exec --exec-id e three cat /proc/self/cgroup)"
say metrics "$($command task metrics three | awk '$1 == "memory.usage_limit" { print $2 }')"
try kill $command task kill -s KILL three
until $command task ls | grep -q STOPPED; do sleep 0.2; done
try delete $command task delete three
left 'ctr-*'
"#;

/// By engine: where its containers are, and what else is its own way.
fn podman_says(engine: &str, slice: &str) -> String {
    said(engine, &format!("{slice}/libpod-ID.scope"), "33.55MB 1", &[])
}

fn said(engine: &str, group: &str, stats: &str, more: &[&str]) -> String {
    let mut lines = vec![
        format!("group: {group}"),
        "memory.max: 33554432".into(),
        "cpu.max: 50000 100000".into(),
        "pids.max: 17".into(),
        "exec: 0::/".into(),
        format!("stats: {stats}"),
        "memory.max: 67108864".into(),
        "cgroup.freeze: 1".into(),
        "ended: exited 137".into(),
        "hog: 137".into(),
    ];
    lines.extend(more.iter().chain(&["left: 0"]).map(|line| (*line).to_owned()));
    lines.iter().map(|line| format!("{engine} {line}\n")).collect()
}

const CONTAINERD_SAYS: &str = "\
containerd group: /system.slice/ctr-three.scope
containerd memory.max: 33554432
containerd cpu.max: 50000 100000
containerd exec: 0::/system.slice/ctr-three.scope
containerd metrics: 33554432
containerd left: 0
";

#[test]
fn engines_have_scopes_of_systemd() {
    needs!(if effort::full() { Ok(()) } else { Err("CONEX_FULL=1 does it".to_owned()) });
    needs!(require::program("qemu-system-x86_64"));
    let sandbox = Sandbox::new();
    needs!(Bundle::create(&sandbox.path("machine/box"), &["true"]));
    let script = |name: &str, text: &str| {
        let text = format!("{PRELUDE}{text}");
        std::fs::write(sandbox.path("machine").join(name), text).expect("write a script");
    };
    script("podman", &format!("engine=$1\n{PODMAN}"));
    script("docker", DOCKER);
    let machine = Machine {
        system: System::Engines,
        programs: vec![binaries::runtime().into()],
        share: Some(sandbox.path("machine")),
        memory: 2048,
        ..Machine::default()
    };
    let all = "chmod -R a+rX /share; sh podman root; as-user sh podman user; sh docker";
    let output = needs!(machine.run(all)).output.success();
    let expected = [
        podman_says("root", "/machine.slice"),
        podman_says("user", "/user.slice/user-1000.slice/user@1000.service/user.slice"),
        said("docker", "/system.slice/docker-ID.scope", "32MiB 1", &["oom: true"]),
        CONTAINERD_SAYS.into(),
    ];
    assert_eq!(output.stdout, expected.concat(), "{output}");
    sandbox.finish();
}
