// SPDX-License-Identifier: Apache-2.0
//! Uploads between two requests. The store keeps their bytes and locks; here they stay open, so that the hash need
//! not begin again with every chunk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use conex_image::store::{Store, Upload};

use crate::Result;

/// Uploads kept open; more are closed, and opened again when needed.
const KEPT_OPEN: usize = 256;

/// All uploads.
pub(crate) struct Uploads {
    store: Arc<Store>,
    idle: Mutex<HashMap<String, Upload>>,
}

impl Uploads {
    pub(super) fn of(store: Arc<Store>) -> Self {
        Self { store, idle: Mutex::default() }
    }

    pub(crate) fn begin(&self) -> Result<Upload> {
        self.store.begin_upload()
    }

    /// Takes an upload for one request. `NotFound`: there is none; `Busy`: another request works on it.
    pub(crate) fn take(&self, id: &str) -> Result<Upload> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        idle.map_or_else(|| self.store.resume_upload(id), Ok)
    }

    /// Puts an upload back between two requests.
    pub(crate) fn put_back(&self, upload: Upload) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT_OPEN {
            idle.insert(upload.id().to_owned(), upload);
        }
    }
}
