// SPDX-License-Identifier: Apache-2.0
//! Removing what nothing leads to: mark from index.json, sweep blobs, layers and leftovers.

/// What gc removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Blobs.
    pub blobs: usize,
    /// Unpacked layers.
    pub layers: usize,
    /// Leftovers of killed processes.
    pub leftovers: usize,
    /// Bytes of the removed blobs and of the files in the removed layers.
    pub bytes: u64,
}
