// SPDX-License-Identifier: Apache-2.0
//! `ps`: the container's processes, as host pids in JSON or as lines of ps(1).

use std::process::Command;

use conex_spec::json;

use crate::cli::{Format, Runtime};
use crate::container::Container;
use crate::{Error, ErrorKind, Result, Wrap};

/// The verb. `options` are ps(1)'s; without any, `-ef`.
pub(crate) fn ps(runtime: &Runtime, id: &str, format: Format, options: &[String]) -> Result<String> {
    let container = Container::open(&runtime.root, id)?;
    let mut pids = container.cgroup().processes()?;
    if pids.is_empty() && container.init()?.is_some() {
        // A container without a cgroup of its own is known by its first process only.
        pids.push(container.record.init_process_pid);
    }
    if format == Format::Json {
        let line = json::write(&pids).map_err(|error| Error::new(ErrorKind::Os, error.to_string()))?;
        return Ok(line + "\n");
    }
    let default = ["-ef".to_owned()];
    let options = if options.is_empty() { &default } else { options };
    let output = Command::new("ps").args(options).output().wrap(|| "run ps")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::new(ErrorKind::Os, format!("ps {}: {words}", options.join(" "))));
    }
    select(&String::from_utf8_lossy(&output.stdout), &pids)
}

/// The header, and the lines whose PID column holds one of the pids.
fn select(table: &str, pids: &[i32]) -> Result<String> {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let column = header
        .split_ascii_whitespace()
        .position(|word| word == "PID")
        .ok_or_else(|| Error::new(ErrorKind::Usage, "ps prints no column PID: choose other ps options"))?;
    let wanted = |line: &&str| {
        let pid = line.split_ascii_whitespace().nth(column).and_then(|word| word.parse().ok());
        pid.is_some_and(|pid: i32| pids.contains(&pid))
    };
    Ok(std::iter::once(header).chain(lines.filter(wanted)).map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_lines_by_the_pid_column() {
        let table = "UID  PID PPID CMD\nroot   7    1 a\nroot   8    7 b\nroot  70    7 c\n";
        assert_eq!(select(table, &[7]).unwrap(), "UID  PID PPID CMD\nroot   7    1 a\n");
        select("USER CMD\n", &[7]).unwrap_err();
    }
}
