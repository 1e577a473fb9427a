// SPDX-License-Identifier: Apache-2.0
//! Disks that carry files: into the machine, out of it, and from one boot to the next.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::require::{Requirement, program};
use crate::run::Run;

/// Room that the command has beyond what is shared.
const SPARE: u64 = 512 << 20;

/// A file system with the directory's content.
pub(super) fn image_of(directory: &Path, scratch: &Path) -> Requirement<PathBuf> {
    let image = scratch.join("share.ext4");
    make(&image, "^has_journal", size(directory) * 3 / 2 + SPARE, Some(directory))?;
    Ok(image)
}

/// Makes the surviving disk where there is none.
pub(super) fn survivor(image: &Path) -> Requirement {
    if image.exists() { Ok(()) } else { make(image, "has_journal", SPARE, None) }
}

/// Where the machine writes the archive of its results: sparse, and larger than they will be.
pub(super) fn result(scratch: &Path) -> Requirement<PathBuf> {
    let image = scratch.join("result.tar");
    let made = File::create(&image).and_then(|file| file.set_len(8 << 30));
    made.map(|()| image).map_err(|error| error.to_string())
}

/// Unpacks the archive into `out`; an untouched disk brings nothing.
pub(super) fn bring_back(result: &Path, share: &Path) -> Requirement {
    let mut first = [0; 1];
    File::open(result).and_then(|mut file| file.read_exact(&mut first)).map_err(|error| error.to_string())?;
    if first == [0] {
        return Ok(());
    }
    let out = share.join("out");
    fs::create_dir_all(&out).map_err(|error| error.to_string())?;
    let unpacked = Command::new(program("tar")?)
        .arg("--extract")
        .arg("--file")
        .arg(result)
        .arg("--directory")
        .arg(out)
        .run();
    if unpacked.status.success() { Ok(()) } else { Err(unpacked.stderr) }
}

fn make(image: &Path, journal: &str, size: u64, content: Option<&Path>) -> Requirement {
    let mut mkfs = Command::new(program("mkfs.ext4")?);
    mkfs.args(["-q", "-m", "0", "-O", journal]);
    if let Some(directory) = content {
        mkfs.arg("-d").arg(directory);
    }
    let made = mkfs.arg(image).arg(format!("{}K", size >> 10)).run();
    if made.status.success() { Ok(()) } else { Err(made.to_string()) }
}

/// What the files of a tree take, each rounded up to a block.
fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => 4096 + size(&entry.path()),
            Ok(metadata) => metadata.len().next_multiple_of(4096),
            Err(_) => 0,
        })
        .sum()
}
