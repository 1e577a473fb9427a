// SPDX-License-Identifier: Apache-2.0
//! Debian's kernels, from its packages: the small flavour for clouds, in every version that this host's apt offers,
//! and the oldest one that conex promises to run on from the release that has it.

use std::fs;
use std::path::{Path, PathBuf};

use super::cache;
use crate::require::{Requirement, program};

/// Versions that a release of Debian has which is not this host's.
const ELSEWHERE: [(&str, &str); 2] = [("5.10", "bullseye"), ("6.12", "trixie")];
/// What the machine's first program needs to reach its disks and to speak; the kernel loads the rest itself.
const DRIVERS: [&str; 3] = ["virtio_pci", "virtio_blk", "virtio_console"];

/// A kernel, unpacked.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    /// What QEMU boots.
    pub(super) image: PathBuf,
    /// A file system with every module, for `/lib/modules`.
    pub(super) modules: PathBuf,
    /// The modules to load first, in order.
    pub(super) drivers: Vec<PathBuf>,
}

/// The newest kernel of a version (`6.1`), or the one that this host's Debian would install.
pub(super) fn fetch(version: Option<&str>) -> Requirement<Kernel> {
    let directory = cache::kept(&format!("kernel-{}", version.unwrap_or("default")), |directory| {
        unpack(directory, version).and_then(|()| index(directory))
    })?;
    let image = only(&directory.join("boot"), "vmlinuz-")?;
    let modules = only(&directory.join("lib/modules"), "")?;
    Ok(Kernel { image, drivers: drivers(&modules)?, modules: directory.join("modules.ext4") })
}

/// Downloads the package and unpacks it, with every module uncompressed.
fn unpack(directory: &Path, version: Option<&str>) -> Requirement {
    let (apt, package) = match version {
        None => (String::new(), newest("", "linux-image-cloud-amd64", directory)?),
        Some(version) => of_version(version, directory)?,
    };
    cache::sh(
        directory,
        &format!(
            "apt-get --quiet --quiet {apt} download {package}
             dpkg-deb --extract {package}_*.deb .
             rm *.deb
             find lib -name '*.ko.xz' | xargs --no-run-if-empty unxz"
        ),
    )?;
    Ok(())
}

/// The options for apt and the package's name.
fn of_version(version: &str, directory: &Path) -> Requirement<(String, String)> {
    let pattern = format!("^linux-image-{}[.-].*cloud-amd64$", version.replace('.', "[.]"));
    let search = |apt: &str| {
        let found = cache::sh(
            directory,
            &format!("apt-cache {apt} search --names-only '{pattern}' | cut -d' ' -f1 | sort -V | tail -n1"),
        )?;
        let found = found.trim().to_owned();
        if found.is_empty() { Err(format!("apt offers no kernel {version}")) } else { Ok(found) }
    };
    if let Ok(package) = search("") {
        return Ok((String::new(), package));
    }
    let suite = ELSEWHERE.iter().find(|(had, _)| *had == version);
    let (_, suite) =
        suite.ok_or_else(|| format!("neither this host's apt nor {ELSEWHERE:?} has {version}"))?;
    let apt = other_release(suite, directory)?;
    let package = search(&apt)?;
    Ok((apt, package))
}

/// The package that a package without content depends on.
fn newest(apt: &str, package: &str, directory: &Path) -> Requirement<String> {
    let depends = cache::sh(directory, &format!("apt-cache {apt} depends {package}"))?;
    let mut names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names
        .find(|name| name.starts_with("linux-image-"))
        .map(str::to_owned)
        .ok_or(format!("apt knows no {package}"))
}

/// Gives apt lists of its own, of another release; the options that make it use them.
fn other_release(suite: &str, directory: &Path) -> Requirement<String> {
    let apt = directory.join("apt");
    let here = apt.display();
    let options = format!(
        "-o Dir::State::Lists={here}/lists -o Dir::Etc::SourceList={here}/sources -o Dir::Etc::SourceParts=- \
         -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root"
    );
    let (site, _) = crate::debian::mirror()?;
    let source = format!(
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {site} {suite} main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {site}-security {suite}-security main\n"
    );
    fs::create_dir_all(apt.join("lists/partial")).map_err(|error| error.to_string())?;
    fs::write(apt.join("sources"), source).map_err(|error| error.to_string())?;
    cache::sh(directory, &format!("apt-get --quiet --quiet {options} update"))?;
    Ok(options)
}

/// The modules' indices, and the disk that carries them into a machine.
fn index(directory: &Path) -> Requirement {
    let (depmod, mkfs) = (program("depmod")?, program("mkfs.ext4")?);
    cache::sh(
        directory,
        &format!(
            "rm -rf apt usr/share/doc
             {} --basedir . $(ls lib/modules)
             {} -q -E root_owner=0:0 -O ^has_journal -d lib/modules modules.ext4 300M",
            depmod.display(),
            mkfs.display()
        ),
    )?;
    Ok(())
}

/// Reads `modules.dep` (depmod(8)): `path: path of what must be loaded before …`, nearest first.
fn drivers(modules: &Path) -> Requirement<Vec<PathBuf>> {
    let index = fs::read_to_string(modules.join("modules.dep")).map_err(|error| error.to_string())?;
    let mut ordered = Vec::new();
    for driver in DRIVERS {
        // A driver that is not there is built in.
        let names =
            |line: &&str| line.split(':').next().is_some_and(|p| p.ends_with(&format!("/{driver}.ko")));
        let Some((path, before)) = index.lines().find(names).and_then(|line| line.split_once(':')) else {
            continue;
        };
        for path in before.split_whitespace().rev().chain([path]) {
            let path = modules.join(path);
            if !ordered.contains(&path) {
                ordered.push(path);
            }
        }
    }
    Ok(ordered)
}

/// The one entry of a directory whose name begins like this.
fn only(directory: &Path, prefix: &str) -> Requirement<PathBuf> {
    let names = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let wanted = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix));
    names.into_iter().find(wanted).ok_or_else(|| format!("no {prefix}* in {}", directory.display()))
}
