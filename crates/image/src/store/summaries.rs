// SPDX-License-Identifier: Apache-2.0
//! What a list tells of an image, and a memory of it: thousands of images are not read anew for each list.
//!
//! ```text
//!  <root>/summaries    conex-summaries 1 linux/amd64                       for this platform
//!                      <manifest or index> <image id> <size> <created|->   a line for each, its content never changes
//! ```
//! The names are index.json's, the truth is in the blobs. Lines are looked up by digest, so they cannot be out of date;
//! the file may be removed at any time, and is written whole by whoever had to read many images.

use std::collections::HashMap;
use std::fmt::Write as _;

use conex_spec::image::Platform;
use conex_spec::{Digest, Timestamp};

use super::Store;
use crate::layout::files::{self, Existing};
use crate::{Image, Result};

const NAME: &str = "summaries";
/// A line for each of a hundred thousand images.
const MAX: u64 = 32 << 20;

/// What a list tells of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The image id.
    pub id: Digest,
    /// When it was made, where it says so.
    pub created: Option<Timestamp>,
    /// Bytes of its configuration and its layers, as a registry keeps them.
    pub size: u64,
}

/// By the digest of the manifest or index.
pub type Summaries = HashMap<Digest, Summary>;

impl Summary {
    /// Of an image that was read.
    pub fn of(image: &Image) -> Self {
        let layers: u64 = image.manifest.layers.iter().map(|layer| layer.size).sum();
        Self {
            id: image.id().clone(),
            created: image.config.created.as_ref().and_then(|time| time.parse().ok()),
            size: layers + image.manifest.config.size,
        }
    }
}

impl Store {
    /// What is remembered of images for this platform. What cannot be read is not remembered.
    pub fn summaries(&self, platform: &Platform) -> Summaries {
        let read = || -> Result<Summaries> {
            let bytes = files::read(&self.root.open_file(NAME)?, MAX)?;
            Ok(parse(&String::from_utf8_lossy(&bytes), platform))
        };
        read().unwrap_or_default()
    }

    /// Remembers these and no others.
    pub fn remember_summaries(&self, platform: &Platform, summaries: &Summaries) -> Result<()> {
        let _shared = self.share()?;
        files::write(&self.root, NAME, lines(platform, summaries).as_bytes(), 0o600, Existing::Replace)
    }
}

fn head(platform: &Platform) -> String {
    format!("conex-summaries 1 {platform}")
}

fn parse(text: &str, platform: &Platform) -> Summaries {
    let mut lines = text.lines();
    if lines.next() != Some(head(platform).as_str()) {
        return Summaries::new();
    }
    let summary = |line: &str| -> Option<(Digest, Summary)> {
        let mut words = line.split(' ');
        let (digest, id) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (size, created) = (words.next()?.parse().ok()?, words.next()?);
        let created = if created == "-" { None } else { Some(created.parse().ok()?) };
        Some((digest, Summary { id, created, size }))
    };
    lines.filter_map(summary).collect()
}

fn lines(platform: &Platform, summaries: &Summaries) -> String {
    let mut text = head(platform) + "\n";
    for (digest, Summary { id, created, size }) in summaries {
        let created = created.map_or_else(|| "-".to_owned(), |time| time.to_string());
        // Writing to a string does not fail.
        let _ = writeln!(text, "{digest} {id} {size} {created}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::sha256;

    #[test]
    fn what_is_written_is_read() {
        let platform = Platform { architecture: "other".into(), ..Platform::host() };
        let one =
            Summary { id: sha256(b"1"), created: Some("2026-01-02T03:04:05Z".parse().unwrap()), size: 7 };
        let two = Summary { id: sha256(b"2"), created: None, size: u64::MAX };
        let summaries = Summaries::from([(sha256(b"a"), one), (sha256(b"b"), two)]);
        let text = lines(&platform, &summaries);
        assert_eq!(parse(&text, &platform), summaries);
        assert_eq!(parse(&text, &Platform::host()), Summaries::new());
        let damaged = text.replace(" 7 ", " seven ") + "sha256:1 x\n\n";
        assert_eq!(parse(&damaged, &platform).len(), 1, "a line that cannot be read is passed over");
    }
}
