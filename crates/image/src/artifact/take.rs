// SPDX-License-Identifier: Apache-2.0
//! An artifact's files, into a directory. Names come from the artifact: none leads out, through no link either, and
//! nothing appears under its name before it is whole and verified.

use std::collections::HashSet;
use std::io;
use std::path::{Component, Path, PathBuf};

use conex_spec::image::annotation::TITLE;
use conex_spec::image::{Descriptor, Manifest};
use conex_sys::path::{Dir, Root};

use super::UNPACK;
use crate::layer::apply::{Form, Limits, Options, Owner};
use crate::layer::pass::stream;
use crate::layout::files::temporary_name;
use crate::transfer::{Silent, Source};
use crate::verify::VerifyingReader;
use crate::worker::{Site, Unpacking};
use crate::{Error, ErrorKind, Result, Wrap, host};

/// What to do where there is a file of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The new one takes its place. A directory is never replaced.
    Replace,
    /// An error.
    Refuse,
}

/// What became of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The blob.
    pub descriptor: Descriptor,
    /// Where it is, below the directory; `None` for a layer without a name, which is left alone.
    pub path: Option<PathBuf>,
}

/// Takes the files of `manifest` from `source` to the directory `into`, made where it is missing.
pub fn take(source: &dyn Source, manifest: &Manifest, into: &Path, existing: Existing) -> Result<Vec<Taken>> {
    let root = Root::new(host::make_dir(into, 0o755)?);
    let mut names = HashSet::new();
    let mut taken = Vec::new();
    for layer in &manifest.layers {
        let path = layer.annotations.get(TITLE).map(|title| checked(title)).transpose()?;
        if let Some(path) = &path {
            if !names.insert(path.clone()) {
                return Err(Error::invalid(format!("two files of the artifact are called {path:?}")));
            }
            let place = || format!("{} of {}", path.display(), layer.digest);
            one(source, layer, &root, path, existing).wrap(place)?;
        }
        taken.push(Taken { descriptor: layer.clone(), path });
    }
    Ok(taken)
}

/// A name that leads down, and only down.
fn checked(title: &str) -> Result<PathBuf> {
    let path = Path::new(title);
    let leads_down = path.components().all(|part| matches!(part, Component::Normal(_)));
    if title.is_empty() || title.contains(char::is_control) || !leads_down {
        return Err(Error::new(
            ErrorKind::Hostile,
            format!("the artifact names a file {title:?}, which leads elsewhere"),
        ));
    }
    Ok(path.to_owned())
}

fn one(source: &dyn Source, layer: &Descriptor, root: &Root, path: &Path, existing: Existing) -> Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        root.make_dir_all(parent, 0o755)?;
    }
    let (dir, name) = root.parent(path)?;
    let is_archive = layer.annotations.get(UNPACK).is_some_and(|word| word == "true");
    let temporary = temporary_name();
    dir.remove_all(&temporary)?;
    let attempt = || match is_archive {
        false => {
            write(source, layer, &dir, &temporary)?;
            match existing {
                Existing::Replace => Ok(dir.rename(&temporary, &dir, &name)?),
                Existing::Refuse => Ok(dir.rename_new(&temporary, &dir, &name)?),
            }
        }
        true => {
            dir.make_dir(&temporary, 0o700)?;
            unpack(source, layer, dir.open_dir(&temporary)?)?;
            // The archive's only top is the directory, under the name it had.
            let (inside, top) = Root::new(dir.open_dir(&temporary)?).parent(path)?;
            Ok(inside.rename_new(&top, &dir, &name)?)
        }
    };
    let made = attempt();
    if is_archive || made.is_err() {
        // After a failure there is nothing better to do than to try.
        let _ = dir.remove_all(&temporary);
    }
    made
}

fn write(source: &dyn Source, layer: &Descriptor, dir: &Dir, name: &str) -> Result<()> {
    let mut file = dir.create_file(name, 0o644)?;
    let mut bytes = VerifyingReader::new(source.open_blob(layer, 0)?.reader, layer);
    io::copy(&mut bytes, &mut file)?;
    bytes.finish()?;
    file.sync_all()?;
    Ok(())
}

fn unpack(source: &dyn Source, layer: &Descriptor, dir: Dir) -> Result<()> {
    let options = Options {
        form: Form::Plain { keep_dirlinks: false },
        owner: Owner::Caller,
        unprivileged: true,
        limits: Limits::default(),
        digests: false,
    };
    let mut unpacking = Unpacking::begin(&Site::alone(dir), options)?;
    unpacking.layer(layer.size, |take| stream(layer, source, &Silent, take))?;
    unpacking.finish(&mut io::sink())
}
