// SPDX-License-Identifier: Apache-2.0
//! `events`.

use std::time::Duration;

use super::Verb;
use crate::cli::flags::{option, switch};
use crate::cli::grammar::usage;
use crate::cli::print;
use crate::{Result, events};

pub(super) const VERB: Verb = Verb {
    name: "events",
    flags: &[
        option("interval", "DURATION", "time between readings (default: 5s)"),
        switch("stats", "one reading, now"),
    ],
    usage: "[flags] ID",
    help: "tell what a container uses, and when its memory runs out",
    run: |runtime, parsed| {
        let id = &parsed.positional[0];
        let interval = interval(parsed.value("interval").unwrap_or("5s"))?;
        if parsed.has("stats") {
            print(&events::stats(runtime, id)?)?;
        } else {
            events::events(runtime, id, interval, print)?;
        }
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};

fn interval(text: &str) -> Result<Duration> {
    match duration(text) {
        Some(interval) if !interval.is_zero() => Ok(interval),
        None if !text.starts_with('-') => {
            Err(usage(format!("--interval: {text:?} is no duration such as 5s or 100ms")))
        }
        _ => Err(usage("duration interval must be greater than 0")),
    }
}

/// Go's: `1h2m3.5s`, `100ms`, `0`.
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(total);
    }
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        if behind.is_empty() {
            return Some(total);
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("5s", 5000),
            ("100ms", 100),
            ("1h2m3.5s", 3_723_500),
            ("1m", 60_000),
            (".5s", 500),
            ("2000us", 2),
            ("3000000ns", 3),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "5x", "-1s", "1s2", "99999999999999999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
        for text in ["0", "0s", "-1s"] {
            let error = interval(text).unwrap_err().to_string();
            assert_eq!(error, "duration interval must be greater than 0", "{text}");
        }
    }
}
