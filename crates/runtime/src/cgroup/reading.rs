// SPDX-License-Identifier: Apache-2.0
//! What the files of a cgroup hold, beside what a configuration asks to be in them.

use conex_spec::runtime::Resources;

use super::limits::Otherwise;
use super::{Cgroup, directory};
use crate::Result;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub path: String,
    pub asked: String,
    /// `None` where there is no such file.
    pub actual: Option<String>,
}

impl Reading {
    /// Whether the kernel keeps what was asked: byte limits come back rounded to pages, lists in another spelling,
    /// one value per device among those of others, and of `max 100000` the first word alone can be asked.
    pub(crate) fn agrees(&self) -> bool {
        const PAGE: i128 = 64 << 10;
        let Some(actual) = &self.actual else { return false };
        if actual.lines().any(|line| words_agree(&self.asked, line)) || lists_agree(&self.asked, actual) {
            return true;
        }
        match (self.asked.parse::<i128>(), actual.parse::<i128>()) {
            // v1 writes "no limit" as the largest multiple of a page.
            (Ok(-1), Ok(actual)) => actual >= i128::from(i64::MAX) - PAGE,
            (Ok(asked), Ok(actual)) => asked > PAGE && actual <= asked && asked - actual < PAGE,
            _ => false,
        }
    }
}

/// Every word asked for is in the line, with its first word first: `8:0 rbps=5` in `8:0 rbps=5 wbps=max`.
fn words_agree(asked: &str, line: &str) -> bool {
    let have: Vec<_> = line.split_whitespace().collect();
    let mut asked = asked.split_whitespace();
    asked.next() == have.first().copied() && asked.all(|word| have.contains(&word))
}

/// `0,1` is `0-1`.
fn lists_agree(asked: &str, actual: &str) -> bool {
    let members = |list: &str| -> Option<Vec<u32>> {
        let mut members = Vec::new();
        for part in list.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            members.extend(first..=last);
        }
        Some(members)
    };
    members(asked).is_some_and(|asked| members(actual) == Some(asked))
}

impl Cgroup {
    /// A reading of every file that `apply` would write for these resources, but for the devices.
    pub(crate) fn readings(&self, resources: &Resources) -> Result<Vec<Reading>> {
        let mut readings = Vec::new();
        for setting in self.settings(resources)? {
            let directory = self.directory_of(&setting);
            let read = |file: &str| directory::read(directory?, file).ok().map(|text| text.trim().to_owned());
            let (mut file, mut asked, mut actual) =
                (setting.file.clone(), setting.value, read(&setting.file));
            match setting.otherwise {
                Otherwise::Nothing if actual.is_none() => continue,
                Otherwise::Write { file: other, value } if actual.is_none() => {
                    (actual, file, asked) = (read(&other), other, value);
                }
                _ => {}
            }
            let directory = directory.map(String::as_str).unwrap_or_default();
            readings.push(Reading { path: format!("{directory}/{file}"), asked, actual });
        }
        Ok(readings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_spells_its_own_way() {
        let agrees = |asked: &str, actual: &str| {
            Reading { path: String::new(), asked: asked.into(), actual: Some(actual.into()) }.agrees()
        };
        for (asked, actual) in [
            ("max", "max"),
            ("1000000", "999424"),
            ("0,1", "0-1"),
            ("8:0 rbps=5", "7:0 rbps=1\n8:0 rbps=5 wbps=max riops=max wiops=max"),
            ("50000 100000", "50000 100000"),
            ("-1", "9223372036854771712"),
        ] {
            assert!(agrees(asked, actual), "{asked:?} {actual:?}");
        }
        for (asked, actual) in [
            ("max", "4096"),
            ("100", "200"),
            ("100", "99"),
            ("0,2", "0-2"),
            ("8:0 rbps=5", "8:0 rbps=6"),
            ("1000000", "2000000"),
            ("-1", "4096"),
        ] {
            assert!(!agrees(asked, actual), "{asked:?} {actual:?}");
        }
        assert!(!Reading { path: String::new(), asked: "1".into(), actual: None }.agrees());
    }
}
