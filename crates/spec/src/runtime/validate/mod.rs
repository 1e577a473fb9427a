// SPDX-License-Identifier: Apache-2.0
//! The rules of config.md and config-linux.md that the types cannot express, collected all at once.
//!
//! Only rules that hold on every host are here. Whether a path exists or a kernel has a feature shows later.

mod linux;
mod mounts;
mod process;
mod resources;
mod seccomp;

pub use mounts::{validate_destinations, validate_mounts};
pub use seccomp::ARCHITECTURES;

use std::fmt::Display;

use super::{Config, Hook, Hooks, Process, Resources, number_list};

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// RFC 6901, into the document: `/process/cwd`.
    pub pointer: String,
    pub message: String,
}

/// Every mistake that shows without looking at a host. Empty means valid.
pub fn validate(config: &Config) -> Vec<Violation> {
    let mut report = Report::default();
    report.version(&config.oci_version);
    match &config.root {
        None => report.add("/root", "root must be specified: {\"path\": \"rootfs\"}"),
        Some(root) if root.path.is_empty() => report.add("/root/path", "must not be empty"),
        Some(root) => report.no_nul("/root/path", &root.path),
    }
    // It may be missing until the start.
    if let Some(process) = &config.process {
        report.process("/process", process);
    }
    report.no_nul("/hostname", &config.hostname);
    report.no_nul("/domainname", &config.domainname);
    report.mounts(config);
    report.hooks(&config.hooks);
    if config.annotations.contains_key("") {
        report.add("/annotations", "a key must not be empty");
    }
    report.linux(config);
    report.violations
}

impl Process {
    /// Every mistake in a process that stands alone, as `exec --process` reads it.
    pub fn validate(&self) -> Vec<Violation> {
        let mut report = Report::default();
        report.process("", self);
        report.violations
    }
}

impl Resources {
    /// Every mistake in limits that stand alone, as `update --resources` reads them.
    pub fn validate(&self) -> Vec<Violation> {
        let mut report = Report::default();
        report.resources("", self);
        report.violations
    }
}

/// Collects; the rules are its methods, one file per chapter.
#[derive(Default)]
struct Report {
    violations: Vec<Violation>,
}

impl Report {
    fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.violations.push(Violation { pointer: pointer.into(), message: message.into() });
    }

    /// Most strings end up in a system call, where a NUL would cut them short.
    fn no_nul(&mut self, pointer: impl Display, text: &str) {
        if text.contains('\0') {
            self.add(pointer.to_string(), "must not contain a NUL character");
        }
    }

    fn absolute(&mut self, pointer: impl Display, path: &str) {
        if !path.starts_with('/') {
            self.add(pointer.to_string(), format!("must be an absolute path, got {path:?}"));
        }
        self.no_nul(pointer, path);
    }

    /// A list of CPUs or memory nodes.
    fn list(&mut self, pointer: impl Into<String>, list: &str) {
        if let Err(message) = number_list(list) {
            self.add(pointer, message);
        }
    }

    /// `1.x.y` with what SemVer allows behind it.
    fn version(&mut self, version: &str) {
        let core = version.split(['-', '+']).next().unwrap_or_default();
        let numbers: Vec<_> = core.split('.').collect();
        let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if numbers.len() != 3 || !numbers.iter().all(is_number) {
            self.add("/ociVersion", format!("must be a version such as \"1.3.0\", got {version:?}"));
        } else if numbers[0] != "1" {
            self.add(
                "/ociVersion",
                format!("version {version} of the specification is not supported, 1.x is"),
            );
        }
    }

    fn hooks(&mut self, hooks: &Hooks) {
        let moments: [(&str, &[Hook]); 6] = [
            ("prestart", &hooks.prestart),
            ("createRuntime", &hooks.create_runtime),
            ("createContainer", &hooks.create_container),
            ("startContainer", &hooks.start_container),
            ("poststart", &hooks.poststart),
            ("poststop", &hooks.poststop),
        ];
        for (moment, hooks) in moments {
            for (index, hook) in hooks.iter().enumerate() {
                let here = format!("/hooks/{moment}/{index}");
                self.absolute(format!("{here}/path"), &hook.path);
                if hook.timeout.is_some_and(|seconds| seconds <= 0) {
                    self.add(format!("{here}/timeout"), "must be greater than zero");
                }
                for (name, words) in [("args", &hook.args), ("env", &hook.env)] {
                    for (index, word) in words.iter().enumerate() {
                        self.no_nul(format!("{here}/{name}/{index}"), word);
                    }
                }
            }
        }
    }
}

/// A name as one token of a JSON pointer.
pub(super) fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
