// SPDX-License-Identifier: Apache-2.0
//! From a registry to unpacked files, and from a registry to a running container.
//!
//! On a tmpfs of its own: ext4 visits the inodes that were deleted in the last seconds one by one, so the second
//! unpack of a similar tree would pay for the first one's removal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use conex_testkit::server::Registry;
use conex_testkit::{Compression, Run, debian, require};

use super::Bench;
use super::sample::Contestant;
use super::table::compare;

pub fn main(bench: &Bench) -> Result<()> {
    let rounds = bench.order.rounds.unwrap_or(5);
    bench.in_memory("6g", |memory| race(bench, memory, rounds))
}

fn race(bench: &Bench, memory: PathBuf, rounds: usize) -> Result<()> {
    let race = Race::prepare(bench, memory)?;
    let bytes = race.bytes;
    let title = format!("registry to unpacked: Debian, 3 layers, {:.1} MB gzip", bytes as f64 / 1e6);
    compare(&title, &bench.bill, rounds, &race.unpackers())?;
    compare("registry to running: pull, unpack, run /bin/true", &bench.bill, rounds, &race.runners())
}

struct Race<'a> {
    bench: &'a Bench,
    memory: PathBuf,
    registry: Registry,
    layout: PathBuf,
    bytes: u64,
}

impl<'a> Race<'a> {
    /// The image in Debian's registry.
    fn prepare(bench: &'a Bench, memory: PathBuf) -> Result<Self> {
        let sandbox = &bench.sandbox;
        let need = anyhow::Error::msg::<String>;
        let registry = Registry::debian(sandbox).map_err(need)?;
        sandbox.map_registries(&[], &registry.address);
        let layout = sandbox.layout("debian");
        let mut image = debian::image(Compression::Gzip).map_err(need)?.cmd(&["/bin/true"]);
        // Its hard link to a file of the layer below is more than Debian's podman can pull.
        image.layers.remove(1);
        layout.add("bench", &image);
        let race = Self { bench, memory, registry, layout: layout.path, bytes: image.blob_bytes() };
        let mut push = race.peer("skopeo").context("skopeo")?;
        push.args(["copy", "--insecure-policy", "--dest-tls-verify=false", "oci:debian:bench"]);
        push.arg(format!("docker://{}", race.name())).run().success();
        Ok(race)
    }

    fn name(&self) -> String {
        format!("{}/debian:bench", self.registry.address)
    }

    /// A fresh directory for a round.
    fn place(&self, name: &str, round: usize) -> PathBuf {
        self.memory.join(format!("{name}-{round}"))
    }

    fn peer(&self, name: &str) -> Option<Command> {
        let mut command = self.bench.sandbox.command(require::program(name).ok()?);
        command.env("PATH", require::HOST_PATH.join(":"));
        Some(command)
    }

    fn conex(&self, store: &Path) -> Command {
        let mut command = self.bench.sandbox.command(self.bench.sandbox.programs_directory().join("conex"));
        command.arg("--root").arg(store);
        command
    }

    fn podman(&self, place: &Path) -> Command {
        let mut command = self.peer("sh").unwrap_or_else(|| Command::new("sh"));
        // The words that every podman command begins with become `$0`'s first arguments.
        let script = "p() { podman --root \"$D/root\" --runroot \"$D/run\" --tmpdir \"$D/tmp\" --cgroup-manager cgroupfs \
             --events-backend file --storage-driver overlay \"$@\"; }; eval \"$1\"";
        command.args(["-c", script, "sh"]).env("D", place).env("IMAGE", self.name());
        command
    }

    fn contestant(&'a self, name: &'static str, command: impl Fn(&Path) -> Command + 'a) -> Contestant<'a> {
        let short = name.split(' ').next().unwrap_or(name);
        Contestant {
            user: None,
            name,
            command: Box::new(move |round| command(&self.place(short, round))),
            after: Box::new(move |round| {
                let place = self.place(short, round);
                let overlay = place.join("root/overlay");
                let _ = Command::new("umount").arg(overlay).stderr(std::process::Stdio::null()).status();
                let _ = fs::remove_dir_all(place);
            }),
        }
    }

    fn unpackers(&'a self) -> Vec<Contestant<'a>> {
        let conex = self.contestant("conex pull", |place| {
            let mut command = self.conex(place);
            command.args(["pull", "--quiet", &self.name()]);
            command
        });
        let podman = self.contestant("podman pull", |place| {
            let mut command = self.podman(place);
            command.arg("p pull --quiet --tls-verify=false \"$IMAGE\"");
            command
        });
        let two = self.contestant("skopeo copy + umoci unpack", |place| {
            let mut command = self.peer("sh").unwrap_or_else(|| Command::new("sh"));
            command.args(["-c", "mkdir \"$D\" && skopeo copy --insecure-policy --quiet --src-tls-verify=false \
                \"docker://$IMAGE\" \"oci:$D/layout:x\" && umoci unpack --image \"$D/layout:x\" \"$D/bundle\""]);
            command.env("D", place).env("IMAGE", self.name());
            command
        });
        let floor = self.contestant("floor: gzip -dc into tar x, from files", |place| {
            let mut command = self.peer("sh").unwrap_or_else(|| Command::new("sh"));
            command.args(["-c", "mkdir \"$D\" && cd \"$D\" && for blob in \"$L\"/blobs/sha256/*; do \
                head -c 2 \"$blob\" | od -An -tx1 | grep -q '1f 8b' || continue; gzip -dc \"$blob\" | tar xf - --exclude='*.wh.*'; done; true"]);
            command.env("D", place).env("L", &self.layout);
            command
        });
        vec![conex, podman, two, floor]
    }

    fn runners(&'a self) -> Vec<Contestant<'a>> {
        let conex = self.contestant("conex run", |place| {
            let mut command = self.conex(place);
            command.args(["run", "--rm", "--quiet", "--network", "none", &self.name()]);
            command
        });
        let podman = self.contestant("podman pull + podman run", |place| {
            let mut command = self.podman(place);
            command.arg(
                "p pull --quiet --tls-verify=false \"$IMAGE\" && p run --rm --network none \
                 --ulimit nofile=1000:1000 --ulimit nproc=1000:1000 \"$IMAGE\"",
            );
            command
        });
        vec![conex, podman]
    }
}
