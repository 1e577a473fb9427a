// SPDX-License-Identifier: Apache-2.0
//! Instructions as plain structs, with their words as they are written.

use super::{MountFlag, Span};

/// One instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// The first word as it is written: `RUN`, `run`.
    pub word: String,
    /// All of it, continued lines joined, without here-documents.
    pub text: String,
    /// Where.
    pub span: Span,
    /// The comments directly above.
    pub comments: Vec<String>,
    /// What it says.
    pub kind: Kind,
}

/// What an instruction says.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the language's own words")]
pub enum Kind {
    Add(Copy),
    Arg(Vec<Arg>),
    Cmd(Form),
    Copy(Copy),
    Entrypoint(Form),
    Env(Vec<Pair>),
    Expose(Vec<String>),
    From(From),
    /// `None`: `HEALTHCHECK NONE`.
    Healthcheck(Option<Health>),
    Label(Vec<Pair>),
    Maintainer(String),
    Onbuild(Onbuild),
    Run(Run),
    Shell(Vec<String>),
    Stopsignal(String),
    User(String),
    Volume(Vec<String>),
    Workdir(String),
}

/// `FROM [--platform=P] BASE [AS NAME]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct From {
    /// An image, an earlier stage, `scratch`, a named context.
    pub base: String,
    /// In lower case.
    pub name: Option<String>,
    /// As it is written, for those who care for its case.
    pub written_name: Option<String>,
    /// The word between the two.
    pub as_word: Option<String>,
    /// `--platform`
    pub platform: Option<String>,
}

/// `NAME`, or `NAME=DEFAULT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// Its name.
    pub name: String,
    /// Its default.
    pub value: Option<String>,
}

/// `NAME=VALUE`, or `NAME VALUE` of old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Before the `=`.
    pub name: String,
    /// Behind it.
    pub value: String,
    /// Written with a space.
    pub legacy: bool,
}

/// A command line: for a shell, or word by word.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `RUN echo hi`
    Shell(String),
    /// `RUN ["echo", "hi"]`
    Exec(Vec<String>),
}

/// `COPY` and `ADD`. What only one of them knows is not set in the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Copy {
    /// At least one, in the order of their words.
    pub sources: Vec<CopySource>,
    /// Where to; relative to the working directory.
    pub destination: String,
    /// `COPY --from`: a stage, an image, a named context.
    pub from: Option<String>,
    /// `--chown`
    pub chown: Option<String>,
    /// `--chmod`, octal or symbolic.
    pub chmod: Option<String>,
    /// `--link`
    pub link: bool,
    /// `COPY --parents`
    pub parents: bool,
    /// `--exclude`
    pub exclude: Vec<String>,
    /// `ADD --keep-git-dir`
    pub keep_git_dir: Option<bool>,
    /// `ADD --checksum`
    pub checksum: Option<String>,
    /// `ADD --unpack`
    pub unpack: Option<bool>,
}

/// What is copied.
#[derive(Clone, Debug, PartialEq)]
pub enum CopySource {
    /// A path, perhaps with wildcards, or with `ADD` an address.
    Path(String),
    /// A here-document: a file of its name.
    Inline(Heredoc),
}

/// `<<NAME`, `<<-NAME`, `<<"NAME"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Heredoc {
    /// The word that ends it.
    pub name: String,
    /// No part of the word was quoted: variables are replaced.
    pub expand: bool,
    /// `<<-`: tabs in front of its lines do not count.
    pub strip_tabs: bool,
    /// The text, without those tabs.
    pub body: String,
    /// The text as it is written, for a shell that reads it itself.
    pub raw: String,
}

/// `HEALTHCHECK CMD`. Times in nanoseconds, as image configurations have them; 0 is the engine's default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the flags' own words")]
pub struct Health {
    pub command: Form,
    pub interval: u64,
    pub timeout: u64,
    pub start_period: u64,
    pub start_interval: u64,
    pub retries: u32,
}

/// `ONBUILD`: what a build on top of this image begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onbuild {
    /// The instruction, here-documents included.
    pub trigger: String,
}

/// `RUN`
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The command line as it is written.
    pub form: Form,
    /// What its `<<` stand for.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`
    pub mounts: Vec<MountFlag>,
    /// `--network`
    pub network: Network,
    /// `--security=insecure`
    pub insecure: bool,
    /// `--device`
    pub devices: Vec<Device>,
}

/// `RUN --network`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Network {
    /// What the whole build uses.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

/// `RUN --device=NAME[,required]` (Container Device Interface).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// `vendor/class[=device]`
    pub name: String,
    /// Without it the step fails.
    pub required: bool,
}
