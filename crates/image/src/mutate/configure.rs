// SPDX-License-Identifier: Apache-2.0
//! What of an image's configuration and annotations is wanted otherwise. Pure.

use std::str::FromStr;

use conex_spec::Timestamp;
use serde_json::Value;

use super::Draft;
use crate::{Error, ErrorKind, Result};

/// What to clear before anything is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clear {
    /// `config.labels`
    Labels,
    /// `manifest.annotations`
    Annotations,
    /// `config.exposedports`
    ExposedPorts,
    /// `config.env`
    Env,
    /// `config.volume`
    Volumes,
    /// `config.cmd`
    Cmd,
    /// `config.entrypoint`
    Entrypoint,
}

impl FromStr for Clear {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "config.labels" | "config.label" => Self::Labels,
            "manifest.annotations" | "manifest.annotation" => Self::Annotations,
            "config.exposedports" => Self::ExposedPorts,
            "config.env" => Self::Env,
            "config.volume" | "config.volumes" => Self::Volumes,
            "config.cmd" => Self::Cmd,
            "config.entrypoint" => Self::Entrypoint,
            "rootfs.diffids" => {
                let message = "--clear=rootfs.diffids is not safe: the layers would not belong to the image";
                return Err(Error::new(ErrorKind::Usage, message));
            }
            _ => {
                let message = format!("unknown key to --clear: {text}");
                let known = "there are config.labels, config.exposedports, config.env, config.volume, config.cmd, \
                             config.entrypoint and manifest.annotations";
                return Err(Error::new(ErrorKind::Usage, message).with_hint(known));
            }
        })
    }
}

/// All that is wanted otherwise; what is `None` or empty stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Done first.
    pub clear: Vec<Clear>,
    /// `User`
    pub user: Option<String>,
    /// Added to `ExposedPorts`: `80`, `53/udp`.
    pub exposed_ports: Vec<String>,
    /// Set in `Env`: name and value.
    pub env: Vec<(String, String)>,
    /// In place of `Entrypoint`.
    pub entrypoint: Option<Vec<String>>,
    /// In place of `Cmd`.
    pub cmd: Option<Vec<String>>,
    /// Added to `Volumes`.
    pub volumes: Vec<String>,
    /// Set in `Labels`.
    pub labels: Vec<(String, String)>,
    /// `WorkingDir`
    pub working_dir: Option<String>,
    /// `StopSignal`
    pub stop_signal: Option<String>,
    /// `created`
    pub created: Option<Timestamp>,
    /// `author`
    pub author: Option<String>,
    /// `architecture`
    pub architecture: Option<String>,
    /// `os`
    pub os: Option<String>,
    /// `variant`
    pub variant: Option<String>,
    /// Set in the manifest's annotations.
    pub annotations: Vec<(String, String)>,
}

impl Changes {
    /// Carries them out.
    pub fn apply(&self, draft: &mut Draft) {
        for key in &self.clear {
            clear(*key, draft);
        }
        let config = &mut draft.config;
        set_option(&mut config.created, self.created.map(|time| time.to_string()).as_ref());
        set_option(&mut config.author, self.author.as_ref());
        set_option(&mut config.variant, self.variant.as_ref());
        set(&mut config.architecture, self.architecture.as_ref());
        set(&mut config.os, self.os.as_ref());
        let wish = &mut config.config;
        set(&mut wish.user, self.user.as_ref());
        set(&mut wish.working_dir, self.working_dir.as_ref());
        set(&mut wish.stop_signal, self.stop_signal.as_ref());
        set(&mut wish.entrypoint, self.entrypoint.as_ref());
        set(&mut wish.cmd, self.cmd.as_ref());
        for (keys, set) in
            [(&self.exposed_ports, &mut wish.exposed_ports), (&self.volumes, &mut wish.volumes)]
        {
            set.extend(keys.iter().map(|key| (key.clone(), Value::Object(serde_json::Map::new()))));
        }
        wish.labels.extend(self.labels.iter().cloned());
        for (name, value) in &self.env {
            set_variable(&mut wish.env, name, value);
        }
        draft.manifest.annotations.extend(self.annotations.iter().cloned());
    }
}

fn clear(key: Clear, draft: &mut Draft) {
    let wish = &mut draft.config.config;
    match key {
        Clear::Labels => wish.labels.clear(),
        Clear::Annotations => draft.manifest.annotations.clear(),
        Clear::ExposedPorts => wish.exposed_ports.clear(),
        Clear::Env => wish.env.clear(),
        Clear::Volumes => wish.volumes.clear(),
        Clear::Cmd => wish.cmd.clear(),
        Clear::Entrypoint => wish.entrypoint.clear(),
    }
}

fn set<T: Clone>(field: &mut T, wanted: Option<&T>) {
    if let Some(wanted) = wanted {
        field.clone_from(wanted);
    }
}

fn set_option<T: Clone>(field: &mut Option<T>, wanted: Option<&T>) {
    if wanted.is_some() {
        *field = wanted.cloned();
    }
}

/// A variable that is there keeps its place.
fn set_variable(env: &mut Vec<String>, name: &str, value: &str) {
    let line = format!("{name}={value}");
    let same = |old: &&mut String| old.split_once('=').map_or(old.as_str(), |(name, _)| name) == name;
    match env.iter_mut().find(same) {
        Some(old) => *old = line,
        None => env.push(line),
    }
}

#[cfg(test)]
mod tests {
    use conex_spec::image::Platform;

    use super::*;

    #[test]
    fn what_is_cleared_is_cleared_before_anything_is_set() {
        let mut draft = Draft::new(&Platform::host(), "2020-01-01T00:00:00Z".parse().unwrap());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let first = Changes {
            env: vec![pair("A", "1"), pair("B", "2"), pair("A", "3")],
            labels: vec![pair("x", "y")],
            exposed_ports: vec!["80".to_owned()],
            cmd: Some(vec!["sh".to_owned()]),
            user: Some("daemon".to_owned()),
            annotations: vec![pair("n", "1")],
            ..Changes::default()
        };
        first.apply(&mut draft);
        assert_eq!(draft.config.config.env, ["A=3", "B=2"]);
        let second = Changes {
            clear: vec!["config.env".parse().unwrap(), "config.labels".parse().unwrap(), Clear::Annotations],
            env: vec![pair("C", "=")],
            os: Some("plan9".to_owned()),
            ..Changes::default()
        };
        second.apply(&mut draft);
        let wish = &draft.config.config;
        assert_eq!(
            (&wish.env[..], wish.labels.len(), &wish.user[..]),
            (&["C==".to_owned()][..], 0, "daemon")
        );
        assert_eq!((draft.config.os.as_str(), draft.manifest.annotations.len()), ("plan9", 0));
        assert!(wish.exposed_ports.contains_key("80") && wish.cmd == ["sh"]);
    }

    #[test]
    fn what_is_not_safe_to_clear_is_refused() {
        for key in ["rootfs.diffids", "config", ""] {
            assert_eq!(key.parse::<Clear>().unwrap_err().kind(), ErrorKind::Usage, "{key}");
        }
    }
}
