// SPDX-License-Identifier: Apache-2.0
//! Reads one image of an archive. The archive has no manifest of the image-spec's or Docker's registry kind; one is
//! made: layers by their diff_ids, uncompressed. What a layer really holds is verified by whoever keeps it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use conex_spec::distribution::Reference;
use conex_spec::image::{Descriptor, ImageConfig, Manifest, media_type};

use super::super::ArchiveName;
use super::super::index::Members;
use super::{Item, LIMIT, items};
use crate::layer::compress::{decoder, sniff};
use crate::manifest;
use crate::transfer::{BlobReader, RawManifest, Source};
use crate::verify::sha256;
use crate::{Error, ErrorKind, Result, Wrap};

/// An image of `docker-archive:` or `docker-archive-dir:`.
#[derive(Debug)]
pub struct DockerArchiveSource {
    name: ArchiveName,
    members: Members,
    config: (Descriptor, Vec<u8>),
    /// Descriptor, member, and whether that is the tar itself.
    layers: Vec<(Descriptor, String, bool)>,
    manifest: RawManifest,
}

impl DockerArchiveSource {
    /// Opens an archive and finds the image in it.
    pub fn open(name: &ArchiveName) -> Result<Self> {
        let members = Members::at(&name.path);
        Self::new(name, members).wrap(|| name.describe())
    }

    /// The one image of an archive that has no path.
    pub fn of_file(file: File) -> Result<Self> {
        let name = ArchiveName {
            transport: "docker-archive",
            path: PathBuf::from("-"),
            reference: None,
            more_names: Vec::new(),
        };
        Self::new(&name, Members::of_file(file))
    }

    /// The same for an archive that lies unpacked in a directory.
    pub fn open_directory(name: &ArchiveName) -> Result<Self> {
        Self::new(name, Members::of_directory(&name.path)).wrap(|| name.describe())
    }

    /// The names of all images of an archive, in its order.
    pub fn names(path: &Path) -> Result<Vec<String>> {
        let items = items(&Members::at(path)?)?;
        Ok(items.into_iter().flat_map(|item| item.repo_tags.unwrap_or_default()).collect())
    }

    fn new(name: &ArchiveName, members: Result<Members>) -> Result<Self> {
        let members = members?;
        let items = items(&members)?;
        let item = pick(&items, name)?;
        let bytes = members
            .read(&item.config, LIMIT)?
            .ok_or_else(|| Error::invalid(format!("there is no file {:?} in it", item.config)))?;
        let config: ImageConfig = manifest::parse_strictly(&bytes).wrap(|| item.config.clone())?;
        let diff_ids = config.rootfs.diff_ids;
        if diff_ids.len() != item.layers.len() {
            let message =
                format!("{} layers, but {} diff_ids in {}", item.layers.len(), diff_ids.len(), item.config);
            return Err(Error::invalid(message));
        }
        let mut layers = Vec::new();
        for (diff_id, path) in diff_ids.into_iter().zip(&item.layers) {
            let (size, is_plain) = measure(&members, path).wrap(|| path.clone())?;
            layers.push((Descriptor::new(media_type::DOCKER_LAYER, diff_id.0, size), path.clone(), is_plain));
        }
        let config = Descriptor::new(media_type::DOCKER_CONFIG, sha256(&bytes), bytes.len() as u64);
        let manifest = made_up(&config, layers.iter().map(|(layer, ..)| layer.clone()).collect())?;
        Ok(Self { name: name.clone(), members, config: (config, bytes), layers, manifest })
    }
}

/// The size of a layer's tar, and whether the member is that tar. A compressed one is read to its end to know.
fn measure(members: &Members, path: &str) -> Result<(u64, bool)> {
    let (mut section, size) = members.need(path)?;
    let mut first = Vec::new();
    section.by_ref().take(4).read_to_end(&mut first)?;
    if sniff(&first) == media_type::Compression::None {
        return Ok((size, true));
    }
    let whole = BufReader::new(io::Cursor::new(first).chain(section));
    Ok((io::copy(&mut decoder(whole)?, &mut io::sink())?, false))
}

fn made_up(config: &Descriptor, layers: Vec<Descriptor>) -> Result<RawManifest> {
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::DOCKER_MANIFEST.to_owned()),
        artifact_type: None,
        config: config.clone(),
        layers,
        subject: None,
        annotations: Default::default(),
    };
    let bytes = serde_json::to_vec(&manifest).map_err(|error| Error::invalid(error.to_string()))?;
    manifest::verified(bytes, media_type::DOCKER_MANIFEST, None)
}

fn pick<'a>(items: &'a [Item], name: &ArchiveName) -> Result<&'a Item> {
    if let Some(number) = name.number()? {
        return items.get(number).ok_or_else(|| {
            let message = format!("there is no image @{number}; there are {}", items.len());
            Error::new(ErrorKind::NotFound, message)
        });
    }
    let tags = || {
        let tags: Vec<&str> =
            items.iter().flat_map(|item| item.repo_tags.iter().flatten()).map(String::as_str).collect();
        if tags.is_empty() { "none with a name".to_owned() } else { tags.join(", ") }
    };
    let Some(wanted) = &name.reference else {
        return match items {
            [only] => Ok(only),
            [] => Err(Error::new(ErrorKind::NotFound, "holds no image")),
            many => Err(Error::new(ErrorKind::Usage, format!("holds {} images: {}", many.len(), tags()))
                .with_hint(format!("choose one: {}:PATH:NAME, or PATH:@0", name.transport))),
        };
    };
    let wanted: Reference = wanted.parse()?;
    let is_it =
        |tag: &String| tag.parse::<Reference>().is_ok_and(|tag| tag.canonical() == wanted.canonical());
    items.iter().find(|item| item.repo_tags.iter().flatten().any(is_it)).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("no image is called {wanted}; there are {}", tags()))
    })
}

impl Source for DockerArchiveSource {
    fn resolve(&self) -> Result<RawManifest> {
        Ok(self.manifest.clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest> {
        self.manifest.only(descriptor)
    }

    fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader> {
        if descriptor.digest == self.config.0.digest {
            return Ok(BlobReader { reader: Box::new(io::Cursor::new(self.config.1.clone())), offset: 0 });
        }
        let layer = self.layers.iter().find(|(layer, ..)| layer.digest == descriptor.digest);
        let Some((_, path, is_plain)) = layer else {
            return Err(Error::new(ErrorKind::NotFound, format!("no blob {} here", descriptor.digest)));
        };
        let (section, _) = self.members.need(path)?;
        if *is_plain {
            return Ok(BlobReader { reader: Box::new(section.behind(offset)), offset });
        }
        Ok(BlobReader { reader: decoder(BufReader::new(section))?, offset: 0 })
    }

    fn describe(&self) -> String {
        self.name.describe()
    }
}
