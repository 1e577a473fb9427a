// SPDX-License-Identifier: Apache-2.0
//! One configuration for each rule, and a careful one for none.
#![expect(clippy::disallowed_methods, reason = "a bundle is the test's")]

use conex_spec::runtime::{Config, NamespaceKind};
use serde_json::{Value, json};

use super::Severity::{Error, Note, Warning};
use super::host::{Host, version_of};
use super::*;

/// What `spec` writes, but with everything that the rules would speak of set.
fn careful() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs", "readonly": true},
        "process": {
            "args": ["/bin/true"], "cwd": "/", "noNewPrivileges": true,
            "user": {"uid": 1000, "gid": 1000},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
        ],
        "linux": {
            "namespaces": [
                {"type": "pid"}, {"type": "mount"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "cgroup"}, {"type": "user"},
            ],
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
            "resources": {"memory": {"limit": 1_000_000}, "pids": {"limit": 10}},
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO"},
        },
    })
}

fn host() -> Host {
    Host {
        kernel: (6, 18),
        namespaces: NamespaceKind::ALL.into(),
        controllers: ["memory", "pids"].map(String::from).into(),
        user: 1000,
        users: vec![(1000, 1), (100_000, 65_536)],
        groups: vec![(1000, 1)],
        hard_limits: [("Max open files".to_owned(), 4096)].into(),
        ..Host::default()
    }
}

fn lint_bundle(bundle: &str) -> Vec<Finding> {
    let request = Request { bundle: bundle.into(), id: "web".into(), ..Request::default() };
    lint(&request, &plan::Host::default()).unwrap()
}

/// What `change` adds to the findings, but for those that need files.
fn findings(change: Value) -> Vec<(Severity, &'static str, String)> {
    let mut config = careful();
    merge(&mut config, change);
    let config: Config = serde_json::from_value(config).unwrap();
    assert_eq!(validate(&config), []);
    let mut report = Report::default();
    report.needs(&config, &host());
    report.risks(&config);
    report.0.into_iter().map(|finding| (finding.severity, finding.rule, finding.pointer)).collect()
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change,
    }
}

fn one(severity: Severity, rule: &'static str, pointer: &str) -> Vec<(Severity, &'static str, String)> {
    vec![(severity, rule, pointer.into())]
}

#[test]
fn a_careful_configuration_has_no_findings() {
    assert_eq!(findings(json!({})), []);
}

#[test]
fn what_the_host_cannot_give() {
    let cases = [
        (json!({"process": {"apparmorProfile": "x"}}), "no-apparmor", "/process/apparmorProfile"),
        (json!({"process": {"selinuxLabel": "x"}}), "no-selinux", "/process/selinuxLabel"),
        (json!({"linux": {"mountLabel": "x"}}), "no-selinux", "/linux/mountLabel"),
        (
            json!({"process": {"rlimits": [{"type": "RLIMIT_NOFILE", "hard": 5000, "soft": 1}]}}),
            "limit-too-high",
            "/process/rlimits/0/hard",
        ),
        (json!({"process": {"oomScoreAdj": -1}}), "limit-too-high", "/process/oomScoreAdj"),
        (
            json!({"linux": {"uidMappings": [{"containerID": 0, "hostID": 1000, "size": 2}]}}),
            "id-map-not-allowed",
            "/linux/uidMappings/0",
        ),
        (json!({"linux": {"resources": {"cpu": {"shares": 5}}}}), "no-controller", "/linux/resources/cpu"),
        (
            json!({"linux": {"resources": {"blockIO": {"weight": 50}}}}),
            "no-controller",
            "/linux/resources/blockIO",
        ),
    ];
    for (change, rule, pointer) in cases {
        assert_eq!(findings(change.clone()), one(Error, rule, pointer), "{change}");
    }
}

#[test]
fn an_older_kernel_is_told_apart() {
    let mut config = careful();
    let mapped =
        json!([{"destination": "/d", "type": "bind", "source": "/d", "options": ["rbind", "rro", "ridmap"]}]);
    merge(&mut config, json!({"mounts": mapped}));
    let config: Config = serde_json::from_value(config).unwrap();
    let found = |kernel| {
        let mut report = Report::default();
        report.needs(&config, &Host { kernel, ..host() });
        report.0.len()
    };
    assert_eq!([found((5, 12)), found((5, 11)), found((4, 19))], [0, 2, 2]);
    assert_eq!(version_of("6.1.0-18-cloud-amd64\n"), Some((6, 1)));
    assert_eq!(version_of("7.3-rc1"), Some((7, 3)));
}

#[test]
fn what_gives_the_host_away() {
    let bind = |source: &str, options: Value| json!({"mounts": [{"destination": "/d", "type": "bind", "source": source, "options": options}]});
    let cases = [
        (bind("/", json!(["rbind"])), "writable-host-path", "/mounts/0/source"),
        (bind("/etc/", json!(["bind", "rw"])), "writable-host-path", "/mounts/0/source"),
        (bind("/run/docker.sock", json!(["bind", "ro"])), "engine-socket", "/mounts/0/source"),
        (bind("/srv", json!(["rbind", "rshared"])), "shared-propagation", "/mounts/0/options"),
        (json!({"linux": {"seccomp": null}}), "no-seccomp", "/linux"),
        (
            json!({"process": {"capabilities": {"inheritable": ["CAP_CHOWN"]}}}),
            "inheritable-capabilities",
            "/process/capabilities/inheritable",
        ),
        (
            json!({"linux": {"resources": {"devices": [{"allow": true, "access": "rwm"}]}}}),
            "device-access",
            "/linux/resources/devices/0",
        ),
        (
            json!({"linux": {"resources": {"devices": [{"allow": true, "type": "b", "major": 8, "access": "rw"}]}}}),
            "device-access",
            "/linux/resources/devices/0",
        ),
    ];
    for (change, rule, pointer) in cases {
        assert_eq!(findings(change.clone()), one(Warning, rule, pointer), "{change}");
    }
    for harmless in [bind("/etc", json!(["bind", "rro"])), bind("/etc/hosts", json!(["bind"]))] {
        assert_eq!(findings(harmless.clone()), [], "{harmless}");
    }
}

#[test]
fn without_a_user_namespace_root_is_root() {
    let found = findings(json!({
        "process": {"user": {"uid": 0}, "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}},
        "linux": {"namespaces": [{"type": "mount"}], "uidMappings": [], "gidMappings": []},
    }));
    let of =
        |rule| found.iter().filter(|finding| finding.1 == rule).map(|finding| finding.0).collect::<Vec<_>>();
    assert_eq!(of("host-namespace"), [Warning, Warning, Warning, Note, Note]);
    assert_eq!(of("root-is-root"), [Note]);
    assert_eq!(of("powerful-capability"), [Warning]);
    assert_eq!((of("unmasked-path").len(), of("writable-proc").len()), (6, 3));
}

#[test]
fn system_calls_that_nobody_knows_are_named() {
    let names = ["read", "a", "b", "c", "d", "e", "f"];
    let mut config = careful();
    merge(
        &mut config,
        json!({"linux": {"seccomp": {"syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]}}}),
    );
    let mut report = Report::default();
    report.needs(&serde_json::from_value(config).unwrap(), &host());
    assert_eq!(report.0[0].message, "no system call of that name: a, b, c, d, e and 1 more");
}

#[test]
fn a_bundle_is_looked_at_with_the_places_in_its_text() {
    let bundle = tempfile::tempdir().unwrap();
    let path = bundle.path();
    let mut config = careful();
    config["process"]["args"][0] = "tool".into();
    config["process"]["env"] = json!(["PATH=/sbin:/bin"]);
    config["hooks"] = json!({"poststop": [{"path": "/no/such/hook"}]});
    config["mounts"][1] = json!({"destination": "/x", "type": "bind", "source": "gone", "options": ["bind"]});
    std::fs::write(path.join("config.json"), serde_json::to_string_pretty(&config).unwrap()).unwrap();
    let look = || {
        let findings = lint_bundle(path.to_str().unwrap());
        let errors = findings.into_iter().filter(|finding| finding.rule.starts_with("missing-"));
        errors.map(|finding| (finding.rule, finding.pointer, finding.line > 1)).collect::<Vec<_>>()
    };
    let hook = ("missing-hook", "/hooks/poststop/0/path".to_owned(), true);
    let source = ("missing-source", "/mounts/1/source".to_owned(), true);
    let rootfs = ("missing-rootfs", "/root/path".to_owned(), true);
    let program = ("missing-program", "/process/args/0".to_owned(), true);
    assert_eq!(look(), [hook.clone(), source.clone(), rootfs]);

    std::fs::create_dir_all(path.join("rootfs/bin")).unwrap();
    assert_eq!(look(), [hook.clone(), source.clone(), program.clone()]);
    // A link that would lead out is resolved inside.
    std::os::unix::fs::symlink("/bin/sh", path.join("rootfs/bin/tool")).unwrap();
    assert_eq!(look(), [hook.clone(), source.clone(), program]);
    std::fs::copy("/bin/true", path.join("rootfs/bin/sh")).unwrap();
    assert_eq!(look(), [hook, source]);
}

#[test]
fn what_a_plan_cannot_have_is_told_with_the_rest() {
    let bundle = tempfile::tempdir().unwrap();
    let mut config = careful();
    config["mounts"][1]["destination"] = "/proc/sys".into();
    config["process"]["selinuxLabel"] = "a:b:c".into();
    config["linux"]["resources"]["unified"] = json!({"memory.high": "1"});
    config["annotations"] = json!({"run.oci.handler": "krun", "run.oci.keep_original_groups": "1", "a/b": "c",
        "run.oci.seccomp_fail_unknown_syscall": "1"});
    config["linux"]["seccomp"]["syscalls"] =
        json!([{"names": ["read", "no_such"], "action": "SCMP_ACT_ALLOW"}]);
    let text = serde_json::to_string_pretty(&config).unwrap();
    std::fs::write(bundle.path().join("config.json"), text).unwrap();
    let findings = lint_bundle(bundle.path().to_str().unwrap());
    let told = |pointer: &str| {
        let of_it = findings.iter().filter(|finding| finding.pointer == pointer && finding.line > 1);
        of_it.map(|finding| finding.rule).collect::<Vec<_>>()
    };
    assert_eq!(told("/mounts/1/destination"), ["plan"]);
    assert_eq!(told("/annotations/run.oci.handler"), ["ignored-annotation"]);
    assert!(findings.iter().filter(|finding| finding.rule == "ignored-annotation").count() == 1);
    assert!(told("/linux/seccomp/syscalls").contains(&"plan"), "{findings:?}");
    assert_eq!(told("/process/selinuxLabel").len(), 1, "what a rule has told is not told again");
}

#[test]
fn what_cannot_be_read_is_one_finding_a_mistake() {
    let bundle = tempfile::tempdir().unwrap();
    std::fs::write(bundle.path().join("config.json"), "{\"ociVersion\": 1}").unwrap();
    let findings = lint_bundle(bundle.path().to_str().unwrap());
    assert!(findings.iter().all(|finding| (finding.severity, finding.rule) == (Error, "config")));
    assert_eq!(
        findings[0].to_string(),
        "config.json:1:1: error: /root: root must be specified: {\"path\": \"rootfs\"} [config]",
        "{findings:?}"
    );
}
