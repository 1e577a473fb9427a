// SPDX-License-Identifier: Apache-2.0
//! Where blobs were seen: in which repositories of which host, so that a push can mount what it would otherwise send.
//!
//! ```text
//!  <directory>/3f    sha256:3f…  registry.example/team/app        the newest first, at most 64 lines
//!                    sha256:3f…  docker.io/library/alpine
//! ```
//! A memory, not a truth: registries forget blobs, rights change, and a wrong line costs one request. So a file is
//! written in place, under a lock that nobody waits for; torn, it has fewer lines that can be read. A file holds what
//! begins with the same two digits, and its oldest lines fall off: 256 files are all there will ever be.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use conex_spec::Digest;
use conex_spec::distribution::reference::check_name;

/// Lines of one file.
const LINES: usize = 64;
/// No file that this module wrote is longer.
const BYTES: u64 = 64 << 10;

/// The memory in a directory, or none.
#[derive(Clone, Debug)]
pub(crate) struct Sightings {
    directory: Option<PathBuf>,
}

impl Sightings {
    pub(crate) fn new(directory: Option<&Path>) -> Self {
        Self { directory: directory.map(Path::to_owned) }
    }

    /// The repository of `host`, but for `except`, where the blob was seen last.
    pub(crate) fn last(&self, blob: &Digest, host: &str, except: &str) -> Option<String> {
        let text = read(&File::open(self.file(blob)?).ok()?)?;
        let mut names = text.lines().filter_map(|line| line.strip_prefix(blob.as_str())?.strip_prefix(' '));
        names.find_map(|place| {
            let name = place.strip_prefix(host)?.strip_prefix('/')?;
            (name != except && check_name(name).is_ok()).then(|| name.to_owned())
        })
    }

    /// The blob is there.
    pub(crate) fn note(&self, blob: &Digest, host: &str, name: &str) {
        let line = format!("{blob} {host}/{name}");
        self.change(blob, |lines| {
            if !lines.contains(&line) {
                lines.insert(0, line);
            }
        });
    }

    /// The blob is not there.
    pub(crate) fn forget(&self, blob: &Digest, host: &str, name: &str) {
        let line = format!("{blob} {host}/{name}");
        self.change(blob, |lines| lines.retain(|known| *known != line));
    }

    fn file(&self, blob: &Digest) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join(&blob.hex()[..2]))
    }

    /// Changes the lines. What cannot be written is not remembered.
    fn change(&self, blob: &Digest, edit: impl FnOnce(&mut Vec<String>)) {
        let Some(path) = self.file(blob) else { return };
        let _forgotten = (|| -> Option<()> {
            let mut file = open(&path)?;
            file.try_lock().ok()?;
            let before = read(&file)?;
            let mut lines: Vec<String> = before.lines().map(str::to_owned).collect();
            edit(&mut lines);
            lines.truncate(LINES);
            let after: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
            if after == before {
                return None;
            }
            file.rewind().ok()?;
            file.write_all(after.as_bytes()).ok()?;
            file.set_len(after.len() as u64).ok()
        })();
    }
}

/// The file, made with its directory where it is missing.
fn open(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).ok().or_else(|| {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path.parent()?).ok()?;
        options.open(path).ok()
    })
}

fn read(file: &File) -> Option<String> {
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(rest: &str) -> Digest {
        format!("sha256:{rest:0>64}").parse().unwrap()
    }

    #[test]
    fn the_last_place_comes_first_and_what_is_wrong_is_forgotten() {
        let place = tempfile::tempdir().unwrap();
        let memory = Sightings::new(Some(&place.path().join("not/there/yet")));
        let one = blob("1");
        assert_eq!(memory.last(&one, "r.example", ""), None);
        memory.note(&one, "r.example", "a/b");
        memory.note(&one, "r.example:5000", "elsewhere");
        memory.note(&one, "r.example", "c");
        memory.note(&blob("2"), "r.example", "another");
        assert_eq!(memory.last(&one, "r.example", "").as_deref(), Some("c"));
        assert_eq!(memory.last(&one, "r.example", "c").as_deref(), Some("a/b"));
        memory.forget(&one, "r.example", "c");
        assert_eq!(memory.last(&one, "r.example", "").as_deref(), Some("a/b"));
        assert_eq!(Sightings::new(None).last(&one, "r.example", ""), None);
    }

    #[test]
    fn it_does_not_grow() {
        let place = tempfile::tempdir().unwrap();
        let memory = Sightings::new(Some(place.path()));
        (0..200).for_each(|at| memory.note(&blob(&at.to_string()), "r.example", "a"));
        assert_eq!(memory.last(&blob("0"), "r.example", ""), None);
        assert!(memory.last(&blob("199"), "r.example", "").is_some());
        assert_eq!(fs::read_to_string(place.path().join("00")).unwrap().lines().count(), LINES);
    }

    #[test]
    fn whatever_is_in_the_file_is_no_trouble() {
        let place = tempfile::tempdir().unwrap();
        let memory = Sightings::new(Some(place.path()));
        let one = blob("1");
        let torn = format!("{one} r.example/../../x?from=y\n{one} r.example/A\nple/b\n{one} r.exa");
        fs::write(place.path().join("00"), [torn.as_bytes(), &[0xff, 0]].concat()).unwrap();
        assert_eq!(memory.last(&one, "r.example", ""), None);
        memory.note(&one, "r.example", "good");
        assert_eq!(memory.last(&one, "r.example", "").as_deref(), Some("good"));
        // Whoever holds the lock is not waited for.
        let file = File::open(place.path().join("00")).unwrap();
        file.lock().unwrap();
        memory.note(&one, "r.example", "late");
        assert_eq!(memory.last(&one, "r.example", "").as_deref(), Some("good"));
    }
}
