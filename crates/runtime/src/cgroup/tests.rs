// SPDX-License-Identifier: Apache-2.0
//! On the real cgroup filesystem, with a process of their own: tier `root_`.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::plan::{Host, Request, plan};

/// Removes what a failed test leaves.
struct Guard {
    plan: CgroupPlan,
    child: Option<Child>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
        Cgroup::open(self.plan.directories.clone()).remove().ok();
    }
}

impl Guard {
    fn new(name: &str, resources: &str) -> Option<Self> {
        let layout = Layout::detect().unwrap();
        if !conex_sys::credentials::effective_user().eq(&0) || layout.hierarchies.is_empty() {
            eprintln!("SKIP {name}: needs root and a mounted cgroup filesystem");
            return None;
        }
        let config = format!(
            r#"{{"root":{{"path":"/"}},"process":{{"args":["x"],"cwd":"/"}},"linux":{{"namespaces":[{{"type":"mount"}}],"resources":{resources}}}}}"#
        );
        let host = Host { cgroup: layout, ..Host::default() };
        let request =
            Request { id: format!("conex-test-{name}-{}", std::process::id()), ..Request::default() };
        let plan = plan(&serde_json::from_str(&config).unwrap(), &request, &host).unwrap().cgroup;
        Some(Self { plan, child: None })
    }

    /// The script begins only once the process is in the cgroup.
    fn spawn(&mut self, cgroup: &Cgroup, script: &str) -> i32 {
        let script = format!("read go; {script}");
        let mut child = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        cgroup.enter(pid).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        self.child = Some(child);
        pid
    }

    fn no_directory_is_left(&self) {
        for directory in self.plan.directories.values() {
            assert!(!std::path::Path::new(directory).exists(), "{directory}");
        }
    }
}

#[test]
fn root_a_process_is_limited_frozen_killed_and_its_cgroup_removed() {
    let limits = r#"{"pids":{"limit":7},"memory":{"limit":67108864}}"#;
    let Some(mut guard) = Guard::new("life", limits) else { return };
    let cgroup = Cgroup::create(&guard.plan).unwrap();
    let pid = guard.spawn(&cgroup, "sleep 1000 & wait");
    let again = Cgroup::open(cgroup.directories().clone());
    assert!(again.processes().unwrap().contains(&pid));
    let file = |controller: &str, file| {
        let directory = again.directories().get(controller).or(again.directories().get("")).unwrap();
        directory::read(directory, file).unwrap()
    };
    assert_eq!(file("pids", "pids.max"), "7\n");

    assert!(!again.is_frozen().unwrap());
    again.freeze().unwrap();
    assert!(again.is_frozen().unwrap());
    again.thaw().unwrap();
    assert!(!again.is_frozen().unwrap());

    let refused = Cgroup::create(&guard.plan).unwrap_err().to_string();
    assert!(refused.starts_with("container's cgroup is not empty: "), "{refused}");

    again.kill().unwrap();
    let status = guard.child.take().unwrap().wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    again.remove().unwrap();
    guard.no_directory_is_left();
}

#[test]
fn root_a_forking_crowd_is_killed_to_the_last() {
    let Some(mut guard) = Guard::new("crowd", r#"{"pids":{"limit":50}}"#) else { return };
    let cgroup = Cgroup::create(&guard.plan).unwrap();
    guard.spawn(&cgroup, "while :; do sleep 0.01 & done");
    cgroup.kill().unwrap();
    guard.child.take().unwrap().wait().unwrap();
    cgroup.remove().unwrap();
    guard.no_directory_is_left();
}

#[test]
fn root_cgroups_made_by_the_container_are_removed_too() {
    let Some(guard) = Guard::new("nested", "{}") else { return };
    let cgroup = Cgroup::create(&guard.plan).unwrap();
    for directory in
        guard.plan.directories.values().filter(|directory| std::path::Path::new(directory).exists())
    {
        std::fs::create_dir_all(format!("{directory}/a/b")).unwrap();
    }
    cgroup.remove().unwrap();
    guard.no_directory_is_left();
    // A second time there is nothing to do.
    Cgroup::open(guard.plan.directories.clone()).remove().unwrap();
}

#[test]
fn root_a_missing_controller_is_named() {
    let limits = r#"{"hugepageLimits":[{"pageSize":"3MB","limit":1}]}"#;
    let Some(guard) = Guard::new("missing", limits) else { return };
    let message = Cgroup::create(&guard.plan).unwrap_err().to_string();
    assert!(message.contains("hugetlb"), "{message}");
}

#[test]
fn best_effort_does_without_directories_but_not_without_limits() {
    let mut plan = CgroupPlan {
        directories: [(String::new(), "/sys/kernel/no-cgroups-here".to_owned())].into(),
        best_effort: true,
        ..CgroupPlan::default()
    };
    // sysfs refuses new directories to everybody.
    let cgroup = Cgroup::create(&plan).unwrap();
    assert!(cgroup.directories().is_empty());
    plan.resources.pids.limit = Some(1);
    let message = Cgroup::create(&plan).unwrap_err().to_string();
    assert_eq!(message, "cannot set pids limit: container could not join or create cgroup");
    plan.best_effort = false;
    assert!(
        Cgroup::create(&plan).unwrap_err().to_string().starts_with("mkdir /sys/kernel/no-cgroups-here: ")
    );
}
