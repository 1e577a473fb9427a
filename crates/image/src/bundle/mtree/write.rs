// SPDX-License-Identifier: Apache-2.0
//! Writing the description of a tree.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use conex_spec::{Algorithm, Digest};
use conex_sys::path::{Dir, FileType, Stat};

use super::MAX_DEPTH;
use crate::layer::apply::Known;
use crate::layer::unlock;
use crate::verify::Hasher;
use crate::{Error, Result, Wrap};

/// Describes the tree below `root`. What is known of files spares reading them, or opening them at all.
pub(crate) fn write(root: &Dir, known: &HashMap<PathBuf, Known>, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "#      keywords: size,type,uid,gid,mode,link,nlink,tar_time,sha256digest,xattr")?;
    let mut walk = Walk { known, out };
    writeln!(walk.out, "\n# .\n/set type=file nlink=1 mode=0664 uid=0 gid=0")?;
    let stat = conex_sys::path::stat(root)?;
    let xattrs = open_xattrs(root)?;
    walk.line("", ".", &stat, None, &xattrs)?;
    walk.children(root, Path::new(""), 0)?;
    Ok(writeln!(walk.out, "..")?)
}

struct Walk<'a> {
    known: &'a HashMap<PathBuf, Known>,
    out: &'a mut dyn Write,
}

impl Walk<'_> {
    /// All that is in a directory: files first, then directories, each in order of their bytes.
    fn children(&mut self, dir: &Dir, path: &Path, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::invalid(format!("{path:?}: directories nested deeper than {MAX_DEPTH}")));
        }
        let mut directories = Vec::new();
        let mut entries = dir.entries()?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            let stat = dir.stat(&entry.name)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                directories.push((entry.name, stat));
            } else {
                self.file(dir, path, &entry.name, &stat).wrap(|| format!("{:?}", path.join(&entry.name)))?;
            }
        }
        for (name, stat) in directories {
            let path = path.join(&name);
            let (below, _unlocked) = unlock::open_dir(dir, &name).wrap(|| format!("{path:?}"))?;
            writeln!(self.out, "\n# {}", encoded(path.as_os_str().as_bytes()))?;
            self.line("", &encoded(name.as_bytes()), &stat, None, &open_xattrs(&below)?)?;
            self.children(&below, &path, depth + 1)?;
            writeln!(self.out, "..")?;
        }
        Ok(())
    }

    fn file(&mut self, dir: &Dir, path: &Path, name: &OsStr, stat: &Stat) -> Result<()> {
        let mut extra = None;
        let mut xattrs = Vec::new();
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let known = self.known.get(&path.join(name));
                let mut digest = known.map(|known| known.digest.clone());
                if known.is_none_or(|known| !known.bare) {
                    let (file, _unlocked) = unlock::open_file(dir, name)?;
                    xattrs = open_xattrs(&file)?;
                    digest = digest.map_or_else(|| hash(&file).map(Some), |known| Ok(Some(known)))?;
                }
                extra = digest.map(|digest| format!("sha256digest={}", digest.hex()));
            }
            FileType::Symlink => extra = Some(format!("link={}", encoded(dir.read_link(name)?.as_bytes()))),
            _ => {}
        }
        self.line("    ", &encoded(name.as_bytes()), stat, extra, &xattrs)
    }

    /// One entry, without what `/set` says already.
    fn line(
        &mut self,
        indent: &str,
        name: &str,
        stat: &Stat,
        extra: Option<String>,
        xattrs: &[String],
    ) -> Result<()> {
        let mut line = format!("{indent}{name} size={}", stat.st_size);
        let mut add = |word: std::fmt::Arguments<'_>| {
            line.push(' ');
            // Writing to a string does not fail.
            let _ = line.write_fmt(word);
        };
        let (kind, mode) = (type_word(stat), stat.st_mode & 0o7777);
        if kind != "file" {
            add(format_args!("type={kind}"));
        }
        if stat.st_uid != 0 {
            add(format_args!("uid={}", stat.st_uid));
        }
        if stat.st_gid != 0 {
            add(format_args!("gid={}", stat.st_gid));
        }
        match mode {
            0 => add(format_args!("mode=0")),
            0o664 => {}
            _ => add(format_args!("mode=0{mode:o}")),
        }
        let (link, digest) = match extra {
            Some(word) if word.starts_with("link=") => (Some(word), None),
            other => (None, other),
        };
        if let Some(link) = link {
            add(format_args!("{link}"));
        }
        if stat.st_nlink != 1 {
            add(format_args!("nlink={}", stat.st_nlink));
        }
        add(format_args!("tar_time={}.000000000", stat.st_mtime));
        for word in digest.iter().chain(xattrs) {
            add(format_args!("{word}"));
        }
        line.push('\n');
        Ok(self.out.write_all(line.as_bytes())?)
    }
}

/// mtree's word for a type.
pub(in crate::bundle) fn type_word(stat: &Stat) -> &'static str {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => "dir",
        FileType::Symlink => "link",
        FileType::Fifo => "fifo",
        FileType::CharacterDevice => "char",
        FileType::BlockDevice => "block",
        FileType::Socket => "socket",
        _ => "file",
    }
}

/// The digest of a file's content.
pub(in crate::bundle) fn hash(mut file: &std::fs::File) -> Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.read(&mut file)?;
    Ok(hasher.finish())
}

/// `xattr.<name>=<base64 of the value>`
fn open_xattrs(fd: impl std::os::fd::AsFd) -> Result<Vec<String>> {
    let mut names = conex_sys::path::list_xattrs(&fd)?;
    names.sort();
    let word = |name: Vec<u8>| {
        let value = conex_sys::path::get_xattr(&fd, &name)?;
        Ok(format!("xattr.{}={}", encoded(&name), base64(&value)))
    };
    names.into_iter().map(word).collect()
}

/// vis(3) with VIS_WHITE, VIS_OCTAL and VIS_GLOB.
fn encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'*' | b'?' | b'[' | b'#' => push_octal(&mut text, *byte),
            b'!'..=b'~' => text.push(char::from(*byte)),
            _ => push_octal(&mut text, *byte),
        }
    }
    text
}

fn push_octal(text: &mut String, byte: u8) {
    // Writing to a string does not fail.
    let _ = write!(text, "\\{byte:03o}");
}

/// RFC 4648, with padding.
pub(in crate::bundle) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_as_umoci_does() {
        assert_eq!(encoded("a*b#c=[é]\\$'".as_bytes()), "a\\052b\\043c=\\133\\303\\251]\\\\$'");
        assert_eq!(encoded(b"od d\n"), "od\\040d\\012");
    }

    #[test]
    fn values_are_base64() {
        for (bytes, text) in
            [(&b""[..], ""), (b"b", "Yg=="), (b"ba", "YmE="), (b"bar", "YmFy"), (b"barb", "YmFyYg==")]
        {
            assert_eq!(base64(bytes), text);
        }
    }
}
