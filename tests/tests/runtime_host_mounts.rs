// SPDX-License-Identifier: Apache-2.0
//! Containers without a mount namespace: their mounts are the host's, below their root filesystem and nowhere else,
//! and `delete` takes away just those.

use std::fs;
use std::path::Path;
use std::process::Command;

use conex_testkit::bundle::Bundle;
use conex_testkit::{Run, Sandbox, needs, require};
use serde_json::json;

/// The default bundle without the namespace, and with a volume.
fn bundle(sandbox: &Sandbox, words: &[&str]) -> require::Requirement<Bundle> {
    let mut bundle = Bundle::create(&sandbox.work(), words)?;
    fs::create_dir_all(sandbox.path("volume/sub")).expect("make a directory");
    bundle.change(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("a list");
        namespaces.retain(|one| one["type"] != "mount");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
        let bind = json!({ "destination": "/data", "type": "bind", "options": ["rbind"],
                           "source": sandbox.path("volume") });
        // On top of a volume that is a peer of the host's.
        let deep = json!({ "destination": "/data/sub", "type": "tmpfs", "source": "tmpfs" });
        config["mounts"].as_array_mut().expect("a list").extend([bind, deep]);
    });
    Ok(bundle)
}

/// Mounts of the host: number, parent, point, options, tags. Other tests' come and go meanwhile.
fn mounts(sandbox: &Sandbox) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("read mountinfo");
    let own = |line: &&str| line.contains(sandbox.tag()) || !line.contains("conex");
    table.lines().filter(own).map(str::to_owned).collect()
}

fn pid(sandbox: &Sandbox, id: &str) -> String {
    let state: serde_json::Value =
        serde_json::from_str(&sandbox.runtime(["state", id]).run().success().stdout).expect("state is JSON");
    state["pid"].to_string()
}

fn mount(words: &[&str], at: &Path) {
    assert!(Command::new("mount").args(words).arg(at).status().expect("start mount").success());
}

#[test]
fn root_a_container_in_the_hosts_mount_namespace_lives_below_its_root_and_leaves_nothing() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let id = &sandbox.id("a");
    let rootfs = needs!(bundle(&sandbox, &["sleep", "1000"])).path.join("rootfs");
    // A volume that is shared, on a file system of its own: its peers would get what is mounted on it.
    let volume = sandbox.path("volume");
    mount(&["-t", "tmpfs", "tmpfs"], &volume);
    mount(&["--make-shared"], &volume);
    fs::create_dir(volume.join("sub")).unwrap();
    // The image leads away from where it is told to be.
    std::os::unix::fs::symlink("/../../../../etc", rootfs.join("away")).unwrap();
    let before = mounts(&sandbox);

    sandbox.runtime(["run", "-d", id]).run().success();
    let pid = pid(&sandbox, id);
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/mnt")).unwrap();
    assert_eq!(namespace(&pid), namespace("self"));
    let during = mounts(&sandbox);
    assert!(before.iter().all(|line| during.contains(line)), "the host's own are as they were: {during:#?}");
    let point = format!(" {}", rootfs.display());
    let added: Vec<_> = during.iter().filter(|line| !before.contains(line)).collect();
    assert!(added.len() > 8, "{added:#?}");
    for line in &added {
        assert!(line.contains(&point) && !line.contains("shared:"), "{line}");
    }

    let script = "pwd; ls -d /bin /work 2>/dev/null; echo y > /data/sub/file; cat /data/sub/file";
    let inside = sandbox.runtime(["exec", id, "sh", "-c", script]).run().success();
    assert_eq!(inside.stdout, "/\n/bin\ny\n", "{inside}");
    let root = |of: &str| fs::read_link(format!("/proc/{of}/root")).unwrap();
    assert_eq!(root(&pid), rootfs);
    assert!(fs::read_dir(volume.join("sub")).unwrap().next().is_none(), "the volume has no mount on it");

    let list = json!([{ "destination": "/away/late", "type": "tmpfs", "source": "tmpfs" }]);
    fs::write(sandbox.path("mounts.json"), list.to_string()).unwrap();
    let file = sandbox.path("mounts.json").display().to_string();
    sandbox.runtime(["mounts", "add", id, &file]).run().success();
    assert!(!Path::new("/etc/late").exists(), "links of the image lead nowhere");
    let late = format!(" {}/etc/late ", rootfs.display());
    assert!(mounts(&sandbox).iter().any(|line| line.contains(&late)));
    let live = sandbox.runtime(["state", "--live", id]).run().success();
    assert!(!live.stdout.contains("\"agrees\": false"), "{live}");

    sandbox.runtime(["delete", "--force", id]).run().success();
    assert_eq!(mounts(&sandbox), before);
    assert!(rootfs.join("bin").exists());
    assert!(Command::new("umount").arg(&volume).status().unwrap().success());
    sandbox.finish();
}

#[test]
fn root_the_tree_goes_with_what_covers_it_and_nobody_elses_goes() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let rootfs = needs!(bundle(&sandbox, &["sleep", "1000"])).path.join("rootfs");
    // What the caller has mounted there himself stays.
    mount(&["--bind", rootfs.to_str().unwrap()], &rootfs);
    // What is bound onto itself and shared goes with every umount(2) there, by the kernel's own rules.
    mount(&["--make-private"], &rootfs);
    let before = mounts(&sandbox);
    let covered = &sandbox.id("covered");
    sandbox.runtime(["create", covered]).run().success();
    mount(&["-t", "tmpfs", "tmpfs"], &rootfs);
    sandbox.runtime(["start", covered]).run().success();
    sandbox.runtime(["delete", "--force", covered]).run().success();
    assert_eq!(mounts(&sandbox), before);

    let seen = &sandbox.id("elsewhere");
    sandbox.runtime(["create", seen]).run().success();
    let delete = sandbox.runtime(["delete", "--force", seen]);
    let mut unshare = sandbox.command("unshare");
    unshare.arg("--mount").arg(delete.get_program()).args(delete.get_args());
    unshare.run().success().says("was mounted in another mount namespace, mnt:[");
    assert!(Command::new("umount").arg("--lazy").arg(&rootfs).status().unwrap().success());
    assert_eq!(mounts(&sandbox), before, "as the warning said");

    let taken = &sandbox.id("taken");
    sandbox.runtime(["run", "-d", taken]).run().success();
    assert!(Command::new("umount").arg("--lazy").arg(&rootfs).status().unwrap().success());
    mount(&["-t", "tmpfs", "tmpfs"], &rootfs);
    let others = mounts(&sandbox);
    sandbox.runtime(["delete", "--force", taken]).run().success();
    assert_eq!(mounts(&sandbox), others, "the kernel may have given its number again");
    for _ in 0..2 {
        assert!(Command::new("umount").arg(&rootfs).status().unwrap().success());
    }
    sandbox.finish();
}

#[test]
fn root_without_a_mount_namespace_the_root_can_be_readonly_and_errors_leave_nothing() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let script =
        "touch /x 2>/dev/null; echo $?; touch /dev/shm/x; echo $?; grep -c ' / / ' /proc/self/mountinfo";
    let mut bundle = needs!(bundle(&sandbox, &["sh", "-c", script]));
    let before = mounts(&sandbox);
    bundle.change(|config| {
        config["root"]["readonly"] = json!(true);
        config["linux"]["rootfsPropagation"] = json!("rshared");
    });
    let output = sandbox.runtime(["run", "--no-pivot", &sandbox.id("a")]).run();
    assert!(output.stdout.starts_with("1\n0\n"), "{output}");
    assert_eq!(mounts(&sandbox), before);
    bundle.change(|config| config["process"]["args"] = json!(["/missing"]));
    sandbox.runtime(["run", &sandbox.id("b")]).run().fails();
    assert_eq!(mounts(&sandbox), before);
    sandbox.finish();
}
