// SPDX-License-Identifier: Apache-2.0
//! Containers over time: what holds an image, a directory, a monitor and a runtime together. Wires the registry to
//! the store. Reads neither the environment nor `$HOME`: whoever owns the command line passes [`Settings`].
//!
//! ```text
//!  image: pull ──► store ──snapshot──► container: create ──► start ──► attach · exec · stop · remove
//!                                          │ config.json        │ monitor (conex-runtime)
//!                                          └────────────────────┴──► runtime: argv, bundle, state JSON, exit status
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod container;
pub mod containers_storage;
mod error;
pub mod image;
pub mod json;
pub mod name;
pub mod overlay;
pub mod policy;
pub mod runtime;
mod seccomp;
pub mod signature;
pub mod system;
pub mod terminal;
pub mod transport;
pub mod userns;
pub mod volume;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use conex_image::store::Store;

pub use conex_image as images;
pub use conex_registry as registry;
pub use error::{Error, ErrorKind, Result, Wrap};

/// Everything that the engine is told from outside.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The store: images, containers, volumes.
    pub root: PathBuf,
    /// State that a reboot may forget: the runtime's.
    pub run_root: PathBuf,
    /// The program that runs containers.
    pub runtime: PathBuf,
    /// The program that watches them: conex-runtime.
    pub monitor: PathBuf,
    /// How registries are spoken to.
    pub registry: conex_registry::Settings,
    /// Where podman and buildah keep their images.
    pub containers_storage: containers_storage::Places,
    /// What says which images may be used.
    pub trust: policy::TrustFiles,
}

/// The settings, and what is opened when it is first needed.
#[derive(Debug)]
pub struct Engine {
    /// See [`Settings`].
    pub settings: Settings,
    store: OnceLock<Arc<Store>>,
    trust: OnceLock<policy::Trust>,
}

impl Engine {
    /// Opens nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, store: OnceLock::new(), trust: OnceLock::new() }
    }

    /// The store, made where there is none.
    pub fn store(&self) -> Result<Arc<Store>> {
        if let Some(store) = self.store.get() {
            return Ok(store.clone());
        }
        let store = Arc::new(Store::open(&self.settings.root)?);
        Ok(self.store.get_or_init(|| store).clone())
    }

    /// Which images may be used. The files are read when that is first asked, so that a broken one is no trouble for whoever
    /// opens no image.
    pub fn trust(&self) -> Result<&policy::Trust> {
        if let Some(trust) = self.trust.get() {
            return Ok(trust);
        }
        let trust = policy::Trust::read(&self.settings.trust)?;
        Ok(self.trust.get_or_init(|| trust))
    }

    /// The runtime that new containers get.
    pub fn runtime(&self) -> runtime::Runtime {
        runtime::Runtime { program: self.settings.runtime.clone(), root: self.settings.run_root.clone() }
    }

    /// The runtime that a container was made with.
    pub fn runtime_of(&self, record: &container::Record) -> runtime::Runtime {
        runtime::Runtime { program: record.runtime.clone(), root: self.settings.run_root.clone() }
    }
}
