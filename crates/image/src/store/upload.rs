// SPDX-License-Identifier: Apache-2.0
//! A blob that arrives in pieces, with its digest last: what a registry's upload session needs.

use std::io::Read;

use conex_spec::Digest;

use super::unbuilt;
use crate::Result;

/// An upload under way, locked against others while this value lives. Dropping it keeps what has arrived.
#[derive(Debug)]
pub struct Upload {
    id: String,
    len: u64,
}

impl Upload {
    /// Names the upload, for [`super::Store::resume_upload`].
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Bytes that have arrived.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing has arrived.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds all that `reader` yields, and says how many bytes that were.
    pub fn append(&mut self, reader: &mut dyn Read) -> Result<u64> {
        let _ = reader;
        unbuilt("append")
    }

    /// Makes it a blob if its digest is `digest`; says its size. Otherwise an error of kind `Invalid`, and the
    /// upload is gone.
    pub fn finish(self, digest: &Digest) -> Result<u64> {
        let _ = digest;
        unbuilt("finish")
    }

    /// Throws away what has arrived.
    pub fn cancel(self) -> Result<()> {
        unbuilt("cancel")
    }
}
