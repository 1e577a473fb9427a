// SPDX-License-Identifier: Apache-2.0
//! The kernel: one file per facility, safe functions on file descriptors, errors that print the call.
//!
//! The only crate with `unsafe`, and the only one that knows which kernel lacks which call. It knows no OCI word.
#![allow(unsafe_code)]
#![warn(missing_docs)]

mod error;
pub mod path;

pub use error::{Error, Result};
pub use rustix::io::Errno;
