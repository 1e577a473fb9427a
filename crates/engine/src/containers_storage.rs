// SPDX-License-Identifier: Apache-2.0
//! containers-storage.conf(5): where podman, buildah and skopeo keep images. Read when such a place is asked for, so that a
//! broken file is nobody else's trouble.

use std::path::{Path, PathBuf};

use conex_image::containers_storage::StorageName;
use serde::Deserialize;

use crate::{Error, ErrorKind, Result, Wrap as _};

/// Where to look, for who asks.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The file that counts before the system's: the user's own, or one that was named.
    pub own_file: Option<PathBuf>,
    /// The system's files; the first that is there counts.
    pub system_files: Vec<PathBuf>,
    /// An ordinary user asks. The system's files then only say where users' storages are.
    pub rootless: bool,
    /// `$HOME`.
    pub home: PathBuf,
    /// The storage where no file names one.
    pub usual: PathBuf,
    /// `$STORAGE_DRIVER`, which goes before the file's.
    pub driver: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(default)]
    storage: Storage,
}

#[derive(Debug, Default, Deserialize)]
struct Storage {
    driver: Option<String>,
    graphroot: Option<String>,
    imagestore: Option<String>,
    rootless_storage_path: Option<String>,
    #[serde(default)]
    options: Options,
}

#[derive(Debug, Default, Deserialize)]
struct Options {
    #[serde(default)]
    additionalimagestores: Vec<String>,
}

impl Places {
    /// The storages to look for an image in, in their order.
    pub fn to_read(&self, name: &StorageName) -> Result<Vec<PathBuf>> {
        if let Some(root) = &name.graph_root {
            return Ok(vec![root.clone()]);
        }
        let storage = self.storage()?;
        let mut places = self.own(&storage)?;
        places.extend(storage.options.additionalimagestores.iter().map(|path| self.expand(path)));
        Ok(places)
    }

    /// The storage to write an image to.
    pub fn to_write(&self, name: &StorageName) -> Result<PathBuf> {
        if let Some(root) = &name.graph_root {
            return Ok(root.clone());
        }
        let own = self.own(&self.storage()?)?;
        Ok(own.into_iter().next().expect("there is always the usual place"))
    }

    /// What the first file says that is there.
    fn storage(&self) -> Result<Storage> {
        let own = self.own_file.as_ref().filter(|path| path.exists());
        let Some(path) = own.or_else(|| self.system_files.iter().find(|path| path.exists())) else {
            return Ok(Storage::default());
        };
        let read = || -> Result<File> {
            let text = std::fs::read_to_string(path)?;
            toml::from_str(&text)
                .map_err(|error| Error::new(ErrorKind::Usage, error.to_string().trim_end().to_owned()))
        };
        let mut storage = read().wrap(|| path.display().to_string())?.storage;
        if self.rootless && own.is_none() {
            storage.graphroot = storage.rootless_storage_path.take();
        }
        Ok(storage)
    }

    /// The storage for images where there is one apart, then the one with the containers.
    fn own(&self, storage: &Storage) -> Result<Vec<PathBuf>> {
        let driver = self.driver.as_deref().or(storage.driver.as_deref()).filter(|driver| !driver.is_empty());
        if let Some(driver) = driver.filter(|driver| !matches!(*driver, "overlay" | "overlay2")) {
            let message = format!("containers-storage: the driver is {driver}; conex knows only overlay");
            return Err(Error::new(ErrorKind::Unsupported, message).with_hint(
                "move the image by an archive: docker-archive:FILE, `podman save`, `podman load`",
            ));
        }
        let named = |path: &Option<String>| {
            path.as_ref().filter(|path| !path.is_empty()).map(|path| self.expand(path))
        };
        let root = named(&storage.graphroot).unwrap_or_else(|| self.usual.clone());
        Ok(named(&storage.imagestore).into_iter().chain([root]).collect())
    }

    /// The variable that these files use.
    fn expand(&self, text: &str) -> PathBuf {
        let home = self.home.display().to_string();
        Path::new(&text.replace("${HOME}", &home).replace("$HOME", &home)).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str, rootless: bool) -> (tempfile::TempDir, Places) {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("storage.conf");
        std::fs::write(&file, text).unwrap();
        let places = Places {
            own_file: Some("/no/such.conf".into()),
            system_files: vec!["/no/such.conf".into(), file],
            rootless,
            home: "/home/u".into(),
            usual: "/usual".into(),
            driver: None,
        };
        (scratch, places)
    }

    fn read(text: &str, rootless: bool, name: &str) -> Result<Vec<PathBuf>> {
        let (_scratch, places) = places(text, rootless);
        places.to_read(&StorageName::parse(name).unwrap())
    }

    #[test]
    fn the_file_says_where() {
        let text = "[storage]\ndriver='overlay'\ngraphroot='/g'\nrootless_storage_path='$HOME/s'\n\
                    [storage.options]\nadditionalimagestores=['/shared']";
        let paths = |all: &[&str]| all.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(read(text, false, "a").unwrap(), paths(&["/g", "/shared"]));
        assert_eq!(read(text, true, "a").unwrap(), paths(&["/home/u/s", "/shared"]));
        assert_eq!(read(text, false, "[overlay@/x+/y]a").unwrap(), paths(&["/x"]));
        assert_eq!(read("", false, "a").unwrap(), paths(&["/usual"]));
        let apart = "[storage]\nimagestore='/images'\ngraphroot='/g'";
        assert_eq!(read(apart, false, "a").unwrap(), paths(&["/images", "/g"]));
        let (_scratch, places) = places(apart, false);
        assert_eq!(places.to_write(&StorageName::parse("a").unwrap()).unwrap(), Path::new("/images"));
    }

    #[test]
    fn another_driver_and_a_broken_file_are_told() {
        let error = read("[storage]\ndriver='vfs'", false, "a").unwrap_err();
        assert!(error.to_string().contains("the driver is vfs"), "{error}");
        assert!(read("[storage]\ndriver='vfs'", false, "[/x]a").is_ok());
        let error = read("[storage", false, "a").unwrap_err();
        assert!(error.to_string().contains("storage.conf: "), "{error}");
    }
}
