// SPDX-License-Identifier: Apache-2.0
//! Who may do what in which repositories: a file of lines (docs/formats/registry.md).
//!
//! ```text
//!  # who   repositories  may
//!  *       public/*      pull                 anyone, also without a login
//!  @       *             pull                 everyone who has logged in
//!  ci      team/app      pull push
//!  admin   *             pull push delete
//! ```
//! What no line allows is refused.

use crate::{Error, ErrorKind, Result};

/// What a request does to a repository; the words of a token's scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Pull,
    Push,
    Delete,
}

impl Action {
    pub(crate) const ALL: [Self; 3] = [Self::Pull, Self::Push, Self::Delete];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.word() == word)
    }
}

#[derive(Debug)]
enum Who {
    Anyone,
    LoggedIn,
    User(String),
}

/// One line.
#[derive(Debug)]
struct Rule {
    who: Who,
    /// A repository, or the beginning of several.
    repositories: String,
    is_prefix: bool,
    actions: Vec<Action>,
}

impl Rule {
    fn parse(line: &str) -> std::result::Result<Self, String> {
        let mut words = line.split([' ', '\t', ',']).filter(|word| !word.is_empty());
        let who = match words.next() {
            Some("*") => Who::Anyone,
            Some("@") => Who::LoggedIn,
            Some(user) => Who::User(user.to_owned()),
            None => return Err("empty".to_owned()),
        };
        let repositories = words.next().ok_or("no repository")?;
        let is_prefix = repositories.ends_with('*');
        let repositories = repositories.trim_end_matches('*').to_owned();
        if repositories.contains('*') {
            return Err("a * can only end a repository's name".to_owned());
        }
        let action = |word| Action::parse(word).ok_or(format!("{word:?} is not pull, push or delete"));
        let actions: Vec<_> = words.map(action).collect::<std::result::Result<_, _>>()?;
        if actions.is_empty() {
            return Err("nothing is allowed: pull, push or delete".to_owned());
        }
        Ok(Self { who, repositories, is_prefix, actions })
    }

    fn allows(&self, user: Option<&str>, repository: &str, action: Action) -> bool {
        let who = match &self.who {
            Who::Anyone => true,
            Who::LoggedIn => user.is_some(),
            Who::User(name) => user == Some(name),
        };
        let what = match self.is_prefix {
            true => repository.starts_with(&self.repositories),
            false => repository == self.repositories,
        };
        who && what && self.actions.contains(&action)
    }
}

/// All rules.
#[derive(Debug)]
pub(crate) struct Rights {
    rules: Vec<Rule>,
}

impl Rights {
    /// Whoever has logged in may do everything.
    pub(crate) fn of_the_logged_in() -> Self {
        let actions = Action::ALL.to_vec();
        let rule = Rule { who: Who::LoggedIn, repositories: String::new(), is_prefix: true, actions };
        Self { rules: vec![rule] }
    }

    /// Reads a file's contents.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut rules = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let rule = Rule::parse(line).map_err(|what| {
                let advice = "a line is: user (or * or @), repository (or beginning*), pull push delete";
                Error::new(ErrorKind::Usage, format!("rights line {number}: {what}")).with_hint(advice)
            })?;
            rules.push(rule);
        }
        Ok(Self { rules })
    }

    /// `user`: `None` without a login.
    pub(crate) fn allow(&self, user: Option<&str>, repository: &str, action: Action) -> bool {
        self.rules.iter().any(|rule| rule.allows(user, repository, action))
    }

    /// Whether it is allowed in each repository, those to come included.
    pub(crate) fn allow_everywhere(&self, user: Option<&str>, action: Action) -> bool {
        let is_for_all = |rule: &&Rule| rule.is_prefix && rule.repositories.is_empty();
        self.rules.iter().filter(is_for_all).any(|rule| rule.allows(user, "", action))
    }

    /// Whether anybody gets in without a login.
    pub(crate) fn know_strangers(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.who, Who::Anyone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_line_allows() {
        let text = "* public/* pull # for all\n\n@ * pull\nci team/app pull,push\nadmin * pull push delete\n";
        let rights = Rights::parse(text).unwrap();
        for (user, repository, action, allowed) in [
            (None, "public/a", Action::Pull, true),
            (None, "public", Action::Pull, false),
            (None, "public/a", Action::Push, false),
            (None, "team/app", Action::Pull, false),
            (Some("me"), "team/app", Action::Pull, true),
            (Some("me"), "team/app", Action::Push, false),
            (Some("ci"), "team/app", Action::Push, true),
            (Some("ci"), "team/app2", Action::Push, false),
            (Some("ci"), "team/app", Action::Delete, false),
            (Some("admin"), "x", Action::Delete, true),
            (Some("*"), "x", Action::Delete, false),
        ] {
            assert_eq!(rights.allow(user, repository, action), allowed, "{user:?} {repository} {action:?}");
        }
    }

    #[test]
    fn a_line_that_means_nothing_is_named() {
        for (text, what) in [
            ("me", "no repository"),
            ("me a", "nothing is allowed"),
            ("me a fly", "\"fly\" is not"),
            ("\nme a*b pull", "line 2: a * can only end"),
        ] {
            let error = Rights::parse(text).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
