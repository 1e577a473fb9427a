// SPDX-License-Identifier: Apache-2.0
//! What is needed though no name leads to it: layers and manifests that a working container or a cache holds on to.
//!
//! ```text
//!  pins/<owner>       a digest in each line: manifests, and layers by their diff_id
//! ```
//! A pin is written before what it keeps is needed, and removed by its owner afterwards. One that is left over costs disk.

use conex_spec::Digest;
use conex_sys::Errno;

use super::Store;
use crate::layout::files::{self, Existing};
use crate::{Error, ErrorKind, Result, Wrap, manifest};

const PINS: &str = "pins";

impl Store {
    /// Keeps `digests` from gc, in place of what this owner kept before.
    pub fn pin(&self, owner: &str, digests: &[Digest]) -> Result<()> {
        if owner.is_empty() || owner.starts_with('.') || owner.contains('/') {
            return Err(Error::new(ErrorKind::Usage, format!("{owner:?} cannot be the name of a pin")));
        }
        let lines: String = digests.iter().map(|digest| format!("{digest}\n")).collect();
        let dir = files::subdirectory(&self.root, PINS, 0o700)?;
        files::write(&dir, owner, lines.as_bytes(), 0o600, Existing::Replace).wrap(|| format!("pin {owner}"))
    }

    /// Gives free what this owner kept. It is no error if that is nothing.
    pub fn unpin(&self, owner: &str) -> Result<()> {
        let dir = files::subdirectory(&self.root, PINS, 0o700)?;
        match dir.remove_file(owner) {
            Err(error) if error.errno() != Errno::NOENT => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Who keeps something.
    pub fn pin_owners(&self) -> Result<Vec<String>> {
        let names = match self.root.open_dir(PINS) {
            Err(error) if error.errno() == Errno::NOENT => return Ok(Vec::new()),
            dir => dir?.entries()?,
        };
        let names = names.into_iter().filter_map(|entry| entry.name.into_string().ok());
        Ok(names.filter(|name| !name.starts_with(files::TEMPORARY)).collect())
    }

    /// All that anybody keeps.
    pub(crate) fn pinned(&self) -> Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for owner in self.pin_owners()? {
            let file = match self.root.open_dir(PINS)?.open_file(&owner) {
                Err(error) if error.errno() == Errno::NOENT => continue,
                file => file?,
            };
            let bytes = files::read(&file, manifest::MAX_MANIFEST).wrap(|| format!("pin {owner}"))?;
            for line in String::from_utf8_lossy(&bytes).lines() {
                digests.push(line.parse().map_err(Error::from).wrap(|| format!("pin {owner}"))?);
            }
        }
        Ok(digests)
    }
}
