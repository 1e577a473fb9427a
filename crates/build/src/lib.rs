// SPDX-License-Identifier: Apache-2.0
//! From a Containerfile, or from a working container that a script changes, to an image.
//!
//! ```text
//!  containerfile: text ─► instructions with spans ─► graph: stages and steps, merged, unused ones left out   (pure)
//!                                                      │
//!  container: from ─► run · copy · add · config ─► commit: the overlay's upper directory is the new layer    (does)
//! ```
//! Parses and plans without I/O, then executes on top of the engine. Reads neither the environment nor `$HOME`, and
//! prints nothing.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod chmod;
pub mod commit;
pub mod container;
pub mod containerfile;
pub mod context;
pub mod copy;
pub mod execute;
pub mod glob;
pub mod graph;
pub mod ignore;
pub mod lint;
pub mod remote;

pub use conex_engine::{Error, ErrorKind, Result, Wrap};
