// SPDX-License-Identifier: Apache-2.0
//! A stretch of a file, read by position: any number of readers share the file, and none moves another.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The bytes from `at` to `end`.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Section {
    pub(crate) fn new(file: Arc<File>, at: u64, end: u64) -> Self {
        Self { file, at, end }
    }

    /// Without its first bytes.
    pub(crate) fn behind(self, offset: u64) -> Self {
        Self { at: self.at.saturating_add(offset).min(self.end), ..self }
    }
}

impl Read for Section {
    /// A file that has become shorter is an error, not an end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let len = left.min(buffer.len());
        if len == 0 {
            return Ok(0);
        }
        let read = self.file.read_at(&mut buffer[..len], self.at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn reads_its_part_and_no_more() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let file = Arc::new(file);
        let mut text = String::new();
        let mut section = Section::new(file.clone(), 3, 7);
        let mut other = section.clone();
        section.read_to_string(&mut text).unwrap();
        other.read_to_string(&mut text).unwrap();
        assert_eq!(text, "34563456");
        assert!(Section::new(file, 8, 12).read_to_string(&mut text).is_err());
    }
}
