// SPDX-License-Identifier: Apache-2.0
//! `COPY`, `ADD` and `WORKDIR` in a tree.

use std::path::Path;

use conex_image::bundle::{Rootfs, lookup_user};
use conex_sys::path::Root;

use crate::copy::{Content, Copier, CopyOptions, Origin, Target, make_directory};
use crate::graph::{Copy, Directory, Source, Unpack};
use crate::ignore::Ignore;
use crate::{Error, ErrorKind, Result, Wrap as _};

/// What a source turned out to be: a path in a tree.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) origin: Origin,
    pub(super) path: String,
    /// Of a repository: it says all about the files, while what git notes beside them is other each time.
    pub(super) commit: Option<String>,
}

/// Where a step's files are from.
#[derive(Clone, Copy)]
pub(super) struct From<'a> {
    /// There if a source is a path.
    pub(super) origin: Option<&'a Origin>,
    /// One for each source that is on another machine, in their order.
    pub(super) fetched: &'a [Fetched],
}

/// Copies the sources to `tree`; what they were. `scratch` is a directory for archives.
pub(super) fn copy(step: &Copy, from: From<'_>, tree: &Path, scratch: &Path) -> Result<Content> {
    let root = Root::open_host(tree)?;
    let (local, remote) =
        (options(step)?, CopyOptions { unpack: step.unpack == Unpack::Always, ..options(step)? });
    let target = Target::of(Path::new(&step.destination), false);
    let mut copier = Copier::new(&root, target, &local, scratch)?;
    let mut fetched = from.fetched.iter();
    for source in &step.sources {
        match source {
            // Its text is part of the step.
            Source::Inline { name, text } => copier.text(name, text)?,
            Source::Path(path) => {
                copier.options(&local);
                take(&mut copier, from.origin(path)?, path, step.parents)?;
            }
            Source::Url { url, .. } | Source::Git { remote: url, .. } => {
                copier.options(&remote);
                let Fetched { origin, path, commit } = next(&mut fetched, url)?;
                match commit {
                    Some(commit) => {
                        copier.known_as(commit, |copier| take(copier, origin, path, step.parents))?;
                    }
                    None => take(&mut copier, origin, path, step.parents)?,
                }
            }
        }
    }
    Ok(copier.finish())
}

/// What [`copy`] would take, without taking it.
pub(super) fn content(step: &Copy, from: From<'_>) -> Result<Content> {
    let options = options(step)?;
    let mut content = Content::new();
    let mut fetched = from.fetched.iter();
    for source in &step.sources {
        let (origin, path) = match source {
            Source::Inline { .. } => continue,
            Source::Path(path) => (from.origin(path)?, path),
            Source::Url { url, .. } | Source::Git { remote: url, .. } => {
                let Fetched { origin, path, commit } = next(&mut fetched, url)?;
                if let Some(commit) = commit {
                    content.add(commit);
                    continue;
                }
                (origin, path)
            }
        };
        content.source(origin, path, step.parents, &options.exclude)?;
    }
    Ok(content)
}

impl<'a> From<'a> {
    fn origin(self, path: &str) -> Result<&'a Origin> {
        self.origin.ok_or_else(|| Error::new(ErrorKind::Usage, format!("{path}: from nowhere")))
    }
}

fn next<'a>(fetched: &mut std::slice::Iter<'a, Fetched>, address: &str) -> Result<&'a Fetched> {
    fetched.next().ok_or_else(|| Error::new(ErrorKind::State, format!("{address}: not fetched")))
}

fn take(copier: &mut Copier<'_>, origin: &Origin, path: &str, parents: bool) -> Result<()> {
    origin.select(path, parents)?.iter().try_for_each(|selected| copier.path(origin, selected))
}

fn options(step: &Copy) -> Result<CopyOptions> {
    Ok(CopyOptions {
        chown: step.chown.clone(),
        chmod: step.chmod.clone(),
        exclude: Ignore::of(step.exclude.iter().map(String::as_str))
            .map_err(|message| Error::new(ErrorKind::Usage, message))?,
        parents: step.parents,
        unpack: step.unpack != Unpack::Never,
    })
}

/// `WORKDIR`: whether there was anything to make.
pub(super) fn workdir(step: &Directory, merged: &Path) -> Result<bool> {
    let root = Root::open_host(merged)?;
    let path = Path::new(step.path.trim_matches('/'));
    if root.find_dir(path)?.is_some() {
        return Ok(false);
    }
    let owner = match step.user.as_str() {
        "" => (0, 0),
        who => {
            let user = lookup_user(who, &root as &dyn Rootfs)?;
            (user.uid, user.gid)
        }
    };
    make_directory(&root, path, owner).wrap(|| format!("WORKDIR {}", step.path))?;
    Ok(true)
}
