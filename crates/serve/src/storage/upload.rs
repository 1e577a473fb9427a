// SPDX-License-Identifier: Apache-2.0
//! Uploads under way: files in `ingest/`, locked while in use, resumed after a crash.
//!
//! ```text
//!  begin ──► ingest/upload-<id> ──write──write── … ──finish(digest)──► blobs/<algorithm>/<hex>
//!                 └ put back between requests ─┘        └ wrong digest: removed
//! ```

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use conex_image::Wrap;
use conex_spec::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};

use super::sync_directory;
use crate::{Error, ErrorKind, Result};

/// An upload that nobody touched for so long is removed at the next start.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);
/// Uploads kept open between requests; more are closed and opened again when needed.
const KEPT_OPEN: usize = 256;

/// A hash under way.
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Box::default()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::from_hash(Algorithm::Sha256, &hash.finalize()),
            Self::Sha512(hash) => Digest::from_hash(Algorithm::Sha512, &hash.finalize()),
        }
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }
}

/// One upload, held by one request.
pub(crate) struct Upload {
    pub(crate) id: String,
    path: PathBuf,
    file: File,
    length: u64,
    /// Of all bytes so far; none after a restart, then the file is read again at the end.
    hasher: Option<Hasher>,
}

impl Upload {
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).wrap(|| "write an upload")?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Moves the bytes to `target` if they have this digest; removes them otherwise.
    pub(super) fn finish(mut self, digest: &Digest, target: &Path) -> Result<()> {
        let found = match self.hasher.take() {
            Some(hasher) if hasher.algorithm() == digest.algorithm() => hasher.finish(),
            _ => hash_file(&self.path, digest.algorithm())?,
        };
        if found != *digest {
            let length = self.length;
            self.cancel()?;
            let what = format!("the {length} bytes uploaded are {found}, not {digest}");
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        if target.exists() {
            return self.cancel();
        }
        self.file.sync_all().wrap(|| "sync an upload")?;
        let directory = target.parent().expect("a blob lies in a directory");
        fs::create_dir_all(directory).wrap(|| format!("make {}", directory.display()))?;
        fs::rename(&self.path, target).wrap(|| format!("publish blob {digest}"))?;
        sync_directory(directory)
    }

    pub(crate) fn cancel(self) -> Result<()> {
        fs::remove_file(&self.path).wrap(|| "remove an upload")
    }
}

fn hash_file(path: &Path, algorithm: Algorithm) -> Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// What became of a wish for an upload.
pub(crate) enum Taken {
    Yes(Upload),
    /// Another request works on it.
    Busy,
    Unknown,
}

/// All uploads.
pub(crate) struct Uploads {
    directory: PathBuf,
    idle: Mutex<HashMap<String, Upload>>,
}

impl Uploads {
    pub(super) fn open(directory: PathBuf) -> Result<Self> {
        let uploads = Self { directory, idle: Mutex::default() };
        uploads.sweep()?;
        Ok(uploads)
    }

    /// Removes what was forgotten.
    fn sweep(&self) -> Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let ours = name.to_str().is_some_and(|name| name.starts_with("upload-"));
            let old = entry.metadata()?.modified()?.elapsed().is_ok_and(|age| age > FORGOTTEN);
            if ours && old && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("upload-{id}"))
    }

    pub(crate) fn begin(&self, algorithm: Algorithm) -> Result<Upload> {
        let id = random_id()?;
        let path = self.path(&id);
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(&path);
        let file = file.wrap(|| format!("make {}", path.display()))?;
        file.lock().wrap(|| format!("lock {}", path.display()))?;
        Ok(Upload { id, path, file, length: 0, hasher: Some(Hasher::new(algorithm)) })
    }

    /// Takes an upload for one request.
    pub(crate) fn take(&self, id: &str) -> Result<Taken> {
        if !is_id(id) {
            return Ok(Taken::Unknown);
        }
        if let Some(upload) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).remove(id) {
            return Ok(Taken::Yes(upload));
        }
        let path = self.path(id);
        let file = match OpenOptions::new().read(true).append(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Taken::Unknown),
            Err(error) => return Err(error.into()),
        };
        if file.try_lock().is_err() {
            return Ok(Taken::Busy);
        }
        let length = file.metadata()?.len();
        Ok(Taken::Yes(Upload { id: id.to_owned(), path, file, length, hasher: None }))
    }

    /// Puts an upload back between two requests.
    pub(crate) fn put_back(&self, upload: Upload) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT_OPEN {
            idle.insert(upload.id.clone(), upload);
        }
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// A random UUID, version 4: whoever knows it may write the upload.
pub(super) fn random_id() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .wrap(|| "read /dev/urandom")?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}
