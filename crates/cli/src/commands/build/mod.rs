// SPDX-License-Identifier: Apache-2.0
//! `conex build`

mod inputs;
mod result;
mod shown;

use std::path::PathBuf;

use conex_build::container::Isolation;
use conex_build::containerfile::{Containerfile, Mistake};
use conex_build::execute::{self, Options, Usage};
use conex_build::graph::{self, Bases, Graph, Planned, Request};
use conex_build::{context, lint};
use conex_engine::images::layer::pack::Times;
use conex_engine::{Engine, image};
use conex_spec::image::Platform;

use self::inputs::{Inputs, pair};
use self::result::Output;
use self::shown::Shown;
use super::container_args::Pull;
use super::platform::parse_platform;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::{RegistryArgs, Session};

/// Build an image from a Containerfile
///
/// Stages and steps that do not need each other run at the same time; stages that the result does not need do not run.
/// What was done before on the same files is not done again. The file is Containerfile, else Dockerfile, in the context
/// directory.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex build                                 the directory here
  conex build -t app:1 --target test .        a name, and only what the stage `test` needs
  conex build --build-arg V=3 --secret id=token,src=token.txt .
  conex build -f build/Containerfile -q .     print the image id only
  conex build --check .                       look, and build nothing
Exit codes: that of the RUN that failed; 125 where the file is wrong or conex failed.")]
pub(crate) struct Args {
    /// What COPY and ADD take files from: a directory, an archive (- or its address), a repository [default: .]
    #[arg(value_name = "CONTEXT")]
    context: Option<PathBuf>,
    /// The Containerfile; - is stdin
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The image's name; may be given again for more
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<String>,
    /// The stage to build [default: the last]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// A value for an ARG; without a value, the environment's
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// A file with a NAME=VALUE in each line, which --build-arg has before
    #[arg(long, value_name = "FILE")]
    build_arg_file: Vec<PathBuf>,
    /// A context, or docker-image://IMAGE, under a name
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    build_context: Vec<(String, String)>,
    /// For RUN --mount=type=secret: id=ID with src=FILE or env=NAME
    #[arg(long, value_name = "id=ID,src=FILE")]
    secret: Vec<String>,
    /// For RUN --mount=type=ssh: default, or ID=SOCKET [default: $SSH_AUTH_SOCK]
    #[arg(long, value_name = "ID[=SOCKET]", num_args = 0..=1, default_missing_value = "default")]
    ssh: Vec<String>,
    /// In place of the context's ignore file
    #[arg(long, value_name = "FILE")]
    ignorefile: Option<PathBuf>,
    /// Do every step again
    #[arg(long)]
    no_cache: bool,
    /// Do the steps of these stages again
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    no_cache_filter: Vec<String>,
    /// Write the result elsewhere, too: a directory, - (tar), type=local|tar|oci|docker,dest=FILE
    #[arg(short, long, value_name = "OUTPUT")]
    output: Vec<String>,
    /// Look at the file, and build nothing
    #[arg(long)]
    check: bool,
    /// Show what would be done, and build nothing
    #[arg(long)]
    plan: bool,
    /// When to ask registries for base images
    #[arg(long, value_enum, default_value = "missing", num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    pull: Pull,
    /// For another machine: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = parse_platform)]
    platform: Option<Platform>,
    /// The network of RUN
    #[arg(long, value_name = "default|none|host", default_value = "default")]
    network: String,
    /// How RUN is confined
    #[arg(long, value_name = "oci|rootless|chroot", default_value = "oci")]
    isolation: String,
    /// Allow what a file must not do by itself: security.insecure
    #[arg(long, value_name = "ENTITLEMENT")]
    allow: Vec<String>,
    /// A label of the image
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// An annotation of the image
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    annotation: Vec<(String, String)>,
    /// Whose media types the image has
    #[arg(long, value_name = "oci|docker", default_value = "oci")]
    format: String,
    /// One layer with everything
    #[arg(long, visible_alias = "squash-all")]
    squash: bool,
    /// Seconds since 1970 for the image and all its files
    #[arg(long, value_name = "SECONDS")]
    timestamp: Option<i64>,
    /// Seconds since 1970 for the image [default: $SOURCE_DATE_EPOCH]
    #[arg(long, value_name = "SECONDS")]
    source_date_epoch: Option<i64>,
    /// With --source-date-epoch: no file is later than that
    #[arg(long)]
    rewrite_timestamp: bool,
    /// Write the image id to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Write what was built to a file, as JSON
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
    /// Steps at the same time [default: one for each processor]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Print the image id only
    #[arg(short, long)]
    quiet: bool,
    /// What scripts say and is so anyway
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    layers: Option<Option<bool>>,
    /// What scripts say and is so anyway
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    rm: Option<Option<bool>>,
    /// What scripts say and is so anyway
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    force_rm: Option<Option<bool>>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    // Where things are is asked as who this is outside.
    let engine = session.engine_for(&args.registry)?;
    if args.is_remote() {
        // Archives have owners of their own.
        session.enter_user_namespace()?;
    }
    let inputs = Inputs::read(args, session)?;
    let file = conex_build::containerfile::parse(&inputs.text).map_err(|mistake| inputs.mistake(&mistake))?;
    let wanted = inputs.lint_options(&file)?;
    session.enter_user_namespace()?;
    session.sweep(&engine)?;
    let request = args.request(session, &inputs)?;
    let planned = args.plan(session, &engine, &file, &request);
    let graph = planned.map_err(|wrong| match wrong {
        Wrong::File(mistake) => inputs.mistake(&mistake),
        Wrong::Other(error) => error,
    })?;
    let warnings = wanted.filter(graph.warnings.clone());
    if args.plan {
        output::print(&graph.to_string())?;
        return Ok(0);
    }
    if args.check {
        warnings.iter().try_for_each(|warning| output::print_line(&inputs.warning(warning)))?;
        return Ok(u8::from(!warnings.is_empty()));
    }
    warnings.iter().for_each(|warning| output::note(&format!("warning: {}", inputs.warning(warning))));
    if wanted.error && !warnings.is_empty() {
        return Err(CommandError::usage("the file says that its warnings are errors (# check=error=true)"));
    }
    for name in &graph.unused_args {
        output::note(&format!("warning: nothing in the file asks for --build-arg {name}"));
    }
    build(args, session, &engine, &inputs, &graph, &request)
}

/// What is wrong with the file, or with something else.
enum Wrong {
    File(Mistake),
    Other(CommandError),
}

fn build(
    args: &Args,
    session: &Session,
    engine: &Engine,
    inputs: &Inputs,
    graph: &Graph,
    request: &Request,
) -> CommandResult {
    let names = args.tag.iter().map(|name| inputs::reference(name)).collect::<Result<Vec<_>, _>>()?;
    let options = args.options(session, inputs)?;
    let name = names.first().map(ToString::to_string);
    let outputs = args.output.iter().map(|text| Output::parse(text, name.as_deref()));
    let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
    let shown = Shown::new(args.quiet);
    let built = match execute::build(engine, graph, &request.target_platform, &options, &shown) {
        Ok(built) => built,
        Err(stopped) => return shown.failure(stopped, graph, inputs),
    };
    let store = engine.store()?;
    for name in &names {
        store.tag(&name.canonical(), &built.manifest.descriptor).context(|| format!("name {name}"))?;
        if !args.quiet {
            output::note(&format!("named {name}"));
        }
    }
    if let Some(path) = &args.iidfile {
        inputs::write(path, built.id.as_str())?;
    }
    if let Some(path) = &args.metadata_file {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let document = serde_json::json!({
            "containerimage.config.digest": built.id.as_str(),
            "containerimage.descriptor": built.manifest.descriptor,
            "containerimage.digest": built.manifest.descriptor.digest.as_str(),
            "image.name": names.join(","),
        });
        inputs::write(path, &output::pretty(&document))?;
    }
    for (output, text) in outputs.iter().zip(&args.output) {
        let written = output.write(session, engine, &args.registry, &request.target_platform, &built);
        written.context(|| format!("--output {text}"))?;
    }
    match outputs.iter().any(Output::is_stdout) {
        true => output::note(built.id.hex()),
        false => output::print_line(built.id.hex())?,
    }
    Ok(0)
}

impl Args {
    fn is_remote(&self) -> bool {
        let contexts = self.context.iter().map(|path| path.to_string_lossy());
        let mut all = contexts.chain(self.build_context.iter().map(|(_, value)| value.into()));
        all.any(|context| context::is_remote(&context))
    }

    fn request(&self, session: &Session, inputs: &Inputs) -> Result<Request, CommandError> {
        let mut build_args = inputs::build_arg_files(&self.build_arg_file)?;
        for text in &self.build_arg {
            match text.split_once('=') {
                Some((name, value)) => drop(build_args.insert(name.to_owned(), value.to_owned())),
                None => {
                    if let Some(value) = inputs::variable(session, text) {
                        build_args.insert(text.clone(), value);
                    }
                }
            }
        }
        Ok(Request {
            target: self.target.clone(),
            build_args,
            target_platform: self.platform.clone().unwrap_or_else(Platform::host),
            build_platform: Platform::host(),
            contexts: inputs.named.clone(),
        })
    }

    /// The graph, with every base image that it takes.
    fn plan(
        &self,
        session: &Session,
        engine: &Engine,
        file: &Containerfile,
        request: &Request,
    ) -> Result<Graph, Wrong> {
        let mut bases = Bases::new();
        loop {
            let planned = graph::plan(file, request, &bases).map_err(Wrong::File)?;
            let (base, span) = match planned {
                Planned::Whole(graph) => return Ok(*graph),
                Planned::Needs(base, span) => (base, span),
            };
            let found = parse_platform(&base.platform).map_err(CommandError::usage).and_then(|platform| {
                let progress = session.progress(self.quiet);
                let name =
                    image::ensure(engine, &base.name, self.pull.policy(), &platform, progress.as_ref())?;
                Ok(image::find_for(engine, &name, &platform)?)
            });
            let found = found.map_err(|error| {
                Wrong::Other(error.wrap(format!("line {}: FROM {}", span.line, base.name)))
            })?;
            bases.insert(base, found.image.config);
        }
    }

    fn options(&self, session: &Session, inputs: &Inputs) -> Result<Options, CommandError> {
        let epoch = match self.timestamp.or(self.source_date_epoch) {
            Some(given) => Some(given),
            None => session.environment.source_date_epoch()?,
        };
        let times = match (self.timestamp, epoch) {
            (Some(all), _) => Times::All(all),
            (None, Some(latest)) if self.rewrite_timestamp => Times::AtMost(latest),
            _ => Times::Kept,
        };
        let created = epoch.and_then(|seconds| u64::try_from(seconds).ok());
        let created = created.map(|seconds| std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Options {
            contexts: inputs.directories.clone(),
            ignore: inputs.ignore.clone(),
            usage: if self.no_cache { Usage::Refresh } else { Usage::Use },
            refresh: self.no_cache_filter.iter().cloned().collect(),
            remote: inputs::remote(self, session)?,
            agents: inputs::agents(&self.ssh, session)?,
            secrets: inputs::secrets(&self.secret, session)?,
            env: inputs::proxies(&self.build_arg, session),
            host_network: match self.network.as_str() {
                "host" => true,
                "none" | "default" => false,
                other => {
                    return Err(CommandError::usage(format!(
                        "--network {other}: it is default, none or host"
                    )));
                }
            },
            allow_insecure: self.allow.iter().any(|word| word == "security.insecure"),
            isolation: match self.isolation.as_str() {
                "oci" | "rootless" | "default" => Isolation::default(),
                "chroot" => Isolation::Chroot,
                other => {
                    return Err(CommandError::usage(format!(
                        "--isolation {other}: it is oci, rootless or chroot"
                    )));
                }
            },
            times,
            created: created.map(Into::into),
            format: match self.format.as_str() {
                "oci" => conex_build::commit::Format::Oci,
                "docker" => conex_build::commit::Format::Docker,
                other => return Err(CommandError::usage(format!("--format {other}: it is oci or docker"))),
            },
            squash: self.squash,
            jobs: self.jobs.filter(|jobs| *jobs > 0).unwrap_or(cores),
            labels: self.label.iter().cloned().collect(),
            annotations: self.annotation.iter().cloned().collect(),
        })
    }
}

impl Inputs {
    fn lint_options(&self, file: &Containerfile) -> Result<lint::Options, CommandError> {
        let Some((text, span)) = &file.directives.check else { return Ok(lint::Options::default()) };
        lint::Options::parse(text)
            .map_err(|message| self.mistake(&Mistake::new(*span, format!("# check={text}: {message}"))))
    }
}
