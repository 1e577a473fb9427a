// SPDX-License-Identifier: Apache-2.0
//! Debian's buildah with `conex-runtime` behind RUN, as root and as an ordinary user.

use std::fs;
use std::path::Path;

use conex_testkit::podman::Podman;
use conex_testkit::terminal::Terminal;
use conex_testkit::user::Range;
use conex_testkit::{Run, Sandbox, needs, require};

#[test]
fn root_buildah_builds_images() {
    let sandbox = Sandbox::new();
    let podman = needs!(Podman::of_root(&sandbox, "conex-runtime"));
    builds(&sandbox, &podman, &needs!(require::packaged("buildah")), "oci");
    podman.end();
    sandbox.finish();
}

#[test]
fn root_buildah_of_an_ordinary_user() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let user = sandbox.user(Range::Subordinate);
    let podman = needs!(Podman::of(&user, &sandbox, "conex-runtime"));
    for isolation in ["oci", "rootless"] {
        builds(&sandbox, &podman, &needs!(require::packaged("buildah")), isolation);
    }
    podman.end();
    sandbox.finish();
}

/// By hand and from a Containerfile; what was built runs.
fn builds(sandbox: &Sandbox, podman: &Podman<'_>, program: &Path, isolation: &str) {
    let buildah = |words: &[&str]| podman.buildah(program, words).run();
    let name = buildah(&["from", "busybox"]).success().stdout;
    let name = name.trim();
    let step = |words: &[&str]| {
        let mut command = podman.buildah(program, &["run", "--isolation", isolation, "--network", "none"]);
        command.arg("--runtime").arg(podman.runtime()).args(words);
        command
    };
    let script = "id -u; echo brought > /new; exit 4";
    let ran = step(&[name, "--", "sh", "-c", script]).run().exits(4);
    assert_eq!(ran.stdout, "0\n");
    assert!(!ran.stderr.contains("level="), "only the step's own words: {ran}");
    let volume = format!("{}:/v:ro", sandbox.work().display());
    let other = ["--user", "1000:1000", "--hostname", "here", "--volume", &volume, name, "--", "sh", "-c"];
    let seen = step(&[&other[..], &["id -u; hostname; touch /v/x || exit 5"]].concat()).run();
    assert_eq!(seen.exits(5).stdout, "1000\nhere\n");
    step(&[name, "--", "no-such-program"]).run().fails().says("executable file not found in $PATH");
    let mut terminal = Terminal::start(&step(&["--tty", name, "--", "tty"]), (24, 80));
    terminal.expect("/dev/pts/0");
    assert_eq!(terminal.wait(), 0);
    buildah(&["commit", name, "by-hand"]).success();
    assert_eq!(
        podman.says(&["run", "--rm", "--cgroup-parent", &podman.cgroup(), "by-hand", "cat", "/new"]),
        "brought"
    );

    let steps = "FROM busybox\nRUN echo built > /built && test $(id -u) = 0\nUSER 1000\nRUN cat /built && id -u > /tmp/user\n\
                 CMD [\"cat\", \"/built\", \"/tmp/user\"]\n";
    fs::write(sandbox.path("work/Containerfile"), steps).expect("write a Containerfile");
    let mut build = podman.buildah(program, &["build", "--isolation", isolation, "--network", "none"]);
    build.arg("--runtime").arg(podman.runtime()).args(["--tag", "built", "."]).run().success();
    let said = podman.says(&["run", "--rm", "--cgroup-parent", &podman.cgroup(), "built"]);
    assert_eq!(said, "built\n1000");
    buildah(&["rm", "--all"]).success();
    podman.says(&["rmi", "--force", "built", "by-hand"]);
}
