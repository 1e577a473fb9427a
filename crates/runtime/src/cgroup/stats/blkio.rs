// SPDX-License-Identifier: Apache-2.0
//! Block I/O by device.
//!
//! ```text
//!  v2   io.stat                              8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0
//!  v1   blkio.*.io_serviced_recursive        8:0 Read 1
//!                                            8:0 Write 0
//!       blkio.bfq.time_recursive             8:0 12
//! ```

use serde::Serialize;

use super::files::Files;
use super::is_empty;
use super::pressure::Pressure;
use crate::Result;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "Vec::is_empty")]
    pub io_queued_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    #[serde(skip_serializing_if = "is_empty")]
    pub major: u64,
    #[serde(skip_serializing_if = "is_empty")]
    pub minor: u64,
    /// `Read`, `Write`, `Total`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    #[serde(skip_serializing_if = "is_empty")]
    pub value: u64,
}

impl Blkio {
    pub(super) fn v2(files: &Files<'_>) -> Result<Self> {
        let mut io = Self::default();
        for line in files.text("io.stat")?.unwrap_or_default().lines() {
            let mut words = line.split_whitespace();
            let Some((major, minor)) = words.next().and_then(device) else { continue };
            for (name, value) in words.filter_map(|word| word.split_once('=')) {
                let (list, op) = match name {
                    "rbytes" => (&mut io.io_service_bytes_recursive, "Read"),
                    "wbytes" => (&mut io.io_service_bytes_recursive, "Write"),
                    "rios" => (&mut io.io_serviced_recursive, "Read"),
                    "wios" => (&mut io.io_serviced_recursive, "Write"),
                    _ => continue,
                };
                let value = files.parse("io.stat", value)?;
                list.push(BlkioEntry { major, minor, op: op.into(), value });
            }
        }
        Ok(io)
    }

    /// Which files count depends on the disk's scheduler: the first that has a device is believed.
    pub(super) fn v1(files: &Files<'_>) -> Result<Self> {
        for (before, behind) in [
            ("blkio.bfq.", "_recursive"),
            ("blkio.", "_recursive"),
            ("blkio.throttle.", "_recursive"),
            ("blkio.throttle.", ""),
        ] {
            let list = |name: &str| entries(files, &format!("{before}{name}{behind}"));
            let io_serviced_recursive = list("io_serviced")?;
            if io_serviced_recursive.is_empty() {
                continue;
            }
            return Ok(Self {
                io_serviced_recursive,
                io_service_bytes_recursive: list("io_service_bytes")?,
                io_queued_recursive: list("io_queued")?,
                io_service_time_recursive: list("io_service_time")?,
                io_wait_time_recursive: list("io_wait_time")?,
                io_merged_recursive: list("io_merged")?,
                io_time_recursive: list("time")?,
                sectors_recursive: list("sectors")?,
                psi: None,
            });
        }
        Ok(Self::default())
    }
}

fn entries(files: &Files<'_>, file: &str) -> Result<Vec<BlkioEntry>> {
    let mut entries = Vec::new();
    for line in files.text(file)?.unwrap_or_default().lines() {
        // The last line is the sum of all devices.
        let words: Vec<_> = line.split_whitespace().collect();
        let (first, op, value) = match words[..] {
            [first, op, value] => (first, op, value),
            [first, value] => (first, "", value),
            _ => continue,
        };
        let Some((major, minor)) = device(first) else { continue };
        entries.push(BlkioEntry { major, minor, op: op.into(), value: files.parse(file, value)? });
    }
    Ok(entries)
}

fn device(word: &str) -> Option<(u64, u64)> {
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
