// SPDX-License-Identifier: Apache-2.0
//! What went wrong, and whether trying again may help: transport errors and error answers become [`Failure`]s.

use std::io;
use std::time::{Duration, SystemTime};

use conex_spec::distribution::ErrorBody;
use ureq::Timeout;

use super::retry::retry_after;
use super::{Answer, Origin};
use crate::{Error, ErrorKind};

/// Most bytes of an error answer that are read.
pub(crate) const ERROR_BODY_CAP: u64 = 64 * 1024;

/// An error and what it means for another try.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) retry: Retry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It would fail again.
    Never,
    /// The port answered "no": try only a host that has answered before.
    Refused,
    /// The other side does not speak TLS.
    NoTls,
    /// It may pass; the server may have said when.
    Later(Option<Duration>),
}

/// What one try gives.
pub(crate) type Tried<T> = Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, retry: Retry::Never }
    }
}

impl Failure {
    fn new(kind: ErrorKind, message: impl Into<String>, retry: Retry) -> Self {
        Self { error: Error::new(kind, message), retry }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.error = self.error.with_hint(hint);
        self
    }

    /// No answer came.
    pub(crate) fn of_transport(origin: &Origin, error: ureq::Error) -> Self {
        let place = origin.to_string();
        match error {
            ureq::Error::Rustls(error) => Self::of_tls(&place, origin, &error),
            ureq::Error::Io(error) => Self::of_io(&place, origin, error),
            ureq::Error::HostNotFound => Self::new(
                ErrorKind::Unreachable,
                format!("{}: no such host", origin.authority()),
                Retry::Refused,
            )
            .hint(format!("check the spelling of {} and the name servers in /etc/resolv.conf", origin.host)),
            ureq::Error::Timeout(phase) => {
                let what = match phase {
                    Timeout::Connect | Timeout::Resolve => "no connection in time",
                    Timeout::RecvResponse => "no answer in time",
                    _ => "the transfer stood still",
                };
                Self::new(ErrorKind::Unreachable, format!("{place}: {what}"), Retry::Later(None))
            }
            ureq::Error::LargeResponseHeader(_, cap) => Self::new(
                ErrorKind::Invalid,
                format!("{place}: answer's headers exceed {cap} bytes"),
                Retry::Never,
            ),
            ureq::Error::Protocol(error) => {
                let what = error.to_string();
                let kind = ErrorKind::Invalid;
                Self::new(kind, format!("{place}: answer is not HTTP as it should be: {what}"), Retry::Never)
            }
            ureq::Error::ConnectProxyFailed(what) => {
                Self::new(ErrorKind::Unreachable, format!("{place}: proxy: {what}"), Retry::Never)
            }
            other => Self::new(ErrorKind::Unreachable, format!("{place}: {other}"), Retry::Later(None)),
        }
    }

    fn no_such_host(origin: &Origin) -> Self {
        let host = &origin.host;
        Self::new(ErrorKind::Unreachable, format!("{host}: no such host"), Retry::Refused)
            .hint(format!("check the spelling of {host} and the name servers in /etc/resolv.conf"))
    }

    fn of_io(place: &str, origin: &Origin, error: io::Error) -> Self {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::of_tls(place, origin, tls);
        }
        if error.get_ref().is_some_and(|inner| inner.is::<ureq::Error>()) {
            let inner = error.into_inner().and_then(|inner| inner.downcast::<ureq::Error>().ok());
            return match inner {
                Some(inner) => Self::of_transport(origin, *inner),
                None => Self::new(ErrorKind::Unreachable, format!("{place}: broken"), Retry::Later(None)),
            };
        }
        // The standard library's words for whatever the resolver says.
        if error.to_string().starts_with("failed to lookup address") {
            return Self::no_such_host(origin);
        }
        if error.kind() == io::ErrorKind::ConnectionRefused {
            return Self::new(
                ErrorKind::Unreachable,
                format!("connect to {}:{}: connection refused", origin.host, origin.port),
                Retry::Refused,
            )
            .hint(
                "nothing listens there: check host and port in the image name, and that the registry runs",
            );
        }
        Self::new(ErrorKind::Unreachable, format!("{place}: {}", plain(&error)), Retry::Later(None))
    }

    fn of_tls(place: &str, origin: &Origin, error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidMessage(_) => Self::new(
                ErrorKind::Unreachable,
                format!("{place}: server gave HTTP response to HTTPS client"),
                Retry::NoTls,
            )
            .hint(format!(
                "if plain HTTP is meant, pass --tls-verify=false, or mark {} insecure = true in registries.conf",
                origin.authority()
            )),
            rustls::Error::InvalidCertificate(reason) => {
                let (what, hint) = certificate(reason, origin);
                Self::new(ErrorKind::Denied, format!("{place}: certificate: {what}"), Retry::Never).hint(hint)
            }
            other => Self::new(ErrorKind::Unreachable, format!("{place}: TLS: {other}"), Retry::Never),
        }
    }

    /// A body broke off: why, in words.
    pub(crate) fn reason(error: &io::Error) -> String {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
            Some(ureq::Error::Timeout(_)) => "the transfer stood still".to_owned(),
            Some(other) => other.to_string(),
            None => plain(error),
        }
    }

    /// An answer came, and it is no success.
    pub(crate) fn of_answer(mut answer: Answer) -> Self {
        let status = answer.status;
        let retry = match status {
            408 | 429 | 500 | 502..=504 => Retry::Later(
                answer.header("retry-after").and_then(|wish| retry_after(wish, SystemTime::now())),
            ),
            _ => Retry::Never,
        };
        let place = answer.place();
        let (text, codes) = said(&mut answer);
        let mut failure = Self::new(kind_of(status, &codes), format!("{place}: {status} {text}"), retry);
        match status {
            401 => failure = failure.hint("log in to the registry, or check the user name and password"),
            403 => failure = failure.hint("the login in use is not allowed to do this"),
            429 => failure = failure.hint("the registry limits requests: wait, or log in for a higher limit"),
            _ => {}
        }
        failure
    }
}

/// The registry's own words, one line, and its codes.
fn said(answer: &mut Answer) -> (String, Vec<String>) {
    let canonical =
        ureq::http::StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    let canonical = canonical.unwrap_or("unknown status").to_owned();
    let Ok(body) = answer.read_capped(ERROR_BODY_CAP) else { return (canonical, Vec::new()) };
    let Ok(body) = serde_json::from_slice::<ErrorBody>(&body) else { return (canonical, Vec::new()) };
    let codes: Vec<_> = body.errors.iter().map(|info| info.code.clone()).collect();
    let mut words = canonical;
    for info in body.errors.iter().take(3) {
        words.push_str(&format!(": {} {}", info.code, info.message));
    }
    (printable(&words), codes)
}

fn kind_of(status: u16, codes: &[String]) -> ErrorKind {
    let code = |name: &str| codes.iter().any(|code| code == name);
    match status {
        401 | 403 => ErrorKind::Denied,
        404 => ErrorKind::NotFound,
        405 => ErrorKind::Unsupported,
        408 | 429 | 500..=599 => ErrorKind::Unreachable,
        _ if code("UNSUPPORTED") => ErrorKind::Unsupported,
        _ if code("DENIED") || code("UNAUTHORIZED") => ErrorKind::Denied,
        _ => ErrorKind::Invalid,
    }
}

/// A stranger's words for a terminal: one line, no control characters, not too long.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect::<String>().trim().to_owned()
}

/// What is wrong with a certificate, and how to mend it.
fn certificate(reason: &rustls::CertificateError, origin: &Origin) -> (String, String) {
    use rustls::CertificateError as Reason;
    let anyway = "or trust it anyway with --tls-verify=false";
    match reason {
        Reason::UnknownIssuer => (
            "signed by an unknown authority".to_owned(),
            format!(
                "put the authority's certificate into /etc/containers/certs.d/{}/ca.crt, {anyway}",
                origin.authority()
            ),
        ),
        Reason::Expired | Reason::ExpiredContext { .. } => (
            "expired".to_owned(),
            format!("check this machine's clock, have the certificate renewed, {anyway}"),
        ),
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => (
            format!("made for another host than {}", origin.host),
            format!("use a name that the certificate has, {anyway}"),
        ),
        other => (format!("{other:?}"), format!("have the certificate mended, {anyway}")),
    }
}

/// Without Rust's "(os error 104)".
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "connection closed before the answer was complete".to_owned(),
        io::ErrorKind::BrokenPipe => "connection closed by the other side".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_address_is_one_clear_error() {
        let origin = Origin::of_authority(true, "reg.example").unwrap();
        let said = io::Error::other("failed to lookup address information: Name or service not known");
        let failure = Failure::of_transport(&origin, ureq::Error::Io(said));
        assert_eq!(failure.error.to_string(), "reg.example: no such host");
        assert_eq!(failure.retry, Retry::Refused);
        assert!(failure.error.hint().unwrap().contains("resolv.conf"));
    }

    #[test]
    fn a_strangers_words_are_made_harmless() {
        assert_eq!(printable("a\u{1b}[31m\nb"), "a [31m b");
        assert_eq!(printable(&"x".repeat(5000)).len(), 400);
    }
}
