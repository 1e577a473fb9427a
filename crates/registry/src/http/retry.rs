// SPDX-License-Identifier: Apache-2.0
//! When to try again: exponential pauses with jitter, `Retry-After` obeyed up to a cap, an end to it all.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime};

use crate::Patience;

/// The pauses of one request.
#[derive(Debug)]
pub(crate) struct Pauses {
    attempts_left: u32,
    next: Duration,
    budget: Duration,
    patience: Patience,
}

impl Pauses {
    pub(crate) fn new(patience: &Patience) -> Self {
        Self {
            attempts_left: patience.attempts.saturating_sub(1),
            next: patience.backoff,
            budget: patience.longest_pause,
            patience: patience.clone(),
        }
    }

    /// How long to wait before the next try; `None`: enough. `wish` is what the server asked for.
    pub(crate) fn next(&mut self, wish: Option<Duration>) -> Option<Duration> {
        if self.attempts_left == 0 || self.budget.is_zero() {
            return None;
        }
        self.attempts_left -= 1;
        let pause = wish.unwrap_or_else(|| jittered(self.next)).min(self.budget);
        self.next *= 2;
        self.budget -= pause;
        Some(pause)
    }

    /// Progress was made: the count starts anew.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(&self.patience);
    }
}

/// Between half and the whole of `pause`, so that many clients do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1000;
    pause / 2 + pause.mul_f64(random as f64 / 2000.0)
}

/// RFC 9110 §10.2.3: seconds or a date; what is neither is no wish.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience() -> Patience {
        Patience { attempts: 4, backoff: Duration::from_millis(100), ..Patience::default() }
    }

    #[test]
    fn tries_are_counted_and_pauses_grow() {
        let mut pauses = Pauses::new(&patience());
        let waits: Vec<_> = std::iter::from_fn(|| pauses.next(None)).collect();
        assert_eq!(waits.len(), 3, "four attempts have three pauses between them");
        assert!(waits[0] >= Duration::from_millis(50) && waits[0] <= Duration::from_millis(100));
        assert!(waits[2] >= Duration::from_millis(200) && waits[2] <= Duration::from_millis(400));
        pauses.reset();
        assert!(pauses.next(None).is_some());
    }

    #[test]
    fn an_hour_is_cut_to_the_budget_and_then_it_ends() {
        let mut pauses = Pauses::new(&patience());
        assert_eq!(pauses.next(Some(Duration::from_secs(3600))), Some(Duration::from_secs(60)));
        assert_eq!(pauses.next(Some(Duration::from_secs(1))), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sat, 21 Nov 2026 12:00:00 GMT").unwrap();
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sat, 21 Nov 2026 12:00:09 GMT", now), Some(Duration::from_secs(9)));
        assert_eq!(retry_after("Sat, 21 Nov 2026 11:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }
}
