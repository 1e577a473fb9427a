// SPDX-License-Identifier: Apache-2.0
//! Debian's containerd with `conex-runtime` behind its runc shim: by `ctr`, and by the calls of a kubelet.

use conex_testkit::containerd::{BUSYBOX, Containerd};
use conex_testkit::run::{LIMIT, poll};
use conex_testkit::terminal::Terminal;
use conex_testkit::{Run, Sandbox, busybox, needs};
use serde_json::{Value, json};

#[test]
fn root_ctr_leads_a_task_through_its_life() {
    let sandbox = Sandbox::new();
    let rootfs = sandbox.path("work/rootfs");
    needs!(busybox::rootfs(&rootfs));
    let containerd = needs!(Containerd::start(&sandbox));
    let says = |words: &[&str]| containerd.ctr(words).run().success().stdout;
    let run = |flags: &[&str], words: &[&str]| {
        let flags = [&["--rm"], flags].concat();
        containerd.ctr_run(&flags, &rootfs, &sandbox.id("once"), words).run()
    };
    assert_eq!(run(&[], &["sh", "-c", "cat /etc/motd; exit 3"]).exits(3).stdout, busybox::MOTD);
    let script = "pwd; echo $A; grep Seccomp: /proc/self/status | cut -f2; touch /x 2>&1";
    let confined = run(&["--cwd", "/tmp", "--env", "A=b", "--seccomp", "--read-only"], &["sh", "-c", script]);
    assert_eq!(confined.exits(1).stdout, "/tmp\nb\n2\ntouch: /x: Read-only file system\n");
    run(&["--memory-limit", "16777216"], &["tail", "/dev/zero"]).exits(137);
    run(&[], &["no-such-program"]).fails().says("executable file not found in $PATH");

    let web = sandbox.id("web");
    containerd.ctr_run(&["--detach"], &rootfs, &web, &["sleep", "1000"]).run().success();
    let listed = |status: &str| {
        says(&["task", "ls"]).lines().any(|line| line.contains(&web) && line.ends_with(status))
    };
    let exec =
        containerd.ctr(&["task", "exec", "--exec-id", "one", &web, "sh", "-c", "hostname; exit 4"]).run();
    exec.exits(4);
    assert!(says(&["task", "ps", &web]).lines().count() == 2);
    let metrics = says(&["task", "metrics", &web]);
    assert!(metrics.contains("memory") && metrics.contains("pids.current"), "{metrics}");
    says(&["task", "pause", &web]);
    assert!(listed("PAUSED"));
    says(&["task", "resume", &web]);
    assert!(listed("RUNNING"));
    containerd.ctr(&["task", "checkpoint", &web]).run().fails();
    says(&["task", "kill", "--signal", "KILL", &web]);
    poll(LIMIT, || listed("STOPPED").then_some(())).expect("the task has ended");
    containerd.ctr(&["task", "kill", &web]).run().fails().says("not found");
    containerd.ctr(&["task", "delete", &web]).run();
    says(&["container", "rm", &web]);

    let id = sandbox.id("tty");
    let words = ["sh", "-c", "tty; stty size; read word; echo got $word; exit 6"];
    let mut terminal =
        Terminal::start(&containerd.ctr_run(&["--rm", "--tty"], &rootfs, &id, &words), (33, 101));
    terminal.expect("/dev/pts/0");
    terminal.type_in("word\r");
    terminal.expect("got word");
    assert_eq!(terminal.wait(), 6);
    containerd.end();
    sandbox.finish();
}

/// cri-api's NamespaceMode.
const POD: u32 = 0;
const NODE: u32 = 2;

#[test]
fn root_a_kubelet_runs_pods() {
    let sandbox = Sandbox::new();
    let containerd = needs!(Containerd::start(&sandbox));
    needs!(containerd.import_images());
    for network in [POD, NODE] {
        pod(&sandbox, &containerd, network);
    }
    containerd.end();
    sandbox.finish();
}

/// A pod with one container, from its first call to its last.
fn pod(sandbox: &Sandbox, containerd: &Containerd<'_>, network: u32) {
    let hostname = if network == POD { "pod" } else { "" };
    let config = json!({
        "metadata": { "name": "pod", "uid": format!("uid-{network}"), "namespace": "default" },
        "hostname": hostname,
        "log_directory": sandbox.path("logs"),
        "linux": {
            "cgroup_parent": format!("/{}", sandbox.tag()),
            "security_context": { "namespace_options": { "network": network } },
        },
    });
    let ran = containerd.ask("RunPodSandbox", &json!({ "config": config }));
    let pod = json!({ "pod_sandbox_id": ran["pod_sandbox_id"] });
    let script = "echo started; trap 'exit 5' TERM; while :; do sleep 0.05; done";
    let wanted = json!({
        "metadata": { "name": "web" },
        "image": { "image": BUSYBOX },
        "command": ["sh", "-c", script],
        "envs": [{ "key": "A", "value": "b" }],
        "mounts": [{ "container_path": "/work", "host_path": sandbox.work(), "readonly": true }],
        "log_path": "web.log",
        "linux": {
            "resources": { "memory_limit_in_bytes": 64 << 20, "cpu_quota": 50_000, "cpu_period": 100_000 },
            "security_context": {
                "run_as_user": { "value": 1000 }, "readonly_rootfs": true, "no_new_privs": true,
                "capabilities": { "drop_capabilities": ["ALL"] },
            },
        },
    });
    let create =
        json!({ "pod_sandbox_id": ran["pod_sandbox_id"], "config": wanted, "sandbox_config": config });
    let id = containerd.ask("CreateContainer", &create)["container_id"].clone();
    let container = json!({ "container_id": id });
    containerd.ask("StartContainer", &container);
    inside(containerd, &id, network);
    let stats = containerd.ask("ContainerStats", &container);
    assert_ne!(stats["stats"]["memory"]["working_set_bytes"]["value"], Value::Null, "{stats}");

    let limit = json!({ "memory_limit_in_bytes": 32 << 20, "cpu_shares": 512 });
    containerd.ask("UpdateContainerResources", &json!({ "container_id": id, "linux": limit }));
    let read = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null";
    let exec = json!({ "container_id": id, "cmd": ["sh", "-c", read], "timeout": 60 });
    assert_eq!(containerd.ask("ExecSync", &exec)["stdout"], "33554432\n");

    containerd.ask("StopContainer", &json!({ "container_id": id, "timeout": 60 }));
    let status = containerd.ask("ContainerStatus", &container);
    assert_eq!(
        (&status["status"]["state"], &status["status"]["exit_code"]),
        (&json!(2), &json!(5)),
        "{status}"
    );
    let log = std::fs::read_to_string(sandbox.path("logs/web.log")).expect("containerd writes a log");
    assert!(log.lines().last().is_some_and(|line| line.ends_with("stdout F started")), "{log}");
    containerd.ask("RemoveContainer", &container);
    containerd.ask("StopPodSandbox", &pod);
    containerd.ask("RemovePodSandbox", &pod);
}

/// What a probe sees.
fn inside(containerd: &Containerd<'_>, id: &Value, network: u32) {
    let exec = |script: &str| {
        let request = json!({ "container_id": id, "cmd": ["sh", "-c", script], "timeout": 60 });
        containerd.ask("ExecSync", &request)
    };
    let probe = exec("echo $A; id -u; grep CapBnd /proc/self/status | cut -f2; hostname; exit 3");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a hostname");
    let name = if network == POD { "pod" } else { host.trim() };
    assert_eq!(probe["stdout"], format!("b\n1000\n0000000000000000\n{name}\n"), "{probe}");
    assert_eq!(probe["exit_code"], 3);
    let refused = exec("touch /x; touch /work/x");
    let stderr = refused["stderr"].as_str().expect("a text");
    assert_eq!(stderr.matches("Read-only file system").count(), 2, "{refused}");
    let interfaces = exec("ls /sys/class/net")["stdout"].as_str().expect("a text").split_whitespace().count();
    assert_eq!(interfaces == 1, network == POD, "{interfaces} interfaces");
}
