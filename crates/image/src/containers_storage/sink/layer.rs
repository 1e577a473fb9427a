// SPDX-License-Identifier: Apache-2.0
//! One layer: unpacked in the staging directory, then moved to where it belongs.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::time::SystemTime;

use conex_spec::Timestamp;
use conex_sys::path::{Dir, Time};
use serde_json::json;

use super::super::records::LayerRecord;
use super::super::staging::Staging;
use super::super::{Area, DIFF, LINKS, OVERLAY, Share, Storage};
use super::{Place, compression_number};
use crate::layer::apply::{Below, Options, Tree};
use crate::layer::pass::{Drain, Feed, pass};
use crate::layer::tar::split::{Anatomy, Splitter};
use crate::layout::files;
use crate::{Error, ErrorKind, Result, Wrap};

const TAR_SPLIT: &str = "tar-split.gz";

/// A layer in the staging directory.
pub(super) struct Unpacked<'a> {
    staging: &'a Staging,
    /// Its directory there.
    name: String,
    dir: Dir,
    tree: Option<Tree>,
    anatomy: Option<Anatomy>,
}

impl<'a> Unpacked<'a> {
    /// An empty one.
    pub(super) fn new(
        staging: &'a Staging,
        place: &Place<'_>,
        options: Options,
        below: Below,
    ) -> Result<Self> {
        let name = format!("layer-{}", place.id);
        staging.dir.remove_all(&name)?;
        staging.dir.make_dir(&name, 0o700)?;
        let dir = staging.dir.open_dir(&name)?;
        dir.make_dir(DIFF, 0o700)?;
        let tree = Tree::new(dir.open_dir(DIFF)?, options, below)?;
        Ok(Self { staging, name, dir, tree: Some(tree), anatomy: None })
    }

    /// Unpacks the content, and checks that it is this layer's.
    pub(super) fn fill(
        mut self,
        place: &Place<'_>,
        content: Box<dyn Read + Send>,
        below: Option<&Dir>,
    ) -> Result<Self> {
        let tree = self.tree.take().expect("a layer is filled once");
        let notes = self.staging.dir.create_file(format!("{}.{TAR_SPLIT}", self.name), 0o600)?;
        let size = place.blob.size;
        let (diff_id, anatomy) =
            pass(size, |feed| send(content, feed), |archive| take_apart(tree, archive, &notes))?;
        if diff_id != *place.diff_id {
            let message = format!("the content is {diff_id}, but the configuration says {}", place.diff_id);
            return Err(Error::invalid(message));
        }
        notes.sync_data()?;
        if let (false, Some(below)) = (anatomy.has_root, below) {
            root_as_below(&self.dir.open_dir(DIFF)?, below)?;
        }
        self.anatomy = Some(anatomy);
        Ok(self)
    }

    /// Makes it the storage's, unless somebody else has been faster.
    pub(super) fn publish(self, storage: &Storage, place: &Place<'_>) -> Result<()> {
        let overlay = storage.root.open_dir(OVERLAY)?;
        let link = link_name()?;
        self.describe(&overlay, place, &link)?;
        conex_sys::path::sync_filesystem(&storage.root)?;
        let mut layers = storage.layers(Share::Nobody)?;
        let known: Vec<LayerRecord> = layers.records.view()?;
        if known.iter().any(|layer| layer.id == place.id && !layer.is_incomplete()) {
            return Ok(());
        }
        if place.below.first().is_some_and(|below| !known.iter().any(|layer| layer.id == *below)) {
            let message = "the layer below has been removed by somebody";
            return Err(Error::new(ErrorKind::Busy, message).with_hint("try again"));
        }
        remove_remains(&overlay, &mut layers, &place.id)?;
        let links = overlay.open_dir(LINKS)?;
        self.staging.dir.rename(&self.name, &overlay, &place.id)?;
        links.make_symlink(OsStr::new(&format!("../{}/{DIFF}", place.id)), &link)?;
        let notes = format!("{}.{TAR_SPLIT}", self.name);
        self.staging.dir.rename(&notes, &layers.dir, format!("{}.{TAR_SPLIT}", place.id))?;
        for dir in [&overlay, &links, &layers.dir] {
            dir.sync()?;
        }
        layers.records.values.push(self.record(place));
        layers.write()
    }

    /// What the overlay driver wants beside the unpacked layer.
    fn describe(&self, overlay: &Dir, place: &Place<'_>, link: &str) -> Result<()> {
        write(&self.dir, "link", link)?;
        match place.below.first() {
            None => self.dir.make_dir("empty", 0o700)?,
            Some(below) => {
                let below = overlay.open_dir(below)?;
                let text = |name: &str| -> Result<String> {
                    let bytes = files::read(&below.open_file(name)?, 1 << 20)?;
                    String::from_utf8(bytes).map_err(|error| Error::invalid(format!("{name}: {error}")))
                };
                let mut lower = format!("{LINKS}/{}", text("link")?);
                if below.find("lower")?.is_some() {
                    lower = format!("{lower}:{}", text("lower")?);
                }
                write(&self.dir, "lower", &lower)?;
            }
        }
        for name in ["work", "merged"] {
            self.dir.make_dir(name, 0o700)?;
        }
        Ok(())
    }

    fn record(&self, place: &Place<'_>) -> serde_json::Value {
        let anatomy = self.anatomy.as_ref().expect("a layer is published when it is filled");
        let mut record = json!({
            "id": place.id,
            "created": Timestamp::from(SystemTime::now()).to_string(),
            "compressed-diff-digest": place.blob.digest.as_str(),
            "compressed-size": place.blob.size,
            "diff-digest": place.diff_id.0.as_str(),
            "diff-size": anatomy.size,
            "uidset": anatomy.uids,
            "gidset": anatomy.gids,
        });
        if let Some(below) = place.below.first() {
            record["parent"] = below.as_str().into();
        }
        match compression_number(&place.blob.media_type) {
            0 => {}
            number => record["compression"] = number.into(),
        }
        record
    }
}

fn take_apart(mut tree: Tree, archive: &mut Drain, notes: &std::fs::File) -> Result<Anatomy> {
    let mut splitter = Splitter::new(archive, std::io::BufWriter::new(notes));
    tree.apply(&mut splitter)?;
    tree.finish()?;
    let (mut output, anatomy) = splitter.finish()?;
    output.flush()?;
    Ok(anatomy)
}

fn send(mut content: Box<dyn Read + Send>, feed: &mut Feed) -> Result<()> {
    loop {
        let mut buffer = feed.buffer();
        match content.read(&mut buffer)? {
            0 => return Ok(()),
            len => feed.send(buffer, len),
        }
    }
}

/// A layer that says nothing of the root directory leaves it as it is.
fn root_as_below(root: &Dir, below: &Dir) -> Result<()> {
    let stat = conex_sys::path::stat(below)?;
    let own = conex_sys::path::stat(root)?;
    if (stat.st_uid, stat.st_gid) != (own.st_uid, own.st_gid) {
        conex_sys::path::chown(root, stat.st_uid, stat.st_gid)?;
    }
    conex_sys::path::chmod(root, stat.st_mode & 0o7777)?;
    let time = Time { sec: stat.st_mtime, nsec: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) };
    Ok(conex_sys::path::set_times(root, time, time)?)
}

/// What a process that was killed has left under this name: it is in no record, or in one that says so.
fn remove_remains(overlay: &Dir, layers: &mut Area, id: &str) -> Result<()> {
    layers.records.values.retain(|layer| layer["id"] != id);
    if overlay.find(id)?.is_none() {
        return Ok(());
    }
    if let Ok(file) = overlay.open_dir(id).and_then(|dir| dir.open_file("link")) {
        let link = String::from_utf8(files::read(&file, 100)?).unwrap_or_default();
        let links = overlay.open_dir(LINKS)?;
        if !link.is_empty() && !link.contains('/') && links.find(&link)?.is_some() {
            links.remove_file(&link)?;
        }
    }
    overlay.remove_all(id).wrap(|| format!("remove what is left of layer {id}"))
}

fn write(dir: &Dir, name: &str, text: &str) -> Result<()> {
    let mut file = dir.create_file(name, 0o644)?;
    file.write_all(text.as_bytes()).wrap(|| name.to_owned())
}

/// 26 letters and digits of base32, so that many layers' names fit into one page of mount options.
fn link_name() -> Result<String> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut random = [0; 26];
    crate::host::random(&mut random)?;
    Ok(random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}
