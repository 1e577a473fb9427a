// SPDX-License-Identifier: Apache-2.0
//! containers-registries.conf(5), version 2: where an image really comes from.
//!
//! ```text
//!  quay.io/org/app:1 ──prefix "quay.io/org"──► mirrors in order, then location ──► Vec<Endpoint>
//! ```
//! The longest matching `prefix` wins, which may go as far as a tag or digest; `*.example.org` matches sub-domains. A file of
//! `registries.conf.d` replaces whole `[[registry]]` tables of the same prefix and single aliases.

use std::collections::BTreeMap;

use conex_spec::distribution::Reference;
use conex_spec::distribution::reference::{check_host, check_name};
use serde::Deserialize;

use crate::{Error, ErrorKind, Result};

/// What registries.conf and its drop-ins say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries {
    /// Where short names are looked for, in order.
    pub unqualified_search_registries: Vec<String>,
    /// What to do with a short name that has several candidates.
    pub short_name_mode: ShortNameMode,
    /// Short name → whole name without tag.
    pub aliases: BTreeMap<String, String>,
    /// Who knows logins, in order: [`AUTH_FILES`], or a helper's name. None: the files.
    pub credential_helpers: Vec<String>,
    /// Rules by prefix.
    rules: Vec<Rule>,
}

/// In `credential-helpers`: the files of containers-auth.json(5).
pub const AUTH_FILES: &str = "containers-auth.json";

/// `short-name-mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShortNameMode {
    /// Ask on a terminal, fail without one.
    Enforcing,
    /// Ask on a terminal, try all without one.
    #[default]
    #[serde(alias = "")]
    Permissive,
    /// Try all.
    Disabled,
}

/// A place that may have the image: the main location, or a mirror of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host[:port]` to connect to.
    pub host: String,
    /// The repository's name there.
    pub name: String,
    /// Plain HTTP and unverified TLS are acceptable.
    pub insecure: bool,
    /// A mirror: read only, and its failure is not the end.
    pub mirror: bool,
}

/// `pull-from-mirror`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PullFrom {
    /// Whatever is asked.
    #[default]
    #[serde(alias = "")]
    All,
    /// References with a digest only.
    DigestOnly,
    /// References without a digest only.
    TagOnly,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Rule {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default, rename = "mirror")]
    mirrors: Vec<Mirror>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<PullFrom>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    unqualified_search_registries: Option<Vec<String>>,
    short_name_mode: Option<ShortNameMode>,
    credential_helpers: Option<Vec<String>>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    #[serde(default)]
    registry: Vec<Rule>,
    /// Version 1 had `[registries.search]` and its like.
    registries: Option<toml::Table>,
}

impl Registries {
    /// Lays one file over what is known; call it for the main file first, then for each drop-in in name order.
    pub fn add(&mut self, text: &str) -> Result<()> {
        let file: File = toml::from_str(text).map_err(|error| invalid(error.to_string().trim_end()))?;
        if file.registries.is_some() {
            return Err(invalid("[registries.…] is version 1 of the format").with_hint(
                "write it as version 2: unqualified-search-registries = […] and one [[registry]] table per registry",
            ));
        }
        if let Some(hosts) = file.unqualified_search_registries {
            self.unqualified_search_registries = hosts;
        }
        if let Some(mode) = file.short_name_mode {
            self.short_name_mode = mode;
        }
        if let Some(helpers) = file.credential_helpers {
            self.credential_helpers = helpers;
        }
        self.aliases.extend(file.aliases);
        self.aliases.retain(|_, target| !target.is_empty());
        for rule in file.registry {
            self.add_rule(rule)?;
        }
        Ok(())
    }

    fn add_rule(&mut self, mut rule: Rule) -> Result<()> {
        if rule.prefix.is_empty() {
            rule.prefix.clone_from(&rule.location);
        }
        if rule.prefix.is_empty() {
            return Err(invalid("a [[registry]] has neither prefix nor location"));
        }
        if rule.location.is_empty() && !rule.prefix.starts_with("*.") {
            rule.location.clone_from(&rule.prefix);
        }
        for text in [&mut rule.prefix, &mut rule.location] {
            text.truncate(text.trim_end_matches('/').len());
        }
        let has_wildcard = rule.prefix.contains('*');
        if has_wildcard
            && rule.prefix.strip_prefix("*.").is_none_or(|domain| domain.contains(['*', '/', ':']))
        {
            let prefix = rule.prefix;
            return Err(invalid(&format!(
                "prefix {prefix:?}: a wildcard stands for sub-domains: *.example.org"
            )));
        }
        if rule.mirror_by_digest_only && rule.mirrors.iter().any(|mirror| mirror.pull_from_mirror.is_some()) {
            let message =
                format!("{:?}: mirror-by-digest-only and pull-from-mirror exclude each other", rule.prefix);
            return Err(invalid(&message));
        }
        self.rules.retain(|known| known.prefix != rule.prefix);
        self.rules.push(rule);
        Ok(())
    }

    /// Where to ask for `reference`, in order; the last one is the main location. Fails where it is blocked.
    pub fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>> {
        let whole = match (&reference.digest, reference.tag_or_latest()) {
            (Some(digest), _) => format!("{}@{digest}", reference.repository()),
            (None, Some(tag)) => format!("{}:{tag}", reference.repository()),
            (None, None) => reference.repository(),
        };
        let Some((rule, matched)) = self.rule_for(&whole) else {
            return Ok(vec![main(&reference.host, &reference.name, false)]);
        };
        if rule.blocked {
            return Err(Error::new(
                ErrorKind::Denied,
                format!("registry {:?} is blocked in registries.conf", rule.prefix),
            )
            .with_hint(format!(
                "remove blocked = true from the [[registry]] with prefix {:?}",
                rule.prefix
            )));
        }
        let rest = &whole[matched..];
        let mut found = Vec::new();
        for mirror in rule.mirrors.iter().filter(|mirror| mirror.serves(rule, reference)) {
            found.push(split(
                &format!("{}{rest}", mirror.location.trim_end_matches('/')),
                mirror.insecure,
                true,
            )?);
        }
        let location = if rule.location.is_empty() { &whole[..matched] } else { rule.location.as_str() };
        found.push(split(&format!("{location}{rest}"), rule.insecure, false)?);
        Ok(found)
    }

    /// Whether plain HTTP and unverified TLS are acceptable for a host as a whole.
    pub fn is_insecure(&self, host: &str) -> bool {
        self.rule_for(host).is_some_and(|(rule, _)| rule.insecure)
    }

    /// The rule with the longest match, and how many bytes of a name it replaces.
    fn rule_for(&self, name: &str) -> Option<(&Rule, usize)> {
        self.rules
            .iter()
            .filter_map(|rule| Some((rule, matched_length(&rule.prefix, name)?)))
            .max_by_key(|(rule, matched)| (*matched, !rule.prefix.starts_with("*.")))
    }
}

impl Mirror {
    fn serves(&self, rule: &Rule, reference: &Reference) -> bool {
        let digest = reference.digest.is_some();
        match self.pull_from_mirror.unwrap_or_default() {
            PullFrom::All => digest || !rule.mirror_by_digest_only,
            PullFrom::DigestOnly => digest,
            PullFrom::TagOnly => !digest,
        }
    }
}

/// A prefix ends where a part of the name does. What follows a host after a colon is its port, no tag.
fn matched_length(prefix: &str, name: &str) -> Option<usize> {
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = name.split('/').next()?;
        let bare = host.split(':').next()?;
        return bare.ends_with(domain).then_some(host.len());
    }
    let rest = name.strip_prefix(prefix)?;
    let ends =
        rest.is_empty() || rest.starts_with('/') || prefix.contains('/') && rest.starts_with([':', '@']);
    ends.then_some(prefix.len())
}

fn main(host: &str, name: &str, insecure: bool) -> Endpoint {
    Endpoint { host: host.to_owned(), name: name.to_owned(), insecure, mirror: false }
}

/// `host[:port]/name[:tag|@digest]` as an endpoint, where the same tag or digest is asked for. The first component is the host,
/// with or without a dot in it.
fn split(whole: &str, insecure: bool, mirror: bool) -> Result<Endpoint> {
    let bad = |what: &str| invalid(&format!("location leads to {whole:?}: {what}"));
    let (host, name) = whole.split_once('/').ok_or_else(|| bad("no repository after the host"))?;
    let name = name.split(['@', ':']).next().unwrap_or(name);
    check_host(host).map_err(|what| bad(&what))?;
    check_name(name).map_err(|what| bad(&what))?;
    Ok(Endpoint { host: host.to_owned(), name: name.to_owned(), insecure, mirror })
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::Usage, format!("registries.conf: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries(text: &str) -> Registries {
        let mut registries = Registries::default();
        registries.add(text).unwrap();
        registries
    }

    /// Endpoints as `host/name`, with `!` for insecure and `~` for a mirror.
    fn asked(registries: &Registries, reference: &str) -> Vec<String> {
        let endpoints = registries.endpoints(&reference.parse().unwrap()).unwrap();
        let shown = |e: &Endpoint| {
            let (mirror, insecure) = (if e.mirror { "~" } else { "" }, if e.insecure { "!" } else { "" });
            format!("{mirror}{insecure}{}/{}", e.host, e.name)
        };
        endpoints.iter().map(shown).collect()
    }

    const DIGEST: &str = "@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    #[test]
    fn without_rules_the_name_is_the_place() {
        assert_eq!(asked(&Registries::default(), "alpine"), ["docker.io/library/alpine"]);
    }

    #[test]
    fn the_longest_prefix_leads_to_mirrors_and_location() {
        let found = registries(
            r#"
            [[registry]]
            location = "quay.io"
            [[registry]]
            prefix = "quay.io/org"
            location = "internal:5000/copies/"
            insecure = true
            [[registry.mirror]]
            location = "mirror.example/x"
            [[registry.mirror]]
            location = "tags.example/y"
            insecure = true
            pull-from-mirror = "tag-only"
            [[registry.mirror]]
            location = "digests.example/z"
            pull-from-mirror = "digest-only"
            "#,
        );
        assert_eq!(
            asked(&found, "quay.io/org/app:1"),
            ["~mirror.example/x/app", "~!tags.example/y/app", "!internal:5000/copies/app"]
        );
        assert_eq!(
            asked(&found, &format!("quay.io/org/app{DIGEST}")),
            ["~mirror.example/x/app", "~digests.example/z/app", "!internal:5000/copies/app"]
        );
        assert_eq!(asked(&found, "quay.io/organic/app"), ["quay.io/organic/app"], "a prefix ends at a slash");
    }

    #[test]
    fn a_wildcard_matches_sub_domains_only() {
        let found = registries("[[registry]]\nprefix = \"*.example.org\"\ninsecure = true");
        assert_eq!(asked(&found, "a.example.org/x"), ["!a.example.org/x"]);
        assert_eq!(asked(&found, "example.org/x"), ["example.org/x"]);
    }

    #[test]
    fn a_prefix_may_be_one_tag_or_digest() {
        let found = registries(&format!(
            "[[registry]]\nprefix = \"a.example/x:old\"\nlocation = \"b.example/y:old\"\n\
             [[registry]]\nprefix = \"a.example/x{DIGEST}\"\nblocked = true\n\
             [[registry]]\nlocation = \"a.example\"\ninsecure = true"
        ));
        assert_eq!(asked(&found, "a.example/x:old"), ["b.example/y"]);
        assert_eq!(asked(&found, "a.example/x:older"), ["!a.example/x"]);
        assert_eq!(asked(&found, "a.example/x"), ["!a.example/x"]);
        assert!(found.endpoints(&format!("a.example/x{DIGEST}").parse().unwrap()).is_err());
        assert_eq!(asked(&found, "a.example:5000/x"), ["a.example:5000/x"], "another port, another registry");
    }

    #[test]
    fn helpers_are_the_last_files() {
        let mut found = registries("credential-helpers = [\"a\", \"containers-auth.json\"]");
        assert_eq!(found.credential_helpers, ["a", AUTH_FILES]);
        found.add("short-name-mode = \"\"").unwrap();
        assert_eq!(found.credential_helpers.len(), 2);
        found.add("credential-helpers = [\"b\"]").unwrap();
        assert_eq!(found.credential_helpers, ["b"]);
    }

    #[test]
    fn a_blocked_registry_is_refused_with_its_rule() {
        let found = registries("[[registry]]\nlocation = \"evil.example\"\nblocked = true");
        let error = found.endpoints(&"evil.example/x".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.hint().unwrap().contains("evil.example"));
    }

    #[test]
    fn a_drop_in_replaces_whole_tables() {
        let mut found =
            registries("[[registry]]\nlocation = \"a.example\"\ninsecure = true\n[aliases]\nx = \"y.io/x\"");
        found.add("[[registry]]\nlocation = \"a.example\"\n[aliases]\nz = \"y.io/z\"\nx = \"\"").unwrap();
        assert_eq!(asked(&found, "a.example/x"), ["a.example/x"]);
        assert_eq!(found.aliases.into_iter().collect::<Vec<_>>(), [("z".to_owned(), "y.io/z".to_owned())]);
    }

    #[test]
    fn mistakes_say_where() {
        for (text, part) in [
            ("[[registry]]\ninsecure = 1", "line 2"),
            ("[[registry]]\ninsecure = true", "neither prefix nor location"),
            ("[registries.search]\nregistries = []", "version 1"),
            ("short-name-mode = \"sometimes\"", "line 1"),
            ("[[registry]]\nprefix = \"*.a.example/x\"", "a wildcard stands for sub-domains"),
            ("[[registry]]\nprefix = \"a.*.example\"\nlocation = \"x\"", "a wildcard stands for sub-domains"),
            (
                "[[registry]]\nlocation = \"a\"\nmirror-by-digest-only = true\n[[registry.mirror]]\n\
                 location = \"b\"\npull-from-mirror = \"all\"",
                "exclude each other",
            ),
        ] {
            let error = Registries::default().add(text).unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
        let bad = registries("[[registry]]\nprefix = \"a.example\"\nlocation = \"UPPER/CASE\"");
        assert!(bad.endpoints(&"a.example/x".parse().unwrap()).is_err());
    }
}
