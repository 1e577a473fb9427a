// SPDX-License-Identifier: Apache-2.0
//! The locks of containers/storage (pkg/lockfile): fcntl locks on files of their own. 64 bytes in them name the last
//! write; a program that remembers other ones reads the records again.

use std::fs::File;
use std::os::unix::fs::FileExt;

use conex_sys::path::Dir;

use crate::Result;

pub(super) use conex_sys::lock::Share;

/// Held while it lives.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Waits until the lock can be had.
    pub(super) fn take(dir: &Dir, name: &str, share: Share) -> Result<Self> {
        let file = match share {
            // A storage that may only be read is locked, too, as far as it goes.
            Share::Readers => match dir.find(name)? {
                Some(_) => dir.open_file(name)?,
                None => dir.open_or_create_file(name, 0o644)?,
            },
            Share::Nobody => dir.open_or_create_file(name, 0o644)?,
        };
        conex_sys::lock::lock(&file, share)?;
        Ok(Self(file))
    }

    /// Names a new last write: bytes that nobody has written before.
    pub(super) fn touch(&self) -> Result<()> {
        let mut bytes = [0; 64];
        crate::host::random(&mut bytes)?;
        Ok(self.0.write_all_at(&bytes, 0)?)
    }
}
