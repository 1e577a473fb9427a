// SPDX-License-Identifier: Apache-2.0
//! Both programs, static and stripped, in `target/dist/`, and the manual pages of `conex`. Copying the two files is the
//! installation; the links beside them are their other names.
//!
//! The runtime is built by itself, with a profile of its own: built together, cargo would give it the features that
//! `conex` asks of the crates both use, and with them start-up cost. It is also built together with its standard
//! library, from the toolchain's own source ([`lean`]): as delivered, that is made for speed and prints backtraces.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use conex_testkit::{binaries, require};

use crate::{host, shell};

/// Names a directory with every program, built before: a machine has no compiler.
pub const BUILT: &str = "CONEX_BUILT";

/// The two built programs.
pub struct Programs {
    pub conex: PathBuf,
    pub runtime: PathBuf,
}

pub fn main() -> Result<()> {
    shell::stage("what building needs", || host::install(&[host::BUILD]))?;
    let built = build()?;
    let dist = shell::target().join("dist");
    binaries::install(&dist, &built.conex, &built.runtime);
    shell::capture(shell::program(&built.conex).arg("manual").arg(dist.join("man/man1")))?;
    ["conex-runtime", "conex"].iter().try_for_each(|name| describe(&dist.join(name)))
}

/// Builds both, static against musl where that can be had, against glibc otherwise.
pub fn build() -> Result<Programs> {
    Ok(Programs { runtime: build_runtime()?, conex: build_one("conex", "conex", "dist")? })
}

/// Builds the runtime; its path.
pub fn build_runtime() -> Result<PathBuf> {
    build_with("conex-runtime", "conex-runtime", "runtime", lean)
}

/// Builds one other program of a package; its path.
pub fn build_one(package: &str, program: &str, profile: &str) -> Result<PathBuf> {
    build_with(package, program, profile, |_| ())
}

fn build_with(package: &str, program: &str, profile: &str, tune: fn(&mut Command)) -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os(BUILT) {
        return Ok(Path::new(&directory).join(program));
    }
    shell::stage(&format!("building {program}, static, profile {profile}"), || {
        let musl = host::musl_target();
        let target = if musl { host::MUSL } else { "x86_64-unknown-linux-gnu" };
        let mut cargo = shell::cargo();
        cargo.args(["build", "--quiet", "--locked", "--package", package, "--profile", profile]);
        cargo.args(["--target", target]);
        if musl {
            tune(&mut cargo);
        } else {
            println!("    no target {} or no musl-gcc: against glibc instead", host::MUSL);
            cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
        }
        shell::run(&mut cargo)?;
        let built = shell::target().join(target).join(profile).join(program);
        ensure!(built.is_file(), "cargo built no {}", built.display());
        Ok(built)
    })
}

/// What makes the runtime a third smaller. cargo and rustc call it unstable, and take it from a stable toolchain only
/// with `RUSTC_BOOTSTRAP`; the same source builds without.
fn lean(cargo: &mut Command) {
    if !host::standard_source() {
        println!("    without the standard library's source: a larger program");
        return;
    }
    const FLAGS: [&str; 3] = [
        // Nothing unwinds: no tables. Whoever asks for a backtrace gets the abort that would have followed it.
        "-Cforce-unwind-tables=no",
        "-Clink-arg=-Wl,--defsym=_Unwind_Backtrace=abort,--defsym=_Unwind_GetIP=abort",
        // A bit for each address that the start relocates, where there were 24 bytes.
        "-Clink-arg=-Wl,-z,pack-relative-relocs",
    ];
    // The standard library for size, and without the printer of backtraces, which would have no names anyway.
    cargo.args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"]);
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", FLAGS.join(" "));
}

/// Says what a program is; fails when it is not static.
fn describe(program: &Path) -> Result<()> {
    let size = fs::metadata(program)?.len();
    println!("{} {:.2} MiB", program.display(), size as f64 / f64::from(1 << 20));
    if let Ok(file) = require::program("file") {
        let said = shell::capture(shell::program(file).arg("--brief").arg(program))?;
        println!("    {}", said.trim());
        ensure!(said.contains("static"), "{} is not static", program.display());
        ensure!(said.contains(", stripped"), "{} is not stripped", program.display());
    }
    if let Ok(objdump) = require::program("objdump") {
        let code = shell::capture(shell::program(objdump).arg("--disassemble").arg(program))?;
        let count = code.lines().filter(|line| line.contains("cpuid")).count();
        println!("    cpuid instructions: {count}");
    }
    Ok(())
}
