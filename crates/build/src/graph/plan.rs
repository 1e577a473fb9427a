// SPDX-License-Identifier: Apache-2.0
//! From stages to nodes: only those that the target needs, each once, those that it needs first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::base::Globals;
use super::stage::State;
use super::{Bases, Graph, NamedContext, Node, NodeId, Planned, Request, Step, base};
use crate::containerfile::{Containerfile, Fuel, Instruction, Kind, Mistake, Span, nearest, parse_trigger};
use crate::lint::{self, Rule, Warning};

/// The graph, or the image without which it cannot be known.
pub fn plan(file: &Containerfile, request: &Request, bases: &Bases) -> Result<Planned, Mistake> {
    let fuel = Fuel::default();
    let mut warnings = lint::check(file);
    let globals = Globals::of(file, request, &fuel, &mut warnings)?;
    let mut planner = Planner {
        file,
        request,
        bases,
        globals,
        fuel: &fuel,
        nodes: Vec::new(),
        known: HashMap::new(),
        done: BTreeMap::new(),
        warnings,
        asked: BTreeSet::new(),
    };
    planner.asked = planner.globals.asked.iter().cloned().chain(base::PROXIES.map(str::to_owned)).collect();
    let target = planner.target()?;
    match planner.needed(target) {
        Ok(state) => Ok(Planned::Whole(Box::new(planner.graph(&state)))),
        Err(Stop::Needs(base, span)) => Ok(Planned::Needs(base, span)),
        Err(Stop::Wrong(mistake)) => Err(mistake),
    }
}

/// Why planning does not go on.
pub(super) enum Stop {
    Wrong(Mistake),
    Needs(super::Base, Span),
}

impl From<Mistake> for Stop {
    fn from(mistake: Mistake) -> Self {
        Self::Wrong(mistake)
    }
}

/// Where files are taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Stage(usize),
    Image(super::Base),
    Context(String),
    Scratch,
}

/// What is known on the way.
pub(super) struct Planner<'a> {
    pub(super) file: &'a Containerfile,
    pub(super) request: &'a Request,
    pub(super) bases: &'a Bases,
    pub(super) globals: Globals,
    pub(super) fuel: &'a Fuel,
    nodes: Vec<Node>,
    known: HashMap<Step, NodeId>,
    pub(super) done: BTreeMap<usize, Rc<State>>,
    pub(super) warnings: Vec<Warning>,
    /// Build arguments that the file has.
    pub(super) asked: BTreeSet<String>,
}

/// A stage whose turn comes once those that it needs are done.
struct Waiting {
    stage: usize,
    needs: Vec<usize>,
    /// The base is done, so that its triggers are known, and `needs` are those of the instructions.
    based: Option<(Origin, Rc<Vec<Instruction>>)>,
}

impl Planner<'_> {
    fn target(&self) -> Result<usize, Mistake> {
        let last = self.file.stages.len() - 1;
        let Some(wanted) = &self.request.target else { return Ok(last) };
        self.find_stage(wanted, self.file.stages.len()).ok_or_else(|| {
            let names: Vec<&str> =
                self.file.stages.iter().filter_map(|stage| stage.from.name.as_deref()).collect();
            let mistake =
                Mistake::new(self.file.stages[last].head.span, format!("there is no stage {wanted:?}"));
            match nearest(&wanted.to_lowercase(), &names) {
                Some(near) => mistake.with_hint(format!("did you mean {near}?")),
                None => mistake.with_hint(format!("its stages are {}", names.join(", "))),
            }
        })
    }

    /// The last stage before `before` with that name, or that number.
    fn find_stage(&self, name: &str, before: usize) -> Option<usize> {
        if let Ok(number) = name.parse::<usize>() {
            return (number < before).then_some(number);
        }
        self.globals.names.get(&name.to_lowercase())?.iter().rev().find(|stage| **stage < before).copied()
    }

    /// A stage and all that it needs, without recursion: ten thousand may stand on each other.
    fn needed(&mut self, target: usize) -> Result<Rc<State>, Stop> {
        let mut waiting = vec![self.waiting(target)?];
        while let Some(mut top) = waiting.pop() {
            if let Some(next) = top.needs.pop() {
                waiting.push(top);
                if !self.done.contains_key(&next) {
                    waiting.push(self.waiting(next)?);
                }
                continue;
            }
            match top.based.take() {
                Some((origin, triggers)) => {
                    let state = self.stage(top.stage, &origin, &triggers)?;
                    self.done.insert(top.stage, Rc::new(state));
                }
                None => {
                    let origin = self.base_of(top.stage)?;
                    let triggers = self.triggers(&origin, self.file.stages[top.stage].head.span)?;
                    top.needs = self.references(top.stage, &triggers)?;
                    top.based = Some((origin, Rc::new(triggers)));
                    waiting.push(top);
                }
            }
        }
        Ok(self.done[&target].clone())
    }

    fn waiting(&self, stage: usize) -> Result<Waiting, Mistake> {
        let needs = match self.base_of(stage)? {
            Origin::Stage(base) => vec![base],
            _ => Vec::new(),
        };
        Ok(Waiting { stage, needs, based: None })
    }

    fn base_of(&self, stage: usize) -> Result<Origin, Mistake> {
        let names = &self.globals.bases[stage];
        let span = self.file.stages[stage].head.span;
        if let Some(name) = self.file.stages[stage].from.name.as_deref()
            && let Some(context) = self.request.contexts.get(name)
        {
            return Ok(named(name, context, &names.platform));
        }
        if names.name == "scratch" {
            return Ok(Origin::Scratch);
        }
        if names.name.is_empty() {
            let message = format!("the base {:?} is empty", self.file.stages[stage].from.base);
            return Err(
                Mistake::new(span, message).with_hint("give the ARG a default, or --build-arg a value")
            );
        }
        if let Some(earlier) =
            names.name.parse::<usize>().is_err().then(|| self.find_stage(&names.name, stage)).flatten()
        {
            return Ok(Origin::Stage(earlier));
        }
        Ok(match self.request.contexts.get(&names.name) {
            Some(context) => named(&names.name, context, &names.platform),
            None => Origin::Image(names.clone()),
        })
    }

    /// What `--from` and `from=` name.
    pub(super) fn origin(&self, name: &str, stage: usize, span: Span) -> Result<Origin, Mistake> {
        if let Some(earlier) = self.find_stage(name, stage) {
            return Ok(Origin::Stage(earlier));
        }
        if let Some(later) = self.find_stage(name, self.file.stages.len()) {
            let which = if later == stage { "this very stage" } else { "a later stage" };
            return Err(Mistake::new(span, format!("{name:?} is {which}"))
                .with_hint("files come from stages that stand above"));
        }
        if name.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Mistake::new(span, format!("there is no stage {name}")));
        }
        if name == "scratch" {
            return Ok(Origin::Scratch);
        }
        let platform = base::text(&self.request.target_platform);
        Ok(match self.request.contexts.get(name) {
            Some(context) => named(name, context, &platform),
            None => Origin::Image(super::Base { name: name.to_owned(), platform }),
        })
    }

    /// What the base says for those who build on it.
    fn triggers(&self, origin: &Origin, span: Span) -> Result<Vec<Instruction>, Stop> {
        let texts: Vec<String> = match origin {
            Origin::Stage(base) => self.done[base].triggers.clone(),
            Origin::Image(base) => {
                let config = self.bases.get(base).ok_or_else(|| Stop::Needs(base.clone(), span))?;
                let list = config.config.other.get("OnBuild").and_then(|list| list.as_array());
                list.into_iter().flatten().filter_map(|text| text.as_str()).map(str::to_owned).collect()
            }
            Origin::Context(_) | Origin::Scratch => Vec::new(),
        };
        Ok(texts.iter().map(|text| parse_trigger(text, span)).collect::<Result<_, _>>()?)
    }

    /// The stages that instructions take files from.
    fn references(&self, stage: usize, triggers: &[Instruction]) -> Result<Vec<usize>, Mistake> {
        let mut needs = Vec::new();
        for instruction in triggers.iter().chain(&self.file.stages[stage].instructions) {
            let names: Vec<&str> = match &instruction.kind {
                Kind::Copy(copy) => copy.from.as_deref().into_iter().collect(),
                Kind::Run(run) => run.mounts.iter().filter_map(|mount| mount.from()).collect(),
                _ => continue,
            };
            for name in names {
                if let Origin::Stage(other) = self.origin(name, stage, instruction.span)? {
                    needs.push(other);
                }
            }
        }
        Ok(needs)
    }

    /// The node of a step; the one that is there already, if there is one like it.
    pub(super) fn node(
        &mut self,
        step: Step,
        name: impl FnOnce() -> String,
        span: Span,
        stage: &str,
    ) -> NodeId {
        if let Some(known) = self.known.get(&step) {
            return *known;
        }
        self.known.insert(step.clone(), self.nodes.len());
        self.nodes.push(Node { step, name: name(), span, stage: stage.to_owned() });
        self.nodes.len() - 1
    }

    pub(super) fn warn(&mut self, rule: Rule, span: Span, message: impl Into<String>) {
        self.warnings.push(Warning::new(rule, span, message));
    }

    /// Pays for what a step holds.
    pub(super) fn pay(&self, bytes: usize, span: Span) -> Result<(), Mistake> {
        self.fuel.burn(bytes).ok_or_else(|| {
            Mistake::new(span, "this file asks for too much: its steps and variables do not fit into memory")
        })
    }

    fn graph(self, target: &State) -> Graph {
        let mut graph = Graph {
            nodes: self.nodes,
            target: target.node,
            config: target.config.clone(),
            history: target.history.clone(),
            warnings: self.warnings,
            unused_args: self
                .request
                .build_args
                .keys()
                .filter(|name| !self.asked.contains(*name))
                .cloned()
                .collect(),
        };
        graph.drop_unused();
        graph
    }
}

impl Graph {
    /// Bases of stages that have another image's files in the end leave nodes that nobody asks for.
    fn drop_unused(&mut self) {
        let mut used = vec![false; self.nodes.len()];
        used[self.target] = true;
        for event in self.history.iter().filter_map(|event| event.node) {
            used[event] = true;
        }
        for id in (0..self.nodes.len()).rev() {
            if used[id] {
                for input in self.nodes[id].step.inputs() {
                    used[input] = true;
                }
            }
        }
        if used.contains(&false) {
            self.renumber(&used);
        }
    }

    fn renumber(&mut self, used: &[bool]) {
        let mut next = 0;
        let numbers: Vec<NodeId> = used
            .iter()
            .map(|used| {
                next += usize::from(*used);
                next.saturating_sub(1)
            })
            .collect();
        let mut keep = used.iter();
        self.nodes.retain(|_| *keep.next().expect("one for each"));
        for node in &mut self.nodes {
            match &mut node.step {
                Step::Scratch | Step::Image(_) | Step::Context(_) => {}
                Step::Directory(directory) => directory.parent = numbers[directory.parent],
                Step::Copy(copy) => {
                    copy.parent = numbers[copy.parent];
                    copy.from = copy.from.map(|from| numbers[from]);
                }
                Step::Run(run) => {
                    run.parent = numbers[run.parent];
                    for (_, from) in &mut run.mounts {
                        *from = from.map(|from| numbers[from]);
                    }
                }
            }
        }
        self.target = numbers[self.target];
        for event in &mut self.history {
            event.node = event.node.map(|node| numbers[node]);
        }
    }
}

fn named(name: &str, context: &NamedContext, platform: &str) -> Origin {
    match context {
        NamedContext::Image(image) => {
            Origin::Image(super::Base { name: image.clone(), platform: platform.to_owned() })
        }
        NamedContext::Files => Origin::Context(name.to_owned()),
    }
}
