// SPDX-License-Identifier: Apache-2.0
//! `transport:details`, skopeo's way to say where an image is.

use std::path::{Path, PathBuf};

use conex_image::archive::{
    ArchiveName, DockerArchiveSink, DockerArchiveSource, OciArchiveSink, OciArchiveSource,
};
use conex_image::containers_storage::{StorageName, StorageSink, StorageSource};
use conex_image::directory::Directory;
use conex_image::layout::{LayoutName, LayoutSink, LayoutSource};
use conex_image::store::{StoreSink, StoreSource};
use conex_image::transfer::{Sink, Source};
use conex_registry::daemon::{Daemon, DaemonSink, DaemonSource};
use conex_registry::{Client, Settings};
use conex_spec::distribution::Reference;

use crate::{Engine, Error, ErrorKind, Result, image};

/// A parsed image name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `docker://host/name:tag`: on a registry.
    Docker(Reference),
    /// `oci:path[:ref]`: in an OCI image layout.
    Oci(LayoutName),
    /// `docker-daemon:name`: in a running docker.
    DockerDaemon(String),
    /// `oci-archive:path[:ref]`: in an OCI image layout that is a tar file.
    OciArchive(ArchiveName),
    /// `docker-archive:path[:name]`: in what `docker save` writes.
    DockerArchive(ArchiveName),
    /// `docker-archive-dir:path[:name]`: the same as a directory.
    DockerArchiveDir(ArchiveName),
    /// `containers-storage:[graph root]name`: where podman and buildah keep theirs.
    ContainersStorage(StorageName),
    /// `dir:path`: flat files.
    Dir(PathBuf),
    /// `store:name`: in conex' own store.
    Store(String),
}

/// skopeo's other transports, and when they come.
const ABSENT: [&str; 2] = ["sif:", "ostree:"];

impl Location {
    /// Reads one. Without a transport it is a name in the store where `default_store`, else an error.
    pub fn parse(text: &str, default_store: bool) -> Result<Self> {
        if let Some(name) = text.strip_prefix("docker://") {
            return Ok(Self::Docker(name.parse()?));
        }
        if let Some(name) = text.strip_prefix("oci:") {
            return Ok(Self::Oci(LayoutName::parse(name)?));
        }
        if let Some(name) = text.strip_prefix("docker-daemon:") {
            return Ok(Self::DockerDaemon(name.to_owned()));
        }
        if let Some(name) = text.strip_prefix("oci-archive:") {
            return Ok(Self::OciArchive(ArchiveName::parse("oci-archive", name)?));
        }
        if let Some(name) = text.strip_prefix("docker-archive:") {
            return Ok(Self::DockerArchive(ArchiveName::parse("docker-archive", name)?));
        }
        if let Some(name) = text.strip_prefix("docker-archive-dir:") {
            return Ok(Self::DockerArchiveDir(ArchiveName::parse("docker-archive-dir", name)?));
        }
        if let Some(name) = text.strip_prefix("containers-storage:") {
            return Ok(Self::ContainersStorage(StorageName::parse(name)?));
        }
        if let Some(path) = text.strip_prefix("dir:") {
            return Ok(Self::Dir(path.into()));
        }
        if let Some(name) = text.strip_prefix("store:") {
            return Ok(Self::Store(name.to_owned()));
        }
        if let Some(transport) = ABSENT.iter().find(|transport| text.starts_with(**transport)) {
            let message = format!("image name {text:?}: the transport {transport} is not there yet");
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_hint("there are docker://, oci:, oci-archive:, docker-archive:, docker-daemon:, containers-storage:, dir: and store:"));
        }
        match default_store {
            true => Ok(Self::Store(text.to_owned())),
            false => Err(Error::new(ErrorKind::Usage, format!("image name {text:?} has no transport"))
                .with_hint(format!(
                    "write docker://{text} for a registry, oci:DIRECTORY[:TAG] for a layout"
                ))),
        }
    }

    /// For reading. `registry` has this side's login and TLS settings.
    pub fn source(&self, engine: &Engine, registry: &Settings) -> Result<Box<dyn Source>> {
        Ok(match self {
            Self::Docker(reference) => Box::new(Client::new(registry.clone()).remote(reference)),
            Self::Oci(name) => Box::new(LayoutSource::open(name)?),
            Self::DockerDaemon(name) => Box::new(DaemonSource::open(&daemon(registry)?, name)?),
            Self::OciArchive(name) => Box::new(OciArchiveSource::open(name)?),
            Self::DockerArchive(name) => Box::new(DockerArchiveSource::open(name)?),
            Self::DockerArchiveDir(name) => Box::new(DockerArchiveSource::open_directory(name)?),
            Self::ContainersStorage(name) => {
                Box::new(StorageSource::open(&engine.settings.containers_storage.to_read(name)?, name)?)
            }
            Self::Dir(path) => Box::new(Directory::open(path)?),
            Self::Store(name) => Box::new(StoreSource::new(engine.store()?, image::find(engine, name)?.name)),
        })
    }

    /// For reading what is then used: only what the signature policy lets through. `whole`: an index is used as a whole,
    /// not one image of it.
    pub fn trusted_source(
        &self,
        engine: &Engine,
        registry: &Settings,
        whole: bool,
    ) -> Result<Box<dyn Source>> {
        let source = self.source(engine, registry)?;
        match self {
            // What is in there has been let in.
            Self::Store(_) if !engine.settings.trust.require_signed => Ok(source),
            _ => engine.trust()?.guard(self, source, registry, whole),
        }
    }

    /// For writing.
    pub fn sink(&self, engine: &Engine, registry: &Settings) -> Result<Box<dyn Sink>> {
        Ok(match self {
            Self::Docker(reference) => Box::new(Client::new(registry.clone()).remote(reference)),
            Self::Oci(name) => Box::new(LayoutSink::open(name)?),
            Self::DockerDaemon(name) => Box::new(DaemonSink::open(&daemon(registry)?, name)?),
            Self::OciArchive(name) => Box::new(OciArchiveSink::open(name)?),
            Self::DockerArchive(name) => Box::new(DockerArchiveSink::open(name)?),
            Self::DockerArchiveDir(name) => Box::new(DockerArchiveSink::open_directory(name)?),
            Self::ContainersStorage(name) => {
                let graph_root = engine.settings.containers_storage.to_write(name)?;
                Box::new(StorageSink::open(&graph_root, &name.image)?)
            }
            Self::Dir(path) => Box::new(Directory::create(path)?),
            Self::Store(name) => {
                let reference: Reference = name.parse()?;
                Box::new(StoreSink::new(engine.store()?, reference.canonical())?)
            }
        })
    }

    /// Whether it holds unpacked layers, which may belong to subordinate ids.
    pub fn is_unpacked(&self) -> bool {
        matches!(self, Self::Store(_) | Self::ContainersStorage(_))
    }

    /// Another image at the same place: in the same repository, layout or store.
    pub fn with_tag(&self, tag: &str) -> Result<Self> {
        let retagged = |reference: &Reference| -> Result<Reference> {
            let tag = conex_spec::distribution::reference::check_tag(tag).map(|()| Some(tag.to_owned()));
            let tag = tag.map_err(|why| Error::new(ErrorKind::Usage, why))?;
            Ok(Reference { tag, digest: None, ..reference.clone() })
        };
        match self {
            Self::Docker(reference) => Ok(Self::Docker(retagged(reference)?)),
            Self::Store(name) => Ok(Self::Store(retagged(&name.parse()?)?.canonical())),
            Self::DockerDaemon(name) => Ok(Self::DockerDaemon(retagged(&name.parse()?)?.canonical())),
            Self::Oci(LayoutName { path, .. }) => {
                conex_image::layout::check_name(tag)?;
                Ok(Self::Oci(LayoutName { path: path.clone(), reference: Some(tag.to_owned()) }))
            }
            _ => Err(Error::new(ErrorKind::Usage, "images have no tags at this place")
                .with_hint("name the new image in full")),
        }
    }

    /// Whether both are in one repository, layout or store: what one has the other needs not be given.
    pub fn is_beside(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Docker(one), Self::Docker(other)) => one.repository() == other.repository(),
            (Self::Oci(one), Self::Oci(other)) => one.path == other.path,
            (Self::OciArchive(one), Self::OciArchive(other)) => one.path == other.path,
            (Self::Store(_), Self::Store(_)) => true,
            _ => false,
        }
    }

    /// The directory of a layout.
    pub fn layout(&self) -> Option<&Path> {
        match self {
            Self::Oci(name) => Some(&name.path),
            _ => None,
        }
    }
}

fn daemon(settings: &Settings) -> Result<Daemon> {
    Ok(Daemon::new(&settings.docker_host)?)
}
