// SPDX-License-Identifier: Apache-2.0
//! distribution-spec v1.1 as data: references to images, error bodies, lists of tags.

pub mod error_code;
pub mod reference;
pub mod tag_list;

pub use error_code::{ErrorBody, ErrorInfo};
pub use reference::{DEFAULT_HOST, Reference, ReferenceError};
pub use tag_list::TagList;
