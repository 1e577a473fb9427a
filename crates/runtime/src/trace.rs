// SPDX-License-Identifier: Apache-2.0
//! `--trace FILE`: what each step took, in the Trace Event Format that `chrome://tracing` and Perfetto load.
//!
//! ```text
//! [
//! {"name":"thread_name","ph":"M",…},                                     one row for the host, one for the container
//! {"name":"mount proc at /proc","ph":"X","ts":812.407,"dur":21.133,…},   microseconds since the trace began
//! ]
//! ```
//!
//! The runtime alone opens and writes the file: the new process tells over the channel when a step of its plan began
//! and ended, until it is ready ([`crate::sync`]). So nothing of the trace is in the container's reach, its filter
//! need not allow any call for it, and what a killed runtime leaves has all steps so far (the closing bracket is
//! optional in the format). Without `--trace` no clock is read.
#![expect(clippy::disallowed_methods, reason = "the file is the caller's, of the host")]

use std::fmt::Display;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

use conex_spec::json;

use crate::plan::Plan;
use crate::{Result, Wrap};

/// Time since the trace began. Of the wall's clock, because a time namespace shifts every other one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(SystemTime);

impl Clock {
    /// Nanoseconds. 0 if somebody has turned the clock back meanwhile.
    pub(crate) fn now(self) -> u64 {
        self.0.elapsed().map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// When a step began and ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub begin: u64,
    pub end: u64,
}

/// Who does a step: a row of the picture.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Row {
    Host = 1,
    Container = 2,
}

/// A trace, or none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace(Option<Rc<Sink>>);

#[derive(Debug)]
struct Sink {
    file: File,
    clock: Clock,
}

impl Trace {
    /// Begins a trace in a new or emptied file.
    pub(crate) fn begin(path: &Path) -> Result<Self> {
        let opened = File::options().append(true).create(true).open(path);
        let emptied = opened.and_then(|file| file.set_len(0).map(|()| file));
        let file = emptied.wrap(|| format!("--trace {}", path.display()))?;
        let sink = Sink { file, clock: Clock(SystemTime::now()) };
        let row = |row: Row, name: &str| {
            let thread = row as u8;
            format!(r#"{{"name":"thread_name","ph":"M","pid":1,"tid":{thread},"args":{{"name":"{name}"}}}}"#)
        };
        let rows = [row(Row::Host, "on the host"), row(Row::Container, "in the container")];
        sink.write(&format!("[\n{}", rows.join(",\n")));
        Ok(Self(Some(Rc::new(sink))))
    }

    /// For whoever measures steps of their own.
    pub(crate) fn clock(&self) -> Option<Clock> {
        self.0.as_ref().map(|sink| sink.clock)
    }

    /// Does something, and writes down what it took.
    pub(crate) fn span<T, N: Display>(&self, name: N, work: impl FnOnce() -> T) -> T {
        let Some(clock) = self.clock() else { return work() };
        let begin = clock.now();
        let done = work();
        self.write(Row::Host, name, Span { begin, end: clock.now() });
        done
    }

    /// Writes down what the new process tells of a step, by the words that `plan` prints.
    pub(crate) fn told(&self, plan: &Plan, step: usize, span: Span) {
        if let Some(step) = plan.steps.get(step) {
            self.write(Row::Container, step, span);
        }
    }

    fn write(&self, row: Row, name: impl Display, span: Span) {
        let Some(sink) = &self.0 else { return };
        let name = json::write(&name.to_string()).unwrap_or_default();
        let (begin, length) = (micros(span.begin), micros(span.end.saturating_sub(span.begin)));
        let thread = row as u8;
        sink.write(&format!(
            ",\n{{\"name\":{name},\"ph\":\"X\",\"ts\":{begin},\"dur\":{length},\"pid\":1,\"tid\":{thread}}}"
        ));
    }
}

impl Sink {
    /// In one piece. A container is worth more than its trace: a full disk ends only the latter.
    fn write(&self, text: &str) {
        drop((&self.file).write_all(text.as_bytes()));
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.write("\n]\n");
    }
}

/// Microseconds with three decimals.
fn micros(nanoseconds: u64) -> String {
    format!("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_json_with_or_without_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let trace = Trace::begin(file.path()).unwrap();
        assert_eq!(trace.span("a \"name\"\n", || 7), 7);
        trace.write(Row::Container, "x", Span { begin: 1_002_003, end: 1_002_004 });
        let cut = std::fs::read_to_string(file.path()).unwrap();
        drop(trace);
        let whole = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(whole, format!("{cut}\n]\n"));
        let events: Vec<serde_json::Value> = serde_json::from_str(&whole).unwrap();
        assert_eq!(events[2]["name"], "a \"name\"\n");
        assert_eq!((events[3]["ts"].as_f64(), events[3]["dur"].as_f64()), (Some(1002.003), Some(0.001)));
    }

    #[test]
    fn none_is_nothing() {
        let none = Trace::default();
        assert!(none.clock().is_none());
        assert_eq!(none.span("x", || 1), 1);
    }
}
