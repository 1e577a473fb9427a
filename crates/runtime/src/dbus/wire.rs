// SPDX-License-Identifier: Apache-2.0
//! The values of D-Bus as bytes (D-Bus specification, "Marshaling"). Pure: nothing here touches a socket.
//!
//! ```text
//!  type        code  aligned to  bytes
//!  byte         y    1           1
//!  boolean      b    4           u32: 0 or 1
//!  (u)int16     n q  2           2
//!  (u)int32     i u  4           4
//!  (u)int64     x t  8           8
//!  double       d    8           IEEE 754
//!  string       s    4           u32 length · UTF-8 · NUL
//!  object path  o    4           as a string
//!  signature    g    1           u8 length · codes · NUL
//!  array        a…   4           u32 length of the elements · padding to the first · elements
//!  struct       (…)  8           members
//!  dict entry   {..} 8           key · value; only as the element of an array
//!  variant      v    1           signature of one value · that value
//! ```
//!
//! Numbers are in this machine's byte order: who is asked sits on the same machine. Positions count from the start of
//! the message; the body starts at a multiple of 8, so it can be written and read on its own. What is read comes
//! from outside: lengths, nesting, text and padding are checked, and nothing is allocated on a length's word.

use serde::Serialize;

use crate::{Error, ErrorKind, Result};

/// Deeper is refused, as the specification has it for arrays and structs together.
const MAX_DEPTH: usize = 64;

/// One value of any type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Value {
    Byte(u8),
    Boolean(bool),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    /// Its IEEE 754 bits, so that values can be compared.
    Double(u64),
    Text(String),
    Path(String),
    Signature(String),
    /// The signature of the elements, which an empty array needs as well.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    Entry(Box<(Value, Value)>),
    Variant(Box<Value>),
}

impl Value {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The codes of the value's type.
    pub fn signature(&self) -> String {
        match self {
            Self::Byte(_) => "y".into(),
            Self::Boolean(_) => "b".into(),
            Self::Int16(_) => "n".into(),
            Self::Uint16(_) => "q".into(),
            Self::Int32(_) => "i".into(),
            Self::Uint32(_) => "u".into(),
            Self::Int64(_) => "x".into(),
            Self::Uint64(_) => "t".into(),
            Self::Double(_) => "d".into(),
            Self::Text(_) => "s".into(),
            Self::Path(_) => "o".into(),
            Self::Signature(_) => "g".into(),
            Self::Array(element, _) => format!("a{element}"),
            Self::Struct(members) => format!("({})", signature_of(members)),
            Self::Entry(entry) => format!("{{{}{}}}", entry.0.signature(), entry.1.signature()),
            Self::Variant(_) => "v".into(),
        }
    }

    /// What a string, an object path or a signature says.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Path(text) | Self::Signature(text) => Some(text),
            _ => None,
        }
    }
}

/// The types of several values in a row.
pub(super) fn signature_of(values: &[Value]) -> String {
    values.iter().map(Value::signature).collect()
}

/// Appends a value; the start of `out` is a multiple of 8 in the message.
pub(super) fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Byte(number) => out.push(*number),
        Value::Boolean(truth) => put(out, u32::from(*truth).to_ne_bytes()),
        Value::Int16(number) => put(out, number.to_ne_bytes()),
        Value::Uint16(number) => put(out, number.to_ne_bytes()),
        Value::Int32(number) => put(out, number.to_ne_bytes()),
        Value::Uint32(number) => put(out, number.to_ne_bytes()),
        Value::Int64(number) => put(out, number.to_ne_bytes()),
        Value::Uint64(number) | Value::Double(number) => put(out, number.to_ne_bytes()),
        Value::Text(text) | Value::Path(text) => {
            put(out, length(text.len()).to_ne_bytes());
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
        Value::Signature(codes) => write_signature(out, codes),
        Value::Array(element, elements) => write_array(out, element, elements),
        Value::Struct(members) => {
            pad(out, 8);
            members.iter().for_each(|member| write(out, member));
        }
        Value::Entry(entry) => {
            pad(out, 8);
            write(out, &entry.0);
            write(out, &entry.1);
        }
        Value::Variant(inner) => {
            write_signature(out, &inner.signature());
            write(out, inner);
        }
    }
}

fn write_signature(out: &mut Vec<u8>, codes: &str) {
    out.push(u8::try_from(codes.len()).expect("signatures are checked or made here, both short"));
    out.extend_from_slice(codes.as_bytes());
    out.push(0);
}

/// The length is that of the elements alone, without the padding before the first of them.
fn write_array(out: &mut Vec<u8>, element: &str, elements: &[Value]) {
    put(out, [0; 4]);
    let before = out.len();
    pad(out, alignment(element.as_bytes().first().copied().unwrap_or_default()));
    let first = out.len();
    elements.iter().for_each(|element| write(out, element));
    let bytes = length(out.len() - first);
    out[before - 4..before].copy_from_slice(&bytes.to_ne_bytes());
}

/// A number at its natural alignment.
fn put<const SIZE: usize>(out: &mut Vec<u8>, bytes: [u8; SIZE]) {
    pad(out, SIZE);
    out.extend_from_slice(&bytes);
}

/// Zeroes up to the next multiple.
pub(super) fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("what is sent is far below 4 GiB")
}

fn alignment(code: u8) -> usize {
    match code {
        b'n' | b'q' => 2,
        b'b' | b'i' | b'u' | b's' | b'o' | b'a' | b'h' => 4,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 1,
    }
}

/// All values of a body, by its signature.
pub(super) fn read_all(bytes: &[u8], signature: &str) -> Result<Vec<Value>> {
    let mut reader = Reader { bytes, at: 0 };
    let mut rest = signature.as_bytes();
    let mut values = Vec::new();
    while !rest.is_empty() {
        let (one, others) = split_first_type(rest)?;
        values.push(reader.value(one, 0)?);
        rest = others;
    }
    if reader.at != bytes.len() {
        return Err(malformed("more bytes than the signature says"));
    }
    Ok(values)
}

/// Walks over bytes that somebody else wrote.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Reader<'a> {
    /// One value of the type that `signature`, a single complete one, names.
    pub(super) fn value(&mut self, signature: &[u8], depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            return Err(malformed("nested too deeply"));
        }
        let code = signature.first().copied().unwrap_or_default();
        Ok(match code {
            b'y' => Value::Byte(self.take(1)?[0]),
            b'b' => match self.number()? {
                truth @ (0 | 1) => Value::Boolean(truth == 1),
                other => return Err(malformed(format!("the boolean {other}"))),
            },
            b'n' => Value::Int16(i16::from_ne_bytes(self.array()?)),
            b'q' => Value::Uint16(u16::from_ne_bytes(self.array()?)),
            b'i' => Value::Int32(i32::from_ne_bytes(self.array()?)),
            // A number of a descriptor that came along; none is ever taken.
            b'u' | b'h' => Value::Uint32(self.number()?),
            b'x' => Value::Int64(i64::from_ne_bytes(self.array()?)),
            b't' => Value::Uint64(u64::from_ne_bytes(self.array()?)),
            b'd' => Value::Double(u64::from_ne_bytes(self.array()?)),
            b's' => Value::Text(self.text()?),
            b'o' => Value::Path(self.text()?),
            b'g' => Value::Signature(self.signature()?),
            b'a' => self.elements(&signature[1..], depth)?,
            b'(' => {
                self.skip_padding(8)?;
                Value::Struct(self.members(inside(signature), depth)?)
            }
            b'{' => {
                self.skip_padding(8)?;
                let mut members = self.members(inside(signature), depth)?.into_iter();
                match (members.next(), members.next(), members.next()) {
                    (Some(key), Some(value), None) => Value::Entry(Box::new((key, value))),
                    _ => return Err(malformed("a dict entry is a key and a value")),
                }
            }
            b'v' => {
                let codes = self.signature()?;
                let (one, rest) = split_first_type(codes.as_bytes())?;
                if !rest.is_empty() {
                    return Err(malformed("a variant of several values"));
                }
                Value::Variant(Box::new(self.value(one, depth + 1)?))
            }
            other => return Err(malformed(format!("the type {:?}", char::from(other)))),
        })
    }

    fn elements(&mut self, element: &[u8], depth: usize) -> Result<Value> {
        let length = self.number()? as usize;
        self.skip_padding(alignment(element.first().copied().unwrap_or_default()))?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| malformed("an array longer than its message"))?;
        let mut elements = Vec::new();
        while self.at < end {
            elements.push(self.value(element, depth + 1)?);
        }
        if self.at != end {
            return Err(malformed("an array whose last element does not end with it"));
        }
        Ok(Value::Array(String::from_utf8_lossy(element).into_owned(), elements))
    }

    fn members(&mut self, mut types: &[u8], depth: usize) -> Result<Vec<Value>> {
        let mut members = Vec::new();
        while !types.is_empty() {
            let (one, rest) = split_first_type(types)?;
            members.push(self.value(one, depth + 1)?);
            types = rest;
        }
        Ok(members)
    }

    fn text(&mut self) -> Result<String> {
        let length = self.number()? as usize;
        self.terminated(length)
    }

    fn signature(&mut self) -> Result<String> {
        let length = usize::from(self.take(1)?[0]);
        self.terminated(length)
    }

    fn terminated(&mut self, length: usize) -> Result<String> {
        let text = self.take(length)?;
        let text = std::str::from_utf8(text).map_err(|_| malformed("a string that is not UTF-8"))?;
        if text.contains('\0') || self.take(1)? != [0] {
            return Err(malformed("a string that does not end with its NUL"));
        }
        Ok(text.to_owned())
    }

    /// A u32, as it is everywhere in the format.
    pub(super) fn number(&mut self) -> Result<u32> {
        Ok(u32::from_ne_bytes(self.array()?))
    }

    fn array<const SIZE: usize>(&mut self) -> Result<[u8; SIZE]> {
        self.skip_padding(SIZE)?;
        Ok(self.take(SIZE)?.try_into().expect("take gives just as many"))
    }

    /// Padding is zero.
    pub(super) fn skip_padding(&mut self, to: usize) -> Result<()> {
        let padding = self.at.next_multiple_of(to) - self.at;
        if self.take(padding)?.iter().any(|byte| *byte != 0) {
            return Err(malformed("padding that is not zero"));
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| malformed("it ends too early"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }
}

/// What is between the brackets.
fn inside(signature: &[u8]) -> &[u8] {
    &signature[1..signature.len() - 1]
}

/// The first complete type of a signature, and the rest.
pub(super) fn split_first_type(signature: &[u8]) -> Result<(&[u8], &[u8])> {
    let mut open = 0_usize;
    for (at, code) in signature.iter().enumerate() {
        match code {
            b'(' | b'{' => open += 1,
            // An empty struct would take no bytes, and an array of them never end.
            b')' | b'}' if matches!(signature.get(at.wrapping_sub(1)), Some(b'(' | b'{')) => {
                return Err(malformed("an empty struct"));
            }
            b')' | b'}' => open = open.checked_sub(1).ok_or_else(|| malformed("a signature's bracket"))?,
            b'a' => continue,
            b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'v'
            | b'h' => {}
            other => return Err(malformed(format!("the type {:?}", char::from(*other)))),
        }
        if open > MAX_DEPTH || at > 255 {
            return Err(malformed("a signature that is too long"));
        }
        if open == 0 {
            return Ok(signature.split_at(at + 1));
        }
    }
    Err(malformed("a signature that is not complete"))
}

pub(super) fn malformed(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Os, format!("malformed D-Bus message: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, value);
        out
    }

    /// One of each type, at odd positions.
    fn everything() -> Vec<Value> {
        let entry = Value::Entry(Box::new((Value::text("k"), Value::Variant(Box::new(Value::Int16(-2))))));
        vec![
            Value::Byte(7),
            Value::Boolean(true),
            Value::Int16(-3),
            Value::Uint16(65535),
            Value::Byte(1),
            Value::Int32(-4),
            Value::Uint32(5),
            Value::Byte(2),
            Value::Int64(i64::MIN),
            Value::Uint64(u64::MAX),
            Value::Double(1.5_f64.to_bits()),
            Value::text("wörd"),
            Value::Path("/org/x".into()),
            Value::Signature("a{sv}".into()),
            Value::Array("x".into(), vec![]),
            Value::Array("s".into(), vec![Value::text(""), Value::text("b")]),
            Value::Array("{sv}".into(), vec![entry]),
            Value::Struct(vec![Value::Byte(9), Value::Array("ay".into(), vec![])]),
            Value::Variant(Box::new(Value::Struct(vec![Value::text("in"), Value::Uint64(1)]))),
        ]
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn bytes_are_those_of_the_specification() {
        assert_eq!(bytes(&Value::text("foo")), b"\x03\0\0\0foo\0");
        // The example of the specification: the padding of an array of u64 counts for nothing.
        let array = Value::Array("t".into(), vec![Value::Uint64(5)]);
        assert_eq!(bytes(&array), b"\x08\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0");
        assert_eq!(bytes(&Value::Variant(Box::new(Value::Boolean(true)))), b"\x01b\0\0\x01\0\0\0");
        let property = Value::Struct(vec![Value::text("A"), Value::Variant(Box::new(Value::Uint64(1)))]);
        assert_eq!(bytes(&property), b"\x01\0\0\0A\0\x01t\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0");
    }

    #[test]
    fn what_is_written_is_read() {
        let values = everything();
        let mut out = Vec::new();
        values.iter().for_each(|value| write(&mut out, value));
        assert_eq!(read_all(&out, &signature_of(&values)).unwrap(), values);
    }

    #[test]
    fn hostile_bytes_are_errors_and_no_panic() {
        let values = everything();
        let signature = signature_of(&values);
        let mut whole = Vec::new();
        values.iter().for_each(|value| write(&mut whole, value));
        for length in 0..whole.len() {
            read_all(&whole[..length], &signature).unwrap_err();
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                // Most are errors, some another value; none may be more than that.
                drop(read_all(&changed, &signature));
            }
        }
        for (body, signature) in [
            (&b"\xff\xff\xff\xff"[..], "s"),
            (b"\xff\xff\xff\xff", "ay"),
            (b"\x02\0\0\0", "b"),
            (b"\x01\0\0\0\xff\0", "s"),
            (b"\x01\0\0\0\0\0", "s"),
            (b"\x01\0\0\0ab", "s"),
            (b"\0\0\0\0x", "s"),
            (b"\x04\0\0\0\0\0\0\0", "at"),
            (b"\x02yy\0\0\0", "v"),
            (b"\x01\x01\0\0\x01\0\0\0", "yu"),
            (b"\0", "z"),
            (b"", "a"),
            (b"", "("),
            (b"", ")"),
            (b"", "()"),
            (b"\x08\0\0\0\0\0\0\0", "a()"),
            (b"\0\0\0\0\0\0\0\0", "(y"),
        ] {
            read_all(body, signature).unwrap_err();
        }
        let nested: Vec<u8> = b"\x01v\0".repeat(100);
        read_all(&nested, "v").unwrap_err();
        read_all(&[0; 8], &"(".repeat(300)).unwrap_err();
        read_all(&[0; 8], &format!("{}y", "a".repeat(300))).unwrap_err();
    }
}
