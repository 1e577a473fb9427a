// SPDX-License-Identifier: Apache-2.0
//! `mounts add` and `mounts remove`: a container that runs gets and loses mounts, and none of them leads out of it.

use std::fs;
use std::os::unix::fs::{chown, symlink};

use conex_testkit::bundle::Bundle;
use conex_testkit::{Output, Run, Sandbox, needs, require};
use serde_json::{Value, json};

/// A running container of a bundle with two files to bind.
struct Scene {
    sandbox: Sandbox,
    id: String,
}

impl Scene {
    fn start(bundle: &Bundle, sandbox: Sandbox) -> Self {
        fs::create_dir(bundle.path.join("data")).expect("mkdir");
        fs::write(bundle.path.join("data/file"), "of the host\n").expect("write");
        chown(bundle.path.join("data/file"), Some(1234), Some(1234)).expect("chown");
        let id = sandbox.id("c");
        sandbox.runtime(["run", "--detach", &id]).run().success();
        Self { sandbox, id }
    }

    fn mounts(&self, word: &str, list: &Value) -> Output {
        let file = self.sandbox.path("mounts.json");
        fs::write(&file, serde_json::to_vec_pretty(list).expect("JSON")).expect("write");
        self.sandbox.runtime(["mounts", word, &self.id]).arg(file).run()
    }

    fn sh(&self, script: &str) -> String {
        self.sandbox.runtime(["exec", &self.id, "sh", "-c", script]).run().stdout
    }

    fn end(self) {
        self.sandbox.runtime(["delete", "--force", &self.id]).run().success();
        self.sandbox.finish();
    }
}

fn bind(destination: &str, source: &str, options: Value) -> Value {
    json!({ "destination": destination, "source": source, "type": "bind", "options": options })
}

#[test]
fn root_mounts_come_and_go_while_a_container_runs() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    let scene = Scene::start(&bundle, sandbox);
    let mut mapped = bind("/mapped", "data", json!(["bind"]));
    mapped["uidMappings"] = json!([{ "containerID": 1234, "hostID": 77, "size": 1 }]);
    mapped["gidMappings"] = mapped["uidMappings"].clone();
    let list = json!([
        bind("/new/place", "data", json!(["rbind", "ro", "nosuid"])),
        bind("/etc/motd", "data/file", json!(["bind"])),
        { "destination": "/new/memory", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "ro"] },
        mapped,
    ]);
    let before = scene.sh("cat /proc/self/mountinfo");
    scene.mounts("add", &list).success();
    let mounts = scene.sh("awk '{ print $5, $6 }' /proc/self/mountinfo");
    for line in ["/new/place ro,nosuid,relatime", "/etc/motd rw,relatime", "/new/memory ro,relatime"] {
        assert!(mounts.lines().any(|had| had == line), "{line}: {mounts}");
    }
    assert_eq!(scene.sh("cat /new/place/file /etc/motd"), "of the host\nof the host\n");
    assert_eq!(scene.sh("stat -c %u:%g /mapped/file /new/place/file"), "77:77\n1234:1234\n");
    // A proc is that of the container's pid namespace, not the host's.
    scene.mounts("add", &json!([{ "destination": "/proc", "type": "proc", "source": "proc" }])).success();
    assert_eq!(scene.sh("cat /proc/1/comm"), "sleep\n");
    scene.mounts("remove", &json!([{ "destination": "/proc" }])).success();

    let live = |scene: &Scene| scene.sandbox.runtime(["state", "--live", &scene.id]).run().success().stdout;
    assert!(live(&scene).contains("/new/place: bind"), "what was added is looked for");

    scene.mounts("remove", &list).success();
    assert_eq!(scene.sh("cat /proc/self/mountinfo"), before);
    assert!(!live(&scene).contains("/new/place"), "and then no more");
    let twice = scene.mounts("remove", &list).exits(1);
    assert!(twice.stderr.contains("step 1 of 5: unmount /mapped"), "{twice}");
    scene.end();
}

#[test]
fn root_mounts_in_a_user_namespace_are_its_own() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    bundle.change(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    });
    for name in ["new", "memory"] {
        fs::create_dir(bundle.path.join("rootfs").join(name)).unwrap();
    }
    let scene = Scene::start(&bundle, sandbox);
    let list = json!([
        bind("/new", "data", json!(["bind", "ro"])),
        { "destination": "/memory", "type": "tmpfs", "source": "tmpfs" },
    ]);
    scene.mounts("add", &list).success();
    assert_eq!(scene.sh("cat /new/file; stat -c %u /memory"), "of the host\n0\n");
    scene.mounts("remove", &list).success();
    assert_eq!(scene.sh("ls /new"), "");
    scene.end();
}

#[test]
fn root_no_mount_leads_out_of_a_container() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    let canary = sandbox.path("canary");
    fs::create_dir(&canary).unwrap();
    symlink(&canary, bundle.path.join("rootfs/out")).unwrap();
    symlink("../../../../../..", bundle.path.join("rootfs/up")).unwrap();
    let scene = Scene::start(&bundle, sandbox);
    let up = format!("/up{}/up", canary.display());
    scene.mounts("add", &json!([bind("/out/x", "data", json!(["bind"]))])).success();
    scene.mounts("add", &json!([bind(&up, "data", json!(["bind"]))])).success();
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 0, "nothing got out");
    assert!(scene.sh("cat /proc/self/mountinfo").contains("/canary/x "));

    let refused = scene.mounts(
        "add",
        &json!([
            bind("/proc/sys", "data", json!(["bind"])),
            { "destination": "/cg", "type": "cgroup", "source": "cgroup" },
            bind("/x", "data", json!(["bind", "idmap"])),
        ]),
    );
    let refused = refused.exits(1);
    for pointer in ["/0/destination: ", "/1/type: ", "/2: idmap needs"] {
        assert!(refused.stderr.contains(pointer), "{refused}");
    }
    assert_eq!(refused.stderr.matches("mounts.json:").count(), 3, "{refused}");
    scene.mounts("add", &json!([{ "destination": 7 }])).exits(1).says("/0/destination: invalid type");
    scene.mounts("swap", &json!([])).exits(1).says("unknown command");
    scene.sandbox.runtime(["kill", &scene.id, "KILL"]).run().success();
    let ended = || scene.mounts("add", &json!([])).stderr.contains("container not running").then_some(());
    conex_testkit::run::poll(std::time::Duration::from_secs(10), ended).expect("not running");
    scene.end();
}
