// SPDX-License-Identifier: Apache-2.0
//! The profile that podman installs, in a real kernel: what it denies and allows, beside runc with libseccomp.

use std::path::Path;

use conex_testkit::bundle::Bundle;
use conex_testkit::{Run, Sandbox, needs, require, seccomp};
use serde_json::{Value, json};

/// What the probes say inside a container of some runtime.
fn probe(
    sandbox: &Sandbox,
    runtime: &Path,
    profile: &Value,
    no_new_privileges: bool,
) -> require::Requirement<String> {
    let script = "id -u; mount -t tmpfs none /tmp; echo mount $?; chroot / true; echo chroot $?; \
                  unshare -U true; echo unshare $?; mknod /tmp/n c 1 3; echo mknod $?; hostname x; echo hostname $?; \
                  date -s 2000-01-01 >/dev/null; echo date $?; grep -E 'Seccomp:|NoNew' /proc/self/status; \
                  insmod /bin/busybox; echo insmod $?; swapoff /bin/sh; echo swapoff $?; ls / | wc -l";
    let name =
        format!("b{}{}", runtime.file_name().map_or(0, std::ffi::OsStr::len), u8::from(no_new_privileges));
    let mut bundle = Bundle::create(&sandbox.work().join(&name), &["sh", "-c", script])?;
    bundle.change(|config| {
        config["linux"]["seccomp"] = profile.clone();
        config["process"]["noNewPrivileges"] = no_new_privileges.into();
    });
    let mut command = sandbox.command(runtime);
    command.arg("--root").arg(sandbox.path("run").join(&name));
    let output = command.args(["run", "--bundle"]).arg(&bundle.path).arg(sandbox.id(&name)).run().success();
    Ok(format!("{}--- stderr\n{}", output.stdout, output.stderr))
}

#[test]
fn root_podmans_profile_means_the_same_as_with_runc() {
    needs!(require::root());
    let runc = needs!(require::program("runc"));
    let profile = needs!(seccomp::podmans_profile());
    let sandbox = Sandbox::new();
    for no_new_privileges in [true, false] {
        let ours = needs!(probe(&sandbox, conex_testkit::binaries::runtime(), &profile, no_new_privileges));
        let theirs = needs!(probe(&sandbox, &runc, &profile, no_new_privileges));
        assert!(ours.contains("Seccomp:\t2") && ours.contains("mount 1\n"), "{ours}");
        assert_eq!(ours, theirs);
    }
    sandbox.finish();
}

#[test]
fn root_a_profile_from_before_the_newest_calls_lets_programs_start() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    // What a profile written some years ago does not name, and getcwd(2), which none of a runtime's business needs.
    let unknown = [
        "getcwd",
        "clone3",
        "close_range",
        "openat2",
        "faccessat2",
        "epoll_pwait2",
        "mount_setattr",
        "fsopen",
        "fsmount",
        "fsconfig",
        "open_tree",
        "move_mount",
        "pidfd_open",
        "pidfd_send_signal",
        "statx",
        "rseq",
    ];
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{ "names": unknown, "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }] });
    for no_new_privileges in [true, false] {
        let script = "echo started; grep Seccomp: /proc/self/status";
        let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", script]));
        bundle.change(|config| {
            config["linux"]["seccomp"] = profile.clone();
            config["process"]["noNewPrivileges"] = no_new_privileges.into();
            config["process"]["cwd"] = "/tmp".into();
            config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        });
        let output = sandbox.runtime(["run", &sandbox.id("old")]).run().success();
        assert_eq!(output.stdout, "started\nSeccomp:\t2\n", "{output}");
        std::fs::remove_dir_all(bundle.path.join("rootfs")).unwrap();
    }
    sandbox.finish();
}
