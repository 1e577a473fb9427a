// SPDX-License-Identifier: Apache-2.0
//! distribution-spec v1.1: #listing-tags, #listing-referrers; and Docker's catalog.

use std::collections::BTreeMap;

use conex_spec::Digest;
use conex_spec::distribution::TagList;
use conex_spec::image::{Index, media_type};
use serde::Serialize;

use super::Call;
use crate::answer::{Answer, Refusal, Reply};
use crate::auth::Action;
use crate::body::blocking;
use crate::route::query_value;

/// Longest page, asked for or not.
const PAGE: usize = 10_000;

#[derive(Serialize)]
struct Catalog {
    repositories: Vec<String>,
}

pub(super) async fn catalog(call: Call) -> Result<Answer, Refusal> {
    blocking(move || {
        let names = call.storage.names()?;
        let readable = names.repositories().filter(|name| call.caller.has_right(Action::Pull, name));
        let page = Page::of(&call.query, readable)?;
        Ok(page.reply("/v2/_catalog").json(&Catalog { repositories: page.items }))
    })
    .await
}

pub(super) async fn tags(call: Call, name: String) -> Result<Answer, Refusal> {
    blocking(move || {
        if let Some(behind) = &call.behind
            && let Some(tags) = behind.tags(&name)?
        {
            let page = Page::of(&call.query, tags.iter().map(String::as_str))?;
            let reply = page.reply(&format!("/v2/{name}/tags/list"));
            return Ok(reply.json(&TagList { name, tags: page.items }));
        }
        let names = call.storage.names()?;
        if !names.has_repository(&name) {
            return Err(Refusal::new(404, "NAME_UNKNOWN", "there is no such repository"));
        }
        let page = Page::of(&call.query, names.tags(&name))?;
        let reply = page.reply(&format!("/v2/{name}/tags/list"));
        Ok(reply.json(&TagList { name, tags: page.items }))
    })
    .await
}

pub(super) async fn referrers(call: Call, name: String, digest: Digest) -> Result<Answer, Refusal> {
    blocking(move || {
        let mut manifests = match &call.behind {
            Some(behind) => behind.referrers(&call.storage, &name, &digest)?,
            None => call.storage.referrers(&name, &digest)?,
        };
        let mut reply = Reply::new(200).header("content-type", media_type::OCI_INDEX);
        if let Some(wanted) = query_value(&call.query, "artifactType") {
            manifests.retain(|descriptor| descriptor.artifact_type.as_deref() == Some(&wanted));
            reply = reply.header("oci-filters-applied", "artifactType");
        }
        Ok(reply.json(&Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }))
    })
    .await
}

/// `?n=&last=`: a stretch of a sorted list.
#[derive(Debug)]
struct Page {
    items: Vec<String>,
    size: usize,
    more: bool,
}

impl Page {
    fn of<'a>(query: &str, all: impl Iterator<Item = &'a str>) -> Result<Self, Refusal> {
        let size = match query_value(query, "n") {
            Some(text) => text
                .parse::<usize>()
                .map_err(|_| Refusal::new(400, "UNSUPPORTED", format!("n={text:?} is not a number")))?
                .min(PAGE),
            None => PAGE,
        };
        let last = query_value(query, "last");
        let mut rest = all.filter(|item| last.as_deref().is_none_or(|last| *item > last));
        let items: Vec<_> = rest.by_ref().take(size).map(str::to_owned).collect();
        Ok(Self { items, size, more: size > 0 && rest.next().is_some() })
    }

    /// With a link to the next page where there is one.
    fn reply(&self, path: &str) -> Reply {
        let reply = Reply::new(200).header("content-type", "application/json");
        match self.items.last().filter(|_| self.more) {
            Some(last) => reply.header("link", format!("<{path}?n={}&last={last}>; rel=\"next\"", self.size)),
            None => reply,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other() {
        let all = || ["a", "b", "c"].into_iter();
        let first = Page::of("n=2", all()).unwrap();
        assert_eq!((first.items.len(), first.more), (2, true));
        let second = Page::of("n=2&last=b", all()).unwrap();
        assert_eq!((second.items.as_slice(), second.more), (&["c".to_owned()][..], false));
        let none = Page::of("n=0", all()).unwrap();
        assert!(none.items.is_empty() && !none.more);
        assert_eq!(Page::of("last=aa", all()).unwrap().items, ["b", "c"]);
        assert!(Page::of("n=x", all()).is_err());
    }
}
