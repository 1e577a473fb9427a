// SPDX-License-Identifier: Apache-2.0
//! The images of the races, each an OCI layout that is made once and kept in cargo's target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Error, Result};
use conex_testkit::image::{Compression, Image, Layer, Layout};
use conex_testkit::{debian, tar};

use crate::shell;

/// The name of every image in its layout.
pub const TAG: &str = "bench";

/// OCI layouts.
pub struct Images {
    /// Debian with Python and a compiler: six layers, gzip, about 400 MB.
    pub toolchain: PathBuf,
    /// The same with zstd.
    pub zstd: PathBuf,
    /// A layer of 50,000 small files on a small one.
    pub files: PathBuf,
    /// A hundred layers of ten files each.
    pub layers: PathBuf,
}

impl Images {
    pub fn make() -> Result<Self> {
        let kept = shell::target().join("bench-images");
        fs::create_dir_all(&kept)?;
        Ok(Self {
            toolchain: layout(&kept.join("toolchain"), || toolchain(Compression::Gzip))?,
            zstd: layout(&kept.join("zstd"), || toolchain(Compression::Zstd))?,
            files: layout(&kept.join("files"), || Ok(small_files(50_000)))?,
            layers: layout(&kept.join("layers"), || Ok(many_layers(100)))?,
        })
    }
}

/// A layout that is there, or is made beside its name and gets it last.
fn layout(path: &Path, image: impl FnOnce() -> Result<Image>) -> Result<PathBuf> {
    if !path.exists() {
        let unfinished = path.with_extension("unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        Layout::create(&unfinished).add(TAG, &image()?);
        fs::rename(&unfinished, path)?;
    }
    Ok(path.to_owned())
}

fn toolchain(compression: Compression) -> Result<Image> {
    let mut layers: Vec<Layer> = Vec::new();
    for archive in debian::toolchain().map_err(Error::msg)? {
        layers.push(Layer::of_tar(&fs::read(archive)?, compression));
    }
    let of = |entries: &[tar::Entry]| Layer::of_tar(&tar::archive(entries), compression);
    layers.push(of(&[tar::whiteout("usr/share/man"), tar::whiteout("usr/share/locale")]));
    layers.push(of(&[tar::directory("app"), tar::file("app/data", noise(35_000_000)).mode(0o755)]));
    layers.push(of(&[tar::whiteout("usr/share/doc"), tar::file("app/note", "the last layer\n")]));
    Ok(Image::new(layers).cmd(&["/bin/true"]))
}

/// What does not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state: u64 = 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..len.div_ceil(8)).flat_map(|_| next()).take(len).collect()
}

/// As a tree of modules of a JavaScript program lies: many directories, files of about 4 kB.
fn small_files(count: usize) -> Image {
    let words = noise(1 << 20);
    let mut entries = vec![tar::directory("modules")];
    for at in 0..count {
        if at % 20 == 0 {
            entries.push(tar::directory(&format!("modules/package-{:04}", at / 20)));
        }
        let start = (at * 997) % (1 << 19);
        // Half noise, half text: compresses as sources do.
        let mut content = words[start..start + 900].to_vec();
        content.extend("const conex = require('conex');\n".repeat(at % 180).bytes());
        entries.push(tar::file(&format!("modules/package-{:04}/module-{:02}.js", at / 20, at % 20), content));
    }
    let base = Layer::new(&[tar::directory("etc"), tar::file("etc/passwd", "root:x:0:0::/:/bin/sh\n")]);
    Image::new(vec![base, Layer::new(&entries)]).cmd(&["/bin/true"])
}

fn many_layers(count: usize) -> Image {
    let layer = |at: usize| {
        let file = |file: usize| tar::file(&format!("srv/{at}/{file}"), noise(2000 + file * 100));
        let mut entries = vec![tar::directory("srv"), tar::directory(&format!("srv/{at}"))];
        entries.extend((0..10).map(file));
        Layer::new(&entries)
    };
    Image::new((0..count).map(layer).collect()).cmd(&["/bin/true"])
}

/// Bytes of all blobs.
pub fn bytes(layout: &Path) -> Result<u64> {
    let blobs = fs::read_dir(layout.join("blobs/sha256"))?;
    blobs.map(|blob| Ok(blob?.metadata()?.len())).sum()
}

/// A store with many names of one small image.
pub fn many_names(mut copy: Command, store: &Path, layout: &Path, count: usize) -> Result<()> {
    copy.arg(format!("oci:{}:{TAG}", layout.display())).arg("store:localhost/one:latest");
    shell::run(&mut copy)?;
    let index = store.join("index.json");
    let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&index)?)?;
    let names = document["manifests"].as_array_mut().expect("an index has manifests");
    let one = names[0].clone();
    for at in 1..count {
        let mut more = one.clone();
        more["annotations"]["org.opencontainers.image.ref.name"] =
            format!("localhost/many/{at}:latest").into();
        names.push(more);
    }
    Ok(fs::write(&index, document.to_string())?)
}

/// A store of so many different images, written as the layout that it is.
pub fn many_images(store: &Path, count: usize) -> Result<()> {
    let layout = Layout::create(store);
    let layer = Layer::new(&[tar::file("a", "a")]);
    layout.write_blob(&layer.digest, &layer.blob);
    let mut index = layout.index();
    let entries = index["manifests"].as_array_mut().expect("an index has manifests");
    for at in 0..count {
        let image = Image::new(vec![layer.clone()]).cmd(&[&at.to_string()]);
        layout.blob(&image.config_bytes());
        let manifest = image.manifest().to_string();
        entries.push(serde_json::json!({
            "mediaType": image.media_type(), "digest": layout.blob(manifest.as_bytes()), "size": manifest.len(),
            "annotations": { "org.opencontainers.image.ref.name": format!("localhost/different/{at}:latest") },
        }));
    }
    layout.write_index(&index);
    Ok(())
}
