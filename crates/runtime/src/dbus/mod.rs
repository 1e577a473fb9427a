// SPDX-License-Identifier: Apache-2.0
//! A client of D-Bus, as much of it as it takes to talk to systemd: calls, their answers, and the signals in between, one
//! after the other on a unix socket. Not here: passing descriptors, answering calls, any address but `unix:path`.
//!
//! ```text
//!  we                                                 the other side
//!   │ NUL AUTH EXTERNAL ␍␊ DATA ␍␊ BEGIN ␍␊ ─────────► │ takes the uid from the socket
//!   │ ◄──────────────────────── DATA ␍␊ OK <guid> ␍␊  │
//!   │ Hello (a bus only) ────────────────────────────► │
//!   │ call, serial n ────────────────────────────────► │
//!   │ ◄──────────────────── any signals, then answer n │
//! ```
//!
//! The uid goes unsaid, so that the root of a user namespace is taken for who it is outside.

pub(crate) mod message;
mod wire;

use std::collections::VecDeque;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use message::{Call, Message};
pub use wire::Value;

use crate::{Error, ErrorKind, Result, Wrap};

/// An answer may take so long on a busy machine. Beyond that, whoever is asked does not work.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where somebody can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Address {
    /// A bus, on which names are reached.
    Bus(String),
    /// A socket of the one peer itself: no names, no Hello, and all of its signals.
    Peer(String),
}

impl Address {
    /// `unix:path=…` out of a list such as `DBUS_SESSION_BUS_ADDRESS`.
    pub fn parse(list: &str) -> Option<Self> {
        list.split(';').find_map(|address| {
            let path =
                address.strip_prefix("unix:")?.split(',').find_map(|pair| pair.strip_prefix("path="))?;
            unescape(path).map(Self::Bus)
        })
    }

    fn path(&self) -> &str {
        match self {
            Self::Bus(path) | Self::Peer(path) => path,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

/// `%` and two hex digits stand for a byte.
fn unescape(value: &str) -> Option<String> {
    let mut parts = value.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

/// What the other side answers when it does not do what it was asked.
#[derive(Debug)]
pub enum Refusal {
    /// The error's name, such as `org.freedesktop.systemd1.NoSuchUnit`, and its text.
    Said { name: String, text: String },
    /// There was no proper answer.
    Broken(Error),
}

impl Refusal {
    /// Whether this is the error of that name.
    pub fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Said { name, .. } if name == wanted)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Said { name, text } if text.is_empty() => Error::new(ErrorKind::Os, name),
            Refusal::Said { text, .. } => Error::new(ErrorKind::Os, text),
            Refusal::Broken(error) => error,
        }
    }
}

/// A conversation.
#[derive(Debug)]
pub struct Connection {
    address: Address,
    socket: UnixStream,
    last_serial: u32,
    /// What has come in and is not a whole message yet.
    received: Vec<u8>,
    /// Signals that came while an answer was waited for.
    signals: VecDeque<Message>,
}

impl Connection {
    /// Connects, says who we are, and on a bus asks to be let in.
    pub fn open(address: &Address) -> Result<Self> {
        let socket = UnixStream::from(conex_sys::socket::connect(Path::new(address.path()))?);
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut connection = Self {
            address: address.clone(),
            socket,
            last_serial: 0,
            received: Vec::new(),
            signals: VecDeque::new(),
        };
        connection.authenticate().wrap(|| format!("authenticate to {address}"))?;
        if matches!(address, Address::Bus(_)) {
            connection.ask_the_bus("Hello", &[]).wrap(|| format!("enter the bus {address}"))?;
        }
        Ok(connection)
    }

    /// To whom this is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    fn authenticate(&mut self) -> Result<()> {
        self.socket.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        let deadline = Instant::now() + PATIENCE;
        for expected in ["DATA", "OK"] {
            let end = loop {
                match self.received.windows(2).position(|two| two == b"\r\n") {
                    Some(end) => break end,
                    None if self.received.len() > 1024 => return Err(wire::malformed("an endless line")),
                    None => self.receive(deadline)?,
                }
            };
            let line: Vec<u8> = self.received.drain(..end + 2).collect();
            let line = String::from_utf8_lossy(&line[..end]);
            if line.split(' ').next() != Some(expected) {
                return Err(Error::new(ErrorKind::Os, format!("refused: {line}")));
            }
        }
        Ok(())
    }

    fn ask_the_bus(&mut self, member: &str, body: &[Value]) -> Result<()> {
        let name = "org.freedesktop.DBus";
        let call = Call { destination: name, path: "/org/freedesktop/DBus", interface: name, member, body };
        self.call(&call)?;
        Ok(())
    }

    /// Asks a bus for the signals that a rule describes; a peer sends all it has.
    pub fn subscribe(&mut self, rule: &str) -> Result<()> {
        match self.address {
            Address::Bus(_) => self.ask_the_bus("AddMatch", &[Value::text(rule)]),
            Address::Peer(_) => Ok(()),
        }
    }

    /// Asks, and waits for the answer. Signals that come meanwhile are kept.
    pub fn call(&mut self, call: &Call<'_>) -> std::result::Result<Vec<Value>, Refusal> {
        self.last_serial += 1;
        let bytes = call.encode(self.last_serial);
        self.socket.write_all(&bytes).wrap(|| format!("{} at {}", call.member, self.address))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.next(deadline).wrap(|| format!("{} at {}", call.member, self.address))?;
            match message.kind {
                message::SIGNAL => self.signals.push_back(message),
                message::RETURN if message.answers == Some(self.last_serial) => return Ok(message.values()?),
                message::ERROR if message.answers == Some(self.last_serial) => {
                    let text =
                        message.values()?.first().and_then(Value::as_text).unwrap_or_default().to_owned();
                    return Err(Refusal::Said { name: message.error, text });
                }
                _ => {}
            }
        }
    }

    /// Waits for a signal of that name with the values that `wanted` looks for; others are dropped.
    pub fn wait_for<T>(&mut self, member: &str, wanted: impl Fn(&[Value]) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = match self.signals.pop_front() {
                Some(message) => message,
                None => self.next(deadline).wrap(|| format!("wait for {member} of {}", self.address))?,
            };
            if message.kind == message::SIGNAL
                && message.member == member
                && let Some(found) = wanted(&message.values()?)
            {
                return Ok(found);
            }
        }
    }

    fn next(&mut self, deadline: Instant) -> Result<Message> {
        loop {
            match Message::length(&self.received)? {
                Some(length) if length <= self.received.len() => {
                    let bytes: Vec<u8> = self.received.drain(..length).collect();
                    return Message::decode(&bytes);
                }
                _ => self.receive(deadline)?,
            }
        }
    }

    /// Some more bytes.
    fn receive(&mut self, deadline: Instant) -> Result<()> {
        // Somebody who says a lot, and never what is waited for.
        if Instant::now() >= deadline {
            return Err(no_answer());
        }
        let mut buffer = [0; 4096];
        match self.socket.read(&mut buffer) {
            Ok(0) => Err(Error::new(ErrorKind::Os, "the other side has hung up")),
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) => match error.kind() {
                std::io::ErrorKind::Interrupted => Ok(()),
                std::io::ErrorKind::WouldBlock => Err(no_answer()),
                _ => Err(error.into()),
            },
        }
    }
}

fn no_answer() -> Error {
    Error::new(ErrorKind::Os, format!("no answer within {} seconds", PATIENCE.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_unix_paths() {
        let bus = |path: &str| Some(Address::Bus(path.into()));
        assert_eq!(Address::parse("unix:path=/run/user/1000/bus"), bus("/run/user/1000/bus"));
        assert_eq!(Address::parse("unix:path=/a%20b%3b,guid=12"), bus("/a b;"));
        assert_eq!(Address::parse("tcp:host=x;unix:guid=1,path=/p"), bus("/p"));
        for other in
            ["", "unix:abstract=/x", "tcp:host=x", "unix:path=/x%", "unix:path=/x%g0", "unix:path=%ff"]
        {
            assert_eq!(Address::parse(other), None, "{other}");
        }
    }
}
