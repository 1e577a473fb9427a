// SPDX-License-Identifier: Apache-2.0
//! Containers over time. One directory each; what is true of a container now is derived from it and from the
//! kernel, never from a word that somebody wrote down before he was killed. Format: docs/formats/container.md.
//!
//! ```text
//! containers/by-name/<name> → ../<id>      a name is taken by the link's existence
//! containers/<id>/
//!   lock             flock: the command that creates, starts or removes it
//!   alive            flock: held by the monitor from its start to its end
//!   container.json   the record; a directory without one is being made (lock held) or garbage (lock free)
//!   monitor.json     which process the monitor is
//!   config.json      what the runtime was asked for
//!   etc/             hosts, hostname, resolv.conf of the container
//!   upper work merged   its own overlay: writable layer, scratch, mount point in the monitor's mount namespace
//!   log exit attach.sock   written by the monitor
//! ```
//!
//! ```text
//!                  start                    its process ends
//!  create ──► Created ──────────► Running ───────────────────► Exited ──► (removed)
//!                 monitor alive,      monitor alive,     exit file, or
//!                 runtime: created    runtime: running   monitor gone and no process left: status lost
//! ```

pub mod attach;
mod config;
mod create;
mod directory;
mod exec;
mod host_files;
mod list;
mod logs;
mod monitor;
mod record;
mod remove;
mod signal;
mod start;
mod stop;
mod wait;

pub use config::build as runtime_config;
pub use create::{Limits, Options, Security, create};
pub use directory::{Container, Lock, find, ids};
pub use exec::{ExecEnd, ExecOptions, exec};
pub use host_files::{ExtraHost, write as write_host_files};
pub use list::{Listing, Summary, has_garbage, list, records, sweep};
pub use logs::{LogOptions, Tail, logs};
pub use record::{Exit, Network, Record};
pub use remove::{Force, remove};
pub use signal::parse_signal;
pub use start::{Attach, run, start};
pub use stop::{kill, stop};
pub use wait::wait;

/// What a container is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Its process waits to be started.
    Created,
    /// Its process runs.
    Running,
    /// The runtime has frozen it.
    Paused,
    /// Its process has ended. `None`: how is not known, because the monitor was killed or the machine went down.
    Exited(Option<Exit>),
}

impl State {
    /// docker's word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Exited(_) => "exited",
        }
    }

    /// Whether its process runs, frozen or not.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// Whether there is a process, running or waiting to.
    pub fn is_alive(&self) -> bool {
        !matches!(self, Self::Exited(_))
    }
}
