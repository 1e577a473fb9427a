// SPDX-License-Identifier: Apache-2.0
//! Debian's docker with `conex-runtime`: what a person does with `docker` every day, each test with a dockerd of its
//! own.

use std::fs;

use conex_testkit::dockerd::{Dockerd, Setup};
use conex_testkit::run::{LIMIT, poll};
use conex_testkit::server::{HTPASSWD, Registry};
use conex_testkit::terminal::{Terminal, check_terminal_of};
use conex_testkit::user::{NAME, Range};
use conex_testkit::{Run, Sandbox, busybox, needs, require};

/// Says so and ends with 5 when it is told to.
const OBEDIENT: &str = "trap 'echo told; exit 5' TERM; echo started; while :; do sleep 0.05; done";
const STATUS: &str = "{{.State.Status}}";
const EXIT_CODE: &str = "{{.State.ExitCode}}";

#[test]
fn root_docker_leads_a_container_through_its_life() {
    let sandbox = Sandbox::new();
    let docker = needs!(Dockerd::start(&sandbox, &Setup::default()));
    assert_eq!(docker.says(&["run", "--rm", "--network", "none", "busybox"]), busybox::MOTD.trim_end());
    docker.sh(&[], "exit 7").exits(7);

    docker.detached("web", &[], OBEDIENT);
    docker.says(&["pause", "web"]);
    assert_eq!(docker.says(&["inspect", "--format", STATUS, "web"]), "paused");
    docker.docker(&["exec", "web", "true"]).run().fails().says("is paused");
    docker.says(&["unpause", "web"]);
    let top = docker.says(&["top", "web", "-o", "pid,args"]);
    assert!(top.lines().any(|line| line.contains("trap 'echo told")), "{top}");
    docker.says(&["restart", "web"]);
    docker.says(&["stop", "web"]);
    assert_eq!(docker.says(&["inspect", "--format", EXIT_CODE, "web"]), "5");
    assert_eq!(docker.says(&["logs", "web"]), "started\ntold\nstarted\ntold");

    docker.says(&["start", "web"]);
    docker.says(&["kill", "web"]);
    assert_eq!(docker.says(&["wait", "web"]), "137");
    docker.says(&["start", "web"]);
    docker.says(&["kill", "--signal", "TERM", "web"]);
    assert_eq!(docker.says(&["wait", "web"]), "5");
    docker.says(&["rm", "web"]);

    let format = ["--format", "{{.Action}}", "--filter", "container=web", "--since", "1h", "--until", "0s"];
    let expected = "create start pause unpause top kill die stop start restart kill die stop start kill die \
                    start kill die destroy";
    let mut events = String::new();
    poll(LIMIT, || {
        // The daemon tells only of whole seconds.
        events = docker.says(&[&["events"][..], &format].concat()).replace('\n', " ");
        events.ends_with("destroy").then_some(())
    });
    assert_eq!(events, expected);
    docker.end();
    sandbox.finish();
}

#[test]
fn root_docker_execs_in_a_container() {
    let sandbox = Sandbox::new();
    let docker = needs!(Dockerd::start(&sandbox, &Setup::default()));
    docker.detached("web", &["--cap-drop", "ALL"], "sleep 1000");
    let exec = |flags: &[&str], script: &str| {
        docker.docker(&["exec"]).args(flags).args(["web", "sh", "-c", script]).run()
    };
    assert_eq!(exec(&[], "cat /etc/motd").success().stdout, busybox::MOTD);
    exec(&[], "exit 9").exits(9);
    let other = exec(&["-u", "1000:2000", "-e", "A=b", "-w", "/tmp"], "id -u; id -g; echo $A; pwd");
    assert_eq!(other.success().stdout, "1000\n2000\nb\n/tmp\n");
    assert_eq!(exec(&["-u", "user"], "id -G").success().stdout, "1000 2000\n");
    let capabilities = "grep CapEff /proc/self/status | cut -f2";
    assert_eq!(exec(&[], capabilities).success().stdout, "0000000000000000\n");
    let privileged = exec(&["--privileged"], capabilities).success().stdout;
    let all = u64::from_str_radix(privileged.trim(), 16).unwrap();
    assert_ne!(all & 1 << 21, 0, "CAP_SYS_ADMIN in {privileged}");
    let mut piped = docker.docker(&["exec", "--interactive", "web", "tr", "a-z", "A-Z"]);
    assert_eq!(piped.run_with(b"a word", LIMIT).success().stdout, "A WORD");

    for (words, reason) in [
        (&["web", "no-such-program"][..], "executable file not found in $PATH"),
        (&["web", "/etc/motd"], "permission denied"),
        (&["-w", "/nowhere", "web", "id"], "no such file or directory"),
    ] {
        let refused = docker.docker(&["exec"]).args(words).run().exits(126);
        assert!((refused.stdout.clone() + &refused.stderr).contains(reason), "{refused}");
    }
    docker.end();
    sandbox.finish();
}

#[test]
fn root_docker_says_why_a_container_does_not_start() {
    let sandbox = Sandbox::new();
    let docker = needs!(Dockerd::start(&sandbox, &Setup::default()));
    let run = |words: &[&str]| docker.docker(&["run", "--rm", "--network", "none"]).args(words).run();
    run(&["busybox", "no-such-program"]).exits(127).says("executable file not found in $PATH");
    run(&["busybox", "/no/such"]).exits(127).says("no such file or directory");
    run(&["busybox", "/etc/motd"]).exits(126).says("permission denied");
    run(&["busybox", "/etc"]).exits(126);
    run(&["--no-such-flag", "busybox"]).exits(125);
    run(&["--sysctl", "kernel.no_such=1", "busybox"]).exits(125).says("kernel.no_such");
    let wrong = run(&["--volume", "/etc/passwd:/tmp", "busybox"]).exits(125).says("not a directory");
    wrong.says("Are you trying to mount a directory onto a file (or vice-versa)?");
    docker.end();
    sandbox.finish();
}

#[test]
fn root_docker_resizes_terminals() {
    let sandbox = Sandbox::new();
    let docker = needs!(Dockerd::start(&sandbox, &Setup::default()));
    docker.detached("web", &[], "sleep 1000");
    for words in [&["run", "--rm", "-it", "--network", "none", "busybox"][..], &["exec", "-it", "web"]] {
        check_terminal_of(&mut docker.docker(words));
    }
    // Without a person: the terminal is the container's alone.
    let lines = docker.says(&["run", "--rm", "-t", "--network", "none", "busybox", "ls", "/dev/console"]);
    assert_eq!(lines, "/dev/console");
    docker.end();
    sandbox.finish();
}

#[test]
fn root_docker_confines_as_told() {
    let sandbox = Sandbox::new();
    let docker = needs!(Dockerd::start(&sandbox, &Setup::default()));
    let sh = |flags: &[&str], script: &str| docker.sh(flags, script).success().stdout;
    let status = |name: &str| format!("grep {name}: /proc/self/status | cut -f2");

    let read_only = ["--read-only", "--tmpfs", "/run:size=1m,exec"];
    assert_eq!(
        sh(&read_only, "touch /run/x && touch /x 2>&1 || echo no"),
        "touch: /x: Read-only file system\nno\n"
    );
    assert_eq!(sh(&["--tmpfs", "/run:size=1m"], "df -k /run | awk 'NR == 2 { print $2 }'"), "1024\n");
    assert_eq!(sh(&["--shm-size", "2m"], "df -k /dev/shm | awk 'NR == 2 { print $2 }'"), "2048\n");
    let capabilities = ["--cap-drop", "ALL", "--cap-add", "NET_RAW"];
    assert_eq!(sh(&capabilities, &status("CapBnd")), "0000000000002000\n");
    assert_eq!(sh(&capabilities, &status("CapEff")), "0000000000002000\n");
    assert_eq!(sh(&[], &status("CapInh")), "0000000000000000\n");
    assert_eq!(sh(&["--security-opt", "no-new-privileges"], &status("NoNewPrivs")), "1\n");
    assert_eq!(sh(&[], &status("Seccomp")), "2\n");
    assert_eq!(sh(&["--security-opt", "seccomp=unconfined"], &status("Seccomp")), "0\n");
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
        [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}"#;
    fs::write(sandbox.path("work/profile.json"), profile).unwrap();
    let no_mkdir = docker.sh(&["--security-opt", "seccomp=profile.json"], "mkdir /x").fails();
    no_mkdir.says("Function not implemented");
    let sysctl = "net.ipv4.ip_unprivileged_port_start=33";
    assert_eq!(sh(&["--sysctl", sysctl], "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"), "33\n");
    assert_eq!(sh(&["--ulimit", "nofile=100:200"], "ulimit -n; ulimit -Hn"), "100\n200\n");
    let device = ["/dev/fuse", "/dev/net/tun", "/dev/kvm"].into_iter().find(|path| fs::exists(path).unwrap());
    let device = format!("{}:/dev/other:r", device.expect("one of these is everywhere"));
    let open = "(: < /dev/other) && echo read; (: > /dev/other) || echo no";
    assert_eq!(sh(&["--device", &device], open), "read\nno\n");
    let user = ["--user", "1000:2000", "--group-add", "77", "--workdir", "/tmp/new", "--env", "A=1"];
    let who = docker.says(
        &[
            &["run", "--rm", "--network", "none"][..],
            &user,
            &["busybox", "sh", "-c", "id -u; id -G; pwd; echo $A"],
        ]
        .concat(),
    );
    assert_eq!(who, "1000\n2000 77\n/tmp/new\n1");
    docker.end();
    sandbox.finish();
}

#[test]
fn root_docker_shares_and_divides_namespaces() {
    let sandbox = Sandbox::new();
    let docker = needs!(Dockerd::start(&sandbox, &Setup::default()));
    let sh = |flags: &[&str], script: &str| docker.sh(flags, script).success().stdout;
    let host =
        |name: &str| format!("{}\n", fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display());
    let of = |name: &str| format!("readlink /proc/self/ns/{name}");

    assert_eq!(sh(&["--hostname", "here"], "hostname"), "here\n");
    for (name, flag) in [("pid", "--pid"), ("ipc", "--ipc"), ("uts", "--uts"), ("cgroup", "--cgroupns")] {
        assert_eq!(sh(&[flag, "host"], &of(name)), host(name));
        if name != "uts" {
            assert_ne!(sh(&[flag, if name == "pid" { "" } else { "private" }], &of(name)), host(name));
        }
    }
    let network =
        docker.says(&["run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net"]);
    assert_eq!(network + "\n", host("net"));
    assert_eq!(sh(&["--cgroupns", "private"], "cut -d: -f3 /proc/self/cgroup | sort -u"), "/\n");
    assert_eq!(sh(&["--init"], "cat /proc/1/comm"), "docker-init\n");

    docker.detached("base", &[], "sleep 1000");
    let words = ["run", "--rm", "--network", "container:base", "--pid", "container:base", "busybox"];
    let inside = docker.says(&[&words[..], &["cat", "/proc/1/cmdline"]].concat());
    assert!(inside.contains("1000"), "{inside}");
    docker.end();
    sandbox.finish();
}

#[test]
fn root_docker_mounts_volumes() {
    let sandbox = Sandbox::new();
    let shared = sandbox.path("shared");
    fs::create_dir_all(&shared).unwrap();
    let before = format!("mount -t tmpfs shared {0} && mount --make-shared {0}", shared.display());
    let docker = needs!(Dockerd::start(&sandbox, &Setup { before: &before, ..Setup::default() }));
    let sh = |flags: &[&str], script: &str| docker.sh(flags, script).success().stdout;

    let read_only = format!("{}:/v:ro", sandbox.work().display());
    assert_eq!(
        sh(&["--volume", &read_only], "touch /v/x 2>&1 || true"),
        "touch: /v/x: Read-only file system\n"
    );
    sh(&["--volume", "named:/n"], "echo kept > /n/file");
    assert_eq!(sh(&["--volume", "named:/n:ro"], "cat /n/file"), "kept\n");
    let file = sandbox.path("work/one-file");
    fs::write(&file, "one file\n").unwrap();
    assert_eq!(sh(&["--volume", &format!("{}:/made/here", file.display())], "cat /made/here"), "one file\n");

    // What one container mounts reaches another through a shared volume, and only as far as it was told to.
    let volume = |propagation: &str| {
        format!("type=bind,source={},target=/v,bind-propagation={propagation}", shared.display())
    };
    docker.detached("slave", &["--mount", &volume("rslave")], "sleep 1000");
    docker.detached("private", &["--mount", &volume("rprivate")], "sleep 1000");
    let giver =
        ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--mount", &volume("rshared")];
    sh(&giver, "mkdir /v/sub && mount -t tmpfs sub /v/sub && touch /v/sub/seen");
    assert_eq!(docker.says(&["exec", "slave", "ls", "/v/sub"]), "seen");
    assert_eq!(docker.says(&["exec", "private", "ls", "/v/sub"]), "");
    docker.end();
    sandbox.finish();
}

#[test]
fn root_docker_limits_and_tells_what_ran_out_of_memory() {
    let sandbox = Sandbox::new();
    let docker = needs!(Dockerd::start(&sandbox, &Setup::default()));
    const MIB: u64 = 1 << 20;
    docker.detached("web", &["--memory", "64m", "--cpus", "0.5", "--pids-limit", "50"], "sleep 1000");
    let cgroup = |name: &str| {
        let path = docker.says(&["exec", "web", "sh", "-c", &format!("cat /sys/fs/cgroup/{name}")]);
        path.parse::<u64>().unwrap_or(u64::MAX)
    };
    let v1 = fs::exists("/sys/fs/cgroup/memory").unwrap();
    let (memory, pids) =
        if v1 { ("memory/memory.limit_in_bytes", "pids/pids.max") } else { ("memory.max", "pids.max") };
    assert_eq!((cgroup(memory), cgroup(pids)), (64 * MIB, 50));
    let stats = docker.says(&["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "web"]);
    assert!(stats.contains("/ 64MiB") && stats.ends_with(" 1"), "{stats}");
    let more = ["--memory", "128m", "--memory-swap", "256m", "--cpus", "1", "--pids-limit", "99"];
    docker.says(&[&["update"][..], &more, &["web"]].concat());
    assert_eq!((cgroup(memory), cgroup(pids)), (128 * MIB, 99));
    docker.says(&["update", "--memory", "32m", "--pids-limit", "-1", "web"]);
    assert_eq!((cgroup(memory), cgroup(pids)), (32 * MIB, u64::MAX), "lower again, and none");

    docker
        .docker(&[
            "run",
            "--network",
            "none",
            "--memory",
            "16m",
            "--name",
            "big",
            "busybox",
            "tail",
            "/dev/zero",
        ])
        .run()
        .exits(137);
    assert_eq!(docker.says(&["inspect", "--format", "{{.State.OOMKilled}}", "big"]), "true");
    docker.end();
    sandbox.finish();
}

#[test]
fn root_docker_checks_health_and_restarts() {
    let sandbox = Sandbox::new();
    let docker = needs!(Dockerd::start(&sandbox, &Setup::default()));
    docker.detached("failing", &["--restart", "on-failure:2"], "exit 4");
    let health = ["--health-cmd", "test -e /ok", "--health-interval", "500ms", "--health-retries", "1"];
    docker.detached("sick", &health, "sleep 1000");
    docker.detached("stubborn", &["--restart", "always"], "echo again; sleep 1000");

    docker.wait_for("sick", "{{.State.Health.Status}}", "unhealthy");
    docker.says(&["exec", "sick", "touch", "/ok"]);
    docker.wait_for("sick", "{{.State.Health.Status}}", "healthy");
    docker.wait_for("failing", "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}", "exited 2 4");
    // It dies by itself, as the daemon sees it.
    let pid = docker.says(&["inspect", "--format", "{{.State.Pid}}", "stubborn"]);
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    docker.wait_for("stubborn", "{{.State.Status}} {{.RestartCount}}", "running 1");
    docker.end();
    sandbox.finish();
}

#[test]
fn root_docker_maps_users() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    sandbox.user(Range::Subordinate);
    let before = format!(
        "for file in passwd group subuid subgid; do mount --bind {}/$file /etc/$file; done",
        sandbox.path("accounts").display()
    );
    let remap = format!("--userns-remap={NAME}");
    let docker = needs!(Dockerd::start(&sandbox, &Setup { before: &before, flags: &[&remap] }));
    let sh = |flags: &[&str], script: &str| docker.sh(flags, script).success().stdout;
    let map = "tr -s ' ' < /proc/self/uid_map";
    assert_eq!(sh(&[], map), " 0 700000 65536\n");
    assert_eq!(sh(&["--userns", "host"], map), " 0 0 4294967295\n");
    assert_eq!(sh(&["--user", "1000"], "id -u; touch /tmp/x; stat -c %u /tmp/x"), "1000\n1000\n");
    assert_eq!(sh(&["--tmpfs", "/t:uid=5,mode=700"], "stat -c '%u %a' /t"), "5 700\n");
    assert_eq!(sh(&["--volume", "named:/n"], "touch /n/x; stat -c %u /n/x; echo x > /dev/null"), "0\n");
    docker.detached("web", &[], "sleep 1000");
    let mut command = docker.docker(&["exec", "-it", "-u", "1000", "web", "sh", "-c"]);
    let mut terminal = Terminal::start(command.arg("tty; id -u; stat -c %u $(tty)"), (24, 80));
    for line in ["/dev/pts/0", "1000", "1000"] {
        terminal.expect(line);
    }
    assert_eq!(terminal.wait(), 0);
    let pid = docker.says(&["inspect", "--format", "{{.State.Pid}}", "web"]);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t700000\t"), "{status}");
    docker.end();
    sandbox.finish();
}

#[test]
fn root_docker_builds_images() {
    let sandbox = Sandbox::new();
    let docker = needs!(Dockerd::start(&sandbox, &Setup::default()));
    let steps = "FROM busybox\nRUN echo built > /built && id -u\nUSER 1000\nRUN cat /built && id -u > /tmp/user\n\
                 CMD [\"cat\", \"/built\", \"/tmp/user\"]\n";
    let context = sandbox.path("work/context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("Dockerfile"), steps).unwrap();
    // The classic builder, and BuildKit, which starts what it finds as runc.
    for buildkit in ["0", "1"] {
        let mut build = docker.docker(&["build", "--network", "none", "--tag", "built", "context"]);
        build.env("DOCKER_BUILDKIT", buildkit).run().success();
        let said = docker.says(&["run", "--rm", "--network", "none", "built"]);
        assert_eq!(said, "built\n1000", "DOCKER_BUILDKIT={buildkit}");
        docker.says(&["rmi", "built"]);
    }
    let refused = format!("{steps}RUN exit 3\n");
    fs::write(context.join("Dockerfile"), refused).unwrap();
    let mut build = docker.docker(&["build", "--network", "none", "context"]);
    build.env("DOCKER_BUILDKIT", "0").run().fails().says("returned a non-zero code: 3");
    docker.end();
    sandbox.finish();
}

#[test]
fn root_docker_pushes_to_and_pulls_from_the_registry() {
    let sandbox = Sandbox::new();
    let docker = needs!(Dockerd::start(&sandbox, &Setup::default()));
    let registry = Registry::conex(&sandbox);
    let name = format!("{}/team/busybox:1", registry.address);
    docker.says(&["tag", "busybox", &name]);
    docker.says(&["push", "--quiet", &name]);
    docker.says(&["rmi", &name, "busybox"]);
    docker.says(&["pull", "--quiet", &name]);
    let said = docker.says(&["run", "--rm", "--network", "none", &name]);
    assert_eq!(said, busybox::MOTD.trim_end());
    docker.end();
    drop(registry);
    sandbox.finish();
}

/// Its daemon asks for a token: with the user's password for a push, without one for a pull.
#[test]
fn root_docker_gets_tokens_of_the_registry() {
    let sandbox = Sandbox::new();
    let docker = needs!(Dockerd::start(&sandbox, &Setup::default()));
    let users = sandbox.path("users");
    fs::write(&users, HTPASSWD).unwrap();
    let registry =
        Registry::conex_with(&sandbox, &["--htpasswd", users.to_str().unwrap(), "--anonymous-pull"]);
    let name = format!("{}/team/busybox:1", registry.address);
    docker.says(&["tag", "busybox", &name]);
    docker.docker(&["push", "--quiet", &name]).run().fails();
    docker.docker(&["login", "-u", "me", "-p", "wrong", &registry.address]).run().fails();
    docker.says(&["login", "-u", "me", "-p", "secret", &registry.address]);
    docker.says(&["push", "--quiet", &name]);
    docker.says(&["logout", &registry.address]);
    docker.says(&["rmi", &name, "busybox"]);
    docker.says(&["pull", "--quiet", &name]);
    docker.end();
    drop(registry);
    sandbox.finish();
}
