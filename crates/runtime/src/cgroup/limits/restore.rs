// SPDX-License-Identifier: Apache-2.0
//! How to take a value back: what to write so that a file says again what it said before.
//!
//! Most files hold one value. Those with a line for each device (`io.max`, `blkio.throttle.*`, weights, `rdma.max`,
//! `net_prio.ifpriomap`) take one line at a time, and have a word of their own for a device that had none.

/// `content` is what the file said before `value` was written.
pub(in crate::cgroup) fn restoring(file: &str, value: &str, content: &str) -> String {
    if file == "memory.oom_control" {
        let disabled = content.lines().find_map(|line| line.strip_prefix("oom_kill_disable "));
        return disabled.unwrap_or("0").into();
    }
    match key(file, value) {
        Some(key) => {
            let line = content.lines().find(|line| line.split(' ').next() == Some(key));
            line.map_or_else(|| format!("{key} {}", nothing(file)), String::from)
        }
        // An empty list (cpuset) needs a byte to be written at all.
        None if content.trim().is_empty() => "\n".into(),
        // Weights: the default comes first.
        None => content.lines().next().unwrap_or_default().trim().into(),
    }
}

/// The device that a line is about.
fn key<'a>(file: &str, value: &'a str) -> Option<&'a str> {
    let (first, _) = value.split_once(' ')?;
    let numbers = first.split_once(':').is_some_and(|(major, minor)| {
        [major, minor].iter().all(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
    });
    (numbers || ["rdma.max", "net_prio.ifpriomap"].contains(&file)).then_some(first)
}

/// The values of a device without a line.
fn nothing(file: &str) -> &'static str {
    match file {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "rdma.max" => "hca_handle=max hca_object=max",
        "io.weight" | "io.bfq.weight" | "blkio.bfq.weight_device" => "default",
        _ => "0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value() {
        assert_eq!(restoring("memory.max", "5", "max\n"), "max");
        assert_eq!(restoring("cpu.max", "5 100", "max 100000\n"), "max 100000");
        assert_eq!(restoring("cpuset.cpus", "0", "\n"), "\n");
        assert_eq!(restoring("io.weight", "500", "default 100\n8:0 50\n"), "default 100");
        let control = "oom_kill_disable 1\nunder_oom 0\noom_kill 3\n";
        assert_eq!(restoring("memory.oom_control", "0", control), "1");
    }

    #[test]
    fn one_line_of_several() {
        let content = "8:16 rbps=1 wbps=max riops=max wiops=max\n8:1 rbps=2 wbps=max riops=max wiops=max\n";
        assert_eq!(restoring("io.max", "8:1 wbps=9", content), "8:1 rbps=2 wbps=max riops=max wiops=max");
        assert_eq!(restoring("io.max", "8:0 wbps=9", content), "8:0 rbps=max wbps=max riops=max wiops=max");
        assert_eq!(restoring("blkio.throttle.read_bps_device", "8:0 9", ""), "8:0 0");
        assert_eq!(restoring("io.bfq.weight", "8:0 9", "default 100\n"), "8:0 default");
        assert_eq!(restoring("net_prio.ifpriomap", "lo 3", "lo 1\neth0 0\n"), "lo 1");
    }
}
