// SPDX-License-Identifier: Apache-2.0
//! distribution-spec v1.1: #pulling-blobs, #deleting-blobs

use conex_spec::Digest;

use super::Call;
use crate::answer::{Answer, Refusal, Reply};
use crate::auth::Action;
use crate::body::{Payload, blocking};

pub(super) async fn get(call: Call, name: String, digest: Digest) -> Result<Answer, Refusal> {
    let (storage, behind) = (call.storage.clone(), call.behind.clone());
    let wanted = digest.clone();
    // Who may push does not send again what he is told is here.
    let reckons = call.is_head() && call.caller.may(Action::Push, &name);
    let found = blocking(move || {
        if reckons {
            storage.reckon_with(&name, &wanted)?;
        }
        if let Some(behind) = behind {
            behind.bring_blob(&storage, &name, &wanted)?;
        }
        Ok(if storage.sees_blob(&name, &wanted)? { storage.open_blob(&wanted)? } else { None })
    })
    .await?;
    let (file, size) = found.ok_or_else(|| unknown(&digest))?;
    let reply = |status| {
        Reply::new(status)
            .header("content-type", "application/octet-stream")
            .header("docker-content-digest", digest.as_str())
            .header("etag", format!("\"{digest}\""))
            .header("accept-ranges", "bytes")
    };
    if call.is_head() {
        return Ok(reply(200).header("content-length", size.to_string()).empty());
    }
    let condition = call.header("if-range").is_none_or(|tag| tag == format!("\"{digest}\""));
    match call.header("range").filter(|_| condition).map(|text| Range::parse(text, size)) {
        None | Some(Range::Ignored) => Ok(reply(200).payload(Payload::file(file, 0, size))),
        Some(Range::Bytes(first, last)) => Ok(reply(206)
            .header("content-range", format!("bytes {first}-{last}/{size}"))
            .payload(Payload::file(file, first, last + 1))),
        Some(Range::Unsatisfiable) => {
            Err(Refusal::new(416, "SIZE_INVALID", format!("the blob has {size} bytes"))
                .header("content-range", format!("bytes */{size}")))
        }
    }
}

pub(super) async fn delete(call: Call, name: String, digest: Digest) -> Result<Answer, Refusal> {
    blocking(move || {
        if call.storage.unlink_blob(&name, &digest)? {
            return Ok(Reply::new(202).empty());
        }
        if call.storage.sees_blob(&name, &digest)? {
            return Err(Refusal::new(405, "UNSUPPORTED", "an image that was not pushed here needs the blob"));
        }
        Err(unknown(&digest))
    })
    .await
}

pub(super) fn unknown(digest: &Digest) -> Refusal {
    Refusal::new(404, "BLOB_UNKNOWN", format!("blob {digest} is not known in this repository"))
}

/// RFC 9110 §14.1.2, one range only: several are answered with the whole.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// First and last byte.
    Bytes(u64, u64),
    Unsatisfiable,
    Ignored,
}

impl Range {
    fn parse(text: &str, size: u64) -> Self {
        let Some((first, last)) = text.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-'))
        else {
            return Self::Ignored;
        };
        let number =
            |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        match (number(first), number(last)) {
            (Some(first), _) if last.is_empty() && first < size => Self::Bytes(first, size - 1),
            (Some(first), Some(last)) if first <= last && first < size => {
                Self::Bytes(first, last.min(size - 1))
            }
            (None, Some(suffix)) if first.is_empty() && suffix > 0 && size > 0 => {
                Self::Bytes(size.saturating_sub(suffix), size - 1)
            }
            (Some(first), Some(last)) if first > last => Self::Ignored,
            (Some(_), _) if last.is_empty() || number(last).is_some() => Self::Unsatisfiable,
            (None, Some(_)) if first.is_empty() => Self::Unsatisfiable,
            _ => Self::Ignored,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Range;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (text, size, range) in [
            ("bytes=0-", 10, Range::Bytes(0, 9)),
            ("bytes=3-5", 10, Range::Bytes(3, 5)),
            ("bytes=3-99", 10, Range::Bytes(3, 9)),
            ("bytes=-3", 10, Range::Bytes(7, 9)),
            ("bytes=-30", 10, Range::Bytes(0, 9)),
            ("bytes=10-", 10, Range::Unsatisfiable),
            ("bytes=0-", 0, Range::Unsatisfiable),
            ("bytes=-0", 10, Range::Unsatisfiable),
            ("bytes=5-3", 10, Range::Ignored),
            ("bytes=0-1,3-4", 10, Range::Ignored),
            ("bytes=+1-", 10, Range::Ignored),
            ("items=0-1", 10, Range::Ignored),
            ("bytes=99999999999999999999-", 10, Range::Ignored),
            ("", 10, Range::Ignored),
        ] {
            assert_eq!(Range::parse(text, size), range, "{text} of {size}");
        }
    }
}
