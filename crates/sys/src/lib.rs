// SPDX-License-Identifier: Apache-2.0
//! The kernel: one file per facility, safe functions on file descriptors, errors that print the call.
//!
//! The only crate with `unsafe`, and the only one that knows which kernel lacks which call. It knows no OCI word.
//! Kernel locks are in the standard library (`File::lock`, `File::try_lock` are flock(2));
//! [`lock`] has the other kind, for files that other programs lock.
#![allow(unsafe_code)]
#![warn(missing_docs)]

pub mod bpf;
pub mod confine;
pub mod credentials;
mod error;
pub mod eventfd;
pub mod file;
pub mod heap;
pub mod idmap;
pub mod keyring;
pub mod lock;
// In other builds it would be slower than the C library's.
#[cfg(any(test, all(target_env = "musl", target_arch = "x86_64", not(debug_assertions))))]
mod memory;
pub mod mount;
pub mod mountinfo;
pub mod namespace;
mod netlink;
pub mod network;
pub mod path;
pub mod poll;
pub mod process;
pub mod procfs;
mod raw;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod start;
pub mod tty;
pub mod usage;

pub use error::{Error, Result};
pub use rustix::io::Errno;
