// SPDX-License-Identifier: Apache-2.0
//! Killed at any system call: what was there before stays whole, what is left is cleaned up by whoever comes next,
//! and nobody has to wait or to repair by hand. `strace` delivers SIGKILL at the n-th call of a kind. For the runtime's own verbs: `killed_runtime`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use conex_testkit::run::{LIMIT, poll};
use conex_testkit::server::Registry;
use conex_testkit::{Image, Layer, Run, Sandbox, needs, require, tar};

/// Calls that change something on disk or in the kernel.
const STORE_CALLS: [&str; 8] =
    ["openat2", "fsync", "renameat2", "renameat", "mkdirat", "linkat", "unlinkat", "fdatasync"];
/// Points per kind of call: the first ones one by one, then in growing steps.
const POINTS: [usize; 10] = [1, 2, 3, 4, 6, 9, 14, 21, 32, 48];

/// The same command, killed at its n-th `call` (also in its children). Whether it was; what it left behind runs on.
fn killed_at(sandbox: &Sandbox, strace: &Path, command: &Command, call: &str, n: usize) -> bool {
    let mut traced = sandbox.command(strace);
    // Interruptible, or it would not let go of a container that waits.
    traced.args(["-f", "-I1", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    traced.args(["-e", &format!("inject={call}:signal=SIGKILL:when={n}"), "--"]);
    let mut tracer = traced.arg(command.get_program()).args(command.get_args()).background();
    let children = format!("/proc/{0}/task/{0}/children", tracer.child.id());
    // The tracer stays as long as a container that is waiting to be started; its own child is the command.
    let mut seen = false;
    let ended = poll(LIMIT, || {
        let status = tracer.wait(Duration::ZERO);
        let child = fs::read_to_string(&children).is_ok_and(|pids| !pids.trim().is_empty());
        seen |= child;
        (status.is_some() || (seen && !child)).then_some(status)
    });
    let ended = ended.unwrap_or_else(|| panic!("hangs when killed at {call} {n}: {}", tracer.output()));
    let status = ended.or_else(|| tracer.wait(Duration::from_millis(200)));
    tracer.stop();
    // A tracer ends as its child ended.
    status.is_none_or(|status| !status.success())
}

/// Kills the command at every point that it reaches, and calls `after` each time; how often it was killed.
fn kill_everywhere(
    sandbox: &Sandbox,
    strace: &Path,
    calls: &[&str],
    command: impl Fn(&str) -> Command,
    mut after: impl FnMut(&str),
) -> usize {
    let mut kills = 0;
    for call in calls {
        for n in POINTS {
            let point = format!("{call}-{n}");
            let killed = killed_at(sandbox, strace, &command(&point), call, n);
            after(&point);
            kills += usize::from(killed);
        }
    }
    kills
}

/// Two layers of a few files each.
fn image() -> Image {
    let files = |name: &str| {
        let entries = (0..12).map(|n| tar::file(&format!("{name}/{n}"), format!("{name} {n}").repeat(500)));
        Layer::new(&std::iter::once(tar::directory(name)).chain(entries).collect::<Vec<_>>())
    };
    Image::new(vec![files("below"), files("above")]).cmd(&["true"])
}

#[test]
fn root_a_killed_pull_leaves_a_whole_store() {
    needs!(require::root());
    let (strace, skopeo) = (needs!(require::program("strace")), needs!(require::program("skopeo")));
    let sandbox = Sandbox::new();
    let registry = needs!(Registry::debian(&sandbox));
    sandbox.layout("pushed").add("app", &image());
    let name = format!("{}/app:latest", registry.address);
    let mut push = sandbox.command(skopeo);
    push.args(["copy", "--insecure-policy", "--dest-tls-verify=false", "oci:pushed:app"]);
    push.arg(format!("docker://{name}")).run().success();
    sandbox.map_registries(&[], &registry.address);

    let kills = kill_everywhere(
        &sandbox,
        &strace,
        &STORE_CALLS,
        |_| sandbox.conex(["pull", "--quiet", &name]),
        |point| {
            // Before or after, never something between: what is listed is whole.
            let checked = sandbox.conex(["system", "fsck"]).run();
            assert!(checked.status.success(), "killed at {point}\n{checked}");
            sandbox.conex(["pull", "--quiet", &name]).run().success();
            sandbox.conex(["system", "fsck"]).run().success();
            sandbox.conex(["rmi", &name]).run().success();
        },
    );
    // strace counts the calls of each thread by itself, so how many points are reached is a matter of scheduling.
    assert!(kills >= STORE_CALLS.len(), "killed only {kills} times");
    drop(registry);
    sandbox.finish();
}

/// Bytes of blobs that the registry has sent since its log had `from` lines.
fn bytes_sent(registry: &Registry, from: usize) -> u64 {
    let log = registry.output();
    let gets = log.lines().skip(from).filter(|line| line.contains("\"GET /v2/") && line.contains("/blobs/"));
    gets.filter_map(|line| line.split("HTTP/1.1\" ").nth(1)?.split(' ').nth(1)?.parse::<u64>().ok()).sum()
}

#[test]
fn root_a_killed_pull_goes_on_where_it_stood() {
    needs!(require::root());
    let strace = needs!(require::program("strace"));
    let sandbox = Sandbox::new();
    let registry = needs!(Registry::debian(&sandbox));
    sandbox.map_registries(&[], &registry.address);
    let mut state: u32 = 1;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    })
    .take(24 << 20)
    .collect();
    let image = Image::new(vec![Layer::new(&[tar::file("noise", noise)])]);
    let size = image.blob_bytes();
    sandbox.layout("pushed").add("app", &image);
    let name = format!("{}/app:latest", registry.address);
    sandbox.conex(["copy", "--quiet", "oci:pushed:app", &format!("docker://{name}")]).run().success();

    let mut resumed = 0;
    for n in [40, 90, 140] {
        let pull = sandbox.conex(["pull", "--quiet", &name]);
        assert!(killed_at(&sandbox, &strace, &pull, "write", n), "not killed at write {n}");
        let partial = fs::read_dir(sandbox.store().join("ingest")).expect("was made by the pull");
        let there: u64 = partial
            .flatten()
            .filter_map(|e| e.metadata().ok())
            .filter(|m| m.is_file())
            .map(|m| m.len())
            .sum();
        let before = registry.output().lines().count();
        sandbox.conex(["pull", "--quiet", &name]).run().success();
        let again = (bytes_sent(&registry, before) + there).saturating_sub(size);
        assert!(again <= size / 20, "of {size} bytes {there} were there, and {again} came again");
        resumed += u64::from(there > size / 20);
        sandbox.conex(["system", "fsck"]).run().success();
        sandbox.conex(["rmi", &name]).run().success();
    }
    assert!(resumed > 0, "nothing was ever there to build on");
    drop(registry);
    sandbox.finish();
}
