// SPDX-License-Identifier: Apache-2.0
//! The rules on graphs that break each of them once.

use serde_json::{Value, json};

use super::*;

/// A workspace in which every rule is broken, as `cargo metadata` would print it.
fn broken() -> Value {
    let package = |name: &str, version: &str, licence: &str| json!({ "id": format!("{name}@{version}"), "name": name, "version": version, "license": licence });
    let node = |id: &str, deps: &[(&str, Option<&str>)]| {
        let dep = |(pkg, kind): &(&str, Option<&str>)| json!({ "pkg": pkg, "dep_kinds": [{ "kind": kind }] });
        json!({ "id": id, "deps": deps.iter().map(dep).collect::<Vec<_>>() })
    };
    json!({
        "workspace_members": ["conex-spec@1", "conex-runtime@1", "conex-image@1", "conex-attic@1", "conex-testkit@1"],
        "packages": [
            package("conex-spec", "1", "Apache-2.0"), package("conex-runtime", "1", "Apache-2.0"),
            package("conex-image", "1", "Apache-2.0"), package("conex-attic", "1", "Apache-2.0"),
            package("conex-testkit", "1", "Apache-2.0"),
            package("serde", "1", "MIT OR Apache-2.0"), package("tokio", "1", "MIT"),
            package("openssl", "1", "Apache-2.0"), package("left-pad", "1", "WTFPL"),
            package("bitflags", "1", "MIT/Apache-2.0"), package("bitflags", "2", "MIT/Apache-2.0"),
        ],
        "resolve": { "nodes": [
            node("conex-spec@1", &[("conex-image@1", None), ("serde@1", None)]),
            node("conex-image@1", &[("bitflags@1", None)]),
            node("conex-runtime@1", &[("conex-spec@1", None), ("tokio@1", None), ("conex-testkit@1", Some("dev"))]),
            node("conex-attic@1", &[]),
            node("conex-testkit@1", &[("conex-image@1", None), ("left-pad@1", Some("build"))]),
            node("serde@1", &[]), node("tokio@1", &[("openssl@1", None), ("bitflags@2", None)]),
            node("openssl@1", &[]), node("left-pad@1", &[]), node("bitflags@1", &[]), node("bitflags@2", &[]),
        ] },
    })
}

fn deny() -> Deny {
    Deny::parse(include_str!("../../../deny.toml")).expect("deny.toml can be read")
}

#[test]
fn each_broken_rule_is_named() {
    let graph = Graph::of_metadata(&broken()).unwrap();
    let listed = ["serde", "tokio", "bitflags"].map(str::to_owned).into();
    let linked = ["conex-runtime", "conex-spec", "serde", "tokio", "openssl"].map(str::to_owned).into();
    let mut found = check(&graph, &deny(), &listed, &linked);
    found.sort();
    let banned = deny().banned["openssl"].clone();
    let expected = [
        "arrow: conex-attic is no room that the map knows; see ARROWS in xtask".to_owned(),
        "arrow: conex-spec must not depend on conex-image".into(),
        format!("ban: openssl 1: {banned}"),
        "duplicate: bitflags in versions {\"1\", \"2\"}".into(),
        "licence: left-pad has \"WTFPL\", which deny.toml does not allow".into(),
        "list: conex-testkit uses left-pad, which Cargo.toml does not give a reason for".into(),
        "runtime: openssl is not on the whitelist of conex-runtime".into(),
        "runtime: tokio is not on the whitelist of conex-runtime".into(),
    ];
    assert_eq!(found, expected);
}

#[test]
fn licence_expressions() {
    let allowed = ["MIT", "Apache-2.0", "ISC", "Unicode-3.0"].map(str::to_owned).into();
    for yes in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/GPL-2.0",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 AND ISC",
        "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
    ] {
        assert!(licence_allowed(yes, &allowed), "{yes}");
    }
    for no in ["", "GPL-3.0", "MIT AND GPL-3.0", "(GPL-3.0 OR LGPL-3.0) AND MIT", "MIT)", "OR MIT"] {
        assert!(!licence_allowed(no, &allowed), "{no}");
    }
}

#[test]
fn the_workspace_list_is_read() {
    let manifest = "[workspace]\nx = 1\n[workspace.dependencies]\n# a reason\nserde = { version = \"1\" }\nlexopt = \"0.3\"\n[profile.dev]\ny = 2\n";
    assert_eq!(listed_dependencies(manifest), ["lexopt", "serde"].map(str::to_owned).into());
}
