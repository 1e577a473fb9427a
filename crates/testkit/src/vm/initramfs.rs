// SPDX-License-Identifier: Apache-2.0
//! The archive that the kernel unpacks before anything else: busybox, the drivers, the scripts, the command.
//!
//! ```text
//! cpio newc entry: "070701" · 13 fields of 8 hex digits · name NUL · pad to 4 · content · pad to 4
//! fields: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
//! ```

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::run::Run;
use crate::tar::{Entry, Kind};

/// A cpio archive being written. A file's directories must have been added before it.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    pub(super) fn directory(&mut self, path: &str) {
        self.entry(path, 0o040_755, b"");
    }

    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entry(path, 0o100_000 | mode, content);
    }

    pub(super) fn symlink(&mut self, path: &str, target: &str) {
        self.entry(path, 0o120_777, target.as_bytes());
    }

    /// A file of the host, executable.
    pub(super) fn program(&mut self, path: &str, from: &Path) -> std::io::Result<()> {
        self.file(path, 0o755, &fs::read(from)?);
        Ok(())
    }

    /// The shared libraries that a program of the host needs, at their places; none for a static program.
    pub(super) fn libraries_of(&mut self, program: &Path) -> std::io::Result<()> {
        let listed = Command::new("ldd").arg(program).run().stdout;
        for path in listed.split_whitespace().filter(|word| word.starts_with('/')) {
            let directories: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
            for directory in directories.iter().rev().filter(|directory| directory.parent().is_some()) {
                self.directory(directory.to_string_lossy().trim_start_matches('/'));
            }
            self.program(path.trim_start_matches('/'), Path::new(path))?;
        }
        Ok(())
    }

    /// The same entry as a layer has.
    pub(super) fn entry_of(&mut self, entry: &Entry) {
        match &entry.kind {
            Kind::Directory => self.directory(&entry.path),
            Kind::File(content) => self.file(&entry.path, entry.mode, content),
            Kind::Symlink(target) => self.symlink(&entry.path, target),
            other => unreachable!("busybox has no {other:?}"),
        }
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, b"");
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.inode += 1;
        let name = format!("{path}\0");
        let length = u32::try_from(content.len()).expect("an initramfs holds small files");
        let fields = [self.inode, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name.len() as u32, 0];
        let out = &mut self.bytes;
        out.extend_from_slice(b"070701");
        fields.iter().for_each(|field| out.extend_from_slice(format!("{field:08x}").as_bytes()));
        for part in [name.as_bytes(), content] {
            out.extend_from_slice(part);
            out.resize(out.len().next_multiple_of(4), 0);
        }
    }
}
