// SPDX-License-Identifier: Apache-2.0
//! A Containerfile to an image, beside Debian's buildah with the same runtime behind RUN: everything done, nothing to do,
//! many files, one large file, a command that writes much, and working containers.
//!
//! On a tmpfs of its own, like `pull`: what was removed a moment ago costs the next round nothing.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use conex_testkit::{Run, busybox, require};

use super::Bench;
use super::sample::Contestant;
use super::table::compare;

/// Files of the many, and MiB of the large one.
const FILES: usize = 20_000;
const LARGE: usize = 512;

const STEPS: &str = "FROM busybox\nCOPY headers /usr/include/\nRUN echo built > /built\nRUN rm -rf /usr/include/5 && touch /gone\n";
const MANY: &str = "FROM busybox\nCOPY many /many/\n";
const BIG: &str = "FROM busybox\nCOPY large /large\n";
const WRITES: &str = "FROM busybox\nRUN dd if=/dev/zero of=/written bs=1M count=512\n";

pub fn main(bench: &Bench) -> Result<()> {
    let rounds = bench.order.rounds.unwrap_or(5);
    bench.in_memory("8g", |memory| Race { bench, memory }.all(rounds))
}

struct Race<'a> {
    bench: &'a Bench,
    memory: PathBuf,
}

impl Race<'_> {
    fn all(&self, rounds: usize) -> Result<()> {
        self.prepare()?;
        let cases = [
            ("FROM, COPY of 2,000 headers, RUN echo, RUN rm: nothing cached", STEPS, Cache::Refused),
            ("the same, all cached", STEPS, Cache::Used),
            ("COPY of 20,000 files: not cached", MANY, Cache::Refused),
            ("the same, unchanged", MANY, Cache::Used),
            ("COPY of 512 MiB: not cached", BIG, Cache::Refused),
            ("the same, unchanged", BIG, Cache::Used),
            ("RUN that writes 512 MiB", WRITES, Cache::Refused),
        ];
        for (title, file, cache) in cases {
            fs::write(self.memory.join("context/Containerfile"), file)?;
            compare(title, &self.bench.bill, rounds, &self.builders(cache))?;
        }
        compare(
            "from, and rm",
            &self.bench.bill,
            rounds,
            &self.scripts("$B from --name c busybox; $B rm c"),
        )?;
        let script = "$B from --name c busybox; $B run $NETWORK c true; $B commit -q c small; $B rm c";
        compare("from, run true, commit, rm", &self.bench.bill, rounds, &self.scripts(script))
    }

    /// The context, and busybox for both.
    fn prepare(&self) -> Result<()> {
        let need = anyhow::Error::msg::<String>;
        let layout = self.bench.sandbox.layout("busybox");
        layout.add("latest", &busybox::image().map_err(need)?);
        let place = format!("oci:{}:latest", layout.path.display());
        self.conex(&["copy", "--quiet", &place, "store:busybox"]).run().success();
        // A layout's path may not be what buildah takes for a name.
        let archive = format!("docker-archive:{}", self.memory.join("busybox.tar").display());
        self.conex(&["copy", "--quiet", &place, &format!("{archive}:localhost/busybox:latest")])
            .run()
            .success();
        self.buildah(&["pull", "--quiet", &archive]).run().success();
        for (name, count) in [("headers", 2000), ("many", FILES)] {
            for number in 0..count {
                let directory = self.memory.join("context").join(name).join((number % 40).to_string());
                fs::create_dir_all(&directory)?;
                fs::write(
                    directory.join(format!("{number}.h")),
                    format!("#define N {number}\n").repeat(100),
                )?;
            }
        }
        let block: Vec<u8> =
            (0..1 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        Ok(fs::write(self.memory.join("context/large"), block.repeat(LARGE))?)
    }

    fn conex(&self, words: &[&str]) -> Command {
        let sandbox = &self.bench.sandbox;
        let mut command = sandbox.command(sandbox.programs_directory().join("conex"));
        command.arg("--root").arg(self.memory.join("conex")).args(words);
        command
    }

    /// Storage as conex has it: native overlay on the same tmpfs.
    fn buildah(&self, words: &[&str]) -> Command {
        let mut command = self.bench.sandbox.command(require::packaged("buildah").unwrap_or_default());
        command.env("PATH", require::HOST_PATH.join(":"));
        for (option, place) in [("--root", "buildah"), ("--runroot", "buildah-run")] {
            command.arg(option).arg(self.memory.join(place));
        }
        command.args(["--storage-driver", "overlay"]).args(words);
        command
    }

    fn builders(&self, cache: Cache) -> Vec<Contestant<'_>> {
        let context = self.memory.join("context");
        let refused: &[&str] = if cache == Cache::Refused { &["--no-cache"] } else { &[] };
        let words = move |more: &[&str]| {
            let mut all = vec!["build", "--quiet", "--tag", "raced"];
            all.extend_from_slice(more);
            all.extend_from_slice(refused);
            all.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let (ours, runtime) = (words(&[]), self.bench.sandbox.programs_directory().join("conex-runtime"));
        let limits = ["--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000"];
        let theirs = words(&[&["--layers", "--isolation", "oci", "--network", "host"], &limits[..]].concat());
        let at = context.clone();
        let conex = contestant("conex build", move |_| {
            let mut command = self.conex(&[]);
            command.args(&ours).arg(&at);
            command
        });
        let buildah = contestant("buildah build", move |_| {
            let mut command = self.buildah(&[]);
            command.args(&theirs).arg("--runtime").arg(&runtime).arg(&context);
            command
        });
        vec![conex, buildah]
    }

    /// The same script by both; `$B` is the builder.
    fn scripts(&self, script: &'static str) -> Vec<Contestant<'_>> {
        let scripted = move |builder: Command, network: &str| {
            let mut command = self.bench.sandbox.command("sh");
            let words = std::iter::once(builder.get_program()).chain(builder.get_args());
            let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
            command.args(["-ec", script]).env("B", words.join(" ")).env("NETWORK", network);
            command
        };
        let conex =
            contestant("conex builder", move |_| scripted(self.conex(&["builder"]), "--network none"));
        let runtime = self.bench.sandbox.programs_directory().join("conex-runtime");
        let network = format!("--isolation oci --network host --runtime {}", runtime.display());
        let buildah = contestant("buildah", move |_| scripted(self.buildah(&[]), &network));
        vec![conex, buildah]
    }
}

/// Whether what was done before counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cache {
    Used,
    Refused,
}

fn contestant<'a>(name: &'static str, command: impl Fn(usize) -> Command + 'a) -> Contestant<'a> {
    Contestant { name, user: None, command: Box::new(command), after: Box::new(|_| ()) }
}
