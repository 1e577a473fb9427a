// SPDX-License-Identifier: Apache-2.0
//! The language of a Containerfile (docs.docker.com/reference/dockerfile), from bytes to plain structs. Pure: opens no
//! file, knows no image.

/// A place in the Containerfile: what a mistake, a warning or a step points at. Lines and columns count from 1, columns
/// in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First line.
    pub line: u32,
    /// First column.
    pub column: u32,
    /// Last line, included.
    pub end_line: u32,
    /// Column behind the last byte.
    pub end_column: u32,
}
