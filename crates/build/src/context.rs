// SPDX-License-Identifier: Apache-2.0
//! Build contexts that are no directories yet: an archive or a Containerfile on stdin or at an address, a repository. They
//! become a directory that goes with the build.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use conex_sys::path::Dir;
use tempfile::TempDir;

use crate::graph::git::{self, Address};
use crate::remote::{Remote, Repository};
use crate::{Error, ErrorKind, Result, Wrap as _, copy};

/// What a context turned out to be.
#[derive(Debug)]
pub struct Context {
    /// Where its files are; nothing is there if it was a Containerfile.
    pub path: PathBuf,
    /// The Containerfile that it was.
    pub text: Option<String>,
    _directory: TempDir,
}

/// Whether it has to be fetched, and is no directory of the host.
pub fn is_remote(context: &str) -> bool {
    context == "-" || git::address(context).is_some()
}

impl Context {
    /// Fetches what `is_remote`; `-` is `stdin`.
    pub fn fetch(remote: &Remote, context: &str, stdin: &mut dyn Read) -> Result<Self> {
        let directory = tempfile::tempdir().wrap(|| "make a directory for the context")?;
        let files = directory.path().join("files");
        std::fs::create_dir(&files).wrap(|| format!("make {}", files.display()))?;
        let (mut path, mut text) = (files.clone(), None);
        match git::address(context) {
            None => {
                let mut spooled = tempfile::tempfile().wrap(|| "make a file for the context")?;
                std::io::copy(stdin, &mut spooled).wrap(|| "read stdin")?;
                text = open(spooled, &files)?;
            }
            Some(Address::Url) => {
                let download = directory.path().join("download");
                std::fs::create_dir(&download).wrap(|| format!("make {}", download.display()))?;
                let fetched = download.join(remote.file(context, None, &download)?);
                text = open(File::open(&fetched).wrap(|| fetched.display().to_string())?, &files)?;
            }
            Some(Address::Git { remote: address, reference, subdirectory }) => {
                let reference = reference.as_deref();
                let repository =
                    Repository { remote: &address, reference, keep_git_dir: false, checksum: None };
                remote.repository(&repository, &files)?;
                path = below(&files, subdirectory.as_deref().unwrap_or_default())?;
            }
        }
        Ok(Self { path, text, _directory: directory })
    }
}

/// Unpacks an archive; anything else is a Containerfile.
fn open(mut file: File, files: &Path) -> Result<Option<String>> {
    let rewind = |file: &mut File| file.seek(SeekFrom::Start(0)).wrap(|| "rewind the context");
    rewind(&mut file)?;
    if copy::is_tar(&mut file)? {
        rewind(&mut file)?;
        copy::extract(file, files)?;
        return Ok(None);
    }
    rewind(&mut file)?;
    let mut text = String::new();
    file.read_to_string(&mut text)
        .map_err(|_| Error::new(ErrorKind::Usage, "the context is neither an archive nor a Containerfile"))?;
    Ok(Some(text))
}

/// A directory of a repository, in which no link leads anywhere.
fn below(files: &Path, subdirectory: &str) -> Result<PathBuf> {
    let mut dir = Dir::open_host(files)?;
    let mut path = files.to_owned();
    for name in copy::normal(subdirectory) {
        dir = dir.open_dir(&name).wrap(|| format!("directory {subdirectory:?} of the repository"))?;
        path.push(name);
    }
    Ok(path)
}
