// SPDX-License-Identifier: Apache-2.0
//! One run of `cargo test`: everything into a log, failures to the terminal, counts into the tally.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::tally::Tally;
use crate::shell;

/// Everything that the tests print.
pub fn log_path() -> PathBuf {
    shell::target().join("test.log")
}

/// Where tests that cannot run say so.
pub fn skip_log() -> PathBuf {
    shell::target().join("test.skipped")
}

/// Runs it and counts. Tests print what they capture even when they pass: a skip of a unit test stands there.
pub fn run(cargo: &mut Command, only: Option<&str>, tally: &mut Tally) -> Result<()> {
    let _ = fs::remove_file(skip_log());
    cargo.arg("--").args(only).arg("--show-output").env("CONEX_SKIP_LOG", skip_log());
    let (reader, writer) = std::io::pipe()?;
    cargo.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = cargo.spawn().with_context(|| shell::spelled(cargo))?;
    cargo.stdout(Stdio::null()).stderr(Stdio::null()); // the pipe ends when only we are left
    let mut log = File::create(log_path())?;
    let failed_before = tally.failed.len();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        writeln!(log, "{line}")?;
        if tally.line(&line) {
            println!("    {line}");
        }
    }
    let status = child.wait()?;
    for line in fs::read_to_string(skip_log()).unwrap_or_default().lines() {
        tally.line(line);
    }
    if !status.success() && tally.failed.len() == failed_before {
        tally.failed.push(format!("cargo test: {status}"));
    }
    Ok(())
}
