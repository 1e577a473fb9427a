// SPDX-License-Identifier: Apache-2.0
//! `list`: all containers of a state root, as a table or as one line of JSON.
#![expect(clippy::disallowed_methods, reason = "the state root is the host's")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use conex_spec::json;
use conex_spec::runtime::{Status, VERSION};
use conex_sys::file;
use conex_sys::path::Dir;

use crate::cli::{Format, Runtime};
use crate::container::{self, Container, STATE_FILE};
use crate::record::Glance;
use crate::state::Report;
use crate::{Error, ErrorKind, Result, Wrap};

/// The verb. A container that cannot be read is told on standard error and left out.
pub(crate) fn list(runtime: &Runtime, format: Format, quiet: bool) -> Result<String> {
    if runtime.root_is_explicit {
        fs::metadata(&runtime.root).wrap(|| format!("open {}", runtime.root.display()))?;
    }
    let (mut reports, mut owners) = (Vec::new(), BTreeMap::new());
    let ids = container::ids(&runtime.root)?;
    let Some(first) = ids.first() else { return show(&reports, format, quiet) };
    let root = Dir::open_host(&runtime.root).wrap(|| format!("load container {first}"))?;
    for id in ids {
        match report(runtime, &root, &id, &mut owners) {
            Ok(report) => reports.push(report),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => runtime.warn(&[format!("load container {id}: {error}")]),
        }
    }
    show(&reports, format, quiet)
}

fn show(reports: &[Report], format: Format, quiet: bool) -> Result<String> {
    match format {
        _ if quiet => Ok(reports.iter().map(|report| format!("{}\n", report.id)).collect()),
        Format::Json if reports.is_empty() => Ok("null\n".to_owned()),
        Format::Json => {
            let line = json::write(reports);
            line.map(|line| line + "\n").map_err(|error| Error::new(ErrorKind::Os, error.to_string()))
        }
        Format::Table => Ok(table(reports)),
    }
}

/// `owners` are the users whose names were looked for already.
fn report(runtime: &Runtime, root: &Dir, id: &str, owners: &mut BTreeMap<u32, String>) -> Result<Report> {
    let report = match ended(root, id)? {
        Some(report) => report,
        None => Report::of(&Container::open(&runtime.root, id)?)?,
    };
    let uid = root.stat(id)?.st_uid;
    let owner = owners.entry(uid).or_insert_with(|| user_name(uid)).clone();
    Ok(Report { owner, ..report })
}

/// Of a container whose process is gone nothing else needs to be known. Whatever is wrong with a record is told by
/// whoever reads it whole.
fn ended(root: &Dir, id: &str) -> Result<Option<Report>> {
    let path = format!("{id}/{STATE_FILE}");
    let Ok(bytes) = file::read_record_at(root, path.as_ref()) else { return Ok(None) };
    let Ok(glance) = json::read::<Glance>(&bytes) else { return Ok(None) };
    if !glance.has_ended()? {
        return Ok(None);
    }
    Ok(Some(Report {
        oci_version: VERSION,
        id: glance.id,
        pid: 0,
        status: Status::Stopped,
        bundle: glance.config.bundle().to_owned(),
        annotations: glance.config.annotations(),
        rootfs: glance.config.rootfs,
        created: glance.created,
        owner: String::new(),
    }))
}

/// The host's name of a user, `#<uid>` if it has none.
fn user_name(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = uid.to_string();
    let line = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = line
        .filter(|fields| fields.get(2) == Some(&number.as_str()))
        .find_map(|fields| fields.first().copied());
    found.map_or_else(|| format!("#{uid}"), str::to_owned)
}

/// Columns at least twelve wide, three spaces apart: Go's tabwriter as runc sets it.
fn table(reports: &[Report]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = reports.iter().map(|report| {
        [
            report.id.clone(),
            report.pid.to_string(),
            report.status.to_string(),
            report.bundle.clone(),
            report.created.clone(),
            report.owner.clone(),
        ]
    });
    let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        (longest + 3).max(12)
    };
    let widths: Vec<_> = (0..5).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            write!(text, "{cell:<width$}").expect("a String takes everything");
        }
        text.push_str(&row[5]);
        text.push('\n');
    }
    text
}
