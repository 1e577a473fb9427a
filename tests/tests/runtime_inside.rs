// SPDX-License-Identifier: Apache-2.0
//! What a process finds inside its container: exactly what the configuration asks for.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use conex_testkit::bundle::Bundle;
use conex_testkit::{Output, Run, Sandbox, needs, require};
use serde_json::{Value, json};

/// Runs a shell script in a container whose configuration was bent.
fn inside(sandbox: &Sandbox, script: &str, change: impl FnOnce(&mut Value)) -> require::Requirement<Output> {
    let mut bundle = Bundle::create(&sandbox.work(), &["sh", "-c", script])?;
    bundle.change(change);
    Ok(sandbox.runtime(["run", &sandbox.id("a")]).run())
}

#[test]
fn root_all_eight_namespaces_are_new() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let all = ["user", "mount", "pid", "network", "ipc", "uts", "cgroup", "time"];
    let script = "for n in user mnt pid net ipc uts cgroup time; do readlink /proc/self/ns/$n; done; cat /proc/uptime; \
                  ip link show lo 2>/dev/null | head -1 || ifconfig lo | head -1; id -u; cat /proc/self/timens_offsets";
    let output = needs!(inside(&sandbox, script, |config| {
        config["linux"]["namespaces"] = all.iter().map(|kind| json!({ "type": kind })).collect();
        config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 500_000, "size": 1000 }]);
        config["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": 500_000, "size": 1000 }]);
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 7_000_000 } });
    }))
    .success();
    let lines: Vec<_> = output.stdout.lines().collect();
    for (line, name) in lines.iter().zip(["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"]) {
        let host = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert!(line.starts_with(&format!("{name}:[")), "{output}");
        assert_ne!(*line, host.to_string_lossy(), "{name} is the host's");
    }
    let uptime: f64 = lines[8].split(' ').next().unwrap().parse().unwrap();
    assert!(uptime > 7_000_000.0, "{output}");
    assert!(output.stdout.contains("UP"), "lo is up: {output}");
    sandbox.finish();
}

#[test]
fn root_capabilities_are_exact() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let script = "grep -E '^(Cap|NoNewPrivs|Groups|Umask)' /proc/self/status; id -u; id -g";
    let output = needs!(inside(&sandbox, script, |config| {
        let process = &mut config["process"];
        process["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o027 });
        let some = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        process["capabilities"] = json!({ "bounding": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"],
            "effective": some, "permitted": some, "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"] });
    }))
    .success();
    // Only an ambient capability survives an execve by somebody who is not root.
    let wanted = "Umask:\t0027\nGroups:\t5 6 \nCapInh:\t0000000000000020\nCapPrm:\t0000000000000020\nCapEff:\t0000000000000020\n\
                  CapBnd:\t0000000000000421\nCapAmb:\t0000000000000020\nNoNewPrivs:\t1\n1000\n1001\n";
    assert_eq!(output.stdout, wanted);
    sandbox.finish();
}

/// execve(2) asks what the process may by its capabilities, not only by its ids.
#[test]
fn root_a_capability_makes_a_program_executable() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["/bin/busybox-mine", "echo", "here"]));
    let program = bundle.path.join("rootfs/bin/busybox-mine");
    fs::copy(bundle.path.join("rootfs/bin/busybox"), &program).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o744)).unwrap();
    bundle.change(|config| config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    let output = sandbox.runtime(["run", &sandbox.id("a")]).run().exits(1);
    assert!(output.stderr.contains("permission denied"), "{output}");
    bundle.change(|config| {
        for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
            config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE"]);
        }
    });
    assert_eq!(sandbox.runtime(["run", &sandbox.id("b")]).run().success().stdout, "here\n");
    sandbox.finish();
}

#[test]
fn root_masked_and_readonly_paths_resist() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let script = "cat /proc/keys | wc -c; ls /secret | wc -l; cat /a/file | wc -c; ls /missing 2>&1 | wc -l; \
                  echo x 2>/dev/null > /proc/keys; echo mask $?; echo x 2>/dev/null > /locked/x; echo locked $?; \
                  echo x 2>/dev/null > /proc/sys/kernel/hostname; echo sys $?; grep -c ' / ' /proc/self/mountinfo";
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", script]));
    for directory in ["secret/deep", "a", "locked"] {
        fs::create_dir_all(bundle.path.join("rootfs").join(directory)).unwrap();
    }
    fs::write(bundle.path.join("rootfs/a/file"), "secret").unwrap();
    bundle.change(|config| {
        config["linux"]["maskedPaths"] = json!(["/proc/keys", "/secret", "/a/file", "/missing"]);
        config["linux"]["readonlyPaths"] = json!(["/locked", "/proc/sys", "/missing"]);
    });
    let output = sandbox.runtime(["run", &sandbox.id("a")]).run().success();
    assert!(output.stdout.starts_with("0\n0\n0\n1\nmask 1\nlocked 1\nsys 1\n"), "{output}");
    assert_eq!(fs::read_dir(bundle.path.join("rootfs/secret")).unwrap().count(), 1, "only covered");
    sandbox.finish();
}

#[test]
fn root_mounts_come_with_their_flags_and_are_gone_afterwards() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("data/deep")).unwrap();
    fs::write(sandbox.path("data/file"), "from outside\n").unwrap();
    let source = sandbox.path("data").display().to_string();
    let file = sandbox.path("data/file").display().to_string();
    let script = "cat /new/dir/file /etc/one; cat /copied/was; grep -E ' (/new/dir|/etc/one|/copied) ' /proc/self/mountinfo | \
                  sed 's/.* \\(\\/[a-z/]*\\) \\(r[wo][^ ]*\\) .*/\\1 \\2/'; touch /new/dir/x 2>/dev/null; echo $?; touch /x 2>/dev/null; echo $?";
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", script]));
    let rootfs = bundle.path.join("rootfs");
    fs::create_dir_all(rootfs.join("copied")).unwrap();
    fs::write(rootfs.join("copied/was"), "copied up\n").unwrap();
    bundle.change(|config| {
        config["root"]["readonly"] = json!(true);
        let more = json!([
            { "destination": "/new/dir", "source": source, "type": "bind", "options": ["rbind", "ro", "nosuid", "noexec"] },
            { "destination": "/etc/one", "source": file, "type": "bind", "options": ["bind", "nodev"] },
            { "destination": "/copied", "source": "tmpfs", "type": "tmpfs", "options": ["nosuid", "tmpcopyup"] },
        ]);
        config["mounts"].as_array_mut().unwrap().extend(more.as_array().unwrap().iter().cloned());
    });
    let output = sandbox.runtime(["run", &sandbox.id("a")]).run().success();
    let mut lines = output.stdout.lines();
    assert_eq!(lines.next(), Some("from outside"));
    assert_eq!(lines.next(), Some("from outside"));
    assert_eq!(lines.next(), Some("copied up"));
    let flags: Vec<_> = lines.by_ref().take(3).collect();
    assert!(flags[0].starts_with("/new/dir ro,nosuid,noexec"), "{output}");
    assert!(flags[1].starts_with("/etc/one rw,nodev"), "{output}");
    assert!(flags[2].starts_with("/copied rw,nosuid"), "{output}");
    assert_eq!(lines.collect::<Vec<_>>(), ["1", "1"], "read-only: {output}");
    sandbox.finish();
}

#[test]
fn root_limits_sysctls_names_and_scores_are_set() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let script = "ulimit -n; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; hostname; cat /proc/sys/kernel/domainname; \
                  cat /proc/self/oom_score_adj; pwd; echo $X; ls /dev | tr '\\n' ' '; echo; uname -m";
    let output = needs!(inside(&sandbox, script, |config| {
        let process = &mut config["process"];
        process["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 123, "hard": 234 }]);
        process["oomScoreAdj"] = json!(321);
        process["cwd"] = json!("/made/for/it");
        process["env"].as_array_mut().unwrap().push(json!("X=y z"));
        config["domainname"] = json!("lab.example");
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_unprivileged_port_start": "7" });
        config["linux"]["devices"] =
            json!([{ "path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600 }]);
        config["linux"]["personality"] = json!({ "domain": "LINUX32" });
    }))
    .success();
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(lines[..7], ["123", "7", "conex", "lab.example", "321", "/made/for/it", "y z"]);
    let devices = "fd full mine mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ";
    assert_eq!(lines[7], devices);
    assert_eq!(lines[8], "i686", "a 32-bit personality");
    sandbox.finish();
}

#[test]
fn root_a_seccomp_filter_answers_for_the_kernel() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let script = "grep ^Seccomp: /proc/self/status; mkdir /d 2>&1; chmod 700 / 2>&1; echo $?";
    let output = needs!(inside(&sandbox, script, |config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }],
        });
    }))
    .success();
    assert_eq!(
        output.stdout,
        "Seccomp:\t2\nmkdir: can't create directory '/d': No space left on device\n0\n"
    );
    sandbox.finish();
}

#[test]
fn root_hooks_come_in_order_with_the_state_and_failures_stop() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let log = sandbox.path("hooks");
    let hook = |name: &str| {
        let script = format!(
            "state=$(cat); echo {name} $(echo \"$state\" | sed 's/.*\"status\":\"\\([a-z]*\\)\".*/\\1/') $A >> {}",
            log.display()
        );
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["A=own", "PATH=/bin:/usr/bin"] }])
    };
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", "sleep 0.3"]));
    bundle.change(|config| {
        config["hooks"] = json!({
            "prestart": hook("prestart"), "createRuntime": hook("createRuntime"),
            "createContainer": hook("createContainer"),
            "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "cat > /started"] }],
            "poststart": hook("poststart"), "poststop": hook("poststop"),
        });
    });
    sandbox.runtime(["run", &sandbox.id("a")]).run().success();
    let wanted = "prestart creating own\ncreateRuntime creating own\ncreateContainer creating own\n\
                  poststart running own\npoststop stopped own\n";
    assert_eq!(fs::read_to_string(&log).unwrap(), wanted);
    let started = fs::read_to_string(bundle.path.join("rootfs/started")).unwrap();
    assert!(started.contains("\"status\":\"created\"") && started.contains("\"pid\":1"), "{started}");

    fs::remove_file(&log).unwrap();
    bundle.change(|config| {
        config["hooks"]["createRuntime"] =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo no luck; exit 9"] }]);
    });
    let failed = sandbox.runtime(["run", &sandbox.id("b")]).run().exits(1);
    assert!(
        failed.stderr.contains("createRuntime hook #0: /bin/sh: exit status 9, output: no luck"),
        "{failed}"
    );
    assert_eq!(fs::read_to_string(&log).unwrap(), "prestart creating own\npoststop stopped own\n");
    sandbox.finish();
}

#[test]
fn root_namespaces_of_another_container_can_be_joined() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    let first = sandbox.id("pod");
    sandbox.runtime(["run", "-d", &first]).run().success();
    let state: Value =
        serde_json::from_str(&sandbox.runtime(["state", &first]).run().success().stdout).unwrap();
    let pid = state["pid"].as_i64().unwrap();
    let ns = |name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap().display().to_string();
    bundle.change(|config| {
        config["hostname"] = json!("");
        config["process"]["args"] =
            json!(["sh", "-c", "for n in net ipc uts pid; do readlink /proc/self/ns/$n; done; hostname; ps | grep -c 'sleep 1000'"]);
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            let kind = namespace["type"].as_str().unwrap().replace("network", "net");
            if kind != "mount" {
                namespace["path"] = json!(format!("/proc/{pid}/ns/{kind}"));
            }
        }
    });
    let output = sandbox.runtime(["run", &sandbox.id("member")]).run().success();
    let wanted = format!("{}\n{}\n{}\n{}\nconex\n", ns("net"), ns("ipc"), ns("uts"), ns("pid"));
    assert!(output.stdout.starts_with(&wanted), "{output}");
    sandbox.runtime(["delete", "-f", &first]).run().success();
    sandbox.finish();
}

/// A user namespace, one that it owns, and one that it does not own: the one can only be joined after it, the other
/// only before.
#[test]
fn root_namespaces_are_joined_whoever_owns_them() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    bundle.change(|config| {
        let linux = &mut config["linux"];
        linux["namespaces"]
            .as_array_mut()
            .unwrap()
            .extend([json!({ "type": "user" }), json!({ "type": "time" })]);
        linux["uidMappings"] = json!([{ "containerID": 0, "hostID": 500_000, "size": 65_536 }]);
        linux["gidMappings"] = linux["uidMappings"].clone();
        linux["timeOffsets"] = json!({ "boottime": { "secs": 100_000_000, "nanosecs": 0 } });
    });
    let first = sandbox.id("pod");
    sandbox.runtime(["run", "-d", "--pid-file", "pid", &first]).run().success();
    let pid = fs::read_to_string(bundle.path.join("pid")).unwrap();
    bundle.change(|config| {
        let linux = &mut config["linux"];
        for property in ["uidMappings", "gidMappings", "timeOffsets"] {
            linux.as_object_mut().unwrap().remove(property);
        }
        for namespace in linux["namespaces"].as_array_mut().unwrap() {
            match namespace["type"].as_str().unwrap() {
                kind @ ("user" | "time" | "ipc") => {
                    namespace["path"] = json!(format!("/proc/{pid}/ns/{kind}"))
                }
                // Of the host's users, as seen by who starts this.
                "network" => namespace["path"] = json!("/proc/self/ns/net"),
                _ => {}
            }
        }
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "sysfs");
        let script = "for n in user time ipc; do readlink /proc/self/ns/$n; done; cut -d. -f1 /proc/uptime";
        config["process"]["args"] = json!(["sh", "-c", script]);
    });
    let output = sandbox.runtime(["run", &sandbox.id("member")]).run().success();
    let lines: Vec<_> = output.stdout.lines().collect();
    let theirs = ["user", "time", "ipc"].map(|name| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap());
    assert_eq!(lines[..3], theirs.map(|link| link.display().to_string()), "{output}");
    assert!(lines[3].parse::<u64>().unwrap() > 100_000_000, "{output}");
    sandbox.runtime(["delete", "-f", &first]).run().success();
    sandbox.finish();
}

#[test]
fn root_no_descriptor_and_no_variable_of_the_caller_leaks() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let script = "ls /proc/self/fd | wc -l; env | grep -c SECRET; cat /proc/self/environ | tr '\\0' '\\n' | grep -c HOME=";
    let bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", script]));
    let runtime = sandbox.programs().join("conex-runtime");
    let leaky = format!(
        "for n in 3 4 5 6 7 8 9; do eval \"exec $n</etc/passwd\"; done; SECRET=1 exec {} --root {} run {}",
        runtime.display(),
        sandbox.path("run/runtime").display(),
        sandbox.id("a"),
    );
    let output = sandbox.command("bash").args(["-c", &leaky]).current_dir(&bundle.path).run().success();
    // Three, and the directory that ls reads.
    assert_eq!(output.stdout, "4\n0\n1\n");
    sandbox.finish();
}

/// A tmpfs looks like the directory it covers, unless it is told how to look.
#[test]
fn root_a_tmpfs_takes_the_mode_of_what_it_covers() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["stat", "-c", "%a", "/old", "/told", "/new"]));
    for name in ["old", "told"] {
        let path = bundle.path.join("rootfs").join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o3710)).unwrap();
    }
    bundle.change(|config| {
        let tmpfs = |target: &str, options: Value| {
            json!({ "destination": target, "type": "tmpfs", "source": "tmpfs", "options": options })
        };
        let more = [tmpfs("/old", json!([])), tmpfs("/told", json!(["mode=0500"])), tmpfs("/new", json!([]))];
        config["mounts"].as_array_mut().unwrap().extend(more);
    });
    assert_eq!(sandbox.runtime(["run", &sandbox.id("a")]).run().success().stdout, "3710\n500\n1777\n");
    sandbox.finish();
}

/// Links of the image that promise a place which is not there yet: it is made where they lead, inside.
#[test]
fn root_a_mount_goes_where_dangling_links_lead() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let script = "cat /etc/conf; cat /var/deep/er/conf; ls /data/; ls /moved/data";
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", script]));
    let rootfs = bundle.path.join("rootfs");
    fs::create_dir_all(rootfs.join("etc")).unwrap();
    std::os::unix::fs::symlink("/jump/er/conf", rootfs.join("etc/conf")).unwrap();
    std::os::unix::fs::symlink("../../var/deep", rootfs.join("jump")).unwrap();
    std::os::unix::fs::symlink("moved/data", rootfs.join("data")).unwrap();
    std::os::unix::fs::symlink("loop", rootfs.join("loop")).unwrap();
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "mounted\n").unwrap();
    let before = bundle.config["mounts"].clone();
    bundle.change(|config| {
        let bind = |source: &std::path::Path, target: &str| {
            json!({ "destination": target, "type": "bind", "source": source, "options": ["bind"] })
        };
        config["mounts"].as_array_mut().unwrap().extend([bind(&source.join("file"), "/etc/conf"), bind(&source, "/data")]);
    });
    let output = sandbox.runtime(["run", &sandbox.id("a")]).run().success();
    assert_eq!(output.stdout, "mounted\nmounted\nfile\nfile\n");
    assert!(!rootfs.parent().unwrap().join("moved").exists() && !std::path::Path::new("/moved").exists());
    bundle.change(|config| {
        config["mounts"] = before;
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "destination": "/loop/x", "type": "bind", "source": source, "options": ["bind"] }));
    });
    sandbox.runtime(["run", &sandbox.id("b")]).run().exits(1).says("/loop/x").says("symbolic link");
    sandbox.finish();
}
