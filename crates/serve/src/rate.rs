// SPDX-License-Identifier: Apache-2.0
//! How often one address may ask: a bucket of requests that fills up again, as many as it holds in a second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses that are remembered; then those are forgotten that have asked for nothing lately.
const KEPT: usize = 10_000;

/// The buckets.
#[derive(Debug)]
pub(crate) struct Rate {
    /// Size of a bucket, and what comes back in a second.
    requests: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    seen: Instant,
}

impl Rate {
    pub(crate) fn of(requests: u32) -> Self {
        Self { requests: f64::from(requests.max(1)), buckets: Mutex::default() }
    }

    /// Takes one request; otherwise says how long to wait for the next.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEPT {
            buckets.retain(|_, bucket| self.filled(bucket, now) < self.requests);
        }
        let bucket = buckets.entry(address).or_insert(Bucket { left: self.requests, seen: now });
        let left = self.filled(bucket, now);
        *bucket = Bucket { left: if left < 1.0 { left } else { left - 1.0 }, seen: now };
        if left < 1.0 { Err(Duration::from_secs_f64((1.0 - left) / self.requests)) } else { Ok(()) }
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let since = now.saturating_duration_since(bucket.seen).as_secs_f64();
        (bucket.left + since * self.requests).min(self.requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_brings_back_what_a_second_may_take() {
        let (rate, start) = (Rate::of(10), Instant::now());
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        assert_eq!((0..20).filter(|_| rate.take(one, start).is_ok()).count(), 10);
        assert!(rate.take(one, start).is_err_and(|wait| wait <= Duration::from_millis(100)));
        assert!(rate.take(other, start).is_ok(), "each has its own");
        let later = start + Duration::from_millis(450);
        assert_eq!((0..20).filter(|_| rate.take(one, later).is_ok()).count(), 4);
        let long_after = start + Duration::from_secs(3600);
        assert_eq!((0..20).filter(|_| rate.take(one, long_after).is_ok()).count(), 10, "never more");
    }
}
