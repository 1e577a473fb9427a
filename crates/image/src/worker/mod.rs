// SPDX-License-Identifier: Apache-2.0
//! Layers are hostile bytes: they are decompressed and unpacked by a process that can do nothing else.
//!
//! ```text
//!  conex: sockets, credentials, store                       worker: one tree, see conex_sys::confine
//!    │ fetch, verify the digest of what is stored
//!    ├── 0: job, then layers ─────────────────────────────► decompress ─► diff_id ─► files
//!    │◄─ 1: per layer diff_id and counts, or why not ──────┤
//!    │       at the end the tree's description (mtree)      │
//!    └── 2: the tree's directory ──────────────────────────►┘
//! ```
//! The worker is this very program under another name, one for each tree. What it answers is believed as far as it is
//! about its own tree, and no further.
//!
//! Who does not say which program that is ([`use_program`]) unpacks in its own process: tests of this crate do.

mod child;
mod message;
mod parent;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use conex_spec::DiffId;
use conex_sys::path::Dir;

use crate::bundle::mtree;
use crate::layer::apply::{Applied, Below, Form, Options, Tree};
use crate::layer::pass::pass;
use crate::snapshot::Stack;
use crate::{Error, ErrorKind, Result};

pub use child::serve;
use parent::Worker;

/// The worker's `argv[0]`: a program that is called this calls [`serve`] and nothing else.
pub const NAME: &str = "conex-unpack";

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// From now on this process has its layers unpacked by `program`, started as [`NAME`].
pub fn use_program(program: impl Into<PathBuf>) {
    // The first one stays.
    let _ = PROGRAM.set(program.into());
}

/// Where a tree is made, and on what.
pub(crate) struct Site {
    /// All that the work gets to see.
    pub(crate) base: Dir,
    /// The tree's directory below it; empty if that is itself.
    pub(crate) tree: PathBuf,
    /// The layers below, top first, in `base`, too; `None` where they are not known yet.
    pub(crate) below: Option<Vec<PathBuf>>,
}

impl Site {
    /// A tree with nothing below it.
    pub(crate) fn alone(directory: Dir) -> Self {
        Self { base: directory, tree: PathBuf::new(), below: Some(Vec::new()) }
    }

    fn begin(&self, options: Options) -> Result<Tree> {
        let userxattr = options.form == Form::Overlay { userxattr: true };
        let below = match &self.below {
            None => Below::Unknown,
            Some(paths) => {
                let open = |path: &PathBuf| Ok(Arc::new(descend(&self.base, path)?));
                Below::Layers(Stack::new(paths.iter().map(open).collect::<Result<_>>()?, userxattr))
            }
        };
        Tree::new(descend(&self.base, &self.tree)?, options, below)
    }
}

/// Name by name, so that no link is followed.
fn descend(base: &Dir, path: &Path) -> Result<Dir> {
    Ok(path.iter().try_fold(base.try_clone()?, |dir, name| dir.open_dir(name))?)
}

/// A tree that layers are unpacked into, be it here or by a worker.
pub(crate) struct Unpacking(Hands);

enum Hands {
    Own(Box<Tree>, Dir),
    Worker(Worker),
}

/// Takes the bytes of a layer as they are stored.
pub(crate) type Take<'a> = &'a mut dyn FnMut(&[u8]);

impl Unpacking {
    /// Begins a tree.
    pub(crate) fn begin(site: &Site, options: Options) -> Result<Self> {
        Ok(Self(match PROGRAM.get() {
            Some(program) => Hands::Worker(Worker::start(program, site, options)?),
            None => Hands::Own(Box::new(site.begin(options)?), descend(&site.base, &site.tree)?),
        }))
    }

    /// Unpacks a layer of `size` stored bytes, which `fetch` hands over and verifies. Its failure is told before any
    /// other, because wrong bytes explain everything behind them.
    pub(crate) fn layer(
        &mut self,
        size: u64,
        fetch: impl FnOnce(Take<'_>) -> Result<()>,
    ) -> Result<(DiffId, Applied)> {
        match &mut self.0 {
            Hands::Own(tree, _) => {
                pass(size, |feed| fetch(&mut |bytes| feed.copy(bytes)), |archive| tree.apply(archive))
            }
            Hands::Worker(worker) => worker.layer(size, fetch),
        }
    }

    /// Makes the tree whole, and writes its description where that is wanted ([`Options::digests`]).
    pub(crate) fn finish(self, description: &mut dyn Write) -> Result<()> {
        match self.0 {
            Hands::Own(tree, dir) => describe(*tree, &dir, description),
            Hands::Worker(worker) => worker.finish(description),
        }
    }
}

fn describe(tree: Tree, dir: &Dir, description: &mut dyn Write) -> Result<()> {
    let wanted = tree.wants_digests();
    let known = tree.finish()?;
    if wanted {
        mtree::write(dir, &known, description)?;
    }
    Ok(())
}

/// What cannot be, if the other side is the same program.
fn confused(what: &str) -> Error {
    Error::new(ErrorKind::Os, format!("the process that unpacks: {what}"))
}
