// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: conversion.md
//!
//! From an image to what a runtime takes: a root filesystem and a `config.json`. And back: what was changed there
//! becomes a layer.

mod changes;
mod convert;
mod layers;
mod links;
mod meta;
pub(crate) mod mtree;
mod repack;
mod rootfs;
mod runtime_config;
mod template;
mod unpack;
mod user;

use std::fs::File;
use std::path::Path;

use crate::Result;

pub use conex_spec::runtime::IdMapping;
pub use convert::runtime_config;
pub use layers::{LayersBundle, create_over_layers, lay_out_layers};
pub use repack::{RepackOptions, repack};
pub use rootfs::{create, unpack_rootfs};
pub use runtime_config::write_runtime_config;
pub use unpack::unpack;
pub use user::lookup_user;

/// Reads files of the root filesystem that is to be, for `USER name`.
pub trait Rootfs {
    /// Opens a regular file by its path inside; `None` where there is none. Never follows a link out.
    fn open(&self, path: &Path) -> Result<Option<File>>;
}

/// What the caller wants otherwise than the image says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// In place of the image's `Entrypoint`; `Cmd` of the image is dropped with it.
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's `Cmd`.
    pub args: Option<Vec<String>>,
    /// `NAME=value`, over the image's.
    pub env: Vec<String>,
    /// In place of the image's `WorkingDir`.
    pub cwd: Option<String>,
    /// In place of the image's `User`.
    pub user: Option<String>,
    /// `process.terminal`.
    pub terminal: bool,
    /// The host name in the container.
    pub hostname: Option<String>,
}

/// Who the process is, numerically.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub additional_gids: Vec<u32>,
    /// Home directory of the passwd entry.
    pub home: Option<String>,
}

/// How to unpack a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnpackOptions {
    /// Without privileges: all files belong to the caller, true owners in `user.rootlesscontainers`.
    pub rootless: bool,
    /// Maps of user ids.
    pub uid_map: Vec<IdMapping>,
    /// Maps of group ids.
    pub gid_map: Vec<IdMapping>,
    /// Write through a symlink to a directory where a layer has a directory of that name.
    pub keep_dirlinks: bool,
}
