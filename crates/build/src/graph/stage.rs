// SPDX-License-Identifier: Apache-2.0
//! One stage: its instructions one after the other, each on what the ones before have left.

use std::collections::BTreeSet;

use conex_spec::image::{ImageConfig, RootFs};

use super::plan::{Origin, Planner, Stop};
use super::variables::Variables;
use super::{Directory, Event, NodeId, Run, Step};
use crate::containerfile::expand::{self, Expanded, Reading, Scope as _};
use crate::containerfile::{self, Arg, Form, Heredoc, Instruction, Kind, Mistake, MountKind, Span, nearest};
use crate::lint::{Rule, is_secret};

/// Where a program is looked for if nothing else is said.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a stage has come to.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) node: NodeId,
    pub(super) config: ImageConfig,
    pub(super) history: Vec<Event>,
    /// `ONBUILD`s, for stages on top of this one.
    pub(super) triggers: Vec<String>,
    pub(super) variables: Variables,
    /// Declared arguments with their values, in order.
    pub(super) args: Vec<(String, Option<String>)>,
    /// `CMD` was set here, and so is not reset by an `ENTRYPOINT`.
    pub(super) has_command: bool,
    has_workdir: bool,
    pub(super) title: Title,
}

/// How steps are called.
#[derive(Clone, Debug, Default)]
pub(super) struct Title {
    pub(super) stage: String,
    pub(super) number: usize,
    pub(super) total: usize,
    pub(super) alone: bool,
}

impl Title {
    /// `[builder 2/5] RUN make`
    pub(super) fn of(&self, text: &str) -> String {
        let stage = if self.alone { String::new() } else { format!("{} ", self.stage) };
        let first = text.lines().next().unwrap_or_default();
        format!("[{stage}{}/{}] {first}", self.number, self.total)
    }
}

impl Planner<'_> {
    pub(super) fn stage(
        &mut self,
        number: usize,
        origin: &Origin,
        triggers: &[Instruction],
    ) -> Result<State, Stop> {
        let stage = &self.file.stages[number];
        let mut state = self.start(number, origin)?;
        let changes = |instruction: &&Instruction| {
            matches!(instruction.kind, Kind::Run(_) | Kind::Copy(_) | Kind::Add(_) | Kind::Workdir(_))
        };
        let all = || triggers.iter().chain(&stage.instructions);
        state.title.total = 1 + all().filter(changes).count();
        for instruction in all() {
            self.instruction(&mut state, instruction, number)?;
        }
        Ok(state)
    }

    fn start(&mut self, number: usize, origin: &Origin) -> Result<State, Stop> {
        let head = &self.file.stages[number].head;
        let name = self.file.stages[number].from.name.clone();
        let title = Title {
            stage: name.unwrap_or_else(|| format!("stage-{number}")),
            number: 1,
            total: 1,
            alone: self.file.stages.len() == 1,
        };
        if let Origin::Stage(base) = origin {
            let below = self.done[base].clone();
            self.pay(below.variables.bytes() + 64 * below.history.len(), head.span)?;
            let mut state = State { triggers: Vec::new(), has_command: false, title, ..(*below).clone() };
            // Triggers go off once.
            state.config.config.other.remove("OnBuild");
            return Ok(state);
        }
        let node = self.origin_node(origin, &title, head.span)?;
        let mut config = match origin {
            Origin::Image(base) => {
                self.bases.get(base).cloned().ok_or_else(|| Stop::Needs(base.clone(), head.span))?
            }
            _ => self.empty_config(),
        };
        config.created = None;
        config.config.other.remove("OnBuild");
        if !config.config.env.iter().any(|entry| entry.starts_with("PATH=")) {
            config.config.env.push(PATH.to_owned());
        }
        let variables = Variables::of(&config.config.env);
        Ok(State {
            node,
            config,
            history: Vec::new(),
            triggers: Vec::new(),
            variables,
            args: Vec::new(),
            has_command: false,
            has_workdir: false,
            title,
        })
    }

    fn empty_config(&self) -> ImageConfig {
        let platform = &self.request.target_platform;
        ImageConfig {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: Vec::new() },
            ..ImageConfig::default()
        }
    }

    /// The files of an origin.
    pub(super) fn origin_node(&mut self, origin: &Origin, title: &Title, span: Span) -> Result<NodeId, Stop> {
        let step = match origin {
            Origin::Stage(stage) => return Ok(self.done[stage].node),
            Origin::Scratch => Step::Scratch,
            Origin::Context(name) => Step::Context(Some(name.clone())),
            Origin::Image(base) if self.bases.contains_key(base) => Step::Image(base.clone()),
            Origin::Image(base) => return Err(Stop::Needs(base.clone(), span)),
        };
        let name = match origin {
            Origin::Image(base) => format!("FROM {}", base.name),
            Origin::Context(name) => format!("context {name}"),
            _ => "FROM scratch".to_owned(),
        };
        Ok(self.node(step, || title.of(&name), span, &title.stage))
    }

    fn instruction(
        &mut self,
        state: &mut State,
        instruction: &Instruction,
        number: usize,
    ) -> Result<(), Stop> {
        let span = instruction.span;
        match &instruction.kind {
            Kind::Arg(args) => self.args(state, args, span)?,
            Kind::Run(run) => self.run(state, instruction, run, number)?,
            Kind::Copy(copy) => self.copy(state, instruction, copy, number)?,
            Kind::Add(add) => self.add(state, instruction, add)?,
            Kind::Workdir(path) => self.workdir(state, path, span)?,
            _ => self.configure(state, instruction)?,
        }
        Ok(())
    }

    fn args(&mut self, state: &mut State, args: &[Arg], span: Span) -> Result<(), Mistake> {
        let mut shown = Vec::new();
        for arg in args {
            self.asked.insert(arg.name.clone());
            if is_secret(&arg.name) {
                self.warn_secret("ARG", &arg.name, span);
            }
            let given = self.request.build_args.get(&arg.name).cloned();
            let value = match (given, &arg.value) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => Some(self.expand(state, default, span)?),
                (None, None) => self.globals.get(&arg.name).map(str::to_owned),
            };
            if let Some(value) = &value {
                self.pay(value.len(), span)?;
                state.variables.set(&arg.name, value);
            }
            shown.push(match &value {
                Some(value) => format!("{}={value}", arg.name),
                None => arg.name.clone(),
            });
            state.args.retain(|(name, _)| *name != arg.name);
            state.args.push((arg.name.clone(), value));
        }
        state.history.push(Event { created_by: format!("ARG {}", shown.join(" ")), node: None });
        Ok(())
    }

    pub(super) fn warn_secret(&mut self, instruction: &str, name: &str, span: Span) {
        let message =
            format!("{instruction} {name} stays in the image for all to read; use RUN --mount=type=secret");
        self.warn(Rule::SecretsUsedInArgOrEnv, span, message);
    }

    fn run(
        &mut self,
        state: &mut State,
        instruction: &Instruction,
        run: &containerfile::Run,
        number: usize,
    ) -> Result<(), Stop> {
        let span = instruction.span;
        let (args, script) = command(state, &run.form, &run.heredocs);
        let mut mounts = Vec::new();
        for flag in &run.mounts {
            let mut mount = flag.resolve(&mut |value| self.expand(state, value, flag.span))?;
            let from = match &mount.kind {
                MountKind::Bind { from: None, .. } => Some(self.context(span)),
                MountKind::Bind { from: Some(name), .. } | MountKind::Cache { from: Some(name), .. } => {
                    let origin = self.origin(name, number, span)?;
                    Some(self.origin_node(&origin, &state.title.clone(), span)?)
                }
                _ => None,
            };
            mount.target = mount_target(state, &mount.target, &mount.kind);
            if mount.target == "/" {
                return Err(Mistake::new(flag.span, "nothing can be mounted on /").into());
            }
            mounts.push((mount, from));
        }
        let env = state.variables.entries();
        self.pay(state.variables.bytes() + args.iter().map(String::len).sum::<usize>(), span)?;
        let step = Run {
            parent: state.node,
            args: args.clone(),
            env,
            cwd: cwd(state),
            user: state.config.config.user.clone(),
            script,
            mounts,
            network: run.network,
            insecure: run.insecure,
            devices: run.devices.clone(),
        };
        let text = run_history(state, &args);
        self.change(state, Step::Run(Box::new(step)), &instruction.text, text, span);
        Ok(())
    }

    fn workdir(&mut self, state: &mut State, written: &str, span: Span) -> Result<(), Mistake> {
        let path = self.expand(state, written, span)?;
        if !path.starts_with('/') && !state.has_workdir {
            let message =
                format!("where {path:?} is depends on the base image; begin with an absolute WORKDIR");
            self.warn(Rule::WorkdirRelativePath, span, message);
        }
        state.has_workdir = true;
        let path = absolute(&cwd(state), &path);
        state.config.config.working_dir.clone_from(&path);
        let text = format!("WORKDIR {path}");
        if path == "/" {
            state.history.push(Event { created_by: text, node: None });
            return Ok(());
        }
        let step = Directory { parent: state.node, path, user: state.config.config.user.clone() };
        self.change(state, Step::Directory(step), &text.clone(), text, span);
        Ok(())
    }

    /// Adds a step to the stage.
    pub(super) fn change(&mut self, state: &mut State, step: Step, shown: &str, history: String, span: Span) {
        state.title.number += 1;
        let title = state.title.clone();
        state.node = self.node(step, || title.of(shown), span, &title.stage);
        state.history.push(Event { created_by: history, node: Some(state.node) });
    }

    /// The build context.
    pub(super) fn context(&mut self, span: Span) -> NodeId {
        self.node(Step::Context(None), || "[context]".to_owned(), span, "context")
    }

    /// The value of a word at this place.
    pub(super) fn expand(&mut self, state: &State, text: &str, span: Span) -> Result<String, Mistake> {
        self.expand_as(state, text, self.file.directives.escape, true, span)
    }

    pub(super) fn expand_as(
        &mut self,
        state: &State,
        text: &str,
        escape: char,
        quotes: bool,
        span: Span,
    ) -> Result<String, Mistake> {
        let reading = Reading { escape, quotes, fuel: self.fuel };
        let Expanded { text, missing, .. } =
            expand::word(text, &state.variables, reading).map_err(|message| Mistake::new(span, message))?;
        self.undefined(state, missing, span);
        Ok(text)
    }

    fn undefined(&mut self, state: &State, missing: BTreeSet<String>, span: Span) {
        for name in missing.into_iter().filter(|name| !state.args.iter().any(|(arg, _)| arg == name)) {
            let names: Vec<&str> = state.variables.names().collect();
            let near =
                nearest(&name, &names).map(|near| format!("; did you mean ${near}?")).unwrap_or_default();
            self.warn(Rule::UndefinedVar, span, format!("${name} is not defined here{near}"));
        }
    }
}

/// The words to execute, and the script that they name.
fn command(state: &State, form: &Form, heredocs: &[Heredoc]) -> (Vec<String>, Option<(String, String)>) {
    let text = match form {
        Form::Exec(words) => return (words.clone(), None),
        Form::Shell(text) => text,
    };
    let line = match heredocs {
        [] => text.clone(),
        [only]
            if text.trim_start().starts_with("<<")
                && text.split_whitespace().count() <= 2
                && is_whole(text) =>
        {
            if only.body.starts_with("#!") {
                let path = format!("/dev/pipes/{}", only.name);
                return (vec![path], Some((only.name.clone(), only.body.clone())));
            }
            only.body.clone()
        }
        several => several
            .iter()
            .fold(text.clone(), |line, heredoc| format!("{line}\n{}{}", heredoc.raw, heredoc.name)),
    };
    (with_shell(state, line), None)
}

/// Nothing but the announcement of a here-document.
fn is_whole(text: &str) -> bool {
    let word = text.trim();
    let name = word.trim_start_matches("<<").trim_start_matches('-').trim_start();
    !name.contains(char::is_whitespace)
}

pub(super) fn with_shell(state: &State, line: String) -> Vec<String> {
    let list = state.config.config.other.get("Shell").and_then(|shell| shell.as_array());
    let mut words: Vec<String> =
        list.into_iter().flatten().filter_map(|word| word.as_str()).map(str::to_owned).collect();
    if words.is_empty() {
        words = vec!["/bin/sh".to_owned(), "-c".to_owned()];
    }
    words.push(line);
    words
}

/// As docker shows it: with the arguments that were declared.
fn run_history(state: &State, args: &[String]) -> String {
    let declared: Vec<String> = state
        .args
        .iter()
        .filter(|(name, _)| !super::base::PROXIES.contains(&name.as_str()))
        .map(|(name, value)| {
            let value = state.variables.get(name).or(value.as_deref()).unwrap_or_default();
            format!("{name}={value}")
        })
        .collect();
    let line = args.join(" ");
    match declared.as_slice() {
        [] => format!("RUN {line}"),
        declared => format!("RUN |{} {} {line}", declared.len(), declared.join(" ")),
    }
}

fn mount_target(state: &State, target: &str, kind: &MountKind) -> String {
    match (kind, target) {
        (MountKind::Secret { id, file: true, .. }, "") => format!("/run/secrets/{id}"),
        (MountKind::Secret { .. }, "") => String::new(),
        (MountKind::Ssh { id, .. }, "") => format!("/run/buildkit/ssh_agent.{id}"),
        _ => absolute(&cwd(state), target),
    }
}

pub(super) fn cwd(state: &State) -> String {
    absolute("/", &state.config.config.working_dir)
}

/// Joined to `from`, without `.`, `..` and doubled slashes.
pub(super) fn absolute(from: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{from}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
