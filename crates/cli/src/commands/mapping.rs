// SPDX-License-Identifier: Apache-2.0
//! `--uid-map`, `--gid-map`: which ids of the host the owners of an image's files are.

use conex_engine::images::bundle::{IdMapping, UnpackOptions};

use crate::environment::Environment;

/// For verbs that turn owners in an image into owners on the host, or back.
#[derive(clap::Args, Debug)]
pub(crate) struct MapArgs {
    /// Shift user ids: CONTAINER:HOST[:COUNT]
    #[arg(long, value_name = "MAP", value_parser = parse_mapping)]
    pub uid_map: Vec<IdMapping>,
    /// Shift group ids: CONTAINER:HOST[:COUNT]
    #[arg(long, value_name = "MAP", value_parser = parse_mapping)]
    pub gid_map: Vec<IdMapping>,
}

impl MapArgs {
    /// What was asked for; without privileges and a wish, root in the container is the caller.
    pub(crate) fn options(&self, rootless: bool, caller: &Environment, keep_dirlinks: bool) -> UnpackOptions {
        let map = |asked: &[IdMapping], own: u32| match rootless && asked.is_empty() {
            true => vec![IdMapping { container_id: 0, host_id: own, size: 1 }],
            false => asked.to_vec(),
        };
        UnpackOptions {
            rootless,
            uid_map: map(&self.uid_map, caller.uid),
            gid_map: map(&self.gid_map, caller.gid),
            keep_dirlinks,
        }
    }
}

/// Reads `CONTAINER:HOST[:COUNT]`.
fn parse_mapping(text: &str) -> Result<IdMapping, String> {
    let numbers: Option<Vec<u32>> = text.split(':').map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[container_id, host_id]) => Ok(IdMapping { container_id, host_id, size: 1 }),
        Some(&[container_id, host_id, size]) => Ok(IdMapping { container_id, host_id, size }),
        _ => Err(format!("{text:?} is not CONTAINER:HOST[:COUNT]")),
    }
}
