// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: conversion.md
//!
//! From an image to what a runtime takes: a root filesystem and a `config.json`.

use std::fs::File;
use std::path::Path;

use conex_spec::image::{ImageConfig, Platform};
use serde_json::Value;

use crate::transfer::Source;
use crate::{Error, ErrorKind, Result};

pub use crate::layer::apply::IdMapping;

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

/// Finds out who `spec` (`user[:group]`, names or numbers) is, by the rootfs' own passwd and group files.
/// An unknown name is an error.
pub fn lookup_user(spec: &str, rootfs: &dyn Rootfs) -> Result<User> {
    let _ = (spec, rootfs);
    Err(Error::new(ErrorKind::Unsupported, "look up a user: not built yet"))
}

/// The runtime `config.json` for `conex run`: the image's wishes, the overrides, and the default sandbox
/// (capabilities, masked paths, mounts, namespaces). `rootless` is for a container inside the caller's own user
/// namespace. `root.path` is `rootfs`; the caller adds mounts, limits and cgroup path.
pub fn runtime_config(
    image: &ImageConfig,
    overrides: &Overrides,
    rootfs: &dyn Rootfs,
    rootless: bool,
) -> Result<Value> {
    let _ = (image, overrides, rootfs, rootless);
    Err(Error::new(ErrorKind::Unsupported, "make a config.json: not built yet"))
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

/// Unpacks an image as umoci does: `BUNDLE/{rootfs/, config.json, umoci.json, sha256_<hex>.mtree}`. On failure
/// what was made is removed. An existing `rootfs` or `config.json` is an error of kind `Exists`.
pub fn unpack(
    source: &dyn Source,
    platform: &Platform,
    bundle: &Path,
    options: &UnpackOptions,
) -> Result<()> {
    let _ = (source, platform, bundle, options);
    Err(Error::new(ErrorKind::Unsupported, "unpack a bundle: not built yet"))
}
