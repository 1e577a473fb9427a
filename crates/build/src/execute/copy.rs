// SPDX-License-Identifier: Apache-2.0
//! `COPY`, `ADD` and `WORKDIR` in a tree.

use std::path::Path;

use conex_image::bundle::{Rootfs, lookup_user};
use conex_sys::path::Root;

use crate::copy::{Content, Copier, CopyOptions, Origin, Target, make_directory};
use crate::graph::{Copy, Directory, Source, Unpack};
use crate::ignore::Ignore;
use crate::{Error, ErrorKind, Result, Wrap as _};

/// Copies the sources; what they were. `origin` is there if a source is a path, `scratch` is a directory for archives.
pub(super) fn copy(step: &Copy, origin: Option<&Origin>, merged: &Path, scratch: &Path) -> Result<Content> {
    let root = Root::open_host(merged)?;
    let options = options(step)?;
    let mut copier = Copier::new(&root, Target::of(Path::new(&step.destination), false), &options, scratch)?;
    for source in &step.sources {
        match source {
            Source::Path(path) => {
                let origin = from(origin, path)?;
                for selected in origin.select(path, step.parents)? {
                    copier.path(origin, &selected)?;
                }
            }
            // Its text is part of the step.
            Source::Inline { name, text } => copier.text(name, text)?,
            Source::Url { url: address, .. } | Source::Git { remote: address, .. } => {
                return Err(remote(address));
            }
        }
    }
    Ok(copier.finish())
}

/// What [`copy`] would take, without taking it.
pub(super) fn content(step: &Copy, origin: Option<&Origin>) -> Result<Content> {
    let options = options(step)?;
    let mut content = Content::new();
    for source in &step.sources {
        match source {
            Source::Path(path) => {
                content.source(from(origin, path)?, path, step.parents, &options.exclude)?;
            }
            Source::Inline { .. } => {}
            Source::Url { url: address, .. } | Source::Git { remote: address, .. } => {
                return Err(remote(address));
            }
        }
    }
    Ok(content)
}

fn from<'a>(origin: Option<&'a Origin>, path: &str) -> Result<&'a Origin> {
    origin.ok_or_else(|| Error::new(ErrorKind::Usage, format!("{path}: from nowhere")))
}

fn remote(address: &str) -> Error {
    let message = format!("ADD {address}: sources on other machines are not built in yet");
    Error::new(ErrorKind::Unsupported, message)
        .with_hint("fetch it before the build, and copy it from the context")
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
