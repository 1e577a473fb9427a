// SPDX-License-Identifier: Apache-2.0
//! `--format '{{.ID}} {{json .Labels}}'`: the part of Go's text/template that people use with docker and podman.
//!
//! Text, fields (`.State.Running`), pipelines, `if`/`else`, `range`, `with`, parentheses, trim markers, and the functions
//! in [`functions`]. Not there: `define`, `template`, variables other than `$`, user functions.
//!
//! ```text
//! text ──lex──► [Text, Action] ──parse──► [Node] ──evaluate over a JSON value──► String
//! ```

mod functions;
mod parse;

use serde_json::Value;

use crate::error::CommandError;
use parse::{Node, Operand, Pipeline};

/// Applies a template to one value and ends the line.
pub(crate) fn render_line(template: &str, value: &Value) -> Result<String, CommandError> {
    let mut text = render(template, value)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Applies a template to one value.
pub(crate) fn render(template: &str, value: &Value) -> Result<String, CommandError> {
    let template = template.replace("\\n", "\n").replace("\\t", "\t");
    let run = || {
        let nodes = parse::parse(&template)?;
        let mut out = String::new();
        evaluate(&nodes, value, value, &mut out)?;
        Ok(out)
    };
    run().map_err(|reason: String| {
        CommandError::usage(format!("--format: {reason}"))
            .with_hint("fields are named as in `--format json`, for example --format '{{.ID}} {{json .}}'")
    })
}

/// How Go prints a value.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(|(key, value)| format!("{key}:{}", text(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
    }
}

/// What Go takes for true: anything but false, zero, and the empty.
fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

fn evaluate(nodes: &[Node], root: &Value, dot: &Value, out: &mut String) -> Result<(), String> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(pipeline) => out.push_str(&text(&run(pipeline, root, dot)?)),
            Node::If { condition, then, otherwise } => {
                let branch = if truth(&run(condition, root, dot)?) { then } else { otherwise };
                evaluate(branch, root, dot, out)?;
            }
            Node::With { value, then, otherwise } => match run(value, root, dot)? {
                value if truth(&value) => evaluate(then, root, &value, out)?,
                _ => evaluate(otherwise, root, dot, out)?,
            },
            Node::Range { over, body, otherwise } => match run(over, root, dot)? {
                Value::Array(items) if !items.is_empty() => {
                    items.iter().try_for_each(|item| evaluate(body, root, item, out))?;
                }
                Value::Object(fields) if !fields.is_empty() => {
                    fields.values().try_for_each(|item| evaluate(body, root, item, out))?;
                }
                Value::Array(_) | Value::Object(_) | Value::Null => evaluate(otherwise, root, dot, out)?,
                other => return Err(format!("range cannot walk over {other}")),
            },
        }
    }
    Ok(())
}

/// Runs the commands from left to right, each result being the next one's last argument.
fn run(pipeline: &Pipeline, root: &Value, dot: &Value) -> Result<Value, String> {
    let mut piped = None;
    for command in &pipeline.commands {
        let (first, arguments) = command.split_first().ok_or("an empty command")?;
        let mut values = arguments.iter().map(|a| operand(a, root, dot)).collect::<Result<Vec<_>, _>>()?;
        values.extend(piped.take());
        piped = Some(match first {
            Operand::Function(name) => functions::call(name, values)?,
            value if values.is_empty() => operand(value, root, dot)?,
            _ => return Err("a value is not a function: nothing may follow it".to_owned()),
        });
    }
    piped.ok_or_else(|| "empty braces".to_owned())
}

fn operand(operand: &Operand, root: &Value, dot: &Value) -> Result<Value, String> {
    match operand {
        Operand::Literal(value) => Ok(value.clone()),
        Operand::Dot(fields) => walk(dot, fields),
        Operand::Root(fields) => walk(root, fields),
        Operand::Parenthesis(pipeline, fields) => walk(&run(pipeline, root, dot)?, fields),
        Operand::Function(name) => functions::call(name, Vec::new()),
    }
}

fn walk(value: &Value, fields: &[String]) -> Result<Value, String> {
    let mut at = value;
    for field in fields {
        at = match at {
            Value::Object(map) => match map.get(field) {
                Some(value) => value,
                None if is_record(map) => {
                    let known: Vec<_> = map.keys().map(String::as_str).collect();
                    return Err(format!("there is no field {field:?}; there are {}", known.join(", ")));
                }
                None => &Value::Null,
            },
            Value::Null => &Value::Null,
            other => return Err(format!("{other} has no field {field:?}")),
        };
    }
    Ok(at.clone())
}

/// Whether the keys are a structure's fields, and not a map's, such as labels: for those a missing key is no mistake.
fn is_record(map: &serde_json::Map<String, Value>) -> bool {
    !map.is_empty() && map.keys().all(|key| key.starts_with(char::is_uppercase))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(template: &str) -> String {
        let value = json!({
            "ID": "abc", "Names": ["web", "www"], "State": {"Running": true, "ExitCode": 0},
            "Config": {"Labels": {"a": "1", "b": "2"}, "Env": []}, "Size": 12,
        });
        render(template, &value).unwrap_or_else(|error| format!("error: {error}"))
    }

    #[test]
    fn the_templates_that_people_use() {
        for (template, expected) in [
            ("{{.ID}}", "abc"),
            ("{{ .State.Running }}", "true"),
            ("{{json .Names}}", r#"["web","www"]"#),
            ("{{.Names}}", "[web www]"),
            ("{{join .Names \",\"}}", "web,www"),
            ("{{range .Names}}<{{.}}>{{end}}", "<web><www>"),
            ("{{range .Config.Env}}x{{else}}none{{end}}", "none"),
            ("{{index .Names 1}}", "www"),
            ("{{index .Config.Labels \"b\"}}", "2"),
            ("{{.Config.Labels.missing}}", "<no value>"),
            ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
            ("{{if and .State.Running (eq .ID \"abc\")}}yes{{end}}", "yes"),
            ("{{if gt .Size 11}}big{{else if gt .Size 5}}middle{{else}}small{{end}}", "big"),
            ("{{.ID | upper | printf \"%s-%d\" \"x\"}}", "error: --format: printf: %d needs a number"),
            ("{{.ID | upper}}", "ABC"),
            ("{{with .State}}{{.ExitCode}}/{{$.ID}}{{end}}", "0/abc"),
            ("{{len .Names}}\\n", "2\n"),
            ("a {{- .ID -}} b", "aabcb"),
            ("{{/* nothing */}}x", "x"),
            ("{{println .ID}}", "abc\n"),
            ("{{not .State.Running}}", "false"),
        ] {
            assert_eq!(shown(template), expected, "{template}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (template, expected) in [
            ("{{.Nope}}", "there is no field \"Nope\"; there are"),
            ("{{.ID", "no }} after {{"),
            ("{{if .ID}}x", "{{if}} has no {{end}}"),
            ("{{end}}", "{{end}} without a beginning"),
            ("{{frob .ID}}", "unknown function \"frob\""),
            ("{{index .Names 9}}", "index 9"),
            ("{{\"open}}", "quote"),
            ("{{}}", "empty"),
        ] {
            let text = shown(template);
            assert!(text.starts_with("error: ") && text.contains(expected), "{template}: {text}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        let text = shown(&format!("{{{{{}.ID{}}}}}", "(".repeat(10_000), ")".repeat(10_000)));
        assert!(text.contains("nested"), "{text}");
        let text = shown(&"{{if .ID}}".repeat(10_000));
        assert!(text.contains("nested"), "{text}");
    }
}
