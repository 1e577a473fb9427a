// SPDX-License-Identifier: Apache-2.0
//! mtree(5): the description of a tree that repack compares with to find what has changed.
//!
//! ```text
//! # .
//! /set type=file nlink=1 mode=0664 uid=0 gid=0
//! . size=4096 type=dir mode=0755 nlink=3 tar_time=1795264256.000000000
//!     file size=3 mode=0644 tar_time=… sha256digest=… xattr.user.a=YmFy
//!
//! # etc
//! etc size=4096 type=dir …
//! ..
//! ..
//! ```
//! The keywords are umoci's: size type uid gid mode link nlink tar_time sha256digest xattr.

mod read;
mod write;

pub(super) use read::{Facts, Node, parse};
pub(crate) use write::write;
pub(super) use write::{base64, hash, type_word};

/// Directories in directories; each holds one open.
pub(super) const MAX_DEPTH: usize = 512;
