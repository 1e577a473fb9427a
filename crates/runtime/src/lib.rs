// SPDX-License-Identifier: Apache-2.0
//! `conex-runtime`: a bundle becomes a container.
//!
//! ```text
//!  config.json ──bundle──► Config ──plan──► Plan ──create/init──► a process that calls execve
//! ```
//!
//! A library only so that tests reach `plan`, `seccomp` and `cgroup`; the binary is its one user.
#![forbid(unsafe_code)]

pub mod bundle;
pub mod cgroup;
pub mod error;
pub mod features;
pub mod monitor;
pub mod plan;
pub mod seccomp;
pub mod spec;

pub use error::{Error, ErrorKind, Result, Wrap};
