// SPDX-License-Identifier: Apache-2.0
//! What a container and its image must not reach: the caller's descriptors, the runtime's own file, the host behind
//! links and false devices, the state of other containers. Each test is named by what would go wrong.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use conex_testkit::bundle::Bundle;
use conex_testkit::{Run, Sandbox, needs, require};
use serde_json::{Value, json};

/// A bundle that runs a line of shell, with a sandbox around it.
fn scene(line: &str) -> Result<(Sandbox, Bundle, String), String> {
    require::root()?;
    let sandbox = Sandbox::new();
    let id = sandbox.id("c");
    let mut bundle = Bundle::create(&sandbox.path("work/bundle"), &["/bin/sh", "-c", line])?;
    bundle.change(|config| config["linux"]["cgroupsPath"] = format!("/{id}").into());
    Ok((sandbox, bundle, id))
}

fn run(sandbox: &Sandbox, bundle: &Bundle, id: &str) -> Command {
    let mut command = sandbox.runtime(["run", "--bundle"]);
    command.arg(&bundle.path).arg(id);
    command
}

fn without_mount(config: &mut Value, destination: &str) {
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with(destination));
}

/// Everything about a file that an attack would change, the time of the last change of its attributes included.
/// Not the time of its inode: other tests have links to the same file.
fn fingerprint(path: &Path) -> (Vec<u8>, u32, i64, i64) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let bytes = if metadata.is_file() { fs::read(path).unwrap() } else { Vec::new() };
    (bytes, metadata.mode(), metadata.mtime(), metadata.mtime_nsec())
}

/// A file of the host, beside the root filesystem, and how an image would spell it.
fn victim(sandbox: &Sandbox) -> std::path::PathBuf {
    let path = sandbox.path("work/victim");
    fs::write(&path, "SECRET").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn root_only_the_descriptors_that_were_asked_for_arrive() {
    let (sandbox, bundle, id) = needs!(scene("for fd in /proc/self/fd/*; do echo ${fd##*/}; done; cat <&3"));
    let passing = |flag: &str| {
        let line = format!(
            "exec \"$0\" --root \"$1\" run {flag} --bundle \"$2\" \"$3\" 3</etc/hostname 4</etc/passwd 9</"
        );
        let mut shell = sandbox.command("sh");
        shell.args(["-c", &line]).arg(sandbox.programs().join("conex-runtime"));
        shell.arg(sandbox.path("run/runtime")).arg(&bundle.path).arg(&id);
        shell.run()
    };
    // The shell's own descriptor of the directory it lists is the one number more.
    let open = |output: &str| output.lines().filter(|line| line.parse::<u32>().is_ok()).count();
    let closed = passing("").fails();
    assert_eq!(open(&closed.stdout), 4, "{closed}");
    let kept = passing("--preserve-fds 2").success();
    assert_eq!(open(&kept.stdout), 6, "{kept}");
    assert!(kept.stdout.ends_with(&fs::read_to_string("/etc/hostname").unwrap()), "{kept}");
    sandbox.finish();
}

#[test]
fn root_no_descriptor_is_a_way_to_the_host_as_working_directory() {
    let (sandbox, mut bundle, id) = needs!(scene("pwd; ls"));
    for number in 3..16 {
        for process in ["self", "thread-self", "1"] {
            bundle.change(|config| config["process"]["cwd"] = format!("/proc/{process}/fd/{number}").into());
            run(&sandbox, &bundle, &id).run().fails();
        }
    }
    sandbox.finish();
}

#[test]
fn root_the_runtime_cannot_be_overwritten_from_inside() {
    // Writes into every process that comes along, as CVE-2019-5736 does.
    let (sandbox, bundle, id) =
        needs!(scene("while :; do for exe in /proc/[0-9]*/exe; do echo x >$exe; done; done 2>/dev/null"));
    let program = sandbox.programs().join("conex-runtime");
    let before = fingerprint(&program);
    let pid_file = sandbox.path("work/pid");
    sandbox
        .runtime(["create", "--bundle"])
        .arg(&bundle.path)
        .arg("--pid-file")
        .arg(&pid_file)
        .arg(&id)
        .run()
        .success();
    let waiting = Path::new("/proc").join(fs::read_to_string(&pid_file).unwrap()).join("exe");
    let runs_from = fs::read_link(waiting).unwrap();
    // The root of a read-only mount that is nowhere attached, or a copy in memory.
    let apart =
        runs_from == Path::new("/") || runs_from.to_string_lossy().starts_with("/memfd:conex-runtime");
    assert!(apart, "init runs from {}", runs_from.display());
    sandbox.runtime(["start", &id]).run().success();
    for _ in 0..30 {
        sandbox.runtime(["exec", &id, "true"]).run().success();
    }
    assert!(fingerprint(&program) == before, "{} was changed", program.display());
    sandbox.runtime(["delete", "--force", &id]).run().success();
    sandbox.finish();
}

#[test]
fn root_links_of_the_image_lead_nowhere() {
    let (sandbox, mut bundle, id) = needs!(scene("true"));
    let victim = victim(&sandbox);
    let (before, beside) = (fingerprint(&victim), fs::read_dir(sandbox.work()).unwrap().count());
    let up = "../".repeat(20);
    let outside = format!("{up}{}", victim.display());
    let directory = format!("{up}{}", sandbox.work().display());
    let plain = bundle.config.clone();
    type Change = fn(&mut Value);
    let cases: [(&str, &str, Change); 6] = [
        ("dev", &directory, |config| without_mount(config, "/dev")),
        ("dev/console", &outside, |config| without_mount(config, "/dev")),
        ("dev/null", &outside, |config| without_mount(config, "/dev")),
        ("dev/ptmx", &outside, |config| without_mount(config, "/dev")),
        ("sys", &directory, |_| ()),
        ("volume", &directory, |config| {
            let mount = json!({"destination": "/volume/made", "type": "tmpfs", "source": "tmpfs"});
            config["mounts"].as_array_mut().unwrap().push(mount);
        }),
    ];
    for (name, target, change) in cases {
        let link = bundle.path.join("rootfs").join(name);
        let _ = fs::remove_dir_all(&link).or_else(|_| fs::remove_file(&link));
        symlink(target, &link).unwrap();
        bundle.config = plain.clone();
        bundle.change(change);
        // Refused or contained: both will do.
        run(&sandbox, &bundle, &id).run();
        assert!(fingerprint(&victim) == before, "{name} -> {target}: the victim was touched");
        assert_eq!(
            fs::read_dir(sandbox.work()).unwrap().count(),
            beside,
            "{name} -> {target}: something was made"
        );
        let _ = fs::remove_file(&link).or_else(|_| fs::remove_dir_all(&link));
        fs::create_dir_all(bundle.path.join("rootfs/dev")).unwrap();
        fs::create_dir_all(bundle.path.join("rootfs/sys")).unwrap();
    }
    let proc = bundle.path.join("rootfs/proc");
    fs::remove_dir(&proc).unwrap();
    symlink("tmp", &proc).unwrap();
    run(&sandbox, &bundle, &id).run().fails().says("must be mounted on ordinary directory");
    sandbox.finish();
}

#[test]
fn root_a_false_null_device_does_not_unmask() {
    let (sandbox, mut bundle, id) = needs!(scene("cat /etc/motd /proc/keys; echo x >/etc/motd; ls -A /root"));
    let rootfs = bundle.path.join("rootfs");
    fs::write(rootfs.join("etc/motd"), "to be hidden\n").unwrap();
    fs::write(rootfs.join("root/hidden"), "").unwrap();
    fs::write(rootfs.join("dev/null"), "not a device").unwrap();
    bundle.change(|config| {
        without_mount(config, "/dev");
        config["linux"]["maskedPaths"] = json!(["/etc/motd", "/root", "/proc/keys", "/not/there"]);
    });
    let output = sandbox.runtime(["run", "--bundle"]).arg(&bundle.path).arg(&id).run();
    assert_eq!(output.stdout, "", "{output}");
    assert_eq!(fs::read_to_string(rootfs.join("etc/motd")).unwrap(), "to be hidden\n");
    sandbox.finish();
}

#[test]
fn root_a_huge_passwd_is_not_read_into_memory() {
    let (sandbox, mut bundle, id) = needs!(scene("echo $HOME"));
    let passwd = fs::File::create(bundle.path.join("rootfs/etc/passwd")).unwrap();
    passwd.set_len(64 << 30).unwrap();
    bundle.change(|config| {
        config["process"]["env"] = json!(["PATH=/bin"]);
        config["linux"]["resources"] = json!({"memory": {"limit": 64 << 20}});
    });
    let output = run(&sandbox, &bundle, &id).run().success();
    assert_eq!(output.stdout, "/\n");
    sandbox.finish();
}

#[test]
fn root_capabilities_are_those_that_were_given() {
    let (sandbox, bundle, id) = needs!(scene("sleep 1000"));
    run(&sandbox, &bundle, &id).arg("--detach").run().success();
    let asked = ["grep", "-E", "^(Cap|NoNewPrivs|Groups)", "/proc/self/status"];
    let status = sandbox.runtime(["exec", &id]).args(asked).run().success().stdout;
    // CAP_KILL 5, CAP_NET_BIND_SERVICE 10, CAP_AUDIT_WRITE 29.
    let given = 1_u64 << 5 | 1 << 10 | 1 << 29;
    for (set, bits) in [("CapInh", 0), ("CapPrm", given), ("CapEff", given), ("CapBnd", given), ("CapAmb", 0)]
    {
        assert!(status.contains(&format!("{set}:\t{bits:016x}\n")), "{set}\n{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    let more = sandbox.runtime(["exec", "--cap", "CAP_NET_RAW", &id]).args(asked).run().success().stdout;
    assert!(more.contains("CapInh:\t0000000000000000\n"), "{more}");
    sandbox.runtime(["delete", "--force", &id]).run().success();
    sandbox.finish();
}

#[test]
fn root_state_belongs_to_its_owner_alone() {
    let (sandbox, bundle, id) = needs!(scene("true"));
    sandbox.runtime(["create", "--bundle"]).arg(&bundle.path).arg(&id).run().success();
    let state = sandbox.path("run/runtime");
    let found = sandbox.command("find").arg(&state).args(["-perm", "/077"]).run().success();
    assert_eq!(found.stdout, "", "open to others");
    sandbox.runtime(["start", &id]).run().success();
    sandbox.runtime(["delete", "--force", &id]).run().success();
    sandbox.finish();
}

#[test]
fn root_exec_makes_no_directory() {
    let (sandbox, bundle, id) = needs!(scene("sleep 1000"));
    run(&sandbox, &bundle, &id).arg("--detach").run().success();
    sandbox.runtime(["exec", "--cwd", "/missing", &id, "true"]).run().fails().says("/missing");
    assert!(!bundle.path.join("rootfs/missing").exists());
    sandbox.runtime(["delete", "--force", &id]).run().success();
    sandbox.finish();
}

#[test]
fn root_an_id_is_no_path() {
    let (sandbox, bundle, _) = needs!(scene("true"));
    for id in ["../escaped", "a/b", "", ".", "..", &"x".repeat(1025)] {
        run(&sandbox, &bundle, id).run().fails();
        sandbox.runtime(["delete", "--force", id]).run().fails();
    }
    assert!(!sandbox.path("run/escaped").exists());
    sandbox.finish();
}
