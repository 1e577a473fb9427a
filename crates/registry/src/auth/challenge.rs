// SPDX-License-Identifier: Apache-2.0
//! `WWW-Authenticate` (RFC 9110 §11.6.1): what a registry demands. Hostile text: bounded, never a panic.
//!
//! ```text
//!  Bearer realm="https://auth.example/token",service="r",scope="repository:a:pull", Basic realm="x"
//!  └scheme┘ └────────────── parameters ───────────────────────────────────────────┘ └ next challenge
//! ```

/// Most challenges that are looked at.
const MOST: usize = 16;

/// One challenge: scheme in lower case, parameter names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// All challenges of one header value. What does not parse ends the list.
pub(crate) fn parse(value: &str) -> Vec<Challenge> {
    let mut rest = value.trim_start_matches([' ', '\t', ',']);
    let mut found: Vec<Challenge> = Vec::new();
    while !rest.is_empty() && found.len() < MOST {
        let Some((word, after)) = token(rest) else { break };
        if let Some(quoted) = after.trim_start().strip_prefix('=')
            && let Some(challenge) = found.last_mut()
        {
            let Some((value, after)) = parameter_value(quoted.trim_start()) else { break };
            challenge.parameters.push((word.to_ascii_lowercase(), value));
            rest = after;
        } else {
            found.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
            rest = skip_token68(after);
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    found
}

fn token(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)))
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

/// `Negotiate dG9rZW4=`: a scheme may be followed by one opaque word instead of parameters.
fn skip_token68(after: &str) -> &str {
    let trimmed = after.trim_start();
    let word = trimmed.split([' ', ',']).next().unwrap_or_default();
    let body = word.trim_end_matches('=');
    let opaque =
        !body.is_empty() && !body.contains('=') && (word.len() > body.len() || trimmed.len() == word.len());
    if opaque && !trimmed[word.len()..].trim_start().starts_with('=') {
        &trimmed[word.len()..]
    } else {
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_challenges_of_a_header_are_seen() {
        let found = parse(
            r#"Bearer realm="https://a/t?x=1,2",service="r\"s", scope="repository:a:pull,push", Basic realm="x", Negotiate abc=="#,
        );
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0].parameter("realm"), Some("https://a/t?x=1,2"));
        assert_eq!(found[0].parameter("service"), Some("r\"s"));
        assert_eq!(found[0].parameter("scope"), Some("repository:a:pull,push"));
        assert_eq!((found[1].scheme.as_str(), found[1].parameter("realm")), ("basic", Some("x")));
        assert_eq!(found[2].scheme, "negotiate");
    }

    #[test]
    fn spaces_case_and_bare_values_are_taken() {
        let found = parse("  BEARER Realm = \"https://a\" , SERVICE=r");
        assert_eq!(found[0].parameter("realm"), Some("https://a"));
        assert_eq!(found[0].parameter("service"), Some("r"));
        assert_eq!(parse("Basic")[0].scheme, "basic");
    }

    #[test]
    fn hostile_headers_end_early() {
        for hostile in [
            "",
            ",,,",
            "=",
            "\"",
            "Bearer realm=\"unterminated",
            "Bearer realm=\"x\\",
            "\u{fffd}",
            "Bearer =x",
        ] {
            let found = parse(hostile);
            assert!(found.len() <= 1, "{hostile:?}: {found:?}");
        }
        assert_eq!(parse(&"Bearer realm=\"x\", ".repeat(100)).len(), MOST);
    }
}
