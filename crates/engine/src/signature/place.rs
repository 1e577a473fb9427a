// SPDX-License-Identifier: Apache-2.0
//! Where the signatures of an image are: beside it in a `dir:`, in a lookaside and as attachments for a registry.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use conex_registry::Client;
use conex_registry::config::{Lookasides, Purpose};
use conex_spec::Digest;
use conex_spec::distribution::Reference;

use super::{Signature, attachment};
use crate::{Error, ErrorKind, Result, Wrap as _};

/// Most signatures of one manifest, and most bytes of one.
const MOST: usize = 128;
const SIGNATURE_CAP: u64 = 4 << 20;

/// Where a manifest stands in its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It is what the image's name means.
    Named,
    /// An index leads to it.
    Below,
}

/// Where signatures are.
#[derive(Debug)]
pub enum Place {
    /// There is none at this place.
    Nowhere,
    /// `signature-N` in a `dir:`.
    Directory(PathBuf),
    /// What registries.d says about a registry.
    Registry {
        /// The image.
        reference: Reference,
        /// What registries.d says.
        lookasides: Lookasides,
        /// How the registry is spoken to.
        client: Client,
    },
}

impl Place {
    /// All signatures of a manifest.
    pub fn read(&self, digest: &Digest, level: Level) -> Result<Vec<Signature>> {
        match self {
            Self::Nowhere => Ok(Vec::new()),
            Self::Directory(path) => {
                numbered(|number| read_file(&path.join(file_name(digest, level, number))))
            }
            Self::Registry { reference, lookasides, client } => {
                let mut found = numbered(|number| {
                    let address = lookasides.address(Purpose::Read, reference, digest, number);
                    match address.strip_prefix("file://") {
                        Some(path) => read_file(Path::new(path)),
                        None => Ok(client.fetch(&address, SIGNATURE_CAP)?),
                    }
                })?;
                if lookasides.uses_attachments(reference) {
                    let attached = attachment::read(client, reference, digest)?;
                    found.extend(attached.into_iter().map(Signature::Sigstore));
                }
                Ok(found)
            }
        }
    }
}

/// `signature-1`, below an index `<hex>-signature-1`.
fn file_name(digest: &Digest, level: Level, number: usize) -> String {
    match level {
        Level::Named => format!("signature-{number}"),
        Level::Below => format!("{}-signature-{number}", digest.hex()),
    }
}

fn numbered(read: impl Fn(usize) -> Result<Option<Vec<u8>>>) -> Result<Vec<Signature>> {
    let files = (1..=MOST).map_while(|number| read(number).transpose());
    files.map(|bytes| Signature::from_file(bytes?)).collect()
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).wrap(|| path.display().to_string()),
        Ok(about) if !about.is_file() || about.len() > SIGNATURE_CAP => {
            let what = format!("{}: not a signature", path.display());
            Err(Error::new(ErrorKind::Invalid, what))
        }
        Ok(_) => Ok(Some(fs::read(path).wrap(|| path.display().to_string())?)),
    }
}
