// SPDX-License-Identifier: Apache-2.0
//! The walk: children before parents, each blob once, layers side by side.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use conex_spec::Digest;
use conex_spec::image::{Descriptor, Platform};

use super::convert::Converted;
use super::form::Form;
use super::narrow::{Narrowed, wanted};
use super::{Outcome, Progress, RawManifest, Sink, Source};
use crate::image::{MAX_DEPTH, choose_manifest};
use crate::manifest::Document;
use crate::{Error, ErrorKind, Result, Wrap};

/// Manifests of one copy, and their bytes together, so that a ladder of indexes ends.
const MAX_MANIFESTS: usize = 1000;
const MAX_BYTES: usize = 64 << 20;

/// What of an index to copy.
#[derive(Clone, Debug)]
pub enum Select {
    /// The one manifest that fits; the sink's name then means that manifest.
    Platform(Platform),
    /// The index and everything below it.
    All,
    /// The index alone, where that is an index.
    IndexOnly,
    /// Of the index, the images for these platforms.
    Platforms {
        /// Which ones.
        platforms: Vec<Platform>,
        /// What becomes of the others' entries.
        others: Others,
    },
}

/// Entries of an index whose images are not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They stay, and the index is the same, byte for byte.
    Named,
    /// They go; it is another index.
    Removed,
}

/// How to copy.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// One platform, or all.
    pub select: Select,
    /// In which form; what is left open the sink decides.
    pub form: Form,
    /// An error rather than another digest than the source's.
    pub preserve_digests: bool,
    /// Blobs under way at a time.
    pub jobs: usize,
}

impl Default for CopyOptions {
    fn default() -> Self {
        let select = Select::Platform(Platform::host());
        Self { select, form: Form::default(), preserve_digests: false, jobs: 4 }
    }
}

/// Copies the image that `source` names to what `sink` names, and returns the descriptor committed there.
pub fn copy(
    source: &dyn Source,
    sink: &dyn Sink,
    options: &CopyOptions,
    progress: &dyn Progress,
) -> Result<Descriptor> {
    let (top, only) = select(source, &options.select).map_err(|e| e.wrap(source.describe()))?;
    if let Some(only) = &only {
        return copy_sparse(source, top, only, sink, options, progress);
    }
    let narrowed = Narrowed::new(source, &top, &options.select).map_err(|e| e.wrap(source.describe()))?;
    if narrowed.is_some() && options.preserve_digests {
        let message =
            format!("{}: an index without some of its entries has another digest", source.describe());
        return Err(Error::new(ErrorKind::Usage, message).with_hint("leave --preserve-digests out"));
    }
    let (source, top) = match &narrowed {
        Some(narrowed) => (narrowed as &dyn Source, narrowed.resolve()?),
        None => (source, top),
    };
    let form = if options.preserve_digests { options.form } else { options.form.or(sink.form()) };
    let converted = Converted::new(source, &top, form).map_err(|e| e.wrap(source.describe()))?;
    if converted.is_some() && options.preserve_digests {
        let message = format!("{}: another form has another digest", source.describe());
        return Err(
            Error::new(ErrorKind::Usage, message).with_hint("leave --preserve-digests or the form out")
        );
    }
    match &converted {
        Some(converted) => copy_as_it_is(converted, converted.resolve()?, None, sink, options, progress),
        None => copy_as_it_is(source, top, None, sink, options, progress),
    }
}

/// All manifests that a copy would take, the one that is named last.
pub fn manifests(source: &dyn Source, which: &Select) -> Result<Vec<RawManifest>> {
    let gather = || {
        let (top, only) = select(source, which)?;
        let plan = Plan::make(source, top, only.as_ref())?;
        Ok(plan.manifests.into_iter().chain([plan.top]).collect())
    };
    gather().map_err(|error: Error| error.wrap(source.describe()))
}

/// What to begin with, and of an index that stays whole the entries that are copied.
fn select(source: &dyn Source, select: &Select) -> Result<(RawManifest, Option<HashSet<Digest>>)> {
    let named = source.resolve()?;
    let is_index = matches!(Document::parse(&named)?, Document::Index(_));
    Ok(match select {
        Select::Platform(platform) => (choose_manifest(source, named, platform)?.1, None),
        Select::IndexOnly if is_index => (named, Some(HashSet::new())),
        Select::Platforms { platforms, others: Others::Named } if is_index => {
            let only = wanted(&named, platforms)?.into_iter().map(|entry| entry.digest).collect();
            (named, Some(only))
        }
        Select::All | Select::IndexOnly | Select::Platforms { .. } => (named, None),
    })
}

/// The index as it is, whatever the sink usually gets: with another form it would be another index.
fn copy_sparse(
    source: &dyn Source,
    top: RawManifest,
    only: &HashSet<Digest>,
    sink: &dyn Sink,
    options: &CopyOptions,
    progress: &dyn Progress,
) -> Result<Descriptor> {
    if options.form != Form::default() {
        let message = format!("{}: in another form it would be another index", source.describe());
        return Err(Error::new(ErrorKind::Usage, message)
            .with_hint("remove what is not copied from the index: --strip-removed-platforms"));
    }
    copy_as_it_is(source, top, Some(only), sink, options, progress)
}

fn copy_as_it_is(
    source: &dyn Source,
    top: RawManifest,
    only: Option<&HashSet<Digest>>,
    sink: &dyn Sink,
    options: &CopyOptions,
    progress: &dyn Progress,
) -> Result<Descriptor> {
    let plan = Plan::make(source, top, only).map_err(|e| e.wrap(source.describe()))?;
    let context = || format!("{} to {}", source.describe(), sink.describe());
    copy_blobs(&plan.blobs, source, sink, options.jobs, progress).wrap(context)?;
    for manifest in &plan.manifests {
        sink.put_manifest(manifest).wrap(context)?;
    }
    sink.commit(&plan.top).wrap(context)?;
    Ok(plan.top.descriptor)
}

/// Everything to copy, children before parents.
struct Plan {
    blobs: Vec<Descriptor>,
    /// All manifests but the top one.
    manifests: Vec<RawManifest>,
    bytes: usize,
    top: RawManifest,
}

impl Plan {
    /// `only`: of the top index, these entries.
    fn make(source: &dyn Source, top: RawManifest, only: Option<&HashSet<Digest>>) -> Result<Self> {
        let mut plan = Self { blobs: Vec::new(), manifests: Vec::new(), bytes: 0, top: top.clone() };
        let mut seen = HashSet::new();
        if let Some(only) = only {
            // What is not wanted counts as done.
            let document = Document::parse(&top)?;
            let children = document.children().into_iter().map(|child| child.digest.clone());
            seen.extend(children.filter(|digest| !only.contains(digest)));
        }
        plan.walk(source, top, &mut seen, 0)?;
        // The last one is the top, which is committed, not put.
        plan.manifests.pop();
        Ok(plan)
    }

    fn walk(
        &mut self,
        source: &dyn Source,
        raw: RawManifest,
        seen: &mut HashSet<Digest>,
        depth: usize,
    ) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::invalid(format!("indexes nested deeper than {MAX_DEPTH}")));
        }
        let document = Document::parse(&raw)?;
        for child in document.children() {
            if !seen.insert(child.digest.clone()) {
                continue;
            }
            let below_index = matches!(document, Document::Index(_));
            if below_index && crate::manifest::is_manifest(&child.media_type) {
                self.walk(source, source.manifest(child)?, seen, depth + 1)?;
            } else {
                self.blobs.push(child.clone());
            }
        }
        self.bytes += raw.bytes.len();
        if self.manifests.len() >= MAX_MANIFESTS || self.bytes > MAX_BYTES {
            let message = format!("more than {MAX_MANIFESTS} manifests or {MAX_BYTES} bytes of them");
            return Err(Error::invalid(message));
        }
        self.manifests.push(raw);
        Ok(())
    }
}

/// Copies blobs by `jobs` threads. The first failure stops the others before their next blob.
fn copy_blobs(
    blobs: &[Descriptor],
    source: &dyn Source,
    sink: &dyn Sink,
    jobs: usize,
    progress: &dyn Progress,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let work = || {
        while let Some(blob) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = copy_blob(blob, source, sink, progress) {
                next.store(blobs.len(), Ordering::Relaxed);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..jobs.min(blobs.len()) {
            scope.spawn(work);
        }
        work();
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn copy_blob(blob: &Descriptor, source: &dyn Source, sink: &dyn Sink, progress: &dyn Progress) -> Result<()> {
    let copy = || {
        if sink.has_blob(blob)? {
            progress.begin(blob, blob.size);
            progress.finish(blob, Outcome::Exists);
            return Ok(());
        }
        sink.put_blob(blob, source, progress)
    };
    copy().wrap(|| format!("blob {}", blob.digest))
}
