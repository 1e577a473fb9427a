// SPDX-License-Identifier: Apache-2.0
//! A real image: Debian's minimal system by debootstrap, and three layers on top that use everything the layer
//! format has: whiteouts, opaque directories, hard links within and across layers, setuid, xattrs, devices.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::binaries::target_directory;
use crate::image::{Compression, Image, Layer};
use crate::require::{Requirement, program, root};
use crate::run::Run;
use crate::tar::{self, Entry, Kind};

/// Four layers, of which two are stored as told; runs `cat /etc/debian_version` unless told otherwise.
pub fn image(stored: Compression) -> Requirement<Image> {
    let base = fs::read(base_archive()?).map_err(|error| error.to_string())?;
    let layers = vec![
        Layer::of_tar(&base, Compression::Gzip),
        Layer::new(&changes()),
        Layer::of_tar(&tar::archive(&hidings()), stored),
        Layer::of_tar(&tar::archive(&replacements()), stored),
    ];
    Ok(Image::new(layers).cmd(&["cat", "/etc/debian_version"]))
}

/// What a package's installation looks like: files with capabilities, links, other owners.
fn changes() -> Vec<Entry> {
    // A vfs_cap_data of revision 2: cap_net_bind_service, permitted and effective.
    const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    vec![
        tar::directory("opt/tool").owner(12, 34),
        tar::file("opt/tool/serve", "#!/bin/sh\nexec sleep inf\n")
            .mode(0o755)
            .xattr("security.capability", CAPABILITY),
        tar::hardlink("opt/tool/serve-again", "opt/tool/serve"),
        tar::file("opt/tool/become-root", "x".repeat(70_000)).mode(0o4755),
        tar::file("opt/tool/become-group", "").mode(0o2711).owner(0, 50),
        tar::file("opt/tool/noted", "n").xattr("user.note", b"two\nlines\0and more"),
        // Into the layer below: another name for a file that this layer does not bring.
        tar::hardlink("usr/bin/printenv-again", "usr/bin/printenv"),
        tar::symlink("opt/dangling", "/nowhere/at/all").owner(7, 8),
        tar::symlink("opt/absolute", "/etc"),
        tar::directory("opt/sticky").mode(0o1777).mtime(1_000_000_000),
        tar::file(&format!("opt/{}/{}", "d".repeat(120), "f".repeat(120)), "a long way\n"),
        tar::file("opt/big-owner", "").owner(2_500_000, 3_000_000),
        tar::fifo("opt/pipe").mode(0o600),
        Entry::new("opt/null", Kind::Character(1, 3), 0o666),
    ]
}

/// Files taken away one by one and a directory at a time.
fn hidings() -> Vec<Entry> {
    vec![
        tar::whiteout("etc/issue"),
        tar::whiteout("opt/tool/noted"),
        tar::whiteout("usr/share/man"),
        tar::directory("usr/share/doc"),
        tar::opaque("usr/share/doc"),
        tar::file("usr/share/doc/README", "all that is left\n"),
        // The order within a layer does not matter: what this layer brings stays.
        tar::directory("usr/share/locale").mtime(1_500_000_000),
        tar::file("usr/share/locale/kept", "brought by this layer\n"),
        tar::opaque("usr/share/locale"),
    ]
}

/// One kind of file in the place of another.
fn replacements() -> Vec<Entry> {
    vec![
        tar::file("opt/sticky", "was a directory\n"),
        tar::directory("opt/pipe"),
        tar::file("opt/pipe/inside", "was a pipe\n"),
        tar::symlink("opt/null", "/dev/null"),
        tar::whiteout("opt/absolute"),
        tar::file("usr/share/doc/README", "changed once more\n").mode(0o640),
    ]
}

/// The minimal system as a tar archive, made once and kept in cargo's target directory.
fn base_archive() -> Requirement<PathBuf> {
    let kept = target_directory().join("debian").join("base.tar");
    if kept.exists() {
        return Ok(kept);
    }
    root()?;
    let debootstrap = program("debootstrap")?;
    let (site, release) = mirror()?;
    let directory = kept.parent().expect("it has one");
    fs::create_dir_all(directory).map_err(|error| error.to_string())?;
    let scratch = tempfile::tempdir_in(directory).map_err(|error| error.to_string())?;
    let tree = scratch.path().join("tree");
    let mut bootstrap = Command::new(debootstrap);
    bootstrap.args(["--variant=minbase", "--merged-usr", &release]).arg(&tree).arg(&site);
    let made = bootstrap.run_with(b"", Duration::from_secs(600));
    if !made.status.success() {
        return Err(format!("debootstrap: {}", made.stdout.lines().last().unwrap_or(made.stderr.trim())));
    }
    let archive = scratch.path().join("base.tar");
    pack(&tree, &archive)?;
    fs::rename(&archive, &kept).map_err(|error| error.to_string())?;
    Ok(kept)
}

fn pack(tree: &Path, archive: &Path) -> Requirement {
    let mut tar = Command::new(program("tar")?);
    tar.args([
        "--create",
        "--format=pax",
        "--numeric-owner",
        "--sort=name",
        "--xattrs",
        "--xattrs-include=*",
    ]);
    tar.args(["--pax-option=delete=atime,delete=ctime", "--exclude=./var/cache/apt/*", "--exclude=./dev/*"]);
    let packed = tar.arg("--file").arg(archive).arg("--directory").arg(tree).arg(".").run();
    if packed.status.success() { Ok(()) } else { Err(packed.stderr) }
}

/// Debian with Python and pip, then with a C and a C++ compiler: three layers as tar archives, the lowest first, made
/// once and kept in cargo's target directory.
pub fn toolchain() -> Requirement<[PathBuf; 3]> {
    let kept = target_directory().join("debian").join("toolchain");
    let layers = ["1.tar", "2.tar", "3.tar"].map(|name| kept.join(name));
    if !layers[2].exists() {
        root()?;
        program("debootstrap")?;
        let (site, release) = mirror()?;
        let _ = fs::remove_dir_all(&kept);
        fs::create_dir_all(&kept).map_err(|error| error.to_string())?;
        let mut make = Command::new(program("unshare")?);
        make.args(["--mount", "sh", "-ec", include_str!("toolchain.sh"), "sh"])
            .arg(&kept)
            .args([release, site]);
        let made = make.run_with(b"", Duration::from_secs(1800));
        if !made.status.success() {
            return Err(format!("{} {}", made.stdout, made.stderr));
        }
    }
    Ok(layers)
}

/// Where this host gets Debian from, and which release: apt's first index of packages.
pub(crate) fn mirror() -> Requirement<(String, String)> {
    let mut apt = Command::new(program("apt-get")?);
    apt.args([
        "indextargets",
        "--format",
        "$(SITE) $(RELEASE) $(COMPONENT) $(LABEL)",
        "Created-By: Packages",
    ]);
    let listed = apt.run().stdout;
    let plain =
        |line: &&str| line.contains(" main ") && line.contains("Debian") && !line.contains("-security");
    let first = listed.lines().find(plain).ok_or("apt names no Debian mirror")?;
    let mut words = first.split(' ').map(str::to_owned);
    words.next().zip(words.next()).ok_or_else(|| format!("apt says {first:?}"))
}
