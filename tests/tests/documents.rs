// SPDX-License-Identifier: Apache-2.0
//! docs/runtime-spec.md points at tests: each of them is there. And the manual pages of `conex` know every command.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use conex_testkit::{Run, Sandbox};

/// Every name of a function in the Rust files below a directory.
fn functions(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("the sources can be read") {
        let path = entry.expect("the sources can be read").path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).expect("the sources can be read");
            let words = text.lines().filter_map(|line| line.trim().strip_prefix("fn "));
            names.extend(words.filter_map(|word| word.split('(').next()).map(str::to_owned));
        }
    }
}

#[test]
fn every_test_that_the_specifications_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/runtime-spec.md")).unwrap();
    let mut units = BTreeSet::new();
    functions(&root.join("crates"), &mut units);
    let mut named = 0;
    for (row, word) in
        page.lines().flat_map(|row| row.split('`').skip(1).step_by(2).map(move |word| (row, word)))
    {
        if let Some((file, name)) = word.split_once("::").filter(|(file, _)| *file != "file") {
            let text = fs::read_to_string(root.join(format!("tests/tests/{file}.rs"))).unwrap_or_default();
            assert!(text.contains(&format!("\nfn {name}()")), "{word} of: {row}");
            named += 1;
        } else if row.contains(&format!("unit `{word}`")) {
            assert!(units.contains(word), "{word} of: {row}");
            named += 1;
        }
    }
    assert!(named > 60, "{named} names are not the whole page");
}

#[test]
fn every_command_has_a_page_that_names_its_options() {
    let sandbox = Sandbox::new();
    sandbox.conex(["manual", "pages"]).run().success();
    let help = sandbox.conex(["--help"]).run().success().stdout;
    let verbs: Vec<_> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .collect();
    assert!(verbs.len() > 20, "{help}");
    for verb in verbs.iter().filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help")
    {
        let page = fs::read_to_string(sandbox.work().join(format!("pages/conex-{verb}.1"))).expect(verb);
        assert!(page.contains(&format!("conex\\-{}", verb.replace('-', "\\-"))), "{page}");
        let help = sandbox.conex([verb, "--help"]).run().success().stdout;
        let defined = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let options = defined
            .filter_map(|line| line.split_whitespace().take(2).find_map(|word| word.strip_prefix("--")));
        for option in options.filter(|word| word.chars().all(|c| c.is_ascii_lowercase())) {
            assert!(page.contains(&format!("\\-\\-{option}\\fR")), "--{option} in the page of {verb}");
        }
    }
    sandbox.finish();
}
