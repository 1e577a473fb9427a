// SPDX-License-Identifier: Apache-2.0
//! `config`: what the image to be says. Pure.

use std::collections::BTreeMap;

use conex_spec::image::History;
use serde_json::{Value, json};

use super::Record;
use crate::{Error, ErrorKind, Result};

/// One thing to set. Lists and maps take `KEY-` to remove one, and `-` to remove all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `NAME=value`
    Env(String),
    /// `KEY=value`
    Label(String),
    /// `KEY=value`, of the manifest.
    Annotation(String),
    /// `80`, `53/udp`
    Port(String),
    /// A path in the container.
    Volume(String),
    /// Words.
    Cmd(Vec<String>),
    /// Words.
    Entrypoint(Vec<String>),
    /// Words.
    Shell(Vec<String>),
    /// Instructions for those who build on it.
    OnBuild(String),
    /// `user[:group]`
    User(String),
    /// A path in the container.
    WorkingDir(String),
    /// `SIGTERM`, `15`
    StopSignal(String),
    /// `CMD …`, `CMD-SHELL …`, `NONE`; a field of it otherwise.
    Healthcheck(Healthcheck),
    /// Who made it.
    Author(String),
    /// `amd64`
    Architecture(String),
    /// `linux`
    Os(String),
    /// `v8`
    Variant(String),
    /// The version of the operating system.
    OsVersion(String),
    /// A feature of the operating system.
    OsFeature(String),
    /// What the history says of the next commit.
    CreatedBy(String),
    /// And why.
    Comment(String),
    /// In `run` only.
    Hostname(String),
}

/// A part of Docker's `Healthcheck`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healthcheck {
    /// The program, as Docker's `Test` has it.
    Test(Vec<String>),
    /// A time in nanoseconds: `Interval`, `Timeout`, `StartPeriod`.
    Time(&'static str, u64),
    /// `Retries`
    Retries(u64),
}

/// Sets all of them, in order. With `add_history` each is a step of its own in the history.
pub fn configure(record: &mut Record, settings: &[Setting], add_history: Option<&str>) -> Result<()> {
    for setting in settings {
        apply(record, setting)?;
        if let (Some(created), Some(words)) = (add_history, instruction(setting)) {
            record.steps.push(History {
                created: Some(created.to_owned()),
                created_by: Some(format!("/bin/sh -c #(nop) {words}")),
                empty_layer: true,
                ..History::default()
            });
        }
    }
    Ok(())
}

fn apply(record: &mut Record, setting: &Setting) -> Result<()> {
    let config = &mut record.config;
    let wish = &mut config.config;
    match setting {
        Setting::Env(text) => set_env(&mut wish.env, text)?,
        Setting::Label(text) => set_pair(&mut wish.labels, text),
        Setting::Annotation(text) => set_pair(&mut record.annotations, text),
        Setting::Port(text) => set_key(&mut wish.exposed_ports, text),
        Setting::Volume(text) => set_key(&mut wish.volumes, text),
        Setting::Cmd(words) => wish.cmd.clone_from(words),
        Setting::Entrypoint(words) => wish.entrypoint.clone_from(words),
        Setting::Shell(words) => set_other(&mut wish.other, "Shell", json!(words)),
        Setting::OnBuild(text) => on_build(&mut wish.other, text),
        Setting::User(text) => wish.user.clone_from(text),
        Setting::WorkingDir(text) => wish.working_dir.clone_from(text),
        Setting::StopSignal(text) => wish.stop_signal.clone_from(text),
        Setting::Healthcheck(part) => check_health(&mut wish.other, part),
        Setting::Author(text) => config.author = Some(text.clone()),
        Setting::Architecture(text) => config.architecture.clone_from(text),
        Setting::Os(text) => config.os.clone_from(text),
        Setting::Variant(text) => config.variant = Some(text.clone()),
        Setting::OsVersion(text) => config.os_version = Some(text.clone()),
        Setting::OsFeature(text) => config.os_features.push(text.clone()),
        Setting::CreatedBy(text) => record.created_by = Some(text.clone()),
        Setting::Comment(text) => record.comment = Some(text.clone()),
        Setting::Hostname(text) => record.hostname = Some(text.clone()),
    }
    Ok(())
}

fn set_env(env: &mut Vec<String>, text: &str) -> Result<()> {
    let name_of = |line: &str| line.split_once('=').map_or(line, |(name, _)| name).to_owned();
    if text == "-" {
        env.clear();
        return Ok(());
    }
    let Some((name, _)) = text.split_once('=') else {
        let Some(name) = text.strip_suffix('-') else {
            let message =
                format!("--env {text:?}: write NAME=value, NAME- to remove one, or - to remove all");
            return Err(Error::new(ErrorKind::Usage, message));
        };
        env.retain(|line| name_of(line) != name);
        return Ok(());
    };
    match env.iter_mut().find(|line| name_of(line) == name) {
        Some(line) => text.clone_into(line),
        None => env.push(text.to_owned()),
    }
    Ok(())
}

fn set_pair(map: &mut BTreeMap<String, String>, text: &str) {
    match (text, text.split_once('='), text.strip_suffix('-')) {
        ("-", _, _) => map.clear(),
        (_, Some((key, value)), _) => drop(map.insert(key.to_owned(), value.to_owned())),
        (_, None, Some(key)) => drop(map.remove(key)),
        (key, None, None) => drop(map.insert(key.to_owned(), String::new())),
    }
}

fn set_key(map: &mut BTreeMap<String, Value>, text: &str) {
    match (text, text.strip_suffix('-')) {
        ("-", _) => map.clear(),
        (_, Some(key)) => drop(map.remove(key)),
        (key, None) => drop(map.insert(key.to_owned(), json!({}))),
    }
}

fn set_other(other: &mut BTreeMap<String, Value>, key: &str, value: Value) {
    other.insert(key.to_owned(), value);
}

fn on_build(other: &mut BTreeMap<String, Value>, text: &str) {
    if text == "-" {
        other.remove("OnBuild");
    } else if let Value::Array(list) = other.entry("OnBuild".to_owned()).or_insert_with(|| json!([])) {
        list.push(json!(text));
    }
}

fn check_health(other: &mut BTreeMap<String, Value>, part: &Healthcheck) {
    let check = other.entry("Healthcheck".to_owned()).or_insert_with(|| json!({}));
    match part {
        Healthcheck::Test(words) => check["Test"] = json!(words),
        Healthcheck::Time(field, nanoseconds) => check[*field] = json!(nanoseconds),
        Healthcheck::Retries(number) => check["Retries"] = json!(number),
    }
}

/// As the history of an image that was built from a file would have it.
fn instruction(setting: &Setting) -> Option<String> {
    let list = |words: &[String]| serde_json::to_string(words).unwrap_or_default();
    Some(match setting {
        Setting::Env(text) => format!("ENV {text}"),
        Setting::Label(text) => format!("LABEL {text}"),
        Setting::Port(text) => format!("EXPOSE {text}"),
        Setting::Volume(text) => format!("VOLUME {text}"),
        Setting::Cmd(words) => format!("CMD {}", list(words)),
        Setting::Entrypoint(words) => format!("ENTRYPOINT {}", list(words)),
        Setting::Shell(words) => format!("SHELL {}", list(words)),
        Setting::OnBuild(text) => format!("ONBUILD {text}"),
        Setting::User(text) => format!("USER {text}"),
        Setting::WorkingDir(text) => format!("WORKDIR {text}"),
        Setting::StopSignal(text) => format!("STOPSIGNAL {text}"),
        Setting::Author(text) => format!("MAINTAINER {text}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_removes_one_or_all() {
        let mut env = vec!["A=1".to_owned(), "B=2".to_owned()];
        for text in ["A=3", "C==", "B-"] {
            set_env(&mut env, text).unwrap();
        }
        assert_eq!(env, ["A=3", "C=="]);
        assert!(set_env(&mut env, "nonsense").is_err());
        set_env(&mut env, "-").unwrap();
        assert!(env.is_empty());
        let mut labels = BTreeMap::new();
        for text in ["a=b", "c", "d=-", "c-"] {
            set_pair(&mut labels, text);
        }
        assert_eq!(labels, [("a", "b"), ("d", "-")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        let mut ports = BTreeMap::new();
        for text in ["80", "53/udp", "80-"] {
            set_key(&mut ports, text);
        }
        assert_eq!(ports.keys().collect::<Vec<_>>(), ["53/udp"]);
    }
}
