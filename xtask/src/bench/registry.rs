// SPDX-License-Identifier: Apache-2.0
//! The registry from its clients' side: `conex registry serve` against Debian's docker-registry. Clients are curl, so that
//! the difference is the servers'; a server's processor time and memory are the kernel's account of its process.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use conex_testkit::Run;
use conex_testkit::server::Registry;

use super::Bench;

/// Blobs of an image, and their size.
const BLOBS: usize = 5;
const SIZE: u64 = 100 << 20;
/// Requests for a manifest.
const HEADS: usize = 10_000;

/// `$R` is the registry's address, `$B` the blobs' directory: each blob is called by its digest.
const PUSH: &str = "for blob in $B/*; do d=$(basename $blob); \
    to=$(curl -s -D - -o /dev/null -X POST http://$R/v2/app/blobs/uploads/ | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p'); \
    case $to in http*) ;; *) to=http://$R$to ;; esac; case $to in *'?'*) to=\"$to&\" ;; *) to=\"$to?\" ;; esac; \
    curl -sf -o /dev/null -T $blob \"${to}digest=sha256:$d\" || exit 1; done";
const PULL: &str = "for blob in $B/*; do curl -sf -o /dev/null http://$R/v2/app/blobs/sha256:$(basename $blob) || exit 1; done";
/// Four connections.
const HEAD: &str =
    "for n in 1 2 3 4; do curl -sf -I -o /dev/null \"http://$R/v2/app/manifests/v1?[1-$H]\" & done; wait";

pub fn main(bench: &Bench) -> Result<()> {
    let rounds = bench.order.rounds.unwrap_or(5);
    bench.in_memory("4g", |memory| race(bench, &memory, rounds))
}

fn race(bench: &Bench, memory: &Path, rounds: usize) -> Result<()> {
    let blobs = memory.join("blobs");
    let make = "mkdir \"$B\" && cd \"$B\" && for n in $(seq $N); do head -c $S /dev/urandom > new; mv new $(sha256sum new | cut -d' ' -f1); done";
    let mut command = bench.sandbox.command("sh");
    command.args(["-c", make]).env("B", &blobs).env("N", BLOBS.to_string()).env("S", SIZE.to_string());
    command.run().success();
    let mut samples = vec![Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (at, samples) in samples.iter_mut().enumerate() {
            samples.push(round(bench, &blobs, at)?);
        }
    }
    print(&samples);
    Ok(())
}

/// What a phase cost.
#[derive(Clone, Copy, Default)]
struct Cost {
    wall: f64,
    /// The server's, seconds.
    cpu: f64,
    /// The server's peak so far, KiB.
    rss: f64,
}

const PHASES: [(&str, &str); 3] =
    [("push of 5 blobs, 500 MB", PUSH), ("pull of them", PULL), ("10,000 HEADs of a manifest", HEAD)];

/// A fresh server, and the phases one after another.
fn round(bench: &Bench, blobs: &Path, at: usize) -> Result<[Cost; 3]> {
    let sandbox = &bench.sandbox;
    let registry = match at {
        0 => Registry::conex(sandbox),
        _ => Registry::debian(sandbox).map_err(anyhow::Error::msg::<String>)?,
    };
    let mut costs = [Cost::default(); 3];
    for ((name, script), cost) in PHASES.iter().zip(&mut costs) {
        if *script == HEAD {
            manifest(bench, &registry, blobs)?;
        }
        let (began, before) = (Instant::now(), cpu(registry.id())?);
        let mut command = sandbox.command("sh");
        command
            .args(["-c", script])
            .env("R", &registry.address)
            .env("B", blobs)
            .env("H", (HEADS / 4).to_string());
        let done = command.run();
        anyhow::ensure!(done.status.success(), "{name}: {done}");
        let wall = began.elapsed().as_secs_f64();
        *cost = Cost { wall, cpu: (cpu(registry.id())? - before).as_secs_f64(), rss: peak(registry.id())? };
    }
    Ok(costs)
}

/// Gives the image a manifest: its first blob stands for the configuration.
fn manifest(bench: &Bench, registry: &Registry, blobs: &Path) -> Result<()> {
    let mut names: Vec<_> = fs::read_dir(blobs)?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    let descriptor = |name: &std::ffi::OsString, kind: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"sha256:{}","size":{SIZE}}}"#,
            name.display()
        )
    };
    let layers: Vec<_> = names[1..].iter().map(|name| descriptor(name, "layer.v1.tar")).collect();
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}]}}"#,
        descriptor(&names[0], "config.v1+json"),
        layers.join(",")
    );
    let file = bench.sandbox.path("manifest");
    fs::write(&file, text)?;
    let mut command = bench.sandbox.command("curl");
    command.args(["-sf", "-H", "content-type: application/vnd.oci.image.manifest.v1+json", "-T"]).arg(&file);
    command.arg(format!("http://{}/v2/app/manifests/v1", registry.address)).run().success();
    Ok(())
}

/// Processor time of a process and its threads, proc(5).
fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).context("stat");
    // utime and stime, in hundredths of a second.
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

fn peak(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

fn print(samples: &[Vec<[Cost; 3]>]) {
    println!("\n### registry, medians of {} rounds\n", samples[0].len());
    println!("| | conex: wall s, cpu s, peak MiB | docker-registry | its wall, cpu, memory over conex' |");
    println!("|---|---|---|---|");
    for (at, (name, _)) in PHASES.iter().enumerate() {
        let of = |which: usize, figure: fn(&Cost) -> f64| {
            let mut figures: Vec<_> = samples[which].iter().map(|costs| figure(&costs[at])).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        let row = |which| (of(which, |c| c.wall), of(which, |c| c.cpu), of(which, |c| c.rss) / 1024.0);
        let ((wall, cpu, rss), (theirs, their_cpu, their_rss)) = (row(0), row(1));
        println!(
            "| {name} | {wall:.2}, {cpu:.2}, {rss:.1} | {theirs:.2}, {their_cpu:.2}, {their_rss:.1} | {:.2}, {:.2}, {:.2} |",
            theirs / wall,
            their_cpu / cpu.max(0.01),
            their_rss / rss
        );
    }
}
