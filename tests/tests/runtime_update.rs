// SPDX-License-Identifier: Apache-2.0
//! `update`: other limits, and other devices, for a container that runs; on whichever cgroup version this host has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use conex_testkit::bundle::Bundle;
use conex_testkit::{Output, Run, Sandbox, binaries, needs, require};
use serde_json::{Value, json};

/// Where a limit shows, in either version. What a host lacks is left out.
const FILES: [(&str, &str); 16] = [
    ("memory", "memory.limit_in_bytes"),
    ("memory", "memory.memsw.limit_in_bytes"),
    ("memory", "memory.soft_limit_in_bytes"),
    ("cpu", "cpu.shares"),
    ("cpu", "cpu.cfs_quota_us"),
    ("cpu", "cpu.cfs_period_us"),
    ("cpuset", "cpuset.cpus"),
    ("blkio", "blkio.bfq.weight"),
    ("pids", "pids.max"),
    ("", "memory.max"),
    ("", "memory.swap.max"),
    ("", "memory.low"),
    ("", "cpu.weight"),
    ("", "cpu.max"),
    ("", "cpuset.cpus"),
    ("", "io.bfq.weight"),
];

/// A container that sleeps, in a cgroup of its name at the top.
struct Sleeper<'a> {
    sandbox: &'a Sandbox,
    program: PathBuf,
    id: String,
}

impl<'a> Sleeper<'a> {
    fn start(sandbox: &'a Sandbox, program: &Path, name: &str, resources: &Value) -> Result<Self, String> {
        let id = sandbox.id(name);
        let directory = sandbox.path(name);
        let mut bundle = Bundle::create(&directory, &["sleep", "1000"])?;
        bundle.change(|config| {
            config["linux"]["cgroupsPath"] = format!("/{id}").into();
            config["linux"]["resources"] = resources.clone();
            let some = json!(["CAP_MKNOD", "CAP_SYSLOG"]);
            config["process"]["capabilities"] =
                json!({ "bounding": some, "effective": some, "permitted": some });
        });
        let sleeper = Self { sandbox, program: program.to_owned(), id: id.clone() };
        sleeper.verb(&["create", &format!("--bundle={}", directory.display()), &id]).run().success();
        sleeper.verb(&["start", &id]).run().success();
        Ok(sleeper)
    }

    fn verb(&self, words: &[&str]) -> Command {
        let mut command = self.sandbox.command(&self.program);
        command.arg("--root").arg(self.sandbox.path("run/containers")).args(words);
        command
    }

    fn update(&self, words: &[&str]) -> Output {
        self.verb(&[&["update"], words, &[&self.id]].concat()).run()
    }

    fn update_with(&self, resources: &Value) -> Output {
        let words = ["update", "--resources", "-", &self.id];
        self.verb(&words).run_with(resources.to_string().as_bytes(), Duration::from_secs(60))
    }

    /// What a script says inside.
    fn inside(&self, script: &str) -> String {
        self.verb(&["exec", &self.id, "sh", "-c", script]).run().stdout
    }

    fn file(&self, controller: &str, file: &str) -> Option<String> {
        let path = Path::new("/sys/fs/cgroup").join(controller).join(&self.id).join(file);
        std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
    }

    fn limits(&self) -> BTreeMap<&'static str, String> {
        FILES.iter().filter_map(|(controller, file)| Some((*file, self.file(controller, file)?))).collect()
    }

    fn end(self) {
        self.verb(&["delete", "--force", &self.id]).run().success();
    }
}

fn is_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[test]
fn root_update_leaves_the_limits_that_runc_leaves() {
    needs!(require::root());
    let runc = needs!(require::program("runc"));
    let sandbox = Sandbox::new();
    let first = json!({
        "memory": { "limit": 33_554_432, "reservation": 25_165_824 },
        "cpu": { "shares": 100, "quota": 500_000, "period": 1_000_000 },
        "pids": { "limit": 20 }
    });
    let ours = needs!(Sleeper::start(&sandbox, binaries::runtime(), "ours", &first));
    let theirs = needs!(Sleeper::start(&sandbox, &runc, "theirs", &first));
    assert_eq!(ours.limits(), theirs.limits());
    assert!(ours.limits().len() >= 4, "{:?}", ours.limits());
    let updates: [&[&str]; 20] = [
        &["--cpuset-cpus", "0"],
        &["--memory", "67108864"],
        &["--memory", "50M"],
        &["--memory-reservation", "33554432"],
        &["--memory-swap", "-1"],
        &["--memory", "52428800", "--memory-swap", "96468992"],
        &["--memory", "30M", "--memory-swap", "50M"],
        // More memory than was allowed with swap before, and less again.
        &["--memory", "60M", "--memory-swap", "80M"],
        &["--memory", "30M", "--memory-swap", "50M"],
        &["--memory", "60M", "--memory-swap", "50M"],
        &["--memory", "-1"],
        &["--pids-limit", "10"],
        &["--pids-limit", "-1"],
        &["--cpu-period", "900000"],
        &["--cpu-quota", "600000"],
        &["--cpu-quota", "-1"],
        &["--cpu-share", "200", "--blkio-weight", "500"],
        &["--cpu-quota", "-1", "--cpu-period", "100000"],
        &["--cpu-period", "100"],
        &["--cpu-period", "900000", "--cpu-quota", "600000", "--memory", "64m", "--pids-limit", "12"],
    ];
    for words in updates {
        let (one, other) = (ours.update(words), theirs.update(words));
        assert_eq!(one.status.success(), other.status.success(), "{words:?}\n{one}\n{other}");
        assert_eq!(ours.limits(), theirs.limits(), "{words:?}\n{one}\n{other}");
    }
    let (one, other) = (ours.update_with(&first), theirs.update_with(&first));
    assert!(one.status.success() && other.status.success(), "{one}\n{other}");
    assert_eq!(ours.limits(), theirs.limits());
    for words in [&["--memory", "much"][..], &["--cpu-quota", "x"], &["--resources", "/none"]] {
        ours.update(words).exits(1);
        theirs.update(words).exits(1);
    }
    // Of no process at all only newer runcs make one.
    ours.update(&["--pids-limit", "0"]).success();
    assert_eq!(ours.limits()["pids.max"], "1");
    ours.update(&["--kernel-memory", "50M"]).success().says("Kernel memory settings are ignored");
    ours.end();
    theirs.end();
    sandbox.finish();
}

#[test]
fn root_an_update_that_fails_leaves_everything_as_it_was() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let first =
        json!({ "memory": { "limit": 33_554_432 }, "cpu": { "quota": 50_000 }, "pids": { "limit": 20 } });
    let sleeper = needs!(Sleeper::start(&sandbox, binaries::runtime(), "c", &first));
    let before = sleeper.limits();
    let unchanged = |output: Output| {
        assert_eq!(sleeper.limits(), before, "{output}");
        output.exits(1);
    };
    // Each begins with what could be had.
    let said = sleeper.update(&["--memory", "64m", "--cpu-quota", "70000", "--cpuset-cpus", "4095"]);
    assert!(said.stderr.contains("cpuset.cpus") && said.stderr.contains("nothing was changed"), "{said}");
    unchanged(said);
    unchanged(sleeper.update_with(&json!({
        "pids": { "limit": 5 }, "hugepageLimits": [{ "pageSize": "3MB", "limit": 1 }]
    })));
    unchanged(sleeper.update_with(&json!({
        "memory": { "limit": 67_108_864 },
        "blockIO": { "throttleReadBpsDevice": [{ "major": 4095, "minor": 1, "rate": 1000 }] }
    })));
    let said = sleeper.update_with(&json!({ "pids": { "limit": 5 }, "unified": { "../x.y": "1" } }));
    assert!(said.stderr.contains("standard input:1:"), "{said}");
    unchanged(said);
    // What was refused was not recorded either.
    sleeper.update(&["--pids-limit", "21"]).success();
    let live = sleeper.verb(&["state", "--live", &sleeper.id]).run();
    assert!(!live.stdout.contains("4095"), "{live}");
    sleeper.verb(&["kill", &sleeper.id, "KILL"]).run().success();
    let stopped =
        || sleeper.update(&["--pids-limit", "9"]).stderr.contains("container not running").then_some(());
    conex_testkit::run::poll(Duration::from_secs(10), stopped).expect("a stopped container is not updated");
    sleeper.end();
    sandbox.finish();
}

#[test]
fn root_burst_and_idle_need_their_order() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let first = json!({ "cpu": { "quota": 50_000, "period": 100_000, "shares": 512 } });
    let sleeper = needs!(Sleeper::start(&sandbox, binaries::runtime(), "c", &first));
    let (controller, burst, weight, heavy) = if is_v2() {
        ("", "cpu.max.burst", "cpu.weight", "59")
    } else {
        ("cpu", "cpu.cfs_burst_us", "cpu.shares", "512")
    };
    let Some(before) = sleeper.file(controller, burst) else {
        sleeper.end();
        conex_testkit::skip!("this kernel has no {burst}")
    };
    assert_eq!(before, "0");
    // The burst must not be above the quota: up, the quota goes first, down, the burst.
    sleeper.update(&["--cpu-burst", "80000", "--cpu-quota", "90000"]).success();
    assert_eq!(sleeper.file(controller, burst).unwrap(), "80000");
    sleeper.update(&["--cpu-burst", "20000", "--cpu-quota", "30000"]).success();
    assert_eq!(sleeper.file(controller, burst).unwrap(), "20000");
    sleeper.update(&["--cpu-burst", "40000"]).exits(1).says("a burst is not larger than the quota");
    sleeper.update(&["--memory", "64m"]).success();
    assert_eq!(sleeper.file(controller, burst).unwrap(), "20000", "what is not named stays");
    sleeper.update(&["--cpu-burst", "0"]).success();
    assert_eq!(sleeper.file(controller, burst).unwrap(), "0");

    for value in ["1", "0", "1"] {
        sleeper.update(&["--cpu-idle", value]).success();
        assert_eq!(sleeper.file(controller, "cpu.idle").unwrap(), value);
    }
    for value in ["-1", "2"] {
        sleeper.update(&["--cpu-idle", value]).exits(1);
        assert_eq!(sleeper.file(controller, "cpu.idle").unwrap(), "1");
    }
    sleeper.update(&["--cpu-share", "200"]).exits(1).says("set cpu.idle to 0");
    sleeper.update(&["--cpu-idle", "0"]).success();
    assert_eq!(sleeper.file(controller, weight).unwrap(), heavy, "the weight is what it was before");
    sleeper.end();
    sandbox.finish();
}

/// 1:11 is the kernel's log, 1:5 zero, 10:229 fuse: what may be opened is seen by opening it.
const TRY: &str = "mknod /tmp-$$ c 1 11; (: < /tmp-$$) 2>/dev/null && echo log; \
                   (: > /dev/full) 2>/dev/null && echo full; (: < /dev/null) && echo null";

#[test]
fn root_devices_of_a_running_container_change() {
    needs!(require::root());
    let sandbox = Sandbox::new();
    let sleeper = needs!(Sleeper::start(&sandbox, binaries::runtime(), "c", &json!({})));
    let deny = json!({ "allow": false, "access": "rwm" });
    let log = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" });
    assert_eq!(sleeper.inside(TRY), "full\nnull\n");
    sleeper.update_with(&json!({ "devices": [deny, log] })).success();
    assert_eq!(sleeper.inside(TRY), "log\nfull\nnull\n");
    // Another update leaves them, and so does one that names none.
    sleeper.update(&["--pids-limit", "50"]).success();
    sleeper.update_with(&json!({ "devices": [] })).success();
    assert_eq!(sleeper.inside(TRY), "log\nfull\nnull\n");
    sleeper.update_with(&json!({ "devices": [deny] })).success();
    assert_eq!(sleeper.inside(TRY), "full\nnull\n");
    sleeper.update_with(&json!({ "devices": [{ "allow": true, "access": "rwm" }] })).success();
    assert_eq!(sleeper.inside(TRY), "log\nfull\nnull\n");
    sleeper.update_with(&json!({ "devices": [deny] })).success();
    assert_eq!(sleeper.inside(TRY), "full\nnull\n");
    // A hole in a wildcard is more than v1 can say.
    let hole = json!({ "devices": [
        { "allow": true, "type": "c", "access": "rwm" },
        { "allow": false, "type": "c", "major": 1, "minor": 11, "access": "rw" }
    ] });
    if is_v2() {
        sleeper.update_with(&hole).success();
    } else {
        sleeper.update_with(&hole).exits(1).says("cgroup v1 cannot deny");
    }
    assert_eq!(sleeper.inside(TRY), "full\nnull\n");
    sleeper.end();
    sandbox.finish();
}
