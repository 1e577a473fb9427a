// SPDX-License-Identifier: Apache-2.0
//! A template's text as a tree.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

/// A person writes three levels; a thousand are an attack on the stack.
const DEEPEST: usize = 50;

/// One piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    If { condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    With { value: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    Range { over: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
}

/// Commands, each fed with the result of the one before: `.ID | upper`.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub commands: Vec<Vec<Operand>>,
}

/// A word of a command.
#[derive(Debug)]
pub(super) enum Operand {
    Literal(Value),
    /// `.State.Running`, from the value at hand.
    Dot(Vec<String>),
    /// `$.ID`, from the whole value.
    Root(Vec<String>),
    /// `(index .Names 0).Length`
    Parenthesis(Pipeline, Vec<String>),
    Function(String),
}

/// Text, or what stands between braces.
enum Piece {
    Text(String),
    Action(String),
}

/// Reads a whole template.
pub(super) fn parse(template: &str) -> Result<Vec<Node>, String> {
    let mut pieces = lex(template)?.into_iter();
    let (nodes, end) = block(&mut pieces, 0)?;
    match end {
        None => Ok(nodes),
        Some(word) => Err(format!("{{{{{word}}}}} without a beginning")),
    }
}

fn lex(template: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut trim_start = false;
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, after) = after.split_once("}}").ok_or("no }} after {{")?;
        let trim_end = action.starts_with("- ");
        let before = if trim_start { before.trim_start() } else { before };
        pieces.push(Piece::Text(if trim_end { before.trim_end() } else { before }.to_owned()));
        trim_start = action.ends_with(" -");
        let action = action.trim_start_matches("- ").trim_end_matches(" -").trim();
        if !action.starts_with("/*") {
            pieces.push(Piece::Action(action.to_owned()));
        }
        rest = after;
    }
    pieces.push(Piece::Text(if trim_start { rest.trim_start() } else { rest }.to_owned()));
    Ok(pieces)
}

/// Nodes up to `end` or `else …`, which is returned.
fn block(
    pieces: &mut std::vec::IntoIter<Piece>,
    depth: usize,
) -> Result<(Vec<Node>, Option<String>), String> {
    if depth > DEEPEST {
        return Err("nested too deeply".to_owned());
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let action = match piece {
            Piece::Text(text) if text.is_empty() => continue,
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(action) => action,
        };
        let (word, rest) = action.split_once(char::is_whitespace).unwrap_or((&action, ""));
        match word {
            "end" | "else" => return Ok((nodes, Some(action))),
            "if" | "with" | "range" => nodes.push(branch(word, rest, pieces, depth)?),
            _ => nodes.push(Node::Print(pipeline(&action)?)),
        }
    }
    Ok((nodes, None))
}

/// `if …`, `with …`, `range …`, up to its `end`.
fn branch(
    word: &str,
    rest: &str,
    pieces: &mut std::vec::IntoIter<Piece>,
    depth: usize,
) -> Result<Node, String> {
    let head = pipeline(rest)?;
    let (then, end) = block(pieces, depth + 1)?;
    let otherwise = match end.as_deref() {
        Some("end") => Vec::new(),
        Some("else") => match block(pieces, depth + 1)? {
            (nodes, Some(end)) if end == "end" => nodes,
            _ => return Err(format!("{{{{{word}}}}} has no {{{{end}}}}")),
        },
        Some(chained) => {
            let next = chained.trim_start_matches("else").trim();
            let condition =
                next.strip_prefix("if ").ok_or_else(|| format!("{{{{{chained}}}}} is not understood"))?;
            vec![branch("if", condition, pieces, depth + 1)?]
        }
        None => return Err(format!("{{{{{word}}}}} has no {{{{end}}}}")),
    };
    Ok(match word {
        "if" => Node::If { condition: head, then, otherwise },
        "with" => Node::With { value: head, then, otherwise },
        _ => Node::Range { over: head, body: then, otherwise },
    })
}

fn pipeline(text: &str) -> Result<Pipeline, String> {
    let mut letters = text.chars().peekable();
    let pipeline = commands(&mut letters, 0)?;
    match letters.next() {
        None => Ok(pipeline),
        Some(letter) => Err(format!("unexpected {letter:?} in {{{{{text}}}}}")),
    }
}

/// Commands up to the end or a closing parenthesis.
fn commands(letters: &mut Peekable<Chars<'_>>, depth: usize) -> Result<Pipeline, String> {
    if depth > DEEPEST {
        return Err("nested too deeply".to_owned());
    }
    let mut commands = vec![Vec::new()];
    while let Some(&letter) = letters.peek() {
        match letter {
            ')' => break,
            '|' => {
                letters.next();
                commands.push(Vec::new());
            }
            c if c.is_whitespace() => {
                letters.next();
            }
            _ => {
                let operand = operand(letters, depth)?;
                commands.last_mut().expect("begins with one command and only grows").push(operand);
            }
        }
    }
    match commands.iter().any(Vec::is_empty) {
        true => Err("empty braces or an empty command beside |".to_owned()),
        false => Ok(Pipeline { commands }),
    }
}

fn operand(letters: &mut Peekable<Chars<'_>>, depth: usize) -> Result<Operand, String> {
    match letters.peek().copied() {
        Some('.') => Ok(Operand::Dot(fields(letters))),
        Some('$') => {
            letters.next();
            Ok(Operand::Root(fields(letters)))
        }
        Some('(') => {
            letters.next();
            let inner = commands(letters, depth + 1)?;
            letters.next_if_eq(&')').ok_or("a parenthesis is not closed")?;
            Ok(Operand::Parenthesis(inner, fields(letters)))
        }
        Some(quote @ ('"' | '`')) => quoted(letters, quote).map(|text| Operand::Literal(Value::String(text))),
        _ => word(letters),
    }
}

/// `.A.B`; a lone dot is no field.
fn fields(letters: &mut Peekable<Chars<'_>>) -> Vec<String> {
    let mut fields = Vec::new();
    while letters.next_if_eq(&'.').is_some() {
        let mut name = String::new();
        while let Some(letter) = letters.next_if(|c| c.is_alphanumeric() || *c == '_') {
            name.push(letter);
        }
        if !name.is_empty() {
            fields.push(name);
        }
    }
    fields
}

fn quoted(letters: &mut Peekable<Chars<'_>>, quote: char) -> Result<String, String> {
    letters.next();
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            c if c == quote => return Ok(text),
            '\\' if quote == '"' => match letters.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some(other) => text.push(other),
                None => break,
            },
            other => text.push(other),
        }
    }
    Err("a quote is not closed".to_owned())
}

fn word(letters: &mut Peekable<Chars<'_>>) -> Result<Operand, String> {
    let mut word = String::new();
    while let Some(letter) = letters.next_if(|c| c.is_alphanumeric() || matches!(c, '_' | '-')) {
        word.push(letter);
    }
    match word.as_str() {
        "" => Err(format!("unexpected {:?}", letters.next().unwrap_or_default())),
        "true" => Ok(Operand::Literal(Value::Bool(true))),
        "false" => Ok(Operand::Literal(Value::Bool(false))),
        "nil" => Ok(Operand::Literal(Value::Null)),
        _ => match word.parse::<i64>() {
            Ok(number) => Ok(Operand::Literal(number.into())),
            Err(_) => Ok(Operand::Function(word)),
        },
    }
}
