// SPDX-License-Identifier: Apache-2.0
//! One working container's directory: finding, locking, and putting right what a killed command has left half done.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use conex_engine::{Engine, json, name};
use conex_image::snapshot::Snapshot;
use conex_spec::Digest;
use conex_spec::image::Platform;

use super::{Record, Tree};
use crate::{Error, ErrorKind, Result, Wrap as _};

/// A working container's name and directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Working {
    /// Its name.
    pub name: String,
    /// `<root>/builders/<name>`
    pub path: PathBuf,
}

/// A working container that nobody else uses, as long as this lives.
#[derive(Debug)]
pub struct Held {
    /// Which one.
    pub working: Working,
    /// What it is.
    pub record: Record,
    _lock: File,
}

impl Working {
    /// The directory of this name, be there one or not.
    pub(super) fn of(engine: &Engine, name: &str) -> Self {
        Self { name: name.to_owned(), path: directory(engine).join(name) }
    }

    /// What it is; not for changing it.
    pub fn record(&self) -> Result<Record> {
        json::read(&self.path.join("builder.json"))?.ok_or_else(|| missing(&self.name))
    }

    /// Waits until nobody else uses it, and puts right what a killed command has left.
    pub fn hold(&self, engine: &Engine) -> Result<Held> {
        let lock = match File::open(self.path.join("lock")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing(&self.name)),
            opened => opened.wrap(|| format!("open {}", self.path.display()))?,
        };
        lock.lock().wrap(|| format!("lock {}", self.path.display()))?;
        // Whoever had it may have removed or renamed it, and another may have its name now.
        let current = fs::metadata(self.path.join("lock")).map(|found| found.ino());
        if current.ok() != lock.metadata().ok().map(|ours| ours.ino()) {
            return Err(missing(&self.name));
        }
        let mut held = Held::new(self.clone(), self.record()?, lock);
        held.end_run(engine)?;
        held.end_seal(engine)?;
        Ok(held)
    }
}

impl Held {
    /// One that is just being made, and locked.
    pub(super) fn new(working: Working, record: Record, lock: File) -> Self {
        Self { working, record, _lock: lock }
    }

    /// Writes the record.
    pub fn save(&self) -> Result<()> {
        json::write(&self.working.path.join("builder.json"), &self.record)
    }

    /// The layers, and the writable one on top.
    pub fn tree(&self, engine: &Engine) -> Result<Tree> {
        let store = engine.store()?;
        let mut snapshot = match &self.record.manifest {
            Some(manifest) => store.snapshot(&store.image(manifest, &self.platform())?)?,
            None => Snapshot { lower: Vec::new(), userxattr: !conex_engine::userns::is_initial() },
        };
        for made in &self.record.committed {
            snapshot.lower.insert(0, store.made_layer(&made.diff_id));
        }
        Ok(Tree { path: self.working.path.clone(), snapshot })
    }

    fn platform(&self) -> Platform {
        Platform::host()
    }

    /// Keeps from gc what the container needs.
    pub(crate) fn pin(&self, engine: &Engine, coming: Option<&Digest>) -> Result<()> {
        let record = &self.record;
        let base = record.manifest.iter().map(|manifest| manifest.digest.clone());
        let own = record.committed.iter().map(|made| made.diff_id.0.clone());
        let digests: Vec<Digest> = base.chain(own).chain(coming.cloned()).collect();
        Ok(engine.store()?.pin(&pin_name(&record.id), &digests)?)
    }

    /// A `run` whose command was killed may still have its process.
    fn end_run(&self, engine: &Engine) -> Result<()> {
        super::run::end(engine, &self.working.path.join("run"))
    }

    /// A commit that was killed: either the layer has gone over to the store, or nothing has happened.
    fn end_seal(&mut self, engine: &Engine) -> Result<()> {
        if let Some(sealed) = self.record.sealing.take() {
            if !self.working.path.join("top/diff").exists() {
                self.record.take_over(sealed);
            }
            self.save()?;
        }
        self.tree(engine)?.prepare_top()
    }
}

/// `<root>/builders`
pub(super) fn directory(engine: &Engine) -> PathBuf {
    engine.settings.root.join("builders")
}

/// One is made, or looked for among garbage, at a time: between its directory and its lock it looks like garbage.
pub(super) fn lock_all(engine: &Engine) -> Result<File> {
    let path = directory(engine);
    let all = File::open(&path).wrap(|| format!("open {}", path.display()))?;
    all.lock().wrap(|| format!("lock {}", path.display()))?;
    Ok(all)
}

/// The pin of a working container.
pub(super) fn pin_name(id: &str) -> String {
    format!("builder-{id}")
}

/// The working container that a person means: by name, whole id, or the beginning of one.
pub fn find(engine: &Engine, text: &str) -> Result<Working> {
    if name::check(text).is_ok() {
        let named = Working::of(engine, text);
        if named.path.join("builder.json").exists() {
            return Ok(named);
        }
    }
    let mut matching: Vec<Working> = Vec::new();
    for (working, record) in list(engine)? {
        if !text.is_empty() && record.id.starts_with(text) {
            matching.push(working);
        }
    }
    match (matching.pop(), matching.len()) {
        (Some(found), 0) => Ok(found),
        (Some(_), more) => Err(Error::new(
            ErrorKind::Usage,
            format!("{text:?} is the beginning of {} container ids; write more of it", more + 1),
        )),
        (None, _) => Err(missing(text)),
    }
}

/// All of them, oldest first.
pub fn list(engine: &Engine) -> Result<Vec<(Working, Record)>> {
    let path = directory(engine);
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).wrap(|| format!("list {}", path.display())),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.wrap(|| format!("list {}", path.display()))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let working = Working::of(engine, &name);
        // None: it is just being made, or has just gone.
        if name::check(&name).is_ok()
            && let Some(record) = json::read::<Record>(&working.path.join("builder.json"))?
        {
            found.push((working, record));
        }
    }
    found.sort_by(|(_, a), (_, b)| a.made.cmp(&b.made).then(a.id.cmp(&b.id)));
    Ok(found)
}

pub(super) fn missing(text: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no working container with name or id {text:?}"))
        .with_hint("`conex builder containers` shows all; `conex builder from IMAGE` makes one")
}
