// SPDX-License-Identifier: Apache-2.0
//! The `spec` verb: a `config.json` to start from.

use crate::{Error, ErrorKind, Result};

/// Writes `<bundle>/config.json`; refuses to overwrite. With `rootless` for the calling user's ids.
pub fn write(_bundle: &str, _rootless: Option<(u32, u32)>) -> Result<()> {
    Err(Error::new(ErrorKind::Unsupported, "spec is not written yet"))
}
