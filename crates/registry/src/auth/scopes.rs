// SPDX-License-Identifier: Apache-2.0
//! What a token must allow, in the words of the token protocol: `repository:<name>:<actions>`.

use std::fmt;

/// Scopes of one request. Empty: no token is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Scopes {
    /// Sorted by name, so that equal demands share a token.
    list: Vec<(String, Actions)>,
    /// A token that allows nothing: whether the login is right.
    login: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Actions {
    Pull,
    PullPush,
    Delete,
}

impl Actions {
    fn text(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::PullPush => "pull,push",
            Self::Delete => "delete",
        }
    }
}

impl Scopes {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn of(name: &str, actions: Actions) -> Self {
        Self { list: vec![(name.to_owned(), actions)], login: false }
    }

    /// No more than to be known.
    pub(crate) fn login() -> Self {
        Self { list: Vec::new(), login: true }
    }

    /// The same, and reading another repository: to mount from it.
    pub(crate) fn and_pull(mut self, name: &str) -> Self {
        if !self.list.iter().any(|(known, _)| known == name) {
            self.list.push((name.to_owned(), Actions::Pull));
            self.list.sort_by(|a, b| a.0.cmp(&b.0));
        }
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty() && !self.login
    }

    /// The repository that a login is looked up for.
    pub(crate) fn repository(&self) -> &str {
        self.list.first().map_or("", |(name, _)| name)
    }

    /// Each as one `scope` parameter, the challenge's own added where it asks for something else.
    pub(crate) fn parameters(&self, challenge: Option<&str>) -> Vec<String> {
        let mut all: Vec<_> =
            self.list.iter().map(|(name, actions)| format!("repository:{name}:{}", actions.text())).collect();
        for demanded in challenge.unwrap_or_default().split(' ').filter(|text| !text.is_empty()) {
            let covered = all.iter().any(|own| covers(own, demanded));
            if !covered && all.len() < 8 {
                all.push(demanded.to_owned());
            }
        }
        all
    }
}

/// Whether scope `own` allows all that `demanded` does.
fn covers(own: &str, demanded: &str) -> bool {
    let (Some((own, allowed)), Some((other, wanted))) = (own.rsplit_once(':'), demanded.rsplit_once(':'))
    else {
        return false;
    };
    own == other && wanted.split(',').all(|action| allowed.split(',').any(|known| known == action))
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.login { "a login".to_owned() } else { self.parameters(None).join(" ") };
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_adds_only_what_is_not_covered() {
        let push = Scopes::of("a/b", Actions::PullPush);
        assert_eq!(push.parameters(Some("repository:a/b:pull")), ["repository:a/b:pull,push"]);
        assert_eq!(
            push.parameters(Some("repository:a/b:delete registry:catalog:*")),
            ["repository:a/b:pull,push", "repository:a/b:delete", "registry:catalog:*"]
        );
    }

    #[test]
    fn a_mount_reads_the_other_repository() {
        let both = Scopes::of("dst", Actions::PullPush).and_pull("src");
        assert_eq!(both.to_string(), "repository:dst:pull,push repository:src:pull");
    }
}
