// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: config.md, manifest.md
//!
//! A working container as an image. Its writable layer becomes a layer of the store without being copied, and the container
//! goes on with a new one above it; while it is mounted somewhere, what is there now is copied instead.
//!
//! ```text
//!  seal: describe ─► record.sealing ─► adopt (rename) ─► record.committed      each step is whole or not at all
//!  write: configuration ─► manifest ─► name (the caller's business)
//! ```

use std::collections::BTreeMap;
use std::time::SystemTime;

use conex_engine::Engine;
use conex_image::layer::pack::Times;
use conex_image::manifest::verified;
use conex_image::store::{Made, Store};
use conex_image::transfer::RawManifest;
use conex_image::verify::sha256;
use conex_spec::image::media_type::{self, Compression, Kind};
use conex_spec::image::{Descriptor, History, ImageConfig, Manifest};
use conex_spec::{Digest, Timestamp};

use crate::container::{Held, Record, Sealing};
use crate::{Error, ErrorKind, Result};

/// Whose media types the image has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// image-spec's.
    #[default]
    Oci,
    /// Docker's, version 2, schema 2.
    Docker,
}

/// How to commit.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// Whose media types.
    pub format: Format,
    /// One layer with all files, in place of the base image's and this one.
    pub squash: bool,
    /// When, for the configuration and the history; now if unset.
    pub created: Option<Timestamp>,
    /// What becomes of the files' times.
    pub times: Times,
    /// No history at all.
    pub omit_history: bool,
}

/// The image that was made.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The manifest, in the store.
    pub manifest: RawManifest,
    /// The image id.
    pub id: Digest,
}

/// Makes an image. Nothing leads to it yet: the caller names it, or keeps it without a name, and until then gc away
/// ([`Store::share`]).
pub fn commit(engine: &Engine, held: &mut Held, options: &CommitOptions) -> Result<Committed> {
    let store = engine.store()?;
    let created = options.created.unwrap_or_else(|| SystemTime::now().into());
    let step = step(&held.record, created);
    let (mut config, layers) = if options.squash {
        let made = squash(engine, held, options.times)?;
        let mut config = held.record.config.clone();
        config.rootfs.diff_ids = vec![made.diff_id.clone()];
        config.history = vec![step];
        (config, vec![made.descriptor()])
    } else {
        add_layer(engine, held, options.times, step)?
    };
    config.created = Some(created.to_string());
    if options.omit_history {
        config.history.clear();
    }
    write(&store, &config, &layers, options.format, &held.record.annotations)
}

/// An image of layers that are in the store. Annotations are image-spec's only.
pub(crate) fn write(
    store: &Store,
    config: &ImageConfig,
    layers: &[Descriptor],
    format: Format,
    annotations: &BTreeMap<String, String>,
) -> Result<Committed> {
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(manifest_type(format).to_owned()),
        artifact_type: None,
        config: put_config(store, config, format)?,
        layers: layers.iter().map(|layer| in_format(layer, format)).collect::<Result<_>>()?,
        subject: None,
        annotations: match format {
            Format::Oci => annotations.clone(),
            Format::Docker => Default::default(),
        },
    };
    let id = manifest.config.digest.clone();
    let raw = verified(serde_json::to_vec(&manifest)?, manifest_type(format), None)?;
    store.put_manifest(&raw)?;
    Ok(Committed { manifest: raw, id })
}

/// The configuration and layers of the image with what was written since the last commit.
fn add_layer(
    engine: &Engine,
    held: &mut Held,
    times: Times,
    step: History,
) -> Result<(ImageConfig, Vec<Descriptor>)> {
    let tree = held.tree(engine)?;
    if tree.is_untouched()? && !held.record.committed.is_empty() {
        let steps = std::mem::take(&mut held.record.steps);
        held.record.config.history.extend(steps);
        held.save()?;
    } else if held.may_be_mounted(engine)? {
        copy_tree(engine.store()?.as_ref(), held, &tree.upper())?;
        let made = adopt_copy(engine, held, times)?;
        let mut config = held.record.config.clone();
        config.rootfs.diff_ids.push(made.diff_id.clone());
        config.history.extend(held.record.steps.iter().cloned());
        config.history.push(step);
        return Ok((config, [&held.record.layers[..], &[made.descriptor()]].concat()));
    } else {
        seal(engine, held, times, step)?;
    }
    Ok((held.record.config.clone(), held.record.layers.clone()))
}

/// The writable layer becomes one of the store's.
fn seal(engine: &Engine, held: &mut Held, times: Times, step: History) -> Result<()> {
    let store = engine.store()?;
    let tree = held.tree(engine)?;
    let made = tree.describe(&store, times)?;
    held.pin(engine, Some(&made.diff_id.0))?;
    let sealing = Sealing { made, step };
    held.record.sealing = Some(sealing.clone());
    held.save()?;
    tree.adopt(&store, &sealing.made)?;
    held.record.sealing = None;
    held.record.take_over(sealing);
    held.record.mounted_in.clear();
    held.save()?;
    held.tree(engine)?.prepare_top()
}

/// All files of the container as one layer.
fn squash(engine: &Engine, held: &Held, times: Times) -> Result<Made> {
    let store = engine.store()?;
    held.tree(engine)?.with_root(|merged| copy_tree(&store, held, merged))?;
    adopt_copy(engine, held, times)
}

/// Copies a directory that somebody may still write to.
fn copy_tree(store: &Store, held: &Held, from: &std::path::Path) -> Result<()> {
    let to = held.working.path.join("copy");
    crate::container::remove_tree(&to)?;
    Ok(store.copy_tree(from, &to)?)
}

/// Makes the copy a layer. Outside of the copying thread's mount namespace: no rename leads from one into another.
fn adopt_copy(engine: &Engine, held: &Held, times: Times) -> Result<Made> {
    let store = engine.store()?;
    let to = held.working.path.join("copy");
    let made = store.describe_layer(&to, times)?;
    held.pin(engine, Some(&made.diff_id.0))?;
    store.adopt_layer(&to, &made)?;
    crate::container::remove_tree(&to)?;
    Ok(made)
}

fn step(record: &Record, created: Timestamp) -> History {
    History {
        created: Some(created.to_string()),
        created_by: Some(record.created_by.clone().unwrap_or_else(|| "/bin/sh".to_owned())),
        author: record.config.author.clone(),
        comment: record.comment.clone(),
        empty_layer: false,
    }
}

fn manifest_type(format: Format) -> &'static str {
    match format {
        Format::Oci => media_type::OCI_MANIFEST,
        Format::Docker => media_type::DOCKER_MANIFEST,
    }
}

fn put_config(store: &Store, config: &ImageConfig, format: Format) -> Result<Descriptor> {
    let bytes = serde_json::to_vec(config)?;
    let media_type = match format {
        Format::Oci => media_type::OCI_CONFIG,
        Format::Docker => media_type::DOCKER_CONFIG,
    };
    let descriptor = Descriptor::new(media_type, sha256(&bytes), bytes.len() as u64);
    store.put_blob(&descriptor, &mut &bytes[..])?;
    Ok(descriptor)
}

/// The same bytes under the other name, where there is one.
fn in_format(layer: &Descriptor, format: Format) -> Result<Descriptor> {
    let Kind::Layer(compression) = media_type::kind(&layer.media_type) else { return Ok(layer.clone()) };
    let media_type = match (format, compression) {
        (Format::Oci, Compression::None) => media_type::OCI_LAYER,
        (Format::Oci, Compression::Gzip) => media_type::OCI_LAYER_GZIP,
        (Format::Oci, Compression::Zstd) => media_type::OCI_LAYER_ZSTD,
        (Format::Docker, Compression::None) => media_type::DOCKER_LAYER,
        (Format::Docker, Compression::Gzip) => media_type::DOCKER_LAYER_GZIP,
        (Format::Docker, Compression::Zstd) => {
            let message =
                "the base image has layers compressed by zstd, for which Docker's format has no name";
            return Err(Error::new(ErrorKind::Unsupported, message).with_hint("commit with --format oci"));
        }
    };
    Ok(Descriptor { media_type: media_type.to_owned(), ..layer.clone() })
}
