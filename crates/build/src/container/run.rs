// SPDX-License-Identifier: Apache-2.0
//! `run`: one program in the tree, through an OCI runtime, in the foreground.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;

use conex_engine::container::{self, Options};
use conex_engine::{Engine, json, name, runtime};
use conex_spec::image::ImageConfig;
use conex_spec::runtime::{Config, Mount, NamespaceKind, Root as RootPath};
use conex_sys::path::Root;

use super::stubs::{Kind, Stubs};
use super::tree::remove_tree;
use super::{Held, Isolation, Tree};
use crate::{Result, Wrap as _};

/// How to run.
#[derive(Debug, Default)]
pub struct RunOptions {
    /// The program in `command`, and what it is given. `image`, `name` and what concerns a container's life is not heeded.
    pub sandbox: Options,
    /// How it is confined.
    pub isolation: Isolation,
    /// Where its output goes, if not to this process' own: stdout and stderr.
    pub output: Option<(File, File)>,
    /// More mounts, as the runtime takes them.
    pub mounts: Vec<Mount>,
}

/// How the program ended: its exit code, or 128 + n after signal n.
pub type Status = u8;

/// Runs in a working container.
pub fn run(engine: &Engine, held: &Held, options: RunOptions) -> Result<Status> {
    let tree = held.tree(engine)?;
    let bundle = held.working.path.join("run");
    let status = run_in(engine, &tree, &bundle, &held.record.config, options);
    remove_tree(&bundle)?;
    status
}

/// Runs in a tree, with a bundle in `bundle`, which is made here and left to the caller to remove.
pub fn run_in(
    engine: &Engine,
    tree: &Tree,
    bundle: &Path,
    image: &ImageConfig,
    options: RunOptions,
) -> Result<Status> {
    let id = format!("build-{}", &name::new_id()?[..24]);
    DirBuilder::new().mode(0o700).create(bundle).wrap(|| format!("make {}", bundle.display()))?;
    // Before there is anything of that name, so that the next command can end it.
    json::write(&bundle.join("id.json"), &id)?;
    let hostname = options.sandbox.hostname.clone().unwrap_or_else(|| id[6..18].to_owned());
    let network = options.sandbox.network;
    let files =
        container::write_host_files(&bundle.join("etc"), &hostname, network, &options.sandbox.extra_hosts)?;
    tree.with_root(|merged| {
        let root = Root::open_host(merged)?;
        let mut config =
            container::runtime_config(engine, &id, &options.sandbox, image, &root, &hostname, &files)?;
        config.root = Some(RootPath {
            path: merged.display().to_string(),
            readonly: options.sandbox.security.read_only,
        });
        config.mounts.extend(options.mounts.iter().cloned());
        if options.isolation == Isolation::Chroot {
            open_up(&mut config);
        }
        json::write(&bundle.join("config.json"), &config)?;
        let stubs = make_stubs(&root, &config)?;
        let status = execute(engine, bundle, &id, &options);
        stubs.remove()?;
        status
    })
}

/// Ends what still runs of a bundle whose command was killed, and removes the bundle, if it is there.
pub(crate) fn end(engine: &Engine, bundle: &Path) -> Result<()> {
    if !bundle.exists() {
        return Ok(());
    }
    if let Some(id) = json::read::<String>(&bundle.join("id.json"))? {
        let runtime = engine.runtime();
        if runtime.knows(&id)? {
            runtime.check(&mut runtime.command(&["delete", "--force", &id]))?;
        }
    }
    remove_tree(bundle)
}

fn execute(engine: &Engine, bundle: &Path, id: &str, options: &RunOptions) -> Result<Status> {
    let mut command = engine.runtime().command(&["run", "--bundle"]);
    command.arg(bundle).arg(id);
    if !options.sandbox.stdin {
        command.stdin(Stdio::null());
    }
    if let Some((stdout, stderr)) = &options.output {
        let duplicate = |file: &File| file.try_clone().wrap(|| "duplicate an output");
        command.stdout(duplicate(stdout)?).stderr(duplicate(stderr)?);
    }
    let status = command.status().map_err(|error| runtime::unusable(&engine.settings.runtime, &error))?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

/// The places for mounts, but for those in what is mounted before them.
fn make_stubs(root: &Root, config: &Config) -> Result<Stubs> {
    let mut stubs = Stubs::default();
    let mut done: Vec<&Path> = Vec::new();
    for mount in &config.mounts {
        let target = Path::new(&mount.destination);
        let covered = done.iter().any(|before| target != *before && target.starts_with(before));
        let is_bind = mount.options.iter().any(|option| option == "bind" || option == "rbind");
        let kind = match is_bind && !Path::new(&mount.source).is_dir() {
            true => Kind::File,
            false => Kind::Directory,
        };
        if !covered {
            stubs.make(root, target, kind)?;
        }
        done.push(target);
    }
    Ok(stubs)
}

/// Nothing but a root file system of its own: the host's processes, network and names are seen.
fn open_up(config: &mut Config) {
    if let Some(linux) = &mut config.linux {
        linux.namespaces.retain(|namespace| namespace.kind == NamespaceKind::Mount);
        linux.resources = None;
        linux.cgroups_path.clear();
        linux.sysctl.clear();
    }
    config.hostname.clear();
    config.mounts.retain(|mount| !matches!(mount.kind.as_str(), "cgroup" | "mqueue"));
    for mount in &mut config.mounts {
        if mount.kind == "proc" || mount.kind == "sysfs" {
            let source = mount.destination.clone();
            let options = ["rbind", "nosuid", "noexec", "nodev", "rslave"].map(str::to_owned).to_vec();
            *mount = Mount { kind: "bind".to_owned(), source, options, ..mount.clone() };
        }
    }
}
