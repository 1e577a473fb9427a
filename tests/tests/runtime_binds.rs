// SPDX-License-Identifier: Apache-2.0
//! Bind mounts of what has flags already: what a configuration changes of them, what stays, and what a container with
//! a user namespace cannot take away, as mount_namespaces(7) has it for one that mounts by itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use conex_testkit::bundle::Bundle;
use conex_testkit::{Output, Run, Sandbox, needs, require};
use serde_json::{Value, json};

/// Runs in a mount namespace that has a tmpfs with these flags on the sandbox's `source`.
fn run(sandbox: &Sandbox, flags: &str, id: &str) -> require::Requirement<Output> {
    let unshare = require::program("unshare")?;
    let source = sandbox.path("source");
    let script = "mount -t tmpfs -o strictatime tmpfs \"$1\" && mount -o remount,bind,strictatime \"$1\" && \
                  mount -o remount,bind,\"$2\" \"$1\" && shift 2 && exec \"$@\"";
    let mut command = sandbox.command(unshare);
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(source).arg(flags);
    command.arg(sandbox.programs().join("conex-runtime")).arg("--root").arg(sandbox.path("run/runtime"));
    Ok(command.args(["run", id]).run())
}

fn with_users(config: &mut Value) {
    let linux = &mut config["linux"];
    linux["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    linux["uidMappings"] = json!([{ "containerID": 0, "hostID": 500_000, "size": 65_536 }]);
    linux["gidMappings"] = linux["uidMappings"].clone();
}

/// For flags of the source and words of the configuration: the flags inside, or `None` for a refusal.
fn check(users: bool, cases: &[(&str, &str, Option<&str>)]) -> require::Requirement {
    let sandbox = Sandbox::new();
    let show = ["awk", "$5 == \"/mnt\" { print $6 }", "/proc/self/mountinfo"];
    let mut bundle = Bundle::create(&sandbox.work(), &show)?;
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::create_dir_all(bundle.path.join("rootfs/mnt")).unwrap();
    let mut plain = bundle.config.clone();
    if users {
        with_users(&mut plain);
    }
    for (index, (flags, words, wanted)) in cases.iter().enumerate() {
        bundle.config = plain.clone();
        bundle.change(|config| {
            let words: Vec<_> = words.split(',').collect();
            let bind = json!({ "destination": "/mnt", "source": source, "type": "bind", "options": words });
            config["mounts"].as_array_mut().unwrap().push(bind);
        });
        let output = run(&sandbox, flags, &sandbox.id(&format!("c{index}")))?;
        match wanted {
            Some(wanted) => {
                assert_eq!(output.success().stdout, format!("{wanted}\n"), "{flags} bound with {words}");
            }
            None => {
                let output = output.exits(1);
                let words = "error during container init: error mounting: step ";
                assert!(output.stderr.contains(words), "{output}");
                assert!(output.stderr.contains(": operation not permitted"), "{output}");
            }
        }
    }
    sandbox.finish();
    Ok(())
}

#[test]
fn root_a_bind_that_asks_for_something_gets_that_and_no_more() {
    needs!(require::root());
    needs!(check(
        false,
        &[
            ("ro,noexec,nodiratime", "bind", Some("ro,noexec,nodiratime,relatime")),
            ("ro,noexec", "bind,dev", Some("rw")),
            ("ro", "bind,nosuid,nodev", Some("rw,nosuid,nodev")),
            ("nosuid,nodev,noexec,noatime", "bind,dev,suid,exec,atime", Some("rw,noatime")),
            ("noatime", "bind,relatime", Some("rw,relatime")),
            ("noatime", "bind,nodiratime", Some("rw,nodiratime,relatime")),
            ("nodiratime", "bind,strictatime", Some("rw")),
            ("noatime", "bind,nodiratime,strictatime", Some("rw,nodiratime")),
        ]
    ));
}

#[test]
fn root_a_bind_in_a_user_namespace_keeps_what_the_source_forbids() {
    needs!(require::root());
    needs!(check(
        true,
        &[
            ("ro,noexec", "bind", Some("ro,noexec")),
            ("ro,noexec,nosymfollow", "bind,dev", Some("ro,noexec")),
            ("nosuid,nodev,noexec,noatime", "bind,ro", Some("ro,nosuid,nodev,noexec,noatime")),
            ("nodev", "bind,ro,exec", Some("ro,nodev")),
            ("ro", "bind,rw", None),
            ("nodev", "bind,dev", None),
            ("relatime", "bind,relatime,ro", Some("ro,relatime")),
            ("relatime", "bind,nodiratime", None),
            ("noatime", "bind,strictatime", None),
            ("strictatime", "bind,noatime", None),
            ("noatime,nodiratime", "bind,atime,diratime", Some("rw,noatime,nodiratime")),
        ]
    ));
}

/// As some callers write it: on the host, behind the root filesystem.
#[test]
fn root_a_destination_may_be_named_as_it_is_on_the_host() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["cat", "/data/file"]));
    let source = sandbox.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "here").unwrap();
    let destination = bundle.path.join("rootfs/data");
    bundle.change(|config| {
        let bind =
            json!({ "destination": destination, "source": source, "type": "bind", "options": ["bind"] });
        config["mounts"].as_array_mut().unwrap().push(bind);
    });
    assert_eq!(sandbox.runtime(["run", &sandbox.id("a")]).run().success().stdout, "here");
    sandbox.finish();
}

/// A source inside of the root is there only when what was mounted before it is; the container's own root could not
/// reach it, or has no right to map its ids.
#[test]
fn root_a_mount_of_before_can_be_a_source() {
    needs!(require::root());
    for (users, mapped) in [(false, false), (true, false), (false, true), (true, true)] {
        let sandbox = Sandbox::new();
        let mut bundle = needs!(Bundle::create(&sandbox.work(), &["cat", "/again/deep/file"]));
        let root = bundle.path.join("rootfs");
        for place in ["once/deep", "again"] {
            fs::create_dir_all(root.join(place)).unwrap();
        }
        let source = sandbox.path("closed/source");
        fs::create_dir_all(source.join("deep")).unwrap();
        fs::write(source.join("deep/file"), "under it\n").unwrap();
        fs::create_dir(sandbox.path("closed/over")).unwrap();
        fs::write(sandbox.path("closed/over/file"), "over it\n").unwrap();
        fs::set_permissions(sandbox.path("closed"), PermissionsExt::from_mode(0o700)).unwrap();
        bundle.change(|config| {
            let bind = |from: PathBuf, to: &str, words: &[&str]| {
                json!({ "destination": to, "source": from, "type": "bind", "options": words })
            };
            let words: &[_] = if mapped { &["rbind", "ridmap"] } else { &["rbind"] };
            let mut again = bind(root.join("once"), "/again", words);
            if mapped {
                again["uidMappings"] = json!([{ "containerID": 0, "hostID": 500_000, "size": 65_536 }]);
                again["gidMappings"] = again["uidMappings"].clone();
            }
            config["mounts"].as_array_mut().unwrap().extend([
                bind(source, "/once", &["bind"]),
                bind(sandbox.path("closed/over"), "/once/deep", &["bind"]),
                again,
            ]);
            if users {
                with_users(config);
            }
        });
        let output = sandbox.runtime(["run", &sandbox.id("a")]).run().success();
        assert_eq!(output.stdout, "over it\n", "users {users}, mapped {mapped}");
        sandbox.finish();
    }
}
