// SPDX-License-Identifier: Apache-2.0
//! Pressure stall information: for how long some, or all, processes had to wait (Documentation/accounting/psi.rst).
//!
//! ```text
//!  some avg10=0.00 avg60=0.00 avg300=0.00 total=0
//!  full avg10=0.00 avg60=0.00 avg300=0.00 total=0
//! ```

use serde::Serialize;

use super::files::Files;
use super::is_empty;
use crate::Result;

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    #[serde(skip_serializing_if = "is_empty")]
    pub some: Stall,
    #[serde(skip_serializing_if = "is_empty")]
    pub full: Stall,
}

/// Averages in percent, the total in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Stall {
    pub avg10: f64,
    pub avg60: f64,
    pub avg300: f64,
    pub total: u64,
}

impl Pressure {
    /// `None` where the kernel does not measure it.
    pub(super) fn read(files: &Files<'_>, file: &str) -> Result<Option<Self>> {
        let Some(text) = files.text(file)? else { return Ok(None) };
        let mut pressure = Self::default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("some", rest)) => pressure.some = Stall::parse(rest),
                Some(("full", rest)) => pressure.full = Stall::parse(rest),
                _ => {}
            }
        }
        Ok(Some(pressure))
    }
}

impl Stall {
    fn parse(words: &str) -> Self {
        let value = |name: &str| {
            let mut pairs = words.split_whitespace().filter_map(|word| word.split_once('='));
            pairs.find(|(known, _)| *known == name).map_or("0", |(_, value)| value)
        };
        let average = |name| value(name).parse().unwrap_or_default();
        Self {
            avg10: average("avg10"),
            avg60: average("avg60"),
            avg300: average("avg300"),
            total: value("total").parse().unwrap_or_default(),
        }
    }
}
