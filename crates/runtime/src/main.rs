// SPDX-License-Identifier: Apache-2.0
//! The binary: arguments in, exit status out.
#![forbid(unsafe_code)]

fn main() -> ! {
    std::process::exit(conex_runtime::cli::main(std::env::args_os().collect()))
}
