// SPDX-License-Identifier: Apache-2.0
//! skopeo's `sync`: many images between registries and directories.

mod plan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use clap::ValueEnum;
use conex_engine::images::transfer::Select;
use conex_engine::registry::{Client, Settings as RegistrySettings};
use conex_engine::signature::Level;
use conex_engine::signature::Wishes;
use conex_engine::transport::Location;
use conex_spec::distribution::Reference;
use conex_spec::image::Platform;
use regex_lite::Regex;

use super::copy::Request;
use super::form::FormArgs;
use super::sides::TwoSides;
use super::signing::SigningArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::session::Session;
use plan::Item;

/// Copy all images of a repository, a directory or a list
///
/// SOURCE is a repository with or without a tag (--src docker), a directory with images as dir: has them (--src dir), or a
/// file that lists images by registry (--src yaml). Below DESTINATION, a registry's name or a directory, each image keeps
/// the last part of its name, or with --scoped all of it. What the destination has already is not copied again.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex sync --src docker --dest dir --scoped quay.io/org/app /media/usb
  conex sync --src dir --dest docker /media/usb registry.local:5000/mirror
  conex sync --src yaml --dest docker --keep-going --jobs 8 images.yml registry.local:5000
A list:
  quay.io:
    images:
      org/app: []                  # all tags
      org/base: [\"1.0\", \"sha256:…\"]
    images-by-tag-regex:
      org/tool: ^v1\\.
    tls-verify: true")]
pub(crate) struct Args {
    /// The source's transport
    #[arg(short, long, value_enum)]
    src: From,
    /// The destination's transport
    #[arg(short, long, value_enum)]
    dest: To,
    /// What to copy
    source: String,
    /// Where to
    destination: String,
    /// Keep the whole of each image's name, its registry included
    #[arg(long)]
    scoped: bool,
    /// Append this to each tag at the destination
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    append_suffix: String,
    /// All platforms of the images, not only this machine's
    #[arg(short, long)]
    all: bool,
    /// Leave out tags that match
    #[arg(long, value_name = "REGEX")]
    exclude: Vec<String>,
    /// Say what would be copied
    #[arg(long)]
    dry_run: bool,
    /// Go on where an image cannot be copied, and fail at the end
    #[arg(long)]
    keep_going: bool,
    /// Images under way at a time
    #[arg(short, long, value_name = "N", default_value_t = 3)]
    jobs: usize,
    /// Write the digest and the name of each copied image to a file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    #[command(flatten)]
    sides: TwoSides,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    signing: SigningArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    Docker,
    Dir,
    Yaml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    Docker,
    Dir,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session, platform: &Platform) -> CommandResult {
    if args.src == From::Dir && args.dest == To::Dir {
        return Err(CommandError::usage(
            "sync from 'dir' to 'dir' not implemented, consider using rsync instead",
        ));
    }
    let (items, mut failures) = args.items(session)?;
    if let (false, Some(_)) = (args.keep_going, failures.first()) {
        return CommandError::first(failures).map_or(Ok(0), Err);
    }
    let items = args.wanted(items)?;
    if args.dry_run {
        output::note("Running in dry-run mode");
    }
    let destination = args.sides.destination(session)?;
    let signatures = args.signing.wishes(session, None)?;
    let work = Work { args, session, platform, destination, signatures };
    let (synced, failed) = work.copy_all(&items);
    failures.extend(failed);
    if let Some(file) = &args.digestfile {
        let lines: String = synced.iter().map(|(digest, name)| format!("{digest} {name}\n")).collect();
        std::fs::write(file, lines).context(|| file.display().to_string())?;
    }
    let verb = if args.dry_run { "Would have synced" } else { "Synced" };
    output::note(&format!("{verb} {} images from {}", synced.len(), args.source));
    CommandError::first(failures).map_or(Ok(0), Err)
}

impl Args {
    fn items(&self, session: &Session) -> Result<(Vec<Item>, Vec<CommandError>), CommandError> {
        let settings = || self.sides.source(session);
        match self.src {
            From::Docker => Ok((plan::of_registry(&self.source, &settings()?)?, Vec::new())),
            From::Dir => Ok((plan::of_directory(Path::new(&self.source), &settings()?)?, Vec::new())),
            From::Yaml => plan::of_file(Path::new(&self.source), &self.sides.source_side(), session),
        }
    }

    /// Without what is excluded, and each image once.
    fn wanted(&self, items: Vec<Item>) -> Result<Vec<Item>, CommandError> {
        let patterns = self.exclude.iter().map(|pattern| Regex::new(pattern)).collect::<Result<Vec<_>, _>>();
        let patterns = patterns.map_err(|error| CommandError::usage(format!("--exclude: {error}")))?;
        let mut wanted: BTreeMap<String, Item> = BTreeMap::new();
        for item in items {
            let tag = match &item.source {
                Location::Docker(reference) => reference.tag.as_deref(),
                _ => item.name.rsplit_once(':').map(|(_, tag)| tag),
            };
            if tag.is_some_and(|tag| patterns.iter().any(|pattern| pattern.is_match(tag))) {
                continue;
            }
            let kept = self.kept(&item).to_owned();
            if let Some(other) = wanted.get(&kept).filter(|other| other.name != item.name) {
                let message = format!("{} and {} would both become {kept}", other.name, item.name);
                return Err(CommandError::usage(message).with_hint("keep their whole names with --scoped"));
            }
            wanted.insert(kept, item);
        }
        Ok(wanted.into_values().collect())
    }

    /// What the destination keeps of an image's name.
    fn kept<'a>(&self, item: &'a Item) -> &'a str {
        if self.scoped { &item.name } else { item.name.rsplit('/').next().unwrap_or_default() }
    }

    /// Where an image goes.
    fn place(&self, item: &Item) -> Result<Location, CommandError> {
        let top = self.destination.trim_end_matches('/');
        let name = format!("{top}/{}{}", self.kept(item), self.append_suffix);
        match self.dest {
            To::Dir => Ok(Location::Dir(name.into())),
            To::Docker => {
                let name: Reference = name.parse().map_err(conex_engine::Error::from)?;
                Ok(Location::Docker(name))
            }
        }
    }
}

/// One run.
struct Work<'a> {
    args: &'a Args,
    session: &'a Session,
    platform: &'a Platform,
    destination: RegistrySettings,
    /// What becomes of signatures.
    signatures: Arc<Wishes>,
}

/// Digests and names of what was copied, and what went wrong.
type Synced = (Vec<(String, String)>, Vec<CommandError>);

impl Work<'_> {
    /// Some at a time. Without --keep-going the first failure stops the others before their next image.
    fn copy_all(&self, items: &[Item]) -> Synced {
        let next = AtomicUsize::new(0);
        let done: Mutex<Synced> = Mutex::default();
        let work = || {
            while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                let copied = self.copy(item);
                let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                match copied {
                    Ok(copied) => done.0.push(copied),
                    Err(error) => {
                        done.1.push(error);
                        if !self.args.keep_going {
                            next.store(items.len(), Ordering::Relaxed);
                        }
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.args.jobs.min(items.len()) {
                scope.spawn(work);
            }
            work();
        });
        done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn copy(&self, item: &Item) -> Result<(String, String), CommandError> {
        let destination = self.args.place(item)?;
        let name = match &destination {
            Location::Docker(reference) => format!("docker://{reference}"),
            Location::Dir(path) => format!("dir:{}", path.display()),
            other => format!("{other:?}"),
        };
        let context = || format!("{} to {name}", item.name);
        if self.args.dry_run {
            output::note(&format!("Would have copied image ref {} to {name}", item.name));
            return Ok((String::new(), name));
        }
        let request = Request {
            source: item.source.clone(),
            destination,
            source_registry: item.settings.clone(),
            destination_registry: self.destination.clone(),
            select: match self.args.all {
                true => Select::All,
                false => Select::Platform(self.platform.clone()),
            },
            form: self.args.form.form()?,
            preserve_digests: self.args.form.preserve_digests,
            jobs: 3,
            signatures: self.signatures.clone(),
            quiet: true,
        };
        // What is to be signed may be there without the signature.
        let unsigned = self.signatures.signers.is_empty();
        if let Some(digest) = self.is_there(&request).filter(|_| unsigned) {
            return Ok((digest, name));
        }
        let copied = request.run(self.session).context(context)?;
        output::note(&format!("copied {name} {}", copied.digest));
        Ok((copied.digest.to_string(), name))
    }

    /// Two requests tell that a tag has not changed, and what may be signed says so. Any doubt is left to the copy.
    fn is_there(&self, request: &Request) -> Option<String> {
        let (Location::Docker(from), Location::Docker(to)) = (&request.source, &request.destination) else {
            return None;
        };
        let head = |settings: &RegistrySettings, reference| {
            Client::new(settings.clone()).remote(reference).head().ok()
        };
        let there = head(&request.destination_registry, to)?;
        let here = head(&request.source_registry, from)?;
        // It may have been signed since.
        let place =
            self.session.engine().ok()?.trust().ok()?.place(&request.source, &request.source_registry);
        let signatures = place.read(&here.digest, Level::Named).ok()?;
        let is_whole = self.signatures.remove || signatures.is_empty();
        (is_whole && here.digest == there.digest).then(|| there.digest.to_string())
    }
}
