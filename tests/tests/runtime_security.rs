// SPDX-License-Identifier: Apache-2.0
//! What an image or a process in a container must not be able to do to the host, by the ways others were open to.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use conex_testkit::bundle::Bundle;
use conex_testkit::{Run, Sandbox, needs, require};
use serde_json::json;

/// CVE-2019-5736: `/proc/self/exe` as the program, and as a script's interpreter.
#[test]
fn root_a_container_never_gets_hold_of_the_runtimes_own_file() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["/proc/self/exe", "--version"]));
    let program = sandbox.programs().join("conex-runtime");
    let before = fs::read(&program).unwrap();
    // It is a copy of the runtime again; whether that finds its loader in there is another matter.
    sandbox.runtime(["run", &sandbox.id("a")]).run();

    // A dynamic program would be worse off; what counts is which file /proc/<pid>/exe leads to.
    fs::write(bundle.path.join("rootfs/script"), "#!/proc/self/exe --help\n").unwrap();
    std::process::Command::new("chmod").arg("755").arg(bundle.path.join("rootfs/script")).status().unwrap();
    bundle.change(|config| {
        config["process"]["args"] = json!(["/script"]);
        config["process"]["capabilities"] = json!({ "bounding": ["CAP_SYS_PTRACE"], "effective": ["CAP_SYS_PTRACE"], "permitted": ["CAP_SYS_PTRACE"] });
    });
    sandbox.runtime(["run", &sandbox.id("b")]).run();

    // From beside: a process that tries to open and truncate every other's executable, while exec comes and goes.
    bundle.change(|config| {
        let attack =
            "while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] || true > $p/exe; done; done 2>/dev/null";
        config["process"]["args"] = json!(["sh", "-c", attack]);
    });
    let id = sandbox.id("c");
    sandbox.runtime(["run", "-d", &id]).run().success();
    for _ in 0..50 {
        sandbox.runtime(["exec", &id, "true"]).run().success();
    }
    sandbox.runtime(["delete", "-f", &id]).run().success();
    assert_eq!(fs::read(&program).unwrap(), before);
    sandbox.finish();
}

/// CVE-2024-21626: a working directory that is a leaked descriptor of the host.
#[test]
fn root_no_descriptor_is_a_way_out_through_the_working_directory() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["pwd"]));
    for number in 3..16 {
        for at in ["/proc/self/fd", "/proc/thread-self/fd", "/proc/1/fd"] {
            bundle.change(|config| config["process"]["cwd"] = json!(format!("{at}/{number}")));
            let output = sandbox.runtime(["run", &sandbox.id("a")]).run();
            assert_eq!(output.code(), 1, "{at}/{number}: {output}");
        }
    }
    bundle.change(|config| {
        config["process"]["cwd"] = json!("/");
        config["process"]["args"] = json!(["sleep", "1000"]);
    });
    let id = sandbox.id("b");
    sandbox.runtime(["run", "-d", &id]).run().success();
    for number in 3..16 {
        let cwd = format!("/proc/self/fd/{number}");
        sandbox.runtime(["exec", "--cwd", &cwd, &id, "pwd"]).run().exits(255);
    }
    sandbox.runtime(["delete", "-f", &id]).run().success();
    sandbox.finish();
}

/// Images whose /dev, /dev/null, /dev/console, /proc or mount targets are links that lead out.
#[test]
fn root_links_of_an_image_lead_nowhere_but_into_its_root() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let victim = sandbox.path("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("null"), "precious").unwrap();
    let look = || {
        let mut names: Vec<_> = fs::read_dir(&victim)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        (names, fs::read(victim.join("null")).unwrap())
    };
    let untouched = look();

    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["ls", "-l", "/dev/null"]));
    let rootfs = bundle.path.join("rootfs");
    let replace = |name: &str, target: &Path| {
        let place = rootfs.join(name);
        let _ = fs::remove_dir_all(&place);
        let _ = fs::remove_file(&place);
        symlink(target, place).unwrap();
    };
    let up: std::path::PathBuf = ["..", "..", "..", ".."]
        .iter()
        .collect::<std::path::PathBuf>()
        .join(victim.strip_prefix("/").unwrap());
    let without_dev = |config: &mut serde_json::Value| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    };
    // /dev of the image, with devices made in it.
    for target in [victim.as_path(), up.as_path()] {
        replace("dev", target);
        bundle.change(without_dev);
        sandbox.runtime(["run", &sandbox.id("a")]).run();
        assert_eq!(look(), untouched, "/dev -> {target:?}");
        let _ = fs::remove_dir_all(rootfs.join(victim.strip_prefix("/").unwrap()));
    }
    // A tmpfs on it.
    bundle.config = conex_testkit::bundle::config(&["ls", "-l", "/dev/null"]);
    bundle.write();
    sandbox.runtime(["run", &sandbox.id("b")]).run();
    assert_eq!(look(), untouched);

    fs::remove_file(rootfs.join("dev")).unwrap();
    fs::create_dir(rootfs.join("dev")).unwrap();
    for name in ["dev/null", "dev/console", "dev/ptmx"] {
        replace(name, &victim.join("null"));
    }
    bundle.change(|config| {
        without_dev(config);
        config["mounts"].as_array_mut().unwrap().push(
            json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"] }),
        );
        config["process"]["terminal"] = json!(true);
    });
    sandbox.runtime(["run", &sandbox.id("c")]).run();
    assert_eq!(look(), untouched, "links in /dev");

    bundle.config = conex_testkit::bundle::config(&["true"]);
    bundle.write();
    for name in ["proc", "sys"] {
        let place = rootfs.join(name);
        fs::remove_dir_all(&place).ok();
        symlink("/tmp", &place).unwrap();
        let refused = sandbox.runtime(["run", &sandbox.id("d")]).run().exits(1);
        assert!(
            refused.stderr.contains("must be mounted on ordinary directory, not a symbolic link"),
            "{refused}"
        );
        fs::remove_file(&place).unwrap();
        fs::create_dir(&place).unwrap();
    }

    symlink(&victim, rootfs.join("out")).unwrap();
    bundle.change(|config| {
        let source = sandbox.path("data").display().to_string();
        let bind =
            json!({ "destination": "/out/new", "source": source, "type": "bind", "options": ["bind"] });
        config["mounts"].as_array_mut().unwrap().push(bind);
    });
    sandbox.runtime(["run", &sandbox.id("e")]).run();
    assert_eq!(look(), untouched, "a mount target behind a link");
    sandbox.finish();
}

/// CVE-2025-31133 and its kin: a mask must not depend on the image's /dev/null.
#[test]
fn root_a_replaced_null_device_masks_all_the_same() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(
        &sandbox.work(),
        &["sh", "-c", "cat /proc/keys; echo x > /proc/keys; echo $?"]
    ));
    bundle.change(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        mounts.push(json!({ "destination": "/dev", "source": "dev", "type": "bind", "options": ["rbind"] }));
    });
    fs::create_dir(bundle.path.join("dev")).unwrap();
    symlink("/proc/sys/kernel/core_pattern", bundle.path.join("dev/null")).unwrap();
    let output = sandbox.runtime(["run", &sandbox.id("a")]).run();
    assert_eq!(output.stdout, "1\n", "empty and read-only: {output}");
    sandbox.finish();
}

#[test]
fn root_a_mount_into_proc_is_refused() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["true"]));
    symlink("/proc/sys", bundle.path.join("rootfs/innocent")).unwrap();
    for destination in ["/proc/self/attr", "/proc/sys/kernel", "/innocent/kernel", "/proc/../proc/sys"] {
        bundle.config = conex_testkit::bundle::config(&["true"]);
        bundle.change(|config| {
            let mount =
                json!({ "destination": destination, "source": "tmpfs", "type": "tmpfs", "options": [] });
            config["mounts"].as_array_mut().unwrap().push(mount);
        });
        sandbox.runtime(["run", &sandbox.id("a")]).run().exits(1).says("inside /proc");
    }
    sandbox.finish();
}

/// Without pivot_root the host's mounts are still in the namespace. A procfs among them that nothing covers would
/// entitle a user namespace made inside to one of its own, with no path masked.
#[test]
fn root_without_pivot_root_no_bare_procfs_is_left() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mount = "unshare --map-root-user --mount --pid --fork mount -t proc none /proc 2>&1; echo $?";
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", mount]));
    bundle.change(|config| {
        for set in ["bounding", "permitted", "effective"] {
            config["process"]["capabilities"][set] = json!(["CAP_SETFCAP", "CAP_SETUID", "CAP_SETGID"]);
        }
        config["linux"]["maskedPaths"] = json!(["/proc/keys"]);
    });
    for flags in [&["run"][..], &["run", "--no-pivot"]] {
        let output = sandbox.runtime(flags.iter().copied().chain([sandbox.id("a").as_str()])).run().success();
        assert!(output.stdout.ends_with("\n1\n") && output.stdout.contains("denied"), "{output}");
    }
    sandbox.finish();
}
