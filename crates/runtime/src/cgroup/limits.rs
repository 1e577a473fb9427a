// SPDX-License-Identifier: Apache-2.0
//! Resources as files and values. Pure: the conversions between the specification's words (those of cgroup v1) and
//! the files of either version are all here.

use conex_spec::runtime::{BlockIo, Cpu, Memory, Pids, Resources, ThrottleDevice};

use super::Version;
use crate::{Error, ErrorKind, Result};

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The v1 hierarchy it is in; in v2 the controller that must be enabled.
    pub controller: &'static str,
    pub file: String,
    pub value: String,
    /// What to write instead where the kernel has no such file; an empty name means nothing.
    pub otherwise: Option<(String, String)>,
}

/// In the order in which they must be written.
pub(super) fn settings(version: Version, resources: &Resources) -> Result<Vec<Setting>> {
    let mut settings = Settings(Vec::new());
    match version {
        Version::V2 => {
            settings.memory2(&resources.memory)?;
            settings.cpu2(&resources.cpu);
            settings.io2(&resources.block_io);
        }
        Version::V1 => {
            settings.memory1(&resources.memory)?;
            settings.cpu1(&resources.cpu);
            settings.blkio(&resources.block_io);
            settings.network(resources);
        }
    }
    settings.both(version, resources);
    settings.pids(resources.pids);
    if version == Version::V2 {
        for (file, value) in &resources.unified {
            settings.unified(file, value)?;
        }
    }
    Ok(settings.0)
}

/// Collects; the controllers are its methods.
struct Settings(Vec<Setting>);

impl Settings {
    fn add(&mut self, controller: &'static str, file: impl Into<String>, value: impl ToString) {
        self.0.push(Setting { controller, file: file.into(), value: value.to_string(), otherwise: None });
    }

    fn add_or(&mut self, controller: &'static str, first: (&str, String), otherwise: (&str, String)) {
        let otherwise = Some((otherwise.0.into(), otherwise.1));
        self.0.push(Setting { controller, file: first.0.into(), value: first.1, otherwise });
    }

    fn memory2(&mut self, memory: &Memory) -> Result<()> {
        let limit = memory.limit.filter(|limit| *limit != 0);
        let swap = match (memory.swap.filter(|swap| *swap != 0), limit) {
            (None, Some(-1)) | (Some(-1), _) => Some(-1),
            (None, _) => None,
            (Some(_), None | Some(-1)) => {
                return Err(invalid("unable to set swap limit without memory limit".into()));
            }
            (Some(swap), Some(limit)) if swap < limit => {
                return Err(invalid("memory+swap limit should be >= memory limit".into()));
            }
            (Some(swap), Some(limit)) => Some(swap - limit),
        };
        if let Some(swap) = swap {
            // A kernel without swap accounting has no such file, and no swap to be limited either.
            self.add_or("memory", ("memory.swap.max", or_max(swap)), ("", String::new()));
        }
        if let Some(limit) = limit {
            self.add("memory", "memory.max", or_max(limit));
        }
        if let Some(reservation) = memory.reservation.filter(|reservation| *reservation != 0) {
            self.add("memory", "memory.low", or_max(reservation));
        }
        Ok(())
    }

    fn memory1(&mut self, memory: &Memory) -> Result<()> {
        let limit = memory.limit.filter(|limit| *limit != 0);
        let swap = memory.swap.filter(|swap| *swap != 0).or(limit.filter(|limit| *limit == -1));
        if let (Some(swap), Some(limit)) = (swap, limit)
            && swap > 0
            && swap < limit
        {
            return Err(invalid("memory+swap limit should be >= memory limit".into()));
        }
        // Both together must stay limit <= memory+swap: an unlimited sum goes first.
        let both = [("memory.memsw.limit_in_bytes", swap), ("memory.limit_in_bytes", limit)];
        let ordered = if swap == Some(-1) { both } else { [both[1], both[0]] };
        for (file, value) in ordered {
            if let Some(value) = value {
                self.add("memory", file, value);
            }
        }
        if let Some(reservation) = memory.reservation.filter(|reservation| *reservation != 0) {
            self.add("memory", "memory.soft_limit_in_bytes", reservation);
        }
        if memory.disable_oom_killer == Some(true) {
            self.add("memory", "memory.oom_control", 1);
        }
        if let Some(swappiness) = memory.swappiness {
            if swappiness > 100 {
                return Err(invalid(format!(
                    "invalid memory swappiness value: {swappiness} (valid range is 0-100)"
                )));
            }
            self.add("memory", "memory.swappiness", swappiness);
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
        if let Some(burst) = cpu.burst {
            self.add("cpu", "cpu.max.burst", burst);
        }
        self.cpuset(cpu);
    }

    fn cpu1(&mut self, cpu: &Cpu) {
        if let Some(idle) = cpu.idle {
            self.add("cpu", "cpu.idle", idle);
        }
        if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
            self.add("cpu", "cpu.shares", shares);
        }
        if let Some(period) = cpu.period.filter(|period| *period != 0) {
            self.add("cpu", "cpu.cfs_period_us", period);
        }
        if let Some(quota) = cpu.quota.filter(|quota| *quota != 0) {
            self.add("cpu", "cpu.cfs_quota_us", quota);
        }
        if let Some(burst) = cpu.burst {
            self.add("cpu", "cpu.cfs_burst_us", burst);
        }
        if let Some(period) = cpu.realtime_period.filter(|period| *period != 0) {
            self.add("cpu", "cpu.rt_period_us", period);
        }
        if let Some(runtime) = cpu.realtime_runtime.filter(|runtime| *runtime != 0) {
            self.add("cpu", "cpu.rt_runtime_us", runtime);
        }
        self.cpuset(cpu);
    }

    fn cpuset(&mut self, cpu: &Cpu) {
        for (file, list) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
            if !list.is_empty() {
                self.add("cpuset", file, list);
            }
        }
    }

    fn pids(&mut self, pids: Pids) {
        if let Some(limit) = pids.limit {
            // Zero would not even let the container's first process in.
            self.add("pids", "pids.max", or_max(if limit == 0 { 1 } else { limit }));
        }
    }

    fn io2(&mut self, io: &BlockIo) {
        if let Some(weight) = io.weight.filter(|weight| *weight != 0) {
            let bfq = ("io.bfq.weight", weight.to_string());
            self.add_or("io", bfq, ("io.weight", io_weight(weight).to_string()));
        }
        for device in &io.weight_device {
            if let Some(weight) = device.weight {
                self.add("io", "io.bfq.weight", format!("{}:{} {weight}", device.major, device.minor));
            }
        }
        for (word, devices) in throttles(io, ["rbps", "wbps", "riops", "wiops"]) {
            for device in devices {
                self.add("io", "io.max", format!("{}:{} {word}={}", device.major, device.minor, device.rate));
            }
        }
    }

    fn blkio(&mut self, io: &BlockIo) {
        if let Some(weight) = io.weight.filter(|weight| *weight != 0) {
            self.add_or(
                "blkio",
                ("blkio.bfq.weight", weight.to_string()),
                ("blkio.weight", weight.to_string()),
            );
        }
        if let Some(weight) = io.leaf_weight.filter(|weight| *weight != 0) {
            self.add("blkio", "blkio.leaf_weight", weight);
        }
        for device in &io.weight_device {
            let line = |weight| format!("{}:{} {weight}", device.major, device.minor);
            if let Some(weight) = device.weight {
                self.add_or(
                    "blkio",
                    ("blkio.bfq.weight_device", line(weight)),
                    ("blkio.weight_device", line(weight)),
                );
            }
            if let Some(weight) = device.leaf_weight {
                self.add("blkio", "blkio.leaf_weight_device", line(weight));
            }
        }
        let files = ["read_bps_device", "write_bps_device", "read_iops_device", "write_iops_device"];
        for (file, devices) in throttles(io, files) {
            for device in devices {
                let line = format!("{}:{} {}", device.major, device.minor, device.rate);
                self.add("blkio", format!("blkio.throttle.{file}"), line);
            }
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

    /// Controllers whose files differ in little but a word.
    fn both(&mut self, version: Version, resources: &Resources) {
        let word = if version == Version::V2 { "max" } else { "limit_in_bytes" };
        for limit in &resources.hugepage_limits {
            let file = |part: &str| format!("hugetlb.{}.{part}{word}", limit.page_size);
            self.add("hugetlb", file(""), limit.limit);
            let reservation = (&*file("rsvd."), limit.limit.to_string());
            self.add_or("hugetlb", reservation, ("", String::new()));
        }
        for (device, limits) in &resources.rdma {
            let mut line = device.clone();
            for (word, limit) in [("hca_handle", limits.hca_handles), ("hca_object", limits.hca_objects)] {
                line += &limit.map(|limit| format!(" {word}={limit}")).unwrap_or_default();
            }
            self.add("rdma", "rdma.max", line);
        }
    }

    /// Verbatim, several lines one by one, as the kernel takes them.
    fn unified(&mut self, file: &str, value: &str) -> Result<()> {
        if file.contains('/') || !file.contains('.') {
            return Err(invalid(format!("unified resource {file:?} must be a file name without slashes")));
        }
        for line in value.lines() {
            self.add("", file, line);
        }
        Ok(())
    }
}

fn throttles<'a>(io: &'a BlockIo, names: [&'static str; 4]) -> [(&'static str, &'a [ThrottleDevice]); 4] {
    [
        (names[0], &io.throttle_read_bps_device),
        (names[1], &io.throttle_write_bps_device),
        (names[2], &io.throttle_read_iops_device),
        (names[3], &io.throttle_write_iops_device),
    ]
}

fn or_max(limit: i64) -> String {
    if limit < 0 { "max".into() } else { limit.to_string() }
}

/// cpu.shares 2…262144 to cpu.weight 1…10000, so that the defaults 1024 and 100 and both ends meet: a parabola through
/// the three points on a doubly logarithmic scale, as all runtimes have it.
fn weight_from_shares(shares: u64) -> u64 {
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
fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9999 / 990
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Config, format!("linux.resources: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(version: Version, json: &str) -> Vec<String> {
        let resources: Resources = serde_json::from_str(json).unwrap();
        match settings(version, &resources) {
            Ok(settings) => {
                settings.iter().map(|setting| format!("{} {}", setting.file, setting.value)).collect()
            }
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn memory_and_swap() {
        let limited = r#"{"memory":{"limit":100,"swap":150,"reservation":50,"swappiness":10}}"#;
        assert_eq!(lines(Version::V2, limited), ["memory.swap.max 50", "memory.max 100", "memory.low 50"]);
        assert_eq!(
            lines(Version::V1, limited),
            [
                "memory.limit_in_bytes 100",
                "memory.memsw.limit_in_bytes 150",
                "memory.soft_limit_in_bytes 50",
                "memory.swappiness 10"
            ]
        );
        let unlimited = r#"{"memory":{"limit":-1}}"#;
        assert_eq!(lines(Version::V2, unlimited), ["memory.swap.max max", "memory.max max"]);
        assert_eq!(
            lines(Version::V1, unlimited),
            ["memory.memsw.limit_in_bytes -1", "memory.limit_in_bytes -1"]
        );
        for version in [Version::V1, Version::V2] {
            assert_eq!(
                lines(version, r#"{"memory":{"limit":100,"swap":50}}"#),
                ["linux.resources: memory+swap limit should be >= memory limit"]
            );
        }
        assert_eq!(
            lines(Version::V2, r#"{"memory":{"swap":50}}"#),
            ["linux.resources: unable to set swap limit without memory limit"]
        );
    }

    #[test]
    fn cpu_and_pids() {
        let json = r#"{"cpu":{"shares":1024,"quota":50000,"cpus":"0-1"},"pids":{"limit":0}}"#;
        assert_eq!(
            lines(Version::V2, json),
            ["cpu.weight 100", "cpu.max 50000 100000", "cpuset.cpus 0-1", "pids.max 1"]
        );
        assert_eq!(
            lines(Version::V1, json),
            ["cpu.shares 1024", "cpu.cfs_quota_us 50000", "cpuset.cpus 0-1", "pids.max 1"]
        );
        let json = r#"{"cpu":{"quota":-1,"period":200000},"pids":{"limit":-1}}"#;
        assert_eq!(lines(Version::V2, json), ["cpu.max max 200000", "pids.max max"]);
    }

    #[test]
    fn weights_meet_at_the_ends_and_at_the_default() {
        for (shares, weight) in [(2, 1), (3, 1), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000)] {
            assert!(weight_from_shares(shares).abs_diff(weight) <= 1, "{shares}");
        }
        assert_eq!((io_weight(10), io_weight(1000)), (1, 10_000));
    }

    #[test]
    fn block_io_and_the_rest() {
        let json = r#"{"blockIO":{"weight":500,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}]},
            "hugepageLimits":[{"pageSize":"2MB","limit":4}],"rdma":{"mlx5_1":{"hcaHandles":3}},
            "unified":{"memory.high":"1\n2"}}"#;
        assert_eq!(
            lines(Version::V2, json),
            [
                "io.bfq.weight 500",
                "io.max 8:0 rbps=600",
                "hugetlb.2MB.max 4",
                "hugetlb.2MB.rsvd.max 4",
                "rdma.max mlx5_1 hca_handle=3",
                "memory.high 1",
                "memory.high 2"
            ]
        );
        assert_eq!(lines(Version::V1, json)[1], "blkio.throttle.read_bps_device 8:0 600");
        assert!(lines(Version::V2, r#"{"unified":{"../x.y":"1"}}"#)[0].contains("without slashes"));
    }
}
