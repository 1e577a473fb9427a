// SPDX-License-Identifier: Apache-2.0
//! An image at rest: the store, its layers, snapshots, bundles, and the one walker that moves images.
//!
//! Opens no socket and prints nothing.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bundle;
mod error;
pub mod fsck;
mod image;
pub mod layer;
pub mod layout;
pub mod manifest;
pub mod snapshot;
pub mod store;
#[cfg(test)]
#[expect(dead_code, reason = "its last users are being written")]
mod testing;
pub mod transfer;
pub mod verify;

pub use error::{Error, ErrorKind, Result, Wrap};
pub use image::Image;
