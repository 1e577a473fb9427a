// SPDX-License-Identifier: Apache-2.0
//! What goes into an artifact, from the command line: `FILE[:TYPE]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use conex_engine::images::artifact::{Draft, Piece};

use crate::error::CommandError;

/// The type of a configuration of which none was said (oras).
const CONFIG: &str = "application/vnd.unknown.config.v1+json";

/// An artifact's parts.
#[derive(clap::Args, Debug)]
pub(super) struct FilesArgs {
    /// Files and directories, by paths that lead down from here, and their media types: FILE[:TYPE]
    #[arg(value_name = "FILE[:TYPE]")]
    files: Vec<String>,
    /// An annotation of the artifact: KEY=VALUE; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = annotation)]
    annotation: Vec<(String, String)>,
    /// Annotations of artifact and files, JSON: {"$manifest": {…}, "$config": {…}, "FILE": {…}}
    #[arg(long, value_name = "FILE")]
    annotation_file: Option<PathBuf>,
}

impl FilesArgs {
    pub(super) fn draft(
        &self,
        artifact_type: Option<String>,
        config: Option<&str>,
    ) -> Result<Draft, CommandError> {
        let mut pieces = Vec::new();
        for word in &self.files {
            let (path, media_type) = split(word);
            pieces.push(Piece::named(path, media_type)?);
        }
        let config = config.map(|word| {
            let (path, media_type) = split(word);
            Piece::of_file(path, media_type.unwrap_or(CONFIG))
        });
        let mut draft = Draft { artifact_type, config: config.transpose()?, pieces, ..Draft::default() };
        self.annotate(&mut draft)?;
        Ok(draft)
    }

    fn annotate(&self, draft: &mut Draft) -> Result<(), CommandError> {
        if let Some(file) = &self.annotation_file {
            let text = std::fs::read(file)
                .map_err(|error| CommandError::usage(format!("{}: {error}", file.display())))?;
            let said: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_slice(&text)
                .map_err(|error| CommandError::usage(format!("{}: {error}", file.display())))?;
            for (part, annotations) in said {
                place(draft, &part)
                    .ok_or_else(|| {
                        CommandError::usage(format!(
                            "{}: {part:?} is no file of this artifact",
                            file.display()
                        ))
                    })?
                    .extend(annotations);
            }
        }
        draft.annotations.extend(self.annotation.iter().cloned());
        Ok(())
    }
}

/// The annotations of a part.
fn place<'a>(draft: &'a mut Draft, part: &str) -> Option<&'a mut BTreeMap<String, String>> {
    match part {
        "$manifest" => Some(&mut draft.annotations),
        "$config" => Some(&mut draft.config.as_mut()?.descriptor.annotations),
        file => {
            let mut pieces = draft.pieces.iter_mut().map(|piece| &mut piece.descriptor);
            let found = pieces.find(|descriptor| super::title(descriptor) == Some(file))?;
            Some(&mut found.annotations)
        }
    }
}

/// A media type has a slash, and a file with that name is nobody's.
fn split(word: &str) -> (&Path, Option<&str>) {
    match word.rsplit_once(':') {
        Some((path, media_type)) if media_type.contains('/') && !Path::new(word).exists() => {
            (Path::new(path), Some(media_type))
        }
        _ => (Path::new(word), None),
    }
}

fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_stand_behind_the_last_colon() {
        for (word, path, media_type) in [
            ("a.txt", "a.txt", None),
            ("a.txt:text/plain", "a.txt", Some("text/plain")),
            ("a:b.txt", "a:b.txt", None),
            ("a:b:application/x+y", "a:b", Some("application/x+y")),
        ] {
            assert_eq!(split(word), (Path::new(path), media_type), "{word}");
        }
    }
}
