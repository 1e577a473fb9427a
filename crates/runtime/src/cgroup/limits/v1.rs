// SPDX-License-Identifier: Apache-2.0
//! What is particular to cgroup v1 (Documentation/admin-guide/cgroup-v1/).

use conex_spec::runtime::{BlockIo, Cpu, Memory, Resources, WeightDevice};

use super::{Settings, invalid};
use crate::Result;

impl Settings {
    pub(super) fn v1(&mut self, resources: &Resources) -> Result<()> {
        self.memory1(&resources.memory)?;
        self.cpu1(&resources.cpu)?;
        self.blkio(&resources.block_io);
        self.network(resources);
        Ok(())
    }

    fn memory1(&mut self, memory: &Memory) -> Result<()> {
        let limit = memory.limit.filter(|limit| *limit != 0);
        let swap = memory.swap.filter(|swap| *swap != 0);
        if let (Some(swap), Some(limit)) = (swap, limit)
            && swap > 0
            && swap < limit
        {
            return Err(invalid("memory+swap limit should be >= memory limit"));
        }
        match (swap, limit) {
            (Some(swap), _) => self.add("memory", "memory.memsw.limit_in_bytes", swap),
            // No limit for memory is none for swap either, where the kernel counts it.
            (None, Some(-1)) => self.add_if_there("memory", "memory.memsw.limit_in_bytes", -1),
            (None, _) => {}
        }
        if let Some(limit) = limit {
            self.add("memory", "memory.limit_in_bytes", limit);
        }
        if let Some(reservation) = memory.reservation.filter(|reservation| *reservation != 0) {
            self.add("memory", "memory.soft_limit_in_bytes", reservation);
        }
        if memory.disable_oom_killer == Some(true) {
            self.add("memory", "memory.oom_control", 1);
        }
        if let Some(swappiness) = memory.swappiness {
            if swappiness > 100 {
                let what = format!("invalid memory swappiness value: {swappiness} (valid range is 0-100)");
                return Err(invalid(what));
            }
            self.add("memory", "memory.swappiness", swappiness);
        }
        Ok(())
    }

    fn cpu1(&mut self, cpu: &Cpu) -> Result<()> {
        if let Some(idle) = cpu.idle {
            self.add("cpu", "cpu.idle", idle);
        }
        // The kernel refuses shares for an idle group, and takes others than these without a word for the nearest.
        if let Some(shares) = cpu.shares.filter(|shares| *shares != 0 && cpu.idle != Some(1)) {
            match shares {
                0..2 => return Err(invalid("the minimum allowed cpu-shares is 2")),
                2..=262_144 => self.add("cpu", "cpu.shares", shares),
                _ => return Err(invalid("the maximum allowed cpu-shares is 262144")),
            }
        }
        if let Some(period) = cpu.period.filter(|period| *period != 0) {
            self.add("cpu", "cpu.cfs_period_us", period);
        }
        if let Some(quota) = cpu.quota.filter(|quota| *quota != 0) {
            self.add("cpu", "cpu.cfs_quota_us", quota);
        }
        match cpu.burst {
            Some(0) => self.add_if_there("cpu", "cpu.cfs_burst_us", 0),
            Some(burst) => self.add("cpu", "cpu.cfs_burst_us", burst),
            None => {}
        }
        if let Some(period) = cpu.realtime_period.filter(|period| *period != 0) {
            self.add("cpu", "cpu.rt_period_us", period);
        }
        if let Some(runtime) = cpu.realtime_runtime.filter(|runtime| *runtime != 0) {
            self.add("cpu", "cpu.rt_runtime_us", runtime);
        }
        Ok(())
    }

    fn blkio(&mut self, io: &BlockIo) {
        if let Some(weight) = io.weight.filter(|weight| *weight != 0) {
            let weight = weight.to_string();
            self.add_or("blkio", ("blkio.bfq.weight", weight.clone()), ("blkio.weight", weight));
        }
        if let Some(weight) = io.leaf_weight.filter(|weight| *weight != 0) {
            self.add("blkio", "blkio.leaf_weight", weight);
        }
        io.weight_device.iter().for_each(|device| self.weights_of(device));
        let throttles = [
            ("read_bps", &io.throttle_read_bps_device),
            ("write_bps", &io.throttle_write_bps_device),
            ("read_iops", &io.throttle_read_iops_device),
            ("write_iops", &io.throttle_write_iops_device),
        ];
        for (word, devices) in throttles {
            for device in devices {
                let line = format!("{}:{} {}", device.major, device.minor, device.rate);
                self.add("blkio", format!("blkio.throttle.{word}_device"), line);
            }
        }
    }

    fn weights_of(&mut self, device: &WeightDevice) {
        let line = |weight| format!("{}:{} {weight}", device.major, device.minor);
        if let Some(weight) = device.weight.filter(|weight| *weight != 0) {
            let (bfq, cfq) = ("blkio.bfq.weight_device", "blkio.weight_device");
            self.add_or("blkio", (bfq, line(weight)), (cfq, line(weight)));
        }
        if let Some(weight) = device.leaf_weight.filter(|weight| *weight != 0) {
            self.add("blkio", "blkio.leaf_weight_device", line(weight));
        }
    }

    fn network(&mut self, resources: &Resources) {
        if let Some(class) = resources.network.class_id.filter(|class| *class != 0) {
            self.add("net_cls", "net_cls.classid", class);
        }
        for priority in &resources.network.priorities {
            self.add("net_prio", "net_prio.ifpriomap", format!("{} {}", priority.name, priority.priority));
        }
    }
}
