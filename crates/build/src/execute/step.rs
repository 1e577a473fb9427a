// SPDX-License-Identifier: Apache-2.0
//! One node: its inputs' values to its own.

use std::path::PathBuf;

use conex_engine::image::find_for;
use conex_image::snapshot::Snapshot;
use conex_sys::path::Root;

use super::cache::Place;
use super::copy::Fetched;
use super::schedule::Values;
use super::{Build, Layer, Stopped, Usage, Value, copy, key};
use crate::container::Tree;
use crate::copy::{Content, Origin, Owners};
use crate::graph::{self, Base, Node, NodeId, Source, Step};
use crate::ignore::Ignore;
use crate::remote::{self, Repository};
use crate::{Error, ErrorKind, Result, Wrap as _};

impl Build<'_> {
    /// The value, and whether it was there before.
    pub(super) fn node(
        &self,
        id: NodeId,
        node: &Node,
        values: &Values,
    ) -> std::result::Result<(Value, bool), Stopped> {
        let at = |error: Error| Stopped::At(id, error);
        let below = node.step.inputs().first().and_then(|input| values[*input].clone());
        let all = below.map(|value| value.layers.clone()).unwrap_or_default();
        match &node.step {
            Step::Scratch => Ok((Value { layers: Vec::new(), outside: None, added: false }, true)),
            Step::Image(base) => Ok((self.base(base).map_err(at)?, true)),
            Step::Context(name) => Ok((self.outside(name.as_ref()).map_err(at)?, true)),
            step => {
                // A linked copy is the same on whatever it stands.
                let below = if is_link(step) { &[] } else { &all[..] };
                let place = key::place(below, step, self.options.times);
                let place = Place::lock(self, place, self.is_fresh(node)).map_err(at)?;
                let known = known(step, values);
                if let Some(layer) = self.recall(&place, known.as_ref()).map_err(at)? {
                    return Ok((with(all, layer), true));
                }
                let inputs = Inputs { id, step, values, fetched: self.fetch(id, step).map_err(at)? };
                if let Some(layer) = self.recall_content(&inputs, &place, known.as_ref()).map_err(at)? {
                    return Ok((with(all, layer), true));
                }
                let (layer, content) = self.perform(&inputs, below)?;
                for content in known.into_iter().chain(content) {
                    place.remember(&content.digest(), layer.as_ref()).map_err(at)?;
                }
                Ok((with(all, layer), false))
            }
        }
    }

    /// Whether the command line asks for it to be done again.
    fn is_fresh(&self, node: &Node) -> bool {
        self.options.usage == Usage::Refresh || self.options.refresh.contains(&node.stage)
    }

    /// What the step came to before, by what is known without reading a file.
    fn recall(&self, place: &Place<'_>, known: Option<&Content>) -> Result<Option<Option<Layer>>> {
        known.map(|known| place.recall(&known.clone().digest())).transpose().map(Option::flatten)
    }

    /// The same by the files that it takes. They are not read where nothing was done before.
    fn recall_content(
        &self,
        inputs: &Inputs<'_>,
        place: &Place<'_>,
        known: Option<&Content>,
    ) -> Result<Option<Option<Layer>>> {
        let takes_files = inputs.step.inputs().len() > 1 || !inputs.fetched.is_empty();
        if !takes_files || !place.is_known()? {
            return Ok(None);
        }
        let layer = place.recall(&self.content(inputs)?.digest())?;
        if let (Some(layer), Some(known)) = (&layer, known) {
            place.remember(&known.clone().digest(), layer.as_ref())?;
        }
        Ok(layer)
    }

    fn base(&self, base: &Base) -> Result<Value> {
        let platform = graph::parse_platform(&base.platform)
            .ok_or_else(|| Error::new(ErrorKind::Usage, format!("{:?} is no platform", base.platform)))?;
        let found = find_for(self.engine, &base.name, &platform)?;
        let snapshot = self.store.snapshot(&found.image)?;
        let layers = found.image.layers().zip(snapshot.lower.iter().rev());
        let layers = layers.map(|((descriptor, diff_id), path)| Layer {
            descriptor: descriptor.clone(),
            diff_id: diff_id.clone(),
            path: path.clone(),
        });
        Ok(Value { layers: layers.collect(), outside: None, added: false })
    }

    fn outside(&self, name: Option<&String>) -> Result<Value> {
        let path = self.options.contexts.get(&name.cloned()).cloned();
        let path = path.ok_or_else(|| {
            Error::new(ErrorKind::Usage, "there is no build context")
                .with_hint("name a directory: conex build DIRECTORY")
        })?;
        Ok(Value { layers: Vec::new(), outside: Some(path), added: false })
    }

    /// What the step takes from elsewhere, hashed.
    fn content(&self, inputs: &Inputs<'_>) -> Result<Content> {
        let Inputs { id, step, values, fetched } = inputs;
        let mut content = Content::new();
        match step {
            Step::Copy(step) => match step.from {
                Some(from) => self.with_origin(*id, from, values, |origin| {
                    copy::content(step, copy::From { origin: Some(origin), fetched })
                }),
                None => copy::content(step, copy::From { origin: None, fetched }),
            },
            Step::Run(run) => {
                for (mount, from) in &run.mounts {
                    let Some(from) = *from else { continue };
                    let source = super::run::source(mount);
                    self.with_origin(*id, from, values, |origin| {
                        content.source(origin, source, false, &Ignore::default())
                    })?;
                }
                Ok(content)
            }
            _ => Ok(content),
        }
    }

    /// Brings what is on other machines here.
    fn fetch(&self, id: NodeId, step: &Step) -> Result<Vec<Fetched>> {
        let Step::Copy(copy) = step else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for (number, source) in copy.sources.iter().enumerate() {
            let directory = self.work.path().join(format!("{id}-fetched-{number}"));
            if matches!(source, Source::Url { .. } | Source::Git { .. }) {
                crate::container::remove_tree(&directory)?;
                std::fs::create_dir(&directory).wrap(|| format!("make {}", directory.display()))?;
            }
            let (path, commit) = match source {
                Source::Path(_) | Source::Inline { .. } => continue,
                Source::Url { url, checksum } => {
                    (self.options.remote.file(url, checksum.as_deref(), &directory)?, None)
                }
                Source::Git { remote, reference, subdirectory, keep_git_dir, checksum } => {
                    let repository = Repository {
                        remote,
                        reference: reference.as_deref(),
                        keep_git_dir: *keep_git_dir,
                        checksum: checksum.as_deref(),
                    };
                    let commit = self.options.remote.repository(&repository, &directory)?;
                    (subdirectory.clone().unwrap_or_default(), Some(commit))
                }
            };
            let root = Root::open_host(&directory)?;
            all.push(Fetched { origin: Origin::context(root), path, commit });
        }
        Ok(all)
    }

    /// The tree of a value, as something to take files from.
    pub(super) fn with_origin<T: Send>(
        &self,
        id: NodeId,
        from: NodeId,
        values: &Values,
        work: impl FnOnce(&Origin) -> Result<T> + Send,
    ) -> Result<T> {
        let value =
            values[from].clone().ok_or_else(|| Error::new(ErrorKind::State, "an input is missing"))?;
        if let Some(path) = &value.outside {
            let is_main = self.options.contexts.get(&None) == Some(path);
            let ignore = if is_main { self.options.ignore.clone() } else { Ignore::default() };
            return work(&Origin { root: Root::open_host(path)?, ignore, owners: Owners::Root });
        }
        let tree = self.tree(&format!("{id}-from-{from}"), &value.layers)?;
        let result = tree.with_root(|merged| work(&Origin::image(Root::open_host(merged)?)));
        crate::container::remove_tree(&tree.path)?;
        result
    }

    /// A place to work in, on top of some layers.
    pub(super) fn tree(&self, name: &str, layers: &[Layer]) -> Result<Tree> {
        let path: PathBuf = self.work.path().join(name);
        crate::container::remove_tree(&path)?;
        std::fs::create_dir(&path).wrap(|| format!("make {}", path.display()))?;
        let tree = Tree { path, snapshot: self.snapshot(layers) };
        tree.prepare()?;
        Ok(tree)
    }

    fn snapshot(&self, layers: &[Layer]) -> Snapshot {
        Snapshot {
            lower: layers.iter().rev().map(|layer| layer.path.clone()).collect(),
            userxattr: !conex_engine::userns::is_initial(),
        }
    }

    /// Does the step: the layer that it made, and what it took; nothing is said of that where it changed meanwhile.
    fn perform(
        &self,
        inputs: &Inputs<'_>,
        below: &[Layer],
    ) -> std::result::Result<(Option<Layer>, Option<Content>), Stopped> {
        let Inputs { id, step, values, .. } = inputs;
        let at = |error: Error| Stopped::At(*id, error);
        let tree = self.tree(&id.to_string(), below).map_err(at)?;
        let (changed, content) = match step {
            Step::Run(run) => {
                let before = self.content(inputs).map_err(at)?;
                let status = self.run(*id, run, &tree, values).map_err(at)?;
                if status != 0 {
                    return Err(Stopped::Command(*id, status));
                }
                // Layers stay what they are.
                let after = match known(step, values) {
                    Some(_) => before.clone(),
                    None => self.content(inputs).map_err(at)?,
                };
                (true, Some(before).filter(|before| before.clone().digest() == after.digest()))
            }
            Step::Copy(step) => (true, Some(self.copy(inputs, step, &tree).map_err(at)?)),
            Step::Directory(step) => {
                let made = tree.with_root(|merged| copy::workdir(step, merged)).map_err(at)?;
                (made, Some(Content::new()))
            }
            Step::Scratch | Step::Image(_) | Step::Context(_) => (false, None),
        };
        let layer = changed.then(|| self.seal(&tree)).transpose().map_err(at)?;
        crate::container::remove_tree(&tree.path).map_err(at)?;
        Ok((layer, content))
    }

    pub(super) fn seal(&self, tree: &Tree) -> Result<Layer> {
        let made = tree.describe(&self.store, self.options.times)?;
        tree.adopt(&self.store, &made)?;
        Ok(self.layer(&made))
    }

    fn copy(&self, inputs: &Inputs<'_>, step: &graph::Copy, tree: &Tree) -> Result<Content> {
        let Inputs { id, values, fetched, .. } = inputs;
        let scratch = self.work.path().join(format!("{id}-unpacked"));
        let into_tree = |origin: Option<&Origin>| {
            let from = copy::From { origin, fetched };
            match step.link {
                // Through an overlay, new directories would hide those of the layers below.
                true => copy::copy(step, from, &tree.upper(), &scratch),
                false => tree.with_root(|merged| copy::copy(step, from, merged, &scratch)),
            }
        };
        match step.from {
            None => into_tree(None),
            Some(from) => self.with_origin(*id, from, values, |origin| into_tree(Some(origin))),
        }
    }
}

/// What a step is done with.
struct Inputs<'a> {
    id: NodeId,
    step: &'a Step,
    values: &'a Values,
    /// What was on other machines.
    fetched: Vec<Fetched>,
}

fn is_link(step: &Step) -> bool {
    matches!(step, Step::Copy(copy) if copy.link)
}

/// One layer more, if there is one.
fn with(mut layers: Vec<Layer>, layer: Option<Layer>) -> Value {
    let added = layer.is_some();
    layers.extend(layer);
    Value { layers, outside: None, added }
}

/// What a step takes, where that can be said without reading a file: nothing, or files of layers, by the layers.
fn known(step: &Step, values: &Values) -> Option<Content> {
    let mut content = Content::new();
    let (_below, taken) = step.inputs().split_first().map(|(below, taken)| (*below, taken.to_vec()))?;
    for id in taken {
        let value = values[id].as_ref().filter(|value| value.outside.is_none())?;
        content.add("layers");
        value.layers.iter().for_each(|layer| content.add(layer.diff_id.0.as_str()));
    }
    match step {
        Step::Copy(copy) => {
            let fixed = |source: &Source| match source {
                Source::Path(_) | Source::Inline { .. } => true,
                Source::Url { checksum, .. } => checksum.is_some(),
                Source::Git { reference, .. } => reference.as_deref().is_some_and(remote::is_commit),
            };
            copy.sources.iter().all(fixed).then_some(content)
        }
        _ => Some(content),
    }
}
