// SPDX-License-Identifier: Apache-2.0
//! Working containers, as buildah's scripts have them: an image's layers with a writable one on top, changed step by
//! step by commands that come and go, until `commit` makes an image of it. No process belongs to one between two commands.
//! Format: docs/formats/builder.md.
//!
//! ```text
//! builders/<name>/
//!   lock           flock: the command that uses it
//!   builder.json   the record: base image, configuration to be, layers that were committed
//!   top/diff       the writable layer; `commit` renames `top` into the store's layers
//!   work merged    overlayfs' scratch, and where it is mounted
//!   run            bundle of a `run` under way; what a killed one left is ended by the next command
//! ```
//! [`Tree`] is the part that steps of a build share: layers, a writable one, and the way from there into the store.

mod configure;
mod directory;
mod from;
mod mounts;
mod record;
mod remove;
mod run;
mod stubs;
mod tree;

pub use configure::{Healthcheck, Setting, configure};
pub use directory::{Held, Working, find, list};
pub use from::{FromOptions, from};
pub use mounts::{Mounted, mount, mounted, umount};
pub use record::{Isolation, Record, Sealing};
pub use remove::{remove, rename, sweep};
pub(crate) use run::end as end_run;
pub use run::{RunOptions, Status, run, run_in};
pub use tree::Tree;
pub(crate) use tree::remove_tree;
