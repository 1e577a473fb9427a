// SPDX-License-Identifier: Apache-2.0
//! Passwords and the access log.

use std::sync::{Arc, Mutex};

use conex_serve::{Access, ServeOptions};

use crate::http::Registry;

#[test]
fn without_the_password_nothing_is_told() {
    let root = tempfile::tempdir().unwrap();
    let hash = bcrypt::hash("secret", 4).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = heard.clone();
    let registry = Registry::with(ServeOptions {
        htpasswd: Some(format!("me:{hash}")),
        on_access: Some(Arc::new(move |access: &Access| ear.lock().unwrap().push(access.clone()))),
        ..ServeOptions::new(root.path())
    });
    let refused = registry.get("/v2/");
    assert_eq!((refused.status, refused.code().as_str()), (401, "UNAUTHORIZED"));
    assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"conex\""));
    let with = |header: &str| registry.send("GET", "/v2/?x=1", &[("authorization", header)], b"").status;
    assert_eq!(with("Basic bWU6d3Jvbmc="), 401);
    assert_eq!(with("Basic bWU6c2VjcmV0"), 200);
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 3);
    assert_eq!((heard[2].status, heard[2].target.as_str(), heard[2].bytes), (200, "/v2/?x=1", Some(2)));
}
