// SPDX-License-Identifier: Apache-2.0
//! runtime.md, "Query State", with the keys and the order that runc prints.

use std::collections::BTreeMap;

use conex_spec::json;
use conex_spec::runtime::{Status, VERSION};
use serde::Serialize;

use crate::cli::Runtime;
use crate::container::Container;
use crate::{Error, ErrorKind, Result};

/// What `state` prints of a container, and `list` of each.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub oci_version: &'static str,
    pub id: String,
    /// 0 for a stopped container.
    pub pid: i32,
    pub status: Status,
    pub bundle: String,
    pub rootfs: String,
    pub created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub owner: String,
}

impl Report {
    /// Looks at a container.
    pub(crate) fn of(container: &Container) -> Result<Self> {
        let status = container.status()?;
        let record = &container.record;
        Ok(Self {
            oci_version: VERSION,
            id: record.id.clone(),
            pid: if status == Status::Stopped { 0 } else { record.init_process_pid },
            status,
            bundle: container.record.bundle().to_owned(),
            rootfs: record.config.rootfs.clone(),
            created: record.created.clone(),
            annotations: container.record.annotations(),
            owner: String::new(),
        })
    }
}

/// The verb: JSON of two spaces, no newline at the end.
pub(crate) fn state(runtime: &Runtime, id: &str) -> Result<String> {
    let report = Report::of(&Container::open(&runtime.root, id)?)?;
    json::write_indented(&report, "  ").map_err(|error| Error::new(ErrorKind::Os, error.to_string()))
}
