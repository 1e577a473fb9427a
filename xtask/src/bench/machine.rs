// SPDX-License-Identifier: Apache-2.0
//! `bench runtime --vm`: the same race in a virtual machine with Debian's crun and runc, on what this host does not
//! have: a pure cgroup v2 hierarchy with every controller, and with `--systemd-cgroup` systemd as process 1.
//!
//! The machine is emulated, some thirty times slower than the host and not evenly so: its figures are good for
//! ratios within one run and nothing else.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use conex_testkit::vm::{Machine, System};

use super::Order;
use crate::{dist, host, shell, vm};

/// Where a machine has the programs it was given.
const PROGRAMS: &str = "/run/vm/bin";
/// A race of this length takes minutes.
const ROUNDS: usize = 10;

/// Whether this process runs in the machine.
pub fn is_here() -> bool {
    std::env::var_os(dist::BUILT).is_some()
}

pub fn main(order: &Order) -> Result<()> {
    shell::stage("what measuring needs", || host::install(&[host::BUILD, host::DEMO, host::TEST]))?;
    let mut machine = Machine {
        system: if order.systemd { System::Systemd } else { System::Debian },
        memory: 2048,
        limit: Duration::from_secs(7200),
        programs: vec![
            std::env::current_exe()?,
            dist::build_runtime()?,
            dist::build_one("conex-bench", "conex-bill", "dist")?,
            dist::build_one("conex-bench", "conex-floor", "dist")?,
        ],
        ..Machine::default()
    };
    let mut words: Vec<OsString> = vec!["env".into(), format!("{}={PROGRAMS}", dist::BUILT).into()];
    for peer in super::runtime::PEERS {
        if let Some(path) = std::env::var_os(peer.variable).map(PathBuf::from) {
            words.push(format!("{}={PROGRAMS}/{}", peer.variable, peer.name).into());
            machine.programs.push(path);
        }
    }
    words.extend(["xtask", "bench", "runtime", "--rounds"].map(OsString::from));
    words.push(order.rounds.unwrap_or(ROUNDS).to_string().into());
    words.extend(order.systemd.then(|| "--systemd-cgroup".into()));
    let words: Vec<String> = words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let running = machine.boot(&words).map_err(|reason| anyhow!("{reason}"))?;
    let ended = running.end(vm::show).map_err(|reason| anyhow!("{reason}"))?;
    ensure!(ended.output.status.success(), "the race in the machine failed: {}", ended.output.status);
    Ok(())
}
