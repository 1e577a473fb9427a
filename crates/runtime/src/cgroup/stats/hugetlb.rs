// SPDX-License-Identifier: Apache-2.0
//! Huge pages, in bytes, by page size; the reserved ones where the kernel counts them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::directory;
use super::files::Files;
use super::is_empty;
use crate::Result;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hugetlb {
    #[serde(skip_serializing_if = "is_empty")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_empty")]
    pub max: u64,
    pub failcnt: u64,
}

pub(super) fn v1(files: &Files<'_>) -> Result<BTreeMap<String, Hugetlb>> {
    let of = |size: &str| -> Result<Hugetlb> {
        let reserved = format!("hugetlb.{size}.rsvd");
        let prefix = match files.number(&format!("{reserved}.usage_in_bytes"))? {
            Some(_) => reserved,
            None => format!("hugetlb.{size}"),
        };
        Ok(Hugetlb {
            usage: files.count(&format!("{prefix}.usage_in_bytes"))?,
            max: files.count(&format!("{prefix}.max_usage_in_bytes"))?,
            failcnt: files.count(&format!("{prefix}.failcnt"))?,
        })
    };
    sizes(files, ".limit_in_bytes")?.into_iter().map(|size| Ok((size.clone(), of(&size)?))).collect()
}

pub(super) fn v2(files: &Files<'_>) -> Result<BTreeMap<String, Hugetlb>> {
    let of = |size: &str| -> Result<Hugetlb> {
        let usage = match files.number(&format!("hugetlb.{size}.rsvd.current"))? {
            Some(usage) => usage,
            None => files.count(&format!("hugetlb.{size}.current"))?,
        };
        let events = files.named(&format!("hugetlb.{size}.events"))?;
        Ok(Hugetlb { usage, max: 0, failcnt: events.get("max").copied().unwrap_or_default() })
    };
    sizes(files, ".max")?.into_iter().map(|size| Ok((size.clone(), of(&size)?))).collect()
}

/// Those that the controller has a limit for.
fn sizes(files: &Files<'_>, limit: &str) -> Result<Vec<String>> {
    let Some(path) = files.directory else { return Ok(Vec::new()) };
    let names = directory::names(path)?;
    let size = |name: &String| Some(name.strip_prefix("hugetlb.")?.strip_suffix(limit)?.to_owned());
    Ok(names.iter().filter_map(size).filter(|size| !size.contains('.')).collect())
}
