// SPDX-License-Identifier: Apache-2.0
//! An image at rest: the store, its layers, snapshots, bundles, and the one walker that moves images.
//!
//! Opens no socket and prints nothing.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests look at trees from outside"))]

pub mod archive;
pub mod artifact;
pub mod bundle;
pub mod containers_storage;
pub mod directory;
mod error;
pub mod fsck;
mod host;
mod image;
pub mod layer;
pub mod layout;
pub mod manifest;
pub mod merged;
pub mod mutate;
mod section;
pub mod snapshot;
pub mod store;
#[cfg(test)]
mod testing;
pub mod transfer;
pub mod validate;
pub mod verify;
pub mod worker;

pub use error::{Error, ErrorKind, Result, Wrap};
pub use image::Image;
