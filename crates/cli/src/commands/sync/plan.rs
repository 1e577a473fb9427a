// SPDX-License-Identifier: Apache-2.0
//! What `sync` will copy: from words, directories and YAML to a list of places, before anything is copied.
//!
//! ```text
//!  docker   host/repo:tag, or all tags of host/repo       dir    each directory below with a manifest.json
//!  yaml     by host: images, images-by-tag-regex, credentials, tls-verify, cert-dir
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use conex_engine::registry::config::yaml;
use conex_engine::registry::{Client, Settings as RegistrySettings};
use conex_engine::transport::Location;
use conex_spec::distribution::Reference;
use regex_lite::Regex;
use serde::Deserialize;

use crate::commands::sides::Side;
use crate::error::{CommandError, Context as _};
use crate::session::{RegistryArgs, Session};

/// One image to copy.
pub(super) struct Item {
    /// Where it is.
    pub source: Location,
    /// How its registry is spoken to.
    pub settings: RegistrySettings,
    /// What it is called below the destination: `registry.example.com/org/app:1`.
    pub name: String,
}

/// Which tags.
enum Tags {
    All,
    Matching(Regex),
}

/// One registry of a YAML file (skopeo-sync(1)).
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Listed {
    #[serde(default)]
    images: BTreeMap<String, Option<Vec<String>>>,
    #[serde(default)]
    images_by_tag_regex: BTreeMap<String, String>,
    credentials: Option<Login>,
    tls_verify: Option<bool>,
    cert_dir: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    username: String,
    password: String,
}

/// `--src docker`
pub(super) fn of_registry(name: &str, settings: &RegistrySettings) -> Result<Vec<Item>, CommandError> {
    let reference: Reference = name.parse().map_err(conex_engine::Error::from)?;
    if reference.tag.is_some() || reference.digest.is_some() {
        return Ok(vec![item(reference, settings)]);
    }
    tagged(&reference, &Tags::All, settings)
}

fn item(reference: Reference, settings: &RegistrySettings) -> Item {
    let name = reference.canonical();
    Item { source: Location::Docker(reference), settings: settings.clone(), name }
}

fn tagged(
    reference: &Reference,
    tags: &Tags,
    settings: &RegistrySettings,
) -> Result<Vec<Item>, CommandError> {
    let listed = Client::new(settings.clone()).remote(reference).tags();
    let mut listed = listed.context(|| format!("tags of {}", reference.repository()))?;
    if let Tags::Matching(wanted) = tags {
        listed.retain(|tag| wanted.is_match(tag));
    }
    let named = |tag| item(Reference { tag: Some(tag), ..reference.clone() }, settings);
    Ok(listed.into_iter().map(named).collect())
}

/// `--src dir`
pub(super) fn of_directory(top: &Path, settings: &RegistrySettings) -> Result<Vec<Item>, CommandError> {
    let mut found = Vec::new();
    walk(top, &mut found).context(|| top.display().to_string())?;
    found.sort();
    if found.is_empty() {
        return Err(CommandError::not_found(format!("No images to sync found in {:?}", top.display())));
    }
    let items = found.into_iter().map(|path| {
        let below = path.strip_prefix(top).unwrap_or(&path);
        // The directory may be the image itself; then its own name is the image's.
        let named = if below.as_os_str().is_empty() { path.file_name().map(Path::new) } else { Some(below) };
        let name = named.unwrap_or(below).display().to_string();
        Item { source: Location::Dir(path), settings: settings.clone(), name }
    });
    Ok(items.collect())
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if directory.join("manifest.json").is_file() {
        found.push(directory.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), found)?;
        }
    }
    Ok(())
}

/// `--src yaml`: what could be found, and what went wrong on the way.
pub(super) fn of_file(
    path: &Path,
    side: &Side,
    session: &Session,
) -> Result<(Vec<Item>, Vec<CommandError>), CommandError> {
    let context = || path.display().to_string();
    let text = std::fs::read_to_string(path).context(context)?;
    let file = yaml::parse(&text).context(context)?;
    let hosts: BTreeMap<String, Listed> = serde_json::from_value(file).map_err(|error| {
        CommandError::usage(format!("not a list of images to sync: {error}")).wrap(context())
    })?;
    let (mut items, mut failures) = (Vec::new(), Vec::new());
    for (host, listed) in &hosts {
        let settings = listed.settings(side.clone(), session)?;
        let repositories = listed.repositories(host).context(context)?;
        if repositories.is_empty() {
            failures.push(CommandError::usage(format!("no images listed for {host}")));
        }
        for repository in repositories {
            match repository.items(&settings) {
                Ok(found) => items.extend(found),
                Err(error) => failures.push(error),
            }
        }
    }
    Ok((items, failures))
}

/// What to copy of one repository.
enum Repository {
    Named(Vec<Reference>),
    Tagged(Reference, Tags),
}

impl Repository {
    fn items(&self, settings: &RegistrySettings) -> Result<Vec<Item>, CommandError> {
        match self {
            Self::Named(references) => Ok(references.iter().map(|r| item(r.clone(), settings)).collect()),
            Self::Tagged(reference, tags) => tagged(reference, tags, settings),
        }
    }
}

impl Listed {
    fn settings(&self, mut side: Side, session: &Session) -> Result<RegistrySettings, CommandError> {
        let own = &self.registry_args();
        side.registry.tls_verify = own.tls_verify.or(side.registry.tls_verify);
        side.registry.cert_dir = own.cert_dir.clone().or(side.registry.cert_dir);
        side.registry.creds = own.creds.clone().or(side.registry.creds);
        side.settings(session)
    }

    fn registry_args(&self) -> RegistryArgs {
        let creds = self.credentials.as_ref().map(|login| format!("{}:{}", login.username, login.password));
        RegistryArgs { tls_verify: self.tls_verify, cert_dir: self.cert_dir.clone(), creds, authfile: None }
    }

    fn repositories(&self, host: &str) -> Result<Vec<Repository>, CommandError> {
        let parse = |name: String| name.parse::<Reference>().map_err(conex_engine::Error::from);
        let mut found = Vec::new();
        for (name, versions) in &self.images {
            let versions = versions.as_deref().unwrap_or_default();
            if versions.is_empty() {
                found.push(Repository::Tagged(parse(format!("{host}/{name}"))?, Tags::All));
                continue;
            }
            let references = versions.iter().map(|version| {
                let between = if version.contains(':') { '@' } else { ':' };
                parse(format!("{host}/{name}{between}{version}"))
            });
            found.push(Repository::Named(references.collect::<Result<_, _>>()?));
        }
        for (name, pattern) in &self.images_by_tag_regex {
            let wrong = |error| CommandError::usage(format!("{name}: {pattern:?}: {error}"));
            let wanted = Regex::new(pattern).map_err(wrong)?;
            found.push(Repository::Tagged(parse(format!("{host}/{name}"))?, Tags::Matching(wanted)));
        }
        Ok(found)
    }
}
