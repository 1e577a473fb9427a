// SPDX-License-Identifier: Apache-2.0
//! distribution-spec v1.1: #error-codes

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::null_is_default;

/// The body of a registry's 4xx answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    #[serde(default, deserialize_with = "null_is_default")]
    pub errors: Vec<ErrorInfo>,
}

/// One reason, by its upper-case code (`MANIFEST_UNKNOWN`, …).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorInfo {
    pub code: String,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}
