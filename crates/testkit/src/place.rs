// SPDX-License-Identifier: Apache-2.0
//! The stage of a story that is told twice, by root and by an ordinary user: `for_both!`.

use std::ffi::OsStr;
use std::process::Command;

use crate::busybox;
use crate::require::{self, Requirement};
use crate::run::Run as _;
use crate::sandbox::Sandbox;
use crate::user::{Range, User};

/// Somebody with busybox in their store.
#[derive(Debug)]
pub struct Place<'a> {
    pub sandbox: &'a Sandbox,
    /// `None`: root.
    pub user: Option<User<'a>>,
}

impl<'a> Place<'a> {
    /// Root's.
    pub fn of_root(sandbox: &'a Sandbox) -> Requirement<Self> {
        Self { sandbox, user: None }.with_busybox()
    }

    /// An ordinary user's, who has a range of ids.
    pub fn of_a_user(sandbox: &'a Sandbox) -> Requirement<Self> {
        require::program("newuidmap")?;
        Self { sandbox, user: Some(sandbox.user(Range::Subordinate)) }.with_busybox()
    }

    fn with_busybox(self) -> Requirement<Self> {
        self.sandbox.layout("busybox").add("latest", &busybox::image()?);
        self.conex(&["copy", "--quiet", "oci:busybox:latest", "store:busybox"]).run().success();
        Ok(self)
    }

    /// Any program as whoever it is.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match &self.user {
            Some(user) => user.command(program),
            None => self.sandbox.command(program),
        }
    }

    /// `conex` as whoever it is.
    pub fn conex(&self, words: &[&str]) -> Command {
        match &self.user {
            Some(user) => user.conex(words),
            None => self.sandbox.conex(words),
        }
    }
}

/// Two tests of one story, a function of a [`Place`]: root's, and an ordinary user's.
#[macro_export]
macro_rules! for_both {
    ($story:ident, $as_root:ident, $as_user:ident) => {
        #[test]
        fn $as_root() {
            $crate::needs!($crate::require::root());
            let sandbox = $crate::Sandbox::new();
            $story(&$crate::needs!($crate::Place::of_root(&sandbox)));
            sandbox.finish();
        }

        #[test]
        fn $as_user() {
            $crate::needs!($crate::require::root());
            let sandbox = $crate::Sandbox::new();
            $story(&$crate::needs!($crate::Place::of_a_user(&sandbox)));
            sandbox.finish();
        }
    };
}
