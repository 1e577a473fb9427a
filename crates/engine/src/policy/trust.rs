// SPDX-License-Identifier: Apache-2.0
//! What the system's files say about trust, and the guard that follows from it for one place.

use std::fs;
use std::path::{Path, PathBuf};

use conex_image::transfer::Source;
use conex_registry::config::Lookasides;
use conex_registry::{Client, Settings};

use super::{Guarded, Policy, Requirement, Rule};
use crate::signature::Place;
use crate::transport::Location;
use crate::{Error, ErrorKind, Result, Wrap as _};

/// Where the files are.
#[derive(Clone, Debug, Default)]
pub struct TrustFiles {
    /// The signature policy; without one, all images may be used.
    pub policy: Option<PathBuf>,
    /// Where signatures are, in the order in which they are read.
    pub registries_d: Vec<PathBuf>,
    /// The lookaside where no file names one: a URL.
    pub builtin: String,
    /// Only images of which the policy demands a signature may be used.
    pub require_signed: bool,
}

/// Which images may be used.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Without one, all.
    pub policy: Option<Policy>,
    /// The file it is from, for messages.
    pub policy_file: String,
    /// Where signatures are.
    pub lookasides: Lookasides,
    /// See [`TrustFiles`].
    pub require_signed: bool,
}

impl Trust {
    /// Reads the files. What is wrong with one is an error: nothing is let through because it could not be read.
    pub fn read(files: &TrustFiles) -> Result<Self> {
        let mut trust = Self {
            lookasides: Lookasides::new(files.builtin.clone()),
            require_signed: files.require_signed,
            ..Self::default()
        };
        let text = |path: &Path| fs::read_to_string(path).wrap(|| path.display().to_string());
        if let Some(path) = &files.policy {
            trust.policy_file = path.display().to_string();
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
    ) -> Result<Box<dyn Source>> {
        let rule = self.policy.as_ref().and_then(|policy| policy.rule(location));
        let demands = |rule: &Rule<'_>| rule.requirements.0.iter().any(Requirement::verifies_signatures);
        if self.require_signed && !rule.as_ref().is_some_and(demands) {
            return Err(self.nothing_demanded(source.as_ref(), rule.as_ref()));
        }
        let Some(rule) = rule else { return Ok(source) };
        let asked = match location {
            Location::Docker(reference) => Some(reference.clone()),
            _ => None,
        };
        Ok(Box::new(Guarded {
            inner: source,
            requirements: rule.requirements.clone(),
            rule: format!("{}, {}", self.policy_file, rule.place),
            asked,
            signatures: self.place(location, registry),
            checks_indexes,
        }))
    }

    /// Why an image may not be used where a signature must be demanded of it.
    fn nothing_demanded(&self, source: &dyn Source, rule: Option<&Rule<'_>>) -> Error {
        let message = format!(
            "Source image rejected: No signature verification policy found for image {}",
            source.describe()
        );
        let hint = match rule {
            Some(rule) => format!(
                "--require-signed: {}, {} has neither signedBy nor sigstoreSigned",
                self.policy_file, rule.place
            ),
            None if self.policy.is_some() => {
                "--require-signed: what is in the store cannot be checked again; pull it anew".to_owned()
            }
            None => "--require-signed: there is no policy.json that demands a signature".to_owned(),
        };
        Error::new(ErrorKind::Denied, message).with_hint(hint)
    }

    /// Where the signatures of what is at a location are.
    pub fn place(&self, location: &Location, registry: &Settings) -> Place {
        match location {
            Location::Docker(reference) => Place::Registry {
                reference: reference.clone(),
                lookasides: self.lookasides.clone(),
                client: Client::new(registry.clone()),
            },
            Location::Dir(path) => Place::Directory(path.clone()),
            Location::Oci(_) | Location::OciArchive(_) => {
                Place::Nowhere("Pushing signatures for OCI images is not supported")
            }
            Location::DockerArchive(_) | Location::DockerArchiveDir(_) | Location::DockerDaemon(_) => {
                Place::Nowhere("Storing signatures for docker tar files is not supported")
            }
            Location::ContainersStorage(_) => {
                Place::Nowhere("Storing signatures in containers-storage is not supported")
            }
            Location::Store(_) => {
                Place::Nowhere("the store keeps none: they have been checked on the way in")
            }
        }
    }
}
