// SPDX-License-Identifier: Apache-2.0
//! distribution-spec v1.1: #content-discovery, the body of `GET /v2/<name>/tags/list`.

use serde::{Deserialize, Serialize};

use crate::null_is_default;

/// One page of a repository's tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagList {
    pub name: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub tags: Vec<String>,
}
