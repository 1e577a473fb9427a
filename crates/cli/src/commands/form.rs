// SPDX-License-Identifier: Apache-2.0
//! In which form `copy` delivers an image, in skopeo's words.

use conex_engine::images::transfer::{Form, Format, LayerForm};
use conex_spec::image::media_type::Compression;

use crate::error::CommandError;

#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Form")]
pub(crate) struct FormArgs {
    /// Media types of the manifests: oci, or v2s2 (Docker's)
    #[arg(short, long, value_name = "TYPE")]
    format: Option<String>,
    /// Compress layers that are not
    #[arg(long, visible_alias = "compress")]
    dest_compress: bool,
    /// Store layers as plain tar files
    #[arg(long, visible_alias = "decompress", conflicts_with = "dest_compress")]
    dest_decompress: bool,
    /// Compress all layers like this: gzip or zstd
    #[arg(long, value_name = "FORMAT", conflicts_with = "dest_decompress")]
    dest_compress_format: Option<String>,
    /// Leave layers that are not compressed as they are
    #[arg(long, conflicts_with_all = ["dest_compress", "dest_compress_format"])]
    dest_oci_accept_uncompressed_layers: bool,
    /// An error rather than an image with another digest
    #[arg(long)]
    pub preserve_digests: bool,
}

impl FormArgs {
    /// What was asked for; the destination decides the rest.
    pub(crate) fn form(&self) -> Result<Form, CommandError> {
        let format = match self.format.as_deref() {
            None => None,
            Some("oci") => Some(Format::Oci),
            Some("v2s2") => Some(Format::Docker),
            Some("v2s1") => {
                return Err(CommandError::tool("--format v2s1: no registry since 2017 needs schema 1")
                    .with_hint("use v2s2 or oci"));
            }
            Some(other) => {
                let message = format!(
                    "unknown format {other:?}. Choose one of the supported formats: 'oci', 'v2s1', or 'v2s2'"
                );
                return Err(CommandError::usage(message));
            }
        };
        let layers = match self.dest_compress_format.as_deref() {
            Some("gzip") => Some(LayerForm::As(Compression::Gzip)),
            Some("zstd") => Some(LayerForm::As(Compression::Zstd)),
            Some("zstd:chunked") => {
                return Err(CommandError::tool("--dest-compress-format zstd:chunked is not there yet")
                    .with_hint("zstd reads the same everywhere"));
            }
            Some(other) => {
                let message = format!("--dest-compress-format {other:?}: there are gzip and zstd");
                return Err(CommandError::usage(message));
            }
            None if self.dest_decompress => Some(LayerForm::As(Compression::None)),
            None if self.dest_compress => Some(LayerForm::Packed),
            None if self.dest_oci_accept_uncompressed_layers => Some(LayerForm::Any),
            None => None,
        };
        Ok(Form { format, layers })
    }
}
