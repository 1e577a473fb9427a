// SPDX-License-Identifier: Apache-2.0
//! An answer: status, headers, and a body that is read with a limit.

use std::io::Read;

use ureq::http::{HeaderMap, Uri};
use ureq::{Body, BodyReader};

use super::url::redacted;
use crate::{Error, ErrorKind, Result};

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Where it came from, redirects followed.
    pub(crate) uri: Uri,
    pub(crate) body: Body,
}

impl Answer {
    /// A header's first value, where it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// `https://host/path`, without the query.
    pub(crate) fn place(&self) -> String {
        redacted(&self.uri)
    }

    /// The whole body, or an error where it is longer than `cap`.
    pub(crate) fn read_capped(&mut self, cap: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let place = self.place();
        self.body
            .as_reader()
            .take(cap + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::new(ErrorKind::Unreachable, format!("{place}: {error}")))?;
        if bytes.len() as u64 > cap {
            return Err(Error::new(ErrorKind::Invalid, format!("{place}: answer exceeds {cap} bytes")));
        }
        Ok(bytes)
    }

    /// Reads a short body to its end, so that the connection can be used again.
    pub(crate) fn finish(mut self) {
        let _no_matter = self.read_capped(super::failure::ERROR_BODY_CAP);
    }

    pub(crate) fn into_reader(self) -> BodyReader<'static> {
        self.body.into_reader()
    }
}
