// SPDX-License-Identifier: Apache-2.0
//! distribution-spec v1.1: #content-management.

use std::time::{SystemTime, UNIX_EPOCH};

use conex_image::manifest;
use conex_spec::image::media_type;
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

    /// Deletes a tag and leaves the image to its other tags. Where the registry deletes by digest only, the tag is first
    /// moved to an index of nothing that no other tag has.
    pub(crate) fn delete_tag(&self, tag: &str) -> Result<()> {
        match self.delete_manifest(tag) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            other => return other,
        }
        if self.head_manifest(tag)?.is_none() {
            return Err(Error::new(ErrorKind::NotFound, format!("{}: there is no tag {tag:?}", self.name)));
        }
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let unique = format!("{tag} {} {moment}", std::process::id());
        let nothing = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_INDEX,
            "manifests": [],
            "annotations": { "org.conex.deleted": unique },
        });
        let nothing = manifest::verified(nothing.to_string().into_bytes(), media_type::OCI_INDEX, None)?;
        self.put_manifest(&nothing, tag)?;
        self.delete_manifest(nothing.descriptor.digest.as_str())
    }
}
