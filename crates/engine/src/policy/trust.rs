// SPDX-License-Identifier: Apache-2.0
//! What the system's files say about trust, and the guard that follows from it for one place.

use std::fs;
use std::path::{Path, PathBuf};

use conex_image::transfer::Source;
use conex_registry::config::Lookasides;
use conex_registry::{Client, Settings};

use super::{Guarded, Policy};
use crate::signature::Place;
use crate::transport::Location;
use crate::{Result, Wrap as _};

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
    /// The file it is from, for messages.
    pub policy_file: String,
    /// Where signatures are.
    pub lookasides: Lookasides,
}

impl Trust {
    /// Reads the files. What is wrong with one is an error: nothing is let through because it could not be read.
    pub fn read(files: &TrustFiles) -> Result<Self> {
        let mut trust = Self { lookasides: Lookasides::new(files.builtin.clone()), ..Self::default() };
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
    ) -> Box<dyn Source> {
        let Some(rule) = self.policy.as_ref().and_then(|policy| policy.rule(location)) else {
            return source;
        };
        let asked = match location {
            Location::Docker(reference) => Some(reference.clone()),
            _ => None,
        };
        Box::new(Guarded {
            inner: source,
            requirements: rule.requirements.clone(),
            rule: format!("{}, {}", self.policy_file, rule.place),
            asked,
            signatures: self.place(location, registry),
            checks_indexes,
        })
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
            _ => Place::Nowhere,
        }
    }
}
