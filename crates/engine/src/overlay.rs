// SPDX-License-Identifier: Apache-2.0
//! Layers as one file system: the overlay mount that a snapshot describes.

use std::collections::HashSet;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use conex_image::snapshot::Snapshot;
use conex_sys::mount::{self, Attributes, Overlay};

use crate::{Result, Wrap as _};

/// Mounts the layers at `target`, in the caller's mount namespace; what is written goes to `upper`. `work` is
/// overlayfs' own, on the same file system.
pub fn mount(snapshot: &Snapshot, upper: &Path, work: &Path, target: &Path) -> Result<()> {
    let lower = once(&snapshot.lower);
    // What is written shall be a layer by itself, whatever this kernel's defaults are: whole files where they are.
    let options: &[&str] = match snapshot.userxattr {
        true => &["userxattr"],
        false => &["redirect_dir=off", "metacopy=off"],
    };
    let overlay = Overlay { lower: &lower, upper: Some((upper, work)), options };
    let mounted = overlay.mount(Attributes::empty()).wrap(|| "mount the layers")?;
    let target = mount::open_dir(target)?;
    Ok(mount::attach(mounted.as_fd(), target.as_fd())?)
}

/// The layers, top first, each where it is seen first: overlayfs takes no directory twice, and whatever a layer says below
/// itself it has said already. Two commands that change nothing, for one, make the same layer.
fn once(layers: &[PathBuf]) -> Vec<&Path> {
    let mut seen = HashSet::new();
    layers.iter().map(AsRef::as_ref).filter(|layer| seen.insert(*layer)).collect()
}
