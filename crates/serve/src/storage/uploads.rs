// SPDX-License-Identifier: Apache-2.0
//! Uploads between two requests. The store keeps their bytes and locks; here they stay open, so that the hash need
//! not begin again with every chunk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use conex_image::store::{Shared, Store, Upload};

use crate::{Error, ErrorKind, Result};

/// Uploads kept open; more are closed, and opened again when needed.
const KEPT_OPEN: usize = 256;

/// All uploads.
pub(crate) struct Uploads {
    store: Arc<Store>,
    held: Arc<Shared>,
    idle: Mutex<HashMap<String, Upload>>,
}

impl Uploads {
    pub(super) fn of(store: Arc<Store>, held: Arc<Shared>) -> Self {
        Self { store, held, idle: Mutex::default() }
    }

    /// `Busy` where `most` are under way.
    pub(crate) fn begin(&self, most: Option<usize>) -> Result<Upload> {
        if let Some(most) = most
            && self.store.count_uploads()? >= most
        {
            return Err(Error::new(ErrorKind::Busy, format!("{most} uploads are under way")));
        }
        self.store.begin_upload(&self.held)
    }

    /// Takes an upload for one request. `NotFound`: there is none; `Busy`: another request works on it.
    pub(crate) fn take(&self, id: &str) -> Result<Upload> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        idle.map_or_else(|| self.store.resume_upload(id, &self.held), Ok)
    }

    /// Puts an upload back between two requests.
    pub(crate) fn put_back(&self, upload: Upload) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT_OPEN {
            idle.insert(upload.id().to_owned(), upload);
        }
    }

    /// Lets go of those that gc has removed.
    pub(super) fn forget_removed(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|id, _| self.store.has_upload(id).unwrap_or(true));
    }
}
