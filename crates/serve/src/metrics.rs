// SPDX-License-Identifier: Apache-2.0
//! What is counted, as Prometheus reads it (text exposition format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the histogram's buckets, seconds.
const BOUNDS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];

/// What requests are told apart by: few values each, none of a client's choosing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    /// A method that the API knows, else `other`.
    pub(crate) method: &'static str,
    /// What the path names.
    pub(crate) endpoint: &'static str,
    pub(crate) status: u16,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<Kind, u64>>,
    /// One for each bound, and one for what takes longer.
    durations: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
    sent: AtomicU64,
    running: AtomicU64,
    collected: AtomicU64,
}

/// A request that is being answered.
pub(crate) struct Running<'a>(&'a Metrics);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}

impl Metrics {
    pub(crate) fn begin(&self) -> Running<'_> {
        self.running.fetch_add(1, Relaxed);
        Running(self)
    }

    /// One answered request: how long until its headers, and the bytes of its body.
    pub(crate) fn count(&self, kind: Kind, took: Duration, bytes: u64) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += 1;
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.durations[bucket].fetch_add(1, Relaxed);
        self.microseconds.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        self.sent.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn collected(&self, bytes: u64) {
        self.collected.fetch_add(bytes, Relaxed);
    }

    /// The page.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let name = "conex_registry_requests_total";
        describe(&mut text, name, "counter", "Answered requests.");
        for (kind, count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let Kind { method, endpoint, status } = kind;
            line(
                &mut text,
                &format!("{name}{{method=\"{method}\",endpoint=\"{endpoint}\",status=\"{status}\"}}"),
                count,
            );
        }
        self.histogram(&mut text);
        for (name, kind, help, value) in [
            ("conex_registry_sent_bytes_total", "counter", "Bytes of answers' bodies.", &self.sent),
            ("conex_registry_running_requests", "gauge", "Requests being answered.", &self.running),
            ("conex_registry_collected_bytes_total", "counter", "Bytes removed by gc.", &self.collected),
        ] {
            describe(&mut text, name, kind, help);
            line(&mut text, name, &value.load(Relaxed));
        }
        text
    }

    fn histogram(&self, text: &mut String) {
        let name = "conex_registry_request_seconds";
        describe(text, name, "histogram", "Time until an answer's headers.");
        let mut total = 0;
        for (bucket, bound) in self
            .durations
            .iter()
            .zip(BOUNDS.map(|bound| bound.to_string()).iter().map(String::as_str).chain(["+Inf"]))
        {
            total += bucket.load(Relaxed);
            line(text, &format!("{name}_bucket{{le=\"{bound}\"}}"), &total);
        }
        let seconds = Duration::from_micros(self.microseconds.load(Relaxed)).as_secs_f64();
        line(text, &format!("{name}_sum"), &seconds);
        line(text, &format!("{name}_count"), &total);
    }
}

fn describe(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, series: &str, value: &impl std::fmt::Display) {
    let _infallible = writeln!(text, "{series} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let metrics = Metrics::default();
        let kind = Kind { method: "GET", endpoint: "blob", status: 200 };
        metrics.count(kind, Duration::from_millis(3), 100);
        metrics.count(kind, Duration::from_secs(100), 11);
        let _running = metrics.begin();
        let text = metrics.text();
        for line in [
            "conex_registry_requests_total{method=\"GET\",endpoint=\"blob\",status=\"200\"} 2",
            "conex_registry_request_seconds_bucket{le=\"0.001\"} 0",
            "conex_registry_request_seconds_bucket{le=\"0.005\"} 1",
            "conex_registry_request_seconds_bucket{le=\"60\"} 1",
            "conex_registry_request_seconds_bucket{le=\"+Inf\"} 2",
            "conex_registry_request_seconds_count 2",
            "conex_registry_request_seconds_sum 100.003",
            "conex_registry_sent_bytes_total 111",
            "conex_registry_running_requests 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }
}
