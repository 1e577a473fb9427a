// SPDX-License-Identifier: Apache-2.0
//! The part of cargo-deny's `deny.toml` that is checked here: `licenses.allow`, `bans.deny`, `bans.skip`.
//!
//! Of TOML this reads sections, strings, and arrays of strings or of inline tables of strings; that is all the
//! file uses, and anything else in these keys is an error.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

#[derive(Debug)]
pub struct Deny {
    pub licences: BTreeSet<String>,
    /// Crate → reason.
    pub banned: BTreeMap<String, String>,
    /// Crates of which two versions may be linked.
    pub may_repeat: BTreeSet<String>,
}

impl Deny {
    pub fn parse(text: &str) -> Result<Self> {
        let values = entries(text)?;
        let tables = |key: &str| -> Result<Vec<BTreeMap<String, String>>> {
            let value = values.get(key).with_context(|| format!("deny.toml: no {key}"))?;
            items(value)?.into_iter().map(inline_table).collect::<Result<_>>().with_context(|| key.to_owned())
        };
        let allow = values.get("licenses.allow").context("deny.toml: no licenses.allow")?;
        let names = |tables: Vec<BTreeMap<String, String>>| {
            tables.into_iter().map(|mut table| {
                let name = table.remove("crate").context("deny.toml: an entry without crate")?;
                Ok((name, table.remove("reason").unwrap_or_default()))
            })
        };
        Ok(Self {
            licences: items(allow)?.into_iter().map(string).collect::<Result<_>>()?,
            banned: names(tables("bans.deny")?).collect::<Result<_>>()?,
            may_repeat: names(tables("bans.skip")?).map(|entry| Ok(entry?.0)).collect::<Result<_>>()?,
        })
    }
}

/// `section.key` → the value's text, with arrays that span lines joined.
fn entries(text: &str) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut section = String::new();
    let mut lines = text.lines().map(without_comment).filter(|line| !line.is_empty());
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
            continue;
        }
        let (key, value) = line.split_once('=').with_context(|| format!("deny.toml: {line:?}"))?;
        let mut value = value.trim().to_owned();
        while value.starts_with('[') && !value.ends_with(']') {
            value += lines.next().with_context(|| format!("deny.toml: {key} never ends"))?;
        }
        found.insert(format!("{section}.{}", key.trim()), value);
    }
    Ok(found)
}

fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let comment = line.find(|letter| {
        quoted ^= letter == '"';
        letter == '#' && !quoted
    });
    line[..comment.unwrap_or(line.len())].trim()
}

/// The items of an array; commas inside quotes and braces do not separate.
fn items(array: &str) -> Result<Vec<&str>> {
    let inner = array.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    split(inner.with_context(|| format!("deny.toml: not an array: {array}"))?)
}

fn inline_table(item: &str) -> Result<BTreeMap<String, String>> {
    let inner = item.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let pairs = split(inner.with_context(|| format!("deny.toml: not an inline table: {item}"))?)?;
    pairs
        .into_iter()
        .map(|pair| {
            let (key, value) = pair.split_once('=').with_context(|| format!("deny.toml: {pair:?}"))?;
            Ok((key.trim().to_owned(), string(value.trim())?))
        })
        .collect()
}

fn string(item: &str) -> Result<String> {
    match item.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(text) => Ok(text.to_owned()),
        None => bail!("deny.toml: not a string: {item}"),
    }
}

fn split(text: &str) -> Result<Vec<&str>> {
    let (mut quoted, mut depth, mut start) = (false, 0usize, 0);
    let mut found = Vec::new();
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => depth = depth.checked_sub(1).context("deny.toml: a brace too many")?,
            ',' if !quoted && depth == 0 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(text[start..].trim());
    found.retain(|item| !item.is_empty());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cargo_denys_words() {
        let deny = Deny::parse(
            "[licenses]\nallow = [\n  \"MIT\", # short\n  \"ISC\",\n]\n[bans]\ndeny = [{ crate = \"openssl\", reason = \"C, and a # sign\" }]\nskip = []\n",
        )
        .unwrap();
        assert_eq!(deny.licences, ["ISC", "MIT"].map(str::to_owned).into());
        assert_eq!(deny.banned["openssl"], "C, and a # sign");
        assert!(deny.may_repeat.is_empty());
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for text in ["[licenses]\nallow = 3\n[bans]\ndeny = []\nskip = []", "[licenses]\nallow = [\n\"MIT\""]
        {
            assert!(Deny::parse(text).is_err(), "{text}");
        }
    }
}
