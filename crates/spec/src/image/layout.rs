// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: image-layout.md#oci-layout-file

use serde::{Deserialize, Serialize};

/// The only layout version there is.
pub const LAYOUT_VERSION: &str = "1.0.0";

/// The content of the file `oci-layout`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutMarker {
    pub image_layout_version: String,
}
