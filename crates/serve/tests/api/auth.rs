// SPDX-License-Identifier: Apache-2.0
//! Tokens and rights, step by step as a client takes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use conex_serve::ServeOptions;

use crate::http::{Answer, MANIFEST, Registry, manifest};

const RIGHTS: &str = "* public/* pull\nme * pull push\nme doomed delete\nother public/* push";

fn registry(root: &std::path::Path) -> Registry {
    let user = |name: &str| format!("{name}:{}\n", bcrypt::hash(format!("{name}'s"), 4).unwrap());
    Registry::with(ServeOptions {
        htpasswd: Some(user("me") + &user("other")),
        rights: Some(RIGHTS.to_owned()),
        ..ServeOptions::new(root)
    })
}

fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{user}'s")))
}

fn get(registry: &Registry, target: &str, authorization: &str) -> Answer {
    registry.send("GET", target, &[("authorization", authorization)], b"")
}

/// A token for a scope, as the user or as nobody.
fn token(registry: &Registry, user: Option<&str>, scope: &str) -> String {
    let headers: Vec<_> = user.map(basic).into_iter().collect();
    let headers: Vec<_> = headers.iter().map(|value| ("authorization", value.as_str())).collect();
    let answer = registry.send("GET", &format!("/token?service=conex&scope={scope}"), &headers, b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    format!("Bearer {}", answer.json()["token"].as_str().unwrap())
}

fn push(registry: &Registry, name: &str, authorization: &str) -> u16 {
    let header = [("authorization", authorization)];
    let config = crate::http::sha256(b"{}");
    let target = format!("/v2/{name}/blobs/uploads/?digest={config}");
    let blob = registry.send("POST", &target, &header, b"{}").status;
    if blob != 201 {
        return blob;
    }
    let headers = [("authorization", authorization), ("content-type", MANIFEST)];
    registry.send("PUT", &format!("/v2/{name}/manifests/v1"), &headers, manifest("").as_bytes()).status
}

#[test]
fn a_client_is_told_what_to_ask_for_and_gets_what_it_may() {
    let root = tempfile::tempdir().unwrap();
    let registry = registry(root.path());
    let refused = registry.get("/v2/team/app/manifests/v1");
    let expected = format!(
        "Bearer realm=\"http://{}/token\",service=\"conex\",scope=\"repository:team/app:pull\"",
        registry.address
    );
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some(&*expected)));
    let all = token(&registry, Some("me"), "repository:team/app:pull,push,delete");
    assert_eq!(push(&registry, "team/app", &all), 201);
    assert_eq!(get(&registry, "/v2/team/app/manifests/v1", &all).status, 200);
    assert_eq!(get(&registry, "/v2/", &all).status, 200);
    let delete = |authorization: &str| {
        registry.send("DELETE", "/v2/team/app/manifests/v1", &[("authorization", authorization)], b"").status
    };
    assert_eq!(delete(&all), 403, "asked for, but not allowed");
    let pull = token(&registry, Some("me"), "repository:team/app:pull");
    let refused = registry.send("POST", "/v2/team/app/blobs/uploads/", &[("authorization", &*pull)], b"");
    assert_eq!(refused.status, 401, "allowed, but not asked for");
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(
        challenge.contains(":pull,push\"") && challenge.ends_with("error=\"insufficient_scope\""),
        "{challenge}"
    );
    assert_eq!(get(&registry, "/v2/team/other/tags/list", &pull).status, 401, "another repository");
    assert_eq!(get(&registry, "/v2/team/app/manifests/v1", "Bearer a.b.c").status, 401);
    assert_eq!(
        get(&registry, "/token?scope=repository:team/app:push", &pull).status,
        401,
        "no token buys a better one"
    );
    assert_eq!(get(&registry, "/v2/_catalog", &pull).status, 401, "nor tells what there is");
    let list = token(&registry, Some("me"), "registry:catalog:*");
    assert_eq!(get(&registry, "/v2/_catalog", &list).json()["repositories"], serde_json::json!(["team/app"]));
}

#[test]
fn strangers_pull_what_is_public_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let registry = registry(root.path());
    for name in ["public/app", "team/app"] {
        let token = token(&registry, Some("me"), &format!("repository:{name}:pull,push"));
        assert_eq!(push(&registry, name, &token), 201);
    }
    assert_eq!(registry.get("/v2/").status, 401, "clients learn here that there are tokens");
    let scope = "repository:public/app:pull,push%20repository:team/app:pull%20registry:catalog:*";
    let nobody = token(&registry, None, scope);
    assert_eq!(get(&registry, "/v2/", &nobody).status, 200);
    assert_eq!(get(&registry, "/v2/public/app/manifests/v1", &nobody).status, 200);
    assert_eq!(get(&registry, "/v2/team/app/manifests/v1", &nobody).status, 401);
    assert_eq!(push(&registry, "public/app", &nobody), 401);
    let listed = get(&registry, "/v2/_catalog", &nobody).json();
    assert_eq!(
        listed["repositories"],
        serde_json::json!(["public/app"]),
        "what may not be read is not listed"
    );
    let page = String::from_utf8(registry.get("/").body).unwrap();
    assert!(page.contains("public/app") && !page.contains("team/app"), "{page}");
    assert_eq!(registry.get("/ui/team/app:v1").status, 404);
    let wrong = [("authorization", "Basic bWU6d3Jvbmc=")];
    assert_eq!(registry.send("GET", "/token", &wrong, b"").status, 401);
}

#[test]
fn behind_a_proxy_tokens_are_had_where_clients_look() {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::with(ServeOptions {
        rights: Some(RIGHTS.to_owned()),
        address: Some("https://registry.example/".to_owned()),
        ..ServeOptions::new(root.path())
    });
    let refused = registry.get("/v2/");
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer realm=\"https://registry.example/token\","), "{challenge}");
}

#[test]
fn a_digest_alone_opens_nobody_elses_blob() {
    let root = tempfile::tempdir().unwrap();
    let registry = registry(root.path());
    let secret = crate::http::sha256(b"secret");
    let me = [("authorization", &*basic("me"))];
    let target = format!("/v2/team/app/blobs/uploads/?digest={secret}");
    assert_eq!(registry.send("POST", &target, &me, b"secret").status, 201);
    let other = [("authorization", &*basic("other"))];
    let push_only = token(&registry, Some("me"), "repository:public/app:push");
    let target = format!("/v2/public/app/blobs/uploads/?mount={secret}");
    let mounted = registry.send("POST", &target, &[("authorization", &*push_only)], b"").status;
    assert_eq!(mounted, 202, "a token is good for what it says");
    for from in ["", "&from=team/app"] {
        let target = format!("/v2/public/app/blobs/uploads/?mount={secret}{from}");
        assert_eq!(registry.send("POST", &target, &other, b"").status, 202, "an upload is begun instead");
        assert_eq!(get(&registry, &format!("/v2/public/app/blobs/{secret}"), &basic("other")).status, 404);
        assert_eq!(registry.send("POST", &target, &me, b"").status, 201, "who may read it may mount it");
        let seen = format!("/v2/public/app/blobs/{secret}");
        assert_eq!(get(&registry, &seen, &basic("other")).status, 200);
        std::fs::remove_dir_all(root.path().join("repositories/public/app")).unwrap();
    }
}
