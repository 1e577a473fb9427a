// SPDX-License-Identifier: Apache-2.0
//! distribution-spec v1.1: #pulling-manifests, #pushing-manifests, #deleting-manifests, #deleting-tags

use conex_image::manifest::{self, MAX_MANIFEST};
use conex_spec::distribution::reference::check_tag;
use conex_spec::image::media_type;
use hyper::body::Incoming;

use super::Call;
use crate::answer::{Answer, Refusal, Reply};
use crate::body::{Payload, blocking, read_short};
use crate::route::{Target, query_values};
use crate::storage::{Entry, Facts, facts_of};

pub(super) async fn get(call: Call, name: String, target: Target) -> Result<Answer, Refusal> {
    let (storage, behind) = (call.storage.clone(), call.behind.clone());
    let (descriptor, file) = blocking(move || {
        if let Some(behind) = behind {
            behind.bring_manifest(&storage, &name, &target)?;
        }
        let names = storage.names()?;
        let found = match &target {
            Target::Tag(tag) => names.tag(&name, tag).cloned(),
            Target::Digest(digest) => storage.find_manifest(&name, digest)?,
        };
        let descriptor = found.ok_or_else(|| unknown(&names_it(&target), names.has_repository(&name)))?;
        let file = storage.open_blob(&descriptor.digest)?;
        file.map(|(file, _)| (descriptor, file)).ok_or_else(|| unknown(&names_it(&target), true))
    })
    .await?;
    let reply = Reply::new(200)
        .header("content-type", &descriptor.media_type)
        .header("docker-content-digest", descriptor.digest.as_str())
        .header("etag", format!("\"{}\"", descriptor.digest));
    if call.is_head() {
        return Ok(reply.header("content-length", descriptor.size.to_string()).empty());
    }
    Ok(reply.payload(Payload::file(file, 0, descriptor.size)))
}

pub(super) async fn put(call: Call, name: String, target: Target, body: Incoming) -> Result<Answer, Refusal> {
    let Some(bytes) = read_short(body, MAX_MANIFEST).await? else {
        let what = format!("a manifest has at most {MAX_MANIFEST} bytes");
        return Err(Refusal::new(413, "SIZE_INVALID", what).header("connection", "close"));
    };
    let facts = facts_of(&bytes).map_err(|what| Refusal::new(400, "MANIFEST_INVALID", what))?;
    let named = match &target {
        Target::Digest(digest) => Some(digest),
        Target::Tag(_) => None,
    };
    let manifest = manifest::verified(bytes.to_vec(), &media_type_of(&call, &facts)?, named)?;
    let digest = manifest.descriptor.digest.clone();
    let tags = tags_of(&call, &target)?;
    let mut reply = Reply::new(201)
        .header("location", format!("/v2/{name}/manifests/{digest}"))
        .header("docker-content-digest", digest.as_str());
    if let Some(subject) = &facts.subject {
        reply = reply.header("oci-subject", subject.as_str());
    }
    if named.is_some() && !tags.is_empty() {
        reply = reply.header("oci-tag", tags.join(", "));
    }
    blocking(move || {
        let _no_gc = call.storage.changing();
        for blob in &facts.blobs {
            if !call.storage.sees_blob(&name, &blob.digest)? {
                let what = format!("blob {} is not known in this repository: push it first", blob.digest);
                return Err(Refusal::new(400, "MANIFEST_BLOB_UNKNOWN", what));
            }
            // It may have been seen through an image that came by another way, which can go.
            call.storage.link_blob(&name, &blob.digest)?;
        }
        Ok(call.storage.put_manifest(&name, &manifest, &tags)?)
    })
    .await?;
    Ok(reply.empty())
}

/// The tags that a push sets: the one it names, or those of the query where it names a digest.
fn tags_of(call: &Call, target: &Target) -> Result<Vec<String>, Refusal> {
    if let Target::Tag(tag) = target {
        return Ok(vec![tag.clone()]);
    }
    let tags = query_values(&call.query, "tag");
    if tags.len() > 100 {
        return Err(Refusal::new(414, "UNSUPPORTED", "more than 100 tags in one request"));
    }
    for tag in &tags {
        check_tag(tag).map_err(|what| Refusal::new(400, "MANIFEST_INVALID", what))?;
    }
    Ok(tags)
}

/// The one media type that header and document agree on.
fn media_type_of(call: &Call, facts: &Facts) -> Result<String, Refusal> {
    let invalid = |what: String| Refusal::new(400, "MANIFEST_INVALID", what);
    let header = call.header("content-type").and_then(|text| text.split(';').next()).map(str::trim);
    let media_type = match (header.filter(|text| !text.is_empty()), &facts.media_type) {
        (Some(header), Some(own)) if header != own => {
            return Err(invalid(format!("Content-Type is {header}, mediaType in the document is {own}")));
        }
        (Some(one), _) => one.to_owned(),
        (None, Some(own)) => own.clone(),
        (None, None) => {
            return Err(invalid("neither Content-Type nor mediaType says what this is".to_owned()));
        }
    };
    let is_index = !facts.manifests.is_empty();
    match media_type::kind(&media_type) {
        media_type::Kind::Index if !facts.blobs.is_empty() => {
            Err(invalid("an index has no layers".to_owned()))
        }
        media_type::Kind::Manifest if is_index => Err(invalid("a manifest has no manifests".to_owned())),
        media_type::Kind::Index | media_type::Kind::Manifest => Ok(media_type),
        // What browsers would interpret is not served from here.
        _ if media_type.starts_with("application/") && media_type.ends_with("+json") => Ok(media_type),
        _ => Err(invalid(format!("media type {media_type:?} is not one of a manifest"))),
    }
}

pub(super) async fn delete(call: Call, name: String, target: Target) -> Result<Answer, Refusal> {
    blocking(move || {
        let found = call.storage.forget(&name, |entry, descriptor| match (&target, entry) {
            (Target::Tag(doomed), Entry::Tag(_, tag)) => tag == doomed,
            (Target::Tag(_), Entry::Manifest(..)) => false,
            (Target::Digest(doomed), _) => descriptor.digest == *doomed,
        })?;
        if found { Ok(Reply::new(202).empty()) } else { Err(unknown(&names_it(&target), true)) }
    })
    .await
}

fn names_it(target: &Target) -> String {
    match target {
        Target::Tag(tag) => tag.clone(),
        Target::Digest(digest) => digest.to_string(),
    }
}

fn unknown(reference: &str, repository_known: bool) -> Refusal {
    if repository_known {
        Refusal::new(404, "MANIFEST_UNKNOWN", format!("manifest {reference} is not known in this repository"))
    } else {
        Refusal::new(404, "NAME_UNKNOWN", "there is no such repository")
    }
}
