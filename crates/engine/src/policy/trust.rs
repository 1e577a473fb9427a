// SPDX-License-Identifier: Apache-2.0
//! What the system's files say about trust, and the guard that follows from it for one place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use conex_image::transfer::Source;
use conex_registry::config::Lookasides;
use conex_registry::{Client, Settings};
use conex_spec::Digest;
use conex_spec::distribution::Reference;

use super::{Guarded, Policy, Signatures, reference_scopes};
use crate::transport::Location;
use crate::{Result, Wrap as _};

/// Most signatures of one manifest, and most bytes of one.
const MOST: usize = 128;
const SIGNATURE_CAP: u64 = 4 << 20;

/// Where the files are.
#[derive(Clone, Debug, Default)]
pub struct TrustFiles {
    /// The signature policy; without one, all images may be used.
    pub policy: Option<PathBuf>,
    /// Where signatures are, in the order in which they are read.
    pub registries_d: Vec<PathBuf>,
    /// The lookaside where no file names one: a URL.
    pub builtin: String,
}

/// Which images may be used.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Without one, all.
    pub policy: Option<Policy>,
    /// Where signatures are.
    pub lookasides: Lookasides,
}

impl Trust {
    /// Reads the files. What is wrong with one is an error: nothing is let through because it could not be read.
    pub fn read(files: &TrustFiles) -> Result<Self> {
        let mut trust = Self { policy: None, lookasides: Lookasides::new(files.builtin.clone()) };
        let text = |path: &Path| fs::read_to_string(path).wrap(|| path.display().to_string());
        if let Some(path) = &files.policy {
            trust.policy = Some(Policy::parse(&text(path)?).wrap(|| path.display().to_string())?);
        }
        for path in &files.registries_d {
            trust.lookasides.add(&text(path)?).wrap(|| path.display().to_string())?;
        }
        Ok(trust)
    }

    /// Puts the policy before a source. `checks_indexes`: they are copied, too.
    pub fn guard(
        &self,
        location: &Location,
        source: Box<dyn Source>,
        registry: &Settings,
        checks_indexes: bool,
    ) -> Box<dyn Source> {
        let Some(requirements) = self.policy.as_ref().and_then(|policy| policy.requirements(location)) else {
            return source;
        };
        let (asked, signatures): (_, Box<dyn Signatures>) = match location {
            Location::Docker(reference) => {
                let lookasides = self.lookasides.clone();
                let client = Client::new(registry.clone());
                (
                    Some(reference.clone()),
                    Box::new(Beside { reference: reference.clone(), lookasides, client }),
                )
            }
            Location::Dir(path) => (None, Box::new(Within(path.clone()))),
            _ => (None, Box::new(Nowhere)),
        };
        Box::new(Guarded {
            inner: source,
            requirements: requirements.clone(),
            asked,
            signatures,
            checks_indexes,
        })
    }
}

/// There is no place for signatures.
struct Nowhere;

impl Signatures for Nowhere {
    fn of(&self, _: &Digest) -> Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }
}

/// `signature-N` in a `dir:`.
struct Within(PathBuf);

impl Signatures for Within {
    fn of(&self, _: &Digest) -> Result<Vec<Vec<u8>>> {
        numbered(|number| read(&self.0.join(format!("signature-{number}"))))
    }
}

/// In a lookaside, by file or over HTTP.
struct Beside {
    reference: Reference,
    lookasides: Lookasides,
    client: Client,
}

impl Signatures for Beside {
    fn of(&self, digest: &Digest) -> Result<Vec<Vec<u8>>> {
        let scopes = reference_scopes(&self.reference);
        numbered(|number| {
            let address = self.lookasides.address(&self.reference, &scopes, digest, number);
            match address.strip_prefix("file://") {
                Some(path) => read(Path::new(path)),
                None => Ok(self.client.fetch(&address, SIGNATURE_CAP)?),
            }
        })
    }
}

fn numbered(read: impl Fn(usize) -> Result<Option<Vec<u8>>>) -> Result<Vec<Vec<u8>>> {
    (1..=MOST).map_while(|number| read(number).transpose()).collect()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).wrap(|| path.display().to_string()),
        Ok(about) if !about.is_file() || about.len() > SIGNATURE_CAP => {
            let what = format!("{}: not a signature", path.display());
            Err(crate::Error::new(crate::ErrorKind::Invalid, what))
        }
        Ok(_) => Ok(Some(fs::read(path).wrap(|| path.display().to_string())?)),
    }
}
