// SPDX-License-Identifier: Apache-2.0
//! distribution-spec v1.1: #content-discovery. Tags and referrers, page by page.

use std::collections::HashSet;

use conex_spec::Digest;
use conex_spec::distribution::TagList;
use conex_spec::image::{Descriptor, Index};
use serde::de::DeserializeOwned;
use ureq::http::{Method, Uri};

use crate::auth::Actions;
use crate::http::{Answer, Ask, Origin, escape, join};
use crate::repository::Repository;
use crate::{Error, ErrorKind, Result};

/// Most pages of one listing.
const PAGES: usize = 1000;
/// Most bytes of all its pages together.
const LISTING_CAP: u64 = 64 * 1024 * 1024;

impl Repository {
    /// All tags, in the registry's order.
    pub(crate) fn tags(&self) -> Result<Vec<String>> {
        let first = self.send(self.ask(Method::GET, "tags/list", Actions::Pull))?;
        let mut tags = Vec::new();
        self.pages(first, |page: TagList, _| tags.extend(page.tags))?;
        Ok(tags)
    }

    /// The manifests whose subject is `digest`; by the fallback tag where the registry has no referrers API.
    pub(crate) fn referrers(&self, digest: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        let query = artifact_type.map_or(String::new(), |wanted| format!("?artifactType={}", escape(wanted)));
        let ask =
            self.ask(Method::GET, format_args!("referrers/{digest}{query}"), Actions::Pull).expect(&[404]);
        let first = self.send(ask)?;
        let mut found = Vec::new();
        if first.status == 404 {
            first.finish();
            found = self.referrers_by_tag(digest)?;
        } else {
            self.pages(first, |page: Index, _| found.extend(page.manifests))?;
        }
        // A registry may ignore the filter; filtering again costs nothing.
        found.retain(|descriptor| {
            artifact_type.is_none_or(|wanted| descriptor.artifact_type.as_deref() == Some(wanted))
        });
        Ok(found)
    }

    /// distribution-spec #referrers-tag-schema
    pub(crate) fn referrers_by_tag(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        match self.manifest(&referrers_tag(digest)) {
            Ok(manifest) => {
                Ok(serde_json::from_slice::<Index>(&manifest.bytes)
                    .map_or_else(|_| Vec::new(), |i| i.manifests))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Reads a page and all that `Link: <…>; rel="next"` leads to, on the same host.
    fn pages<T: DeserializeOwned>(&self, first: Answer, mut each: impl FnMut(T, &Answer)) -> Result<()> {
        let mut seen = HashSet::new();
        let mut answer = first;
        let mut room = LISTING_CAP;
        for _ in 0..PAGES {
            let place = answer.place();
            let invalid = |what: String| Error::new(ErrorKind::Invalid, format!("{place}: {what}"));
            let body = answer.read_capped(room)?;
            room -= body.len() as u64;
            let page = serde_json::from_slice(&body).map_err(|error| invalid(format!("listing: {error}")))?;
            let next = next_page(&answer)?;
            each(page, &answer);
            let Some(next) = next else { return Ok(()) };
            if Origin::of(&next)? != Origin::of(&answer.uri)? {
                return Err(invalid("next page is on another host".to_owned()));
            }
            if !seen.insert(next.to_string()) {
                return Err(invalid("next page was read already".to_owned()));
            }
            answer = self.send(Ask::at(Method::GET, next, self.pull_scopes()))?;
        }
        Err(Error::new(ErrorKind::Invalid, format!("{}: more than {PAGES} pages", answer.place())))
    }
}

/// `sha256-<hex>`
pub(crate) fn referrers_tag(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("{}-{}", digest.algorithm().name(), &hex[..hex.len().min(64)])
}

/// RFC 8288: the target of `rel="next"`.
fn next_page(answer: &Answer) -> Result<Option<Uri>> {
    for value in answer.headers.get_all("link") {
        let Some(target) = value.to_str().ok().and_then(next_target) else { continue };
        return join(&answer.uri, target).map(Some);
    }
    Ok(None)
}

fn next_target(value: &str) -> Option<&str> {
    let mut rest = value;
    loop {
        let (target, after) = rest.split_once('<')?.1.split_once('>')?;
        let (parameters, more) =
            after.split_once('<').map_or((after, ""), |(own, _)| (own, &after[own.len()..]));
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let parameter = parameter.trim();
            parameter.eq_ignore_ascii_case("rel=next") || parameter.eq_ignore_ascii_case("rel=\"next\"")
        });
        if is_next {
            return Some(target);
        }
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        assert_eq!(
            next_target("</v2/a/tags/list?n=2&last=b>; rel=\"next\""),
            Some("/v2/a/tags/list?n=2&last=b")
        );
        assert_eq!(next_target("</x>; rel=prev, </y>; rel=next"), Some("/y"));
        assert_eq!(next_target("</x>; rel=prev"), None);
        assert_eq!(next_target("<unterminated"), None);
    }

    #[test]
    fn the_fallback_tag_is_cut_to_64_digits() {
        let digest: Digest = format!("sha512:{}", "a".repeat(128)).parse().unwrap();
        assert_eq!(referrers_tag(&digest), format!("sha512-{}", "a".repeat(64)));
    }
}
