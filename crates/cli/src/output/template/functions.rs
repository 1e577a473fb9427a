// SPDX-License-Identifier: Apache-2.0
//! What a template can call, by name.

use std::cmp::Ordering;

use serde_json::Value;

use super::{text, truth};

/// Calls one function. A pipeline's value comes last.
pub(super) fn call(name: &str, arguments: Vec<Value>) -> Result<Value, String> {
    let one = || match arguments.as_slice() {
        [value] => Ok(value),
        other => Err(format!("{name} takes one value, not {}", other.len())),
    };
    match name {
        "json" => Ok(Value::String(one()?.to_string())),
        "lower" => Ok(Value::String(text(one()?).to_lowercase())),
        "upper" => Ok(Value::String(text(one()?).to_uppercase())),
        "title" => Ok(Value::String(capitalised(&text(one()?)))),
        "len" => length(one()?),
        "not" => Ok(Value::Bool(!truth(one()?))),
        "and" => pick(arguments, |value| !truth(value)),
        "or" => pick(arguments, truth),
        "eq" => {
            compare(&arguments).map(|(first, rest)| Value::Bool(rest.iter().any(|other| same(first, other))))
        }
        "ne" => {
            compare(&arguments).map(|(first, rest)| Value::Bool(!rest.iter().any(|other| same(first, other))))
        }
        "lt" => order(&arguments, |order| order == Ordering::Less),
        "le" => order(&arguments, |order| order != Ordering::Greater),
        "gt" => order(&arguments, |order| order == Ordering::Greater),
        "ge" => order(&arguments, |order| order != Ordering::Less),
        "index" => index(&arguments),
        "join" => join(&arguments),
        "split" => split(&arguments),
        "print" => Ok(Value::String(arguments.iter().map(text).collect())),
        "println" => Ok(Value::String(arguments.iter().map(text).collect::<Vec<_>>().join(" ") + "\n")),
        "printf" => printf(&arguments),
        "truncate" => truncate(&arguments),
        "pad" => pad(&arguments),
        _ => Err(format!(
            "unknown function {name:?}; there are and eq ge gt index join json le len lower lt ne not or pad print \
             printf println split title truncate upper"
        )),
    }
}

fn capitalised(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let shown = if start { c.to_ascii_uppercase() } else { c };
            start = c.is_whitespace();
            shown
        })
        .collect()
}

fn length(value: &Value) -> Result<Value, String> {
    match value {
        Value::Array(items) => Ok(items.len().into()),
        Value::Object(fields) => Ok(fields.len().into()),
        Value::String(text) => Ok(text.len().into()),
        Value::Null => Ok(0.into()),
        other => Err(format!("len: {other} has no length")),
    }
}

/// The first that `stops`, or the last.
fn pick(arguments: Vec<Value>, stops: impl Fn(&Value) -> bool) -> Result<Value, String> {
    let at =
        arguments.iter().position(stops).or(arguments.len().checked_sub(1)).ok_or("and, or need a value")?;
    Ok(arguments.into_iter().nth(at).unwrap_or_default())
}

fn compare(arguments: &[Value]) -> Result<(&Value, &[Value]), String> {
    match arguments.split_first() {
        Some((first, rest)) if !rest.is_empty() => Ok((first, rest)),
        _ => Err("a comparison needs two values".to_owned()),
    }
}

fn same(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.total_cmp(&right) == Ordering::Equal,
        _ => left == right,
    }
}

fn order(arguments: &[Value], holds: impl Fn(Ordering) -> bool) -> Result<Value, String> {
    let [left, right] = arguments else { return Err("a comparison needs two values".to_owned()) };
    let order = match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.total_cmp(&right),
        _ => text(left).cmp(&text(right)),
    };
    Ok(Value::Bool(holds(order)))
}

fn index(arguments: &[Value]) -> Result<Value, String> {
    let (value, keys) = arguments.split_first().ok_or("index needs a value")?;
    let mut at = value;
    for key in keys {
        at = match (at, key) {
            (Value::Array(items), Value::Number(number)) => number
                .as_u64()
                .and_then(|n| items.get(usize::try_from(n).ok()?))
                .ok_or_else(|| format!("index {number}: the list has {} entries", items.len()))?,
            (Value::Object(fields), key) => fields.get(&text(key)).unwrap_or(&Value::Null),
            (Value::Null, _) => &Value::Null,
            (other, key) => return Err(format!("index: {other} has no entry {key}")),
        };
    }
    Ok(at.clone())
}

fn join(arguments: &[Value]) -> Result<Value, String> {
    let [Value::Array(items), separator] = arguments else {
        return Err("join takes a list and a separator".to_owned());
    };
    Ok(Value::String(items.iter().map(text).collect::<Vec<_>>().join(&text(separator))))
}

fn split(arguments: &[Value]) -> Result<Value, String> {
    let [value, separator] = arguments else { return Err("split takes a text and a separator".to_owned()) };
    let parts = text(value).split(&text(separator)).map(|part| Value::String(part.to_owned())).collect();
    Ok(Value::Array(parts))
}

/// `%s %v %d %q %%`, without widths.
fn printf(arguments: &[Value]) -> Result<Value, String> {
    let (format, values) = arguments.split_first().ok_or("printf needs a format")?;
    let (format, mut values) = (text(format), values.iter());
    let (mut out, mut letters) = (String::new(), format.chars());
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let verb = letters.next().ok_or("printf: the format ends with %")?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| format!("printf: no value for %{verb}"))?;
        match verb {
            's' | 'v' => out.push_str(&text(value)),
            'd' if value.is_number() => out.push_str(&value.to_string()),
            'd' => return Err("printf: %d needs a number".to_owned()),
            'q' => out.push_str(&Value::String(text(value)).to_string()),
            other => return Err(format!("printf: %{other} is not known; there are %s %v %d %q %%")),
        }
    }
    Ok(Value::String(out))
}

fn truncate(arguments: &[Value]) -> Result<Value, String> {
    let [value, Value::Number(length)] = arguments else {
        return Err("truncate takes a text and a length".to_owned());
    };
    let length = length.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or("truncate: not a length")?;
    Ok(Value::String(text(value).chars().take(length).collect()))
}

fn pad(arguments: &[Value]) -> Result<Value, String> {
    let [value, Value::Number(before), Value::Number(after)] = arguments else {
        return Err("pad takes a text and the blanks before and after it".to_owned());
    };
    let blanks =
        |n: &serde_json::Number| " ".repeat(usize::try_from(n.as_u64().unwrap_or(0).min(1000)).unwrap_or(0));
    Ok(Value::String(format!("{}{}{}", blanks(before), text(value), blanks(after))))
}
