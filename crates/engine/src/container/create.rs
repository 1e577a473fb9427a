// SPDX-License-Identifier: Apache-2.0
//! Making a container: directory, name, files, `config.json`, record. Nothing runs yet.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::time::SystemTime;

use conex_image::snapshot::Snapshot;
use conex_sys::signal::TERM;
use conex_sys::tty::Size;

use super::directory::Lock;
use super::host_files::{self, ExtraHost};
use super::record::VERSION;
use super::{Container, Network, Record, config, parse_signal, remove};
use crate::volume::Volume;
use crate::{Engine, Error, ErrorKind, Result, Wrap as _, image, json, name};

/// What a container shall be. The defaults are the command line's.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Name, reference or id of an image in the store.
    pub image: String,
    /// `None`: one is made up.
    pub name: Option<String>,
    /// In place of the image's `Cmd`; empty keeps it.
    pub command: Vec<String>,
    /// In place of the image's `Entrypoint`.
    pub entrypoint: Option<Vec<String>>,
    /// `NAME=value`, over the image's.
    pub env: Vec<String>,
    /// Directories and files of the host.
    pub volumes: Vec<Volume>,
    /// `PATH[:OPTIONS]`: empty file systems in memory.
    pub tmpfs: Vec<String>,
    /// `user[:group]`, in place of the image's.
    pub user: Option<String>,
    /// In place of the image's `WorkingDir`.
    pub cwd: Option<String>,
    /// `None`: the short id.
    pub hostname: Option<String>,
    /// More lines for `/etc/hosts`.
    pub extra_hosts: Vec<ExtraHost>,
    /// Which network.
    pub network: Network,
    /// `-t`
    pub terminal: bool,
    /// The terminal's first size, so that no program sees it without one.
    pub terminal_size: Option<Size>,
    /// `-i`
    pub stdin: bool,
    /// `--rm`
    pub auto_remove: bool,
    /// Over the image's.
    pub labels: BTreeMap<String, String>,
    /// Who may do what.
    pub security: Security,
    /// How much of the machine it gets.
    pub limits: Limits,
    /// What `stop` sends, in place of the image's.
    pub stop_signal: Option<String>,
    /// Seconds between the stop signal and SIGKILL.
    pub stop_timeout: Option<u64>,
}

/// Capabilities, seccomp, and the rest of a container's walls.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// `--cap-add`: names with or without `CAP_`, or `ALL`.
    pub add: Vec<String>,
    /// `--cap-drop`
    pub drop: Vec<String>,
    /// All capabilities, no seccomp filter, nothing masked.
    pub privileged: bool,
    /// No seccomp filter.
    pub unconfined: bool,
    /// Set-user-id programs gain nothing.
    pub no_new_privileges: bool,
    /// The root file system cannot be written to.
    pub read_only: bool,
}

/// Limits for the container's cgroup.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Processes.
    pub pids: Option<i64>,
    /// Thousandths of a CPU.
    pub milli_cpus: Option<u64>,
}

/// Makes a container that [`super::start`] can start.
pub fn create(engine: &Engine, options: &Options) -> Result<(Container, Record)> {
    create_locked(engine, options).map(|(container, record, _)| (container, record))
}

/// The lock keeps others from taking it for garbage until it is started.
pub(super) fn create_locked(engine: &Engine, options: &Options) -> Result<(Container, Record, Lock)> {
    let store = engine.store()?;
    // Layers cannot be collected between now and the record that keeps them.
    let _kept = store.share()?;
    let found = image::find(engine, &options.image)?;
    let snapshot = store.snapshot(&found.image)?;
    let (container, lock) = Container::make(engine)?;
    match fill(engine, &container, options, &found, &snapshot) {
        Ok(record) => Ok((container, record, lock)),
        Err(error) => {
            // The first error is the one to tell; what cannot be removed now, the next command removes.
            let _swept_later = remove::discard(engine, &container, lock);
            Err(error)
        }
    }
}

fn fill(
    engine: &Engine,
    container: &Container,
    options: &Options,
    found: &image::Found,
    snapshot: &Snapshot,
) -> Result<Record> {
    let name = claim_name(engine, container, options.name.as_deref())?;
    make_directories(&container.path, snapshot)?;
    let hostname = options.hostname.clone().unwrap_or_else(|| container.id[..12].to_owned());
    let files =
        host_files::write(&container.path.join("etc"), &hostname, options.network, &options.extra_hosts)?;
    let config =
        config::build(engine, &container.id, options, &found.image.config, snapshot, &hostname, &files)?;
    json::write(&container.path.join("config.json"), &config)?;
    let args = config.process.map(|process| process.args).unwrap_or_default();
    let record = record(engine, container, options, found, name, args)?;
    container.write_record(&record)?;
    Ok(record)
}

fn claim_name(engine: &Engine, container: &Container, wanted: Option<&str>) -> Result<String> {
    if let Some(wanted) = wanted {
        name::check(wanted)?;
        if container.claim(engine, wanted)? {
            return Ok(wanted.to_owned());
        }
        return Err(Error::new(ErrorKind::Exists, format!("the container name {wanted:?} is taken"))
            .with_hint(format!(
                "remove that container with `conex rm -f {wanted}`, or choose another --name"
            )));
    }
    for attempt in 0..100 {
        let name = name::invent(attempt)?;
        if container.claim(engine, &name)? {
            return Ok(name);
        }
    }
    Err(Error::new(ErrorKind::Exists, "found no free name; choose one with --name"))
}

/// The overlay's own directories. The writable layer's root is the container's `/`: it gets the image's owner and mode.
fn make_directories(path: &Path, snapshot: &Snapshot) -> Result<()> {
    for name in ["upper", "work", "merged"] {
        let directory = path.join(name);
        DirBuilder::new().mode(0o755).create(&directory).wrap(|| format!("make {}", directory.display()))?;
    }
    let Some(top) = snapshot.lower.first() else { return Ok(()) };
    let like = fs::metadata(top).wrap(|| format!("stat {}", top.display()))?;
    let upper = path.join("upper");
    chown(&upper, Some(like.uid()), Some(like.gid()))
        .and_then(|()| fs::set_permissions(&upper, Permissions::from_mode(like.mode() & 0o7777)))
        .wrap(|| format!("prepare {}", upper.display()))
}

fn record(
    engine: &Engine,
    container: &Container,
    options: &Options,
    found: &image::Found,
    name: String,
    args: Vec<String>,
) -> Result<Record> {
    let config = &found.image.config.config;
    let stop_signal = match (&options.stop_signal, config.stop_signal.as_str()) {
        (Some(signal), _) => parse_signal(signal)?,
        (None, "") => TERM,
        // An image's mistake is no reason not to run it.
        (None, signal) => parse_signal(signal).unwrap_or(TERM),
    };
    let mut labels = config.labels.clone();
    labels.extend(options.labels.clone());
    Ok(Record {
        version: VERSION,
        id: container.id.clone(),
        name,
        created: SystemTime::now().into(),
        started: None,
        image: found.name.clone(),
        image_id: found.image.id().clone(),
        manifest: found.image.raw.descriptor.clone(),
        args,
        terminal: options.terminal,
        stdin: options.stdin,
        auto_remove: options.auto_remove,
        network: options.network,
        labels,
        stop_signal,
        stop_timeout: options.stop_timeout.unwrap_or(10),
        runtime: engine.settings.runtime.clone(),
    })
}
