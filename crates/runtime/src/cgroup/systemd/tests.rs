// SPDX-License-Identifier: Apache-2.0
//! A systemd that answers as it is told to, on a socket: what may go wrong there.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use super::*;
use crate::dbus::Message;
use crate::dbus::message::encode;

/// What to say to a call: bytes, or nothing and hang up.
type Answer = Option<Vec<u8>>;

struct FakeSystemd {
    directory: tempfile::TempDir,
    /// The calls that came, by name.
    calls: JoinHandle<Vec<String>>,
}

impl FakeSystemd {
    /// Takes one connection. `answer` gets the call's name and how many came before.
    fn start(greeting: &'static str, answer: fn(&str, u32) -> Answer) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("private")).unwrap();
        let calls = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut received = Vec::new();
            let mut calls = Vec::new();
            let mut buffer = [0; 4096];
            let mut greeted = false;
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => return calls,
                    Ok(count) => received.extend_from_slice(&buffer[..count]),
                }
                let begin = received.windows(7).position(|seven| seven == b"BEGIN\r\n");
                if let Some(at) = begin.filter(|_| !greeted) {
                    greeted = true;
                    assert_eq!(received.drain(..at + 7).next(), Some(0));
                    stream.write_all(greeting.as_bytes()).unwrap();
                }
                while let Some(length) =
                    Message::length(&received).unwrap().filter(|it| greeted && *it <= received.len())
                {
                    let bytes: Vec<u8> = received.drain(..length).collect();
                    let call = Message::decode(&bytes).unwrap();
                    let Some(bytes) = answer(&call.member, u32::try_from(calls.len()).unwrap()) else {
                        return calls;
                    };
                    calls.push(call.member);
                    // Who has read enough may hang up before the end.
                    if stream.write_all(&bytes).is_err() {
                        return calls;
                    }
                }
            }
        });
        Self { directory, calls }
    }

    fn manager(&self) -> Result<Manager> {
        let path = self.directory.path().join("private").to_str().unwrap().to_owned();
        Manager::connect(&[Address::Peer("/nowhere".into()), Address::Peer(path)])
    }

    fn calls(self) -> Vec<String> {
        self.calls.join().unwrap()
    }
}

const HELLO: &str = "DATA\r\nOK 0123456789abcdef\r\n";

/// An answer to the call before which `earlier` came.
fn reply(earlier: u32, body: &[Value]) -> Vec<u8> {
    encode(2, 9, vec![(5, Value::Uint32(earlier + 1))], body)
}

fn refusal(earlier: u32, name: &str) -> Vec<u8> {
    let fields =
        vec![(4, Value::text(format!("org.freedesktop.systemd1.{name}"))), (5, Value::Uint32(earlier + 1))];
    encode(3, 9, fields, &[Value::text(format!("it is {name}"))])
}

fn signal(member: &str, job: &str, result: &str) -> Vec<u8> {
    let body = [Value::Uint32(7), Value::Path(job.into()), Value::text("x.scope"), Value::text(result)];
    encode(4, 9, vec![(3, Value::text(member))], &body)
}

fn job(earlier: u32, result: &str) -> Vec<u8> {
    [
        // Nobody says in which order they come.
        signal("JobRemoved", "/job/other", "failed"),
        signal("JobNew", "/job/1", "done"),
        reply(earlier, &[Value::Path("/job/1".into())]),
        signal("JobRemoved", "/job/1", result),
    ]
    .concat()
}

fn start(fake: &FakeSystemd) -> Result<()> {
    let unit = Unit::new("", "web", false, &std::collections::BTreeMap::new(), &[]).unwrap();
    fake.manager()?.start(&unit, Version::V2, 1, Vec::new())
}

#[test]
fn a_job_that_is_done_is_a_unit() {
    let fake = FakeSystemd::start(HELLO, |_, earlier| Some(job(earlier, "done")));
    start(&fake).unwrap();
    assert_eq!(fake.calls(), ["StartTransientUnit"]);
    // The signal may come first.
    let fake = FakeSystemd::start(HELLO, |_, earlier| {
        Some(
            [signal("JobRemoved", "/job/1", "done"), reply(earlier, &[Value::Path("/job/1".into())])]
                .concat(),
        )
    });
    start(&fake).unwrap();
}

#[test]
fn a_job_that_failed_is_told_and_forgotten() {
    let fake = FakeSystemd::start(HELLO, |_, earlier| Some(job(earlier, "failed")));
    let error = start(&fake).unwrap_err().to_string();
    assert_eq!(error, "unable to start unit \"runc-web.scope\": its job ended as \"failed\"");
    assert_eq!(fake.calls(), ["StartTransientUnit", "ResetFailedUnit"]);
}

#[test]
fn the_remains_of_a_failed_unit_are_cleared_away_once() {
    let fake = FakeSystemd::start(HELLO, |member, earlier| {
        Some(match (member, earlier) {
            ("StartTransientUnit", 0) => refusal(earlier, "UnitExists"),
            ("ResetFailedUnit", _) => reply(earlier, &[]),
            _ => job(earlier, "done"),
        })
    });
    start(&fake).unwrap();
    assert_eq!(fake.calls(), ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]);
    let fake = FakeSystemd::start(HELLO, |_, earlier| Some(refusal(earlier, "UnitExists")));
    assert_eq!(
        start(&fake).unwrap_err().to_string(),
        "unable to start unit \"runc-web.scope\": it is UnitExists"
    );
    assert_eq!(fake.calls().len(), 3);
}

#[test]
fn a_unit_that_is_gone_is_stopped_and_a_broken_one_is_not() {
    let fake = FakeSystemd::start(HELLO, |_, earlier| Some(refusal(earlier, "NoSuchUnit")));
    fake.manager().unwrap().stop("x.scope").unwrap();
    assert_eq!(fake.calls(), ["StopUnit"]);
    let fake = FakeSystemd::start(HELLO, |_, earlier| Some(refusal(earlier, "Masked")));
    let error = fake.manager().unwrap().stop("x.scope").unwrap_err();
    assert_eq!(error.to_string(), "stop unit \"x.scope\": it is Masked");
}

#[test]
fn a_property_waits_for_the_version_that_knows_it() {
    let mut seen = Vec::new();
    for since in [252, 253, 0] {
        let fake = FakeSystemd::start(HELLO, |member, earlier| {
            let version = reply(earlier, &[Value::Variant(Box::new(Value::text("252.39-1~deb12u2")))]);
            Some(if member == "Get" { version } else { reply(earlier, &[]) })
        });
        let property = Property { since, ..Property::new("CPUWeight", Value::Uint64(0)) };
        let encoded = fake.manager().unwrap().encode([&property].into_iter()).unwrap();
        let Value::Array(_, sent) = encoded else { panic!("no array") };
        seen.push((sent.len(), fake.calls().len()));
    }
    assert_eq!(seen, [(1, 1), (0, 1), (1, 0)]);
}

#[test]
fn a_systemd_that_goes_away_or_talks_nonsense_is_an_error() {
    let fake = FakeSystemd::start(HELLO, |_, _| None);
    let error = start(&fake).unwrap_err().to_string();
    assert!(error.starts_with("unable to start unit \"runc-web.scope\": StartTransientUnit at /"), "{error}");
    assert!(error.ends_with("private: the other side has hung up"), "{error}");
    for (greeting, expected) in [
        ("REJECTED EXTERNAL\r\n", "refused: REJECTED EXTERNAL"),
        ("DATA\r\nERROR\r\n", "refused: ERROR"),
        (concat!("DATA\r\nOK x\r\n", "not D-Bus at all, and long enough"), "malformed D-Bus message"),
    ] {
        let fake = FakeSystemd::start(greeting, |_, earlier| Some(reply(earlier, &[])));
        let error = start(&fake).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = Manager::connect(&[Address::Peer("/nowhere".into())]).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot reach systemd: connect(\"/nowhere\"): no such file or directory"),
        "{error}"
    );
}
