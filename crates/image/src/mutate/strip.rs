// SPDX-License-Identifier: Apache-2.0
//! Files out of every layer that has them, so that they are not even below others: a key, say, or a package manager's cache.
//!
//! Layers without them stay as they are, byte for byte; a layer with them is written anew. What was another name of such a
//! file becomes the file.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use conex_spec::image::media_type::{self, Compression};

use super::{Draft, NewLayer};
use crate::layer::pack::WHITEOUT;
use crate::layer::tar::{Entry, Kind, Writer};
use crate::layout::Layout;
use crate::merged::{Expanded, read_layer};
use crate::transfer::Source;
use crate::{Error, ErrorKind, Image, Result, Wrap};

/// Takes what is at or below `paths`, as the layers spell them, out of the image. Of kind `NotFound` where no layer has it.
pub fn strip(
    draft: &mut Draft,
    layout: &Layout,
    image: &Image,
    source: &dyn Source,
    paths: &[PathBuf],
) -> Result<()> {
    let paths: Vec<PathBuf> = paths
        .iter()
        .map(|path| path.strip_prefix("/").map_or_else(|_| path.clone(), Path::to_owned))
        .collect();
    if let Some(path) = paths.iter().find(|path| path.file_name().is_none()) {
        let message = format!("{:?} is not the path of a file in an image", path.display());
        return Err(Error::new(ErrorKind::Usage, message));
    }
    let mut found = false;
    for layer in 0..image.manifest.layers.len() {
        let plan = Plan::of(image, source, layer, &paths)?;
        if plan.stripped.is_empty() {
            continue;
        }
        found = true;
        let new = rewrite(draft, layout, image, source, layer, &plan)?;
        draft.manifest.layers[layer] = new.descriptor;
        draft.config.rootfs.diff_ids[layer] = new.diff_id;
    }
    if found { Ok(()) } else { Err(Error::new(ErrorKind::NotFound, "no layer of the image has such a file")) }
}

/// What is done with one layer.
#[derive(Default)]
struct Plan {
    /// Entries that go.
    stripped: HashSet<PathBuf>,
    /// Of those, the ones that another name takes over.
    heirs: HashMap<PathBuf, PathBuf>,
}

impl Plan {
    fn of(image: &Image, source: &dyn Source, layer: usize, paths: &[PathBuf]) -> Result<Self> {
        let goes = |path: &Path| {
            let seen = hidden(path);
            paths.iter().any(|strip| {
                path.starts_with(strip) || seen.as_ref().is_some_and(|seen| seen.starts_with(strip))
            })
        };
        let mut plan = Self::default();
        read_layer(image, source, layer, |entry, _| {
            if goes(&entry.path) {
                plan.stripped.insert(entry.path);
            } else if let Kind::Link { target } = entry.kind
                && goes(&target)
            {
                if !plan.stripped.contains(&target) {
                    let message =
                        format!("{:?} is another name of {target:?}, which a lower layer has", entry.path);
                    return Err(Error::new(ErrorKind::Usage, message).with_hint("strip both names"));
                }
                plan.heirs.entry(target).or_insert(entry.path);
            }
            Ok(())
        })?;
        Ok(plan)
    }

    /// What becomes of an entry.
    fn apply(&self, mut entry: Entry) -> Option<Entry> {
        if self.stripped.contains(&entry.path) {
            entry.path = self.heirs.get(&entry.path)?.clone();
            return Some(entry);
        }
        if let Kind::Link { target } = &mut entry.kind
            && let Some(heir) = self.heirs.get(target)
        {
            if *heir == entry.path {
                return None;
            }
            target.clone_from(heir);
        }
        Some(entry)
    }
}

/// The path that a whiteout speaks of.
fn hidden(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.as_bytes().strip_prefix(WHITEOUT.as_bytes())?;
    Some(path.with_file_name(OsStr::from_bytes(name)))
}

fn rewrite(
    draft: &Draft,
    layout: &Layout,
    image: &Image,
    source: &dyn Source,
    layer: usize,
    plan: &Plan,
) -> Result<NewLayer> {
    let stored = match media_type::kind(&image.manifest.layers[layer].media_type) {
        media_type::Kind::Layer(stored) => stored,
        _ => Compression::Gzip,
    };
    let mut writer = Writer::new(draft.new_layer(layout, stored)?);
    read_layer(image, source, layer, |entry, data| {
        let Some(kept) = plan.apply(entry.clone()) else { return Ok(()) };
        let mut content = Expanded::new(&entry, data);
        let kind = match kept.kind {
            Kind::File { size, .. } => Kind::file(size),
            other => other,
        };
        writer.append(&Entry { kind, ..kept }, &mut content).wrap(|| format!("{:?}", entry.path))
    })?;
    writer.finish()?.finish()
}

#[cfg(test)]
mod tests {
    use conex_spec::image::Platform;

    use super::*;
    use crate::merged::{For, Hash, Merged};
    use crate::testing::{Layer, Memory};

    fn read(image: &Image, source: &dyn Source) -> Vec<String> {
        let merged = Merged::read(image, source, Hash::Files).unwrap();
        let tar = merged.write(image, source, Vec::new(), None, For::Layer).unwrap();
        let mut reader = crate::layer::tar::Reader::new(&tar[..]);
        let mut names = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut reader.data(), &mut text).unwrap();
            names.push(format!("{}={}", entry.path.display(), String::from_utf8(text).unwrap()));
        }
        names
    }

    fn try_strip(layers: Vec<Vec<u8>>, paths: &[&str]) -> Result<Vec<String>> {
        let memory = Memory::image(&layers, Compression::Gzip);
        let image = Image::load(&memory, &Platform::host()).unwrap();
        let scratch = super::super::Scratch::new().unwrap();
        let mut draft = Draft::of(image.clone());
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        strip(&mut draft, scratch.layout(), &image, &memory, &paths)?;
        draft.commit(scratch.layout(), scratch.name()).unwrap();
        let edition = scratch.over(vec![Box::new(memory)]).unwrap();
        Ok(read(&Image::load(&edition, &Platform::host()).unwrap(), &edition))
    }

    #[test]
    fn a_file_goes_from_every_layer_and_its_other_names_stay() {
        let lower =
            Layer::new().dir("d", 0o755).file("d/key", "1").link("d/also", "d/key").link("third", "d/key");
        let upper = Layer::new().file("d/key", "2").file("d/.wh.other", "");
        let third = Layer::new().file("d/.wh.key", "").file("last", "3");
        let layers = vec![lower.tar(), upper.tar(), third.tar()];
        let names = try_strip(layers.clone(), &["/d/key"]).unwrap();
        assert_eq!(names, ["=", "d=", "d/also=1", "last=3", "third="].map(str::to_owned));
        assert_eq!(try_strip(layers.clone(), &["d"]).unwrap(), ["=", "third=1", "last=3"].map(str::to_owned));
        assert_eq!(try_strip(layers.clone(), &["d", "third"]).unwrap(), ["=", "last=3"].map(str::to_owned));
        assert_eq!(try_strip(layers.clone(), &["none"]).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(try_strip(layers, &["/"]).unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn another_layers_name_of_it_is_told() {
        let layers = vec![Layer::new().file("key", "1").tar(), Layer::new().link("also", "key").tar()];
        let error = try_strip(layers.clone(), &["key"]).unwrap_err();
        assert!(error.to_string().contains("lower layer"), "{error}");
        assert_eq!(try_strip(layers, &["key", "also"]).unwrap(), ["="].map(str::to_owned));
    }
}
