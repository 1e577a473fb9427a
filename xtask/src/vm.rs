// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask vm`: a command in a virtual machine, with both programs on its path. What the machine is made of is
//! described in `conex_testkit::vm`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use conex_testkit::binaries;
use conex_testkit::vm::{Machine, Stream, System};

use crate::dist;

/// The command's own exit status; 125 when there is none.
pub fn main(words: &[String]) -> ExitCode {
    match run(words) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("xtask vm: {error:#}");
            ExitCode::from(125)
        }
    }
}

struct Order {
    machine: Machine,
    command: Vec<String>,
    console: bool,
}

fn run(words: &[String]) -> Result<u8> {
    let Order { mut machine, command, console } = parse(words)?;
    machine.programs.extend(programs()?);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let running = machine.boot(&command).map_err(|reason| anyhow!("{reason}"))?;
    let ended = running.end(show).map_err(|reason| anyhow!("{reason}"))?;
    if console {
        eprint!("{}", ended.console);
    }
    Ok(u8::try_from(ended.output.code()).unwrap_or(u8::MAX))
}

fn parse(words: &[String]) -> Result<Order> {
    let mut machine = Machine { limit: Duration::from_secs(3600), ..Machine::default() };
    let mut console = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--kernel" => machine.kernel = Some(value()?.clone()),
            "--debian" => machine.system = System::Debian,
            "--systemd" => machine.system = System::Systemd,
            "--engines" => machine.system = System::Engines,
            "--selinux" => machine.selinux = true,
            "--memory" => machine.memory = value()?.parse().context("--memory: MiB, a number")?,
            "--cpus" => machine.processors = value()?.parse().context("--cpus: a number")?,
            "--limit" => machine.limit = Duration::from_secs(value()?.parse().context("--limit: seconds")?),
            "--append" => machine.parameters.push(value()?.clone()),
            "--share" => machine.share = Some(directory(value()?)?),
            "--disk" => machine.disk = Some(std::path::absolute(value()?)?),
            "--program" => machine.programs.push(std::path::absolute(value()?)?),
            "--console" => console = true,
            "--" => {
                let command: Vec<String> = words.cloned().collect();
                ensure!(!command.is_empty(), "no command behind --");
                return Ok(Order { machine, command, console });
            }
            other => bail!("no option {other:?}; see cargo xtask help"),
        }
    }
    bail!("no command: cargo xtask vm [OPTIONS] -- CMD…")
}

fn directory(word: &str) -> Result<PathBuf> {
    let path = std::path::absolute(word)?;
    ensure!(path.is_dir(), "--share: {word} is no directory");
    Ok(path)
}

/// Those that the environment names, or freshly built ones.
fn programs() -> Result<[PathBuf; 2]> {
    let named = [binaries::CONEX, binaries::RUNTIME].map(std::env::var_os);
    if let [Some(conex), Some(runtime)] = named {
        return Ok([conex.into(), runtime.into()]);
    }
    let built = dist::build()?;
    Ok([built.conex, built.runtime])
}

/// Passes on what the command says, as it says it; a reader that has gone away is no reason to stop.
pub fn show(stream: Stream, said: &[u8]) {
    let _ = match stream {
        Stream::Stdout => std::io::stdout().write_all(said).and_then(|()| std::io::stdout().flush()),
        Stream::Stderr => std::io::stderr().write_all(said),
    };
}
