// SPDX-License-Identifier: Apache-2.0
//! The client: connections and tokens, shared by all threads and all repositories.

use std::sync::Arc;

use conex_spec::distribution::Reference;

use crate::{Remote, Settings};

/// Cheap to clone; clones share connections and tokens.
#[derive(Clone, Debug)]
pub struct Client {
    #[expect(dead_code, reason = "skeleton")]
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    #[expect(dead_code, reason = "skeleton")]
    settings: Settings,
}

impl Client {
    /// Opens no connection and reads no certificate yet.
    pub fn new(settings: Settings) -> Self {
        Self { shared: Arc::new(Shared { settings }) }
    }

    /// The image or repository that `reference` names, seen through this client.
    pub fn remote(&self, reference: &Reference) -> Remote {
        Remote::new(self.clone(), reference.clone())
    }
}
