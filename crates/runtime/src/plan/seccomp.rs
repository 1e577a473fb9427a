// SPDX-License-Identifier: Apache-2.0
//! The filter is compiled here, on the host, so that init only has to load it.

use conex_spec::runtime::Seccomp;

use super::annotation::FAIL_UNKNOWN;
use super::{Draft, Listener, SeccompStep, Step};
use crate::seccomp::{compile, knows};

impl Draft<'_> {
    pub(super) fn seccomp(&mut self) {
        let Some(profile) = &self.linux().seccomp else { return };
        if self.annotated(FAIL_UNKNOWN) {
            self.refuse_unknown_names(profile);
        }
        let filter = match compile(profile) {
            Ok(filter) => filter,
            Err(error) => {
                self.fail("/linux/seccomp", format!("seccomp: {error}"));
                return;
            }
        };
        let listener = filter.notifies().then(|| Listener {
            path: profile.listener_path.clone(),
            metadata: profile.listener_metadata.clone(),
        });
        self.steps.push(Step::Seccomp(SeccompStep { filter, listener }));
    }

    fn refuse_unknown_names(&mut self, profile: &Seccomp) {
        let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
        let unknown: Vec<&str> = names.filter(|name| !knows(name)).map(String::as_str).collect();
        if !unknown.is_empty() {
            let what = format!("no system call of that name ({FAIL_UNKNOWN}): {}", unknown.join(", "));
            self.fail("/linux/seccomp/syscalls", what);
        }
    }
}
