// SPDX-License-Identifier: Apache-2.0
//! The hidden `monitor` verb: one small process that stays with a container from `create` to its end.

use crate::{Error, ErrorKind, Result};

/// What `conex-runtime monitor` was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    pub id: String,
    pub bundle: String,
    /// The runtime's binary.
    pub runtime: String,
    pub runtime_root: Option<String>,
    pub log: String,
    pub exit_file: String,
    pub pid_file: String,
    pub attach_socket: Option<String>,
    pub terminal: bool,
    pub stdin: bool,
    pub ready_fd: Option<i32>,
    /// Global arguments for the runtime, from after `--`.
    pub runtime_arguments: Vec<String>,
}

/// Parses the verb's own words, without the verb.
pub fn parse(_arguments: Vec<std::ffi::OsString>) -> Result<Arguments> {
    Err(Error::new(ErrorKind::Unsupported, "monitor is not written yet"))
}

/// Runs until the container is gone.
pub fn run(_arguments: &Arguments) -> Result<()> {
    Err(Error::new(ErrorKind::Unsupported, "monitor is not written yet"))
}
