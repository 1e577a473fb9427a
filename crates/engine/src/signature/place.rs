// SPDX-License-Identifier: Apache-2.0
//! Where the signatures of an image are: beside it in a `dir:`, in a lookaside and as attachments for a registry.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use conex_registry::Client;
use conex_registry::config::{Lookasides, Purpose};
use conex_spec::distribution::Reference;
use conex_spec::{Algorithm, Digest};

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
    /// There is none at this place, for this reason.
    Nowhere(&'static str),
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
    /// Whether signatures can be kept here; else an error that says why not.
    pub fn keeps_signatures(&self) -> Result<()> {
        match self {
            Self::Nowhere(why) => Err(Error::new(ErrorKind::Unsupported, *why)),
            Self::Directory(_) | Self::Registry { .. } => Ok(()),
        }
    }

    /// Keeps all signatures of a manifest. In files they take the place of those that were there; attachments are added.
    pub fn write(&self, digest: &Digest, level: Level, signatures: &[Signature]) -> Result<()> {
        match self {
            Self::Nowhere(_) => self.keeps_signatures(),
            Self::Directory(path) => {
                let file = |number| Ok(path.join(file_name(digest, level, number)));
                write_files(signatures.iter(), file)
            }
            Self::Registry { reference, lookasides, client } => {
                let (mut simple, mut attached) = (Vec::new(), Vec::new());
                for signature in signatures {
                    match signature {
                        Signature::Simple(_) => simple.push(signature),
                        Signature::Sigstore(one) => attached.push(one.clone()),
                    }
                }
                if !attached.is_empty() && !lookasides.uses_attachments(reference) {
                    let message = "writing sigstore attachments is disabled by configuration";
                    return Err(Error::new(ErrorKind::Usage, message).with_hint(format!(
                        "registries.d, docker: {}: use-sigstore-attachments: true",
                        reference.host
                    )));
                }
                if !attached.is_empty() {
                    attachment::add(client, reference, digest, &attached)?;
                }
                let file = |number| {
                    local(&lookasides.address(Purpose::Write, reference, digest, number)).map(Path::to_owned)
                };
                if simple.is_empty() { Ok(()) } else { write_files(simple.into_iter(), file) }
            }
        }
    }

    /// All signatures of a manifest.
    pub fn read(&self, digest: &Digest, level: Level) -> Result<Vec<Signature>> {
        match self {
            Self::Nowhere(_) => Ok(Vec::new()),
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

/// The path of a lookaside's address that can be written.
fn local(address: &str) -> Result<&Path> {
    address.strip_prefix("file://").map(Path::new).ok_or_else(|| {
        let message = format!("Writing directly to the lookaside {address} is not supported");
        Error::new(ErrorKind::Unsupported, message).with_hint("Configure a lookaside-staging: location")
    })
}

/// Signatures in files counted from 1, and no more of them.
fn write_files<'a>(
    signatures: impl ExactSizeIterator<Item = &'a Signature>,
    file: impl Fn(usize) -> Result<PathBuf>,
) -> Result<()> {
    let count = signatures.len();
    for (number, signature) in (1..).zip(signatures) {
        let path = file(number)?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).wrap(|| parent.display().to_string())?;
        conex_sys::file::replace(&path, &signature.to_file(), 0o644)?;
    }
    for number in count + 1.. {
        let path = file(number)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            removed => removed.wrap(|| path.display().to_string())?,
        }
    }
    Ok(())
}

/// `signature-1`, below an index `<hex>.signature-1`, with another algorithm than sha256 `<algorithm>-<hex>.signature-1`.
fn file_name(digest: &Digest, level: Level, number: usize) -> String {
    match level {
        Level::Named => format!("signature-{number}"),
        Level::Below if digest.algorithm() == Algorithm::Sha256 => {
            format!("{}.signature-{number}", digest.hex())
        }
        Level::Below => format!("{}-{}.signature-{number}", digest.algorithm().name(), digest.hex()),
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
