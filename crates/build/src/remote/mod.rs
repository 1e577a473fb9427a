// SPDX-License-Identifier: Apache-2.0
//! Sources on other machines, brought into a directory of the build's own: files by http, repositories by `git`. What they
//! turn out to be is told by the digest of what was fetched, never by the address.

mod git;

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use conex_engine::registry::{Client, Settings};
use conex_image::verify::Hasher;
use conex_spec::{Algorithm, Digest};

use crate::{Error, ErrorKind, Result, Wrap as _};

pub use git::Repository;
pub(crate) use git::is_commit;

/// How other machines are reached.
#[derive(Clone, Debug, Default)]
pub struct Remote {
    /// Certificates, proxies, patience; `None`: they are not.
    pub http: Option<Settings>,
    /// The program.
    pub git: Option<PathBuf>,
}

impl Remote {
    /// Fetches a file into `directory`; its name there, which is the address' last one. As root's, for nobody else to read.
    pub fn file(&self, address: &str, checksum: Option<&str>, directory: &Path) -> Result<String> {
        let name = name(address).ok_or_else(|| {
            Error::new(ErrorKind::Usage, format!("{address} does not end in a file's name"))
                .with_hint("write the whole path of a file, and the target without a slash at its end")
        })?;
        let settings =
            self.http.clone().ok_or_else(|| Error::new(ErrorKind::Denied, "nothing is fetched"))?;
        let missing = || Error::new(ErrorKind::NotFound, format!("{address} is not there"));
        let mut body = Client::new(settings).open(address)?.ok_or_else(missing)?;
        let path = directory.join(&name);
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .open(&path)
            .wrap(|| format!("make {}", path.display()))?;
        let (mut hasher, mut buffer) = (Hasher::new(Algorithm::Sha256), vec![0; 128 << 10]);
        loop {
            let len = body.read(&mut buffer).wrap(|| format!("fetch {address}"))?;
            if len == 0 {
                break;
            }
            hasher.update(&buffer[..len]);
            file.write_all(&buffer[..len]).wrap(|| format!("write {}", path.display()))?;
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).wrap(|| path.display().to_string())?;
        match checksum {
            Some(wanted) => check(address, wanted, &hasher.finish()).map(|()| name),
            None => Ok(name),
        }
    }
}

fn check(address: &str, wanted: &str, found: &Digest) -> Result<()> {
    let wanted: Digest = wanted.parse().map_err(|_| {
        Error::new(ErrorKind::Usage, format!("--checksum={wanted} is no digest")).with_hint("write sha256:…")
    })?;
    match wanted == *found {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Invalid, format!("{address}: it is {found}, not {wanted}"))),
    }
}

/// The last part of an address' path.
fn name(address: &str) -> Option<String> {
    let path = address.split(['?', '#']).next()?.split_once("://")?.1.split_once('/')?.1;
    let name = path.rsplit('/').next()?;
    (!matches!(name, "" | "." | "..")).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn files_have_the_last_name_of_their_address() {
        assert_eq!(name("https://h/a/b.tar?x=/y#z").as_deref(), Some("b.tar"));
        for address in ["https://h", "https://h/", "https://h/a/", "https://h/..", "h/a"] {
            assert_eq!(name(address), None, "{address}");
        }
    }
}
