// SPDX-License-Identifier: Apache-2.0
//! The variables of a stage: the image's environment, then what `ARG` and `ENV` add, each where it was first set.

use std::collections::HashMap;

use crate::containerfile::expand::Scope;

/// Names and values in order; the last value of a name counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    list: Vec<(String, String)>,
    places: HashMap<String, usize>,
}

impl Variables {
    pub(super) fn of(env: &[String]) -> Self {
        let mut variables = Self::default();
        for entry in env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            variables.set(name, value);
        }
        variables
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.places.get(name) {
            Some(&place) => value.clone_into(&mut self.list[place].1),
            None => {
                self.places.insert(name.to_owned(), self.list.len());
                self.list.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// `NAME=value`
    pub(super) fn entries(&self) -> Vec<String> {
        self.list.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|(name, _)| name.as_str())
    }

    /// What a copy costs.
    pub(super) fn bytes(&self) -> usize {
        self.list.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

impl Scope for Variables {
    fn get(&self, name: &str) -> Option<&str> {
        Some(self.list[*self.places.get(name)?].1.as_str())
    }
}
