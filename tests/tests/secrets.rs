// SPDX-License-Identifier: Apache-2.0
//! Passwords, private keys and passphrases are nowhere but where they must be: not in arguments, the environment, output or a
//! core dump (security classes N07).
#![allow(clippy::unwrap_used, reason = "stories are told outside of the #[test] functions, too")]

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::Duration;

use conex_testkit::server::Registry;
use conex_testkit::{Run, Sandbox, needs, skip};
use rustix::process::{Pid, Signal, kill_process};

const SECRET: &str = "SENTINEL-b7c2e1";
const WAIT: Duration = Duration::from_secs(60);

/// Runs a program that may dump core, its input from a file.
const WITH_CORE: &str = "ulimit -c unlimited; exec \"$@\" < input";

#[test]
fn a_core_has_no_secrets() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.work().join("input"), SECRET).unwrap();
    let start = |words: &[&str]| {
        let mut command = sandbox.command("sh");
        command.current_dir(sandbox.work()).args(["-c", WITH_CORE, "sh"]).args(words).background()
    };
    // Not QUIT: whoever runs the tests in the background may have it ignored.
    let abort = |pid: u32| kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::ABORT).unwrap();
    let mut control = start(&["sleep", "1000"]);
    conex_testkit::run::poll(WAIT, || {
        let name = fs::read_to_string(format!("/proc/{}/comm", control.child.id())).ok()?;
        (name.trim() == "sleep").then_some(())
    })
    .expect("sleep starts");
    abort(control.child.id());
    if !control.wait(WAIT).expect("sleep ends").core_dumped() {
        skip!("this host writes no cores");
    }

    // A registry that takes the connection and says nothing, so that the secret is in memory for long.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let conex = sandbox.programs().join("conex").display().to_string();
    sandbox
        .conex(["image", "generate-key-pair", "--passphrase-file", "input"])
        .current_dir(sandbox.work())
        .run()
        .success();
    let image = format!("docker://{host}/team/app:1");
    for words in [
        &["login", "--username", "somebody", "--password-stdin", &host][..],
        &["image", "sign", "--key", "cosign.key", "--passphrase-file", "input", &image],
    ] {
        let mut asking = start(&[&[conex.as_str()], words].concat());
        let (mut connection, _) = listener.accept().unwrap();
        let mut begin = [0; 16];
        connection.read_exact(&mut begin).unwrap();
        let of =
            |what: &str| fs::read(Path::new("/proc").join(asking.child.id().to_string()).join(what)).unwrap();
        for what in ["cmdline", "environ"] {
            assert!(!String::from_utf8_lossy(&of(what)).contains(SECRET), "{words:?}: {what}");
        }
        abort(asking.child.id());
        let status = asking.wait(WAIT).expect("it ends");
        assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{words:?}: {}", asking.output());
        assert!(!status.core_dumped(), "{words:?}");
        assert!(!asking.output().contains(SECRET), "{words:?}");
    }
    sandbox.finish();
}

/// Whatever goes wrong, and however much is asked to be told.
#[test]
fn output_has_no_secrets() {
    let sandbox = Sandbox::new();
    let users = sandbox.path("htpasswd");
    fs::write(&users, "nobody:$2y$05$abcdefghijklmnopqrstuuJb5gDk0P3A0u3Zb8mYB0ZPQ4dVQy1S6\n").unwrap();
    let auth = format!("auth: {{htpasswd: {{realm: r, path: {}}}}}\n", users.display());
    let registry = needs!(Registry::debian_with(&sandbox, &auth));
    let host = registry.address.clone();
    let work = sandbox.work();
    let encoded = "c29tZWJvZHk6U0VOVElORUwtYjdjMmUx";
    let auths = format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"{encoded}\"}}}}}}");
    fs::write(work.join("auth.json"), auths).unwrap();
    fs::write(work.join("broken.json"), format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"{SECRET}\"}}}}}}"))
        .unwrap();
    fs::write(work.join("secret"), SECRET).unwrap();
    sandbox
        .conex(["image", "generate-key-pair", "--passphrase-file", "secret"])
        .current_dir(&work)
        .run()
        .success();
    let key = fs::read_to_string(work.join("cosign.key")).unwrap();
    fs::write(work.join("cut.key"), &key[..key.len() / 2]).unwrap();
    let image = format!("docker://{host}/team/app:1");
    let login = ["login", "--username", "somebody", "--password-stdin", &host];
    for (words, input) in [
        (&login[..], SECRET),
        (&["copy", "--src-authfile", "auth.json", &image, "dir:out"], ""),
        (&["copy", "--src-authfile", "broken.json", &image, "dir:out"], ""),
        (&["copy", "--src-registry-token", SECRET, &image, "dir:out"], ""),
        (
            &[
                "image",
                "sign",
                "--key",
                "cosign.key",
                "--passphrase-file",
                "secret",
                "--authfile",
                "auth.json",
                &image,
            ],
            "",
        ),
        (&["image", "sign", "--key", "cut.key", "--passphrase-file", "secret", &image], ""),
    ] {
        let mut command = sandbox.conex(words);
        command.current_dir(&work).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
        let said = command.run_with(input.as_bytes(), WAIT).fails();
        for secret in [SECRET, encoded, &key[100..160]] {
            assert!(
                !said.stdout.contains(secret) && !said.stderr.contains(secret),
                "{words:?}: {}",
                said.stderr
            );
        }
    }
    drop(registry);
    sandbox.finish();
}
