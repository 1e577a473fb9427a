// SPDX-License-Identifier: Apache-2.0
//! What verbs share that make an image out of another: in whose words they are said, what its history says, how a new layer
//! is stored. Which image it is and where the new one goes is [`super::target`]'s.

use std::time::SystemTime;

use clap::ValueEnum;
use conex_engine::images;
use conex_engine::images::layout::LayoutName;
use conex_engine::images::mutate::Note;
use conex_spec::Timestamp;
use conex_spec::image::media_type::Compression;

use crate::error::CommandError;
use crate::session::Session;

/// In whose words an image is named, and who is noted in its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// `docker://NAME`, `oci:PATH[:TAG]`, …
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
    /// Reads a name in a layout. Without a tag it is `latest`.
    pub(crate) fn place(self, word: &str) -> Result<Place, CommandError> {
        let path = match self {
            Self::Umoci => word,
            Self::Conex => word.strip_prefix("oci:").ok_or_else(|| {
                CommandError::usage(format!("{word:?}: this verb works on OCI layouts"))
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

/// `NAME=VALUE`
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not NAME=VALUE")),
    }
}
