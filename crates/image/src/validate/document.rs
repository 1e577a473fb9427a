// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: descriptor.md, manifest.md, image-index.md, config.md
//!
//! The rules of one document, held against its JSON as it stands: what a type would turn into a default is seen here.

use conex_spec::Digest;
use conex_spec::image::media_type;
use serde_json::Value;

use super::Violation;
use crate::manifest::no_key_twice;
use crate::verify::{self, sha256};

/// What a document is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// image-index.md
    Index,
    /// manifest.md
    Manifest,
    /// config.md
    Config,
}

impl Kind {
    /// Of a descriptor's media type.
    pub fn of(media_type: &str) -> Option<Self> {
        match media_type::kind(media_type) {
            media_type::Kind::Index => Some(Self::Index),
            media_type::Kind::Manifest => Some(Self::Manifest),
            media_type::Kind::Config => Some(Self::Config),
            _ => None,
        }
    }
}

/// Every rule that a document breaks.
pub fn document(place: &str, bytes: &[u8], kind: Kind) -> Vec<Violation> {
    let mut check = Check { place, violations: Vec::new() };
    let ambiguous = |error: crate::Error| check.add("", error.to_string());
    if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
        no_key_twice(bytes).unwrap_or_else(ambiguous);
    }
    match serde_json::from_slice::<Value>(bytes) {
        Err(error) => check.add("", format!("is no JSON document: {error}")),
        Ok(value) if !value.is_object() => check.add("", "must be a JSON object"),
        Ok(value) => match kind {
            Kind::Index => check.index(&value),
            Kind::Manifest => check.manifest(&value),
            Kind::Config => check.config(&value),
        },
    }
    check.violations
}

/// Collects.
struct Check<'a> {
    place: &'a str,
    violations: Vec<Violation>,
}

/// What a property must be, in words.
type Rule = (&'static str, fn(&Value) -> bool);

const STRING: Rule = ("a string", Value::is_string);
const BOOLEAN: Rule = ("true or false", Value::is_boolean);
const STRINGS: Rule = ("an array of strings", is_strings);
/// RFC 3986.
const URIS: Rule = ("an array of URIs", is_uris);
const STRING_MAP: Rule = ("an object whose values are strings", is_string_map);
/// A set: `{"8080/tcp": {}}`.
const SET: Rule = ("an object whose values are empty objects", is_set);
const TIME: Rule = ("a time as RFC 3339 has it", is_time);
const SIZE: Rule = ("a number of bytes", Value::is_u64);

impl Check<'_> {
    fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.violations.push(Violation {
            place: self.place.to_owned(),
            pointer: pointer.into(),
            message: message.into(),
        });
    }

    /// A property that may be missing; null counts as missing for those that Go writes.
    fn may<'v>(&mut self, at: &str, value: &'v Value, key: &str, (what, rule): Rule) -> Option<&'v Value> {
        let found = value.get(key).filter(|found| !found.is_null())?;
        if rule(found) {
            return Some(found);
        }
        self.add(format!("{at}/{key}"), format!("must be {what}"));
        None
    }

    /// A property that must be there.
    fn must<'v>(&mut self, at: &str, value: &'v Value, key: &str, rule: Rule) -> Option<&'v Value> {
        if value.get(key).is_none_or(Value::is_null) {
            self.add(format!("{at}/{key}"), "is missing");
            return None;
        }
        self.may(at, value, key, rule)
    }

    fn version(&mut self, value: &Value, media_type: media_type::Kind) {
        if value.get("schemaVersion") != Some(&Value::from(2)) {
            self.add("/schemaVersion", "must be 2");
        }
        let said = self.may("", value, "mediaType", STRING).and_then(Value::as_str).map(str::to_owned);
        if let Some(said) = said.filter(|said| media_type::kind(said) != media_type) {
            self.add("/mediaType", format!("{said} is the media type of something else"));
        }
    }

    fn index(&mut self, value: &Value) {
        self.version(value, media_type::Kind::Index);
        for key in ["config", "layers"] {
            if value.get(key).is_some() {
                self.add(format!("/{key}"), "does not belong into an index");
            }
        }
        self.descriptors("/manifests", value.get("manifests"));
        self.rest(value);
    }

    fn manifest(&mut self, value: &Value) {
        self.version(value, media_type::Kind::Manifest);
        if value.get("manifests").is_some() {
            self.add("/manifests", "does not belong into an image manifest");
        }
        match value.get("config") {
            None => self.add("/config", "is missing"),
            Some(config) => self.descriptor("/config", config),
        }
        let config_type = value["config"]["mediaType"].as_str();
        if config_type == Some(media_type::OCI_EMPTY)
            && value["artifactType"].as_str().is_none_or(str::is_empty)
        {
            self.add("/artifactType", "is missing, and the configuration is empty");
        }
        self.descriptors("/layers", value.get("layers"));
        self.rest(value);
    }

    /// What manifests and indexes have in common.
    fn rest(&mut self, value: &Value) {
        self.may("", value, "annotations", STRING_MAP);
        self.media_type("", value, "artifactType");
        if let Some(subject) = value.get("subject") {
            self.descriptor("/subject", subject);
        }
    }

    fn descriptors(&mut self, at: &str, list: Option<&Value>) {
        match list {
            None => self.add(at, "is missing"),
            Some(Value::Array(list)) => {
                for (index, descriptor) in list.iter().enumerate() {
                    self.descriptor(&format!("{at}/{index}"), descriptor);
                }
            }
            Some(_) => self.add(at, "must be an array of descriptors"),
        }
    }

    fn descriptor(&mut self, at: &str, value: &Value) {
        if !value.is_object() {
            return self.add(at, "must be a descriptor");
        }
        if self.must(at, value, "mediaType", STRING).is_some() {
            self.media_type(at, value, "mediaType");
        }
        self.media_type(at, value, "artifactType");
        let digest = self.must(at, value, "digest", STRING).and_then(Value::as_str);
        let parsed = digest.map(str::parse::<Digest>);
        if let Some(Err(error)) = &parsed {
            self.add(format!("{at}/digest"), error.to_string());
        }
        let size = self.must(at, value, "size", SIZE).and_then(Value::as_u64);
        self.may(at, value, "urls", URIS);
        self.may(at, value, "annotations", STRING_MAP);
        if let Some(platform) = value.get("platform").filter(|platform| !platform.is_null()) {
            let at = format!("{at}/platform");
            self.must(&at, platform, "architecture", STRING);
            self.must(&at, platform, "os", STRING);
            self.may(&at, platform, "os.version", STRING);
            self.may(&at, platform, "os.features", STRINGS);
            self.may(&at, platform, "variant", STRING);
        }
        let data = self.may(at, value, "data", STRING).and_then(Value::as_str);
        if let (Some(data), Some(Ok(digest)), Some(size)) = (data, parsed, size) {
            self.data(&format!("{at}/data"), data, &digest, size);
        }
    }

    /// Embedded content is the content.
    fn data(&mut self, at: &str, data: &str, digest: &Digest, size: u64) {
        let Some(bytes) = decode_base64(data) else { return self.add(at, "must be base64") };
        let found = (digest.algorithm() == conex_spec::Algorithm::Sha256).then(|| sha256(&bytes));
        let found = found.unwrap_or_else(|| digest.clone());
        if let Err(error) = verify::check(digest, size, &found, bytes.len() as u64) {
            self.add(at, error.to_string());
        }
    }

    /// RFC 6838, section 4.2.
    fn media_type(&mut self, at: &str, value: &Value, key: &str) {
        let Some(text) = value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()) else {
            return;
        };
        let name = |name: &str| {
            (1..=127).contains(&name.len())
                && name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c))
        };
        let main = text.split(';').next().unwrap_or_default().trim();
        if !main.split_once('/').is_some_and(|(kind, sub)| name(kind) && name(sub)) {
            self.add(format!("{at}/{key}"), format!("{text:?} is no media type"));
        }
    }

    fn config(&mut self, value: &Value) {
        self.must("", value, "architecture", STRING);
        self.must("", value, "os", STRING);
        self.may("", value, "created", TIME);
        for key in ["author", "variant", "os.version"] {
            self.may("", value, key, STRING);
        }
        self.may("", value, "os.features", STRINGS);
        let layers = self.rootfs(value);
        if let Some(config) = value.get("config").filter(|config| !config.is_null()) {
            self.execution(config);
        }
        self.history(value, layers);
    }

    fn rootfs(&mut self, value: &Value) -> Option<usize> {
        let Some(rootfs) = value.get("rootfs").filter(|rootfs| rootfs.is_object()) else {
            self.add("/rootfs", "is missing");
            return None;
        };
        if rootfs.get("type").and_then(Value::as_str) != Some("layers") {
            self.add("/rootfs/type", "must be \"layers\"");
        }
        let diff_ids = self.must("/rootfs", rootfs, "diff_ids", STRINGS)?.as_array()?;
        for (index, diff_id) in diff_ids.iter().enumerate() {
            if let Some(Err(error)) = diff_id.as_str().map(str::parse::<Digest>) {
                self.add(format!("/rootfs/diff_ids/{index}"), error.to_string());
            }
        }
        Some(diff_ids.len())
    }

    fn execution(&mut self, config: &Value) {
        let at = "/config";
        for key in ["User", "WorkingDir", "StopSignal"] {
            self.may(at, config, key, STRING);
        }
        for key in ["Entrypoint", "Cmd"] {
            self.may(at, config, key, STRINGS);
        }
        self.may(at, config, "Volumes", SET);
        self.may(at, config, "Labels", STRING_MAP);
        let env = self.may(at, config, "Env", STRINGS).and_then(Value::as_array);
        for (index, variable) in env.into_iter().flatten().enumerate() {
            let named = variable.as_str().is_some_and(|text| text.find('=').is_some_and(|at| at > 0));
            if !named {
                self.add(format!("{at}/Env/{index}"), "must be NAME=value");
            }
        }
        let ports = self.may(at, config, "ExposedPorts", SET).and_then(Value::as_object);
        for port in ports.into_iter().flat_map(|ports| ports.keys()) {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            if number.parse::<u16>().is_err() || !["tcp", "udp", "sctp"].contains(&protocol) {
                self.add(format!("{at}/ExposedPorts"), format!("{port:?} must be like 80, 80/tcp or 80/udp"));
            }
        }
    }

    fn history(&mut self, value: &Value, layers: Option<usize>) {
        let Some(history) = value.get("history").filter(|history| !history.is_null()) else { return };
        let Some(steps) = history.as_array() else { return self.add("/history", "must be an array") };
        for (index, step) in steps.iter().enumerate() {
            let at = format!("/history/{index}");
            self.may(&at, step, "created", TIME);
            for key in ["author", "created_by", "comment"] {
                self.may(&at, step, key, STRING);
            }
            self.may(&at, step, "empty_layer", BOOLEAN);
        }
        let with_layer = steps.iter().filter(|step| step["empty_layer"] != true).count();
        if !steps.is_empty() && layers.is_some_and(|layers| layers != with_layer) {
            let layers = layers.unwrap_or_default();
            self.add(
                "/history",
                format!("has {with_layer} steps with a layer, but there are {layers} layers"),
            );
        }
    }
}

fn is_strings(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
}

fn is_uris(value: &Value) -> bool {
    let is_uri = |text: &str| {
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            && text.chars().all(|c| c.is_ascii_graphic())
    };
    value.as_array().is_some_and(|list| list.iter().all(|one| one.as_str().is_some_and(is_uri)))
}

fn is_string_map(value: &Value) -> bool {
    value.as_object().is_some_and(|map| map.values().all(Value::is_string))
}

fn is_set(value: &Value) -> bool {
    let is_empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
    value.as_object().is_some_and(|map| map.values().all(is_empty))
}

/// RFC 3339, section 5.6: `1985-04-12T23:20:50.52Z`.
fn is_time(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let digits = |range: std::ops::Range<usize>| {
        text.get(range).is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let marks = [(4, '-'), (7, '-'), (10, 'T'), (13, ':'), (16, ':')];
    let marked =
        marks.iter().all(|(at, mark)| text.chars().nth(*at).is_some_and(|c| c.eq_ignore_ascii_case(mark)));
    let zone = text.get(19..).map(|rest| rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit()));
    let zoned = zone.is_some_and(|zone| {
        zone.eq_ignore_ascii_case("z")
            || (zone.len() == 6 && zone.starts_with(['+', '-']) && zone.as_bytes()[3] == b':')
    });
    text.is_ascii() && marked && zoned && [0..4, 5..7, 8..10, 11..13, 14..16, 17..19].into_iter().all(digits)
}

/// RFC 4648, section 4.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let bare = text.trim_end_matches('=');
    if text.len() - bare.len() > 2 {
        return None;
    }
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for byte in bare.bytes() {
        let value = ALPHABET.iter().position(|letter| *letter == byte)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(bytes)
}
