// SPDX-License-Identifier: Apache-2.0
//! Layers as a list of entries, written out as a tar stream (POSIX ustar, with PAX records where needed).
//!
//! The writer does as it is told: paths may climb, sizes may lie, types may not exist. Good archives come out
//! of the constructors as they are; hostile ones by setting a field or by [`Entry::pax`] and [`Kind::Raw`].
//!
//! ```text
//! entry = [ 'x' header, PAX records ] header content padding
//! header (512 bytes): name 100 · mode 8 · uid 8 · gid 8 · size 12 · mtime 12 · checksum 8 · type 1 ·
//!                     linkname 100 · "ustar\0" "00" · uname 32 · gname 32 · major 8 · minor 8 · prefix 155
//! ```

/// What an entry is.
#[derive(Clone, Debug)]
pub enum Kind {
    File(Vec<u8>),
    Directory,
    Symlink(String),
    Hardlink(String),
    Character(u32, u32),
    Block(u32, u32),
    Fifo,
    /// Any type byte with any content.
    Raw(u8, Vec<u8>),
}

/// One entry of a layer.
#[derive(Clone, Debug)]
pub struct Entry {
    pub path: String,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub mtime: i64,
    /// What the header claims, where that is not the content's length.
    pub size: Option<u64>,
    /// PAX records in front of this entry, in order.
    pub records: Vec<(String, Vec<u8>)>,
}

/// A time that is neither zero nor now: 2024-02-29T12:00:00Z.
pub const MTIME: i64 = 1_709_208_000;

impl Entry {
    pub fn new(path: impl Into<String>, kind: Kind, mode: u32) -> Self {
        let path = path.into();
        Self { path, kind, mode, uid: 0, gid: 0, mtime: MTIME, size: None, records: Vec::new() }
    }

    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub fn mtime(mut self, seconds: i64) -> Self {
        self.mtime = seconds;
        self
    }

    /// The size that the header claims.
    pub fn claim_size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    pub fn pax(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.records.push((key.into(), value.as_ref().to_vec()));
        self
    }

    pub fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }
}

pub fn file(path: &str, content: impl AsRef<[u8]>) -> Entry {
    Entry::new(path, Kind::File(content.as_ref().to_vec()), 0o644)
}

pub fn directory(path: &str) -> Entry {
    Entry::new(path, Kind::Directory, 0o755)
}

pub fn symlink(path: &str, target: &str) -> Entry {
    Entry::new(path, Kind::Symlink(target.into()), 0o777)
}

/// `target` is the path of an earlier entry, from the layer's root.
pub fn hardlink(path: &str, target: &str) -> Entry {
    Entry::new(path, Kind::Hardlink(target.into()), 0o644)
}

pub fn fifo(path: &str) -> Entry {
    Entry::new(path, Kind::Fifo, 0o644)
}

/// Deletes `path` of the layers below.
pub fn whiteout(path: &str) -> Entry {
    let (parent, name) = path.rsplit_once('/').map_or(("", path), |(parent, name)| (parent, name));
    let slash = if parent.is_empty() { "" } else { "/" };
    file(&format!("{parent}{slash}.wh.{name}"), b"").mode(0)
}

/// Hides everything that the layers below have in `directory`.
pub fn opaque(directory: &str) -> Entry {
    file(&format!("{directory}/.wh..wh..opq"), b"").mode(0)
}

/// The whole archive, with its two closing blocks.
pub fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        write_entry(&mut out, entry);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn write_entry(out: &mut Vec<u8>, entry: &Entry) {
    let (kind, link, content, device): (u8, &str, &[u8], (u32, u32)) = match &entry.kind {
        Kind::File(content) => (b'0', "", content, (0, 0)),
        Kind::Hardlink(target) => (b'1', target, &[], (0, 0)),
        Kind::Symlink(target) => (b'2', target, &[], (0, 0)),
        Kind::Character(major, minor) => (b'3', "", &[], (*major, *minor)),
        Kind::Block(major, minor) => (b'4', "", &[], (*major, *minor)),
        Kind::Directory => (b'5', "", &[], (0, 0)),
        Kind::Fifo => (b'6', "", &[], (0, 0)),
        Kind::Raw(kind, content) => (*kind, "", content, (0, 0)),
    };
    let mut path = entry.path.clone();
    if kind == b'5' && !path.ends_with('/') {
        path.push('/');
    }
    let records = needed_records(entry, &path, link);
    if !records.is_empty() {
        let body: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        let name = format!("PaxHeaders/{}", path.chars().take(80).collect::<String>());
        write_block(
            out,
            &header(&name, b'x', "", body.len() as u64, &Entry::new("", Kind::Fifo, 0o644), (0, 0)),
        );
        write_padded(out, &body);
    }
    let size = entry.size.unwrap_or(content.len() as u64);
    write_block(out, &header(&path, kind, link, size, entry, device));
    write_padded(out, content);
}

/// The records the entry asks for, and those without which a header field could not say it.
fn needed_records(entry: &Entry, path: &str, link: &str) -> Vec<(String, Vec<u8>)> {
    let mut records = Vec::new();
    let mut need = |long: bool, key: &str, value: String| {
        if long && !entry.records.iter().any(|(present, _)| present == key) {
            records.push((key.to_owned(), value.into_bytes()));
        }
    };
    need(path.len() > 100, "path", path.to_owned());
    need(link.len() > 100, "linkpath", link.to_owned());
    need(entry.uid > 0o7_777_777, "uid", entry.uid.to_string());
    need(entry.gid > 0o7_777_777, "gid", entry.gid.to_string());
    need(entry.mtime < 0, "mtime", entry.mtime.to_string());
    records.extend(entry.records.iter().cloned());
    records
}

/// `length key=value\n`, where the length counts itself.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length += 1;
    }
    let mut out = format!("{length} {key}=").into_bytes();
    out.extend_from_slice(value);
    out.push(b'\n');
    out
}

fn header(path: &str, kind: u8, link: &str, size: u64, entry: &Entry, device: (u32, u32)) -> [u8; 512] {
    let mut block = [0u8; 512];
    let mut put = |at: usize, width: usize, text: &[u8]| {
        let length = text.len().min(width);
        block[at..at + length].copy_from_slice(&text[..length]);
    };
    let octal = |value: u64, width: usize| format!("{value:0width$o}", width = width - 1).into_bytes();
    put(0, 100, path.as_bytes());
    put(100, 8, &octal(u64::from(entry.mode), 8));
    put(108, 8, &octal(entry.uid & 0o7_777_777, 8));
    put(116, 8, &octal(entry.gid & 0o7_777_777, 8));
    put(124, 12, &octal(size, 12));
    put(136, 12, &octal(entry.mtime.max(0).unsigned_abs(), 12));
    put(148, 8, b"        ");
    put(156, 1, &[kind]);
    put(157, 100, link.as_bytes());
    put(257, 8, b"ustar\x0000");
    put(329, 8, &octal(u64::from(device.0), 8));
    put(337, 8, &octal(u64::from(device.1), 8));
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

fn write_block(out: &mut Vec<u8>, block: &[u8; 512]) {
    out.extend_from_slice(block);
}

fn write_padded(out: &mut Vec<u8>, content: &[u8]) {
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Run, needs, require};
    use std::process::Command;

    /// GNU tar is the judge of what an archive says.
    #[test]
    fn gnu_tar_lists_what_was_asked_for() {
        let tar = needs!(require::program("tar"));
        let long = format!("{}/leaf", "d".repeat(120));
        let bytes = archive(&[
            directory("etc").mode(0o750),
            file("etc/motd", "hello\n").owner(12, 34).mode(0o4755),
            symlink("link", "etc/motd"),
            hardlink("again", "etc/motd"),
            file(&long, "x").xattr("user.note", "v\0w"),
            file("who", "").owner(3_000_000_000, 7),
            whiteout("etc/gone"),
        ]);
        let output = Command::new(tar)
            .args(["--list", "--verbose", "--numeric-owner", "--full-time", "--utc", "--xattrs", "-f", "-"])
            .run_with(&bytes, crate::run::LIMIT)
            .success();
        let listed: Vec<&str> = output.stdout.lines().collect();
        assert!(listed[0].starts_with("drwxr-x---") && listed[0].ends_with(" etc/"), "{output}");
        assert!(listed[1].starts_with("-rwsr-xr-x") && listed[1].contains("12/34"), "{output}");
        assert!(listed[1].contains("2024-02-29 12:00:00"), "{output}");
        assert!(listed[2].ends_with("link -> etc/motd"), "{output}");
        assert!(listed[3].ends_with("again link to etc/motd"), "{output}");
        assert!(output.stdout.contains(&long), "{output}");
        assert!(output.stdout.contains("3000000000/7"), "{output}");
        assert!(listed.last().is_some_and(|line| line.ends_with("etc/.wh.gone")), "{output}");
    }
}
