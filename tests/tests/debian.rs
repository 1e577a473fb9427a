// SPDX-License-Identifier: Apache-2.0
//! A real Debian image through the whole road, against Debian's own tools: skopeo pushes it to docker-registry,
//! conex pulls, unpacks and runs it, umoci says what the unpacked tree must be.

use std::path::PathBuf;
use std::process::Command;

use conex_testkit::server::Registry;
use conex_testkit::{Compression, Run, Sandbox, debian, needs, require, tree};

/// The image in Debian's registry, pushed there by Debian's skopeo.
struct Pushed {
    sandbox: Sandbox,
    registry: Registry,
    layout: PathBuf,
}

impl Pushed {
    fn new() -> require::Requirement<Self> {
        require::root()?;
        let skopeo = require::program("skopeo")?;
        let sandbox = Sandbox::new();
        let registry = Registry::debian(&sandbox)?;
        let layout = sandbox.layout("debian");
        layout.add("walk", &debian::image(Compression::Zstd)?);
        // Debian's umoci knows no zstd: for it, the same files in gzip.
        layout.add("for-umoci", &debian::image(Compression::Gzip)?);
        let pushed = Self { layout: layout.path, sandbox, registry };
        let mut copy = pushed.peer(&skopeo);
        copy.args(["copy", "--insecure-policy", "--dest-tls-verify=false", "oci:debian:walk"]);
        copy.arg(format!("docker://{}", pushed.name())).run().success();
        Ok(pushed)
    }

    /// A program of the host, with the sandbox's environment but none of our personalities.
    fn peer(&self, program: &std::path::Path) -> Command {
        let mut command = self.sandbox.command(program);
        command.env("PATH", require::HOST_PATH.join(":"));
        command
    }

    fn name(&self) -> String {
        format!("{}/library/debian:walk", self.registry.address)
    }

    /// What Debian's umoci makes of it.
    fn unpacked_by_umoci(&self) -> require::Requirement<tree::Tree> {
        let bundle = self.sandbox.path("umoci-bundle");
        let umoci = require::program("umoci")?;
        let image = format!("{}:for-umoci", self.layout.display());
        self.peer(&umoci).args(["unpack", "--image", &image]).arg(&bundle).run().success();
        Ok(tree::read(&bundle.join("rootfs")))
    }
}

#[test]
fn root_debian_unpacks_as_umoci_does() {
    needs!(require::root());
    let pushed = needs!(Pushed::new());
    let sandbox = &pushed.sandbox;
    let expected = needs!(pushed.unpacked_by_umoci());
    assert!(expected.len() > 3000, "a Debian has thousands of files, not {}", expected.len());
    sandbox.map_registries(&[], &pushed.registry.address);
    sandbox.conex(["pull", &pushed.name()]).run().success();
    let bundle = sandbox.path("conex-bundle");
    let mut unpack = sandbox.conex(["bundle", "unpack", "--image"]);
    unpack.arg(pushed.name()).arg(&bundle).run().success();
    let differences = tree::difference(&expected, &tree::read(&bundle.join("rootfs")));
    assert!(differences.is_empty(), "- umoci, + conex:\n{}", differences.join("\n"));
    sandbox.conex(["system", "fsck"]).run().success();
}
