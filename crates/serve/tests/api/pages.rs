// SPDX-License-Identifier: Apache-2.0
//! The pages for a person, and those for machines that watch.

use crate::http::{INDEX, Registry, manifest, sha256};

fn text(registry: &Registry, target: &str) -> String {
    let answer = registry.get(target);
    assert_eq!(answer.status, 200, "{target}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(answer.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    String::from_utf8(answer.body).unwrap()
}

#[test]
fn images_are_shown_from_the_repository_down_to_the_layer() {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path());
    let config = br#"{"architecture":"arm64","os":"linux","created":"2026-01-02T03:04:05Z","config":{"Entrypoint":["/bin/<b>x"],"Labels":{"a":"1&2"}},
        "rootfs":{"type":"layers","diff_ids":[]},"history":[{"created_by":"COPY . <script>alert(1)</script>","empty_layer":true}]}"#;
    let layer = registry.push_blob("team/app", &[1; 2500]);
    let config_digest = registry.push_blob("team/app", config);
    let image = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config_digest}","size":{}}},
        "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":2500}}]}}"#,
        config.len()
    );
    assert_eq!(registry.put_manifest("team/app", "v1", &image).status, 201);
    let digest = sha256(image.as_bytes());
    let platform = r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#;
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{},"platform":{platform}}}]}}"#,
        image.len()
    );
    let put =
        registry.send("PUT", "/v2/team/app/manifests/all", &[("content-type", INDEX)], index.as_bytes());
    assert_eq!(put.status, 201);
    registry.push_blob("team/app", b"{}");
    let subject = format!(
        r#""artifactType":"application/x-sbom","subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":1}},"#
    );
    let referrer = manifest(&subject);
    assert_eq!(
        registry.put_manifest("team/app", sha256(referrer.as_bytes()).as_str(), &referrer).status,
        201
    );

    assert!(text(&registry, "/").contains("<a href=\"/ui/team/app\">team/app</a></td><td>2</td>"));
    let repository = text(&registry, "/ui/team/app");
    for part in [
        "/ui/team/app:v1",
        "/ui/team/app:all",
        "<td>application/x-sbom</td>",
        "linux/arm64/v8",
        "2.7 kB",
        "2026-01-02",
    ] {
        assert!(repository.contains(part), "{part}\n{repository}");
    }
    let page = text(&registry, "/ui/team/app:v1");
    for part in [
        "&lt;b&gt;x",
        "1&amp;2",
        "2.5 kB",
        "no layer",
        "COPY . &lt;script&gt;",
        "application/x-sbom",
        digest.as_str(),
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    assert!(!page.contains("<script") && !page.contains("<b>x"), "{page}");
    let link = format!("/ui/team/app@{digest}");
    assert!(text(&registry, "/ui/team/app:all").contains(&link), "an index leads to its images");
    assert!(text(&registry, &link).contains("2.5 kB"));
}

#[test]
fn what_is_not_there_is_not_shown() {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path());
    assert!(text(&registry, "/").contains("none"));
    for target in ["/ui/app", "/ui/app:v1", "/metrics", "/token", "/ui/", "/ui/../x"] {
        assert!(matches!(registry.get(target).status, 400 | 404), "{target}");
    }
    let health = registry.get("/healthz");
    assert_eq!((health.status, health.body.as_slice()), (200, &b"ok\n"[..]));
    assert_eq!(registry.send("POST", "/", &[], b"").status, 405);
}
