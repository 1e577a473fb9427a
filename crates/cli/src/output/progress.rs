// SPDX-License-Identifier: Apache-2.0
//! How a transfer goes, on stderr: bars on a terminal, a line per change elsewhere, JSON lines for programs.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::ValueEnum;
use conex_engine::images::transfer::{Outcome, Progress};
use conex_spec::Digest;
use conex_spec::image::Descriptor;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{note, units};

/// `--progress`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// `tty` where stderr is a terminal, else `plain`.
    #[default]
    Auto,
    /// Bars that are redrawn.
    Tty,
    /// A line for each blob.
    Plain,
    /// Nothing.
    Quiet,
    /// A JSON object for each change.
    Rawjson,
}

/// The display that a mode means here.
pub(crate) fn display(mode: Mode, dumb: bool) -> Box<dyn Progress> {
    match mode {
        Mode::Auto if std::io::stderr().is_terminal() && !dumb => Box::new(Bars::new()),
        Mode::Auto | Mode::Plain => Box::new(Lines::default()),
        Mode::Tty => Box::new(Bars::new()),
        Mode::Quiet => Box::new(conex_engine::images::transfer::Silent),
        Mode::Rawjson => Box::new(JsonLines),
    }
}

fn outcome_words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Copied => "done",
        Outcome::Exists => "already here",
        Outcome::Mounted => "mounted from another repository",
    }
}

/// One line at the end of each blob, with its size and time.
#[derive(Default)]
struct Lines {
    started: Mutex<HashMap<Digest, Instant>>,
}

impl Progress for Lines {
    fn begin(&self, blob: &Descriptor, done: u64) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if started.insert(blob.digest.clone(), Instant::now()).is_none() && (1..blob.size).contains(&done) {
            note(&format!(
                "{}: resuming at {} of {}",
                blob.digest.short(),
                units::size(done),
                units::size(blob.size)
            ));
        }
    }

    fn finish(&self, blob: &Descriptor, outcome: Outcome) {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner).remove(&blob.digest);
        let time = match (outcome, started) {
            (Outcome::Copied, Some(started)) => format!(" in {:.1} s", started.elapsed().as_secs_f64()),
            _ => String::new(),
        };
        note(&format!(
            "{}: {} {}{time}",
            blob.digest.short(),
            units::size(blob.size),
            outcome_words(outcome)
        ));
    }
}

/// A bar for each blob under way, and what is finished above them.
struct Bars {
    all: MultiProgress,
    bars: Mutex<HashMap<Digest, ProgressBar>>,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Self { all, bars: Mutex::default() }
    }

    fn bar(&self, blob: &Descriptor) -> ProgressBar {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let bar = self.all.add(ProgressBar::new(blob.size));
            let template = "{prefix} [{bar:30}] {decimal_bytes:>9} of {decimal_total_bytes:>9} {decimal_bytes_per_sec:>11} {eta:>4}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(blob.digest.short().to_owned());
            bar
        };
        bars.entry(blob.digest.clone()).or_insert_with(new).clone()
    }
}

impl Progress for Bars {
    fn begin(&self, blob: &Descriptor, done: u64) {
        self.bar(blob).set_position(done);
    }

    fn advance(&self, blob: &Descriptor, bytes: u64) {
        self.bar(blob).inc(bytes);
    }

    fn finish(&self, blob: &Descriptor, outcome: Outcome) {
        let bar = self.bar(blob);
        bar.finish_and_clear();
        // Lost lines are no reason to fail a transfer.
        let _closed = self.all.println(format!(
            "{} {:>9} {}",
            blob.digest.short(),
            units::size(blob.size),
            outcome_words(outcome)
        ));
    }
}

/// `{"event":"advance","digest":"sha256:…","total":123,"bytes":45}`
struct JsonLines;

impl JsonLines {
    fn write(event: &str, blob: &Descriptor, bytes: u64, outcome: Option<Outcome>) {
        let outcome = outcome.map(outcome_words);
        let digest = blob.digest.as_str();
        note(
            &serde_json::json!({"event": event, "digest": digest, "total": blob.size, "bytes": bytes, "outcome": outcome})
                .to_string(),
        );
    }
}

impl Progress for JsonLines {
    fn begin(&self, blob: &Descriptor, done: u64) {
        Self::write("begin", blob, done, None);
    }

    fn advance(&self, blob: &Descriptor, bytes: u64) {
        Self::write("advance", blob, bytes, None);
    }

    fn finish(&self, blob: &Descriptor, outcome: Outcome) {
        Self::write("finish", blob, blob.size, Some(outcome));
    }
}
