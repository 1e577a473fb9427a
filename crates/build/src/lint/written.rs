// SPDX-License-Identifier: Apache-2.0
//! The rules that only need what is written.

use std::collections::BTreeSet;

use super::{Rule, Warning};
use crate::containerfile::{Containerfile, Instruction, Kind, Stage};

/// What they find.
pub fn check(file: &Containerfile) -> Vec<Warning> {
    let mut found: Vec<Warning> = file
        .empty_continuations
        .iter()
        .map(|span| {
            Warning::new(
                Rule::NoEmptyContinuation,
                *span,
                "an empty line continues an instruction; put a `#` on it, or remove it",
            )
        })
        .collect();
    stage_names(file, &mut found);
    casing(file, &mut found);
    for stage in &file.stages {
        described("FROM", &stage.head, stage.from.name.as_slice(), &mut found);
        once(stage, &mut found);
    }
    for instruction in file.globals.iter().chain(file.stages.iter().flat_map(|stage| &stage.instructions)) {
        match &instruction.kind {
            Kind::Maintainer(_) => found.push(Warning::new(
                Rule::MaintainerDeprecated,
                instruction.span,
                "MAINTAINER is a label nowadays: LABEL org.opencontainers.image.authors=…",
            )),
            Kind::Arg(args) => {
                let names: Vec<String> = args.iter().map(|arg| arg.name.clone()).collect();
                described("ARG", instruction, &names, &mut found);
            }
            Kind::Env(pairs) | Kind::Label(pairs) if pairs.iter().any(|pair| pair.legacy) => {
                let word = instruction.word.to_ascii_uppercase();
                let message = format!("{word} without `=` is the old form; write {word} name=value");
                found.push(Warning::new(Rule::LegacyKeyValueFormat, instruction.span, message));
            }
            _ => {}
        }
    }
    found
}

fn stage_names(file: &Containerfile, found: &mut Vec<Warning>) {
    let mut seen = BTreeSet::new();
    for stage in &file.stages {
        let span = stage.head.span;
        let (Some(name), Some(written)) = (&stage.from.name, &stage.from.written_name) else { continue };
        if name != written {
            let message = format!("the stage's name {written:?} counts in lower case: write {name:?}");
            found.push(Warning::new(Rule::StageNameCasing, span, message));
        }
        if name == "scratch" || name == "context" {
            let message = format!("the name {name:?} has a meaning of its own");
            found.push(Warning::new(Rule::ReservedStageName, span, message));
        }
        if !seen.insert(name) {
            let message = format!("another stage is named {name:?} already");
            found.push(Warning::new(Rule::DuplicateStageName, span, message));
        }
        let keyword = stage.from.as_word.as_deref().unwrap_or_default();
        let from = stage.head.word.as_str();
        if case(from).is_some_and(|lower| {
            (if lower { keyword.to_lowercase() } else { keyword.to_uppercase() }) != keyword
        }) {
            let message = format!("`{keyword}` is not written like `{from}`");
            found.push(Warning::new(Rule::FromAsCasing, span, message));
        }
    }
}

/// Lower (`true`), upper, or neither.
fn case(word: &str) -> Option<bool> {
    match word {
        word if word.to_lowercase() == word => Some(true),
        word if word.to_uppercase() == word => Some(false),
        _ => None,
    }
}

fn casing(file: &Containerfile, found: &mut Vec<Warning>) {
    let all = || file.stages.iter().flat_map(|stage| [&stage.head].into_iter().chain(&stage.instructions));
    let count = |lower| all().filter(|instruction| case(&instruction.word) == Some(lower)).count();
    let lower = count(true) > count(false);
    for instruction in all().filter(|instruction| case(&instruction.word) != Some(lower)) {
        let expected = if lower { "lower case" } else { "upper case" };
        let message = format!("`{}` is not in {expected} like most instructions here", instruction.word);
        found.push(Warning::new(Rule::ConsistentInstructionCasing, instruction.span, message));
    }
}

/// Instructions of which only the last one counts, and command lines that signals do not reach.
fn once(stage: &Stage, found: &mut Vec<Warning>) {
    let mut last: [Option<&Instruction>; 3] = [None; 3];
    let mut has_shell = false;
    for instruction in &stage.instructions {
        let (place, is_shell_form) = match &instruction.kind {
            Kind::Cmd(form) => (0, matches!(form, crate::containerfile::Form::Shell(_))),
            Kind::Entrypoint(form) => (1, matches!(form, crate::containerfile::Form::Shell(_))),
            Kind::Healthcheck(_) => (2, false),
            Kind::Shell(_) => {
                has_shell = true;
                continue;
            }
            _ => continue,
        };
        let word = instruction.word.to_ascii_uppercase();
        if is_shell_form && !has_shell {
            let message = format!(
                "{word} runs a shell, which keeps signals from the program; write it as a JSON array"
            );
            found.push(Warning::new(Rule::JSONArgsRecommended, instruction.span, message));
        }
        if let Some(earlier) = last[place].replace(instruction) {
            let message = format!("a later {word} of this stage makes this one void");
            found.push(Warning::new(Rule::MultipleInstructionsDisallowed, earlier.span, message));
        }
    }
}

fn described(what: &str, instruction: &Instruction, names: &[String], found: &mut Vec<Warning>) {
    let (Some(comment), Some(first)) = (instruction.comments.last(), names.first()) else { return };
    let about = comment.split(' ').next().unwrap_or_default();
    if names.iter().any(|name| name == about) {
        return;
    }
    let name = if names.len() > 1 { "NAME" } else { first };
    let message = format!(
        "the comment above {what} describes something else; begin it with `# {name}`, or put an empty line between"
    );
    found.push(Warning::new(Rule::InvalidDefinitionDescription, instruction.span, message));
}
