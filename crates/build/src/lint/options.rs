// SPDX-License-Identifier: Apache-2.0
//! `# check=skip=RULE,…;experimental=RULE,…;error=true`

use super::{Rule, Warning};

/// Which warnings are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Rules that are not; `all`.
    pub skip: Vec<String>,
    /// Experimental rules that are; `all`.
    pub experimental: Vec<String>,
    /// A warning is a mistake.
    pub error: bool,
}

impl Options {
    /// What is behind `check=`. An error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self::default();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) =
                part.split_once('=').ok_or_else(|| format!("{part:?} is not of the form KEY=VALUE"))?;
            let list = || value.split(',').map(|word| word.trim().to_owned()).collect();
            match key.trim() {
                "skip" => options.skip = list(),
                "experimental" => options.experimental = list(),
                "error" => {
                    options.error =
                        value.trim().parse().map_err(|_| format!("error={value} is not true or false"))?
                }
                other => return Err(format!("{other:?} is none of skip, experimental, error")),
            }
        }
        Ok(options)
    }

    /// Whether a rule counts.
    pub fn wants(&self, rule: Rule) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == "all" || *name == rule.to_string());
        if rule.is_experimental() { named(&self.experimental) } else { !named(&self.skip) }
    }

    /// The warnings that count, in the file's order.
    pub fn filter(&self, warnings: Vec<Warning>) -> Vec<Warning> {
        let mut wanted: Vec<Warning> =
            warnings.into_iter().filter(|warning| self.wants(warning.rule)).collect();
        wanted.sort_by_key(|warning| (warning.span, warning.rule));
        wanted.dedup();
        wanted
    }
}
