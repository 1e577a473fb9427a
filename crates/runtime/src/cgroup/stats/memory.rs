// SPDX-License-Identifier: Apache-2.0
//! Memory, in bytes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::files::Files;
use super::is_empty;
use super::pressure::Pressure;
use crate::Result;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    #[serde(skip_serializing_if = "is_empty")]
    pub cache: u64,
    #[serde(skip_serializing_if = "is_empty")]
    pub usage: MemoryEntry,
    /// Together with the memory.
    #[serde(skip_serializing_if = "is_empty")]
    pub swap: MemoryEntry,
    /// v1 only, as is the next.
    #[serde(skip_serializing_if = "is_empty")]
    pub kernel: MemoryEntry,
    #[serde(rename = "kernelTCP", skip_serializing_if = "is_empty")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat` as it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryEntry {
    pub limit: u64,
    #[serde(skip_serializing_if = "is_empty")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_empty")]
    pub max: u64,
    pub failcnt: u64,
}

impl Memory {
    pub(super) fn v2(files: &Files<'_>) -> Result<Self> {
        let entry = |name: &str| -> Result<MemoryEntry> {
            Ok(MemoryEntry {
                limit: files.count(&format!("memory.{name}max"))?,
                usage: files.count(&format!("memory.{name}current"))?,
                max: files.count(&format!("memory.{name}peak"))?,
                failcnt: 0,
            })
        };
        let raw = files.named("memory.stat")?;
        let (usage, swap) = (entry("")?, entry("swap.")?);
        let swap = MemoryEntry {
            limit: swap.limit.saturating_add(usage.limit),
            usage: swap.usage + usage.usage,
            // The peaks need not have been at one time.
            max: 0,
            failcnt: 0,
        };
        let cache = raw.get("file").copied().unwrap_or_default();
        Ok(Self { cache, usage, swap, raw, ..Self::default() })
    }

    pub(super) fn v1(files: &Files<'_>) -> Result<Self> {
        let entry = |name: &str| -> Result<MemoryEntry> {
            Ok(MemoryEntry {
                limit: files.count(&format!("memory.{name}limit_in_bytes"))?,
                usage: files.count(&format!("memory.{name}usage_in_bytes"))?,
                max: files.count(&format!("memory.{name}max_usage_in_bytes"))?,
                failcnt: files.count(&format!("memory.{name}failcnt"))?,
            })
        };
        let raw = files.named("memory.stat")?;
        Ok(Self {
            cache: raw.get("cache").copied().unwrap_or_default(),
            usage: entry("")?,
            swap: entry("memsw.")?,
            kernel: entry("kmem.")?,
            kernel_tcp: entry("kmem.tcp.")?,
            raw,
            psi: None,
        })
    }
}
