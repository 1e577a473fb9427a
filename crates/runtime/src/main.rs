// SPDX-License-Identifier: Apache-2.0
//! The binary: arguments in, exit status out.
#![forbid(unsafe_code)]

/// One thread, a few milliseconds: see there.
#[global_allocator]
static HEAP: conex_sys::heap::Heap = conex_sys::heap::Heap::new();

fn main() -> ! {
    std::process::exit(conex_runtime::cli::main(std::env::args_os().collect()))
}
