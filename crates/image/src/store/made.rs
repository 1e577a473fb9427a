// SPDX-License-Identifier: Apache-2.0
//! Layers that were made here: an overlay's upper directory *is* the layer, and its blob is made only for those who ask.
//!
//! ```text
//!  <directory>/diff/                 what an overlay was written to; nobody writes any more
//!       │ describe: one read: archive ─► sha256 = diff_id, size     layer.json beside it
//!       │ adopt: syncfs
//!       ▼ rename
//!  layers/sha256/<diff_id>/{diff/, layer.json with `packed`}
//!       │ when its bytes are asked for: the same walk again, verified
//!       ▼
//!  blobs/sha256/<diff_id>, or a stream
//! ```
//! The blob's media type is the uncompressed archive's, so its digest is the diff_id. What decides on the bytes besides
//! the files is in `packed`. A layer that gives other bytes than it once did is damaged: whoever reads notices by the
//! digest, and fsck says so.

use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use conex_spec::image::{Descriptor, media_type};
use conex_spec::{Algorithm, DiffId, Digest};
use conex_sys::Errno;
use conex_sys::path::Dir;
use serde::{Deserialize, Serialize};

use super::Store;
use super::layers::{DIFF, RECORD, Record};
use crate::layer::apply::{Below, Tree};
use crate::layer::pack::{Options, Times};
use crate::layer::pass::{Feed, Writer, pipe};
use crate::layer::upper::{self, Contents};
use crate::layout::files::{self, Existing};
use crate::snapshot::Stack;
use crate::transfer::BlobReader;
use crate::verify::{self, Hasher};
use crate::{Error, ErrorKind, Result, Wrap, host};

/// Which walk and writer of archives; another one would have another number.
const PACKER: u32 = 1;

/// How the blob of a layer is made of its directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Packed {
    /// See [`PACKER`].
    pub(crate) packer: u32,
    /// Bytes of the archive.
    pub(crate) size: u64,
    /// What became of the files' times.
    pub(crate) times: Times,
}

/// A layer that was digested, on its way into the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// What the archive hashes to.
    pub diff_id: DiffId,
    /// Bytes of the archive.
    pub size: u64,
}

impl Made {
    /// The layer as an OCI manifest names it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(media_type::OCI_LAYER, self.diff_id.0.clone(), self.size)
    }
}

impl Store {
    /// Digests the layer in `directory`, a directory of this store's file system that has `diff/`, as an overlay with
    /// this store's privileges has written it, and notes beside it what it is. Nobody may write to it any more.
    pub fn describe_layer(&self, directory: &Path, times: Times) -> Result<Made> {
        let describe = || -> Result<Made> {
            let dir = Dir::open_host(directory)?;
            let (made, contents) = self.digest(dir.open_dir(DIFF)?, times)?;
            let record = Record {
                version: 1,
                diff_id: made.diff_id.clone(),
                blob: made.diff_id.0.clone(),
                entries: contents.entries,
                bytes: contents.bytes,
                implicit_parents: false,
                lower_links: false,
                userxattr: !self.privileges()?.trusted,
                below: Vec::new(),
                packed: Some(Packed { packer: PACKER, size: made.size, times }),
            };
            let bytes = serde_json::to_vec(&record).map_err(|e| Error::invalid(e.to_string()))?;
            files::write(&dir, RECORD, &bytes, 0o600, Existing::Replace)?;
            Ok(made)
        };
        describe().wrap(|| format!("layer in {}", directory.display()))
    }

    /// Makes what [`Store::describe_layer`] has described a layer of the store, by a rename of `directory`. Where the
    /// store has such a layer already, that one counts, and `directory` stays.
    pub fn adopt_layer(&self, directory: &Path, made: &Made) -> Result<()> {
        let key = &made.diff_id.0;
        let adopt = || -> Result<()> {
            if self.layer_record(key)?.is_none() {
                // The upper directory's files, and the record.
                conex_sys::path::sync_filesystem(&self.root)?;
                let (parent, name) = host::parent(directory)?;
                match parent.rename_new(&name, &self.layers, key.hex()) {
                    Ok(()) => return Ok(self.layers.sync()?),
                    Err(error) if error.errno() == Errno::EXIST => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if self.blob_size(key)?.is_some() {
                return Ok(());
            }
            // Unpacked from a compressed blob, by which this archive's bytes cannot be told.
            let upper = Dir::open_host(directory)?.open_dir(DIFF)?;
            let record = read_record(&Dir::open_host(directory)?)?;
            self.write_archive(key, upper, record)
        };
        adopt().wrap(|| format!("layer {key}"))
    }

    /// Copies a tree, whole or an upper directory that is still written to, into `directory`, as a layer to describe.
    pub fn copy_tree(&self, tree: &Path, directory: &Path) -> Result<()> {
        let copy = || -> Result<()> {
            let (options, userxattr) = self.pack_options(Times::Kept)?;
            let (from, to) = (Dir::open_host(tree)?, host::make_dir(directory, 0o700)?);
            to.make_dir(DIFF, 0o700)?;
            let below = Below::Layers(Stack::empty());
            let mut to = Tree::new(to.open_dir(DIFF)?, self.privileges()?.options(), below)?;
            let (feed, drain) = pipe(None);
            let packer = thread::spawn(move || pack(from, feed, options, userxattr));
            let mut archive = Archive { drain, packer: Some(packer) };
            to.apply(&mut io::BufReader::with_capacity(128 << 10, &mut archive))?;
            to.finish()?;
            Ok(())
        };
        copy().wrap(|| format!("copy {}", tree.display()))
    }

    /// Whether a layer of this diff_id is here.
    pub fn has_layer(&self, diff_id: &DiffId) -> Result<bool> {
        Ok(self.layer_record(&diff_id.0)?.is_some())
    }

    /// Where the files of a layer that was made here are.
    pub fn made_layer(&self, diff_id: &DiffId) -> PathBuf {
        self.layer_path(&diff_id.0)
    }

    /// How to make the blob, if it can be.
    pub(crate) fn packed(&self, digest: &Digest) -> Result<Option<Packed>> {
        if digest.algorithm() != Algorithm::Sha256 {
            return Ok(None);
        }
        Ok(self.layer_record(digest)?.and_then(|record| record.packed))
    }

    /// The archive of a layer that was made here, as it is packed. Unverified, as all streams are.
    pub(crate) fn pack_blob(&self, digest: &Digest) -> Result<BlobReader> {
        let upper = self.layers.open_dir(digest.hex())?.open_dir(DIFF)?;
        let record = read_record(&self.layers.open_dir(digest.hex())?)?;
        Ok(BlobReader { reader: Box::new(self.stream(upper, record)?), offset: 0 })
    }

    /// Makes the archive a blob of the store.
    pub(crate) fn write_blob(&self, digest: &Digest) -> Result<()> {
        let dir = self.layers.open_dir(digest.hex())?;
        self.write_archive(digest, dir.open_dir(DIFF)?, read_record(&dir)?)
    }

    fn write_archive(&self, digest: &Digest, upper: Dir, record: Record) -> Result<()> {
        let size = record.packed.as_ref().map_or(0, |packed| packed.size);
        let mut reader = self.stream(upper, record)?;
        self.put_blob(&Descriptor::new(media_type::OCI_LAYER, digest.clone(), size), &mut reader)
    }

    /// Packs a layer again: whether it still gives the bytes that it is named by. Says what is wrong.
    pub(crate) fn check_packed(&self, digest: &Digest, packed: &Packed) -> Result<Option<String>> {
        let upper = self.layers.open_dir(digest.hex())?.open_dir(DIFF)?;
        let (found, _) = self.digest(upper, packed.times)?;
        let checked = verify::check(digest, packed.size, &found.diff_id.0, found.size);
        Ok(checked.err().map(|error| error.to_string()))
    }

    fn digest(&self, upper: Dir, times: Times) -> Result<(Made, Contents)> {
        let (options, userxattr) = self.pack_options(times)?;
        let (feed, mut drain) = pipe(Some(Hasher::new(Algorithm::Sha256)));
        // Reading takes as long as hashing.
        let packer = thread::spawn(move || pack(upper, feed, options, userxattr));
        let size = io::copy(&mut drain, &mut io::sink());
        let contents = joined(packer)?;
        Ok((Made { diff_id: DiffId(drain.finish()?), size: size? }, contents))
    }

    fn stream(&self, upper: Dir, record: Record) -> Result<Archive> {
        let packed = record.packed.ok_or_else(|| Error::invalid("was not made here"))?;
        if packed.packer != PACKER {
            let message = format!("layer {}: packed by version {}", record.diff_id, packed.packer);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let (options, _) = self.pack_options(packed.times)?;
        let (feed, drain) = pipe(None);
        let userxattr = record.userxattr;
        let packer = thread::spawn(move || pack(upper, feed, options, userxattr));
        Ok(Archive { drain, packer: Some(packer) })
    }

    fn pack_options(&self, times: Times) -> Result<(Options, bool)> {
        let privileges = self.privileges()?;
        Ok((Options { owner: privileges.options().owner, times }, !privileges.trusted))
    }
}

fn pack(upper: Dir, feed: Feed, options: Options, userxattr: bool) -> Result<Contents> {
    let mut writer = Writer::new(feed);
    // Files are copied in pieces of its size.
    let mut output = BufWriter::with_capacity(128 << 10, &mut writer);
    let contents = upper::pack(&upper, &mut output, options, userxattr)?;
    output.flush()?;
    drop(output);
    writer.end();
    Ok(contents)
}

fn joined(packer: JoinHandle<Result<Contents>>) -> Result<Contents> {
    packer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn read_record(dir: &Dir) -> Result<Record> {
    let bytes = files::read(&dir.open_file(RECORD)?, crate::manifest::MAX_MANIFEST)?;
    serde_json::from_slice(&bytes).map_err(|e| Error::invalid(format!("{RECORD}: {e}")))
}

/// An archive that is packed while it is read.
struct Archive {
    drain: crate::layer::pass::Drain,
    packer: Option<JoinHandle<Result<Contents>>>,
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.drain.read(buffer).map_err(|cut_off| match self.packer.take().map(joined) {
            Some(Err(error)) => io::Error::other(error.to_string()),
            _ => cut_off,
        })
    }
}

#[cfg(test)]
mod tests;
