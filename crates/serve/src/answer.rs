// SPDX-License-Identifier: Apache-2.0
//! Answers: success with headers and a body, or a [`Refusal`] with one of the specification's codes.

use conex_spec::distribution::{ErrorBody, ErrorInfo};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;

use crate::body::Payload;
use crate::{Error, ErrorKind};

pub(crate) type Answer = Response<Payload>;

/// An error answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    code: &'static str,
    message: String,
    headers: Vec<(&'static str, String)>,
    cause: Option<Cause>,
}

/// What went wrong inside, for the access log and not for the client.
#[derive(Clone, Debug)]
pub(crate) struct Cause(pub(crate) String);

impl Refusal {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new(), cause: None }
    }

    pub(crate) fn no_such_page() -> Self {
        Self::new(404, "UNSUPPORTED", "no such page; the API begins at /v2/")
    }

    pub(crate) fn method() -> Self {
        Self::new(405, "UNSUPPORTED", "this method has no meaning here")
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// For the log alone.
    pub(crate) fn because(mut self, error: &Error) -> Self {
        self.cause = Some(Cause(error.to_string()));
        self
    }

    pub(crate) fn answer(self) -> Answer {
        let info = ErrorInfo { code: self.code.to_owned(), message: self.message, detail: Value::Null };
        let body = serde_json::to_vec(&ErrorBody { errors: vec![info] }).unwrap_or_default();
        let mut answer = Reply::new(self.status).header("content-type", "application/json");
        for (name, value) in self.headers {
            answer = answer.header(name, value);
        }
        let mut answer = answer.bytes(body);
        if let Some(cause) = self.cause {
            answer.extensions_mut().insert(cause);
        }
        answer
    }
}

/// What the storage says, for a client: never a path of this machine.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Invalid => Self::new(400, "DIGEST_INVALID", error.to_string()),
            // index.json names as much as it may.
            ErrorKind::Unsupported => {
                Self::new(507, "DENIED", "the registry holds as many manifests as it can name: delete some")
                    .because(&error)
            }
            _ => Self {
                cause: Some(Cause(error.to_string())),
                ..Self::new(500, "UNKNOWN", "the registry's storage has a problem; its log says which")
            },
        }
    }
}

/// Builds an answer.
pub(crate) struct Reply {
    answer: Answer,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        let mut answer = Response::new(Payload::empty());
        *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { answer }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        // Values are digests, checked names and numbers; whatever else cannot stand in a header is left out.
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.answer.headers_mut().append(HeaderName::from_static(name), value);
        }
        self
    }

    pub(crate) fn bytes(self, body: impl Into<bytes::Bytes>) -> Answer {
        self.payload(Payload::full(body.into()))
    }

    pub(crate) fn json(self, value: &impl serde::Serialize) -> Answer {
        self.bytes(serde_json::to_vec(value).unwrap_or_default())
    }

    pub(crate) fn payload(mut self, payload: Payload) -> Answer {
        *self.answer.body_mut() = payload;
        self.answer
    }

    pub(crate) fn empty(self) -> Answer {
        self.answer
    }
}
