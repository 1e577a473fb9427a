// SPDX-License-Identifier: Apache-2.0
//! The cgroup's part of a plan, in words.

use std::collections::BTreeSet;
use std::fmt;

use conex_spec::json;

use super::{CgroupPlan, Driver};

impl fmt::Display for CgroupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.driver {
            Driver::Disabled => return f.write_str("none"),
            Driver::Systemd => f.write_str("systemd")?,
            Driver::Cgroupfs => f.write_str("cgroupfs")?,
        }
        if let Some(unit) = &self.unit {
            write!(f, " {} in {}", unit.name, unit.slice)?;
            for property in &unit.properties {
                write!(f, ", {} {:?}", property.name, property.value)?;
            }
            f.write_str(";")?;
        }
        let directories: BTreeSet<_> = self.directories.values().collect();
        for directory in directories {
            write!(f, " {directory}")?;
        }
        if self.best_effort {
            f.write_str(", as far as permitted")?;
        }
        if let Some(owner) = self.owner {
            write!(f, ", managed by uid {owner}")?;
        }
        let mut limits = self.resources.clone();
        let rules = std::mem::take(&mut limits.devices).len();
        let limits = json::write(&limits).map_err(|_| fmt::Error)?;
        write!(f, "; {rules} device rules; limits {limits}")
    }
}
