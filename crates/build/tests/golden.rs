// SPDX-License-Identifier: Apache-2.0
//! Containerfiles and what is planned of them, or what is wrong with them: `cases/NAME.containerfile` beside `cases/NAME.graph` or
//! `cases/NAME.error`. A last line `# request: target=x arg=NAME=value` is what the command line would say. With
//! `CONEX_BLESS=1` the files are written instead of compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use conex_build::containerfile;
use conex_build::graph::{Base, Bases, NamedContext, Planned, Request, plan};
use conex_spec::image::{ImageConfig, Platform};

fn platform(architecture: &str) -> Platform {
    Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), ..Platform::default() }
}

fn request(text: &str) -> Request {
    let mut request = Request {
        target: None,
        build_args: BTreeMap::new(),
        target_platform: platform("arm64"),
        build_platform: platform("amd64"),
        contexts: BTreeMap::from([("assets".to_owned(), NamedContext::Files)]),
    };
    let wishes = text.lines().last().and_then(|line| line.strip_prefix("# request: ")).unwrap_or_default();
    for wish in wishes.split_whitespace() {
        match wish.split_once('=') {
            Some(("target", name)) => request.target = Some(name.to_owned()),
            Some(("arg", pair)) => {
                let (name, value) = pair.split_once('=').expect("NAME=value");
                request.build_args.insert(name.to_owned(), value.to_owned());
            }
            _ => panic!("{wish:?} is no request"),
        }
    }
    request
}

/// Every image is there; `trigger` has two triggers.
fn image(base: &Base) -> ImageConfig {
    let triggers = r#"["COPY . /src", "RUN --mount=from=tools,target=/t make"]"#;
    let on_build = if base.name == "trigger" { triggers } else { "[]" };
    let text = format!(
        r#"{{"architecture": "arm64", "os": "linux", "rootfs": {{"type": "layers", "diff_ids": []}},
            "config": {{"Env": ["PATH=/bin", "BASE={}"], "Cmd": ["sh"], "OnBuild": {on_build}}}}}"#,
        base.name
    );
    serde_json::from_str(&text).expect("a configuration")
}

fn outcome(text: &str) -> (&'static str, String) {
    let request = request(text);
    let mut bases = Bases::new();
    let planned = containerfile::parse(text).and_then(|file| {
        loop {
            match plan(&file, &request, &bases)? {
                Planned::Whole(graph) => return Ok(graph),
                Planned::Needs(base, _) => drop(bases.insert(base.clone(), image(&base))),
            }
        }
    });
    match planned {
        Ok(graph) => ("graph", graph.to_string()),
        Err(mistake) => {
            let span = mistake.span;
            let end = format!("{}:{}", span.end_line, span.end_column);
            ("error", format!("{mistake} (to {end})\n{}\n", mistake.hint.clone().unwrap_or_default()))
        }
    }
}

#[test]
fn every_case_comes_out_as_it_is_written_down() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(&cases).expect("cases") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "containerfile") {
            continue;
        }
        count += 1;
        let (kind, found) = outcome(&fs::read_to_string(&path).expect("a case"));
        let expected = path.with_extension(kind);
        if std::env::var_os("CONEX_BLESS").is_some() {
            fs::write(&expected, &found).expect("write a case");
        }
        let known = fs::read_to_string(&expected).unwrap_or_else(|_| "(no such file)".to_owned());
        if known != found {
            wrong.push(format!("{}:\n{found}\ninstead of\n{known}", expected.display()));
        }
    }
    assert!(count > 50, "only {count} cases were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Ten thousand stages on each other, variables that double, triggers without end: an answer soon, in little memory.
#[test]
fn hostile_files_are_planned_or_refused_soon() {
    let chain: String = (1..10_000).map(|n| format!("FROM s{} AS s{n}\n", n - 1)).collect();
    assert_eq!(outcome(&format!("FROM scratch AS s0\n{chain}")).0, "graph");
    let doubling: String = (1..60).map(|n| format!("ARG v{n}=$v{}$v{}\n", n - 1, n - 1)).collect();
    let (kind, message) = outcome(&format!("FROM a\nARG v0=xxxxxxxx\n{doubling}"));
    assert_eq!(kind, "error", "{message}");
    let wide: String = (0..4000).map(|n| format!("ENV v{n}={}\nRUN true\n", "x".repeat(1000))).collect();
    let (kind, message) = outcome(&format!("FROM a\n{wide}"));
    assert!(kind == "error" && message.contains("too much"), "{message}");
}
