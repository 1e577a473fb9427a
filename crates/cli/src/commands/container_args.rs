// SPDX-License-Identifier: Apache-2.0
//! What `run` and `create` share: what the container shall be, as typed, and as the engine wants it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use conex_engine::container::{ExtraHost, Limits, Network, Options, Security};
use conex_engine::image::{self, PullPolicy};
use conex_engine::{Engine, terminal, volume};
use conex_spec::image::Platform;

use super::platform::parse_platform;
use crate::error::{CommandError, Context as _};
use crate::output::units;
use crate::session::{RegistryArgs, Session};

/// A container, as typed.
#[derive(Args, Clone, Debug)]
pub(super) struct ContainerArgs {
    /// Keep stdin open
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Its name [default: a made-up one]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Set a variable; a name alone takes the value from here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Set the variables in a file of NAME=VALUE lines
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Show it a directory or file, or a named volume: SOURCE:TARGET[:ro]
    #[arg(short, long, value_name = "VOLUME")]
    volume: Vec<String>,
    /// An empty file system in memory: PATH[:OPTIONS]
    #[arg(long, value_name = "TMPFS")]
    tmpfs: Vec<String>,
    /// Run as USER[:GROUP], names or numbers
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Start in this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// In place of the image's entrypoint: a word, or a JSON array of words
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Its host name [default: its short id]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// One more line for its /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<String>,
    /// none: only a loopback interface. host: the host's network, unprotected
    #[arg(long, alias = "net", value_name = "NETWORK", default_value = "none")]
    network: String,
    /// A label, for people and filters
    #[arg(short, long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Pull the image: missing, always, never
    #[arg(long, value_enum, value_name = "WHEN", default_value = "missing")]
    pull: Pull,
    /// The image's platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = parse_platform)]
    platform: Option<Platform>,
    /// What `stop` sends first
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds between that and SIGKILL
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u64>,
    /// Write the container's id to a file that is not there yet
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,
    #[command(flatten)]
    walls: Walls,
    #[command(flatten)]
    resources: ResourceArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    /// The image, and the program to run in place of the image's
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, value_name = "IMAGE [COMMAND [ARG]]")]
    image_and_command: Vec<String>,
}

/// What it may do.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Security")]
struct Walls {
    /// Give it a capability (NET_ADMIN), or ALL
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    cap_add: Vec<String>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    cap_drop: Vec<String>,
    /// All capabilities, no seccomp filter, nothing masked
    #[arg(long)]
    privileged: bool,
    /// Its root file system cannot be written to
    #[arg(long)]
    read_only: bool,
    /// seccomp=unconfined, no-new-privileges
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
}

/// How much it gets.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Limits")]
struct ResourceArgs {
    /// Memory: 512m, 1.5g
    #[arg(short, long, value_name = "SIZE", value_parser = units::parse_size)]
    memory: Option<u64>,
    /// Processes, -1 for no limit
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// CPUs: 1.5
    #[arg(long, value_name = "N")]
    cpus: Option<f64>,
}

/// `--pull`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Pull {
    Missing,
    Always,
    Never,
}

impl Pull {
    /// In the engine's words.
    pub(super) fn policy(self) -> PullPolicy {
        match self {
            Self::Missing => PullPolicy::Missing,
            Self::Always => PullPolicy::Always,
            Self::Never => PullPolicy::Never,
        }
    }
}

impl ContainerArgs {
    /// The image's name as typed.
    pub(super) fn image(&self) -> &str {
        self.image_and_command.first().map_or("", String::as_str)
    }

    /// The engine, with this image's registry options.
    pub(super) fn engine(&self, session: &Session) -> Result<Engine, CommandError> {
        session.engine_for(&self.registry)
    }

    /// Whether a terminal is asked for.
    pub(super) fn terminal(&self) -> bool {
        self.tty
    }

    /// Whether stdin is.
    pub(super) fn interactive(&self) -> bool {
        self.interactive
    }

    /// Brings the image where it is missing, and returns everything in the engine's words.
    pub(super) fn options(
        &self,
        session: &Session,
        engine: &Engine,
        quiet: bool,
    ) -> Result<Options, CommandError> {
        let mut options = self.typed(session)?;
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        let progress = session.progress(quiet);
        options.image =
            image::ensure(engine, self.image(), self.pull.policy(), &platform, progress.as_ref())?;
        Ok(options)
    }

    fn typed(&self, session: &Session) -> Result<Options, CommandError> {
        let cwd = std::env::current_dir().context(|| "the current directory")?;
        let volumes = self.volume.iter().map(|text| volume::parse(text, &cwd)).collect::<Result<_, _>>()?;
        Ok(Options {
            image: String::new(),
            name: self.name.clone(),
            command: self.image_and_command.iter().skip(1).cloned().collect(),
            entrypoint: self.entrypoint.as_deref().map(words).transpose()?,
            env: self.environment(session)?,
            volumes,
            tmpfs: self.tmpfs.clone(),
            user: self.user.clone(),
            cwd: self.workdir.clone(),
            hostname: self.hostname.clone(),
            extra_hosts: self.add_host.iter().map(|text| extra_host(text)).collect::<Result<_, _>>()?,
            network: network(&self.network)?,
            terminal: self.tty,
            terminal_size: if self.tty { terminal::size(std::io::stdin().as_fd()).ok() } else { None },
            stdin: self.interactive,
            auto_remove: false,
            labels: self.label.iter().map(|text| pair(text)).collect::<BTreeMap<_, _>>(),
            security: self.walls.security()?,
            limits: self.resources.limits()?,
            stop_signal: self.stop_signal.clone(),
            stop_timeout: self.stop_timeout,
        })
    }

    /// Files first, then the command line, so that the latter wins.
    fn environment(&self, session: &Session) -> Result<Vec<String>, CommandError> {
        let mut lines = Vec::new();
        for path in &self.env_file {
            let text = std::fs::read_to_string(path).context(|| path.display().to_string())?;
            let kept = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.extend(kept.map(str::to_owned));
        }
        lines.extend(self.env.iter().cloned());
        resolve_environment(session, &lines)
    }
}

/// `NAME=VALUE` stays; `NAME` takes the value that it has here, and goes where it has none.
pub(super) fn resolve_environment(session: &Session, lines: &[String]) -> Result<Vec<String>, CommandError> {
    let mut resolved = Vec::new();
    for line in lines {
        match line.split_once('=') {
            Some(("", _)) => return Err(CommandError::usage(format!("variable {line:?} has no name"))),
            Some(_) => resolved.push(line.clone()),
            None => {
                let here = session.environment.variable(line).and_then(|value| value.into_string().ok());
                resolved.extend(here.map(|value| format!("{line}={value}")));
            }
        }
    }
    Ok(resolved)
}

impl Walls {
    fn security(&self) -> Result<Security, CommandError> {
        let mut security = Security {
            add: self.cap_add.clone(),
            drop: self.cap_drop.clone(),
            privileged: self.privileged,
            read_only: self.read_only,
            ..Security::default()
        };
        for option in &self.security_opt {
            match option.as_str() {
                "seccomp=unconfined" | "seccomp:unconfined" => security.unconfined = true,
                "no-new-privileges" | "no-new-privileges=true" | "no-new-privileges:true" => {
                    security.no_new_privileges = true;
                }
                "label=disable" | "label:disable" | "apparmor=unconfined" | "apparmor:unconfined" => {}
                other => {
                    return Err(CommandError::usage(format!("--security-opt {other:?} is not there yet"))
                        .with_hint("there are seccomp=unconfined and no-new-privileges"));
                }
            }
        }
        Ok(security)
    }
}

impl ResourceArgs {
    fn limits(self) -> Result<Limits, CommandError> {
        let milli = |cpus: f64| {
            if !cpus.is_finite() || cpus <= 0.0 || cpus > 4096.0 {
                return Err(CommandError::usage(format!(
                    "--cpus {cpus}: expected a number above 0, such as 1.5"
                )));
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the range was checked"
            )]
            let milli = (cpus * 1000.0) as u64;
            Ok(milli.max(10))
        };
        Ok(Limits {
            memory: self.memory,
            pids: self.pids_limit,
            milli_cpus: self.cpus.map(milli).transpose()?,
        })
    }
}

/// `--entrypoint sh`, `--entrypoint '["sh", "-c"]'`, and `--entrypoint ''` for none.
fn words(text: &str) -> Result<Vec<String>, CommandError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.starts_with('[') {
        return serde_json::from_str(text).map_err(|error| {
            CommandError::usage(format!("--entrypoint {text}: not a JSON array of words: {error}"))
        });
    }
    Ok(vec![text.to_owned()])
}

fn extra_host(text: &str) -> Result<ExtraHost, CommandError> {
    let wrong = || {
        CommandError::usage(format!("--add-host {text:?}: expected NAME:ADDRESS"))
            .with_hint("for example --add-host db:10.0.0.2")
    };
    let (name, address) = text.split_once(':').ok_or_else(wrong)?;
    let address: IpAddr = address.trim_matches(['[', ']']).parse().map_err(|_| wrong())?;
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if name.is_empty() || !name.bytes().all(good) {
        return Err(wrong());
    }
    Ok(ExtraHost { name: name.to_owned(), address })
}

fn network(text: &str) -> Result<Network, CommandError> {
    match text {
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        other => Err(CommandError::usage(format!("--network {other:?} is not there yet"))
            .with_hint("there are none (a loopback interface alone) and host (the host's own network)")),
    }
}

fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.to_owned(), value.to_owned())
}
