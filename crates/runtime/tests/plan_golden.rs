// SPDX-License-Identifier: Apache-2.0
//! Policy, tested without any privilege: a checked-in `golden/<case>.json` and the runbook it becomes.
//!
//! `BLESS=1 cargo test -p conex-runtime --test plan_golden` rewrites the expected texts; read the difference.
#![expect(clippy::disallowed_methods, reason = "the golden files are the project's")]
#![expect(clippy::unwrap_used, reason = "a test that cannot read its fixture has failed")]

use std::path::PathBuf;

use conex_runtime::cgroup::{Driver, Hierarchy, Layout, Version};
use conex_runtime::plan::{Host, Plan, PlanError, Request, plan};
use conex_spec::runtime::{Config, Namespace, NamespaceKind, RootfsPropagation, read, validate};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn config(case: &str) -> Config {
    let text = std::fs::read(golden(&format!("{case}.json"))).unwrap();
    read(&text, validate).unwrap()
}

fn request() -> Request {
    Request { id: "web".into(), bundle: "/bundle".into(), ..Request::default() }
}

/// Root on a machine with cgroup v2.
fn root_host() -> Host {
    Host {
        cgroup: v2("/system.slice/ssh.service"),
        kcore: true,
        last_capability: 40,
        capabilities: u64::MAX,
        ..Host::default()
    }
}

/// An ordinary user of the same machine.
fn user_host() -> Host {
    let cgroup = v2("/user.slice/user-1000.slice/user@1000.service/app.slice/shell.scope");
    Host { rootless: true, euid: 1000, egid: 1000, cgroup, ..root_host() }
}

fn v2(own_path: &str) -> Layout {
    let hierarchy = Hierarchy {
        controllers: Vec::new(),
        mount_point: "/sys/fs/cgroup".into(),
        mount_root: "/".into(),
        own_path: own_path.into(),
    };
    Layout { version: Version::V2, hierarchies: vec![hierarchy] }
}

/// The caller is itself in a container of which it sees only the own part of each hierarchy.
fn v1() -> Layout {
    let hierarchy = |controllers: &[&str], name: &str| Hierarchy {
        controllers: controllers.iter().map(ToString::to_string).collect(),
        mount_point: format!("/sys/fs/cgroup/{name}"),
        mount_root: "/docker/abc".into(),
        own_path: "/docker/abc/build".into(),
    };
    let hierarchies = vec![
        hierarchy(&["cpu", "cpuacct"], "cpu,cpuacct"),
        hierarchy(&["memory"], "memory"),
        hierarchy(&["name=systemd"], "systemd"),
        hierarchy(&[], "unified"),
    ];
    Layout { version: Version::V1, hierarchies }
}

#[track_caller]
fn assert_golden(name: &str, planned: Result<Plan, PlanError>) {
    let text = match planned {
        Ok(plan) => plan.to_string(),
        Err(error) => format!("error: {error}\n"),
    };
    let path = golden(&format!("{name}.txt"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{}", path.display());
}

#[test]
fn the_default_configuration_of_spec() {
    assert_golden("default", plan(&config("default"), &request(), &root_host()));
}

#[test]
fn the_same_without_pivot_root_and_keyring() {
    let request = Request { no_pivot: true, no_new_keyring: true, preserve_fds: 2, ..request() };
    assert_golden("default-no-pivot", plan(&config("default"), &request, &root_host()));
}

#[test]
fn the_same_on_cgroup_v1_inside_a_container() {
    let host = Host { cgroup: v1(), ..root_host() };
    assert_golden("default-v1", plan(&config("default"), &request(), &host));
}

#[test]
fn rootless_with_a_single_id() {
    assert_golden("rootless", plan(&config("rootless"), &request(), &user_host()));
}

#[test]
fn a_user_without_a_user_namespace_is_told_what_to_add() {
    assert_golden("default-as-user", plan(&config("default"), &request(), &user_host()));
}

#[test]
fn root_of_a_user_namespace_binds_devices() {
    let host = Host { in_user_namespace: true, rootless: true, ..root_host() };
    assert_golden("default-in-userns", plan(&config("default"), &request(), &host));
}

#[test]
fn everything_at_once() {
    let host = Host { selinux: true, ..root_host() };
    assert_golden("everything", plan(&config("everything"), &request(), &host));
}

/// config.md, "capabilities": what cannot be granted is a warning, not a failure.
#[test]
fn capabilities_that_the_caller_lacks_are_left_out() {
    let host = Host { capabilities: !(1 << 10), ..root_host() }; // CAP_NET_BIND_SERVICE
    let planned = plan(&config("default"), &request(), &host).unwrap();
    let warning = "ignoring unknown or unavailable capabilities: [CAP_NET_BIND_SERVICE]";
    assert_eq!(planned.warnings, [warning]);
    let steps = planned.to_string();
    assert!(steps.contains("permitted CAP_KILL CAP_AUDIT_WRITE;"), "{steps}");
    // In a user namespace of its own, it has all there are.
    let rootless = plan(&config("rootless"), &request(), &Host { capabilities: 0, ..user_host() }).unwrap();
    assert!(rootless.warnings.is_empty(), "{:?}", rootless.warnings);
}

#[test]
fn nothing_but_a_process_and_its_mounts() {
    assert_golden("bare", plan(&config("bare"), &request(), &root_host()));
}

#[test]
fn without_mounts_of_its_own_the_hosts_are_added_to_and_otherwise_left_alone() {
    let mut config = config("bare");
    let linux = config.linux.as_mut().unwrap();
    linux.namespaces.clear();
    linux.rootfs_propagation = RootfsPropagation::RecursiveShared;
    // Moving the root over / is for namespaces of one's own.
    let request = Request { no_pivot: true, ..request() };
    assert_golden("bare-on-host", plan(&config, &request, &root_host()));
    config
        .linux
        .as_mut()
        .unwrap()
        .namespaces
        .push(Namespace { kind: NamespaceKind::User, path: "/u".into() });
    let refused = plan(&config, &request, &root_host()).expect_err("no right to the host's mounts");
    assert!(refused.to_string().contains("from another user namespace"), "{refused}");
}

#[test]
fn systemd_is_asked_for_where_it_is_not() {
    let request = Request { cgroup_driver: Driver::Systemd, ..request() };
    assert_golden("systemd", plan(&config("default"), &request, &root_host()));
}

#[test]
fn mounts_that_would_feign_the_kernels_answers_are_refused() {
    for (destination, message) in [
        ("/proc/self/attr", "\"/proc/self/attr\" cannot be mounted because it is inside /proc"),
        ("/proc/../proc/sys/", "\"/proc/sys\" cannot be mounted because it is inside /proc"),
        ("/proc", "\"/proc\" cannot be mounted because it is not of type proc"),
        ("/..", "\"/\" cannot be mounted because it is the root itself"),
    ] {
        let mut config = config("default");
        config.mounts[0].destination = destination.into();
        config.mounts[0].kind = "tmpfs".into();
        let error = plan(&config, &request(), &root_host()).unwrap_err();
        assert_eq!(error.to_string(), format!("/mounts/0/destination: {message}"));
    }
}

#[test]
fn a_plan_is_json_too() {
    let plan = plan(&config("default"), &request(), &root_host()).unwrap();
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["rootfs"], "/bundle/rootfs");
    assert_eq!(json["steps"].as_array().unwrap().len(), plan.steps.len());
    assert_eq!(json["steps"][0]["joinKeyring"]["name"], "_ses.web");
}
