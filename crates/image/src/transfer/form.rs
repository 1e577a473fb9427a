// SPDX-License-Identifier: Apache-2.0
//! In which of the equivalent forms an image is wanted: whose media types, and how its layers are stored. Pure.

use conex_spec::image::Manifest;
use conex_spec::image::media_type::{self, Compression, Kind};

use crate::{Error, ErrorKind, Result};

/// Whose names for the same things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// image-spec's.
    Oci,
    /// Docker's image manifest, version 2, schema 2.
    Docker,
}

impl Format {
    fn of(media_type: &str) -> Self {
        if media_type.starts_with("application/vnd.docker.") { Self::Docker } else { Self::Oci }
    }
}

/// How layers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerForm {
    /// As they are, whatever the destination usually gets.
    Any,
    /// Compressed where they are not: what a registry or a layout is usually given.
    Packed,
    /// All of them like this.
    As(Compression),
}

/// What is asked for; `None` is: as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Whose media types.
    pub format: Option<Format>,
    /// How the layers are stored.
    pub layers: Option<LayerForm>,
}

impl Form {
    /// What a person asked for, and for the rest what the sink takes.
    #[must_use]
    pub fn or(self, sink: Self) -> Self {
        Self { format: self.format.or(sink.format), layers: self.layers.or(sink.layers) }
    }

    /// The media type that a document of this one would have. A layer's is [`Form::layer`]'s.
    pub(super) fn document(self, current: &str) -> &str {
        match (self.format, media_type::kind(current)) {
            (Some(Format::Oci), Kind::Manifest) => media_type::OCI_MANIFEST,
            (Some(Format::Oci), Kind::Index) => media_type::OCI_INDEX,
            (Some(Format::Oci), Kind::Config) => media_type::OCI_CONFIG,
            (Some(Format::Docker), Kind::Manifest) => media_type::DOCKER_MANIFEST,
            (Some(Format::Docker), Kind::Index) => media_type::DOCKER_MANIFEST_LIST,
            (Some(Format::Docker), Kind::Config) => media_type::DOCKER_CONFIG,
            _ => current,
        }
    }

    /// Whether an image has this form already. What is no image, an artifact say, has no other.
    pub(super) fn holds(self, current: &str, manifest: &Manifest) -> Result<bool> {
        if media_type::kind(&manifest.config.media_type) != Kind::Config {
            let asks_docker = self.format == Some(Format::Docker);
            return if asks_docker { Err(no_image(&manifest.config.media_type)) } else { Ok(true) };
        }
        let mut same = self.document(current) == current
            && self.document(&manifest.config.media_type) == manifest.config.media_type;
        for layer in &manifest.layers {
            same &= self.layer(&layer.media_type)?.0 == layer.media_type;
        }
        Ok(same)
    }

    /// The media type that a layer should have, and how it is stored then.
    pub(super) fn layer(self, current: &str) -> Result<(&str, Compression)> {
        let Kind::Layer(stored) = media_type::kind(current) else { return Ok((current, Compression::None)) };
        let format = self.format.unwrap_or_else(|| Format::of(current));
        let wanted = match self.layers {
            None | Some(LayerForm::Any) => stored,
            Some(LayerForm::Packed) if stored == Compression::None => Compression::Gzip,
            Some(LayerForm::Packed) => stored,
            Some(LayerForm::As(wanted)) => wanted,
        };
        let wanted = match (format, wanted) {
            (Format::Docker, Compression::Zstd) if self.layers == Some(LayerForm::As(Compression::Zstd)) => {
                return Err(Error::new(ErrorKind::Usage, "Docker's manifests have no zstd layers")
                    .with_hint("use the OCI format, or gzip"));
            }
            (Format::Docker, Compression::Zstd) if self.format.is_some() => Compression::Gzip,
            (_, wanted) => wanted,
        };
        if wanted == stored && self.format.is_none_or(|format| format == Format::of(current)) {
            // A type that says more than these, such as a layer that may not be distributed.
            return Ok((current, stored));
        }
        Ok((layer_type(format, wanted), wanted))
    }
}

fn layer_type(format: Format, compression: Compression) -> &'static str {
    match (format, compression) {
        (Format::Oci, Compression::None) => media_type::OCI_LAYER,
        (Format::Oci, Compression::Gzip) => media_type::OCI_LAYER_GZIP,
        (Format::Oci, Compression::Zstd) => media_type::OCI_LAYER_ZSTD,
        (Format::Docker, Compression::None) => media_type::DOCKER_LAYER,
        (Format::Docker, Compression::Gzip) => media_type::DOCKER_LAYER_GZIP,
        (Format::Docker, Compression::Zstd) => media_type::DOCKER_LAYER_ZSTD,
    }
}

fn no_image(config: &str) -> Error {
    let message = format!("{config} is an artifact; Docker's manifests are for images only");
    Error::new(ErrorKind::Unsupported, message).with_hint("use the OCI format")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

    #[test]
    fn a_layer_gets_the_type_of_what_it_becomes() {
        let form = |format, layers| Form { format, layers };
        let (oci, docker) = (Some(Format::Oci), Some(Format::Docker));
        let (packed, plain) = (Some(LayerForm::Packed), Some(LayerForm::As(Compression::None)));
        for (form, from, to) in [
            (form(None, None), FOREIGN, FOREIGN),
            (form(oci, None), media_type::DOCKER_LAYER_GZIP, media_type::OCI_LAYER_GZIP),
            (form(docker, None), media_type::OCI_LAYER_ZSTD, media_type::DOCKER_LAYER_GZIP),
            (form(docker, packed), media_type::OCI_LAYER, media_type::DOCKER_LAYER_GZIP),
            (form(None, packed), media_type::OCI_LAYER_ZSTD, media_type::OCI_LAYER_ZSTD),
            (form(docker, plain), media_type::OCI_LAYER_ZSTD, media_type::DOCKER_LAYER),
            (form(None, plain), media_type::DOCKER_LAYER_GZIP, media_type::DOCKER_LAYER),
            (form(oci, packed), "text/plain", "text/plain"),
        ] {
            assert_eq!(form.layer(from).unwrap().0, to, "{form:?} {from}");
        }
        let zstd = Some(LayerForm::As(Compression::Zstd));
        assert!(form(docker, zstd).layer(media_type::OCI_LAYER).is_err());
        assert_eq!(form(oci, zstd).layer(media_type::DOCKER_LAYER).unwrap().0, media_type::OCI_LAYER_ZSTD);
    }

    #[test]
    fn what_a_person_asks_for_comes_before_what_a_sink_takes() {
        let person = Form { format: Some(Format::Docker), layers: None };
        let sink = Form { format: Some(Format::Oci), layers: Some(LayerForm::Packed) };
        assert_eq!(person.or(sink), Form { format: Some(Format::Docker), layers: Some(LayerForm::Packed) });
    }
}
