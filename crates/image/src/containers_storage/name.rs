// SPDX-License-Identifier: Apache-2.0
//! What stands behind `containers-storage:` (containers-transports(5)): `[[driver@]graphroot[+runroot][:options]]image`.

use std::path::PathBuf;

use crate::{Error, ErrorKind, Result};

/// An image in a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageName {
    /// The storage, where it is not the usual one.
    pub graph_root: Option<PathBuf>,
    /// A name, `name@digest`, `name@id`, `@id` or the beginning of an id.
    pub image: String,
}

impl StorageName {
    /// Reads one. The run root and the options steer mounts, of which none is made.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            let message = format!("containers-storage:{text}: {why}");
            Error::new(ErrorKind::Usage, message).with_hint(
                "write containers-storage:[overlay@GRAPHROOT+RUNROOT]NAME; the part in [] may be left out",
            )
        };
        let (graph_root, image) = match text.strip_prefix('[') {
            None => (None, text),
            Some(rest) => {
                let (place, image) = rest.split_once(']').ok_or_else(|| wrong("there is no ]"))?;
                let (driver, roots) = match place.split_once('@') {
                    Some((driver, roots)) => (Some(driver), roots),
                    None => (None, place),
                };
                if driver.is_some_and(|driver| !matches!(driver, "overlay" | "overlay2")) {
                    return Err(wrong("there is only the driver overlay"));
                }
                let graph_root = roots.split(['+', ':']).next().unwrap_or_default();
                if !graph_root.starts_with('/') {
                    return Err(wrong("the graph root is no absolute path"));
                }
                (Some(graph_root.into()), image)
            }
        };
        if image.is_empty() {
            return Err(wrong("there is no name of an image"));
        }
        Ok(Self { graph_root, image: image.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_a_place() {
        let parse = |text| StorageName::parse(text).map(|name| (name.graph_root, name.image));
        let place = || Some(PathBuf::from("/g"));
        assert_eq!(parse("alpine").unwrap(), (None, "alpine".into()));
        assert_eq!(parse("[/g]alpine:3").unwrap(), (place(), "alpine:3".into()));
        assert_eq!(parse("[overlay@/g+/r]@abc").unwrap(), (place(), "@abc".into()));
        assert_eq!(parse("[overlay@/g+/r:overlay.x=y]a@sha256:0").unwrap(), (place(), "a@sha256:0".into()));
        for wrong in ["", "[overlay@/g", "[overlay@/g]", "[vfs@/g]a", "[overlay@g]a", "[]a"] {
            assert_eq!(parse(wrong).unwrap_err().kind(), ErrorKind::Usage, "{wrong}");
        }
    }
}
