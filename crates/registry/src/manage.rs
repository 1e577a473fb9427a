// SPDX-License-Identifier: Apache-2.0
//! distribution-spec v1.1: #content-management.

use ureq::http::Method;

use crate::auth::Actions;
use crate::repository::Repository;
use crate::{Error, ErrorKind, Result};

impl Repository {
    /// Deletes a tag, or a manifest with all its tags where `reference` is a digest.
    pub(crate) fn delete_manifest(&self, reference: &str) -> Result<()> {
        let ask = self
            .ask(Method::DELETE, format_args!("manifests/{reference}"), Actions::Delete)
            .expect(&[400, 405]);
        let answer = self.send(ask)?;
        match answer.status {
            200 | 202 | 204 => {
                answer.finish();
                Ok(())
            }
            status => Err(Error::new(
                ErrorKind::Unsupported,
                format!("{}: this registry does not delete here ({status})", answer.place()),
            )
            .with_hint(
                "many registries delete by digest only, and only where their configuration allows it",
            )),
        }
    }
}
