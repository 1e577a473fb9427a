// SPDX-License-Identifier: Apache-2.0
//! What a Containerfile builds, as a graph: one node for each thing that makes or changes files. Pure: base images are
//! given, nothing is opened. Stages that the target does not need have no nodes; what two stages do alike is one node.
//!
//! ```text
//!  FROM a AS x ──► image a ─► run ──┐ COPY --from=x
//!  FROM b      ──► image b ───────► copy ─► run   = the target's files; its configuration and history beside them
//!                       context ────┘ COPY .
//! ```
//! A node's inputs have smaller numbers than itself.

mod base;
pub(crate) use base::parse as parse_platform;
mod configure;
pub(crate) mod git;
mod plan;
mod ports;
mod render;
mod stage;
mod transfer;
mod variables;

use std::collections::{BTreeMap, BTreeSet};

use conex_spec::image::{ImageConfig, Platform};

use crate::chmod::Chmod;
use crate::containerfile::{Mount, Network, Span};
use crate::lint::Warning;

pub use plan::plan;

/// Number of a node.
pub type NodeId = usize;

/// What the command line says about what is to be built.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name or number of a stage; `None`: the last.
    pub target: Option<String>,
    /// `--build-arg`
    pub build_args: BTreeMap<String, String>,
    /// What is built for.
    pub target_platform: Platform,
    /// What it is built on.
    pub build_platform: Platform,
    /// `--build-context`
    pub contexts: BTreeMap<String, NamedContext>,
}

/// What a name of `--build-context` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext {
    /// An image.
    Image(String),
    /// Files: a directory, an archive, a repository.
    Files,
}

/// An image that a stage begins with, or that files are copied from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Base {
    /// As the file has it, variables replaced.
    pub name: String,
    /// `os/architecture[/variant]`
    pub platform: String,
}

/// The images that are known, by what the file calls them.
pub type Bases = BTreeMap<Base, ImageConfig>;

/// What planning comes to.
#[derive(Clone, Debug)]
pub enum Planned {
    /// Everything is known.
    Whole(Box<Graph>),
    /// Ask again once this image is known too.
    Needs(Base, Span),
}

/// What is to be built.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Inputs first.
    pub nodes: Vec<Node>,
    /// Whose files are the image's.
    pub target: NodeId,
    /// The image's configuration; `rootfs` and `history` are the base image's.
    pub config: ImageConfig,
    /// What the stage and those below it added.
    pub history: Vec<Event>,
    /// What is allowed, but better not done.
    pub warnings: Vec<Warning>,
    /// Values of `--build-arg` that nothing asked for.
    pub unused_args: BTreeSet<String>,
}

/// An entry of the image's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The instruction, variables replaced.
    pub created_by: String,
    /// The node that may have made a layer.
    pub node: Option<NodeId>,
}

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is done.
    pub step: Step,
    /// `[builder 2/5] RUN make`
    pub name: String,
    /// The first instruction that asked for it.
    pub span: Span,
    /// Its stage.
    pub stage: String,
}

/// What is done. Equal steps do the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// No files.
    Scratch,
    /// An image's files.
    Image(Base),
    /// Files from outside: the build context, or one by name.
    Context(Option<String>),
    /// A command.
    Run(Box<Run>),
    /// Files from elsewhere.
    Copy(Box<Copy>),
    /// A directory, if it is not there.
    Directory(Directory),
}

/// `RUN`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// What it runs on.
    pub parent: NodeId,
    /// The command, shell included.
    pub args: Vec<String>,
    /// `NAME=value`: the image's variables and the arguments declared so far.
    pub env: Vec<String>,
    /// Where.
    pub cwd: String,
    /// Who; empty is root.
    pub user: String,
    /// The command itself, where it is a here-document that begins with `#!`: name and text.
    pub script: Option<(String, String)>,
    /// Its mounts, targets absolute.
    pub mounts: Vec<(Mount, Option<NodeId>)>,
    /// `--network`
    pub network: Network,
    /// `--security=insecure`
    pub insecure: bool,
    /// `--device`
    pub devices: Vec<crate::containerfile::Device>,
}

/// `COPY` and `ADD`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Copy {
    /// What it is added to.
    pub parent: NodeId,
    /// Where paths are from.
    pub from: Option<NodeId>,
    /// What, in order.
    pub sources: Vec<Source>,
    /// Absolute; with a slash at its end it is a directory.
    pub destination: String,
    /// `user[:group]`, ids or names in `parent`.
    pub chown: Option<String>,
    /// `--chmod`
    pub chmod: Option<Chmod>,
    /// Does not look at what is in `parent`.
    pub link: bool,
    /// Directories above a source are kept.
    pub parents: bool,
    /// Patterns relative to each source.
    pub exclude: Vec<String>,
    /// What becomes of archives: `None`, as `ADD` does it with local ones.
    pub unpack: Unpack,
}

/// What becomes of archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unpack {
    /// They are copied.
    Never,
    /// Those of the context are unpacked, those from an address are not.
    Local,
    /// They are unpacked.
    Always,
}

/// What is copied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Paths in `from`; may be a pattern.
    Path(String),
    /// A file with this text.
    Inline {
        /// Its name.
        name: String,
        /// Its text, variables replaced.
        text: String,
    },
    /// A file from a server.
    Url {
        /// From where.
        url: String,
        /// What its digest must be.
        checksum: Option<String>,
    },
    /// A repository.
    Git {
        /// From where.
        remote: String,
        /// Branch, tag or commit.
        reference: Option<String>,
        /// Only this directory of it.
        subdirectory: Option<String>,
        /// `.git` too.
        keep_git_dir: bool,
        /// What the commit must be.
        checksum: Option<String>,
    },
}

/// `WORKDIR`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Directory {
    /// Where it is made.
    pub parent: NodeId,
    /// Absolute.
    pub path: String,
    /// Whose; empty is root's.
    pub user: String,
}

impl Step {
    /// The nodes that it builds on, what it changes first.
    pub fn inputs(&self) -> Vec<NodeId> {
        match self {
            Self::Scratch | Self::Image(_) | Self::Context(_) => Vec::new(),
            Self::Directory(directory) => vec![directory.parent],
            Self::Copy(copy) => [copy.parent].into_iter().chain(copy.from).collect(),
            Self::Run(run) => {
                [run.parent].into_iter().chain(run.mounts.iter().filter_map(|(_, from)| *from)).collect()
            }
        }
    }
}
