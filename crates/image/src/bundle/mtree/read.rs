// SPDX-License-Identifier: Apache-2.0
//! Reading the description of a tree, as conex or umoci wrote it. Pure.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::BufRead;
use std::os::unix::ffi::OsStringExt;

use super::MAX_DEPTH;
use crate::{Error, Result, Wrap};

/// A file and what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::bundle) struct Node {
    pub facts: Facts,
    pub children: BTreeMap<OsString, Self>,
}

/// What a line says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::bundle) struct Facts {
    /// `file`, `dir`, `link`, …
    pub kind: String,
    pub size: i64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u64,
    /// Whole seconds.
    pub time: i64,
    pub link: Option<OsString>,
    /// Hexadecimal.
    pub sha256: Option<String>,
    /// Names, and values in base64.
    pub xattrs: BTreeMap<Vec<u8>, String>,
}

/// Reads a whole description; its root is what `.` says.
pub(in crate::bundle) fn parse(text: impl BufRead) -> Result<Node> {
    let mut parser = Parser::default();
    for (number, line) in text.lines().enumerate() {
        parser.line(&line?).wrap(|| format!("line {}", number + 1))?;
    }
    while parser.open.len() > 1 {
        parser.close()?;
    }
    let (_, root) = parser.open.pop().ok_or_else(|| Error::invalid("describes nothing"))?;
    Ok(root)
}

#[derive(Default)]
struct Parser {
    /// The directories that have not ended, the root first.
    open: Vec<(OsString, Node)>,
    /// `/set`
    defaults: Facts,
    /// The root has ended.
    ended: bool,
}

impl Parser {
    fn line(&mut self, line: &str) -> Result<()> {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            None => Ok(()),
            Some(word) if word.starts_with('#') => Ok(()),
            Some("/set") => words.try_for_each(|word| self.defaults.learn(word)),
            Some("..") => self.close(),
            Some(word) if word.starts_with('/') || self.ended => {
                Err(Error::invalid(format!("{word:?} is not understood")))
            }
            Some(name) => {
                let mut facts = self.defaults.clone();
                words.try_for_each(|word| facts.learn(word))?;
                self.enter(OsString::from_vec(decoded(name)?), facts)
            }
        }
    }

    fn enter(&mut self, name: OsString, facts: Facts) -> Result<()> {
        let is_dir = facts.kind == "dir";
        let node = Node { facts, children: BTreeMap::new() };
        if is_dir && self.open.len() > MAX_DEPTH {
            return Err(Error::invalid(format!("directories nested deeper than {MAX_DEPTH}")));
        }
        match self.open.last_mut() {
            _ if is_dir => self.open.push((name, node)),
            Some((_, parent)) => {
                parent.children.insert(name, node);
            }
            None => return Err(Error::invalid("a tree begins with a directory")),
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if self.open.len() < 2 {
            self.ended = true;
            return match self.open.is_empty() {
                true => Err(Error::invalid("a directory ends that has not begun")),
                false => Ok(()),
            };
        }
        if let Some((name, node)) = self.open.pop()
            && let Some((_, parent)) = self.open.last_mut()
        {
            parent.children.insert(name, node);
        }
        Ok(())
    }
}

impl Facts {
    /// Takes one `keyword=value`. Keywords that repack has no use for are passed over.
    fn learn(&mut self, word: &str) -> Result<()> {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let wrong = || Error::invalid(format!("{word:?} is not understood"));
        let number = || value.parse::<u32>().map_err(|_| wrong());
        match key {
            "type" => value.clone_into(&mut self.kind),
            "size" => self.size = value.parse().map_err(|_| wrong())?,
            "mode" => self.mode = u32::from_str_radix(value, 8).map_err(|_| wrong())?,
            "uid" => self.uid = number()?,
            "gid" => self.gid = number()?,
            "nlink" => self.nlink = value.parse().map_err(|_| wrong())?,
            "tar_time" => {
                let seconds = value.split_once('.').map_or(value, |(seconds, _)| seconds);
                self.time = seconds.parse().map_err(|_| wrong())?;
            }
            "link" => self.link = Some(OsString::from_vec(decoded(value)?)),
            "sha256digest" | "sha256" => self.sha256 = Some(value.to_owned()),
            _ => {
                if let Some(name) = key.strip_prefix("xattr.").or_else(|| key.strip_prefix("xattrs.")) {
                    self.xattrs.insert(decoded(name)?, value.to_owned());
                }
            }
        }
        Ok(())
    }
}

/// The inverse of vis(3) with octal numbers.
fn decoded(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                bytes.push(b'\\');
                tail
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            (b'\\', _) => return Err(Error::invalid(format!("{text:?} is not encoded as vis(3) does"))),
            (byte, tail) => {
                bytes.push(*byte);
                tail
            }
        };
    }
    if bytes.contains(&0) || bytes.is_empty() {
        return Err(Error::invalid(format!("{text:?} is no name")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_umoci_writes_is_understood() {
        let text = "#  user: root\n\n# .\n/set type=file nlink=1 mode=0664 uid=0 gid=7\n\
                    . size=4096 type=dir mode=0755 nlink=3 tar_time=0.000000000\n\
                    \x20   odd\\040\\043\\\\n size=2 mode=0 uid=5 tar_time=-3.000000000 sha256digest=ab xattr.user.a\\075=Yg==\n\
                    \n# opt\nopt size=4096 type=dir mode=01777 tar_time=9.000000000\n\
                    \x20   l size=1 type=link mode=0777 link=f\\040g tar_time=1.000000000\n..\n..\n";
        let root = parse(text.as_bytes()).unwrap();
        assert_eq!((root.facts.mode, root.children.len()), (0o755, 2));
        let odd = &root.children[&OsString::from("odd #\\n")].facts;
        assert_eq!((odd.size, odd.uid, odd.gid, odd.time, odd.mode), (2, 5, 7, -3, 0));
        assert_eq!(odd.xattrs[&b"user.a="[..]], "Yg==");
        let link = &root.children[&OsString::from("opt")].children[&OsString::from("l")].facts;
        assert_eq!(link.link, Some("f g".into()));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let deep = ". type=dir\n".to_owned() + &"d type=dir\n".repeat(600);
        for text in ["", "..", "file type=file", ". type=dir\na mode=9", ". type=dir\n\\9 type=file", &deep] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
