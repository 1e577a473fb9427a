// SPDX-License-Identifier: Apache-2.0
//! `conex-bill BILL PROGRAM ARGS…` runs a program and writes what it cost into the file `BILL`:
//!
//! ```text
//! <exit code> <wall ns> <user us> <system us> <peak resident KiB> <page faults>
//! ```
//!
//! A program by itself, and static, because a child's peak resident set is never below that of its starter: this
//! one has less than a megabyte, `cargo xtask` has many.
#![forbid(unsafe_code)]

use std::process::{Command, ExitCode};
use std::time::Instant;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let (Some(bill), Some(program)) = (words.next(), words.next()) else {
        return failure("usage: conex-bill BILL PROGRAM ARGS…");
    };
    let mut command = Command::new(program);
    command.args(words);
    let start = Instant::now();
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return failure(&error.to_string()),
    };
    let waited = conex_sys::usage::wait(child.id());
    let wall = start.elapsed();
    match waited {
        Ok((exit, usage)) => {
            let (user, system) = (usage.user.as_micros(), usage.system.as_micros());
            let (wall, rss, faults) = (wall.as_nanos(), usage.peak_rss, usage.faults);
            let line = format!("{} {wall} {user} {system} {rss} {faults}\n", exit.code());
            std::fs::write(bill, line)
                .map_or_else(|error| failure(&error.to_string()), |()| ExitCode::SUCCESS)
        }
        Err(error) => failure(&error.to_string()),
    }
}

#[expect(clippy::print_stderr, reason = "this is a program")]
fn failure(message: &str) -> ExitCode {
    eprintln!("conex-bill: {message}");
    ExitCode::FAILURE
}
