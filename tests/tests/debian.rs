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

fn mtime(line: &str) -> u64 {
    let after = line.split(" mtime=").nth(1).and_then(|rest| rest.split(' ').next());
    after.and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}

#[test]
fn root_debian_unpacks_as_umoci_does() {
    needs!(require::root());
    let pushed = needs!(Pushed::new());
    let sandbox = &pushed.sandbox;
    let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut expected = needs!(pushed.unpacked_by_umoci());
    assert!(expected.len() > 3000, "a Debian has thousands of files, not {}", expected.len());
    sandbox.map_registries(&[], &pushed.registry.address);
    sandbox.conex(["pull", &pushed.name()]).run().success();
    let bundle = sandbox.path("conex-bundle");
    let mut unpack = sandbox.conex(["bundle", "unpack", "--image"]);
    unpack.arg(pushed.name()).arg(&bundle).run().success();
    let mut unpacked = tree::read(&bundle.join("rootfs"));
    // A directory that no layer describes, or that changes under a layer that does not describe it: umoci leaves it
    // with the time of unpacking, conex with what the layers say of it or with none at all.
    let undescribed: Vec<String> =
        expected.keys().filter(|name| mtime(&expected[*name]) >= start).cloned().collect();
    assert!(undescribed.len() < 10, "{undescribed:?}");
    for tree in [&mut expected, &mut unpacked] {
        for name in &undescribed {
            tree.entry(name.clone())
                .and_modify(|line| *line = line.split(" mtime=").next().unwrap().to_owned());
        }
    }
    let differences = tree::difference(&expected, &unpacked);
    assert!(differences.is_empty(), "- umoci, + conex:\n{}", differences.join("\n"));
    let ran = sandbox.conex(["run", "--rm", "--network", "none", &pushed.name()]).run().success();
    assert!(ran.stdout.starts_with("12."), "what a Debian 12 has in /etc/debian_version: {ran}");
    let script =
        "dpkg --version >/dev/null && perl -e 'print 6*7' && ls -l /opt/tool && ! test -e /etc/issue";
    let ran = sandbox
        .conex(["run", "--rm", "--network", "none", &pushed.name(), "sh", "-c", script])
        .run()
        .success();
    assert!(ran.stdout.starts_with("42") && ran.stdout.contains("-rwsr-xr-x"), "{ran}");
    sandbox.conex(["system", "fsck"]).run().success();
    let Pushed { sandbox, registry, .. } = pushed;
    drop(registry);
    sandbox.finish();
}
