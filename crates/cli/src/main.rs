// SPDX-License-Identifier: Apache-2.0
//! `conex`: words in, words out. The only crate that prints, reads the environment and knows exit codes.
#![forbid(unsafe_code)]

mod commands;
mod environment;
mod error;
mod logins;
mod output;
mod personality;
mod session;

use std::ffi::OsString;
use std::process::ExitCode;

use conex_engine::images::worker;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if words.first().is_some_and(|name| name == worker::NAME) {
        return ExitCode::from(worker::serve());
    }
    worker::use_program("/proc/self/exe");
    let outcome = personality::run(words);
    match outcome.result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::note(error.report(&outcome.program).trim_end());
            ExitCode::from(error.exit_code(outcome.manner))
        }
    }
}
