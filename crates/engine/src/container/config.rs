// SPDX-License-Identifier: Apache-2.0
//! The `config.json` of a container: what the image says (`image::bundle`, conversion.md), then what the command line
//! says: files and volumes, network, capabilities, seccomp, limits.

use std::path::PathBuf;

use conex_image::bundle::{self, Overrides, Rootfs};
use conex_spec::image::ImageConfig;
use conex_spec::runtime::{
    Capabilities, Config, ConsoleSize, Linux, Mount, Namespace, NamespaceKind, Process, Resources,
};
use conex_sys::credentials::{CAPABILITY_NAMES, capability_number, last_capability};

use super::Network;
use super::create::{Limits, Options, Security};
use crate::{Engine, Error, ErrorKind, Result, seccomp, userns};

/// Builds the whole document for a container with this id, whose root file system is mounted at `merged` in the bundle.
/// Names of users are looked up in `rootfs`; `files` are bound to their places.
pub fn build(
    engine: &Engine,
    id: &str,
    options: &Options,
    image: &ImageConfig,
    rootfs: &dyn Rootfs,
    hostname: &str,
    files: &[(PathBuf, &'static str)],
) -> Result<Config> {
    let rootless = !userns::is_initial();
    let mut config = bundle::runtime_config(image, &overrides(options, hostname), rootfs, rootless)?;
    if config.process.as_ref().is_none_or(|process| process.args.is_empty()) {
        return Err(Error::new(ErrorKind::Usage, format!("image {} names no program to run", options.image))
            .with_hint(format!("say which: conex run {} COMMAND", options.image)));
    }
    config.root =
        Some(conex_spec::runtime::Root { path: "merged".to_owned(), readonly: options.security.read_only });
    config.mounts.extend(files.iter().map(|(path, target)| bind(&path.to_string_lossy(), target)));
    for volume in &options.volumes {
        config.mounts.push(volume.mount(engine)?);
    }
    for tmpfs in &options.tmpfs {
        config.mounts.push(memory_mount(tmpfs)?);
    }
    let mut linux = config.linux.take().unwrap_or_default();
    set_network(&mut linux, &mut config.mounts, options.network, rootless);
    let mut process = config.process.take().unwrap_or_default();
    process.console_size =
        options.terminal_size.map(|size| ConsoleSize { height: size.rows, width: size.columns });
    set_security(&mut process, &mut linux, &options.security)?;
    if options.security.privileged {
        config.mounts.iter_mut().for_each(open_up);
    }
    set_limits(&mut linux, id, options.limits, rootless)?;
    config.process = Some(process);
    config.linux = Some(linux);
    Ok(config)
}

fn overrides(options: &Options, hostname: &str) -> Overrides {
    let mut env = vec![format!("HOSTNAME={hostname}")];
    if options.terminal {
        env.push("TERM=xterm".to_owned());
    }
    env.extend(options.env.iter().cloned());
    Overrides {
        entrypoint: options.entrypoint.clone(),
        args: (!options.command.is_empty()).then(|| options.command.clone()),
        env,
        cwd: options.cwd.clone(),
        user: options.user.clone(),
        terminal: options.terminal,
        hostname: Some(hostname.to_owned()),
    }
}

fn bind(source: &str, target: &str) -> Mount {
    Mount {
        destination: target.to_owned(),
        kind: "bind".to_owned(),
        source: source.to_owned(),
        options: ["bind", "rprivate"].map(str::to_owned).to_vec(),
        ..Mount::default()
    }
}

/// `--tmpfs PATH[:OPTIONS]`
fn memory_mount(text: &str) -> Result<Mount> {
    let (target, options) = text.split_once(':').unwrap_or((text, "rw,noexec,nosuid,nodev"));
    if !target.starts_with('/') {
        return Err(Error::new(ErrorKind::Usage, format!("tmpfs {text:?}: the path must be absolute")));
    }
    Ok(Mount {
        destination: target.to_owned(),
        kind: "tmpfs".to_owned(),
        source: "tmpfs".to_owned(),
        options: options.split(',').filter(|o| !o.is_empty()).map(str::to_owned).collect(),
        ..Mount::default()
    })
}

fn set_network(linux: &mut Linux, mounts: &mut [Mount], network: Network, rootless: bool) {
    linux.namespaces.retain(|namespace| namespace.kind != NamespaceKind::Network);
    match network {
        Network::None => {
            linux.namespaces.push(Namespace { kind: NamespaceKind::Network, path: String::new() });
        }
        // sysfs belongs to the network namespace's owner, who is not in here: the host's is shown instead.
        Network::Host if rootless => {
            for mount in mounts.iter_mut().filter(|mount| mount.kind == "sysfs") {
                // Recursively read-only: the user owns cgroups down there.
                let options = ["rbind", "nosuid", "noexec", "nodev", "rro"].map(str::to_owned).to_vec();
                *mount = Mount { options, ..bind("/sys", &mount.destination) };
            }
        }
        Network::Host => {}
    }
}

fn set_security(process: &mut Process, linux: &mut Linux, security: &Security) -> Result<()> {
    let capabilities = capabilities(process, security)?;
    let is_root = process.user.uid == 0;
    let held = if is_root { capabilities.clone() } else { Vec::new() };
    process.capabilities = Some(Capabilities {
        bounding: capabilities.clone(),
        effective: held.clone(),
        permitted: held,
        inheritable: Vec::new(),
        ambient: Vec::new(),
    });
    process.no_new_privileges = security.no_new_privileges;
    if security.privileged {
        linux.masked_paths.clear();
        linux.readonly_paths.clear();
    }
    linux.seccomp = match security.privileged || security.unconfined {
        true => None,
        false => Some(seccomp::default_profile(&capabilities)?),
    };
    Ok(())
}

/// The default set with what was added and dropped.
fn capabilities(process: &Process, security: &Security) -> Result<Vec<String>> {
    let mut set: Vec<String> =
        process.capabilities.as_ref().map(|sets| sets.bounding.clone()).unwrap_or_default();
    let known = usize::from(last_capability()) + 1;
    let everything = || CAPABILITY_NAMES.iter().take(known).map(|&name| name.to_owned()).collect::<Vec<_>>();
    if security.privileged {
        set = everything();
    }
    for word in &security.drop {
        match full_name(word)?.as_str() {
            "ALL" => set.clear(),
            name => set.retain(|held| held != name),
        }
    }
    for word in &security.add {
        match full_name(word)?.as_str() {
            "ALL" => set = everything(),
            name if set.iter().any(|held| held == name) => {}
            name => set.push(name.to_owned()),
        }
    }
    Ok(set)
}

/// `net_admin` → `CAP_NET_ADMIN`
fn full_name(word: &str) -> Result<String> {
    let upper = word.to_ascii_uppercase();
    if upper == "ALL" {
        return Ok(upper);
    }
    let name = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    match capability_number(&name) {
        Some(_) => Ok(name),
        None => Err(Error::new(ErrorKind::Usage, format!("{word:?} is not a capability"))
            .with_hint("names are as in capabilities(7): NET_ADMIN, SYS_PTRACE, …, or ALL")),
    }
}

/// A privileged container may write to what is otherwise read-only.
fn open_up(mount: &mut Mount) {
    if ["sysfs", "cgroup", "proc"].contains(&mount.kind.as_str()) {
        mount.options.retain(|option| option != "ro");
    }
}

fn set_limits(linux: &mut Linux, id: &str, limits: Limits, rootless: bool) -> Result<()> {
    let asked = limits.memory.is_some() || limits.pids.is_some() || limits.milli_cpus.is_some();
    if rootless {
        if asked {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "limits for an ordinary user's container are not there yet",
            )
            .with_hint("run conex as root, or leave out --memory, --pids-limit and --cpus"));
        }
        linux.resources = None;
        linux.cgroups_path.clear();
        return Ok(());
    }
    // No cgroup of conex' own above it: nobody could tell when to remove that.
    linux.cgroups_path = format!("/conex-{id}");
    let resources = linux.resources.get_or_insert_with(Resources::default);
    resources.memory.limit = limits.memory.map(u64::cast_signed);
    resources.pids.limit = limits.pids;
    if let Some(milli) = limits.milli_cpus {
        resources.cpu.period = Some(PERIOD);
        resources.cpu.quota = Some((milli * PERIOD / 1000).cast_signed());
    }
    Ok(())
}

/// Microseconds: the kernel's own.
const PERIOD: u64 = 100_000;
