// SPDX-License-Identifier: Apache-2.0
//! Lists of tags and referrers over several pages.

use conex_registry::ErrorKind;
use conex_spec::image::media_type;

use crate::image::{Image, digest, remote};
use crate::server::{Reply, Server};

#[test]
fn pages_are_followed_to_the_end() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/v2/a/b/tags/list" => Reply::new(200, r#"{"name":"a/b","tags":["a","b"]}"#)
            .header("link", "</v2/a/b/tags/list?last=b&n=2>; rel=\"next\""),
        "/v2/a/b/tags/list?last=b&n=2" => {
            Reply::new(200, r#"{"name":"a/b","tags":["c"]}"#).header("link", "<list?last=c>; rel=next")
        }
        "/v2/a/b/tags/list?last=c" => Reply::new(200, r#"{"name":"a/b","tags":null}"#),
        _ => Reply::new(500, ""),
    });
    assert_eq!(remote(&server).tags().unwrap(), ["a", "b", "c"]);
}

#[test]
fn pages_elsewhere_in_circles_or_without_end_are_refused() {
    for link in ["<http://127.0.0.1:1/v2/a/b/tags/list>; rel=\"next\"", "</v2/a/b/tags/list>; rel=\"next\""] {
        let server =
            Server::start(move |_| Reply::new(200, r#"{"name":"a/b","tags":["x"]}"#).header("link", link));
        let error = remote(&server).tags().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(server.seen().len() <= 3);
    }
    let server = Server::start(|seen| {
        let next = seen.before + 1;
        Reply::new(200, r#"{"name":"a/b","tags":["x"]}"#)
            .header("link", format!("</v2/a/b/tags/list?last={next}>; rel=next"))
    });
    let error = remote(&server).tags().unwrap_err();
    assert!(error.to_string().contains("more than 1000 pages"), "{error}");
}

#[test]
fn referrers_come_from_the_api_or_the_fallback_tag() {
    let image = Image::new();
    let entry = format!(
        r#"{{"mediaType":"{}","digest":"{}","size":{},"artifactType":"app/sbom"}}"#,
        media_type::OCI_MANIFEST,
        image.descriptor.digest,
        image.descriptor.size
    );
    let index =
        format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{entry}]}}"#, media_type::OCI_INDEX);
    let subject = digest(b"subject");
    let (body, tag) = (index.clone(), format!("/v2/a/b/manifests/sha256-{}", subject.hex()));
    let with_api =
        Server::start(move |_| Reply::new(200, body.clone()).header("content-type", media_type::OCI_INDEX));
    let without = Server::start(move |seen| {
        if seen.target == tag {
            return Reply::new(200, index.clone()).header("content-type", media_type::OCI_INDEX);
        }
        Reply::new(404, "404 page not found")
    });
    for server in [&with_api, &without] {
        assert_eq!(remote(server).referrers(&subject, None).unwrap().len(), 1);
        assert_eq!(remote(server).referrers(&subject, Some("app/sbom")).unwrap().len(), 1);
        assert_eq!(remote(server).referrers(&subject, Some("other")).unwrap().len(), 0, "filtered here");
    }
    assert_eq!(remote(&without).referrers(&digest(b"unknown"), None).unwrap().len(), 0);
}
