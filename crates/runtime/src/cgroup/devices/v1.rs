// SPDX-License-Identifier: Apache-2.0
//! The list of cgroup v1's `devices` controller: a default and exceptions from it.
//!
//! ```text
//!  devices.list     a *:* rwm                     allow is the default; the exceptions do not show
//!                   c 1:3 rwm                     deny is the default, this is an exception
//!                   c *:* m
//!  devices.allow    takes such a line: one more exception, or one less if allow is the default
//!  devices.deny     the other way round; `a` in either sets the default and forgets all exceptions
//! ```
//!
//! The kernel takes an exception away only if it is named exactly; that a part of one be taken away it ignores without
//! a word. So the list is computed here, and the kernel gets the difference.

use std::collections::BTreeMap;

use conex_spec::runtime::DeviceRule;

use super::{ACCESSES, Devices, EVERY_ACCESS, READ, WRITE, access_bits};
use crate::{Error, ErrorKind, Result};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    allow_by_default: bool,
    /// Access bits; never none.
    exceptions: BTreeMap<Devices, i32>,
}

/// A file of the controller and lines for it.
pub(super) type Step = (&'static str, Vec<String>);

impl List {
    /// What the rules come to, begun with "deny all".
    pub(super) fn of(rules: &[DeviceRule]) -> Result<Self> {
        let mut list = Self::default();
        for rule in rules {
            let devices = Devices::of(rule);
            let access = access_bits(&rule.access);
            let everything = Devices { kind: None, major: None, minor: None };
            if devices == everything && access == EVERY_ACCESS {
                list = Self { allow_by_default: rule.allow, exceptions: BTreeMap::new() };
                continue;
            }
            // `a` in a line of v1 means everything, whatever stands behind it.
            for kind in devices.kind.map_or(vec!['c', 'b'], |kind| vec![kind]) {
                list.take(rule, Devices { kind: Some(kind), ..devices }, access)?;
            }
        }
        list.complete();
        Ok(list)
    }

    /// To open for reading and writing, the kernel wants one exception that has both.
    fn complete(&mut self) {
        let all = self.exceptions.clone();
        for (devices, bits) in &mut self.exceptions {
            let wider = all.iter().filter(|(other, _)| other.covers(*devices));
            *bits |= wider.fold(0, |bits, (_, wider)| bits | wider) & (READ | WRITE);
        }
    }

    fn take(&mut self, rule: &DeviceRule, devices: Devices, access: i32) -> Result<()> {
        if rule.allow != self.allow_by_default {
            if access != 0 {
                *self.exceptions.entry(devices).or_default() |= access;
            }
            return Ok(());
        }
        for (exception, bits) in &mut self.exceptions {
            if *bits & access == 0 || !devices.overlaps(*exception) {
                continue;
            }
            if !devices.covers(*exception) {
                return Err(hole(rule.allow, line(devices, access), line(*exception, *bits)));
            }
            *bits &= !access;
        }
        self.exceptions.retain(|_, bits| *bits != 0);
        Ok(())
    }

    /// What `devices.list` says. Lines of another form are none of ours.
    pub(super) fn parse(text: &str) -> Self {
        let mut list = Self::default();
        for line in text.lines() {
            let words: Vec<_> = line.split([' ', ':']).collect();
            let [kind, major, minor, access] = words[..] else { continue };
            if kind == "a" {
                return Self { allow_by_default: true, exceptions: BTreeMap::new() };
            }
            let devices =
                Devices { kind: kind.chars().next(), major: major.parse().ok(), minor: minor.parse().ok() };
            list.exceptions.insert(devices, access_bits(access));
        }
        list
    }

    /// What to write where. What is new comes first, then what is old goes.
    pub(super) fn steps_to(&self, wanted: &Self) -> Vec<Step> {
        if self.allow_by_default || wanted.allow_by_default {
            let (same, other) = if wanted.allow_by_default {
                ("devices.allow", "devices.deny")
            } else {
                ("devices.deny", "devices.allow")
            };
            let exceptions = wanted.exceptions.iter().map(|(devices, access)| line(*devices, *access));
            return vec![(same, vec!["a".into()]), (other, exceptions.collect())];
        }
        vec![("devices.allow", wanted.beyond(self)), ("devices.deny", self.beyond(wanted))]
    }

    /// The exceptions that the other list lacks.
    fn beyond(&self, other: &Self) -> Vec<String> {
        let missing = self.exceptions.iter().filter_map(|(devices, access)| {
            let missing = access & !other.exceptions.get(devices).unwrap_or(&0);
            (missing != 0).then(|| line(*devices, missing))
        });
        missing.collect()
    }
}

fn line(devices: Devices, access: i32) -> String {
    let number = |number: Option<u32>| number.map_or_else(|| "*".into(), |number| number.to_string());
    let letters: String =
        ACCESSES.iter().filter(|(bit, _)| access & bit != 0).map(|(_, letter)| letter).collect();
    format!("{} {}:{} {letters}", devices.kind.unwrap_or('a'), number(devices.major), number(devices.minor))
}

fn hole(allow: bool, rule: String, exception: String) -> Error {
    let (this, that) = if allow { ("allow", "deny") } else { ("deny", "allow") };
    let message = format!(
        "linux.resources.devices: cgroup v1 cannot {this} \"{rule}\" out of \"{that} {exception}\": \
         name the devices of the wider rule one by one, or use cgroup v2"
    );
    Error::new(ErrorKind::Config, message)
}

#[cfg(test)]
mod tests {
    use super::super::rule;
    use super::*;

    fn shown(steps: &[Step]) -> Vec<String> {
        steps
            .iter()
            .flat_map(|(file, lines)| lines.iter().map(move |line| format!("{file} {line}")))
            .collect()
    }

    fn everything() -> List {
        List::parse("a *:* rwm\n")
    }

    #[test]
    fn a_new_cgroup_is_closed_and_then_opened_where_it_must() {
        let rules = [
            rule(false, "a", None, None, "rwm"),
            rule(true, "c", Some(1), None, "rw"),
            rule(true, "", None, Some(-1), "m"),
            rule(true, "c", Some(1), None, "m"),
        ];
        assert_eq!(
            shown(&everything().steps_to(&List::of(&rules).unwrap())),
            ["devices.deny a", "devices.allow b *:* m", "devices.allow c *:* m", "devices.allow c 1:* mrw"]
        );
    }

    #[test]
    fn an_update_of_an_allow_list_never_opens_everything() {
        let now = List::parse("c 1:3 rwm\nc 5:0 rw\nb *:* m\n");
        let wanted =
            List::of(&[rule(true, "c", Some(1), Some(3), "r"), rule(true, "c", Some(10), Some(200), "rw")]);
        assert_eq!(
            shown(&now.steps_to(&wanted.unwrap())),
            [
                "devices.allow c 10:200 rw",
                "devices.deny b *:* m",
                "devices.deny c 1:3 mw",
                "devices.deny c 5:0 rw"
            ]
        );
    }

    #[test]
    fn all_devices_but_some() {
        let rules = [rule(true, "", None, None, "rwm"), rule(false, "b", Some(8), None, "rw")];
        let wanted = List::of(&rules).unwrap();
        assert_eq!(shown(&List::default().steps_to(&wanted)), ["devices.allow a", "devices.deny b 8:* rw"]);
        // The exceptions cannot be read back, so they are set anew.
        assert_eq!(shown(&everything().steps_to(&wanted)), ["devices.allow a", "devices.deny b 8:* rw"]);
    }

    #[test]
    fn what_the_kernel_would_ignore_is_refused() {
        let wide = rule(true, "c", None, None, "rwm");
        let error = List::of(&[wide.clone(), rule(false, "c", Some(1), Some(1), "rw")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "linux.resources.devices: cgroup v1 cannot deny \"c 1:1 rw\" out of \"allow c *:* mrw\": \
             name the devices of the wider rule one by one, or use cgroup v2"
        );
        let crossing = [rule(true, "c", Some(1), None, "r"), rule(false, "c", None, Some(3), "r")];
        List::of(&crossing).unwrap_err();
        let inside_out = [
            rule(true, "a", None, None, "rwm"),
            rule(false, "b", None, None, "w"),
            rule(true, "b", Some(8), None, "w"),
        ];
        List::of(&inside_out).unwrap_err();
        // Another access, another kind, a wider one: all can be said.
        for later in [
            rule(false, "b", Some(1), Some(1), "rw"),
            rule(false, "c", None, None, "w"),
            rule(false, "a", None, None, "rwm"),
        ] {
            List::of(&[wide.clone(), later]).unwrap();
        }
        assert_eq!(List::of(&[wide, rule(false, "", None, None, "rwm")]).unwrap(), List::default());
    }

    #[test]
    fn what_two_rules_allow_one_line_allows() {
        let rules = [
            rule(true, "c", None, None, "m"),
            rule(true, "c", None, None, "r"),
            rule(true, "c", Some(1), Some(3), "w"),
        ];
        assert_eq!(List::of(&rules).unwrap().beyond(&List::default()), ["c *:* mr", "c 1:3 rw"]);
    }

    #[test]
    fn a_number_that_no_device_has_is_no_wildcard() {
        let list = List::of(&[rule(true, "c", Some(1 << 40), Some(0), "rwm")]).unwrap();
        assert_eq!(list.beyond(&List::default()), ["c 4294967295:0 mrw"]);
    }
}
