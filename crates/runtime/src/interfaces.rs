// SPDX-License-Identifier: Apache-2.0
//! What went through a container's network interfaces, as its own namespace counts it (proc_pid_net(5)).
//!
//! ```text
//!  Inter-|   Receive                                                |  Transmit
//!   face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier …
//!    eth0:    7180      71    0    0    0     0          0         0     5502      53    0    0    0     0       0 …
//! ```
#![expect(clippy::disallowed_methods, reason = "/proc is the kernel's")]

use std::fs;
use std::io::ErrorKind as IoErrorKind;

use serde::Serialize;

use crate::{Result, Wrap};

/// In runc's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Interface {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// All but the loopback. `None` if there are no others, or they are the host's, or the process is gone.
pub(crate) fn of_process(pid: i32) -> Result<Option<Vec<Interface>>> {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    if namespace(&pid.to_string()) == namespace("self") {
        return Ok(None);
    }
    let path = format!("/proc/{pid}/net/dev");
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == IoErrorKind::NotFound => Ok(None),
        outcome => {
            Ok(Some(parse(&outcome.wrap(|| format!("read {path}"))?)).filter(|found| !found.is_empty()))
        }
    }
}

fn parse(table: &str) -> Vec<Interface> {
    let rows = table.lines().filter_map(|line| line.split_once(':'));
    rows.filter(|(name, _)| name.trim() != "lo").filter_map(interface).collect()
}

fn interface((name, counters): (&str, &str)) -> Option<Interface> {
    let counters: Vec<u64> = counters.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let column = |index: usize| counters.get(index).copied();
    Some(Interface {
        name: name.trim().to_owned(),
        rx_bytes: column(0)?,
        rx_packets: column(1)?,
        rx_errors: column(2)?,
        rx_dropped: column(3)?,
        tx_bytes: column(8)?,
        tx_packets: column(9)?,
        tx_errors: column(10)?,
        tx_dropped: column(11)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_but_the_loopback() {
        let table = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:1     2    3    4    0     0          0         0     5      6    7    8    0     0       0          0
";
        let eth0 = Interface {
            name: "eth0".into(),
            rx_bytes: 1,
            rx_packets: 2,
            rx_errors: 3,
            rx_dropped: 4,
            tx_bytes: 5,
            tx_packets: 6,
            tx_errors: 7,
            tx_dropped: 8,
        };
        assert_eq!(parse(table), [eth0]);
    }
}
