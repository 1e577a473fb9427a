// SPDX-License-Identifier: Apache-2.0
//! Doing what a graph says: each node once, those that do not need each other at the same time. What a node makes is a
//! layer of the store, found again by a key of its inputs' content (`cache`).
//!
//! ```text
//!  node ─► key ─► cache ──hit───────────────────► layer
//!                   └─miss─► Tree: overlay of the parent's layers ─► run | copy ─► describe ─► adopt ─┘
//! ```

mod agent;
mod cache;
mod copy;
mod image;
mod key;
mod place;
mod run;
mod schedule;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use conex_engine::Engine;
use conex_image::layer::pack::Times;
use conex_image::store::Store;
use conex_spec::image::{Descriptor, Platform};
use conex_spec::{DiffId, Timestamp};

use crate::commit::{Committed, Format};
use crate::container::Isolation;
use crate::graph::{Graph, Node, NodeId};
use crate::ignore::Ignore;
use crate::remote::Remote;
use crate::{Error, Result, Wrap as _};

pub use cache::{Usage, forget};
pub use place::sweep;

/// How to build.
#[derive(Debug, Default)]
pub struct Options {
    /// Directories: the build context (`None`), and those by name.
    pub contexts: BTreeMap<Option<String>, PathBuf>,
    /// What of the build context does not count.
    pub ignore: Ignore,
    /// Whether steps that were done before are done again.
    pub usage: Usage,
    /// Stages of which the steps are done again.
    pub refresh: BTreeSet<String>,
    /// `ADD` from other machines.
    pub remote: Remote,
    /// `--ssh`: sockets of agents by id.
    pub agents: BTreeMap<String, PathBuf>,
    /// `--secret`: files by id.
    pub secrets: BTreeMap<String, Secret>,
    /// Variables of every command that are in no key and no history: proxies.
    pub env: Vec<String>,
    /// The host's network for commands, in place of none.
    pub host_network: bool,
    /// `RUN --security=insecure` may be.
    pub allow_insecure: bool,
    /// How commands are confined.
    pub isolation: Isolation,
    /// What becomes of files' times.
    pub times: Times,
    /// When, for the configuration and the history; now if unset.
    pub created: Option<Timestamp>,
    /// Whose media types.
    pub format: Format,
    /// All layers as one.
    pub squash: bool,
    /// Steps at the same time; at least one.
    pub jobs: usize,
    /// More labels.
    pub labels: BTreeMap<String, String>,
    /// Of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// Where a secret comes from.
#[derive(Clone, Debug)]
pub enum Secret {
    /// A file of the host.
    File(PathBuf),
    /// This.
    Value(String),
}

/// Who is told how it goes.
pub trait Progress: Sync {
    /// A node's turn has come.
    fn started(&self, id: NodeId, node: &Node);
    /// A node is done, by itself or by the cache.
    fn done(&self, id: NodeId, node: &Node, cached: bool);
    /// Where the output of commands goes: stdout and stderr; `None`: to those of this process.
    fn output(&self, id: NodeId) -> Result<Option<(std::fs::File, std::fs::File)>>;
}

/// Why there is no image.
#[derive(Debug)]
pub enum Stopped {
    /// Something failed at a node.
    At(NodeId, Error),
    /// A command ended like this.
    Command(NodeId, u8),
    /// Something failed elsewhere.
    Error(Error),
}

impl<E: Into<Error>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// A layer on the way up.
#[derive(Clone, Debug)]
struct Layer {
    descriptor: Descriptor,
    diff_id: DiffId,
    /// Its files.
    path: PathBuf,
}

/// What a node comes to.
#[derive(Clone, Debug)]
struct Value {
    /// Base first; empty for a context.
    layers: Vec<Layer>,
    /// A directory of the host.
    outside: Option<PathBuf>,
    /// Whether the node added one of the layers.
    added: bool,
}

/// A build under way.
struct Build<'a> {
    engine: &'a Engine,
    store: Arc<Store>,
    options: &'a Options,
    progress: &'a dyn Progress,
    platform: Platform,
    /// Where trees are while they are written to; on the store's file system.
    work: place::Place,
}

/// Builds it. The image has no name yet, and is kept without one.
pub fn build(
    engine: &Engine,
    graph: &Graph,
    platform: &Platform,
    options: &Options,
    progress: &dyn Progress,
) -> std::result::Result<Committed, Stopped> {
    let store = engine.store()?;
    // No layer is collected before the image keeps it.
    let _kept = store.share()?;
    sweep(engine)?;
    let work = place::Place::new(engine)?;
    let build = Build { engine, store, options, progress, platform: platform.clone(), work };
    let values = schedule::walk(&graph.nodes, options.jobs.max(1), |id, values| {
        let node = &graph.nodes[id];
        build.progress.started(id, node);
        let (value, cached) = build.node(id, node, values)?;
        build.progress.done(id, node, cached);
        Ok(value)
    })?;
    Ok(build.image(graph, &values)?)
}

/// A file that nobody else can open, for what a command says.
pub fn unnamed_file() -> Result<std::fs::File> {
    tempfile::tempfile().wrap(|| "make a file without a name")
}
