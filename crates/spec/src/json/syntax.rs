// SPDX-License-Identifier: Apache-2.0
//! The grammar of RFC 8259: from bytes to nodes, and what the escapes in a string stand for.

use std::borrow::Cow;

use super::document::Node;

/// Deeper nesting is an attack on the stack, not a document.
const DEEPEST: usize = 128;

/// Why a text is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syntax {
    /// Of the byte that does not fit.
    pub offset: usize,
    pub message: &'static str,
}

type Result<T> = std::result::Result<T, Syntax>;

/// All values of a text, in its order.
pub(super) fn nodes(text: &[u8]) -> Result<Vec<Node>> {
    let mut scanner = Scanner { text, at: 0, nodes: Vec::with_capacity(text.len() / 8) };
    if u32::try_from(text.len()).is_err() {
        return scanner.fail("too large");
    }
    scanner.value(0)?;
    scanner.skip_space();
    if scanner.peek().is_some() { scanner.fail("trailing characters") } else { Ok(scanner.nodes) }
}

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    nodes: Vec<Node>,
}

impl Scanner<'_> {
    fn value(&mut self, depth: usize) -> Result<()> {
        self.skip_space();
        let (id, start) = (self.nodes.len(), self.at);
        self.nodes.push(Node { start: start as u32, end: 0, after: 0, cut: false, escaped: false });
        match self.peek() {
            None => self.fail("EOF while parsing a value"),
            Some(b'{' | b'[') if depth == DEEPEST => self.fail("recursion limit exceeded"),
            Some(b'{') => self.items(b'}', |scanner| scanner.entry(depth + 1)),
            Some(b'[') => self.items(b']', |scanner| scanner.value(depth + 1)),
            Some(b'"') => self.string(id),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => self.word(),
        }?;
        self.nodes[id].end = self.at as u32;
        self.nodes[id].after = self.nodes.len() as u32;
        Ok(())
    }

    /// A list or an object, up to what closes it.
    fn items(&mut self, close: u8, item: impl Fn(&mut Self) -> Result<()>) -> Result<()> {
        self.at += 1;
        self.skip_space();
        if self.take(close) {
            return Ok(());
        }
        loop {
            item(self)?;
            self.skip_space();
            if self.take(close) {
                return Ok(());
            }
            if !self.take(b',') {
                return self.fail(match (self.peek(), close) {
                    (None, b'}') => "EOF while parsing an object",
                    (None, _) => "EOF while parsing a list",
                    (_, b'}') => "expected `,` or `}`",
                    _ => "expected `,` or `]`",
                });
            }
            self.skip_space();
            if self.peek() == Some(close) {
                return self.fail("trailing comma");
            }
        }
    }

    fn entry(&mut self, depth: usize) -> Result<()> {
        self.skip_space();
        if self.peek() != Some(b'"') {
            return self.fail("key must be a string");
        }
        self.value(depth)?;
        self.skip_space();
        if self.take(b':') { self.value(depth) } else { self.fail("expected `:`") }
    }

    fn string(&mut self, id: usize) -> Result<()> {
        self.at += 1;
        loop {
            let plain = |byte: &&u8| **byte >= b' ' && **byte != b'"' && **byte != b'\\';
            self.at += self.text[self.at..].iter().take_while(plain).count();
            match self.peek() {
                None => return self.fail("EOF while parsing a string"),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.nodes[id].escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.fail("control character in a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<()> {
        let rest = &self.text[self.at + 1..];
        let length = match rest {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', digits @ ..] if digits.len() >= 4 && digits[..4].iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return self.fail("invalid escape"),
        };
        self.at += length;
        Ok(())
    }

    fn number(&mut self) -> Result<()> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.fail("invalid number") } else { Ok(()) }
    }

    fn word(&mut self) -> Result<()> {
        let rest = &self.text[self.at..];
        match [&b"null"[..], b"true", b"false"].into_iter().find(|word| rest.starts_with(word)) {
            Some(word) => self.at += word.len(),
            None => return self.fail("expected value"),
        }
        Ok(())
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn fail<T>(&self, message: &'static str) -> Result<T> {
        Err(Syntax { offset: self.at, message })
    }
}

/// What a string says, of whose form [`nodes`] has made sure.
pub(super) fn content(inner: &str) -> Cow<'_, str> {
    let Some(first) = inner.find('\\') else { return inner.into() };
    let (mut content, mut rest) = (inner[..first].to_owned(), &inner[first..]);
    while let Some(escape) = rest.as_bytes().get(1).filter(|_| rest.starts_with('\\')) {
        let mut length = 2;
        match escape {
            b'b' => content.push('\u{8}'),
            b'f' => content.push('\u{c}'),
            b'n' => content.push('\n'),
            b'r' => content.push('\r'),
            b't' => content.push('\t'),
            b'u' => length = push_utf16(&mut content, rest),
            other => content.push(char::from(*other)),
        }
        let plain = rest[length..].find('\\').map_or(rest.len(), |next| length + next);
        content.push_str(&rest[length..plain]);
        rest = &rest[plain..];
    }
    content.into()
}

/// A character of one or two `\uXXXX`; their length.
fn push_utf16(content: &mut String, escapes: &str) -> usize {
    let unit = |at: usize| {
        let digits = escapes.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let units = [unit(0), unit(6)].into_iter().map_while(|unit| unit);
    let character = char::decode_utf16(units).next().and_then(std::result::Result::ok);
    let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
    content.push(character);
    6 * character.len_utf16()
}
