// SPDX-License-Identifier: Apache-2.0
//! One message of D-Bus: calls that are sent, answers and signals that are read (D-Bus specification, "Message Format").
//!
//! ```text
//!  byte   'l' or 'B': the byte order of all that follows
//!  byte   1 call, 2 return, 3 error, 4 signal
//!  byte   flags
//!  byte   1: the version of the protocol
//!  u32    length of the body
//!  u32    serial, not 0
//!  a(yv)  header fields: 1 path o · 2 interface s · 3 member s · 4 error name s · 5 answer to serial u
//!                        6 destination s · 7 sender s · 8 signature g · 9 descriptors u
//!  padding to 8, then the body
//! ```

use super::wire::{self, Reader, Value, malformed};
use crate::Result;

/// Nothing that is asked for here has a longer answer.
const MAX_LENGTH: usize = 1 << 20;
/// Up to and with the length of the header fields.
const FIXED: usize = 16;
const BYTE_ORDER: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };

/// What is asked of somebody.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    pub body: &'a [Value],
}

impl Call<'_> {
    /// The whole message.
    pub(super) fn encode(&self, serial: u32) -> Vec<u8> {
        let fields = [
            (1, Value::Path(self.path.into())),
            (2, Value::text(self.interface)),
            (3, Value::text(self.member)),
            (6, Value::text(self.destination)),
        ];
        encode(CALL, serial, fields.into(), self.body)
    }
}

/// A message of any kind; the field for the body's signature is added.
pub(crate) fn encode(kind: u8, serial: u32, mut fields: Vec<(u8, Value)>, body: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    body.iter().for_each(|value| wire::write(&mut bytes, value));
    if !body.is_empty() {
        fields.push((8, Value::Signature(wire::signature_of(body))));
    }
    let field = |(code, value)| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
    let fields = fields.into_iter().map(field).collect();
    let mut out = Vec::with_capacity(bytes.len() + 512);
    out.extend([BYTE_ORDER, kind, 0, 1]);
    wire::write(&mut out, &Value::Uint32(u32::try_from(bytes.len()).expect("far below 4 GiB")));
    wire::write(&mut out, &Value::Uint32(serial));
    wire::write(&mut out, &Value::Array("(yv)".into(), fields));
    wire::pad(&mut out, 8);
    out.extend_from_slice(&bytes);
    out
}

/// What came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub kind: u8,
    pub member: String,
    pub error: String,
    /// The serial of the call that this answers.
    pub answers: Option<u32>,
    signature: String,
    body: Vec<u8>,
}

pub(super) const CALL: u8 = 1;
pub(super) const RETURN: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const SIGNAL: u8 = 4;

impl Message {
    /// The length of the message that begins with these bytes; `None` if there are too few to tell.
    pub fn length(bytes: &[u8]) -> Result<Option<usize>> {
        if bytes.len() < FIXED {
            return Ok(None);
        }
        if bytes[0] != BYTE_ORDER || bytes[3] != 1 {
            return Err(malformed("another byte order or version"));
        }
        let body = Reader { bytes, at: 4 }.number()? as usize;
        let fields = Reader { bytes, at: 12 }.number()? as usize;
        if body > MAX_LENGTH || fields > MAX_LENGTH {
            return Err(malformed("too long"));
        }
        Ok(Some((FIXED + fields).next_multiple_of(8) + body))
    }

    /// Reads one whole message.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        if Self::length(bytes)? != Some(bytes.len()) {
            return Err(malformed("not of the length that it says"));
        }
        let mut reader = Reader { bytes, at: 12 };
        let Value::Array(_, fields) = reader.value(b"a(yv)", 0)? else { return Err(malformed("the header")) };
        reader.skip_padding(8)?;
        let mut message = Self { kind: bytes[1], body: bytes[reader.at..].to_vec(), ..Self::default() };
        for field in fields {
            message.take_field(field)?;
        }
        Ok(message)
    }

    /// Fields that nobody asks for are passed over, so are those that a later version may add.
    fn take_field(&mut self, field: Value) -> Result<()> {
        let Value::Struct(members) = field else { return Err(malformed("a header field")) };
        let [Value::Byte(code), Value::Variant(value)] = members.as_slice() else {
            return Err(malformed("a header field"));
        };
        match (code, value.as_ref()) {
            (3, Value::Text(text)) => self.member.clone_from(text),
            (4, Value::Text(text)) => self.error.clone_from(text),
            (5, Value::Uint32(serial)) => self.answers = Some(*serial),
            (8, Value::Signature(codes)) => self.signature.clone_from(codes),
            (3 | 4 | 5 | 8, _) => return Err(malformed(format!("header field {code} of another type"))),
            _ => {}
        }
        Ok(())
    }

    /// The values it carries.
    pub fn values(&self) -> Result<Vec<Value>> {
        wire::read_all(&self.body, &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DO: Call<'_> = Call {
        destination: "org.example",
        path: "/a",
        interface: "org.example.I",
        member: "Do",
        body: &[Value::Uint32(7), Value::Boolean(true)],
    };

    #[test]
    fn a_call_is_a_whole_message() {
        let bytes = DO.encode(3);
        assert_eq!(Message::length(&bytes).unwrap(), Some(bytes.len()));
        assert_eq!(Message::length(&bytes[..15]).unwrap(), None);
        let message = Message::decode(&bytes).unwrap();
        assert_eq!((message.kind, message.member.as_str(), message.answers), (1, "Do", None));
        assert_eq!(message.values().unwrap(), DO.body);
        let empty = Call { body: &[], ..DO }.encode(1);
        assert_eq!(Message::decode(&empty).unwrap().values().unwrap(), []);
    }

    #[test]
    fn hostile_bytes_are_errors_and_no_panic() {
        let bytes = DO.encode(3);
        for length in 0..bytes.len() {
            Message::decode(&bytes[..length]).unwrap_err();
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                drop(Message::decode(&changed).and_then(|message| message.values()));
            }
        }
        let mut long = bytes;
        long[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(Message::length(&long).unwrap_err().to_string().contains("too long"));
    }
}
