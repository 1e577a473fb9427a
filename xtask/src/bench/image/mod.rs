// SPDX-License-Identifier: Apache-2.0
//! Images at rest and in motion: unpacked, copied, listed, beside the tools that do the same and floors of plain
//! `cp`, `gzip`, `sha256sum` and `tar`.
//!
//! On a tmpfs of its own: ext4 visits the inodes that were deleted in the last seconds one by one, so the second
//! unpack of a similar tree would pay for the first one's removal.

mod images;
mod places;
mod races;

use std::path::PathBuf;

use anyhow::Result;

use super::Bench;
use super::table::compare;
use images::Images;
use places::Places;

pub fn main(bench: &Bench) -> Result<()> {
    let rounds = bench.order.rounds.unwrap_or(3);
    bench.in_memory("8g", |memory| race(bench, memory, rounds))
}

fn race(bench: &Bench, memory: PathBuf, rounds: usize) -> Result<()> {
    let images = Images::make()?;
    let places = Places::new(bench, memory);
    for (name, layout) in [
        ("toolchain, gzip", &images.toolchain),
        ("toolchain, zstd", &images.zstd),
        ("50,000 small files", &images.files),
        ("100 layers", &images.layers),
    ] {
        let title = format!("unpack of a local image: {name}, {:.0} MB", images::bytes(layout)? as f64 / 1e6);
        compare(&title, &bench.bill, rounds, &races::unpack(&places, layout))?;
    }
    let registry = places.registry(&images.toolchain)?;
    compare("registry to a bundle: toolchain", &bench.bill, rounds, &races::bundle(&places, &registry))?;
    compare(
        "registry to OCI layout: toolchain",
        &bench.bill,
        rounds,
        &races::fetch(&places, &registry, &images.toolchain),
    )?;
    compare(
        "OCI layout to registry, everything there already",
        &bench.bill,
        rounds * 3,
        &races::push_again(&places, &registry, &images.toolchain),
    )?;
    compare(
        "OCI layout to registry, another repository has all blobs",
        &bench.bill,
        rounds * 3,
        &races::push_mountable(&places, &registry, &images.toolchain),
    )?;
    compare(
        "OCI layout to an empty registry",
        &bench.bill,
        rounds,
        &races::push_all(&places, &images.toolchain),
    )?;
    compare("inspect docker://", &bench.bill, rounds * 3, &races::inspect(&places, &registry))?;
    places.fill_store(&images.layers, 10_000)?;
    let names = places.store();
    compare("images, 10,000 names of one", &bench.bill, rounds * 3, &races::list(&places, &names))?;
    let different = places.memory.join("different");
    images::many_images(&different, 10_000)?;
    compare("images, 10,000 different ones", &bench.bill, rounds * 3, &races::list(&places, &different))?;
    races::requests(&places, &images.toolchain)
}
