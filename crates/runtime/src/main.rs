// SPDX-License-Identifier: Apache-2.0
//! The binary: arguments in, exit status out.
#![forbid(unsafe_code)]
#![no_main]

/// One thread, a few milliseconds: see there.
#[global_allocator]
static HEAP: conex_sys::heap::Heap = conex_sys::heap::Heap::new();

conex_sys::program!(conex_runtime::cli::main);
