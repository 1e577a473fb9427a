// SPDX-License-Identifier: Apache-2.0
//! The verb `lint`: what is wrong or unwise about a bundle on this host, told before anything is made.
//!
//! ```text
//!  config.json ─read─► mistakes                      what no host accepts          error
//!        │
//!        ▼        ┌─ host::Host ─► needs             what this host cannot give    error, or note
//!      Config ────┼─ the bundle  ─► files             what is named and not there  error
//!                 └──────────────── risks             what the container is given   warning, or note
//! ```
//!
//! The rules are pure, but for `files`, which looks. A rule has a name, so that a finding can be looked up and, by
//! whoever reads the JSON, accepted.

mod files;
mod host;
mod needs;
mod risks;

use std::fmt;

use conex_spec::runtime::{Config, Violation, locate, read, validate};
use serde::Serialize;

use crate::plan::{self, Request};
use crate::{Result, bundle};
use host::Host;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// `create` will fail here, or something asked for will silently not hold.
    Error,
    /// It will run, and the container can do more to the host than is usual.
    Warning,
    /// Worth knowing.
    Note,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub severity: Severity,
    /// The rule's name: `host-namespace`.
    pub rule: &'static str,
    /// Of the value in `config.json`, counted from 1.
    pub line: usize,
    pub column: usize,
    /// RFC 6901.
    pub pointer: String,
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(f, "config.json:{}:{}: {severity}: ", self.line, self.column)?;
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        write!(f, "{}", self.message)?;
        if !self.mend.is_empty() {
            write!(f, "; {}", self.mend)?;
        }
        write!(f, " [{}]", self.rule)
    }
}

/// What the rules add to, before places in the text are known.
#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn add(
        &mut self,
        (severity, rule): (Severity, &'static str),
        pointer: impl Into<String>,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) {
        let (pointer, message, mend) = (pointer.into(), message.into(), mend.into());
        self.0.push(Finding { severity, rule, line: 0, column: 0, pointer, message, mend });
    }

    /// Annotations that another runtime would heed.
    fn annotations(&mut self, config: &Config) {
        for key in config.annotations.keys() {
            if let Some(reason) = plan::ignored_annotation(key) {
                let at = format!("/annotations/{}", key.replace('~', "~0").replace('/', "~1"));
                self.add(
                    (Severity::Note, "ignored-annotation"),
                    at,
                    format!("{key} does nothing here"),
                    reason,
                );
            }
        }
    }

    /// What `create` would refuse, if no other rule has told of it.
    fn plan(&mut self, config: &Config, request: &Request, host: &plan::Host) {
        let Err(error) = plan::plan(config, request, host) else { return };
        for Violation { pointer, message } in error.0 {
            let told = |finding: &Finding| finding.severity == Severity::Error && finding.pointer == pointer;
            if !self.0.iter().any(told) {
                self.add((Severity::Error, "plan"), pointer, message, "");
            }
        }
    }
}

/// Everything found in a bundle, the gravest first and then in the order of the text.
///
/// Errors: only that `config.json` cannot be read at all.
pub(crate) fn lint(request: &Request, host: &plan::Host) -> Result<Vec<Finding>> {
    let bundle = &request.bundle;
    let text = bundle::contents(&format!("{bundle}/config.json"))?;
    let mut report = Report::default();
    match read::<Config>(&text, validate) {
        Err(mistakes) => {
            return Ok(mistakes
                .into_iter()
                .map(|mistake| Finding {
                    severity: Severity::Error,
                    rule: "config",
                    line: mistake.line,
                    column: mistake.column,
                    pointer: mistake.pointer,
                    message: mistake.message,
                    mend: String::new(),
                })
                .collect());
        }
        Ok(config) => {
            report.needs(&config, &Host::look()?);
            report.files(&config, bundle);
            report.risks(&config);
            report.annotations(&config);
            report.plan(&config, request, host);
        }
    }
    let mut findings = report.0;
    for finding in &mut findings {
        let place = locate(&text, Violation { pointer: finding.pointer.clone(), message: String::new() });
        (finding.line, finding.column) = (place.line, place.column);
    }
    findings.sort_by_key(|finding| (finding.severity, finding.line, finding.column));
    Ok(findings)
}

#[cfg(test)]
mod tests;
