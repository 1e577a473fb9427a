// SPDX-License-Identifier: Apache-2.0
//! What README.md tells a reader to type, typed: each line of its `sh` blocks in order, as root and as an ordinary
//! user. Only the names of public registries lead to one on loopback, and the two `cargo` lines are left to CI.

use conex_testkit::server::Registry;
use conex_testkit::user::Range;
use conex_testkit::{Image, Layer, Run, Sandbox, busybox, needs, require, tar};

/// The lines between "```sh" and "```", without those that run this very test.
fn lines() -> String {
    let mut inside = false;
    let mut script = String::from("set -eux\n");
    for line in include_str!("../../README.md").lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside && !line.starts_with("cargo ") => script += &format!("{line}\n"),
            _ => {}
        }
    }
    assert!(script.lines().count() > 8, "README.md shows fewer commands than it did:\n{script}");
    script
}

/// `alpine` and `httpd` as the README needs them, on a registry that `docker.io` leads to.
fn registry(sandbox: &Sandbox) -> require::Requirement<Registry> {
    let registry = Registry::conex(sandbox);
    sandbox.map_registries(&["docker.io"], &registry.address);
    let layout = sandbox.layout("pushed");
    layout.add("alpine", &busybox::image()?);
    let stays =
        Layer::new(&[tar::file("usr/bin/stay", "#!/bin/sh\necho serving\nexec sleep 1000\n").mode(0o755)]);
    layout.add("httpd", &Image::new(vec![Layer::new(&busybox::base_entries()?), stays]).cmd(&["stay"]));
    for name in ["alpine", "httpd"] {
        let to = format!("docker://docker.io/library/{name}:latest");
        sandbox.conex(["copy", &format!("oci:pushed:{name}"), &to]).run().success();
    }
    Ok(registry)
}

#[test]
fn root_every_command_of_the_readme() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    sandbox.programs();
    let registry = needs!(registry(&sandbox));
    // Root's store is /var/lib/conex, root's state is below /run: here both are the test's own.
    let own = "mount -t tmpfs none /run\nmkdir -p /var/lib\nmount -t tmpfs none /var/lib\n";
    let script = format!("{own}{}", lines());
    let output =
        sandbox.command("unshare").args(["--mount", "--propagation", "private", "sh", "-c", &script]).run();
    assert!(output.status.success(), "{output}");
    drop(registry);
    sandbox.finish();
}

#[test]
fn root_every_command_of_the_readme_as_an_ordinary_user() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    sandbox.programs();
    let registry = needs!(registry(&sandbox));
    let user = sandbox.user(Range::Subordinate);
    let output = user.command("sh").args(["-c", &lines()]).run();
    assert!(output.status.success(), "{output}");
    drop(registry);
    sandbox.finish();
}
