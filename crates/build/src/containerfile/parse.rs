// SPDX-License-Identifier: Apache-2.0
//! From logical lines to instructions: first word and flags, then the arguments in the instruction's own way
//! (`arguments`), then stages.

use super::arguments;
use super::flag;
use super::instruction::{Instruction, Kind};
use super::source::{LARGEST, Line, Source};
use super::word;
use super::{Containerfile, Mistake, Span, Stage};

/// Reads a whole file.
pub fn parse(text: &str) -> Result<Containerfile, Mistake> {
    let start = Span { line: 1, column: 1, end_line: 1, end_column: 1 };
    if text.len() > LARGEST {
        let message = format!("a Containerfile of {} bytes; it may have {LARGEST}", text.len());
        return Err(Mistake::new(start, message).with_hint("copy large files from the context"));
    }
    let mut source = Source::new(text);
    let mut file = Containerfile::default();
    while let Some(instruction) = next(&mut source)? {
        add(&mut file, instruction)?;
    }
    if file.stages.is_empty() {
        return Err(Mistake::new(start, "the file has no FROM")
            .with_hint("begin it with FROM IMAGE, or FROM scratch for an empty one"));
    }
    file.directives = source.directives;
    file.empty_continuations = source.empty_continuations;
    Ok(file)
}

/// Reads what an `ONBUILD` of a base image says; its mistakes are at the `FROM` that named the image.
pub fn parse_trigger(text: &str, at: Span) -> Result<Instruction, Mistake> {
    let mut source = Source::at(text, at, '\\');
    let found = (next(&mut source)?, next(&mut source)?);
    let (Some(instruction), None) = found else {
        return Err(Mistake::new(at, format!("the base image's trigger {text:?} is not one instruction")));
    };
    arguments::check_trigger(&instruction.word, at)?;
    Ok(instruction)
}

fn add(file: &mut Containerfile, instruction: Instruction) -> Result<(), Mistake> {
    match (&instruction.kind, file.stages.last_mut()) {
        (Kind::From(from), _) => {
            let from = from.clone();
            file.stages.push(Stage { from, head: instruction, instructions: Vec::new() });
        }
        (_, Some(stage)) => stage.instructions.push(instruction),
        (Kind::Arg(_), None) => file.globals.push(instruction),
        (_, None) => {
            let message = format!("{} stands before the first FROM", instruction.word);
            return Err(Mistake::new(instruction.span, message).with_hint("only ARG may stand there"));
        }
    }
    Ok(())
}

fn next(source: &mut Source<'_>) -> Result<Option<Instruction>, Mistake> {
    let Some(mut line) = source.next()? else { return Ok(None) };
    if let Some(at) = line.text.find('\0') {
        return Err(Mistake::new(line.span(at..at + 1), "a NUL byte: this is no text"));
    }
    let escape = source.directives.escape;
    let mut heredocs = match takes_heredocs(&line, 0, escape) {
        Some(from) => word::heredocs(&line.text, from),
        None => Vec::new(),
    };
    source.take_heredocs(&mut line, &mut heredocs)?;
    let end = word_end(&line.text, 0);
    let name = line.text[..end].to_owned();
    let (flags, from) = flag::split(&line, end, escape);
    let arguments = arguments::Arguments { line: &line, from, escape, heredocs };
    let kind = arguments.parse(&name, flags)?;
    let span = line.whole();
    Ok(Some(Instruction {
        word: name,
        span,
        kind,
        text: line.text.trim_end().to_owned(),
        comments: line.comments,
    }))
}

fn word_end(text: &str, from: usize) -> usize {
    text[from..].find(char::is_whitespace).map_or(text.len(), |offset| from + offset)
}

/// Where the arguments begin of an instruction that may announce here-documents: not in the form of a JSON array, and
/// `ONBUILD` where its trigger may.
fn takes_heredocs(line: &Line, at: usize, escape: char) -> Option<usize> {
    let text = &line.text;
    let start = at + (text[at..].len() - text[at..].trim_start().len());
    let end = word_end(text, start);
    let (_, from) = flag::split(line, end, escape);
    match text[start..end].to_ascii_uppercase().as_str() {
        "ONBUILD" if at == 0 => takes_heredocs(line, from, escape),
        "RUN" | "COPY" | "ADD" => arguments::json_words(&text[from..]).is_none().then_some(from),
        _ => None,
    }
}
