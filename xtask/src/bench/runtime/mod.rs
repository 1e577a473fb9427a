// SPDX-License-Identifier: Apache-2.0
//! What a container's life costs: conex-runtime, its peers and the floor, on cgroup v1 and then on v2.
//!
//! Peers are crun, runc and youki from the PATH, or the programs that `CRUN`, `RUNC` and `YOUKI` name; whoever cannot
//! run a container here says why, and is out. The floor (`bench/src/floor.rs`) is a bare program that makes the same
//! namespaces and mounts. Bundles are what `conex-runtime spec` writes; state lies on a tmpfs, as /run is one.

mod counts;
mod growth;
mod scenarios;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use conex_testkit::bundle::Bundle;
use conex_testkit::{busybox, require, seccomp};
use serde_json::Value;

use super::sample::Contestant;
use super::table::compare;
use super::{Bench, machine};
use crate::{dist, shell};

pub fn main(bench: &Bench) -> Result<()> {
    let race = Race::prepare(bench)?;
    let rounds = bench.order.rounds.unwrap_or(30);
    for (title, contestants) in race.scenarios()? {
        compare(&format!("{title} ({})", bench.hierarchy), &bench.bill, rounds, &contestants)?;
    }
    race.end_sleepers()?;
    counts::main(&race)?;
    // Hundreds take too long in a machine, and how directories grow is the same there.
    if !machine::is_here() {
        for (title, contestants) in race.many() {
            let title = format!("{title} ({})", bench.hierarchy);
            compare(&title, &bench.bill, rounds.div_ceil(10), &contestants)?;
        }
        growth::main(&race, rounds)?;
    }
    shell::run(shell::program("umount").arg(bench.sandbox.path("run")))
}

/// Who may take part, and how somebody names another program than the one on the path.
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) variable: &'static str,
}

pub(super) const PEERS: [Known; 3] = [
    Known { name: "crun", variable: "CRUN" },
    Known { name: "runc", variable: "RUNC" },
    Known { name: "youki", variable: "YOUKI" },
];

/// A runtime of the race.
#[derive(Clone, Debug)]
struct Peer {
    name: &'static str,
    program: PathBuf,
}

struct Race<'a> {
    bench: &'a Bench,
    /// Ours first.
    peers: Vec<Peer>,
    floor: PathBuf,
    truth: Bundle,
    /// Without the mount of the container's cgroup.
    bare: Bundle,
    filtered: Option<Bundle>,
    rootless: Bundle,
    sleep: Bundle,
}

/// Who runs the rootless containers.
const USER: u32 = 64_321;

impl<'a> Race<'a> {
    fn prepare(bench: &'a Bench) -> Result<Self> {
        let run = bench.sandbox.path("run");
        shell::run(shell::program("mount").args(["-t", "tmpfs", "-o", "mode=755", "tmpfs"]).arg(&run))?;
        // Where an ordinary user reaches it, too.
        let own = Peer { name: "conex-runtime", program: bench.sandbox.path("conex-runtime") };
        std::fs::copy(dist::build_runtime()?, &own.program)?;
        let bundle =
            |name: &str, flags: &[&str], words: &[&str]| bundle(bench, &own.program, name, flags, words);
        let truth = bundle("true", &[], &["/bin/true"])?;
        let mut filtered = truth.clone();
        let filtered = match seccomp::podmans_profile() {
            Ok(profile) => {
                filtered.path = bundle("filtered", &[], &["/bin/true"])?.path;
                filtered.change(|config| config["linux"]["seccomp"] = profile);
                Some(filtered)
            }
            Err(why) => {
                println!("no scenario with a seccomp profile: {why}");
                None
            }
        };
        let mut bare = bundle("bare", &[], &["/bin/true"])?;
        bare.change(|config| {
            let mounts = config["mounts"].as_array_mut().expect("spec writes a list of mounts");
            mounts.retain(|mount| mount["type"] != "cgroup");
        });
        let mut race = Self {
            bench,
            peers: vec![own.clone()],
            floor: dist::build_one("conex-bench", "conex-floor", "dist")?,
            truth,
            bare,
            filtered,
            rootless: bundle("rootless", &["--rootless"], &["/bin/true"])?,
            sleep: bundle("sleep", &[], &["/bin/sleep", "1000"])?,
        };
        let seven = bundle("seven", &[], &["/bin/sh", "-c", "exit 7"])?;
        let able = |peer: &Peer| -> Result<bool> {
            let output = race
                .command(peer, &["run", "--bundle"])
                .arg(&seven.path)
                .arg(bench.sandbox.id(peer.name))
                .output()?;
            let words = String::from_utf8_lossy(&output.stderr);
            if output.status.code() != Some(7) {
                println!("{} is out, it runs no container here: {}", peer.name, words.trim());
            }
            Ok(output.status.code() == Some(7))
        };
        let mut peers = vec![own];
        for peer in installed() {
            if able(&peer)? {
                peers.push(peer);
            }
        }
        race.peers = peers;
        Ok(race)
    }

    /// The runtime with its state in the sandbox, and the asked-for manager of control groups.
    fn command(&self, peer: &Peer, words: &[&str]) -> Command {
        let mut command = self.bench.sandbox.command(&peer.program);
        command.arg("--root").arg(self.state(peer)).args(self.manager()).args(words);
        command
    }

    fn manager(&self) -> Option<&'static str> {
        self.bench.order.systemd.then_some("--systemd-cgroup")
    }

    fn state(&self, peer: &Peer) -> PathBuf {
        self.bench.sandbox.path("run").join(peer.name)
    }
}

/// The peers there are on this host.
fn installed() -> impl Iterator<Item = Peer> {
    PEERS.into_iter().filter_map(|known| {
        let named = std::env::var_os(known.variable).map(PathBuf::from);
        Some(Peer { name: known.name, program: named.or_else(|| require::program(known.name).ok())? })
    })
}

/// Says who is out, and why.
fn is_able(peer: &Peer, what: &str, prepared: Result<()>) -> bool {
    if let Err(why) = &prepared {
        println!("{} is out of {what}: {why:#}", peer.name);
    }
    prepared.is_ok()
}

/// What `spec` writes, without a terminal and with other words, over a busybox.
fn bundle(bench: &Bench, own: &Path, name: &str, flags: &[&str], words: &[&str]) -> Result<Bundle> {
    let path = bench.sandbox.path(name);
    busybox::rootfs(&path.join("rootfs")).map_err(anyhow::Error::msg)?;
    shell::run(bench.sandbox.command(own).args(["spec", "--bundle"]).arg(&path).args(flags))?;
    let text = std::fs::read(path.join("config.json")).context("what spec wrote")?;
    let mut bundle = Bundle { path, config: serde_json::from_slice::<Value>(&text)? };
    bundle.change(|config| {
        // Debian's crun refuses a later one.
        config["ociVersion"] = "1.0.2".into();
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = words.into();
    });
    if flags.contains(&"--rootless") {
        bundle.change(|config| {
            // The user's own id, not that of whoever wrote the configuration.
            for map in ["uidMappings", "gidMappings"] {
                config["linux"][map][0]["hostID"] = USER.into();
            }
        });
    }
    Ok(bundle)
}

/// A contestant that needs nothing but its command.
fn contestant<'a>(name: &'static str, command: impl Fn(usize) -> Command + 'a) -> Contestant<'a> {
    Contestant { name, user: None, command: Box::new(command), after: Box::new(|_| ()) }
}
