// SPDX-License-Identifier: Apache-2.0
//! `state --live`: what the kernel says of a container, beside what its configuration asked for.
//!
//! ```text
//!  config.json of the container ──asked──┐
//!  /proc/PID, cgroupfs ─────────actual───┴─► facts, each with a JSON pointer
//! ```
//!
//! Only looks, and only from outside: nothing is entered, nothing in there is executed. A program that gives up
//! privileges, or calls setrlimit(2), differs afterwards from what was asked, and is meant to.

mod mounts;
mod process;

use conex_spec::runtime::{Config, NamespaceKind, Status};
use conex_sys::procfs::Procfs;
use serde::Serialize;

use crate::container::Container;
use crate::{Error, ErrorKind, Result, Wrap};

/// One property.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fact {
    /// Of the property in `config.json`.
    pub pointer: String,
    pub asked: String,
    pub actual: String,
    pub agrees: bool,
}

/// What `state --live` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Live {
    pub id: String,
    pub pid: i32,
    pub status: Status,
    /// Whether all the facts do.
    pub agrees: bool,
    pub facts: Vec<Fact>,
}

/// Collects; what is looked at together is in a file of its own.
struct Facts<'a> {
    facts: Vec<Fact>,
    config: &'a Config,
    pid: i32,
    proc: Procfs,
}

/// Looks at a container that has a process.
///
/// Errors: [`ErrorKind::State`] when it has none.
pub(crate) fn live(container: &Container) -> Result<Live> {
    let status = container.status()?;
    let id = container.record.id.clone();
    // Held: the pid means this process as long as it is open.
    let Some(_pidfd) = container.init()? else {
        let message = format!("container {id} has no process to look at: its status is {status}");
        return Err(Error::new(ErrorKind::State, message));
    };
    let config = container.config()?;
    let pid = container.record.init_process_pid;
    let mut facts = Facts { facts: Vec::new(), config: &config, pid, proc: Procfs::of_host()? };
    // A created container has not yet given up what only its program must not have.
    if status != Status::Created {
        facts.process()?;
    }
    facts.namespaces()?;
    facts.mounts()?;
    facts.resources(container)?;
    let facts = facts.facts;
    Ok(Live { agrees: facts.iter().all(|fact| fact.agrees), id, pid, status, facts })
}

impl Facts<'_> {
    fn add(&mut self, pointer: impl Into<String>, asked: impl ToString, actual: impl ToString) {
        let (asked, actual) = (asked.to_string(), actual.to_string());
        let agrees = asked == actual;
        self.facts.push(Fact { pointer: pointer.into(), asked, actual, agrees });
    }

    /// A file below `/proc/PID`.
    fn read(&self, name: &str) -> Result<String> {
        let text = self.proc.read(&format!("{}/{name}", self.pid));
        text.wrap(|| format!("look at process {}", self.pid))
    }

    /// By the identity of the files in `/proc/PID/ns`.
    fn namespaces(&mut self) -> Result<()> {
        for kind in NamespaceKind::ALL {
            let name = kind.proc_name();
            let Some(actual) = identity(&format!("/proc/{}/ns/{name}", self.pid)) else { continue };
            let is_own = identity(&format!("/proc/self/ns/{name}")) == Some(actual);
            let shown = if is_own { "the caller's" } else { "another" };
            match self.config.namespace(kind) {
                None => {
                    self.add("/linux/namespaces", format!("{kind}: the caller's"), format!("{kind}: {shown}"))
                }
                Some(namespace) if namespace.path.is_empty() => {
                    self.add("/linux/namespaces", format!("{kind}: another"), format!("{kind}: {shown}"));
                }
                Some(namespace) => {
                    let joined = identity(&namespace.path) == Some(actual);
                    let shown = if joined { namespace.path.as_str() } else { shown };
                    self.add(
                        "/linux/namespaces",
                        format!("{kind}: {}", namespace.path),
                        format!("{kind}: {shown}"),
                    );
                }
            }
        }
        Ok(())
    }

    fn resources(&mut self, container: &Container) -> Result<()> {
        let Some(resources) = self.config.linux.as_ref().and_then(|linux| linux.resources.as_ref()) else {
            return Ok(());
        };
        for reading in container.cgroup().readings(resources)? {
            let agrees = reading.agrees();
            let actual = reading.actual.unwrap_or_else(|| "no such file".into());
            let file = reading.path;
            self.facts.push(Fact {
                pointer: "/linux/resources".into(),
                asked: format!("{file}: {}", reading.asked),
                actual: format!("{file}: {}", actual.replace('\n', "; ")),
                agrees,
            });
        }
        Ok(())
    }
}

/// Device and inode of a namespace.
fn identity(path: &str) -> Option<(u64, u64)> {
    #[expect(clippy::disallowed_methods, reason = "procfs and bound namespaces are the host's")]
    let found = std::fs::metadata(path).ok()?;
    use std::os::unix::fs::MetadataExt;
    Some((found.dev(), found.ino()))
}
