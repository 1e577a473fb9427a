// SPDX-License-Identifier: Apache-2.0
//! How a build is shown: a line when a step begins and one when it is done, on stderr; what commands say where they say it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Mutex;
use std::time::Instant;

use conex_build::execute::{Progress, Stopped};
use conex_build::graph::{Graph, Node, NodeId, Step};

use super::inputs::Inputs;
use crate::error::{CommandError, CommandResult};
use crate::output;

/// The lines that a failed command said last and that are shown again.
const TAIL: usize = 20;

pub(super) struct Shown {
    quiet: bool,
    started: Mutex<BTreeMap<NodeId, Instant>>,
    /// With `--quiet`: what commands say, until it is known whether anybody wants to read it.
    said: Mutex<BTreeMap<NodeId, File>>,
}

impl Shown {
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, started: Mutex::default(), said: Mutex::default() }
    }

    /// Says what failed, where in the file, and how it ended.
    pub(super) fn failure(&self, stopped: Stopped, graph: &Graph, inputs: &Inputs) -> CommandResult {
        let place = |id: NodeId| {
            let span = graph.nodes[id].span;
            format!("{}:{span}: {}\n{}", inputs.name, graph.nodes[id].name, inputs.excerpt(span))
        };
        match stopped {
            Stopped::Error(error) => Err(error.into()),
            Stopped::At(id, error) => Err(CommandError::from(error).wrap(place(id))),
            Stopped::Command(id, status) => {
                output::note(&self.tail(id));
                output::note(&format!("conex: {}\nthe command ended with {status}", place(id)));
                Ok(status)
            }
        }
    }

    fn tail(&self, id: NodeId) -> String {
        let mut said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut text = Vec::new();
        if let Some(file) = said.get_mut(&id) {
            // What cannot be read again is not worth another failure.
            let _read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut text));
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

impl Progress for Shown {
    fn started(&self, id: NodeId, node: &Node) {
        self.started.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(id, Instant::now());
        if !self.quiet && !matches!(node.step, Step::Context(_)) {
            output::note(&format!("#{} {}", id + 1, node.name));
        }
    }

    fn done(&self, id: NodeId, node: &Node, cached: bool) {
        if self.quiet || matches!(node.step, Step::Context(_) | Step::Scratch | Step::Image(_)) {
            return;
        }
        let started =
            self.started.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&id).copied();
        let seconds = started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        output::note(&match cached {
            true => format!("#{} CACHED", id + 1),
            false => format!("#{} DONE {seconds:.1}s", id + 1),
        });
    }

    fn output(&self, id: NodeId) -> conex_build::Result<Option<(File, File)>> {
        if !self.quiet {
            return Ok(None);
        }
        let file = conex_build::execute::unnamed_file()?;
        let pair = (file.try_clone()?, file.try_clone()?);
        self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(id, file);
        Ok(Some(pair))
    }
}
