// SPDX-License-Identifier: Apache-2.0
//! Where contestants work: a fresh directory for each round, registries, and how each tool is started there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use conex_testkit::server::Registry;
use conex_testkit::{Run, require};

use super::images::{self, TAG};
use crate::bench::Bench;
use crate::bench::sample::Contestant;

/// See the module.
pub struct Places<'a> {
    pub bench: &'a Bench,
    pub memory: PathBuf,
}

impl<'a> Places<'a> {
    pub fn new(bench: &'a Bench, memory: PathBuf) -> Self {
        Self { bench, memory }
    }

    /// A program of the host, started in the sandbox.
    pub fn peer(&self, name: &str) -> Command {
        let program = require::program(name).unwrap_or_else(|_| name.into());
        let mut command = self.bench.sandbox.command(program);
        command.env("PATH", require::HOST_PATH.join(":"));
        command
    }

    /// A line of shell. It finds the round's directory, not made yet, in `$D`.
    pub fn shell(&self, place: &Path, line: &str) -> Command {
        let mut command = self.peer("sh");
        command.args(["-ec", line]).env("D", place);
        command
    }

    pub fn conex(&self, store: &Path) -> Command {
        let mut command = self.bench.sandbox.command(self.bench.sandbox.programs_directory().join("conex"));
        command.arg("--root").arg(store);
        command
    }

    /// The store of the listing.
    pub fn store(&self) -> PathBuf {
        self.memory.join("store")
    }

    pub fn fill_store(&self, layout: &Path, names: usize) -> Result<()> {
        let mut copy = self.conex(&self.store());
        copy.args(["copy", "--quiet"]);
        images::many_names(copy, &self.store(), layout, names)
    }

    /// Debian's registry; its storage lies beside the rounds' places.
    pub fn empty_registry(&self) -> Result<Registry> {
        let registry = Registry::debian(&self.bench.sandbox).map_err(anyhow::Error::msg)?;
        self.bench.sandbox.map_registries(&[], &registry.address);
        Ok(registry)
    }

    /// The same with an image in it.
    pub fn registry(&self, layout: &Path) -> Result<Registry> {
        let registry = self.empty_registry()?;
        let mut push = self.peer("skopeo");
        push.args(["copy", "--insecure-policy", "--dest-tls-verify=false"]).arg(source(layout));
        let pushed = push.arg(format!("docker://{}", name(&registry))).run();
        pushed.status.success().then_some(registry).context(pushed.stderr)
    }

    /// One who works in a fresh directory each round, which is removed afterwards.
    pub fn contestant(
        &'a self,
        name: &'static str,
        command: impl Fn(&Path, usize) -> Command + 'a,
    ) -> Contestant<'a> {
        let place = move |round| self.memory.join(format!("{}-{round}", name.replace(' ', "-")));
        Contestant {
            name,
            user: None,
            command: Box::new(move |round| command(&place(round), round)),
            after: Box::new(move |round| {
                let place = place(round);
                let overlay = place.join("root/overlay");
                let _ = Command::new("umount").arg(overlay).stderr(Stdio::null()).status();
                let _ = fs::remove_dir_all(place);
            }),
        }
    }
}

/// The image of a layout, as all tools spell it.
pub fn source(layout: &Path) -> String {
    format!("oci:{}:{TAG}", layout.display())
}

/// The image in a registry.
pub fn name(registry: &Registry) -> String {
    format!("{}/debian:{TAG}", registry.address)
}
