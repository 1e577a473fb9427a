// SPDX-License-Identifier: Apache-2.0
//! `-v SOURCE:TARGET[:OPTIONS]`: a directory or file of the host, or a named volume of the store, in a container.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use conex_spec::runtime::Mount;

use crate::{Engine, Error, ErrorKind, Result, Wrap as _, name};

/// What is put where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// What.
    pub source: Source,
    /// Absolute, in the container.
    pub target: String,
    /// Mount options: `ro`, `nosuid`, `rslave`, …
    pub options: Vec<String>,
}

/// Where a volume's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path of the host.
    Host(PathBuf),
    /// `<store>/volumes/<name>/_data`, made at first use.
    Named(String),
}

const OPTIONS: [&str; 20] = [
    "ro", "rw", "bind", "rbind", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "private", "rprivate",
    "slave", "rslave", "shared", "rshared", "z", "Z", "noatime", "nocopy",
];

/// Reads the argument of `-v`. A source with a slash, or `.` and `..`, is a path, relative to `cwd`; any other a name.
pub fn parse(text: &str, cwd: &Path) -> Result<Volume> {
    let wrong = |what: &str| {
        Error::new(ErrorKind::Usage, format!("volume {text:?}: {what}"))
            .with_hint("write -v /path/on/host:/path/in/container[:ro], or -v NAME:/path/in/container")
    };
    let mut parts = text.splitn(3, ':');
    let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
        return Err(wrong("has no colon between source and target"));
    };
    if source.is_empty() {
        return Err(wrong("the source is empty"));
    }
    if !target.starts_with('/') || target == "/" || target.contains('\0') {
        return Err(wrong("the target must be an absolute path, and not / itself"));
    }
    let options: Vec<String> =
        parts.next().unwrap_or_default().split(',').filter(|o| !o.is_empty()).map(str::to_owned).collect();
    if let Some(unknown) = options.iter().find(|option| !OPTIONS.contains(&option.as_str())) {
        return Err(wrong(&format!("option {unknown:?} is not known; there are {}", OPTIONS.join(" "))));
    }
    let is_path = source.contains('/') || source == "." || source == "..";
    let source = match is_path {
        true => Source::Host(cwd.join(source)),
        false => name::check(source)
            .map(|()| Source::Named(source.to_owned()))
            .map_err(|error| wrong(&error.to_string()))?,
    };
    Ok(Volume { source, target: target.to_owned(), options })
}

impl Volume {
    /// The mount for the runtime. Makes a named volume's directory; a path of the host must be there.
    pub(crate) fn mount(&self, engine: &Engine) -> Result<Mount> {
        let source = match &self.source {
            Source::Host(path) => existing(path)?,
            Source::Named(name) => made(&engine.settings.root.join("volumes").join(name))?,
        };
        let has = |option: &str| self.options.iter().any(|o| o == option);
        // Labels are SELinux's; the copy into a new volume is not made anyway.
        let mut options: Vec<String> =
            self.options.iter().filter(|o| !["z", "Z", "nocopy"].contains(&o.as_str())).cloned().collect();
        if !has("bind") && !has("rbind") {
            options.push("rbind".to_owned());
        }
        if !["private", "rprivate", "slave", "rslave", "shared", "rshared"].iter().any(|o| has(o)) {
            options.push("rprivate".to_owned());
        }
        let source = source.into_os_string().into_string().map_err(|path| {
            Error::new(ErrorKind::Usage, format!("volume {}: the path is not UTF-8", path.display()))
        })?;
        Ok(Mount {
            destination: self.target.clone(),
            kind: "bind".to_owned(),
            source,
            options,
            ..Mount::default()
        })
    }
}

fn existing(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let error = Error::from(error).wrap(format!("volume {}", path.display()));
        if missing { error.with_hint(format!("make it first: mkdir -p {}", path.display())) } else { error }
    })
}

fn made(volume: &Path) -> Result<PathBuf> {
    let data = volume.join("_data");
    let make = |path: &Path, mode| DirBuilder::new().recursive(true).mode(mode).create(path);
    make(volume, 0o700)
        .and_then(|()| make(&data, 0o755))
        .wrap(|| format!("make volume {}", volume.display()))?;
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Volume> {
        parse(text, Path::new("/here"))
    }

    #[test]
    fn paths_and_names_are_told_apart() {
        assert_eq!(parsed("/tmp:/data").unwrap().source, Source::Host("/tmp".into()));
        assert_eq!(parsed("./x:/data").unwrap().source, Source::Host("/here/./x".into()));
        assert_eq!(parsed("cache:/data:ro,nosuid").unwrap().source, Source::Named("cache".into()));
        assert_eq!(parsed("cache:/data:ro,nosuid").unwrap().options, ["ro", "nosuid"]);
    }

    #[test]
    fn mistakes_are_told() {
        for text in ["/tmp", ":/x", "/tmp:data", "/tmp:/", "/tmp:/x:sideways", "-x:/y", "..:x", ""] {
            assert_eq!(parsed(text).unwrap_err().kind(), ErrorKind::Usage, "{text:?}");
        }
    }
}
