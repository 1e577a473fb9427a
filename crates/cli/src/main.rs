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

use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = personality::run(std::env::args_os().collect());
    match outcome.result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::note(error.report(&outcome.program).trim_end());
            ExitCode::from(error.exit_code(outcome.manner))
        }
    }
}
