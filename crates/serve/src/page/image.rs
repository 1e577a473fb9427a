// SPDX-License-Identifier: Apache-2.0
//! The page of one image, index or artifact.

use std::collections::BTreeMap;

use conex_image::manifest::MAX_MANIFEST;
use conex_spec::image::annotation::TITLE;
use conex_spec::image::media_type::{Kind, kind};
use conex_spec::image::{Descriptor, History, ImageConfig, Index, Manifest, Platform};
use serde::de::DeserializeOwned;

use super::html::Html;
use super::{by_digest, short, size, title};
use crate::answer::Refusal;
use crate::route::Target;
use crate::storage::Storage;

/// What a line about a tag shows.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) platforms: String,
    /// Bytes of the blobs of one image.
    pub(super) size: Option<u64>,
    pub(super) created: String,
}

/// As much as can be read: a page about a damaged image is still a page.
pub(super) fn summary(storage: &Storage, means: &Descriptor) -> Summary {
    if let Some(index) = index_of(storage, means) {
        let platforms: Vec<_> = index
            .manifests
            .iter()
            .filter_map(|child| child.platform.as_ref())
            .map(Platform::to_string)
            .collect();
        return Summary { platforms: platforms.join(", "), ..Summary::default() };
    }
    let Some(manifest) = read::<Manifest>(storage, means) else { return Summary::default() };
    let config = config_of(storage, &manifest);
    Summary {
        platforms: config.as_ref().map_or(String::new(), platform_of),
        size: Some(manifest.layers.iter().map(|layer| layer.size).sum::<u64>() + manifest.config.size),
        created: config.and_then(|config| config.created).map_or(String::new(), |time| day(&time)),
    }
}

pub(super) fn page(storage: &Storage, name: &str, target: &Target) -> Result<String, Refusal> {
    let names = storage.names()?;
    let found = match target {
        Target::Tag(tag) => names.tag(name, tag).cloned(),
        Target::Digest(digest) => storage.find_manifest(name, digest)?,
    };
    let means = found.ok_or_else(|| Refusal::new(404, "MANIFEST_UNKNOWN", "there is no such image"))?;
    let facts = [("digest", means.digest.to_string()), ("media type", means.media_type.clone())];
    let mut page = Html::default().table(&["", ""], facts.map(fact));
    if let Some(index) = index_of(storage, &means) {
        page = page
            .raw("<h2>Platforms</h2>")
            .add(&platforms(name, &index))
            .add(&annotations(&index.annotations));
    } else if let Some(manifest) = read::<Manifest>(storage, &means) {
        page = page.add(&image(storage, &manifest)).add(&annotations(&manifest.annotations));
    }
    let referrers = storage.referrers(name, &means.digest)?;
    let rows = referrers.iter().map(|referrer| {
        vec![by_digest(name, referrer), Html::from(referrer.artifact_type.clone().unwrap_or_default())]
    });
    let page = page.raw("<h2>Referrers</h2>").table(&["digest", "type"], rows);
    Ok(page.document(&title(name, target)))
}

fn platforms(name: &str, index: &Index) -> Html {
    let rows = index.manifests.iter().map(|child| {
        vec![
            Html::from(child.platform.as_ref().map_or_else(|| child.media_type.clone(), Platform::to_string)),
            by_digest(name, child),
            Html::from(size(child.size)),
        ]
    });
    Html::default().table(&["platform", "manifest", "size of the manifest"], rows)
}

fn image(storage: &Storage, manifest: &Manifest) -> Html {
    let config = config_of(storage, manifest);
    let mut page = config.as_ref().map_or_else(Html::default, settings);
    page = page.raw("<h2>Layers</h2>").table(
        &["digest", "size", "media type"],
        manifest.layers.iter().map(|layer| {
            let title = layer.annotations.get(TITLE);
            let digest = Html::default().code(&short(layer)).text(" ").text(title.map_or("", String::as_str));
            vec![digest, Html::from(size(layer.size)), Html::from(&*layer.media_type)]
        }),
    );
    let history = config.map(|config| config.history).unwrap_or_default();
    page.raw("<h2>History</h2>").table(&["made", "by", ""], history.iter().map(step))
}

fn step(step: &History) -> Vec<Html> {
    let by = step.created_by.as_deref().or(step.comment.as_deref()).unwrap_or_default();
    let made = step.created.as_deref().map_or(String::new(), day);
    let without = if step.empty_layer { "no layer" } else { "" };
    vec![Html::from(made), Html::default().code(by), Html::from(without)]
}

fn settings(config: &ImageConfig) -> Html {
    let container = &config.config;
    let keys = |map: &BTreeMap<String, serde_json::Value>| map.keys().cloned().collect::<Vec<_>>().join(" ");
    let facts = [
        ("platform", platform_of(config)),
        ("made", config.created.clone().unwrap_or_default()),
        ("entry point", container.entrypoint.join(" ")),
        ("command", container.cmd.join(" ")),
        ("user", container.user.clone()),
        ("directory", container.working_dir.clone()),
        ("ports", keys(&container.exposed_ports)),
        ("volumes", keys(&container.volumes)),
        ("environment", container.env.join("\n")),
    ];
    let said = facts.into_iter().filter(|(_, value)| !value.is_empty()).map(fact);
    let page = Html::default().raw("<h2>Configuration</h2>").table(&["", ""], said);
    let labels = container.labels.iter().map(|(key, value)| vec![Html::from(&**key), Html::from(&**value)]);
    page.raw("<h2>Labels</h2>").table(&["label", ""], labels)
}

fn annotations(annotations: &BTreeMap<String, String>) -> Html {
    let rows = annotations.iter().map(|(key, value)| vec![Html::from(&**key), Html::from(&**value)]);
    Html::default().raw("<h2>Annotations</h2>").table(&["annotation", ""], rows)
}

fn fact((name, value): (&str, String)) -> Vec<Html> {
    vec![Html::from(name), Html::default().code(&value)]
}

fn index_of(storage: &Storage, means: &Descriptor) -> Option<Index> {
    (kind(&means.media_type) == Kind::Index).then(|| read(storage, means)).flatten()
}

fn config_of(storage: &Storage, manifest: &Manifest) -> Option<ImageConfig> {
    (kind(&manifest.config.media_type) == Kind::Config).then(|| read(storage, &manifest.config)).flatten()
}

/// A small document that is here and as it says.
fn read<T: DeserializeOwned>(storage: &Storage, blob: &Descriptor) -> Option<T> {
    if blob.size > MAX_MANIFEST {
        return None;
    }
    serde_json::from_slice(&storage.read_small(blob).ok()?).ok()
}

fn platform_of(config: &ImageConfig) -> String {
    let variant = config.variant.as_ref().map_or(String::new(), |variant| format!("/{variant}"));
    format!("{}/{}{variant}", config.os, config.architecture)
}

/// The day of an RFC 3339 time.
fn day(time: &str) -> String {
    time.chars().take(10).collect()
}
