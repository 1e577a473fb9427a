// SPDX-License-Identifier: Apache-2.0
//! The verbs, one file each: its flags, its arguments, and the call of the function that does it.

mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod lint;
mod list;
mod monitor;
mod mounts;
mod pause;
mod plan;
mod ps;
mod resume;
mod run;
mod spec;
mod start;
mod state;
mod update;

use super::Runtime;
use super::grammar::{Flag, Order, Parsed};
use crate::Result;

/// How a verb is written, what it is for, and what it does.
pub(super) struct Verb {
    pub name: &'static str,
    pub flags: &'static [Flag],
    pub order: Order,
    /// Least and most positional arguments.
    pub arguments: (usize, usize),
    /// What stands behind the name.
    pub usage: &'static str,
    /// Empty: not shown.
    pub help: &'static str,
    /// What to exit with on an error.
    pub failure_status: i32,
    /// It runs from a copy of the program that the container cannot overwrite.
    pub enters_container: bool,
    /// Returns the status to exit with.
    pub run: fn(&Runtime, &Parsed) -> Result<i32>,
}

/// No upper limit of positional arguments.
pub(super) const ANY: usize = usize::MAX;

impl Verb {
    /// A verb that takes the id of one container and no flag.
    const OF_ONE_CONTAINER: Self = Self {
        name: "",
        flags: &[],
        order: Order::Anywhere,
        arguments: (1, 1),
        usage: "ID",
        help: "",
        failure_status: 1,
        enters_container: false,
        run: |_, _| Ok(0),
    };
}

/// In the order of the help.
pub(super) const ALL: &[Verb] = &[
    create::VERB,
    start::VERB,
    run::VERB,
    exec::VERB,
    kill::VERB,
    delete::VERB,
    state::VERB,
    list::VERB,
    ps::VERB,
    events::VERB,
    pause::VERB,
    resume::VERB,
    update::VERB,
    mounts::VERB,
    spec::VERB,
    features::VERB,
    plan::VERB,
    lint::VERB,
    checkpoint::CHECKPOINT,
    checkpoint::RESTORE,
    monitor::VERB,
];

pub(super) fn find(name: &str) -> Option<&'static Verb> {
    ALL.iter().find(|verb| verb.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::call::GLOBAL;

    const MANUAL: &str = include_str!("../../../../../docs/man/conex-runtime.8");

    /// The manual's parts by heading, each with its options as `.It` lines name them.
    fn documented() -> Vec<(&'static str, Vec<String>)> {
        let mut parts = Vec::new();
        for line in MANUAL.lines() {
            if let Some(heading) = line.strip_prefix(".Ss ").or(line.strip_prefix(".Sh ")) {
                parts.push((heading, Vec::new()));
            } else if let (Some(words), Some((_, options))) = (line.strip_prefix(".It Fl "), parts.last_mut())
            {
                options.push(words.to_owned());
            }
        }
        parts
    }

    fn as_documented(flags: &[Flag]) -> Vec<String> {
        let shown = flags.iter().filter(|flag| !flag.help.is_empty());
        let word = |flag: &Flag| {
            let short = flag.short.map_or_else(String::new, |short| format!("{short} , Fl "));
            let value = flag.value.map_or_else(String::new, |value| format!(" Ar {value}"));
            format!("{short}-{}{value}", flag.long)
        };
        shown.map(word).collect()
    }

    #[test]
    fn the_manual_has_every_verb_and_flag_and_no_other() {
        let parts = documented();
        let part = |name: &str| parts.iter().find(|(heading, _)| *heading == name);
        let (_, global) = part("GLOBAL OPTIONS").expect("the global options");
        assert_eq!(*global, as_documented(GLOBAL), "global options");
        let shown: Vec<_> = ALL.iter().filter(|verb| !verb.help.is_empty()).collect();
        for verb in &shown {
            let (_, options) =
                part(verb.name).unwrap_or_else(|| panic!("{} is not in the manual", verb.name));
            assert_eq!(*options, as_documented(verb.flags), "{}", verb.name);
        }
        let verbs = MANUAL.lines().filter_map(|line| line.strip_prefix(".Ss ")).collect::<Vec<_>>();
        assert_eq!(verbs, shown.iter().map(|verb| verb.name).collect::<Vec<_>>());
    }
}
