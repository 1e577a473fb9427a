// SPDX-License-Identifier: Apache-2.0
//! What is particular to cgroup v2 (Documentation/admin-guide/cgroup-v2.rst), and the conversions to its scales.

use conex_spec::runtime::{BlockIo, Cpu, Memory, Resources};

use super::{Settings, invalid, or_max};
use crate::Result;

impl Settings {
    pub(super) fn v2(&mut self, resources: &Resources) -> Result<()> {
        self.memory2(&resources.memory)?;
        self.cpu2(&resources.cpu);
        self.io2(&resources.block_io);
        Ok(())
    }

    fn memory2(&mut self, memory: &Memory) -> Result<()> {
        let limit = memory.limit.filter(|limit| *limit != 0);
        match swap_alone(memory.swap.filter(|swap| *swap != 0), limit)? {
            // A kernel without swap accounting has no such file, and no swap to be limited either.
            Some(swap) if swap <= 0 => self.add_if_there("memory", "memory.swap.max", or_max(swap)),
            Some(swap) => self.add("memory", "memory.swap.max", swap),
            None => {}
        }
        if let Some(limit) = limit {
            self.add("memory", "memory.max", or_max(limit));
        }
        if let Some(reservation) = memory.reservation.filter(|reservation| *reservation != 0) {
            self.add("memory", "memory.low", or_max(reservation));
        }
        Ok(())
    }

    fn cpu2(&mut self, cpu: &Cpu) {
        if let Some(idle) = cpu.idle {
            self.add("cpu", "cpu.idle", idle);
        }
        // The kernel refuses a weight for an idle group.
        if let Some(shares) = cpu.shares.filter(|shares| *shares != 0 && cpu.idle != Some(1)) {
            self.add("cpu", "cpu.weight", weight_from_shares(shares));
        }
        let (quota, period) = (cpu.quota.unwrap_or_default(), cpu.period.unwrap_or_default());
        if quota != 0 || period != 0 {
            let quota = if quota > 0 { quota.to_string() } else { "max".into() };
            let period = if period == 0 { 100_000 } else { period };
            self.add("cpu", "cpu.max", format!("{quota} {period}"));
        }
        match cpu.burst {
            Some(0) => self.add_if_there("cpu", "cpu.max.burst", 0),
            Some(burst) => self.add("cpu", "cpu.max.burst", burst),
            None => {}
        }
    }

    fn io2(&mut self, io: &BlockIo) {
        if let Some(weight) = io.weight.filter(|weight| *weight != 0) {
            let bfq = ("io.bfq.weight", weight.to_string());
            self.add_or("io", bfq, ("io.weight", io_weight(weight).to_string()));
        }
        for device in &io.weight_device {
            if let Some(weight) = device.weight.filter(|weight| *weight != 0) {
                let line = |weight: u64| format!("{}:{} {weight}", device.major, device.minor);
                let bfq = ("io.bfq.weight", line(weight.into()));
                self.add_or("io", bfq, ("io.weight", line(io_weight(weight))));
            }
        }
        let throttles = [
            ("rbps", &io.throttle_read_bps_device),
            ("wbps", &io.throttle_write_bps_device),
            ("riops", &io.throttle_read_iops_device),
            ("wiops", &io.throttle_write_iops_device),
        ];
        for (word, devices) in throttles {
            for device in devices {
                // v1's word for no limit is 0.
                let rate = if device.rate == 0 { "max".to_owned() } else { device.rate.to_string() };
                self.add("io", "io.max", format!("{}:{} {word}={rate}", device.major, device.minor));
            }
        }
    }
}

/// v1 counts memory and swap together, v2 swap alone. -1 is no limit.
fn swap_alone(swap: Option<i64>, limit: Option<i64>) -> Result<Option<i64>> {
    match (swap, limit) {
        (None, Some(-1)) | (Some(-1), _) => Ok(Some(-1)),
        (None, _) => Ok(None),
        (Some(swap), Some(-1)) => Ok(Some(swap)),
        (Some(_), None) => Err(invalid("unable to set swap limit without memory limit")),
        (Some(_), Some(limit)) if limit < 0 => Err(invalid(format!("invalid memory value: {limit}"))),
        (Some(swap), Some(limit)) if swap < limit => {
            Err(invalid("memory+swap limit should be >= memory limit"))
        }
        (Some(swap), Some(limit)) => Ok(Some(swap - limit)),
    }
}

/// cpu.shares 2…262144 to cpu.weight 1…10000, so that the defaults 1024 and 100 and both ends meet: a parabola through
/// the three points on a doubly logarithmic scale, as all runtimes have it.
pub(super) fn weight_from_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let logarithm = (shares as f64).log2();
            let exponent = (logarithm * logarithm + 125.0 * logarithm) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
        }
    }
}

/// blkio.weight 10…1000 to io.weight 1…10000.
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9999 / 990
}
