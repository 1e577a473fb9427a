// SPDX-License-Identifier: Apache-2.0
//! An image at rest: the store, its layers, snapshots, bundles, and the one walker that moves images.
//!
//! Opens no socket and prints nothing.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod error;
pub mod transfer;

pub use error::{Error, ErrorKind, Result, Wrap};
