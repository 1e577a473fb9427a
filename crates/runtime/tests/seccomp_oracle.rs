// SPDX-License-Identifier: Apache-2.0
//! The profiles that containers of the world run under, as their engines hand them to a runtime: compiled here and by
//! libseccomp, both programs give the same answer to every call. An engine is started, and asked for its profile; none
//! is copied.
#![expect(clippy::unwrap_used, reason = "a test that cannot read what an engine wrote has failed")]
#![expect(clippy::disallowed_methods, reason = "files of the host and of the test's own")]

#[path = "oracle/classic_bpf.rs"]
mod classic_bpf;
#[path = "oracle/libseccomp.rs"]
mod libseccomp;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use classic_bpf::{Data, run};
use conex_runtime::seccomp::compile;
use conex_spec::runtime::{Operator, Seccomp, SyscallArg};
use conex_testkit::containerd::Containerd;
use conex_testkit::dockerd::{Dockerd, Setup};
use conex_testkit::{Run, Sandbox, binaries, needs, require};
use libseccomp::libseccomps;
use serde_json::Value;

const ENOSYS: u32 = 0x0005_0000 | 38;
const X32_BIT: u32 = 0x4000_0000;

/// `AUDIT_ARCH_*`, the first number, and how many bits of an argument the kernel gives.
const CALLERS: [(&str, u32, u32, u64); 4] = [
    ("x86-64", 0xc000_003e, 0, u64::MAX),
    ("x86", 0x4000_0003, 0, 0xffff_ffff),
    // libseccomp looks at no more of x32's.
    ("x32", 0xc000_003e, X32_BIT, 0xffff_ffff),
    ("arm", 0x4000_0028, 0, 0xffff_ffff),
];

/// Every number of today, and some way beyond; the numbers of the old x32 ioctl and its kin lie at 512.
const NUMBERS: u32 = 700;

/// Compares both programs for every number and for arguments around every value that a rule of the profile names.
fn compare(name: &str, profile: &Value) {
    let (theirs, unknown) = match libseccomps(profile) {
        Ok(answer) => answer,
        Err(reason) => return require::print_skip(name, &reason),
    };
    let mut profile: Seccomp = serde_json::from_value(profile.clone()).unwrap();
    // What libseccomp is too old for is nothing to compare.
    for rule in &mut profile.syscalls {
        rule.names.retain(|name| !unknown.contains(name));
    }
    profile.syscalls.retain(|rule| !rule.names.is_empty());
    let ours = compile(&profile).unwrap().program;
    let arguments = edges(&profile);
    let (mut answers, mut cases) = (BTreeSet::new(), 0);
    for (caller, architecture, base, mask) in CALLERS {
        for number in (base..base + NUMBERS).chain([u32::MAX]) {
            for arguments in &arguments {
                let arguments = arguments.map(|argument| argument & mask);
                let data = Data { architecture, number, arguments };
                let (own, other) = (run(&ours, &data), run(&theirs, &data));
                // Calls that are newer than the profile: libseccomp has no notion of them.
                if own != ENOSYS || number & !X32_BIT < 400 {
                    assert_eq!(
                        own, other,
                        "{name}: {caller} {number:#x} {arguments:x?}: {own:#x}, they {other:#x}"
                    );
                }
                answers.insert(other);
                cases += 1;
            }
        }
    }
    assert!(answers.len() > 1 && cases > 50_000, "{name}: {cases} cases compare nothing");
}

/// The values of all comparisons, one more, one less, with other halves, each in its place while the others hold.
fn edges(profile: &Seccomp) -> Vec<[u64; 6]> {
    let mut list = BTreeSet::from([[0; 6], [u64::MAX; 6]]);
    for rule in &profile.syscalls {
        let right =
            |one: &SyscallArg| if one.op == Operator::MaskedEqual { one.value_two } else { one.value };
        let mut base = [0; 6];
        for comparison in &rule.args {
            base[comparison.index as usize] = right(comparison);
        }
        for comparison in &rule.args {
            for value in [comparison.value, comparison.value_two] {
                let near = [value, value.wrapping_add(1), value.wrapping_sub(1)];
                let far = [value ^ 1 << 32, value ^ 1 << 63, !value, value.rotate_left(32)];
                for value in near.into_iter().chain(far) {
                    let mut arguments = base;
                    arguments[comparison.index as usize] = value;
                    list.insert(arguments);
                }
            }
        }
    }
    list.into_iter().collect()
}

#[test]
fn root_dockers_profiles_mean_what_libseccomp_makes_of_them() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let (seen, spy) = (sandbox.path("config.json"), sandbox.path("spy"));
    let script = format!(
        "#!/bin/sh\ntest ! -f config.json || cp config.json {seen}\n\
         for word; do case $last in --bundle) cp $word/config.json {seen};; esac; last=$word; done\n\
         exec {runtime} \"$@\"\n",
        seen = seen.display(),
        runtime = binaries::runtime().display(),
    );
    fs::write(&spy, script).unwrap();
    fs::set_permissions(&spy, fs::Permissions::from_mode(0o755)).unwrap();
    let runtime = format!("--add-runtime=spy={}", spy.display());
    let docker = needs!(Dockerd::start(&sandbox, &Setup { flags: &[&runtime], ..Setup::default() }));
    for flags in [&[][..], &["--cap-add=SYS_ADMIN"], &["--cap-add=ALL"], &["--cap-drop=ALL"]] {
        let mut words = vec!["--runtime=spy"];
        words.extend(flags);
        let output = docker.sh(&words, "grep Seccomp: /proc/self/status").success();
        assert_eq!(output.stdout, "Seccomp:\t2\n");
        let config: Value = serde_json::from_slice(&fs::read(&seen).unwrap()).unwrap();
        compare(&format!("docker {flags:?}"), &config["linux"]["seccomp"]);
        fs::remove_file(&seen).unwrap();
    }
    docker.end();
    sandbox.finish();
}

#[test]
fn root_containerds_profiles_mean_what_libseccomp_makes_of_them() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let containerd = needs!(Containerd::start(&sandbox));
    let rootfs = sandbox.path("rootfs");
    fs::create_dir(&rootfs).unwrap();
    // What a kubelet's RuntimeDefault is, too.
    for (id, flags) in
        [("plain", &[][..]), ("admin", &["--cap-add=CAP_SYS_ADMIN"]), ("all", &["--privileged"])]
    {
        let mut create = containerd.ctr(&["container", "create", "--seccomp"]);
        create.args(flags).arg("--rootfs").arg(&rootfs).args([id, "true"]).run().success();
        let info = containerd.ctr(&["container", "info", id]).run().success().stdout;
        let info: Value = serde_json::from_str(&info).unwrap();
        compare(&format!("containerd {id}"), &info["Spec"]["linux"]["seccomp"]);
        containerd.ctr(&["container", "rm", id]).run().success();
    }
    containerd.end();
    sandbox.finish();
}

#[test]
fn podmans_profile_means_what_libseccomp_makes_of_it() {
    let profile = needs!(conex_testkit::seccomp::podmans_profile());
    compare("podman", &profile);
}
