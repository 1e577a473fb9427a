// SPDX-License-Identifier: Apache-2.0
//! An ordinary user, with or without a subordinate id range, without touching the host's account files: root
//! starts the program in a private mount namespace in which `/etc/passwd`, `/etc/subuid` and their like are
//! bind mounts of the sandbox's own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use crate::sandbox::Sandbox;

/// Whether the user may map more ids than their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// 65536 ids in `/etc/subuid` and `/etc/subgid`.
    Subordinate,
    /// None.
    Missing,
}

/// An ordinary user in a sandbox; needs root to become them.
#[derive(Debug)]
pub struct User<'a> {
    sandbox: &'a Sandbox,
    pub uid: u32,
}

/// The user's name.
pub const NAME: &str = "conex-test";
const FIRST_SUBORDINATE: u32 = 700_000;

impl Sandbox {
    /// Hands the sandbox's directories to an ordinary user.
    pub fn user(&self, range: Range) -> User<'_> {
        let uid = 64_321;
        self.programs();
        for name in ["home", "data", "run", "cache", "tmp", "work"] {
            own_tree(&self.path(name), uid);
        }
        let accounts = self.path("accounts");
        fs::create_dir_all(&accounts).expect("make a directory");
        let home = self.path("home");
        let line = format!("{NAME}:x:{uid}:{uid}::{}:/bin/sh\n", home.display());
        let with = |host: &str, line: &str| fs::read_to_string(host).unwrap_or_default() + line;
        let range = match range {
            Range::Subordinate => format!("{NAME}:{FIRST_SUBORDINATE}:65536\n"),
            Range::Missing => String::new(),
        };
        for (name, text) in [
            ("passwd", with("/etc/passwd", &line)),
            ("group", with("/etc/group", &format!("{NAME}:x:{uid}:\n"))),
            ("subuid", range.clone()),
            ("subgid", range),
        ] {
            fs::write(accounts.join(name), text).expect("write an account file");
        }
        User { sandbox: self, uid }
    }
}

impl User<'_> {
    /// Any program as this user, in the sandbox's environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        const BECOME: &str = r#"for file in passwd group subuid subgid; do
              [ -e "/etc/$file" ] || continue
              mount --bind "$1/$file" "/etc/$file" || exit 70
            done
            uid=$2; shift 2
            exec setpriv --reuid="$uid" --regid="$uid" --clear-groups --inh-caps=-all "$@""#;
        let mut command = self.sandbox.command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", BECOME, "sh"]);
        command.arg(self.sandbox.path("accounts")).arg(self.uid.to_string()).arg(program);
        command.env("USER", NAME);
        command
    }

    /// `conex` as this user, with the store where such a user has it.
    pub fn conex<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command(self.sandbox.path("bin/conex"));
        command.args(args);
        command
    }

    /// `conex-runtime` as this user.
    pub fn runtime<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command(self.sandbox.path("bin/conex-runtime"));
        command.args(args);
        command
    }

    /// Gives the user what root has put into the sandbox meanwhile.
    pub fn own(&self, path: &Path) {
        own_tree(path, self.uid);
    }
}

fn own_tree(path: &Path, uid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(uid)).expect("chown needs root");
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        chown(path, Some(uid), Some(uid)).expect("chown needs root");
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            own_tree(&entry.path(), uid);
        }
    }
}
