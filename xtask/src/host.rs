// SPDX-License-Identifier: Apache-2.0
//! What the host must bring: Debian packages and the musl target. Installed where that is possible and allowed,
//! always saying what and why; otherwise named, and what needs it falls back or is skipped.

use std::path::Path;
use std::process::Stdio;

use anyhow::Result;
use conex_testkit::require;
use conex_testkit::vm::{self, System};

use crate::shell;

/// A Debian package: the program that proves it is there, the package, the reason.
pub struct Package {
    program: &'static str,
    name: &'static str,
    why: &'static str,
}

const fn package(program: &'static str, name: &'static str, why: &'static str) -> Package {
    Package { program, name, why }
}

/// To build both programs.
pub const BUILD: &[Package] = &[
    package("gcc", "gcc", "links, and compiles the C in ring and zstd"),
    package("musl-gcc", "musl-tools", "the same for static programs"),
];

/// To make and run the small image.
pub const DEMO: &[Package] = &[
    package("busybox", "busybox-static", "the content of the small image"),
    package("newuidmap", "uidmap", "maps an ordinary user's ids"),
];

/// To compare with the outside world.
pub const TEST: &[Package] = &[
    package("runc", "runc", "peer: runtime"),
    package("crun", "crun", "peer: runtime"),
    package("skopeo", "skopeo", "peer: copies images"),
    package("gpg", "gnupg", "verifies and makes signatures"),
    package("umoci", "umoci", "peer: unpacks and repacks images"),
    package("oci-image-tool", "oci-image-tool", "peer: judges layouts"),
    package("mtree", "mtree-netbsd", "peer: checks the description of a tree"),
    package("podman", "podman", "drives conex-runtime"),
    package("catatonit", "catatonit", "the init of podman's pods and of --init"),
    package("buildah", "buildah", "drives conex-runtime"),
    package("conmon", "conmon", "drives conex-runtime"),
    package("containerd", "containerd", "drives conex-runtime"),
    package("dockerd", "docker.io", "drives conex-runtime"),
    package("docker-registry", "docker-registry", "peer: registry"),
    package("debootstrap", "debootstrap", "makes a real Debian image"),
    package("strace", "strace", "kills and fails at exact system calls"),
    package("setfattr", "attr", "puts xattrs into images"),
    package("qemu-system-x86_64", "qemu-system-x86", "boots another kernel"),
    package("depmod", "kmod", "indexes that kernel's modules"),
    package("mkfs.ext4", "e2fsprogs", "makes disks for it"),
    package("ip", "iproute2", "looks at interfaces"),
    package("ps", "procps", "looks at processes"),
    package("jq", "jq", "a line of the walkthrough"),
    package("curl", "curl", "a line of the walkthrough"),
    package("openssl", "openssl", "makes certificates to be refused"),
    package("python3", "python3", "asks libseccomp"),
    package(require::PYTHON_GRPC, "python3-grpcio", "calls containerd as a kubelet does"),
    package("file", "file", "tells static from dynamic programs"),
    package("objdump", "binutils", "finds instructions that must not be there"),
];

/// The target whose programs need nothing of the host.
pub const MUSL: &str = "x86_64-unknown-linux-musl";

/// Installs what is missing of these; where it cannot, says so and goes on.
pub fn install(groups: &[&[Package]]) -> Result<()> {
    let missing: Vec<&Package> = groups
        .iter()
        .copied()
        .flatten()
        .filter(|package| require::program(package.program).is_err())
        .collect();
    if missing.is_empty() {
        println!("    every package is there");
        return Ok(());
    }
    let able = require::root().is_ok() && require::program("apt-get").is_ok();
    let verb = if able { "installing" } else { "missing" };
    for package in &missing {
        println!("    {verb} {}: {}", package.name, package.why);
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    if !able {
        println!("    as root: apt-get install {}", names.join(" "));
        return Ok(());
    }
    apt(&["update"])?;
    apt(&[&["install", "--no-install-recommends", "--yes"], &names[..]].concat())
}

fn apt(words: &[&str]) -> Result<()> {
    let mut command = shell::program("apt-get");
    command.arg("--quiet").arg("--quiet").args(words);
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").stdout(Stdio::null());
    shell::run(&mut command)
}

/// Whether static programs can be built against musl; adds the target when it is missing.
pub fn musl_target() -> bool {
    let library = format!("{MUSL}/lib");
    let add = ["target", "add", MUSL];
    toolchain_has(&library, &add, "static programs") && require::program("musl-gcc").is_ok()
}

/// Whether the standard library can be built anew; adds its source when it is missing.
pub fn standard_source() -> bool {
    let add = ["component", "add", "rust-src"];
    toolchain_has("src/rust/library/std", &add, "a runtime with a standard library for its size")
}

/// Whether a directory of the toolchain is there, by now.
fn toolchain_has(directory: &str, add: &[&str], why: &str) -> bool {
    let installed = || -> Result<bool> {
        let sysroot = shell::capture(shell::program("rustc").args(["--print", "sysroot"]))?;
        Ok(Path::new(sysroot.trim()).join("lib/rustlib").join(directory).is_dir())
    };
    if installed().unwrap_or(false) {
        return true;
    }
    println!("    rustup {}: {why}", add.join(" "));
    shell::run(shell::program("rustup").args(add)).is_ok()
}

/// Makes what the virtual machines of the tests consist of.
pub fn machines() -> Result<()> {
    for (kernel, system) in [(None, System::Busybox), (None, System::Systemd)] {
        match vm::prepare(kernel, system) {
            Ok(()) => println!("    for virtual machines: kernel and {system:?} are there"),
            Err(reason) => println!("    no virtual machine with {system:?}: {reason}"),
        }
    }
    Ok(())
}
