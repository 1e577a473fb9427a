// SPDX-License-Identifier: Apache-2.0
//! Which sources of `ADD` are addresses, and of what.

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Url,
    Git { remote: String, reference: Option<String>, subdirectory: Option<String> },
}

/// `None`: a path of the context.
pub(crate) fn address(source: &str) -> Option<Address> {
    let is_http = source.starts_with("http://") || source.starts_with("https://");
    let is_git = source.starts_with("git://") || source.starts_with("ssh://") || is_scp(source);
    let (remote, fragment) = source.split_once('#').map_or((source, None), |(a, b)| (a, Some(b)));
    let is_repository = is_http && remote.trim_end_matches('/').ends_with(".git");
    if !is_git && !is_repository {
        return is_http.then_some(Address::Url);
    }
    let (reference, subdirectory) = match fragment.map(|text| text.split_once(':').unwrap_or((text, ""))) {
        Some((reference, directory)) => (some(reference), some(directory)),
        None => (None, None),
    };
    Some(Address::Git { remote: remote.to_owned(), reference, subdirectory })
}

/// `git@host:path`
fn is_scp(source: &str) -> bool {
    source.strip_prefix("git@").is_some_and(|rest| rest.contains(':'))
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_paths() {
        assert_eq!(address("a/b.git"), None);
        assert_eq!(address("https://host/file.tar"), Some(Address::Url));
        let git = |remote: &str, reference: Option<&str>, subdirectory: Option<&str>| {
            Some(Address::Git {
                remote: remote.to_owned(),
                reference: reference.map(str::to_owned),
                subdirectory: subdirectory.map(str::to_owned),
            })
        };
        assert_eq!(
            address("https://h/r.git#v1:sub/dir"),
            git("https://h/r.git", Some("v1"), Some("sub/dir"))
        );
        assert_eq!(address("git@h:o/r.git"), git("git@h:o/r.git", None, None));
        assert_eq!(address("git://h/r#:sub"), git("git://h/r", None, Some("sub")));
    }
}
