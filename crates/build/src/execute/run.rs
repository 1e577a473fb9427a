// SPDX-License-Identifier: Apache-2.0
//! `RUN`: a command in a tree, with its mounts. Files of a context or a stage are shown through an overlay whose writable
//! side is thrown away, so that a command never changes what it was given.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use conex_engine::Engine;
use conex_engine::container::{self, Network as SandboxNetwork};
use conex_image::snapshot::Snapshot;
use conex_image::verify::sha256;
use conex_spec::image::{ContainerConfig, ImageConfig};
use conex_spec::runtime::Mount as RuntimeMount;
use conex_sys::mount::{self, Extent};
use conex_sys::path::{Dir, Root};

use super::agent::Agent;
use super::schedule::Values;
use super::{Build, Secret};
use crate::container::{RunOptions, Tree, run_in};
use crate::containerfile::{CacheSharing, FileMode, Mount, MountKind, Network};
use crate::graph::{NodeId, Run};
use crate::{Error, ErrorKind, Result, Wrap as _};

/// `<root>/build-mounts/<hash of the id>-<number>`, and a file to lock beside each.
const CACHES: &str = "build-mounts";
const LOCK: &str = ".lock";

/// The path in the origin that a mount shows.
pub(super) fn source(mount: &Mount) -> &str {
    match &mount.kind {
        MountKind::Bind { source, .. } | MountKind::Cache { source, .. } => source,
        _ => "",
    }
}

/// What the mounts of a command need while it runs.
#[derive(Default)]
struct Prepared {
    mounts: Vec<RuntimeMount>,
    env: Vec<String>,
    /// Trees to be mounted, and what of them to show where.
    shown: Vec<Shown>,
    /// Held as long as the command runs.
    locks: Vec<fs::File>,
    agents: Vec<Agent>,
}

struct Shown {
    tree: Tree,
    source: String,
    target: String,
    read_only: bool,
}

impl Build<'_> {
    /// Runs it; its exit status.
    pub(super) fn run(&self, id: NodeId, run: &Run, tree: &Tree, values: &Values) -> Result<u8> {
        if run.insecure && !self.options.allow_insecure {
            return Err(Error::new(ErrorKind::Denied, "RUN --security=insecure is not allowed")
                .with_hint("if you trust this file: --allow security.insecure"));
        }
        if let Some(device) = run.devices.iter().find(|device| device.required) {
            return Err(Error::new(ErrorKind::Unsupported, format!("device {} is not here", device.name)));
        }
        let mut prepared = Prepared::default();
        for (number, (mount, from)) in run.mounts.iter().enumerate() {
            self.prepare(&format!("{id}-mount-{number}"), mount, *from, values, &mut prepared)?;
        }
        if let Some((name, text)) = &run.script {
            let path =
                self.private_file(&format!("{id}-{name}"), text.as_bytes(), 0o755, FileMode::default())?;
            prepared.mounts.push(bind(&path, &format!("/dev/pipes/{name}"), true));
        }
        let bundle = self.work.path().join(format!("{id}{}", super::place::BUNDLE));
        crate::container::remove_tree(&bundle)?;
        let shown = std::mem::take(&mut prepared.shown);
        let sandbox = self.sandbox(run, &prepared);
        let mut options = RunOptions {
            sandbox,
            isolation: self.options.isolation,
            output: self.progress.output(id)?,
            mounts: prepared.mounts.clone(),
        };
        let work = self.work.path();
        show_all(&shown, work, id, &mut Vec::new(), &mut |more| {
            options.mounts.extend(more.iter().cloned());
            run_in(self.engine, tree, &bundle, &config(run), std::mem::take(&mut options))
        })
    }

    fn sandbox(&self, run: &Run, prepared: &Prepared) -> container::Options {
        let host =
            run.network == Network::Host || (run.network == Network::Default && self.options.host_network);
        container::Options {
            command: run.args.clone(),
            entrypoint: Some(Vec::new()),
            env: self.options.env.iter().chain(&prepared.env).cloned().collect(),
            user: Some(run.user.clone()).filter(|user| !user.is_empty()),
            cwd: Some(run.cwd.clone()),
            network: if host { SandboxNetwork::Host } else { SandboxNetwork::None },
            security: container::Security { privileged: run.insecure, ..container::Security::default() },
            ..container::Options::default()
        }
    }

    fn prepare(
        &self,
        name: &str,
        mount: &Mount,
        from: Option<NodeId>,
        values: &Values,
        prepared: &mut Prepared,
    ) -> Result<()> {
        let target = mount.target.clone();
        match &mount.kind {
            MountKind::Tmpfs { size } => prepared.mounts.push(memory(&target, *size)),
            MountKind::Bind { source, writable, .. } => {
                let tree = self.given(name, from, values)?;
                prepared.shown.push(Shown { tree, source: source.clone(), target, read_only: !writable });
            }
            MountKind::Cache { id, read_only, sharing, mode, .. } => {
                let id = id.clone().unwrap_or_else(|| target.clone());
                let (path, lock) = self.cache_directory(&id, *sharing, *mode)?;
                prepared.locks.extend(lock);
                prepared.mounts.push(bind(&path, &target, *read_only));
            }
            MountKind::Secret { id, required, env, file, mode } => {
                let Some(secret) = self.secret(id, *required)? else { return Ok(()) };
                if let Some(env) = env {
                    prepared.env.push(format!("{env}={}", String::from_utf8_lossy(&secret)));
                }
                if *file {
                    let path = self.private_file(name, &secret, 0o400, *mode)?;
                    prepared.mounts.push(bind(&path, &target, true));
                }
            }
            MountKind::Ssh { id, required, mode } => match self.options.agents.get(id) {
                Some(agent) => {
                    let passed =
                        Agent::listen(&self.work.path().join(format!("{name}-agent")), agent, *mode)?;
                    prepared.env.push(format!("SSH_AUTH_SOCK={target}"));
                    prepared.mounts.push(bind(&passed.socket, &target, false));
                    prepared.agents.push(passed);
                }
                None if *required => {
                    let message = format!("the ssh agent {id:?} is required");
                    return Err(Error::new(ErrorKind::Usage, message)
                        .with_hint(format!("give its socket: --ssh {id}=SOCKET")));
                }
                None => {}
            },
        }
        Ok(())
    }

    /// A value as a tree of its own, whose writable side goes with it.
    fn given(&self, name: &str, from: Option<NodeId>, values: &Values) -> Result<Tree> {
        let value = from.and_then(|from| values[from].clone());
        let value = value.ok_or_else(|| Error::new(ErrorKind::State, "an input is missing"))?;
        let Some(path) = &value.outside else { return self.tree(name, &value.layers) };
        let tree = self.tree(name, &[])?;
        let userxattr = tree.snapshot.userxattr;
        Ok(Tree { snapshot: Snapshot { lower: vec![path.clone()], userxattr }, ..tree })
    }

    fn secret(&self, id: &str, required: bool) -> Result<Option<Vec<u8>>> {
        match self.options.secrets.get(id) {
            Some(Secret::Value(value)) => Ok(Some(value.clone().into_bytes())),
            Some(Secret::File(path)) => {
                Ok(Some(fs::read(path).wrap(|| format!("secret {id}: {}", path.display()))?))
            }
            None if required => Err(Error::new(ErrorKind::Usage, format!("the secret {id:?} is required"))
                .with_hint(format!("give it with --secret id={id},src=FILE"))),
            None => Ok(None),
        }
    }

    /// A file outside of every layer.
    fn private_file(&self, name: &str, content: &[u8], mode: u32, given: FileMode) -> Result<PathBuf> {
        let path = self.work.path().join(name.replace('/', "_"));
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(content)?;
            chown(&path, given.uid.or(Some(0)), given.gid.or(Some(0)))?;
            file.set_permissions(Permissions::from_mode(given.mode.unwrap_or(mode)))
        };
        write().wrap(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// The directory of a cache, by the hash of its name: no name leads anywhere else.
    fn cache_directory(
        &self,
        id: &str,
        sharing: CacheSharing,
        mode: FileMode,
    ) -> Result<(PathBuf, Option<fs::File>)> {
        let hash = sha256(id.as_bytes());
        let hash = hash.hex();
        let root = self.engine.settings.root.join(CACHES);
        fs::create_dir_all(&root).wrap(|| format!("make {}", root.display()))?;
        for number in 0..1000 {
            let path = root.join(format!("{hash}-{number}"));
            let lock = lock_file(&root, &format!("{hash}-{number}{LOCK}"))?;
            let taken = match sharing {
                CacheSharing::Shared => lock.try_lock_shared().is_ok(),
                CacheSharing::Locked => lock.lock().is_ok(),
                CacheSharing::Private => lock.try_lock().is_ok(),
            };
            if !taken {
                continue;
            }
            if !path.exists() {
                fs::create_dir(&path).wrap(|| format!("make {}", path.display()))?;
                chown(&path, mode.uid.or(Some(0)), mode.gid.or(Some(0)))
                    .and_then(|()| {
                        fs::set_permissions(&path, Permissions::from_mode(mode.mode.unwrap_or(0o755)))
                    })
                    .wrap(|| format!("prepare {}", path.display()))?;
            }
            return Ok((path, Some(lock)));
        }
        Err(Error::new(ErrorKind::InUse, format!("the cache {id:?} is in use a thousand times")))
    }
}

/// Removes the directories of caches that nobody uses.
pub(super) fn empty_caches(engine: &Engine) -> Result<()> {
    let root = engine.settings.root.join(CACHES);
    let Ok(entries) = fs::read_dir(&root) else { return Ok(()) };
    for entry in entries {
        let path = entry.wrap(|| root.display().to_string())?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        // The lock's own file stays: who opened it waits for no other.
        if name.ends_with(LOCK) {
            continue;
        }
        let lock = lock_file(&root, &format!("{name}{LOCK}"))?;
        if lock.try_lock().is_ok() {
            crate::container::remove_tree(&path)?;
        }
    }
    Ok(())
}

fn lock_file(root: &Path, name: &str) -> Result<fs::File> {
    Ok(Dir::open_host(root)?.open_or_create_file(name, 0o600)?)
}

/// Mounts one tree inside the other's namespace, until all are there, and then works.
fn show_all<T: Send>(
    shown: &[Shown],
    work_directory: &Path,
    id: NodeId,
    mounts: &mut Vec<RuntimeMount>,
    work: &mut (dyn FnMut(&[RuntimeMount]) -> Result<T> + Send),
) -> Result<T> {
    let Some((first, rest)) = shown.split_first() else { return work(mounts) };
    first.tree.with_root(|merged| {
        let root = Root::open_host(merged)?;
        let path: PathBuf = crate::copy::normal(&first.source).iter().collect();
        let found = root.find(&path)?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("--mount: {:?} is not there", first.source))
        })?;
        let stub = work_directory.join(format!("{id}-show-{}", mounts.len()));
        let is_directory = root.find_dir(&path)?.is_some();
        let made = match is_directory {
            true => fs::create_dir(&stub),
            false => OpenOptions::new().write(true).create_new(true).open(&stub).map(drop),
        };
        made.wrap(|| format!("make {}", stub.display()))?;
        // By descriptor: no link that lies in there is followed again.
        let copy = mount::clone(found.as_fd(), Path::new(""), Extent::One)?;
        let target = mount::open_path(&stub)?;
        mount::attach(copy.as_fd(), target.as_fd())?;
        mounts.push(bind(&stub, &first.target, first.read_only));
        show_all(rest, work_directory, id, mounts, work)
    })
}

/// The image's part of the command's configuration.
fn config(run: &Run) -> ImageConfig {
    let config = ContainerConfig {
        user: run.user.clone(),
        env: run.env.clone(),
        working_dir: run.cwd.clone(),
        ..ContainerConfig::default()
    };
    ImageConfig { os: "linux".to_owned(), config, ..ImageConfig::default() }
}

fn bind(source: &Path, target: &str, read_only: bool) -> RuntimeMount {
    let mut options = vec!["bind".to_owned(), "rprivate".to_owned()];
    if read_only {
        options.push("ro".to_owned());
    }
    RuntimeMount {
        destination: target.to_owned(),
        kind: "bind".to_owned(),
        source: source.display().to_string(),
        options,
        ..RuntimeMount::default()
    }
}

fn memory(target: &str, size: Option<u64>) -> RuntimeMount {
    let mut options = vec!["nosuid".to_owned(), "nodev".to_owned()];
    options.extend(size.map(|size| format!("size={size}")));
    RuntimeMount {
        destination: target.to_owned(),
        kind: "tmpfs".to_owned(),
        source: "tmpfs".to_owned(),
        options,
        ..RuntimeMount::default()
    }
}
