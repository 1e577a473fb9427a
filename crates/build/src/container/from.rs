// SPDX-License-Identifier: Apache-2.0
//! Making a working container: under a name that nobody looks at, then by one rename under its own.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::SystemTime;

use conex_engine::{Engine, image, name};
use conex_spec::distribution::Reference;
use conex_spec::image::{ImageConfig, Platform, RootFs};
use conex_sys::Errno;
use conex_sys::path::Dir;

use super::directory::{directory, lock_all, pin_name};
use super::record::VERSION;
use super::{Held, Isolation, Record, Working, remove};
use crate::{Error, ErrorKind, Result, Wrap as _};

/// What a working container shall be.
#[derive(Clone, Debug, Default)]
pub struct FromOptions {
    /// Name, reference or id of an image in the store; `None`: from nothing.
    pub image: Option<String>,
    /// `None`: after the image, `alpine-working-container`.
    pub name: Option<String>,
    /// How `run` confines.
    pub isolation: Isolation,
}

/// What begins the name of one that is being made or removed: no name begins so.
pub(super) const UNFINISHED: &str = ".unfinished-";

/// Makes one, and keeps it for the caller.
pub fn from(engine: &Engine, options: &FromOptions) -> Result<Held> {
    let store = engine.store()?;
    // Layers cannot be collected between now and the pin that keeps them.
    let _kept = store.share()?;
    let found = options.image.as_deref().map(|text| image::find(engine, text)).transpose()?;
    let record = record(found.as_ref(), options)?;
    let unfinished = Working::of(engine, &format!("{UNFINISHED}{}", record.id));
    make_dir(&directory(engine))?;
    let making = lock_all(engine)?;
    make_dir(&unfinished.path)?;
    let lock = File::options().create_new(true).write(true).open(unfinished.path.join("lock"));
    let lock = lock.wrap(|| format!("make {}", unfinished.path.display()))?;
    lock.lock().wrap(|| "lock a new working container")?;
    drop(making);
    let mut held = Held::new(unfinished, record, lock);
    let made = || -> Result<String> {
        held.pin(engine, None)?;
        held.tree(engine)?.prepare()?;
        held.save()?;
        publish(engine, &held, options.name.as_deref())
    };
    match made() {
        Ok(name) => {
            held.working = Working::of(engine, &name);
            Ok(held)
        }
        Err(error) => {
            // The first error is the one to tell; what stays, the next command sweeps.
            let _swept_later = remove::discard(&held.working.path);
            let _swept_later = store.unpin(&pin_name(&held.record.id));
            Err(error)
        }
    }
}

fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).wrap(|| format!("make {}", path.display()))
}

fn record(found: Option<&image::Found>, options: &FromOptions) -> Result<Record> {
    let mut annotations = BTreeMap::new();
    let (mut image, mut image_id, mut manifest, mut layers) = (String::new(), None, None, Vec::new());
    let config = match found {
        Some(found) => {
            image.clone_from(&found.name);
            image_id = Some(found.image.id().clone());
            manifest = Some(found.image.raw.descriptor.clone());
            layers.clone_from(&found.image.manifest.layers);
            annotations.clone_from(&found.image.manifest.annotations);
            found.image.config.clone()
        }
        None => empty_config(),
    };
    let (base, digest) = match found {
        Some(found) => (found.name.clone(), found.image.raw.descriptor.digest.to_string()),
        None => Default::default(),
    };
    annotations.insert("org.opencontainers.image.base.name".to_owned(), base);
    annotations.insert("org.opencontainers.image.base.digest".to_owned(), digest);
    Ok(Record {
        version: VERSION,
        id: name::new_id()?,
        made: SystemTime::now().into(),
        image,
        image_id,
        manifest,
        config,
        annotations,
        layers,
        committed: Vec::new(),
        sealing: None,
        created_by: None,
        comment: None,
        steps: Vec::new(),
        isolation: options.isolation,
        hostname: None,
        mounted_in: Vec::new(),
    })
}

/// Of an image from nothing, for this machine.
fn empty_config() -> ImageConfig {
    let Platform { os, architecture, variant, .. } = Platform::host();
    let rootfs = RootFs { kind: "layers".to_owned(), diff_ids: Vec::new() };
    ImageConfig { os, architecture, variant, rootfs, ..ImageConfig::default() }
}

/// Gives it its name: the one that is asked for, or the first that is free.
fn publish(engine: &Engine, held: &Held, wanted: Option<&str>) -> Result<String> {
    let builders = Dir::open_host(&directory(engine))?;
    let unfinished = held.working.name.as_str();
    let claim = |name: &str| match builders.rename_new(unfinished, &builders, name) {
        Ok(()) => Ok(true),
        Err(error) if error.errno() == Errno::EXIST => Ok(false),
        Err(error) => Err(Error::from(error)),
    };
    if let Some(wanted) = wanted {
        name::check(wanted)?;
        if claim(wanted)? {
            return Ok(wanted.to_owned());
        }
        let message = format!("the container name {wanted:?} is in use");
        return Err(Error::new(ErrorKind::Exists, message).with_hint(format!(
            "remove that one with `conex builder rm {wanted}`, or choose another --name"
        )));
    }
    let stem = stem(&held.record.image);
    for number in 0..100_000 {
        let name = if number == 0 { stem.clone() } else { format!("{stem}-{number}") };
        // Looked at first: to ask for a thousand renames would take longer.
        if !directory(engine).join(&name).exists() && claim(&name)? {
            return Ok(name);
        }
    }
    Err(Error::new(ErrorKind::Exists, "found no free name; choose one with --name"))
}

/// `docker.io/library/alpine:latest` → `alpine-working-container`
fn stem(image: &str) -> String {
    let repository = image.parse::<Reference>().map(|reference| reference.repository()).unwrap_or_default();
    let last = repository.rsplit('/').next().unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let last: String = last.chars().filter(|c| allowed(*c)).take(90).collect();
    match last.is_empty() {
        true => "working-container".to_owned(),
        false => format!("{last}-working-container"),
    }
}

/// Whether an entry of the directory is one that is being made or removed.
pub(super) fn unfinished(engine: &Engine) -> Result<Vec<Working>> {
    let entries = match fs::read_dir(directory(engine)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.wrap(|| "list working containers")?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| name.starts_with(UNFINISHED)).map(|name| Working::of(engine, &name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_image() {
        assert_eq!(stem("docker.io/library/alpine:latest"), "alpine-working-container");
        assert_eq!(stem("localhost:5000/a/b_c@sha256:0"), "working-container");
        assert_eq!(stem("localhost:5000/a/b_c:1"), "b_c-working-container");
        assert_eq!(stem(""), "working-container");
    }
}
