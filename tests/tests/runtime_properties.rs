// SPDX-License-Identifier: Apache-2.0
//! Properties of runtime-spec one by one, as a process in the container finds them: scheduling, NUMA, propagation,
//! recursive attributes, mapped ids, sockets, affinity.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use conex_testkit::bundle::Bundle;
use conex_testkit::{Output, Run, Sandbox, needs, program, require};
use serde_json::{Value, json};

/// What a shell script prints in a container whose configuration was bent.
fn inside(sandbox: &Sandbox, script: &str, change: impl FnOnce(&mut Value)) -> require::Requirement<Output> {
    let mut bundle = Bundle::create(&sandbox.work(), &["sh", "-c", script])?;
    bundle.change(change);
    Ok(sandbox.runtime(["run", &sandbox.id("a")]).run())
}

/// proc(5): of `/proc/self/stat`, from behind the name on, fields 19 (nice), 40 (priority), 41 (policy).
const SCHEDULING: &str = "sed 's/.*) //' /proc/self/stat | cut -d' ' -f17,38,39";

#[test]
fn root_every_scheduling_policy_and_priority() {
    needs!(require::root());
    for (scheduler, wanted) in [
        (json!({ "policy": "SCHED_OTHER", "nice": 7 }), "7 0 0"),
        (json!({ "policy": "SCHED_BATCH", "nice": -3 }), "-3 0 3"),
        (json!({ "policy": "SCHED_IDLE" }), "0 0 5"),
        (json!({ "policy": "SCHED_FIFO", "priority": 9 }), "0 9 1"),
        (json!({ "policy": "SCHED_RR", "priority": 8, "flags": ["SCHED_FLAG_RESET_ON_FORK"] }), "0 0 0"),
    ] {
        let sandbox = Sandbox::new();
        let script = format!("{SCHEDULING}; ionice -p $$");
        let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", &script]));
        bundle.change(|config| {
            config["process"]["scheduler"] = scheduler.clone();
            config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
        });
        // A real-time budget is a cgroup's on some kernels, and 0 for a new one.
        let output = sandbox.runtime(["run", &sandbox.id("a")]).run();
        let real_time = ["SCHED_FIFO", "SCHED_RR"].iter().any(|policy| scheduler["policy"] == *policy);
        if output.code() != 0 && real_time {
            assert!(
                output.stderr.contains("sched_setattr") && output.stderr.contains("not permitted"),
                "{output}"
            );
        } else {
            assert_eq!(output.success().stdout, format!("{wanted}\nbest-effort: prio 6\n"), "{scheduler}");
        }
        sandbox.finish();
    }
}

/// config.md, "Scheduler": every flag, and what only a deadline has, as the kernel keeps them.
#[test]
fn root_a_deadline_and_every_flag_of_the_scheduler() {
    needs!(require::root());
    let look = needs!(program::compile("scheduling"));
    let deadline = |flags: &[&str]| {
        json!({ "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 50_000_000, "period": 100_000_000,
                "flags": flags })
    };
    for (scheduler, wanted) in [
        (deadline(&[]), "6 0 0 1000000 50000000 100000000"),
        (deadline(&["SCHED_FLAG_RESET_ON_FORK"]), "6 1 0 1000000 50000000 100000000"),
        (deadline(&["SCHED_FLAG_RECLAIM"]), "6 2 0 1000000 50000000 100000000"),
        (deadline(&["SCHED_FLAG_DL_OVERRUN"]), "6 4 0 1000000 50000000 100000000"),
        // The caller's policy is kept, or all that it has.
        (json!({ "policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_KEEP_POLICY"] }), "0 0 5"),
        (json!({ "policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_KEEP_PARAMS"] }), "0 0 0"),
        (json!({ "policy": "SCHED_OTHER", "nice": 5, "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"] }), "0 0 5"),
        (json!({ "policy": "SCHED_OTHER", "nice": 5, "flags": ["SCHED_FLAG_UTIL_CLAMP_MAX"] }), "0 0 5"),
    ] {
        let sandbox = Sandbox::new();
        let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
        bundle.change(|config| config["process"]["scheduler"] = scheduler.clone());
        let id = sandbox.id("a");
        let output = sandbox.runtime(["run", "--detach", "--pid-file", "pid", &id]).run();
        let clamps = scheduler.to_string().contains("CLAMP");
        if clamps && output.code() != 0 {
            // CONFIG_UCLAMP_TASK is not everywhere.
            assert!(output.stderr.contains("sched_setattr"), "{output}");
            sandbox.finish();
            continue;
        }
        output.success();
        let pid = fs::read_to_string(bundle.path.join("pid")).unwrap();
        let seen = sandbox.command(&look).arg(&pid).run().success().stdout;
        assert!(
            clamps || format!("{} ", seen.trim()).starts_with(&format!("{wanted} ")),
            "{scheduler}: {seen}"
        );
        sandbox.runtime(["delete", "--force", &id]).run().success();
        sandbox.finish();
    }
}

#[test]
fn root_every_class_of_io_priority() {
    needs!(require::root());
    for (class, priority, wanted) in [
        ("IOPRIO_CLASS_RT", 3, "realtime: prio 3"),
        ("IOPRIO_CLASS_BE", 7, "best-effort: prio 7"),
        ("IOPRIO_CLASS_IDLE", 0, "idle"),
    ] {
        let sandbox = Sandbox::new();
        let asked = json!({ "class": class, "priority": priority });
        let output =
            needs!(inside(&sandbox, "ionice -p $$", |config| config["process"]["ioPriority"] = asked));
        assert!(output.success().stdout.starts_with(wanted), "{class}");
        sandbox.finish();
    }
}

#[test]
fn root_memory_policies() {
    needs!(require::root());
    if !fs::exists("/proc/self/numa_maps").unwrap() {
        return require::print_skip("root_memory_policies", "the kernel knows no NUMA nodes");
    }
    for (policy, wanted) in [
        (json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" }), "interleave:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] }), "bind=static:0"),
        (
            json!({ "mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"] }),
            "prefer=relative:0",
        ),
        (json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": "0" }), "prefer (many):0"),
        (json!({ "mode": "MPOL_LOCAL" }), "local"),
        (json!({ "mode": "MPOL_DEFAULT" }), "default"),
    ] {
        let sandbox = Sandbox::new();
        let script = "grep -m1 stack /proc/self/numa_maps";
        let output = needs!(inside(&sandbox, script, |config| config["linux"]["memoryPolicy"] = policy));
        let output = output.success();
        assert!(output.stdout.contains(&format!(" {wanted} ")), "{wanted}: {output}");
        sandbox.finish();
    }
    let sandbox = Sandbox::new();
    let policy = json!({ "mode": "INTERLEAVE", "nodes": "0-7", "flags": ["MPOL_F_ANY"] });
    let output = needs!(inside(&sandbox, "true", |config| config["linux"]["memoryPolicy"] = policy)).exits(1);
    assert!(output.stderr.contains("/linux/memoryPolicy/mode: invalid memory policy mode: "), "{output}");
    assert!(output.stderr.contains("/linux/memoryPolicy/flags/0: invalid memory policy flag: "), "{output}");
    sandbox.finish();
    let sandbox = Sandbox::new();
    let policy = json!({ "nodes": "0" });
    let output = needs!(inside(&sandbox, "true", |config| config["linux"]["memoryPolicy"] = policy)).exits(1);
    assert!(output.stderr.contains("/linux/memoryPolicy: invalid memory policy mode: missing"), "{output}");
    sandbox.finish();
    let sandbox = Sandbox::new();
    let policy = json!({ "mode": "MPOL_BIND", "nodes": "0-x" });
    let output = needs!(inside(&sandbox, "true", |config| config["linux"]["memoryPolicy"] = policy)).exits(1);
    assert!(
        output.stderr.contains("/linux/memoryPolicy/nodes: invalid memory policy node: must be a list"),
        "{output}"
    );
    sandbox.finish();
}

#[test]
fn root_the_roots_propagation_and_masks_below_it() {
    needs!(require::root());
    for (asked, wanted) in [
        ("private", ""),
        ("rprivate", ""),
        ("slave", ""),
        ("rslave", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ] {
        let sandbox = Sandbox::new();
        let script = "awk '$5 == \"/\"' /proc/self/mountinfo | grep -o 'shared:\\|unbindable'; cat /secret/file 2>&1; \
                      echo x 2>/dev/null > /locked/x || echo locked";
        let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", script]));
        for directory in ["secret", "locked"] {
            fs::create_dir(bundle.path.join("rootfs").join(directory)).unwrap();
        }
        fs::write(bundle.path.join("rootfs/secret/file"), "secret").unwrap();
        bundle.change(|config| {
            config["linux"]["rootfsPropagation"] = json!(asked);
            config["linux"]["maskedPaths"] = json!(["/secret"]);
            config["linux"]["readonlyPaths"] = json!(["/locked"]);
        });
        // In a mount namespace where everything is shared, as on a host with systemd.
        let unshare = needs!(require::program("unshare"));
        let words =
            "mount --make-rshared /; \"$@\"; code=$?; grep -c conex-test /proc/self/mountinfo; exit $code";
        let mut command = sandbox.command(unshare);
        command.args(["--mount", "sh", "-c", words, "sh"]).arg(sandbox.programs().join("conex-runtime"));
        command.arg("--root").arg(sandbox.path("run/runtime")).args(["run", &sandbox.id("a")]);
        let output = command.run();
        let root = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!root.contains(sandbox.tag()), "nothing of it on the host");
        let said: Vec<_> = output.stdout.lines().filter(|line| *line != wanted).collect();
        let missing = "cat: can't open '/secret/file': No such file or directory";
        assert_eq!(said, [missing, "locked", "0"], "{asked}: {output}");
        assert_eq!(output.stdout.lines().any(|line| line == wanted), !wanted.is_empty(), "{asked}: {output}");
        sandbox.finish();
    }
}

#[test]
fn root_attributes_reach_the_mounts_below() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let script = "for place in plain strict; do for mount in /$place /$place/below; do \
                  grep \" $mount \" /proc/self/mountinfo | cut -d' ' -f6; done; done";
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", script]));
    let source = sandbox.path("tree");
    fs::create_dir_all(source.join("below")).unwrap();
    bundle.change(|config| {
        let bind = |to: &str, words: &str| {
            json!({ "destination": to, "source": source, "type": "none",
                    "options": words.split(' ').collect::<Vec<_>>() })
        };
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(bind("/plain", "rbind ro"));
        mounts.push(bind("/strict", "rbind rro rnosuid rnodev rnoexec rnoatime rnodiratime rnosymfollow"));
    });
    let unshare = needs!(require::program("unshare"));
    let words = format!("mount -t tmpfs below {}/below; exec \"$@\"", source.display());
    let mut command = sandbox.command(unshare);
    command.args(["--mount", "sh", "-c", &words, "sh"]).arg(sandbox.programs().join("conex-runtime"));
    command.arg("--root").arg(sandbox.path("run/runtime")).args(["run", &sandbox.id("a")]);
    let output = command.run().success();
    let lines: Vec<_> = output.stdout.lines().collect();
    let all = "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow";
    assert!(lines[0].starts_with("ro") && lines[1].starts_with("rw"), "{output}");
    assert_eq!(lines[2..], [all, all]);
    sandbox.finish();
}

#[test]
fn root_ids_of_a_mount_are_shifted_with_and_without_a_user_namespace() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let source = sandbox.path("shifted");
    fs::create_dir(&source).unwrap();
    fs::set_permissions(&source, PermissionsExt::from_mode(0o777)).unwrap();
    // What belongs to nobody inside cannot be written to.
    chown(&source, Some(2000), Some(3000)).unwrap();
    fs::write(source.join("file"), "").unwrap();
    chown(source.join("file"), Some(2003), Some(3004)).unwrap();
    let mapping =
        |inside: u32, outside: u32| json!([{ "containerID": inside, "hostID": outside, "size": 10 }]);
    // mount_setattr(2): ids of the filesystem are looked up inside, and become those outside.
    let mapped = json!({ "destination": "/data", "source": source, "type": "none", "options": ["bind", "idmap"],
                         "uidMappings": mapping(2000, 50), "gidMappings": mapping(3000, 60) });
    let script = "stat -c '%u %g' /data/file; touch /data/new";
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", script]));
    let before = bundle.config.clone();
    bundle.change(|config| {
        config["process"]["user"] = json!({ "uid": 55, "gid": 66 });
        config["mounts"].as_array_mut().unwrap().push(mapped);
    });
    assert_eq!(sandbox.runtime(["run", &sandbox.id("a")]).run().success().stdout, "53 64\n");
    let new = fs::metadata(source.join("new")).unwrap();
    assert_eq!((new.uid(), new.gid()), (2005, 3006), "written back the other way");
    fs::remove_file(source.join("new")).unwrap();
    chown(&source, Some(0), Some(0)).unwrap();
    // The container's own mapping, where it has a user namespace: what root of the host owns is its root's.
    chown(source.join("file"), Some(7), Some(8)).unwrap();
    bundle.config = before;
    bundle.change(|config| {
        let linux = &mut config["linux"];
        linux["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        linux["uidMappings"] = json!([{ "containerID": 0, "hostID": 500_000, "size": 1000 }]);
        linux["gidMappings"] = linux["uidMappings"].clone();
        let mapped = json!({ "destination": "/data", "source": source, "type": "none", "options": ["rbind", "ridmap"] });
        config["mounts"].as_array_mut().unwrap().push(mapped);
    });
    assert_eq!(sandbox.runtime(["run", &sandbox.id("b")]).run().success().stdout, "7 8\n");
    let new = fs::metadata(source.join("new")).unwrap();
    assert_eq!((new.uid(), new.gid()), (0, 0), "a file of the container's root is the host root's");
    sandbox.finish();
}

#[test]
fn root_a_file_in_a_devices_place_is_an_error_and_a_default_device_takes_its_own() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle =
        needs!(Bundle::create(&sandbox.work(), &["sh", "-c", "stat -c '%F %t:%T %a' /dev/zero"]));
    let dev = bundle.path.join("rootfs/dev");
    fs::create_dir_all(&dev).unwrap();
    for name in ["zero", "mine"] {
        fs::write(dev.join(name), "not a device").unwrap();
    }
    bundle.change(|config| {
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev")
    });
    let output = sandbox.runtime(["run", &sandbox.id("a")]).run().success();
    assert_eq!(output.stdout, "character special file 1:5 666\n");
    bundle.change(|config| {
        config["linux"]["devices"] = json!([{ "path": "/dev/mine", "type": "c", "major": 1, "minor": 3 }]);
    });
    let output = sandbox.runtime(["run", &sandbox.id("b")]).run().exits(1);
    assert!(output.stderr.contains("/dev/mine is there already and is another file"), "{output}");
    assert_eq!(fs::read_to_string(dev.join("mine")).unwrap(), "not a device");
    sandbox.finish();
}

#[test]
fn root_sockets_and_the_last_of_equal_variables() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let script = "echo $LISTEN_FDS $LISTEN_PID $$ $TWICE; for n in 3 4; do readlink /proc/self/fd/$n; done; ls /proc/self/fd | wc -l";
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", script]));
    bundle.change(|config| {
        config["process"]["env"].as_array_mut().unwrap().extend([
            json!("TWICE=1"),
            json!("TWICE=2"),
            json!("LISTEN_PID=9"),
        ]);
    });
    let words =
        "exec 3</etc/hostname 4</etc/passwd 5</etc/group; export LISTEN_FDS=2 LISTEN_PID=1; exec \"$@\"";
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command("/bin/sh");
        command.args(["-c", words, "sh"]).arg(sandbox.programs().join("conex-runtime"));
        command.arg("--root").arg(sandbox.path("run/runtime")).args(arguments).run().success().stdout
    };
    // Standard descriptors, the two, and what `ls` reads.
    assert_eq!(run(&["run", &sandbox.id("a")]), "2 1 1 2\n/etc/hostname\n/etc/passwd\n6\n");
    bundle.change(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    run(&["run", "--detach", &sandbox.id("b")]);
    let output = run(&["exec", &sandbox.id("b"), "sh", "-c", "test $LISTEN_PID = $$ && echo $LISTEN_FDS"]);
    assert_eq!(output, "2\n");
    sandbox.runtime(["delete", "--force", &sandbox.id("b")]).run().success();
    sandbox.finish();
}

#[test]
fn root_exec_runs_on_the_cpus_it_is_given() {
    needs!(require::root());
    let status = fs::read_to_string("/proc/self/status").unwrap();
    if !status.contains("Cpus_allowed_list:\t0-") {
        return require::print_skip("root_exec_runs_on_the_cpus_it_is_given", "needs two CPUs from 0 on");
    }
    let sandbox = Sandbox::new();
    needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    let id = sandbox.id("a");
    sandbox.runtime(["run", "--detach", &id]).run().success();
    for (affinity, wanted) in [
        (json!({ "initial": "0", "final": "1" }), "1"),
        (json!({ "initial": "1" }), "1"),
        (json!({ "final": "0-1" }), "0-1"),
    ] {
        let process = json!({
            "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["PATH=/bin"], "execCPUAffinity": affinity,
            "args": ["grep", "Cpus_allowed_list", "/proc/self/status"],
        });
        let file = sandbox.path("process.json");
        fs::write(&file, process.to_string()).unwrap();
        let output = sandbox.runtime(["exec", "--process"]).arg(&file).arg(&id).run().success();
        assert_eq!(output.stdout, format!("Cpus_allowed_list:\t{wanted}\n"));
    }
    sandbox.runtime(["delete", "--force", &id]).run().success();
    sandbox.finish();
}

/// Neither at the start nor by `exec`: the caller may be bound to where it does its work.
#[test]
fn root_a_callers_cpus_are_not_the_containers() {
    needs!(require::root());
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap();
    if !own.ends_with(":\t0") && !own.contains(":\t0-") {
        return require::print_skip("root_a_callers_cpus_are_not_the_containers", "needs the first CPU");
    }
    let taskset = needs!(require::program("taskset"));
    let sandbox = Sandbox::new();
    let script = "grep Cpus_allowed_list: /proc/self/status > /cpus; exec sleep 1000";
    let bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", script]));
    let id = sandbox.id("a");
    let bound = |words: &[&str]| {
        let mut command = sandbox.command(&taskset);
        command.args(["-c", "0"]).arg(sandbox.programs().join("conex-runtime"));
        command.arg("--root").arg(sandbox.path("run/runtime")).args(words).run().success().stdout
    };
    bound(&["run", "--detach", &id]);
    let script = "until grep : /cpus; do sleep 0.1; done; grep Cpus_allowed_list: /proc/self/status";
    assert_eq!(bound(&["exec", &id, "sh", "-c", script]), format!("{own}\n{own}\n"), "{bundle:?}");
    sandbox.runtime(["delete", "--force", &id]).run().success();
    sandbox.finish();
}

/// sched_setattr(2) refuses a deadline to who may not run everywhere.
#[test]
fn root_a_deadline_needs_all_cpus() {
    needs!(require::root());
    if !fs::read_to_string("/proc/self/status").unwrap().contains("Cpus_allowed_list:\t0-") {
        return require::print_skip("root_a_deadline_needs_all_cpus", "needs two CPUs from 0 on");
    }
    let sandbox = Sandbox::new();
    let output = needs!(inside(&sandbox, "true", |config| {
        config["linux"]["resources"] = json!({ "cpu": { "cpus": "0" } });
        config["process"]["scheduler"] = json!({ "policy": "SCHED_DEADLINE", "runtime": 42000, "deadline": 1_000_000, "period": 1_000_000 });
    }));
    let words = "process scheduler can't be used together with AllowedCPUs";
    assert!(output.exits(1).stderr.contains(words));
    sandbox.finish();
}

#[test]
fn root_what_is_unknown_or_another_systems_is_ignored() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let output = needs!(inside(&sandbox, "echo here", |config| {
        for system in ["windows", "solaris", "vm", "zos", "freebsd"] {
            config[system] = json!({ "whatever": [1, { "x": null }] });
        }
        config["ociVersion"] = json!("1.99.0-rc.1+build");
        config["process"]["commandLine"] = json!("dir");
        config["linux"]["ofTheFuture"] = json!({ "a": 1 });
        config["annotations"] = json!({ "org.example.x": "", "io.unknown": "y" });
    }));
    assert_eq!(output.success().stdout, "here\n");
    sandbox.finish();
}

#[test]
fn root_labels_without_a_security_module_are_errors() {
    needs!(require::root());
    if fs::exists("/sys/fs/selinux/enforce").unwrap() {
        return require::print_skip(
            "root_labels_without_a_security_module_are_errors",
            "this host has SELinux",
        );
    }
    for (pointer, word) in [
        ("/process/selinuxLabel", "selinux is disabled"),
        ("/linux/mountLabel", "selinux is disabled"),
        ("/process/apparmorProfile", "unable to apply apparmor profile no-such-profile"),
    ] {
        let sandbox = Sandbox::new();
        let output = needs!(inside(&sandbox, "true", |config| {
            let (object, key) = pointer[1..].split_once('/').unwrap();
            config[object][key] = json!("no-such-profile");
        }))
        .exits(1);
        assert!(output.stderr.contains(word), "{output}");
        sandbox.finish();
    }
}

#[test]
fn root_a_sysctl_of_a_namespace_that_is_the_hosts_is_refused() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let before = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let output = needs!(inside(&sandbox, "true", |config| {
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_unprivileged_port_start": "7" });
        let own = json!({ "type": "network", "path": format!("/proc/{}/ns/net", std::process::id()) });
        config["linux"]["namespaces"][1] = own;
    }))
    .exits(1);
    assert!(output.stderr.contains("not allowed in host net namespace"), "{output}");
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap(), before);
    sandbox.finish();
}

#[test]
fn root_resource_control_that_is_not_there_is_an_error() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    if fs::read_to_string("/proc/self/mountinfo").expect("mountinfo").contains(" - resctrl ") {
        conex_testkit::skip!("this host has resctrl; what happens then is tested beside the code");
    }
    let rdt = json!({ "closID": "group", "l3CacheSchema": "L3:0=f" });
    let output = needs!(inside(&sandbox, "true", |config| config["linux"]["intelRdt"] = rdt)).exits(1);
    assert!(output.stderr.contains("mount -t resctrl resctrl /sys/fs/resctrl"), "{output}");
    sandbox.finish();
}

#[test]
fn root_groups_of_the_caller_are_kept_if_that_is_asked() {
    needs!(require::root());
    needs!(require::program("setpriv"));
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["id", "-G"]));
    for (asked, groups) in [("1", "0 4242"), ("0", "0 77")] {
        bundle.change(|config| {
            config["annotations"] = json!({ "run.oci.keep_original_groups": asked });
            config["process"]["user"]["additionalGids"] = json!([77]);
        });
        let mut caller = sandbox.command("setpriv");
        caller.arg("--groups=4242").arg(sandbox.programs().join("conex-runtime"));
        caller.arg("--root").arg(sandbox.path("run/runtime")).args(["run", &sandbox.id("a")]);
        assert_eq!(caller.run().success().stdout.trim(), groups, "asked with {asked}");
    }
    sandbox.finish();
}
