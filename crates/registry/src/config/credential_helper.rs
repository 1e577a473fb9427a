// SPDX-License-Identifier: Apache-2.0
//! Docker's credential helper protocol: `docker-credential-<name> get`, the server on stdin, JSON on stdout.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::auth_file::login_of;
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
    let program = format!("docker-credential-{helper}");
    let fail = |what: String| Error::new(ErrorKind::Denied, format!("credential helper {program}: {what}"));
    if helper.contains('/') {
        return Err(fail("a helper's name has no slash".to_owned()));
    }
    let mut child = Command::new(&program)
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
    let (answer, success) = read_answer(&mut child).map_err(fail)?;
    if !success {
        let said = String::from_utf8_lossy(&answer);
        let unknown = said.contains("credentials not found");
        return if unknown { Ok(None) } else { Err(fail(said.trim().chars().take(200).collect())) };
    }
    let answer: Answer = serde_json::from_slice(&answer).map_err(|error| fail(format!("answer: {error}")))?;
    Ok(Some(login_of(&answer.username, &answer.secret)))
}

/// Reads stdout in a thread of its own, so that a helper that hangs or talks without end can be ended.
fn read_answer(child: &mut Child) -> std::result::Result<(Vec<u8>, bool), String> {
    let Some(stdout) = child.stdout.take() else { return Err("no stdout".to_owned()) };
    let reader = std::thread::spawn(move || {
        let mut answer = Vec::new();
        stdout.take(ANSWER_CAP + 1).read_to_end(&mut answer).map(|_| answer)
    });
    let deadline = Instant::now() + PATIENCE;
    while !reader.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    let finished = reader.is_finished();
    if !finished {
        end(child);
        return Err(format!("no answer within {} s", PATIENCE.as_secs()));
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
