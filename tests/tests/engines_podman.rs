// SPDX-License-Identifier: Apache-2.0
//! Debian's podman with `conex-runtime`, as root and as an ordinary user: conmon starts the containers, podman looks
//! after them without any daemon.

use std::fs;

use conex_testkit::podman::Podman;
use conex_testkit::terminal::check_terminal_of;
use conex_testkit::user::Range;
use conex_testkit::{Run, Sandbox, busybox, leak, needs, require};

/// Says so and ends with 5 when it is told to.
const OBEDIENT: &str = "trap 'echo told; exit 5' TERM; echo started; while :; do sleep 0.05; done";
const STATUS: &str = "{{.State.Status}} {{.State.ExitCode}}";

#[test]
fn root_podman_leads_a_container_through_its_life() {
    let sandbox = Sandbox::new();
    let podman = needs!(Podman::of_root(&sandbox, "conex-runtime"));
    life(&podman);
    let state = || podman.says(&["inspect", "--format", STATUS, "web"]);
    podman.detached("web", &["--memory", "64m"], OBEDIENT);
    podman.says(&["pause", "web"]);
    assert_eq!(state(), "paused 0");
    podman.podman(&["exec", "web", "true"]).run().fails();
    podman.says(&["unpause", "web"]);
    let stats = podman.says(&["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "web"]);
    assert!(stats.contains("/ 67.11MB"), "{stats}");
    podman.says(&["update", "--memory", "128m", "--cpus", "1", "web"]);
    let limit = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null";
    assert_eq!(podman.podman(&["exec", "web", "sh", "-c", limit]).run().stdout, "134217728\n");
    podman.says(&["rm", "--force", "--time", "0", "web"]);

    podman.sh(&["--memory", "16m"], "exec tail /dev/zero").exits(137);
    podman.end();
    sandbox.finish();
}

/// What root and an ordinary user do alike.
fn life(podman: &Podman<'_>) {
    let state = || podman.says(&["inspect", "--format", STATUS, "web"]);
    assert_eq!(podman.sh(&[], "cat /etc/motd").success().stdout, busybox::MOTD);
    podman.sh(&[], "exit 7").exits(7);
    podman.detached("web", &[], OBEDIENT);
    assert_eq!(state(), "running 0");
    let top = podman.says(&["top", "web", "pid", "args"]);
    assert!(top.lines().any(|line| line.starts_with("1 ") && line.contains("trap 'echo told")), "{top}");
    podman.says(&["restart", "web"]);
    podman.says(&["stop", "web"]);
    assert_eq!(state(), "exited 5");
    assert_eq!(podman.says(&["logs", "web"]), "started\ntold\nstarted\ntold");
    podman.says(&["start", "web"]);
    podman.says(&["kill", "web"]);
    assert_eq!(podman.says(&["wait", "web"]), "137");
    podman.says(&["start", "web"]);
    execs(podman);
    podman.says(&["kill", "--signal", "TERM", "web"]);
    assert_eq!(podman.says(&["wait", "web"]), "5");
    podman.says(&["rm", "web"]);
}

fn execs(podman: &Podman<'_>) {
    let exec =
        |flags: &[&str], words: &[&str]| podman.podman(&["exec"]).args(flags).arg("web").args(words).run();
    let script = "id -u; id -g; echo $A; pwd";
    let other = exec(&["-u", "1000:2000", "-e", "A=b", "-w", "/tmp"], &["sh", "-c", script]);
    assert_eq!(other.success().stdout, "1000\n2000\nb\n/tmp\n");
    exec(&[], &["sh", "-c", "exit 9"]).exits(9);
    let privileged = exec(&["--privileged"], &["grep", "CapEff", "/proc/self/status"]).success();
    let set =
        u64::from_str_radix(privileged.stdout.trim_start_matches("CapEff:").trim(), 16).expect("a number");
    assert_ne!(set & 1 << 21, 0, "CAP_SYS_ADMIN in {set:x}");
    exec(&[], &["no-such-program"]).exits(127).says("executable file not found in $PATH");
    exec(&[], &["/etc/motd"]).exits(126).says("permission denied");
}

fn terminals(podman: &Podman<'_>) {
    podman.detached("web", &[], "sleep 1000");
    let parent = podman.cgroup();
    for words in [&["run", "--rm", "-it", "--cgroup-parent", &parent, "busybox"][..], &["exec", "-it", "web"]]
    {
        check_terminal_of(&mut podman.podman(words));
    }
    podman.says(&["rm", "--force", "--time", "0", "web"]);
}

#[test]
fn root_podman_confines_as_told() {
    let sandbox = Sandbox::new();
    // Under this name podman reads the runtime's log, and asks for containers without cgroups.
    let podman = needs!(Podman::of_root(&sandbox, "crun"));
    terminals(&podman);
    let sh = |flags: &[&str], script: &str| podman.sh(flags, script).success().stdout;
    assert_eq!(sh(&["--init"], "cat /proc/1/comm"), "podman-init\n");
    let own = fs::read_link("/proc/self/ns/pid").expect("a link");
    assert_eq!(sh(&["--pid=host"], "readlink /proc/self/ns/pid").trim_end(), own.display().to_string());
    assert_eq!(sh(&["--uidmap", "0:100000:5000"], "tr -s ' ' < /proc/self/uid_map"), " 0 100000 5000\n");
    let cgroup = ["run", "--rm", "--cgroups=disabled", "busybox", "cat", "/proc/self/cgroup"];
    let without = podman.says(&cgroup);
    assert!(!without.contains("libpod"), "{without}");
    podman.sh(&["--read-only"], "touch /x").fails().says("Read-only file system");
    let privileged = sh(&["--privileged"], "test -e /dev/full && mount -t tmpfs t /tmp && echo mounted");
    assert_eq!(privileged, "mounted\n");
    let log = sandbox.path("work/log");
    let driver = ["--log-driver", "k8s-file", "--log-opt", &format!("path={}", log.display())];
    sh(&driver, "echo out; echo err >&2");
    let log = fs::read_to_string(log).expect("conmon writes a log");
    assert!(log.contains(" stdout F out\n") && log.contains(" stderr F err\n"), "{log}");
    assert_eq!(sh(&["--log-driver", "none"], "echo heard"), "heard\n");

    let run = |words: &[&str]| {
        podman.podman(&["run", "--rm", "--cgroup-parent", &podman.cgroup()]).args(words).run()
    };
    run(&["busybox", "no-such-program"]).exits(127).says("executable file not found in $PATH");
    run(&["busybox", "/etc/motd"]).exits(126).says("permission denied");
    run(&["busybox", "/etc"]).exits(126).says("permission denied");
    run(&["--volume", "/etc/passwd:/tmp", "busybox", "true"]).exits(126).says("not a directory");
    run(&["--no-such-flag", "busybox"]).exits(125);

    podman.detached("web", &["--health-cmd", "test -e /ok", "--health-interval", "disable"], "sleep 1000");
    podman.podman(&["healthcheck", "run", "web"]).run().exits(1);
    podman.says(&["exec", "web", "touch", "/ok"]);
    podman.says(&["healthcheck", "run", "web"]);
    podman.podman(&["container", "checkpoint", "web"]).run().fails();
    assert_eq!(podman.says(&["inspect", "--format", STATUS, "web"]), "running 0");
    podman.end();
    sandbox.finish();
}

#[test]
fn root_podman_runs_pods() {
    let sandbox = Sandbox::new();
    let podman = needs!(Podman::of_root(&sandbox, "runc"));
    let pod = ["pod", "create", "--name", "pod", "--network", "none", "--cgroup-parent", &podman.cgroup()];
    podman.says(&pod);
    podman.says(&["run", "--detach", "--pod", "pod", "--name", "one", "busybox", "sleep", "1000"]);
    let inside = podman.says(&["run", "--rm", "--pod", "pod", "busybox", "hostname"]);
    assert_eq!(inside, "pod");
    assert_eq!(podman.says(&["pod", "top", "pod", "args"]).lines().count(), 3);
    podman.says(&["pod", "stats", "--no-stream", "pod"]);
    podman.says(&["pod", "pause", "pod"]);
    assert_eq!(podman.says(&["inspect", "--format", "{{.State.Status}}", "one"]), "paused");
    podman.says(&["pod", "unpause", "pod"]);
    podman.says(&["pod", "stop", "--time", "0", "pod"]);
    podman.says(&["pod", "rm", "pod"]);
    kube(&sandbox, &podman, "resources: {limits: {memory: 64Mi}}");
    podman.end();
    sandbox.finish();
    leak::remove_cgroups("libpod_parent"); // podman's own, which `play kube` takes whatever it is told
}

/// Two containers that share a volume, as Kubernetes describes them.
fn kube(sandbox: &Sandbox, podman: &Podman<'_>, limits: &str) {
    let yaml = format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: site}}
spec:
  hostNetwork: true
  restartPolicy: Never
  volumes: [{{name: shared, emptyDir: {{}}}}]
  containers:
  - name: one
    image: docker.io/library/busybox:latest
    command: [sh, -c, 'echo from one > /data/file; sleep 1000']
    volumeMounts: [{{name: shared, mountPath: /data}}]
    {limits}
  - name: two
    image: docker.io/library/busybox:latest
    command: [sleep, '1000']
    env: [{{name: WORD, value: hello}}]
    securityContext: {{readOnlyRootFilesystem: true, runAsUser: 1000}}
    volumeMounts: [{{name: shared, mountPath: /data}}]
"
    );
    fs::write(sandbox.path("work/site.yaml"), yaml).expect("write the pod");
    podman.says(&["play", "kube", "site.yaml"]);
    let inside = |script: &str| podman.podman(&["exec", "site-two", "sh", "-c", script]).run();
    let seen = inside("until [ -s /data/file ]; do sleep 0.05; done; cat /data/file; id -u; echo $WORD");
    assert_eq!(seen.success().stdout, "from one\n1000\nhello\n");
    inside("touch /x").fails().says("Read-only file system");
    podman.says(&["kube", "down", "site.yaml"]);
    assert_eq!(podman.says(&["ps", "--all", "--quiet"]), "");
}

#[test]
fn root_podman_of_an_ordinary_user() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let user = sandbox.user(Range::Subordinate);
    let podman = needs!(Podman::of(&user, &sandbox, "conex-runtime"));
    life(&podman);
    terminals(&podman);
    let sh = |flags: &[&str], script: &str| podman.sh(flags, script).success().stdout;
    let map = "id -u; tr -s ' ' < /proc/self/uid_map";
    assert_eq!(sh(&[], map), format!("0\n 0 {} 1\n 1 700000 65536\n", user.uid));
    let kept = sh(&["--userns=keep-id"], map);
    assert!(kept.starts_with(&format!("{0}\n 0 1 {0}\n {0} 0 1\n", user.uid)), "{kept}");
    assert_eq!(sh(&["--init"], "cat /proc/1/comm"), "podman-init\n");
    let own = fs::read_link("/proc/self/ns/pid").expect("a link");
    assert_eq!(sh(&["--pid=host"], "readlink /proc/self/ns/pid").trim_end(), own.display().to_string());
    let network = fs::read_link("/proc/self/ns/net").expect("a link");
    assert_eq!(
        sh(&["--network=host"], "readlink /proc/self/ns/net").trim_end(),
        network.display().to_string()
    );
    let volume = format!("{}:/w", sandbox.work().display());
    assert_eq!(sh(&["--volume", &volume], "touch /w/x; stat -c %u /w/x"), "0\n");
    assert!(sandbox.path("work/x").exists());

    podman.says(&["pod", "create", "--name", "pod"]);
    assert_eq!(podman.says(&["run", "--rm", "--pod", "pod", "busybox", "hostname"]), "pod");
    podman.says(&["pod", "rm", "--force", "--time", "0", "pod"]);
    kube(&sandbox, &podman, "");
    podman.end();
    sandbox.finish();
}
