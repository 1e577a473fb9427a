// SPDX-License-Identifier: Apache-2.0
//! config.md, "POSIX-platform Hooks", and runtime.md, "Lifecycle": what a failing, slow or orphaned hook means.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use conex_testkit::bundle::Bundle;
use conex_testkit::run::poll;
use conex_testkit::{Run, Sandbox, needs, require};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(60);

fn hook(script: &str) -> Value {
    json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }])
}

/// A bundle whose poststop hook leaves a note, and the note.
fn bundle(
    sandbox: &Sandbox,
    words: &[&str],
    moment: &str,
    script: &str,
) -> require::Requirement<(Bundle, PathBuf)> {
    let note = sandbox.path("poststop");
    let mut bundle = Bundle::create(&sandbox.work(), words)?;
    bundle.change(|config| {
        let poststop = hook(&format!("cat > {}", note.display()));
        config["hooks"] = json!({ moment: hook(script), "poststop": poststop });
    });
    Ok((bundle, note))
}

#[test]
fn root_a_hook_of_the_start_that_fails_ends_the_container() {
    needs!(require::root());
    for moment in ["startContainer", "poststart"] {
        let sandbox = Sandbox::new();
        let (bundle, note) = needs!(bundle(&sandbox, &["touch", "/ran"], moment, "echo no luck; exit 9"));
        let (a, b) = (sandbox.id("a"), sandbox.id("b"));
        let message = format!("{moment} hook #0: /bin/sh: exit status 9, output: no luck");
        sandbox.runtime(["create", &a]).run().success();
        for words in [["start", &a], ["run", &b]] {
            let output = sandbox.runtime(words).run().exits(1);
            assert!(output.stderr.contains(&message), "{output}");
            // Stopped, destroyed, and only then told so.
            let gone = sandbox.runtime(["state", words[1]]).run().exits(1);
            assert!(gone.stderr.contains("does not exist"), "{gone}");
            let state: Value = serde_json::from_slice(&fs::read(&note).unwrap()).unwrap();
            assert_eq!((&state["status"], &state["id"]), (&json!("stopped"), &json!(words[1])));
        }
        let ran = bundle.path.join("rootfs/ran").exists();
        assert_eq!(
            ran,
            moment == "poststart",
            "the program runs before poststart hooks and after the others"
        );
        sandbox.finish();
    }
}

#[test]
fn root_a_program_that_cannot_be_executed_has_no_poststart() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mark = sandbox.path("poststart");
    let script = format!("touch {}", mark.display());
    let (bundle, _) = needs!(bundle(&sandbox, &["/broken"], "poststart", &script));
    let broken = bundle.path.join("rootfs/broken");
    fs::write(&broken, "\x7fELF but not really").unwrap();
    fs::set_permissions(&broken, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = sandbox.runtime(["run", &sandbox.id("a")]).run().fails();
    assert!(output.stderr.contains("exec /broken: exec format error"), "{output}");
    assert!(!mark.exists(), "poststart hooks come after the program was executed");
    sandbox.finish();
}

#[test]
fn root_a_failing_poststop_hook_is_a_warning_and_the_next_one_runs() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let (mut bundle, note) = needs!(bundle(&sandbox, &["true"], "poststart", "true"));
    bundle.change(|config| {
        config["hooks"]["poststop"].as_array_mut().unwrap().insert(0, hook("exit 7")[0].clone());
    });
    let output = sandbox.runtime(["run", &sandbox.id("a")]).run().success();
    assert!(output.stderr.contains("poststop hook #0: /bin/sh: exit status 7"), "{output}");
    assert!(note.exists());
    sandbox.finish();
}

#[test]
fn root_a_hook_does_not_outlive_the_create_that_called_it() {
    needs!(require::root());
    for moment in ["createRuntime", "createContainer"] {
        let sandbox = Sandbox::new();
        let pid = sandbox.path("pid");
        // A hook in the container's pid namespace does not know its number on the host.
        let script = format!("exec 9>{}; flock 9; exec sleep 1000", pid.display());
        let (_, note) = needs!(bundle(&sandbox, &["true"], moment, &script));
        needs!(require::program("flock"));
        let id = sandbox.id("a");
        let mut create = sandbox.runtime(["create", &id]);
        let mut create = create.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let held = || fs::File::open(&pid).ok().filter(|file| file.try_lock().is_err());
        let lock = poll(LONG, held).expect("the hook runs");
        create.kill().unwrap();
        create.wait().unwrap();
        poll(LONG, || lock.try_lock().ok()).expect("the hook is gone, and its lock with it");
        sandbox.runtime(["delete", "--force", &id]).run().success();
        assert!(note.exists(), "poststop hooks clean up after a create that was killed");
        sandbox.finish();
    }
}

#[test]
fn root_a_hook_whose_time_is_over_fails_the_create() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let (mut bundle, note) = needs!(bundle(&sandbox, &["true"], "createContainer", "sleep 1000"));
    bundle.change(|config| config["hooks"]["createContainer"][0]["timeout"] = json!(1));
    let output = sandbox.runtime(["create", &sandbox.id("a")]).run().exits(1);
    assert!(
        output.stderr.contains("createContainer hook #0: /bin/sh: timed out after 1 s, killed"),
        "{output}"
    );
    assert!(note.exists());
    sandbox.finish();
}

/// As runc has it, and libraries that are linked into a root filesystem depend on it: a createContainer hook stands in
/// the root filesystem, a startContainer hook has the variables of the process, home included.
#[test]
fn root_hooks_stand_and_are_equipped_as_their_moment_has_it() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sh", "-c", "cat /place /variables; env"]));
    bundle.change(|config| {
        config["process"]["env"] = json!(["HOME=/a", "ONE=1", "PATH=/bin", "ONE=2", "HOME="]);
        let start = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo $ONE $HOME > /variables"] }]);
        config["hooks"] = json!({ "createContainer": hook("pwd > place"), "startContainer": start });
    });
    let output = sandbox.runtime(["run", &sandbox.id("a")]).run().success().stdout;
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines[..2], [bundle.path.join("rootfs").to_str().unwrap(), "2 /root"], "{output}");
    let variables =
        |name: &str| lines.iter().filter(|line| line.starts_with(name)).copied().collect::<Vec<_>>();
    assert_eq!((variables("ONE="), variables("HOME=")), (vec!["ONE=2"], vec!["HOME=/root"]));
    sandbox.finish();
}
