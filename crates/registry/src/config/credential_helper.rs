// SPDX-License-Identifier: Apache-2.0
//! Docker's credential helper protocol: `docker-credential-<name> get`, the server on stdin, JSON on stdout.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::auth_file::login_of;
use crate::http::printable;
use crate::{Error, ErrorKind, Login, Result};

/// Longest answer that is read.
const ANSWER_CAP: u64 = 64 * 1024;
/// Longest wait for a helper.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks the helper `docker-credential-<helper>` for `server`'s login. `None`: it knows none.
pub fn ask(helper: &str, server: &str) -> Result<Option<Login>> {
    if helper.contains('/') {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("credential helper {helper:?}: a name has no slash"),
        ));
    }
    run(&format!("docker-credential-{helper}"), server, PATIENCE)
}

fn run(program: &str, server: &str, patience: Duration) -> Result<Option<Login>> {
    let fail = |what: String| Error::new(ErrorKind::Denied, format!("credential helper {program}: {what}"));
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| fail(error.to_string()).with_hint("install it, or remove it from credHelpers"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input is judged by its answer.
        let _closed_early = stdin.write_all(server.as_bytes());
    }
    let (answer, success) = read_answer(&mut child, patience).map_err(fail)?;
    if !success {
        let said = String::from_utf8_lossy(&answer);
        let unknown = said.contains("credentials not found");
        return if unknown { Ok(None) } else { Err(fail(printable(&said))) };
    }
    // Not the parser's words: they may quote the secret.
    let answer: Answer = serde_json::from_slice(&answer)
        .map_err(|_| fail("its answer is not the JSON it should be".to_owned()))?;
    Ok(Some(login_of(&answer.username, &answer.secret)))
}

/// Reads stdout in a thread of its own, so that a helper that hangs or talks without end can be ended.
fn read_answer(child: &mut Child, patience: Duration) -> std::result::Result<(Vec<u8>, bool), String> {
    let Some(stdout) = child.stdout.take() else { return Err("no stdout".to_owned()) };
    let reader = std::thread::spawn(move || {
        let mut answer = Vec::new();
        stdout.take(ANSWER_CAP + 1).read_to_end(&mut answer).map(|_| answer)
    });
    let deadline = Instant::now() + patience;
    while !reader.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    let finished = reader.is_finished();
    if !finished {
        end(child);
        return Err(format!("no answer within {} s", patience.as_secs()));
    }
    let answer = reader.join().map_err(|_| "reader died".to_owned())?.map_err(|error| error.to_string())?;
    if answer.len() as u64 > ANSWER_CAP {
        end(child);
        return Err(format!("answer is longer than {ANSWER_CAP} bytes"));
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    Ok((answer, status.success()))
}

fn end(child: &mut Child) {
    // Gone already is as good as killed; either way it is reaped.
    let _gone = child.kill();
    let _reaped = child.wait();
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Asks a shell script.
    fn asked(script: &str) -> Result<Option<Login>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("helper");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        run(path.to_str().unwrap(), "reg.example", Duration::from_secs(2))
    }

    #[test]
    fn the_server_goes_in_and_the_login_comes_out() {
        let script =
            r#"[ "$1" = get ] && echo "{\"ServerURL\":\"x\",\"Username\":\"me\",\"Secret\":\"at $(cat)\"}""#;
        let login = Login::Basic { user: "me".to_owned(), password: "at reg.example".to_owned() };
        assert_eq!(asked(script).unwrap(), Some(login));
        assert_eq!(asked("echo credentials not found in native keychain; exit 1").unwrap(), None);
    }

    #[test]
    fn a_helper_that_misbehaves_is_ended_and_told() {
        for (script, part) in [
            ("echo locked; exit 1", "locked"),
            ("exec sleep 60", "no answer within"),
            ("exec yes", "longer than"),
            (r#"echo '{"Secret": s3cret'"#, "not the JSON"),
        ] {
            let error = asked(script).unwrap_err();
            assert!(
                error.to_string().contains(part) && !error.to_string().contains("s3cret"),
                "{script}: {error}"
            );
        }
        assert!(ask("no-such-helper", "x").unwrap_err().hint().unwrap().contains("credHelpers"));
        assert!(ask("../x", "x").is_err());
    }
}
