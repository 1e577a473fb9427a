// SPDX-License-Identifier: Apache-2.0
//! `conex inspect`: containers and images as docker and podman show them, as far as conex knows them.

use clap::ValueEnum;
use conex_engine::container::{self, State};
use conex_engine::image::{self, Found};
use conex_engine::{Engine, ErrorKind};
use serde_json::{Value, json};

use super::remote_inspect;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output::{self, template};
use crate::session::{RegistryArgs, Session};

/// Show everything about containers and images
///
/// A name is looked for among the containers first, then among the images. With a transport (docker://, oci:) the
/// image there is shown without copying it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  conex inspect web
  conex inspect --format '{{.State.Status}} {{.State.Pid}}' web
  conex inspect --type image --format '{{json .Config.Env}}' alpine
  conex inspect docker://quay.io/org/app:1")]
pub(crate) struct Args {
    /// Containers, images, or places
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Look among these only
    #[arg(short = 't', long = "type", value_enum, default_value = "all")]
    kind: Kind,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// `--type`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    All,
    Container,
    Image,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, session: &Session) -> CommandResult {
    let engine = session.engine_for(&args.registry)?;
    let mut found = Vec::new();
    for name in &args.names {
        found.push(describe(&engine, name, args, session).context(|| format!("inspect {name}"))?);
    }
    match args.format.as_deref() {
        None | Some("json") => output::print(&output::pretty(&Value::Array(found)))?,
        Some(format) => {
            for value in &found {
                output::print(&template::render_line(format, value)?)?;
            }
        }
    }
    Ok(0)
}

fn describe(engine: &Engine, name: &str, args: &Args, session: &Session) -> Result<Value, CommandError> {
    if name.starts_with("docker://") || name.starts_with("oci:") {
        return remote_inspect::merged_view(engine, name, &session.registry(&args.registry)?, true);
    }
    if args.kind != Kind::Image {
        match container::find(engine, name) {
            Ok(container) => return describe_container(engine, &container),
            Err(error) if error.kind() == ErrorKind::NotFound && args.kind == Kind::All => {}
            Err(error) => return Err(error.into()),
        }
    }
    match image::find(engine, name) {
        Ok(found) => Ok(describe_image(&found)),
        Err(error) if error.kind() == ErrorKind::NotFound && args.kind == Kind::All => {
            Err(CommandError::not_found("no container and no image of that name")
                .with_hint("`conex ps -a` and `conex images` show what there is"))
        }
        Err(error) => Err(error.into()),
    }
}

fn describe_container(engine: &Engine, container: &container::Container) -> Result<Value, CommandError> {
    let record = container.required_record()?;
    let state = container.state(&record, &engine.settings.run_root)?;
    let config = std::fs::read(container.path.join("config.json")).context(|| "config.json")?;
    let config: Value =
        serde_json::from_slice(&config).map_err(|error| CommandError::tool(error.to_string()))?;
    let process = &config["process"];
    let pid = match state.is_running() {
        true => engine.runtime_of(&record).status(&record.id)?.map_or(0, |(_, pid)| pid),
        false => 0,
    };
    let exit = match &state {
        State::Exited(exit) => exit.clone(),
        _ => None,
    };
    let (program, arguments) = record.args.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    Ok(json!({
        "Id": record.id,
        "Name": record.name,
        "Created": record.created,
        "Path": program,
        "Args": arguments,
        "State": {
            "Status": state.word(),
            "Running": state == State::Running,
            "Paused": state == State::Paused,
            "OOMKilled": exit.as_ref().is_some_and(|exit| exit.oom),
            "Pid": pid,
            "ExitCode": exit.as_ref().map_or(0, |exit| i32::from(exit.code)),
            "StartedAt": record.started,
            "FinishedAt": exit.map(|exit| exit.finished),
        },
        "Image": record.image_id,
        "ImageName": record.image,
        "OCIRuntime": record.runtime,
        "OCIConfigPath": container.path.join("config.json"),
        "LogPath": container.path.join("log"),
        "HostnamePath": container.path.join("etc/hostname"),
        "HostsPath": container.path.join("etc/hosts"),
        "ResolvConfPath": container.path.join("etc/resolv.conf"),
        "Mounts": mounts(&config),
        "Config": {
            "Hostname": config["hostname"],
            "User": format!("{}:{}", process["user"]["uid"], process["user"]["gid"]),
            "Tty": record.terminal,
            "OpenStdin": record.stdin,
            "Env": process["env"],
            "Cmd": record.args,
            "WorkingDir": process["cwd"],
            "Labels": record.labels,
            "StopSignal": record.stop_signal,
            "StopTimeout": record.stop_timeout,
        },
        "HostConfig": {
            "AutoRemove": record.auto_remove,
            "NetworkMode": record.network.word(),
            "Runtime": record.runtime,
            "ReadonlyRootfs": config["root"]["readonly"] == true,
        },
        "NetworkSettings": { "Networks": {}, "IPAddress": "" },
    }))
}

/// The binds that the command line asked for: not those of the container's own directory.
fn mounts(config: &Value) -> Vec<Value> {
    let all = config["mounts"].as_array().cloned().unwrap_or_default();
    let own = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/sys"];
    let wanted = all.into_iter().filter(|mount| {
        mount["type"] == "bind" && mount["destination"].as_str().is_none_or(|target| !own.contains(&target))
    });
    wanted
        .map(|mount| {
            let read_only =
                mount["options"].as_array().is_some_and(|options| options.iter().any(|o| o == "ro"));
            json!({
                "Type": "bind", "Source": mount["source"], "Destination": mount["destination"],
                "Options": mount["options"], "RW": !read_only,
            })
        })
        .collect()
}

fn describe_image(found: &Found) -> Value {
    let image = &found.image;
    let config = &image.config;
    let repository = found.name.split('@').next().unwrap_or_default();
    let without_tag = repository.rsplit_once(':').map_or(repository, |(name, _)| name);
    json!({
        "Id": image.id(),
        "Digest": found.descriptor.digest,
        "RepoTags": [found.name],
        "RepoDigests": [format!("{without_tag}@{}", found.descriptor.digest)],
        "Created": config.created,
        "Author": config.author.as_deref().unwrap_or_default(),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.manifest.layers.iter().map(|layer| layer.size).sum::<u64>(),
        "Config": config.config,
        "Labels": config.config.labels,
        "RootFS": { "Type": "layers", "Layers": config.rootfs.diff_ids },
        "ManifestType": image.raw.descriptor.media_type,
        "History": config.history,
    })
}
