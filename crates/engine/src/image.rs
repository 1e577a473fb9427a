// SPDX-License-Identifier: Apache-2.0
//! Images of the store as a person names them: pulling, finding, tagging, removing.

use std::collections::{HashMap, HashSet};

use conex_image::Image;
use conex_image::store::{Entry, GcReport, Named, StoreSink, Summary};
use conex_image::transfer::{self, CopyOptions, Progress, Select};
use conex_spec::Digest;
use conex_spec::distribution::Reference;
use conex_spec::image::{Descriptor, Platform};

use crate::transport::Location;
use crate::{Engine, Error, ErrorKind, Result, Wrap as _, container};

/// An image of the store, and the name by which it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The full canonical reference.
    pub name: String,
    /// What the name means.
    pub descriptor: Descriptor,
    /// The image for this platform.
    pub image: Image,
}

impl Found {
    /// Whether the image has no name; then `name` is the digest of what was found.
    pub fn is_nameless(&self) -> bool {
        self.name == self.descriptor.digest.as_str()
    }
}

/// One image as `images` lists it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The full canonical reference; `None` for an image without a name.
    pub name: Option<Reference>,
    /// What the name means.
    pub descriptor: Descriptor,
    /// The image for this platform; `None` where the name means something else, such as an artifact.
    pub image: Option<Summary>,
}

/// What a pull did.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The name in the store.
    pub reference: Reference,
    /// What it means now.
    pub descriptor: Descriptor,
    /// The image id.
    pub id: Digest,
}

/// When to ask the registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// When the store has no image of that name.
    #[default]
    Missing,
    /// Every time.
    Always,
    /// Never.
    Never,
}

/// What a name as typed may mean, in the order in which it is tried: itself where it has a host, else what
/// registries.conf says about short names, else Docker Hub.
pub fn candidates(engine: &Engine, text: &str) -> Result<Vec<Reference>> {
    let registries = &engine.settings.registry.registries;
    let parsed: Reference = text.parse()?;
    if has_host(text) {
        return Ok(vec![parsed]);
    }
    let end = text.find('@').or_else(|| text.find(':')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if let Some(target) = registries.aliases.get(name) {
        return Ok(vec![format!("{target}{rest}").parse()?]);
    }
    if registries.unqualified_search_registries.is_empty() {
        return Ok(vec![parsed]);
    }
    registries
        .unqualified_search_registries
        .iter()
        .map(|host| Ok(format!("{host}/{text}").parse()?))
        .collect()
}

fn has_host(text: &str) -> bool {
    text.split_once('/').is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost")
}

/// Brings an image from its registry into the store.
pub fn pull(engine: &Engine, text: &str, platform: &Platform, progress: &dyn Progress) -> Result<Pulled> {
    let references = candidates(engine, text)?;
    let mut failures = Vec::new();
    for reference in references {
        match pull_reference(engine, &reference, platform, progress) {
            Ok(pulled) => return Ok(pulled),
            Err(error) => failures.push(error),
        }
    }
    let last = failures
        .pop()
        .unwrap_or_else(|| Error::new(ErrorKind::Usage, format!("no registry to ask for {text}")));
    // The reasons of the others matter too: the right one may be among them.
    Err(failures.into_iter().rev().fold(last, |error, other| error.wrap(format!("{other}; then"))))
}

fn pull_reference(
    engine: &Engine,
    reference: &Reference,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<Pulled> {
    let store = engine.store()?;
    let source =
        Location::Docker(reference.clone()).trusted_source(engine, &engine.settings.registry, false)?;
    let sink = StoreSink::new(store.clone(), reference.canonical())?;
    let options = CopyOptions { select: Select::Platform(platform.clone()), ..CopyOptions::default() };
    let descriptor = transfer::copy(source.as_ref(), &sink, &options, progress)?;
    let id = store.image(&descriptor, platform)?.id().clone();
    Ok(Pulled { reference: reference.clone(), descriptor, id })
}

/// The image of that name in the store, pulled first where the policy says so.
pub fn ensure(
    engine: &Engine,
    text: &str,
    policy: PullPolicy,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<String> {
    match policy {
        PullPolicy::Always => {}
        PullPolicy::Never if engine.settings.trust.require_signed => {
            let message = format!("{text}: with --require-signed, what is in the store must be pulled anew");
            return Err(Error::new(ErrorKind::Denied, message).with_hint("leave --pull never out"));
        }
        PullPolicy::Missing if engine.settings.trust.require_signed => {}
        PullPolicy::Never => return find_for(engine, text, platform).map(|found| found.name),
        PullPolicy::Missing => match find_for(engine, text, platform) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => return result.map(|found| found.name),
        },
    }
    pull(engine, text, platform, progress).map(|pulled| pulled.reference.canonical())
}

/// So many images have to be read before it pays to remember what they are.
const WORTH_REMEMBERING: usize = 64;

/// Every name in the store, in the store's order, then what has none. An image is read once, however many names it has,
/// and not at all where it is remembered.
pub fn list(engine: &Engine) -> Result<Vec<Listed>> {
    let store = engine.store()?;
    let _shared = store.share()?;
    let platform = Platform::host();
    let mut remembered = store.summaries(&platform);
    let mut known: HashMap<Digest, Option<Summary>> = HashMap::new();
    let mut read = 0;
    let (named, nameless): (Vec<_>, Vec<_>) =
        store.entries()?.into_iter().partition(|entry| entry.name.is_some());
    let mut listed = Vec::new();
    for Entry { name, descriptor } in named.into_iter().chain(nameless) {
        let Ok(name) = name.map(|name| name.parse()).transpose() else { continue };
        let summary = known.entry(descriptor.digest.clone()).or_insert_with(|| {
            remembered.remove(&descriptor.digest).or_else(|| {
                read += 1;
                store.image(&descriptor, &platform).ok().as_ref().map(Summary::of)
            })
        });
        listed.push(Listed { name, image: summary.clone(), descriptor });
    }
    if read >= WORTH_REMEMBERING {
        let images = known.into_iter().filter_map(|(digest, image)| Some((digest, image?))).collect();
        // Where it cannot be written, the next list takes as long.
        let _ = store.remember_summaries(&platform, &images);
    }
    Ok(listed)
}

/// The image that a person means: by reference, by short name, or by the beginning of its id.
pub fn find(engine: &Engine, text: &str) -> Result<Found> {
    find_for(engine, text, &Platform::host())
}

/// The same for another platform, where the name is that of an index.
pub fn find_for(engine: &Engine, text: &str, platform: &Platform) -> Result<Found> {
    let store = engine.store()?;
    // What a name leads to stays while it is looked at.
    let _shared = store.share()?;
    let (name, descriptor) = find_name(engine, text)?;
    let image = store.image(&descriptor, platform).wrap(|| format!("image {name}"))?;
    Ok(Found { name, descriptor, image })
}

fn find_name(engine: &Engine, text: &str) -> Result<(String, Descriptor)> {
    let store = engine.store()?;
    let names = store.images()?;
    if let Ok(references) = candidates(engine, text) {
        for reference in references {
            if let Some(found) = by_reference(&names, &reference) {
                return Ok((found.name.clone(), found.descriptor.clone()));
            }
        }
    }
    let mut known = names.clone();
    known.extend(
        store
            .nameless()?
            .into_iter()
            .map(|descriptor| Named { name: descriptor.digest.to_string(), descriptor }),
    );
    if let Some(found) = by_short_name(&names, text).or_else(|| by_id(engine, &known, text)) {
        return Ok((found.name.clone(), found.descriptor.clone()));
    }
    Err(Error::new(ErrorKind::NotFound, format!("no image {text:?} in the store")).with_hint(format!(
        "`conex pull {text}` brings it from its registry; `conex images` shows what is here"
    )))
}

/// By name; a name with a digest also finds the image by that digest.
fn by_reference<'a>(names: &'a [Named], reference: &Reference) -> Option<&'a Named> {
    let canonical = reference.canonical();
    names.iter().find(|named| named.name == canonical).or_else(|| {
        let digest = reference.digest.as_ref()?;
        names.iter().find(|named| named.descriptor.digest == *digest)
    })
}

/// `alpine` finds `localhost/alpine:latest`, `quay.io/x/alpine:latest`, where nothing nearer is meant.
fn by_short_name<'a>(names: &'a [Named], text: &str) -> Option<&'a Named> {
    let wanted = if text.contains(':') { format!("/{text}") } else { format!("/{text}:latest") };
    let mut matching = names.iter().filter(|named| named.name.ends_with(&wanted));
    matching.next().filter(|_| matching.next().is_none())
}

/// By the beginning of the image id, `sha256:` left out or not, at least three digits of it.
fn by_id<'a>(engine: &Engine, names: &'a [Named], text: &str) -> Option<&'a Named> {
    let wanted = text.strip_prefix("sha256:").unwrap_or(text);
    if wanted.len() < 3 || !wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let store = engine.store().ok()?;
    let mut seen = HashSet::new();
    names.iter().find(|named| {
        // An image of many names is read once.
        if !seen.insert(&named.descriptor.digest) {
            return false;
        }
        let image = store.image(&named.descriptor, &Platform::host());
        image.is_ok_and(|image| image.id().hex().starts_with(wanted))
    })
}

/// Gives an image another name.
pub fn tag(engine: &Engine, text: &str, new: &str) -> Result<Reference> {
    let found = find(engine, text)?;
    let reference: Reference = new.parse()?;
    if reference.digest.is_some() {
        return Err(Error::new(ErrorKind::Usage, format!("a new name has no digest: {new}")));
    }
    engine.store()?.tag(&reference.canonical(), &found.descriptor)?;
    Ok(reference)
}

/// What a removal did.
#[derive(Clone, Debug)]
pub struct Removed {
    /// The name that is gone.
    pub untagged: String,
    /// The image id, where that was its last name.
    pub deleted: Option<Digest>,
    /// What went with it.
    pub collected: GcReport,
}

/// Forgets a name, and what only it led to. With `force` also an image that containers were made from; their layers
/// stay as long as they do.
pub fn remove(engine: &Engine, text: &str, force: bool) -> Result<Removed> {
    let found = find(engine, text)?;
    let store = engine.store()?;
    let names = store.images()?;
    // At most one: an image that has no name is found by its id.
    let is_last =
        names.iter().filter(|named| named.descriptor.digest == found.descriptor.digest).count() <= 1;
    let users: Vec<String> = container::list(engine)?
        .containers
        .into_iter()
        .filter(|summary| summary.record.image_id == *found.image.id())
        .map(|summary| summary.record.name)
        .collect();
    if is_last && !force && !users.is_empty() {
        let message = format!("image {} is used by container {}", found.name, users.join(", "));
        return Err(Error::new(ErrorKind::InUse, message)
            .with_hint(format!("`conex rm {}` first, or `conex rmi -f {text}`", users.join(" "))));
    }
    match found.is_nameless() {
        true => store.forget(&found.descriptor.digest)?,
        false => drop(store.untag(&found.name)?),
    }
    let deleted = is_last.then(|| found.image.id().clone());
    let collected = collect(engine)?;
    Ok(Removed { untagged: found.name, deleted, collected })
}

/// The manifests that containers were made from.
pub fn in_use(engine: &Engine) -> Result<Vec<Digest>> {
    Ok(container::records(engine)?.into_iter().map(|record| record.manifest.digest).collect())
}

/// Removes all content that neither a name nor a container leads to. While somebody else uses the store, or a
/// container's record cannot be read, nothing is removed; another time it is.
pub fn collect(engine: &Engine) -> Result<GcReport> {
    let Ok(keep) = in_use(engine) else { return Ok(GcReport::default()) };
    match engine.store()?.gc(&keep) {
        Err(error) if error.kind() == conex_image::ErrorKind::Busy => Ok(GcReport::default()),
        result => Ok(result?),
    }
}
