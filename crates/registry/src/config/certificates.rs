// SPDX-License-Identifier: Apache-2.0
//! containers-certs.d(5): authorities and client certificates of one host.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// The files that matter for one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostCertificates {
    /// `*.crt`: authorities, in addition to the system's.
    pub authorities: Vec<PathBuf>,
    /// `x.cert` with its `x.key`.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl HostCertificates {
    /// Looks for `host` in `certs_dirs` (`…/certs.d/<host[:port]>/`): the first that has a directory for it counts, and no
    /// other, so that a person's own takes the place of the system's.
    pub fn of_host(certs_dirs: &[PathBuf], host: &str) -> Result<Self> {
        let mut found = Self::default();
        let directories = certs_dirs.iter().map(|directory| directory.join(host));
        if let Some(directory) = directories.into_iter().find(|directory| directory.is_dir()) {
            found.add_directory(&directory)?;
        }
        Ok(found)
    }

    /// Adds what one directory holds; a missing one holds nothing.
    pub fn add_directory(&mut self, directory: &Path) -> Result<()> {
        let fail = |what: String| Error::new(ErrorKind::Usage, format!("{}: {what}", directory.display()));
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(fail(error.to_string())),
        };
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(|error| fail(error.to_string()))?.path());
        }
        paths.sort();
        for path in &paths {
            // A half of a pair is a mistake, not a wish to go without.
            let other_half = |extension: &str| {
                let other = path.with_extension(extension);
                match paths.contains(&other) {
                    true => Ok(other),
                    false => Err(fail(format!(
                        "{} without {}",
                        path.file_name().unwrap_or_default().to_string_lossy(),
                        other.file_name().unwrap_or_default().to_string_lossy()
                    ))
                    .with_hint("a client certificate is a pair x.cert and x.key; authorities end in .crt")),
                }
            };
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => self.authorities.push(path.clone()),
                Some("cert") => self.client = Some((path.clone(), other_half("key")?)),
                Some("key") => drop(other_half("cert")?),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_its_port_has_its_own_directory() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("reg.example:5000");
        fs::create_dir(&directory).unwrap();
        for name in ["b.crt", "a.crt", "me.cert", "me.key", "notes.txt"] {
            fs::write(directory.join(name), "").unwrap();
        }
        let found = HostCertificates::of_host(&[root.path().to_owned()], "reg.example:5000").unwrap();
        assert_eq!(found.authorities, [directory.join("a.crt"), directory.join("b.crt")]);
        assert_eq!(found.client, Some((directory.join("me.cert"), directory.join("me.key"))));
        let other = HostCertificates::of_host(&[root.path().to_owned()], "reg.example").unwrap();
        assert_eq!(other, HostCertificates::default());

        // The person's own directory takes the place of the system's.
        let own = tempfile::tempdir().unwrap();
        let places = [own.path().to_owned(), root.path().to_owned()];
        assert_eq!(HostCertificates::of_host(&places, "reg.example:5000").unwrap(), found);
        fs::create_dir(own.path().join("reg.example:5000")).unwrap();
        assert_eq!(
            HostCertificates::of_host(&places, "reg.example:5000").unwrap(),
            HostCertificates::default()
        );

        // Half of a pair is an error that names the other half.
        for (half, other) in [("me.cert", "me.key"), ("me.key", "me.cert")] {
            fs::remove_file(directory.join(other)).unwrap();
            let error = HostCertificates::of_host(&[root.path().to_owned()], "reg.example:5000").unwrap_err();
            assert!(error.to_string().contains(&format!("{half} without {other}")), "{error}");
            fs::write(directory.join(other), "").unwrap();
        }
    }
}
