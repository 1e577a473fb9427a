// SPDX-License-Identifier: Apache-2.0
//! The forms that counters have in cgroup files. A file that is not there counts nothing.

use std::collections::BTreeMap;

use super::directory;
use crate::{Error, ErrorKind, Result};

/// One controller's directory, if there is one.
pub(super) struct Files<'a> {
    pub directory: Option<&'a str>,
}

impl Files<'_> {
    /// `None` where the kernel has no such file, or counts nothing in it, or the cgroup is gone.
    pub(super) fn text(&self, file: &str) -> Result<Option<String>> {
        use conex_sys::Errno;
        let Some(path) = self.directory else { return Ok(None) };
        match directory::read(path, file) {
            Ok(text) => Ok(Some(text)),
            Err(error) => match error.errno() {
                Some(Errno::NOENT | Errno::NODEV | Errno::NOTSUP) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// One number; `max` is the largest.
    pub(super) fn number(&self, file: &str) -> Result<Option<u64>> {
        let Some(text) = self.text(file)? else { return Ok(None) };
        self.parse(file, text.trim()).map(Some)
    }

    /// One number, of which none is 0.
    pub(super) fn count(&self, file: &str) -> Result<u64> {
        Ok(self.number(file)?.unwrap_or_default())
    }

    /// Several numbers with spaces between them.
    pub(super) fn numbers(&self, file: &str) -> Result<Vec<u64>> {
        let text = self.text(file)?.unwrap_or_default();
        text.split_whitespace().map(|word| self.parse(file, word)).collect()
    }

    /// A line for each name: `nr_periods 12`.
    pub(super) fn named(&self, file: &str) -> Result<BTreeMap<String, u64>> {
        let text = self.text(file)?.unwrap_or_default();
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        pairs.map(|(name, value)| Ok((name.to_owned(), self.parse(file, value.trim())?))).collect()
    }

    /// A list such as `0-3,7`.
    pub(super) fn list(&self, file: &str) -> Result<Vec<u16>> {
        let text = self.text(file)?.unwrap_or_default();
        let mut list = Vec::new();
        for part in text.trim().split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
                return Err(self.strange(file, part));
            };
            list.extend(first..=last);
        }
        Ok(list)
    }

    pub(super) fn parse(&self, file: &str, word: &str) -> Result<u64> {
        if word == "max" {
            return Ok(u64::MAX);
        }
        // A counter that ran below zero by a race is none.
        let number = word.parse().or_else(|_| word.parse::<i64>().map(|_| 0));
        number.map_err(|_| self.strange(file, word))
    }

    fn strange(&self, file: &str, word: &str) -> Error {
        let directory = self.directory.unwrap_or_default();
        Error::new(ErrorKind::Os, format!("{directory}/{file}: expected a number, found {word:?}"))
    }
}
