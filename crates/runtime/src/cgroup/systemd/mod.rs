// SPDX-License-Identifier: Apache-2.0
//! The cgroup as a transient scope of systemd (org.freedesktop.systemd1(5), `CGROUP_DELEGATION.md`).
//!
//! A scope needs a process to begin with, and gives it its cgroup. That process is the stage (see `launch`), which makes
//! the container's once it is in there: so the container's first process is born in its cgroup, and nobody but systemd
//! ever moves one.
//!
//! ```text
//!  runtime                                        systemd
//!     │ clone3 ──► stage, waits                      │
//!     │ StartTransientUnit(x.scope, [PIDs, …]) ────► │ makes the cgroup, moves the stage
//!     │ ◄──────────────────── job; JobRemoved(done)  │
//!     │ limits; go ──► stage ──clone3──► init        │
//!     …
//!     │ StopUnit(x.scope), ResetFailedUnit ────────► │ removes it
//! ```
//!
//! A scope whose last process has ended goes by itself, so a killed runtime leaves none.

mod annotation;
pub(super) mod properties;
#[cfg(test)]
mod tests;
mod unit;

use serde::{Deserialize, Serialize};

pub use unit::Unit;

use super::Version;
use crate::dbus::{Address, Call, Connection, Refusal, Value};
use crate::{Error, ErrorKind, Result, Wrap};

/// A name and a value on the bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Property {
    pub name: String,
    pub value: Value,
    /// The first version of systemd that takes it; 0 for those that every one does.
    pub since: u32,
    /// Not to be changed later.
    pub at_start_only: bool,
}

impl Unit {
    /// What a container's state keeps of it.
    pub fn record(&self) -> UnitRecord {
        UnitRecord { name: self.name.clone(), of_user: self.of_user, managers: self.managers.clone() }
    }
}

impl Property {
    fn new(name: &str, value: Value) -> Self {
        Self { name: name.into(), value, since: 0, at_start_only: false }
    }

    fn encode(&self) -> Value {
        Value::Struct(vec![Value::text(&self.name), Value::Variant(Box::new(self.value.clone()))])
    }
}

/// The unit of a container that is there, for its state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRecord {
    pub name: String,
    /// Of a user's own systemd, not the machine's.
    pub of_user: bool,
    /// Where systemd may be reached, in the order to try.
    pub managers: Vec<Address>,
}

impl UnitRecord {
    /// For a unit that may have come about, and to nothing, when its runtime was killed. Another's of the same name that
    /// has a process is left alone.
    pub fn end_if_empty(&self) -> Result<()> {
        let mut manager = Manager::connect(&self.managers)?;
        match manager.call("GetUnitProcesses", &[Value::text(&self.name)]) {
            Ok(answer) if matches!(answer.first(), Some(Value::Array(_, processes)) if processes.is_empty()) => {
                manager.stop(&self.name)
            }
            _ => Ok(()),
        }
    }
}

/// A systemd, of the system or of a user.
#[derive(Debug)]
pub(super) struct Manager(Connection);

/// The hierarchies of v1 in which systemd makes and removes directories by itself.
pub(super) const MANAGED: [&str; 8] =
    ["", "name=systemd", "cpu", "cpuacct", "blkio", "memory", "devices", "pids"];

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";

impl Manager {
    /// The first that answers.
    pub(super) fn connect(addresses: &[Address]) -> Result<Self> {
        let mut reasons = Vec::new();
        for address in addresses {
            match Connection::open(address).and_then(|mut connection| {
                let rule = format!("type='signal',path='{PATH}',interface='{INTERFACE}',member='JobRemoved'");
                connection.subscribe(&rule).map(|()| connection)
            }) {
                Ok(connection) => return Ok(Self(connection)),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        let reasons = if reasons.is_empty() { "no address is known".into() } else { reasons.join("; ") };
        Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "cannot reach systemd: {reasons} (for a user: log in so that $XDG_RUNTIME_DIR is set, or `loginctl enable-linger`; \
                 without systemd leave --systemd-cgroup out)"
            ),
        ))
    }

    fn call(&mut self, member: &str, body: &[Value]) -> std::result::Result<Vec<Value>, Refusal> {
        self.0.call(&Call { destination: NAME, path: PATH, interface: INTERFACE, member, body })
    }

    /// Makes the scope around a process, and returns when that is in the scope's cgroup.
    pub(super) fn start(
        &mut self,
        unit: &Unit,
        version: Version,
        pid: u32,
        limits: Vec<Property>,
    ) -> Result<()> {
        let mut properties = basic(unit, version, pid);
        properties.extend(limits);
        properties.extend(unit.properties.iter().cloned());
        let body = [
            Value::text(&unit.name),
            Value::text("replace"),
            self.encode(properties.iter())?,
            Value::Array("(sa(sv))".into(), Vec::new()),
        ];
        let started = self.job("StartTransientUnit", &body).or_else(|refusal| {
            if !refusal.is("org.freedesktop.systemd1.UnitExists") {
                return Err(refusal);
            }
            // It may only be the remains of one that has failed.
            self.reset_failed(&unit.name);
            self.job("StartTransientUnit", &body)
        });
        match started.map_err(Error::from).wrap(|| format!("unable to start unit {:?}", unit.name))?.as_str()
        {
            "done" => Ok(()),
            result => {
                self.reset_failed(&unit.name);
                let what = format!("unable to start unit {:?}: its job ended as {result:?}", unit.name);
                Err(Error::new(ErrorKind::Os, what))
            }
        }
    }

    /// Ends a unit, whatever is in it. One that is gone is no error.
    pub(super) fn stop(&mut self, name: &str) -> Result<()> {
        match self.job("StopUnit", &[Value::text(name), Value::text("replace")]) {
            Ok(_) => {
                // One that has failed stays until somebody has taken note.
                self.reset_failed(name);
                Ok(())
            }
            Err(refusal) if refusal.is("org.freedesktop.systemd1.NoSuchUnit") => Ok(()),
            Err(refusal) => Err(Error::from(refusal)).wrap(|| format!("stop unit {name:?}")),
        }
    }

    /// Changes limits of a unit that runs, until the next boot; they are in the kernel's files when this returns.
    pub(super) fn set_properties(&mut self, name: &str, properties: &[Property]) -> Result<()> {
        let properties = self.encode(properties.iter().filter(|property| !property.at_start_only))?;
        let body = [Value::text(name), Value::Boolean(true), properties];
        let set = self.call("SetUnitProperties", &body).and_then(|_| {
            // It writes the files before it looks at the next call.
            self.call("GetUnit", &[Value::text(name)])
        });
        set.map(drop).map_err(Error::from).wrap(|| format!("unable to set properties of unit {name:?}"))
    }

    /// Moves a process to a cgroup of a unit, or below that, where the caller has no right to.
    pub(super) fn attach(&mut self, name: &str, below: &str, pid: u32) -> Result<()> {
        let pids = Value::Array("u".into(), vec![Value::Uint32(pid)]);
        let body = [Value::text(name), Value::text(below), pids];
        let attached = self.call("AttachProcessesToUnit", &body).map_err(Error::from);
        attached.map(drop).wrap(|| format!("attach a process to unit {name:?}"))
    }

    /// Asks for something that takes its time, and waits for how it ends.
    fn job(&mut self, member: &str, body: &[Value]) -> std::result::Result<String, Refusal> {
        let answer = self.call(member, body)?;
        let job = answer.first().and_then(Value::as_text).unwrap_or_default();
        // JobRemoved(u id, o job, s unit, s result)
        let result = self.0.wait_for("JobRemoved", |values| match values {
            [_, Value::Path(path), _, Value::Text(result)] if path == job => Some(result.clone()),
            _ => None,
        })?;
        Ok(result)
    }

    /// That it has not failed, or is not there, is as good.
    fn reset_failed(&mut self, name: &str) {
        drop(self.call("ResetFailedUnit", &[Value::text(name)]));
    }

    /// `a(sv)` of those that this systemd knows; it is asked only where that matters.
    fn encode<'a>(&mut self, properties: impl Iterator<Item = &'a Property> + Clone) -> Result<Value> {
        let newest = properties.clone().map(|property| property.since).max().unwrap_or_default();
        let version = if newest == 0 { 0 } else { self.version()? };
        let known = properties.filter(|property| property.since <= version);
        Ok(Value::Array("(sv)".into(), known.map(Property::encode).collect()))
    }

    /// The number in `252.39-1~deb12u2`.
    fn version(&mut self) -> Result<u32> {
        let call = Call {
            destination: NAME,
            path: PATH,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            body: &[Value::text(INTERFACE), Value::text("Version")],
        };
        let answer = self.0.call(&call).map_err(Error::from).wrap(|| "ask for systemd's version")?;
        let text = match answer.first() {
            Some(Value::Variant(text)) => text.as_text().unwrap_or_default(),
            _ => "",
        };
        let digits = text.trim_start_matches('v').split(|c: char| !c.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
            Error::new(ErrorKind::Os, format!("systemd's version {text:?} does not begin with a number"))
        })
    }
}

/// What every container's scope has: a place, its first process, a cgroup that systemd leaves alone, and all counters on.
fn basic(unit: &Unit, version: Version, pid: u32) -> Vec<Property> {
    let io = if version == Version::V2 { "IOAccounting" } else { "BlockIOAccounting" };
    let on = [("Delegate", true), ("MemoryAccounting", true), ("CPUAccounting", true), (io, true)];
    let switches = on.into_iter().chain([("TasksAccounting", true), ("DefaultDependencies", false)]);
    let mut properties = vec![
        Property::new(
            "Description",
            Value::text(format!("container {}", unit.name.trim_end_matches(".scope"))),
        ),
        Property::new("Slice", Value::text(&unit.slice)),
        Property::new("PIDs", Value::Array("u".into(), vec![Value::Uint32(pid)])),
    ];
    properties.extend(switches.map(|(name, on)| Property::new(name, Value::Boolean(on))));
    properties
}
