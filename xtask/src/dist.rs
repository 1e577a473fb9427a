// SPDX-License-Identifier: Apache-2.0
//! Both programs, static and stripped, in `target/dist/`. Copying the two files is the installation; the links
//! beside them are their other names.
//!
//! The runtime is built by itself: built together, cargo would give it the features that `conex` asks of the
//! crates both use, and with them start-up cost.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use conex_testkit::{binaries, require};

use crate::{host, shell};

/// The two built programs.
pub struct Programs {
    pub conex: PathBuf,
    pub runtime: PathBuf,
}

pub fn main() -> Result<()> {
    shell::stage("what building needs", || host::install(&[host::BUILD]))?;
    let built = build("dist")?;
    let dist = shell::target().join("dist");
    install(&built, &dist)?;
    for name in ["conex-runtime", "conex"] {
        describe(&dist.join(name))?;
    }
    Ok(())
}

/// Builds both for a profile, static against musl where that can be had, against glibc otherwise.
pub fn build(profile: &str) -> Result<Programs> {
    let musl = host::musl_target();
    if !musl {
        println!("    no musl target or no musl-gcc: static programs against glibc instead");
    }
    let one = |package: &str| {
        shell::stage(&format!("building {package}, static, profile {profile}"), || {
            build_one(package, profile, musl)
        })
    };
    Ok(Programs { runtime: one("conex-runtime")?, conex: one("conex")? })
}

fn build_one(package: &str, profile: &str, musl: bool) -> Result<PathBuf> {
    let target = if musl { host::MUSL } else { "x86_64-unknown-linux-gnu" };
    let mut cargo = shell::cargo();
    cargo.args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        package,
        "--profile",
        profile,
        "--target",
        target,
    ]);
    if !musl {
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    }
    shell::run(&mut cargo)?;
    let built = shell::target().join(target).join(profile).join(package);
    ensure!(built.is_file(), "cargo built no {}", built.display());
    Ok(built)
}

/// Copies both to a directory and links their other names.
fn install(built: &Programs, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    for (program, name, links) in [
        (&built.conex, "conex", &binaries::CONEX_NAMES[..]),
        (&built.runtime, "conex-runtime", &binaries::RUNTIME_NAMES[..]),
    ] {
        let staged = directory.join(format!(".{name}"));
        fs::copy(program, &staged).with_context(|| format!("copy {}", program.display()))?;
        fs::rename(&staged, directory.join(name))?;
        for link in links {
            let link = directory.join(link);
            if fs::symlink_metadata(&link).is_ok() {
                fs::remove_file(&link)?;
            }
            symlink(name, &link)?;
        }
    }
    Ok(())
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
