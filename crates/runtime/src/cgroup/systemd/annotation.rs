// SPDX-License-Identifier: Apache-2.0
//! `org.systemd.property.*` annotations: a property's name, and its value in GVariant's text format, as runc takes it.
//!
//! ```text
//!  value    = "@" signature value | word value | plain
//!  word     = boolean byte int16 uint16 int32 uint32 int64 uint64 double string objectpath signature
//!  plain    = true | false | number | 'text' | "text" | b'bytes'
//!           | "[" value, … "]" | "{" value ":" value, … "}" | "<" value ">"
//! ```
//!
//! A number without a type is an int32, or a double if it has a point or an exponent; the first element of a list says
//! of what type the others are.

use super::Property;
use crate::dbus::Value;

/// A text of this many nested values has no honest use.
const MAX_DEPTH: usize = 16;

/// The property that an annotation asks for; `key` is without the prefix.
pub(super) fn property(key: &str, text: &str) -> Result<Property, String> {
    if key.len() < 3 || !key.bytes().all(|letter| letter.is_ascii_alphabetic()) {
        return Err("a property's name is at least three letters".into());
    }
    let value = parse(text)?;
    // Documented with seconds, but on the bus in microseconds.
    let seconds = key.strip_suffix("Sec").filter(|rest| rest.ends_with(|c: char| c.is_ascii_lowercase()));
    Ok(match seconds {
        Some(rest) => Property::new(&format!("{rest}USec"), Value::Uint64(microseconds(&value)?)),
        None => Property::new(key, value),
    })
}

fn microseconds(value: &Value) -> Result<u64, String> {
    let whole = match *value {
        Value::Byte(number) => Some(u64::from(number)),
        Value::Uint16(number) => Some(u64::from(number)),
        Value::Uint32(number) => Some(u64::from(number)),
        Value::Uint64(number) => Some(number),
        Value::Int16(number) => u64::try_from(number).ok(),
        Value::Int32(number) => u64::try_from(number).ok(),
        Value::Int64(number) => u64::try_from(number).ok(),
        Value::Double(bits) => {
            let micros = f64::from_bits(bits) * 1e6;
            // `as` saturates, and a NaN becomes 0.
            return if micros >= 0.0 { Ok(micros.round() as u64) } else { Err("not a time".into()) };
        }
        _ => None,
    };
    whole.and_then(|seconds| seconds.checked_mul(1_000_000)).ok_or_else(|| "not a number of seconds".into())
}

fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text };
    let value = parser.value(None, 0)?;
    parser.skip_space();
    if parser.rest.is_empty() { Ok(value) } else { Err(format!("unexpected {:?}", parser.rest)) }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    /// One value; `wanted` is its signature, where something has said it.
    fn value(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err("nested too deeply".into());
        }
        self.skip_space();
        let first = self.rest.chars().next().ok_or("a value is missing")?;
        let value = match first {
            '@' => {
                self.rest = &self.rest[1..];
                let signature = self.take_while(|c| !c.is_ascii_whitespace());
                self.value(Some(signature), depth + 1)?
            }
            '\'' | '"' => text_as(self.quoted()?, wanted.unwrap_or("s"))?,
            '[' => self.list(wanted, depth)?,
            '{' => self.dictionary(wanted, depth)?,
            '<' => {
                self.rest = &self.rest[1..];
                let inner = self.value(None, depth + 1)?;
                self.expect('>')?;
                Value::Variant(Box::new(inner))
            }
            'b' if self.rest.starts_with("b'") || self.rest.starts_with("b\"") => {
                self.rest = &self.rest[1..];
                let bytes = self.quoted()?.into_bytes();
                Value::Array("y".into(), bytes.into_iter().chain([0]).map(Value::Byte).collect())
            }
            c if c.is_ascii_alphabetic() => self.word(depth)?,
            _ => {
                let number = self.take_while(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
                let is_double = number.contains('.') || number.contains('e') && !number.starts_with("0x");
                number_as(number, wanted.unwrap_or(if is_double { "d" } else { "i" }))?
            }
        };
        match wanted {
            Some(wanted) if wanted != value.signature() => {
                Err(format!("expected a value of type {wanted}, got one of type {}", value.signature()))
            }
            _ => Ok(value),
        }
    }

    /// A truth, or the name of the type of what follows.
    fn word(&mut self, depth: usize) -> Result<Value, String> {
        let word = self.take_while(|c| c.is_ascii_alphanumeric());
        let signature = match word {
            "true" => return Ok(Value::Boolean(true)),
            "false" => return Ok(Value::Boolean(false)),
            "boolean" => "b",
            "byte" => "y",
            "int16" => "n",
            "uint16" => "q",
            "int32" => "i",
            "uint32" => "u",
            "int64" => "x",
            "uint64" => "t",
            "double" => "d",
            "string" => "s",
            "objectpath" => "o",
            "signature" => "g",
            other => return Err(format!("{other:?} is neither a value nor a type")),
        };
        self.value(Some(signature), depth + 1)
    }

    fn list(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        let mut element = match wanted.map(|wanted| wanted.strip_prefix('a')) {
            Some(None) => return Err("a list where none is expected".into()),
            Some(Some(element)) => Some(element.to_owned()),
            None => None,
        };
        let mut elements = Vec::new();
        self.separated('[', ']', |parser| {
            let value = parser.value(element.as_deref(), depth + 1)?;
            element.get_or_insert_with(|| value.signature());
            elements.push(value);
            Ok(())
        })?;
        let element = element.ok_or("an empty list needs a type, such as @as []")?;
        Ok(Value::Array(element, elements))
    }

    fn dictionary(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        let inside = wanted.and_then(|wanted| wanted.strip_prefix("a{")?.strip_suffix('}'));
        // A key is of a basic type: one code.
        let said = inside.and_then(|inside| inside.split_at_checked(1));
        let mut types = said.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut entries = Vec::new();
        self.separated('{', '}', |parser| {
            let (key_type, value_type) = types.clone().unzip();
            let key = parser.value(key_type.as_deref(), depth + 1)?;
            parser.expect(':')?;
            let value = parser.value(value_type.as_deref(), depth + 1)?;
            types.get_or_insert_with(|| (key.signature(), value.signature()));
            entries.push(Value::Entry(Box::new((key, value))));
            Ok(())
        })?;
        let (key, value) = types.ok_or("an empty dictionary needs a type, such as @a{sv} {}")?;
        Ok(Value::Array(format!("{{{key}{value}}}"), entries))
    }

    /// `open one, two, … close`
    fn separated(
        &mut self,
        open: char,
        close: char,
        mut one: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.expect(open)?;
        if self.accept(close) {
            return Ok(());
        }
        loop {
            one(self)?;
            if self.accept(close) {
                return Ok(());
            }
            self.expect(',')?;
        }
    }

    /// A string in either kind of quotes, with C's escapes.
    fn quoted(&mut self) -> Result<String, String> {
        let mut letters = self.rest.chars();
        let quote = letters.next();
        let mut text = String::new();
        loop {
            match letters.next() {
                None => return Err("a string without its end".into()),
                letter if letter == quote => break,
                Some('\\') => match letters.next() {
                    Some('a') => text.push('\x07'),
                    Some('b') => text.push('\x08'),
                    Some('f') => text.push('\x0c'),
                    Some('n') => text.push('\n'),
                    Some('r') => text.push('\r'),
                    Some('t') => text.push('\t'),
                    Some('v') => text.push('\x0b'),
                    Some('\n') => {}
                    Some('u') => text.push(unicode(&mut letters, 4)?),
                    Some('U') => text.push(unicode(&mut letters, 8)?),
                    Some(other) => text.push(other),
                    None => return Err("a string without its end".into()),
                },
                Some('\0') => return Err("a string with a NUL".into()),
                Some(letter) => text.push(letter),
            }
        }
        self.rest = letters.as_str();
        Ok(text)
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.accept(wanted) { Ok(()) } else { Err(format!("expected {wanted:?} before {:?}", self.rest)) }
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

fn unicode(letters: &mut std::str::Chars<'_>, digits: usize) -> Result<char, String> {
    let code: String = letters.take(digits).collect();
    let number = u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == digits);
    let letter = number.and_then(char::from_u32).filter(|letter| *letter != '\0');
    letter.ok_or_else(|| format!("{code:?} is no letter's code"))
}

fn text_as(text: String, signature: &str) -> Result<Value, String> {
    Ok(match signature {
        "o" => Value::Path(text),
        "g" if text.len() < 256 => Value::Signature(text),
        "s" => Value::Text(text),
        other => return Err(format!("{text:?} is not of type {other}")),
    })
}

/// Whole numbers are decimal, `0x` hexadecimal or `0` octal.
fn number_as(text: &str, signature: &str) -> Result<Value, String> {
    let wrong = || format!("{text:?} is not a number of type {signature}");
    if signature == "d" {
        return text.parse::<f64>().map(|number| Value::Double(number.to_bits())).map_err(|_| wrong());
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match (digits.strip_prefix("0x"), digits.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (digits, 10),
    };
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let number = sign * i128::from(u64::from_str_radix(digits, radix).map_err(|_| wrong())?);
    let value = match signature {
        "y" => number.try_into().map(Value::Byte),
        "n" => number.try_into().map(Value::Int16),
        "q" => number.try_into().map(Value::Uint16),
        "i" => number.try_into().map(Value::Int32),
        "u" => number.try_into().map(Value::Uint32),
        "x" => number.try_into().map(Value::Int64),
        "t" => number.try_into().map(Value::Uint64),
        _ => return Err(wrong()),
    };
    value.map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_text() {
        let text = |text: &str| Value::Text(text.into());
        let list = |element: &str, values| Value::Array(element.into(), values);
        for (written, value) in [
            ("true", Value::Boolean(true)),
            ("boolean false", Value::Boolean(false)),
            (" 12 ", Value::Int32(12)),
            ("-0x10", Value::Int32(-16)),
            ("010", Value::Int32(8)),
            ("0", Value::Int32(0)),
            ("1.5", Value::Double(1.5_f64.to_bits())),
            ("2e3", Value::Double(2e3_f64.to_bits())),
            ("double 2", Value::Double(2_f64.to_bits())),
            ("byte 255", Value::Byte(255)),
            ("int16 -1", Value::Int16(-1)),
            ("uint16 1", Value::Uint16(1)),
            ("int32 0x1e", Value::Int32(30)),
            ("uint32 1", Value::Uint32(1)),
            ("int64 -9223372036854775808", Value::Int64(i64::MIN)),
            ("uint64 18446744073709551615", Value::Uint64(u64::MAX)),
            ("@t 7", Value::Uint64(7)),
            ("'it''", text("it")),
            (r#""a 'b' \"c\" \n é""#, text("a 'b' \"c\" \n é")),
            ("string 'x'", text("x")),
            ("objectpath '/a'", Value::Path("/a".into())),
            ("signature 'as'", Value::Signature("as".into())),
            ("['a', \"b\"]", list("s", vec![text("a"), text("b")])),
            ("[uint64 1, 2]", list("t", vec![Value::Uint64(1), Value::Uint64(2)])),
            ("@as []", list("s", vec![])),
            ("@aas [[], ['x']]", list("as", vec![list("s", vec![]), list("s", vec![text("x")])])),
            ("<'v'>", Value::Variant(Box::new(text("v")))),
            ("b'hi'", list("y", vec![Value::Byte(104), Value::Byte(105), Value::Byte(0)])),
        ] {
            // One of them shows that what follows a value is not passed over.
            let expected = if written == "'it''" { Err("unexpected \"'\"".to_owned()) } else { Ok(value) };
            assert_eq!(parse(written), expected, "{written}");
        }
        let entry = Value::Entry(Box::new((text("k"), Value::Variant(Box::new(Value::Int32(1))))));
        assert_eq!(parse("{'k': <1>}"), Ok(list("{sv}", vec![entry.clone()])));
        assert_eq!(parse("@a{sv} {'k': <1>}"), Ok(list("{sv}", vec![entry])));
        assert_eq!(parse("@a{sv} {}"), Ok(list("{sv}", vec![])));
    }

    #[test]
    fn other_text_is_an_error() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        for wrong in [
            "",
            " ",
            "invalid-value",
            "[]",
            "{}",
            "[1",
            "[1,]",
            "[1 2]",
            "'x",
            "\"x'",
            "'\\",
            "'\\u12'",
            "'\\u0000'",
            "byte 256",
            "byte -1",
            "uint32 -1",
            "int16 x",
            "int32 1.5",
            "0x",
            "08",
            "--1",
            "1x",
            "-",
            "<1",
            "{1}",
            "{'a': 1, 2}",
            "[1, 'a']",
            "string 1",
            "boolean 1",
            "@",
            "@s 1",
            "@as ['a', 1]",
            "@u true",
            "true false",
            &deep,
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn seconds_become_microseconds_and_names_are_letters() {
        for text in
            ["234", "byte 234", "int16 234", "uint16 234", "uint32 234", "int64 234", "uint64 234", "234.0"]
        {
            let expected = Property::new("TimeoutStopUSec", Value::Uint64(234_000_000));
            assert_eq!(property("TimeoutStopSec", text), Ok(expected), "{text}");
        }
        assert_eq!(property("RuntimeMaxSec", "234.789").unwrap().value, Value::Uint64(234_789_000));
        assert_eq!(
            property("TimeoutStopUSec", "uint64 5"),
            Ok(Property::new("TimeoutStopUSec", Value::Uint64(5)))
        );
        assert_eq!(property("FOOSec", "123"), Ok(Property::new("FOOSec", Value::Int32(123))));
        assert_eq!(property("Sec", "123"), Ok(Property::new("Sec", Value::Int32(123))));
        for (name, text) in [
            ("AbSec", "false"),
            ("AbSec", "'x'"),
            ("AbSec", "-1"),
            ("AbSec", "uint64 18446744073709551615"),
            ("AbSec", "-1.5"),
        ] {
            property(name, text).unwrap_err();
        }
        for name in ["", "xx", "A name", "3335", "Name1", "Кир", "a.b"] {
            property(name, "1").unwrap_err();
        }
    }
}
