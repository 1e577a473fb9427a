// SPDX-License-Identifier: Apache-2.0
//! Which unit a container becomes: `cgroupsPath` is `slice:prefix:name` then, and the unit is `prefix-name.scope`.
//! Where its cgroup is follows from the names: `a-b.slice` lies in `a.slice` (systemd.slice(5)). Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Property, annotation};
use crate::dbus::Address;

/// A transient scope to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// `docker-abc.scope`
    pub name: String,
    /// `system.slice`
    pub slice: String,
    /// Of a user's own systemd, not the machine's.
    pub of_user: bool,
    /// Where systemd may be reached, in the order to try.
    pub managers: Vec<Address>,
    /// From annotations; they have the last word.
    pub properties: Vec<Property>,
}

/// Annotations that set properties of the unit.
const PREFIX: &str = "org.systemd.property.";

impl Unit {
    /// An empty path stands for `runc-<id>.scope` in the default slice. The error is what the caller shall read.
    pub fn new(
        cgroups_path: &str,
        id: &str,
        of_user: bool,
        annotations: &BTreeMap<String, String>,
        managers: &[Address],
    ) -> Result<Self, String> {
        let parts: Vec<_> = cgroups_path.split(':').collect();
        let (slice, prefix, name) = match parts[..] {
            [""] => ("", "runc", id),
            [slice, prefix, name] => (slice, prefix, name),
            _ => {
                return Err(format!(
                    "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {cgroups_path:?} instead"
                ));
            }
        };
        if name.ends_with(".slice") {
            return Err(format!(
                "cgroupsPath {cgroups_path:?}: a container is a scope, and no slice: leave .slice off its name"
            ));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        let name = format!("{prefix}-{name}.scope");
        if name.len() > 255 || !name.chars().all(allowed) {
            return Err(format!("cgroupsPath {cgroups_path:?}: {name:?} is not a unit's name"));
        }
        let default_slice = if of_user { "user.slice" } else { "system.slice" };
        let slice = if slice.is_empty() { default_slice } else { slice };
        slice_path(slice)?;
        let asked = annotations.iter().filter_map(|(key, text)| Some((key.strip_prefix(PREFIX)?, text)));
        let properties = asked.map(|(key, text)| {
            annotation::property(key, text)
                .map_err(|error| format!("annotation {PREFIX}{key}={text}: {error}"))
        });
        Ok(Self {
            name,
            slice: slice.into(),
            of_user,
            managers: managers.to_vec(),
            properties: properties.collect::<Result<_, _>>()?,
        })
    }

    /// Where its cgroup is below that of the manager.
    pub fn path(&self) -> String {
        let slice = slice_path(&self.slice).expect("checked when it was made");
        format!("{slice}/{}", self.name)
    }
}

/// `a-b.slice` is `/a.slice/a-b.slice`; the root slice `-.slice` is nowhere below.
fn slice_path(slice: &str) -> Result<String, String> {
    let wrong = || format!("invalid slice name: {slice}");
    let name = slice.strip_suffix(".slice").filter(|name| !name.is_empty()).ok_or_else(wrong)?;
    if name == "-" {
        return Ok(String::new());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if slice.len() > 255 || !name.chars().all(allowed) || name.split('-').any(str::is_empty) {
        return Err(wrong());
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    Ok(ends.map(|end| format!("/{}.slice", &name[..end])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(path: &str) -> Result<Unit, String> {
        Unit::new(path, "web", false, &BTreeMap::new(), &[])
    }

    #[test]
    fn a_path_names_a_scope() {
        for (path, name, place) in [
            ("", "runc-web.scope", "/system.slice/runc-web.scope"),
            ("system.slice:docker:1234", "docker-1234.scope", "/system.slice/docker-1234.scope"),
            (":cri:a", "cri-a.scope", "/system.slice/cri-a.scope"),
            ("-.slice:p:a", "p-a.scope", "/p-a.scope"),
            (
                "kubepods-burst-pod_1.slice:cri-containerd:f",
                "cri-containerd-f.scope",
                "/kubepods.slice/kubepods-burst.slice/kubepods-burst-pod_1.slice/cri-containerd-f.scope",
            ),
        ] {
            let unit = unit(path).unwrap();
            assert_eq!((unit.name.as_str(), unit.path().as_str()), (name, place));
        }
    }

    #[test]
    fn other_paths_are_refused() {
        for path in
            ["/web", "a.slice", "a:b", "a:b:c:d", "a.slice:p:b.slice", "a.slice:p:../x", "a.slice:p:a b"]
        {
            unit(path).unwrap_err();
        }
        for slice in ["a", ".slice", "a/b.slice", "a--b.slice", "-a.slice", "a-.slice", "..", "a b.slice"] {
            let refused = unit(&format!("{slice}:p:n")).unwrap_err();
            assert_eq!(refused, format!("invalid slice name: {slice}"));
        }
    }

    #[test]
    fn annotations_become_properties_or_errors_that_name_them() {
        let annotated = |key: &str, text: &str| {
            let annotations = [(key.to_owned(), text.to_owned()), ("other".into(), "x".into())].into();
            Unit::new("", "web", true, &annotations, &[])
        };
        let unit = annotated("org.systemd.property.CollectMode", "'inactive-or-failed'").unwrap();
        assert_eq!(unit.slice, "user.slice");
        let expected = crate::dbus::Value::text("inactive-or-failed");
        assert_eq!(unit.properties, [Property::new("CollectMode", expected)]);
        let error = annotated("org.systemd.property.CollectMode", "inactive").unwrap_err();
        assert_eq!(
            error,
            "annotation org.systemd.property.CollectMode=inactive: \"inactive\" is neither a value nor a type"
        );
    }
}
