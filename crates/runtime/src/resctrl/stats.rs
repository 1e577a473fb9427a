// SPDX-License-Identifier: Apache-2.0
//! The `intel_rdt` part of an event, in runc's shape.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::read;
use crate::Result;
use crate::record::Record;

/// Empty for a container without intelRdt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct IntelRdtStats {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<CacheInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<BandwidthInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// For each cache, as for the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbm_stats: Option<Vec<Bandwidth>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmt_stats: Option<Vec<Occupancy>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct CacheInfo {
    pub cbm_mask: String,
    pub min_cbm_bits: u64,
    pub num_closids: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct BandwidthInfo {
    pub bandwidth_gran: u64,
    pub delay_linear: u64,
    pub min_bandwidth: u64,
    pub num_closids: u64,
}

/// Bytes since the group was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Bandwidth {
    pub mbm_total_bytes: u64,
    pub mbm_local_bytes: u64,
}

/// Bytes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Occupancy {
    pub llc_occupancy: u64,
}

impl IntelRdtStats {
    pub(crate) fn of(record: &Record) -> Result<Self> {
        match record.intel_rdt_path.as_str() {
            "" => Ok(Self::default()),
            _ => Self::read(&super::mount_point()?, record),
        }
    }

    pub(super) fn read(root: &str, record: &Record) -> Result<Self> {
        let lines = |path: &str| -> Result<Vec<String>> {
            Ok(read(path, "schemata")?.lines().map(|line| line.trim().to_owned()).collect())
        };
        let (all, own) = (lines(root)?, lines(&record.intel_rdt_path)?);
        let of = |lines: &[String], name: &str| {
            lines.iter().find(|line| line.starts_with(name)).cloned().unwrap_or_default()
        };
        let info = |name: &str| Some(format!("{root}/info/{name}")).filter(|path| is_directory(path));
        let number = |path: &str, file| {
            read(path, file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
        };
        let mut stats = Self { schemata: own.clone(), ..Self::default() };
        if let Some(info) = info("L3") {
            stats.l3_cache_info = Some(CacheInfo {
                cbm_mask: read(&info, "cbm_mask")?.trim().to_owned(),
                min_cbm_bits: number(&info, "min_cbm_bits"),
                num_closids: number(&info, "num_closids"),
            });
            (stats.l3_cache_schema_root, stats.l3_cache_schema) = (of(&all, "L3"), of(&own, "L3"));
        }
        if let Some(info) = info("MB") {
            stats.mem_bw_info = Some(BandwidthInfo {
                bandwidth_gran: number(&info, "bandwidth_gran"),
                delay_linear: number(&info, "delay_linear"),
                min_bandwidth: number(&info, "min_bandwidth"),
                num_closids: number(&info, "num_closids"),
            });
            (stats.mem_bw_schema_root, stats.mem_bw_schema) = (of(&all, "MB"), of(&own, "MB"));
        }
        if let Some(info) = info("L3_MON") {
            let features = read(&info, "mon_features")?;
            let has = |part: &str| features.lines().any(|feature| feature.starts_with(part));
            // Without a group of its own these are everybody's in the class.
            let own = if record.intel_rdt_mon_path.is_empty() {
                &record.intel_rdt_path
            } else {
                &record.intel_rdt_mon_path
            };
            let caches = caches(&format!("{own}/mon_data"));
            stats.mbm_stats = has("mbm_").then(|| {
                let each = caches.iter().map(|cache| Bandwidth {
                    mbm_total_bytes: number(cache, "mbm_total_bytes"),
                    mbm_local_bytes: number(cache, "mbm_local_bytes"),
                });
                each.collect()
            });
            stats.cmt_stats = has("llc_").then(|| {
                let each =
                    caches.iter().map(|cache| Occupancy { llc_occupancy: number(cache, "llc_occupancy") });
                each.collect()
            });
        }
        Ok(stats)
    }
}

fn is_directory(path: &str) -> bool {
    Path::new(path).is_dir()
}

/// `mon_L3_00`, `mon_L3_01`, …
fn caches(path: &str) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.path().to_string_lossy().into_owned()).collect();
    found.sort();
    found
}
