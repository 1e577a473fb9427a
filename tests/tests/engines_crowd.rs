// SPDX-License-Identifier: Apache-2.0
//! Many containers at once, and one after the other: no error, and nothing left. `CONEX_FULL=1` runs a hundred at once
//! and a thousand in sequence; without it, as many as a check of every change can wait for.

use std::thread;

use conex_testkit::bundle::Bundle;
use conex_testkit::dockerd::{Dockerd, Setup};
use conex_testkit::podman::Podman;
use conex_testkit::{Run, Sandbox, busybox, needs, require};
use serde_json::Value;

/// The full count, or the one for every day.
fn count(full: usize, daily: usize) -> usize {
    if std::env::var_os("CONEX_FULL").is_some() { full } else { daily }
}

/// Does something for each number, all at the same time.
fn at_once(count: usize, work: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for number in 0..count {
            let work = &work;
            scope.spawn(move || work(number));
        }
    });
}

#[test]
fn root_a_hundred_containers_at_once() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["sleep", "1000"]));
    bundle.change(|config| config["root"]["readonly"] = true.into());
    let count = count(100, 40);
    let id = |number: usize| sandbox.id(&number.to_string());
    sandbox.programs();
    at_once(count, |number| {
        sandbox.runtime(["run", "--detach", &id(number)]).run().success();
    });
    let listed = sandbox.runtime(["list", "--format", "json"]).run().success().stdout;
    let listed: Value = serde_json::from_str(&listed).expect("a list");
    let running = listed.as_array().expect("a list").iter().filter(|one| one["status"] == "running").count();
    assert_eq!(running, count);
    at_once(count, |number| {
        let inside = sandbox.runtime(["exec", &id(number), "cat", "/etc/motd"]).run().success();
        assert_eq!(inside.stdout, busybox::MOTD);
    });
    at_once(count, |number| {
        sandbox.runtime(["delete", "--force", &id(number)]).run().success();
    });
    sandbox.finish();
}

#[test]
fn root_a_thousand_containers_in_sequence() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let mut bundle = needs!(Bundle::create(&sandbox.work(), &["true"]));
    for number in 0..count(1000, 100) {
        let code = number % 256;
        let words = ["sh", "-c", &format!("echo {number}; exit {code}")];
        bundle.change(|config| config["process"]["args"] = words.as_slice().into());
        // The same id again and again: what is left of one would be in the way of the next.
        let ran = sandbox.runtime(["run", &sandbox.id("next")]).run();
        assert_eq!(ran.clone().exits(i32::try_from(code).expect("below 256")).stdout, format!("{number}\n"));
    }
    sandbox.finish();
}

#[test]
fn root_a_crowd_under_docker() {
    let sandbox = Sandbox::new();
    let docker = needs!(Dockerd::start(&sandbox, &Setup::default()));
    let count = count(100, 12);
    let name = |number: usize| format!("crowd-{number}");
    at_once(count, |number| docker.detached(&name(number), &[], "sleep 1000"));
    let running = docker.says(&["ps", "--quiet", "--filter", "status=running"]);
    assert_eq!(running.lines().count(), count);
    at_once(count, |number| {
        let inside = docker.says(&["exec", &name(number), "cat", "/etc/motd"]);
        assert_eq!(inside, busybox::MOTD.trim_end());
    });
    at_once(count, |number| {
        docker.says(&["rm", "--force", &name(number)]);
    });
    docker.end();
    sandbox.finish();
}

#[test]
fn root_a_queue_under_podman() {
    let sandbox = Sandbox::new();
    let podman = needs!(Podman::of_root(&sandbox, "conex-runtime"));
    for number in 0..count(200, 8) {
        podman
            .sh(&[], &format!("exit {}", number % 256))
            .exits(i32::try_from(number % 256).expect("below 256"));
    }
    podman.end();
    sandbox.finish();
}
