// SPDX-License-Identifier: Apache-2.0
//! distribution-spec v1.1: #pushing-blobs, #mounting-a-blob-from-another-repository, #cancel-a-blob-upload

use std::sync::Arc;

use conex_image::store::Upload;
use conex_spec::Digest;
use hyper::body::Incoming;

use super::Call;
use crate::answer::{Answer, Refusal, Reply};
use crate::auth::Action;
use crate::body::{append, blocking};
use crate::route::{checked, parse_digest, query_value};
use crate::storage::Storage;
use crate::{Error, ErrorKind};

/// `POST`: begins a session, mounts, or takes the whole blob at once.
pub(super) async fn begin(call: Call, name: String, body: Incoming) -> Result<Answer, Refusal> {
    if let Some(digest) = query_value(&call.query, "mount") {
        let digest = parse_digest(&digest)?;
        let from = query_value(&call.query, "from").map(|from| checked(&from)).transpose()?;
        if mount(&call, &name, &digest, from).await? {
            return Ok(created(&name, &digest));
        }
    }
    let whole = query_value(&call.query, "digest").map(|text| parse_digest(&text)).transpose()?;
    if let Some(other) = query_value(&call.query, "digest-algorithm")
        && !matches!(other.as_str(), "sha256" | "sha512")
    {
        return Err(Refusal::new(400, "DIGEST_INVALID", format!("algorithm {other:?} is not supported")));
    }
    let (storage, limits) = (call.storage.clone(), call.limits);
    let upload = blocking(move || storage.uploads.begin(limits.uploads).map_err(too_many)).await?;
    let most = limits.blob;
    let Some(digest) = whole else {
        let reply = progress(202, &name, &upload);
        call.storage.uploads.put_back(upload);
        return Ok(reply);
    };
    let (upload, received) = append(body, upload, most).await;
    let upload = upload.ok_or_else(lost)?;
    if let Err(refusal) = received {
        // Nobody knows this session: it cannot be resumed.
        let _removed = blocking(move || Ok(upload.cancel()?)).await;
        return Err(refusal);
    }
    finish(call.storage, upload, name, digest).await
}

/// From a repository that the caller may read; without a name, from any: then he must be one who may read all.
async fn mount(call: &Call, name: &str, digest: &Digest, from: Option<String>) -> Result<bool, Refusal> {
    let readable = match &from {
        Some(from) => call.caller.may(Action::Pull, from),
        None => call.caller.may_read_all(),
    };
    if !readable {
        return Ok(false);
    }
    let (storage, name, digest) = (call.storage.clone(), name.to_owned(), digest.clone());
    blocking(move || {
        let _no_gc = storage.changing();
        let seen = match from {
            Some(from) => storage.sees_blob(&from, &digest)?,
            None => storage.open_blob(&digest)?.is_some(),
        };
        if seen {
            storage.link_blob(&name, &digest)?;
        }
        Ok(seen)
    })
    .await
}

pub(super) async fn status(call: Call, name: String, id: String) -> Result<Answer, Refusal> {
    let upload = take(&call.storage, id).await?;
    let reply = progress(204, &name, &upload);
    call.storage.uploads.put_back(upload);
    Ok(reply)
}

/// `PATCH`: one chunk, in order; or a stream without `Content-Range`.
pub(super) async fn patch(call: Call, name: String, id: String, body: Incoming) -> Result<Answer, Refusal> {
    let most = call.limits.blob;
    let upload = take(&call.storage, id).await?;
    let upload = check_order(&call, &name, upload)?;
    let (upload, received) = append(body, upload, most).await;
    let upload = upload.ok_or_else(lost)?;
    let reply = progress(202, &name, &upload);
    call.storage.uploads.put_back(upload);
    received.map(|()| reply)
}

/// `PUT`: the last chunk, if any, and the digest.
pub(super) async fn close(call: Call, name: String, id: String, body: Incoming) -> Result<Answer, Refusal> {
    let digest = query_value(&call.query, "digest")
        .ok_or_else(|| Refusal::new(400, "DIGEST_INVALID", "the query has no digest"))?;
    let digest = parse_digest(&digest)?;
    let most = call.limits.blob;
    let upload = take(&call.storage, id).await?;
    let upload = check_order(&call, &name, upload)?;
    let (upload, received) = append(body, upload, most).await;
    let upload = upload.ok_or_else(lost)?;
    if let Err(refusal) = received {
        call.storage.uploads.put_back(upload);
        return Err(refusal);
    }
    finish(call.storage, upload, name, digest).await
}

pub(super) async fn cancel(call: Call, id: String) -> Result<Answer, Refusal> {
    let upload = take(&call.storage, id).await?;
    blocking(move || Ok(upload.cancel()?)).await?;
    Ok(Reply::new(204).empty())
}

fn too_many(error: Error) -> Refusal {
    match error.kind() {
        ErrorKind::Busy => {
            Refusal::new(429, "TOOMANYREQUESTS", error.to_string()).header("retry-after", "10")
        }
        _ => error.into(),
    }
}

async fn take(storage: &Arc<Storage>, id: String) -> Result<Upload, Refusal> {
    let storage = storage.clone();
    blocking(move || {
        storage.uploads.take(&id).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Refusal::new(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload"),
            ErrorKind::Busy => {
                Refusal::new(409, "BLOB_UPLOAD_INVALID", "another request works on this upload")
            }
            _ => error.into(),
        })
    })
    .await
}

/// A chunk must begin where the last one ended, and be as long as it says.
fn check_order(call: &Call, name: &str, upload: Upload) -> Result<Upload, Refusal> {
    let Some(range) = call.header("content-range") else { return Ok(upload) };
    let Some((first, last)) = parse_chunk(range) else {
        call.storage.uploads.put_back(upload);
        return Err(Refusal::new(400, "BLOB_UPLOAD_INVALID", "Content-Range is not of the form first-last"));
    };
    let length = call.header("content-length").and_then(|text| text.parse::<u64>().ok());
    if length.is_some_and(|length| last.checked_sub(first).map(|gap| gap + 1) != Some(length)) {
        call.storage.uploads.put_back(upload);
        return Err(Refusal::new(400, "SIZE_INVALID", "Content-Range and Content-Length disagree"));
    }
    if first == upload.len() {
        return Ok(upload);
    }
    let refusal = Refusal::new(416, "BLOB_UPLOAD_INVALID", format!("the next byte is {}", upload.len()))
        .header("location", location(name, &upload))
        .header("range", received(&upload));
    call.storage.uploads.put_back(upload);
    Err(refusal)
}

fn parse_chunk(range: &str) -> Option<(u64, u64)> {
    let (first, last) = range.trim().trim_start_matches("bytes ").split_once('-')?;
    let last = last.split('/').next()?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

async fn finish(
    storage: Arc<Storage>,
    upload: Upload,
    name: String,
    digest: Digest,
) -> Result<Answer, Refusal> {
    let reply = created(&name, &digest);
    blocking(move || Ok(storage.publish(upload, &digest, &name)?)).await?;
    Ok(reply)
}

fn created(name: &str, digest: &Digest) -> Answer {
    Reply::new(201)
        .header("location", format!("/v2/{name}/blobs/{digest}"))
        .header("docker-content-digest", digest.as_str())
        .empty()
}

fn progress(status: u16, name: &str, upload: &Upload) -> Answer {
    Reply::new(status)
        .header("location", location(name, upload))
        .header("docker-upload-uuid", upload.id())
        .header("range", received(upload))
        .empty()
}

fn location(name: &str, upload: &Upload) -> String {
    format!("/v2/{name}/blobs/uploads/{}", upload.id())
}

/// `0-0` stands for nothing as well: clients know the form from other registries.
fn received(upload: &Upload) -> String {
    format!("0-{}", upload.len().saturating_sub(1))
}

fn lost() -> Refusal {
    Refusal::new(500, "UNKNOWN", "the registry lost the upload")
}
