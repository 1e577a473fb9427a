// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: annotations.md#pre-defined-annotation-keys, and the two keys that other tools use for names.

/// The name (tag, or whole reference) of an entry in `index.json`.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// What a person calls it; on a layer of an artifact the name of its file.
pub const TITLE: &str = "org.opencontainers.image.title";
/// The whole reference, as containerd and buildx write it; then [`REF_NAME`] holds only the tag.
pub const CONTAINERD_IMAGE_NAME: &str = "io.containerd.image.name";
