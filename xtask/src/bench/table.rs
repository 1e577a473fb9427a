// SPDX-License-Identifier: Apache-2.0
//! Rounds in which contestants take turns, and the table of what came out.

use std::time::Duration;

use anyhow::Result;

use super::sample::{Bill, Contestant, Sample};

/// Lets the contestants take turns and prints their medians, and ratios to the first. One that fails says why, and
/// is out.
pub fn compare(title: &str, bill: &Bill, rounds: usize, contestants: &[Contestant<'_>]) -> Result<()> {
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); contestants.len()];
    let mut out = vec![false; contestants.len()];
    // The first round warms caches and is not counted.
    for round in 0..=rounds {
        for (at, contestant) in contestants.iter().enumerate().filter(|(at, _)| !out[*at]).collect::<Vec<_>>()
        {
            let measured = bill.measure(&(contestant.command)(round), contestant.user);
            (contestant.after)(round);
            match measured {
                Ok(sample) if round > 0 => samples[at].push(sample),
                Ok(_) => {}
                Err(error) => {
                    println!("{} is out: {error:#}", contestant.name);
                    out[at] = true;
                }
            }
        }
    }
    println!("\n### {title}\n");
    println!(
        "| | n | wall ms, median (min..p90) | user ms | sys ms | peak RSS MiB | page faults | wall / first |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (contestant, own) in contestants.iter().zip(&samples).filter(|(_, own)| !own.is_empty()) {
        println!("{}", row(contestant.name, own, &samples[0]));
    }
    Ok(())
}

fn row(name: &str, own: &[Sample], first: &[Sample]) -> String {
    let walls = sorted(own.iter().map(|sample| ms(sample.wall)));
    let ratios = sorted(own.iter().zip(first).map(|(own, first)| ms(own.wall) / ms(first.wall)));
    let of = |figure: fn(&Sample) -> f64| median(&sorted(own.iter().map(figure)));
    format!(
        "| {name} | {} | {:.2} ({:.2}..{:.2}) | {:.2} | {:.2} | {:.1} | {:.0} | {:.2} |",
        own.len(),
        median(&walls),
        walls[0],
        walls[(walls.len() * 9 / 10).min(walls.len() - 1)],
        of(|sample| ms(sample.user)),
        of(|sample| ms(sample.system)),
        of(|sample| sample.peak_rss_kib as f64 / 1024.0),
        of(|sample| sample.faults as f64),
        median(&ratios),
    )
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures
}

fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!((median(&[1.0, 2.0, 9.0]) - 2.0).abs() < 1e-9);
        assert!((median(&sorted([4.0, 1.0, 3.0, 2.0].into_iter())) - 2.5).abs() < 1e-9);
    }
}
