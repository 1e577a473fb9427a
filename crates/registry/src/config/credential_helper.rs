// SPDX-License-Identifier: Apache-2.0
//! Docker's credential helper protocol: `docker-credential-<name>`, one verb, everything else on stdin and stdout.
//!
//! ```text
//!  get    server                             ──► {"Username": …, "Secret": …}
//!  store  {"ServerURL", "Username", "Secret"}
//!  erase  server
//! ```

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

/// A program that keeps logins: `docker-credential-<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialHelper {
    program: String,
}

impl CredentialHelper {
    /// By the name that auth files give it.
    pub fn named(name: &str) -> Result<Self> {
        if name.contains('/') {
            let message = format!("credential helper {name:?}: a name has no slash");
            return Err(Error::new(ErrorKind::Usage, message));
        }
        Ok(Self { program: format!("docker-credential-{name}") })
    }

    /// The login at `server`. `None`: it knows none.
    pub fn get(&self, server: &str) -> Result<Option<Login>> {
        let Some(answer) = self.run("get", server, PATIENCE)? else { return Ok(None) };
        // Not the parser's words: they may quote the secret.
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|_| self.failed("its answer is not the JSON it should be".to_owned()))?;
        Ok(Some(login_of(&answer.username, &answer.secret)))
    }

    /// Keeps a login.
    pub fn store(&self, server: &str, user: &str, password: &str) -> Result<()> {
        let login = serde_json::json!({ "ServerURL": server, "Username": user, "Secret": password });
        self.run("store", &login.to_string(), PATIENCE).map(|_| ())
    }

    /// Forgets a login. Whether there was one.
    pub fn erase(&self, server: &str) -> Result<bool> {
        Ok(self.run("erase", server, PATIENCE)?.is_some())
    }

    fn failed(&self, what: String) -> Error {
        Error::new(ErrorKind::Denied, format!("credential helper {}: {what}", self.program))
    }

    /// What it answers. `None`: no such login.
    fn run(&self, verb: &str, input: &str, patience: Duration) -> Result<Option<Vec<u8>>> {
        let mut child = Command::new(&self.program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| {
                self.failed(error.to_string()).with_hint("install it, or remove it from credHelpers")
            })?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not read its input is judged by its answer.
            let _closed_early = stdin.write_all(input.as_bytes());
        }
        let (answer, success) = read_answer(&mut child, patience).map_err(|what| self.failed(what))?;
        if success {
            return Ok(Some(answer));
        }
        let said = String::from_utf8_lossy(&answer);
        let unknown = said.contains("credentials not found");
        if unknown { Ok(None) } else { Err(self.failed(printable(&said))) }
    }
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
        return Err(format!("no answer within {} s", patience.as_secs_f32()));
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

    /// A shell script as the helper.
    fn script(directory: &tempfile::TempDir, script: &str) -> CredentialHelper {
        let path = directory.path().join("helper");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        CredentialHelper { program: path.to_str().unwrap().to_owned() }
    }

    fn asked(text: &str) -> Result<Option<Login>> {
        let directory = tempfile::tempdir().unwrap();
        script(&directory, text).get("reg.example")
    }

    #[test]
    fn logins_are_kept_and_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let helper = script(
            &directory,
            r#"cd "$(dirname "$0")"
            case $1 in
              store) cat > kept;;
              get) [ -e kept ] && cat kept || { echo credentials not found; exit 1; };;
              erase) [ "$(cat)" = reg.example ] && rm kept 2>&- || { echo credentials not found; exit 1; };;
            esac"#,
        );
        let login = Login::Basic { user: "me".to_owned(), password: "a\"b".to_owned() };
        helper.store("reg.example", "me", "a\"b").unwrap();
        assert_eq!(helper.get("reg.example").unwrap(), Some(login));
        assert!(helper.erase("reg.example").unwrap());
        assert_eq!(helper.get("reg.example").unwrap(), None);
        assert!(!helper.erase("reg.example").unwrap());
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
            ("exec yes", "longer than"),
            (r#"echo '{"Secret": s3cret'"#, "not the JSON"),
        ] {
            let error = asked(script).unwrap_err();
            assert!(
                error.to_string().contains(part) && !error.to_string().contains("s3cret"),
                "{script}: {error}"
            );
        }
        let missing = CredentialHelper::named("no-such-helper").unwrap();
        assert!(missing.get("x").unwrap_err().hint().unwrap().contains("credHelpers"));
        assert!(CredentialHelper::named("../x").is_err());
        let directory = tempfile::tempdir().unwrap();
        let slow = script(&directory, "exec sleep 60");
        let error = slow.run("get", "x", Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("no answer within"), "{error}");
    }
}
