// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: layer.md
//!
//! A layer on the way from stored bytes to files: decompressed ([`compress`]), read as an archive ([`tar`]), applied
//! inside a directory ([`apply`]). And back: files into an archive ([`pack`], [`upper`]).

pub mod apply;
pub mod compare;
pub mod compress;
pub mod pack;
pub(crate) mod pass;
pub mod tar;
pub(crate) mod unlock;
pub(crate) mod upper;
