// SPDX-License-Identifier: Apache-2.0
//! `conex-runtime`: a bundle becomes a container.
//!
//! ```text
//!  config.json ──bundle──► Config ──plan──► Plan ──create/init──► a process that calls execve
//! ```
//!
//! A library only so that tests reach `plan`, `seccomp` and `cgroup`; the binary is its one user.
#![forbid(unsafe_code)]

mod agent;
pub mod bundle;
pub mod cgroup;
pub mod cli;
mod console;
pub mod container;
mod create;
pub mod dbus;
mod delete;
pub mod error;
mod events;
mod exec;
pub mod features;
mod foreground;
mod hooks;
mod host_root;
mod init;
mod interfaces;
mod kill;
mod launch;
mod lint;
mod list;
mod live;
pub mod monitor;
mod mounts;
mod pause;
pub mod plan;
mod protect;
mod ps;
pub mod record;
mod resctrl;
mod run;
pub mod seccomp;
mod sources;
pub mod spec;
mod start;
mod state;
mod sync;
mod sysctl;
mod trace;
mod update;

pub use error::{Error, ErrorKind, Result, Wrap};
pub use exec::parse_user;
