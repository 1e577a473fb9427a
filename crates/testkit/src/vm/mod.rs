// SPDX-License-Identifier: Apache-2.0
//! A virtual machine with a kernel of Debian's, for what this host cannot show: another kernel, a pure cgroup v2
//! hierarchy with every controller, systemd as process 1, a power cut. QEMU emulates (no KVM needed), so it is some
//! thirty times slower than the host: one boot should serve several checks.
//!
//! ```text
//! host                                     machine
//!  initramfs: busybox, drivers, scripts ─►  /init: disks to their places, then the system
//!  disks:     modules (read only)       ─►  /lib/modules
//!             root (a copy that dies)   ─►  /            Debian; with busybox it is memory
//!             share (a copy that dies)  ─►  /share       the command's working directory
//!             survivor                 ◄─►  /disk
//!             result                   ◄──  /share/out, as tar
//!  console file                        ◄──  ttyS0        kernel and process 1
//!  stdout, stderr files                ◄──  vport0p1, 2  the command's; at last NUL "exit " status LF
//! ```
//!
//! The machine never turns itself off: seeing the status behind both streams, the host does.

mod boot;
mod cache;
mod initramfs;
mod kernel;
mod root;
mod running;
mod share;
mod units;

use std::path::PathBuf;
use std::time::Duration;

pub use running::{Ended, Running, Stream};

use crate::require::Requirement;

/// What runs in the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum System {
    /// Busybox in memory: the fastest boot.
    #[default]
    Busybox,
    /// Debian's programs, without a service manager.
    Debian,
    /// Debian with systemd as process 1 and a running manager of the user `user`; see `as-user`.
    Systemd,
    /// The same with podman, docker and containerd, of which none runs; a large image.
    Engines,
}

/// A machine to be booted.
#[derive(Debug, Clone)]
pub struct Machine {
    /// A version such as `6.1`; none is what this host's Debian would install.
    pub kernel: Option<String>,
    pub system: System,
    /// More words for the kernel's command line.
    pub parameters: Vec<String>,
    /// Debian's SELinux policy, enforced by systemd's boot; else AppArmor is there. The user's manager cannot be
    /// asked for services then.
    pub selinux: bool,
    /// MiB.
    pub memory: u32,
    pub processors: u32,
    /// Programs of the host, put in front of the machine's path; for busybox with the libraries they need.
    pub programs: Vec<PathBuf>,
    /// Goes in as `/share`; what the command leaves in `/share/out` comes back to `out` in it.
    pub share: Option<PathBuf>,
    /// A disk that survives the machine, as `/disk`: the path of its image, made where there is none.
    pub disk: Option<PathBuf>,
    /// Emulation on two busy cores is slow.
    pub limit: Duration,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            kernel: None,
            system: System::default(),
            parameters: Vec::new(),
            selinux: false,
            memory: 1024,
            processors: 2,
            programs: Vec::new(),
            share: None,
            disk: None,
            limit: Duration::from_secs(600),
        }
    }
}

impl Machine {
    /// Boots it and runs a shell script to its end.
    #[track_caller]
    pub fn run(&self, script: &str) -> Requirement<Ended> {
        let running = self.boot(&["sh", "-c", script])?;
        Ok(running.end(|_, _| {}).unwrap_or_else(|error| panic!("{error}")))
    }
}

/// Downloads and makes what machines are made of, where it is not there yet.
pub fn prepare(kernel: Option<&str>, system: System) -> Requirement {
    kernel::fetch(kernel)?;
    if system != System::Busybox {
        root::image(system)?;
    }
    Ok(())
}
