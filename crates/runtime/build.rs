// SPDX-License-Identifier: Apache-2.0
//! Leaves the tables for unwinding out of the program that is handed out: a tenth of its size. It is built with
//! `panic = "abort"`, where nothing unwinds, and stripped, so that no backtrace could name anything; but the standard
//! library comes with them. Only the start files of the C library refer to theirs.
#![expect(clippy::disallowed_methods, reason = "in cargo's own directory")]

use std::env;
use std::path::Path;

const SCRIPT: &str = "SECTIONS
{
  /DISCARD/ : { *(EXCLUDE_FILE(*crtbegin*.o *crtend*.o) .eh_frame) *(.gcc_except_table .gcc_except_table.*) }
}
INSERT BEFORE .text
";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // Of the profiles, `runtime` alone has this level. Cargo does not tell a build script about `panic`.
    if !is("OPT_LEVEL", "z") || !is("CARGO_CFG_TARGET_ENV", "musl") {
        return;
    }
    let directory = env::var("OUT_DIR").expect("cargo gives every build script a directory");
    let script = Path::new(&directory).join("without-unwinding.ld");
    std::fs::write(&script, SCRIPT).expect("it is there to be written to");
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
}
