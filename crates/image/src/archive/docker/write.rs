// SPDX-License-Identifier: Apache-2.0
//! Adds one image to an archive. Layers come uncompressed ([`Sink::form`]), so that each is named by its diff_id.

use std::collections::HashSet;
use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};

use conex_spec::distribution::{DEFAULT_HOST, Reference};
use conex_spec::image::media_type::{self, Compression, Kind};
use conex_spec::image::{Descriptor, ImageConfig, Manifest};
use serde_json::json;

use super::super::ArchiveName;
use super::super::index::Members;
use super::super::output::Output;
use super::{Item, LIMIT, MANIFEST, REPOSITORIES, Repositories, items};
use crate::image::chain_ids;
use crate::manifest::{self, Document};
use crate::transfer::{Form, Format, LayerForm, Outcome, Progress, RawManifest, Sink, Source};
use crate::verify::{self, VerifyingReader};
use crate::{Error, Result, Wrap};

/// An image for `docker-archive:` or `docker-archive-dir:`.
#[derive(Debug)]
pub struct DockerArchiveSink {
    name: ArchiveName,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    output: Output,
    /// What the archive holds already.
    items: Vec<Item>,
    repositories: Repositories,
    config: Option<ImageConfig>,
}

impl DockerArchiveSink {
    /// A new archive, or one more image for one that exists.
    pub fn open(name: &ArchiveName) -> Result<Self> {
        let open = || {
            name.for_writing()?;
            let mut output = Output::to_file(&name.path)?;
            let old = match output.joins(&name.path) {
                false => None,
                true => Some(Members::at(&name.path).wrap(|| "cannot add to what is there")?),
            };
            if let Some(old) = &old {
                output.take_over(old, &[MANIFEST, REPOSITORIES, "index.json"])?;
            }
            Self::new(name, output, old.as_ref())
        };
        open().wrap(|| name.describe())
    }

    /// The same as a directory.
    pub fn open_directory(name: &ArchiveName) -> Result<Self> {
        let open = || {
            name.for_writing()?;
            let output = Output::to_directory(&name.path)?;
            let old = Members::of_directory(&name.path)?;
            let old = if output.has(MANIFEST)? { Some(old) } else { None };
            Self::new(name, output, old.as_ref())
        };
        open().wrap(|| name.describe())
    }

    fn new(name: &ArchiveName, output: Output, old: Option<&Members>) -> Result<Self> {
        let (mut known, mut repositories) = (Vec::new(), Repositories::new());
        if let Some(old) = old {
            known = items(old)?;
            if let Some(bytes) = old.read(REPOSITORIES, LIMIT)? {
                repositories = serde_json::from_slice(&bytes)
                    .map_err(|error| Error::invalid(format!("{REPOSITORIES}: {error}")))?;
            }
        }
        let state = State { output, items: known, repositories, config: None };
        Ok(Self { name: name.clone(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What docker before 1.10 reads: a directory for each layer.
    fn legacy(&mut self, config: &ImageConfig, ids: &[String], paths: &[String]) -> Result<()> {
        for (index, (id, path)) in ids.iter().zip(paths).enumerate() {
            let mut about = json!({ "id": id, "created": config.created, "os": config.os });
            if let Some(parent) = index.checked_sub(1) {
                about["parent"] = json!(ids[parent]);
            }
            if index + 1 == ids.len() {
                about["architecture"] = json!(config.architecture);
                about["config"] = json!(config.config);
            }
            self.output.put(&format!("{id}/VERSION"), b"1.0")?;
            self.output.put(&format!("{id}/json"), &to_json(&about)?)?;
            self.output.link(&format!("{id}/layer.tar"), &format!("../{path}"))?;
        }
        Ok(())
    }

    /// The image under its name, which an older one loses.
    fn join(&mut self, item: Item, top: Option<&String>) -> Result<()> {
        for tag in item.repo_tags.iter().flatten() {
            for old in &mut self.items {
                old.repo_tags.iter_mut().for_each(|tags| tags.retain(|old| old != tag));
            }
            if let (Some((repository, tag)), Some(top)) = (tag.rsplit_once(':'), top) {
                self.repositories
                    .entry(repository.to_owned())
                    .or_default()
                    .insert(tag.to_owned(), top.clone());
            }
        }
        match self.items.iter_mut().find(|old| old.config == item.config) {
            Some(old) => old.repo_tags.get_or_insert_default().extend(item.repo_tags.into_iter().flatten()),
            None => self.items.push(item),
        }
        self.output.put(REPOSITORIES, &to_json(&self.repositories)?)?;
        self.output.put(MANIFEST, &to_json(&self.items)?)
    }
}

impl Sink for DockerArchiveSink {
    fn form(&self) -> Form {
        let layers = Some(LayerForm::As(Compression::None));
        Form { format: Some(Format::Docker), layers }
    }

    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        match media_type::kind(&descriptor.media_type) {
            Kind::Layer(_) => self.state().output.has(&layer_path(descriptor)),
            // It is looked into.
            _ => Ok(false),
        }
    }

    fn put_blob(&self, descriptor: &Descriptor, from: &dyn Source, progress: &dyn Progress) -> Result<()> {
        progress.begin(descriptor, 0);
        let mut reader = VerifyingReader::new(from.open_blob(descriptor, 0)?.reader, descriptor);
        match media_type::kind(&descriptor.media_type) {
            Kind::Config => {
                let bytes = verify::read_small(reader, descriptor)?;
                let mut state = self.state();
                state.config = Some(manifest::parse_strictly(&bytes)?);
                state.output.put(&format!("{}.json", descriptor.digest.hex()), &bytes)?;
            }
            Kind::Layer(Compression::None) => {
                self.state().output.add(&layer_path(descriptor), descriptor.size, &mut reader.by_ref())?;
                reader.finish()?;
            }
            _ => {
                let message = format!("{} does not belong into an image of docker's", descriptor.media_type);
                return Err(Error::invalid(message));
            }
        }
        progress.advance(descriptor, descriptor.size);
        progress.finish(descriptor, Outcome::Copied);
        Ok(())
    }

    fn put_manifest(&self, _: &RawManifest) -> Result<()> {
        Err(Error::new(crate::ErrorKind::Usage, "docker's archives hold single images, not an index of them")
            .with_hint("choose one platform"))
    }

    fn commit(&self, raw: &RawManifest) -> Result<()> {
        let Document::Manifest(manifest) = Document::parse(raw)? else { return self.put_manifest(raw) };
        let mut state = self.state();
        let Some(config) = state.config.take() else {
            return Err(Error::invalid("the configuration did not come before the manifest"));
        };
        let item = self.item(&mut state, &manifest, &config)?;
        let top = chain_ids(&config.rootfs.diff_ids).pop().map(|id| id.0.hex().to_owned());
        state.join(item, top.as_ref())?;
        state.output.publish().wrap(|| self.describe())
    }

    fn describe(&self) -> String {
        self.name.describe()
    }
}

impl DockerArchiveSink {
    fn item(&self, state: &mut State, manifest: &Manifest, config: &ImageConfig) -> Result<Item> {
        let ids: Vec<String> =
            chain_ids(&config.rootfs.diff_ids).iter().map(|id| id.0.hex().to_owned()).collect();
        let layers: Vec<String> = manifest.layers.iter().map(layer_path).collect();
        state.legacy(config, &ids, &layers)?;
        let name = self.name.reference.as_ref().map(|name| name.parse::<Reference>()).transpose()?;
        let mut names: Vec<String> = name.iter().chain(&self.name.more_names).map(familiar).collect();
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        let repo_tags = (!names.is_empty()).then_some(names);
        Ok(Item { config: format!("{}.json", manifest.config.digest.hex()), repo_tags, layers })
    }
}

fn layer_path(layer: &Descriptor) -> String {
    format!("{}.tar", layer.digest.hex())
}

/// As docker shows names: without its own host, and without `library/` there.
fn familiar(reference: &Reference) -> String {
    let canonical = reference.canonical();
    let short = canonical.strip_prefix(&format!("{DEFAULT_HOST}/")).unwrap_or(&canonical);
    short.strip_prefix("library/").unwrap_or(short).to_owned()
}

fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::invalid(error.to_string()))
}
