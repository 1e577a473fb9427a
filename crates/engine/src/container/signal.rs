// SPDX-License-Identifier: Apache-2.0
//! Signals as people write them.

use crate::{Error, ErrorKind, Result};

/// `TERM`, `SIGTERM`, `15`, `RTMIN+3`.
pub fn parse_signal(text: &str) -> Result<i32> {
    conex_sys::signal::number(text).ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("{text:?} is not a signal"))
            .with_hint("write a name such as TERM or SIGTERM, or a number from 1 to 64")
    })
}
