// SPDX-License-Identifier: Apache-2.0
//! What all verbs share that make an image out of another: which one, what the new one is called, what its history says,
//! how a new layer is stored.

use std::time::SystemTime;

use clap::ValueEnum;
use conex_engine::images::layout::{LayoutName, LayoutSource};
use conex_engine::images::mutate::{Draft, Note};
use conex_engine::images::{self, Image};
use conex_spec::Timestamp;
use conex_spec::image::Platform;
use conex_spec::image::media_type::Compression;

use crate::error::CommandError;
use crate::session::Session;

/// In whose words an image is named, and who is noted in its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// `oci:PATH[:TAG]`
    Conex,
    /// `PATH[:TAG]`
    Umoci,
}

/// A name in a layout.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The layout's directory.
    pub layout: std::path::PathBuf,
    /// The name there.
    pub name: String,
}

impl Caller {
    /// Reads `--image`. Without a tag it is `latest`.
    pub(crate) fn place(self, word: &str) -> Result<Place, CommandError> {
        let path = match self {
            Self::Umoci => word,
            Self::Conex => word.strip_prefix("oci:").ok_or_else(|| {
                CommandError::usage(format!("{word:?}: images are changed in OCI layouts"))
                    .with_hint("write oci:DIRECTORY[:TAG]; `conex copy` brings an image there and back")
            })?,
        };
        let LayoutName { path, reference } = LayoutName::parse(path)?;
        let name = reference.unwrap_or_else(|| "latest".to_owned());
        images::layout::check_name(&name)?;
        Ok(Place { layout: path, name })
    }

    /// A step, for the history.
    fn step(self, verb: &str) -> String {
        match self {
            Self::Umoci => format!("umoci {verb}"),
            Self::Conex => format!("conex {verb}"),
        }
    }
}

impl Place {
    /// The image that has the name.
    pub(crate) fn image(&self, platform: &Platform) -> Result<Image, CommandError> {
        let name = LayoutName { path: self.layout.clone(), reference: Some(self.name.clone()) };
        Ok(Image::load(&LayoutSource::open(&name)?, platform)?)
    }
}

/// The image that is changed, and the new one's name.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct TargetArgs {
    /// The image: oci:DIRECTORY[:TAG] (umoci: DIRECTORY[:TAG])
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// Give the new image this name in the layout, and leave the old one its own
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Where the name stands for several images, the one for this platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = crate::commands::platform::parse_platform)]
    platform: Option<Platform>,
}

impl TargetArgs {
    /// The image as a draft, its layout, and what the result is called.
    pub(crate) fn open(&self, caller: Caller) -> Result<(Draft, Place), CommandError> {
        let mut place = caller.place(&self.image)?;
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        let draft = Draft::of(place.image(&platform)?);
        if let Some(tag) = &self.tag {
            images::layout::check_name(tag)?;
            place.name.clone_from(tag);
        }
        Ok((draft, place))
    }

    /// For messages.
    pub(crate) fn word(&self) -> &str {
        &self.image
    }
}

/// What the history says of a step.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "History")]
pub(crate) struct HistoryArgs {
    /// Let the history say nothing
    #[arg(long)]
    no_history: bool,
    /// Who did it [default: the image's author]
    #[arg(id = "history-author", long = "history.author", value_name = "NAME")]
    author: Option<String>,
    /// A comment
    #[arg(id = "history-comment", long = "history.comment", value_name = "TEXT")]
    comment: Option<String>,
    /// When, like 2006-01-02T15:04:05Z [default: $SOURCE_DATE_EPOCH, or now]
    #[arg(id = "history-created", long = "history.created", value_name = "TIME")]
    created: Option<Timestamp>,
    /// By what [default: this command]
    #[arg(id = "history-created_by", long = "history.created_by", value_name = "TEXT")]
    created_by: Option<String>,
}

impl HistoryArgs {
    /// What to note of the step `verb`.
    pub(crate) fn note(
        &self,
        verb: &str,
        session: &Session,
        caller: Caller,
    ) -> Result<Option<Note>, CommandError> {
        if self.no_history {
            return Ok(None);
        }
        let created = match self.created {
            Some(created) => created,
            None => now(session)?,
        };
        Ok(Some(Note {
            author: self.author.clone(),
            comment: self.comment.clone(),
            created: Some(created),
            created_by: self.created_by.clone().unwrap_or_else(|| caller.step(verb)),
        }))
    }
}

/// `$SOURCE_DATE_EPOCH`, or what the clock says.
pub(crate) fn now(session: &Session) -> Result<Timestamp, CommandError> {
    let epoch = session.environment.source_date_epoch()?;
    Ok(epoch.map_or_else(|| SystemTime::now().into(), |seconds| Timestamp { seconds, nanoseconds: 0 }))
}

/// How a new layer is stored.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct CompressArgs {
    /// How the new layer is stored; auto: as the image's others
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "auto")]
    compress: Compress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compress {
    Auto,
    None,
    Gzip,
    Zstd,
}

impl CompressArgs {
    /// What was asked for, if anything.
    pub(crate) fn chosen(&self) -> Option<Compression> {
        match self.compress {
            Compress::Auto => None,
            Compress::None => Some(Compression::None),
            Compress::Gzip => Some(Compression::Gzip),
            Compress::Zstd => Some(Compression::Zstd),
        }
    }
}
