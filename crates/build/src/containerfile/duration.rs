// SPDX-License-Identifier: Apache-2.0
//! Times as Go writes them: `30s`, `1m30s`, `1.5h`, `500ms`.

const UNITS: [(&str, f64); 7] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Nanoseconds; `None` for what is no time, is negative, or does not fit 63 bits.
pub(super) fn parse(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let unit_end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        let (_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total += number.parse::<f64>().ok()? * nanoseconds;
        rest = behind;
    }
    let fits = !text.is_empty() && total < 9.2e18;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range, and not negative")]
    fits.then_some(total.round() as u64)
}
