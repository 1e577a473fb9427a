// SPDX-License-Identifier: Apache-2.0
//! serde_json is the oracle: what it reads is read alike, what it refuses is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Thing {
    word: String,
    small: u8,
    negative: i64,
    large: u64,
    part: f64,
    yes: bool,
    maybe: Option<Box<Thing>>,
    list: Vec<Option<String>>,
    map: BTreeMap<String, Kind>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    With(String),
    Two(u8, u8),
    Named { a: u8 },
}

fn thing() -> Thing {
    let kinds = [
        ("plain", Kind::Plain),
        ("with", Kind::With("x".into())),
        ("two", Kind::Two(1, 2)),
        ("named", Kind::Named { a: 3 }),
        ("\u{1}\"\\/\n", Kind::Plain),
    ];
    let inner =
        Thing {
            word: "\u{8}\u{c}\t\r\n\"\\/ä😀\u{7f}\u{0}".into(), negative: i64::MIN, ..Thing::default()
        };
    Thing {
        large: u64::MAX,
        small: 255,
        part: -1.5e-7,
        yes: true,
        maybe: Some(inner.into()),
        list: vec![None, Some(String::new())],
        map: kinds.into_iter().map(|(key, kind)| (key.to_owned(), kind)).collect(),
        ..Thing::default()
    }
}

#[test]
fn what_is_written_is_read_and_is_what_serde_json_writes() {
    for value in [thing(), Thing::default()] {
        let compact = write(&value).unwrap();
        assert_eq!(compact, serde_json::to_string(&value).unwrap());
        let indented = write_indented(&value, "  ").unwrap();
        assert_eq!(indented, serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(read::<Thing>(compact.as_bytes()).unwrap(), value);
        assert_eq!(read::<Thing>(indented.as_bytes()).unwrap(), value);
    }
}

/// One byte of a document exchanged for another, everywhere: both readers agree on whether it is one.
#[test]
fn texts_are_refused_as_serde_json_refuses_them() {
    // It looks at the form alone: not at the range of numbers.
    let accepts = |text: &[u8]| {
        str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
    };
    let text = serde_json::to_vec(&thing()).unwrap();
    let mut refused = 0;
    for at in 0..text.len() {
        for byte in *b"\"\\{}[],:0-+.eEntu/ \n\x1f\x7f\xc3a" {
            let mut text = text.clone();
            text[at] = byte;
            assert_eq!(Document::parse(&text).is_ok(), accepts(&text), "{}", String::from_utf8_lossy(&text));
            refused += usize::from(!accepts(&text));
        }
        assert_eq!(Document::parse(&text[..at]).is_ok(), accepts(&text[..at]), "{at}");
    }
    assert!(refused > text.len());
}

#[test]
fn numbers_and_words_follow_the_grammar() {
    let good = "0 -0 -1 10 1.5 1e9 1E-9 1.25e+3 true false null \"\" [] {} [1,[2]] {\"a\":{\"b\":[]}}";
    for text in good.split(' ') {
        assert!(Document::parse(text.as_bytes()).is_ok(), "{text}");
    }
    let bad = "01 -01 - +1 .5 1. 1e 1e+ 0x1 nul tru True [1,] [,1] {\"a\"} {\"a\":} {1:2} [1 \"\\u12\" \"\\x\" 1,2 ]";
    for text in bad.split(' ') {
        assert!(Document::parse(text.as_bytes()).is_err(), "{text}");
    }
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(Document::parse(deep(128).as_bytes()).is_ok());
    assert!(Document::parse(deep(129).as_bytes()).is_err());
}

/// As Go's encoding/json does.
#[test]
fn surrogates_are_joined_and_lone_ones_replaced() {
    let text = r#"["\ud83d\ude00", "\ud83d", "\ude00x", "\ud83d\u0041", "\u00e4\u0000"]"#;
    let words: Vec<String> = read(text.as_bytes()).unwrap();
    assert_eq!(words, ["😀", "\u{fffd}", "\u{fffd}x", "\u{fffd}A", "ä\0"]);
}

#[test]
fn of_a_repeated_key_the_last_counts_in_structs_and_maps() {
    let text = r#"{"word":"a","word":7,"w\u006frd":"b","map":{"x":"Plain","x":{"With":"y"}},"unknown":[{}]}"#;
    let thing: Thing = read(text.as_bytes()).unwrap();
    assert_eq!((&*thing.word, &thing.map["x"]), ("b", &Kind::With("y".into())));
}

#[test]
fn an_error_is_at_the_value_that_does_not_fit() {
    let told = |text: &str| read::<Thing>(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(told(r#"{"small": 256}"#), "invalid value: integer `256`, expected u8 at byte 10");
    assert_eq!(told(r#"{"small": 1.5}"#), "invalid type: number `1.5`, expected u8 at byte 10");
    assert_eq!(
        told(r#"{"large": 18446744073709551616}"#).split(", ").last(),
        Some("expected u64 at byte 10")
    );
    assert_eq!(told(r#"{"list": ["a", [], 3]}"#), "invalid type: sequence, expected a string at byte 15");
    assert!(told(r#"{"map": {"k": "Else"}}"#).ends_with(" at byte 14"));
    assert!(told(r#"{"map": {"k": {"Plain": 1}}}"#).ends_with(" at byte 14"));
    assert!(told(r#"{"map": {"k": "With"}}"#).ends_with(" at byte 14"));
    assert!(told(r#"{"map": {"k": {}}}"#).ends_with(" at byte 14"));
    assert_eq!(told(r#"{"yes": true"#), "EOF while parsing an object at byte 12");
    assert_eq!(told("[]"), "invalid type: sequence, expected struct Thing at byte 0");
}

#[test]
fn pointers_lead_to_values_and_back_also_past_what_was_cut() {
    let text = r#"{"a\"b": [1, {"c/d": "}", "e~": 2}], "a": [["x"], [], ["y", "z"]]}"#;
    let mut document = Document::parse(text.as_bytes()).unwrap();
    let place = |document: &Document<'_>, pointer: &str| {
        let (id, original) = document.find(pointer);
        (text[document.offset(id)..].chars().next().unwrap(), original, document.pointer(id))
    };
    for (pointer, first) in [("/a\"b/1/e~0", '2'), ("/a\"b/1/c~1d", '"'), ("/a/2/1", '"'), ("", '{')] {
        assert_eq!(place(&document, pointer), (first, pointer.to_owned(), pointer.to_owned()));
    }
    assert_eq!(place(&document, "/a/7/x"), ('[', "/a/7/x".into(), "/a".into()));
    let (id, _) = document.find("/a/1");
    document.cut(id);
    assert_eq!(place(&document, "/a/1/1"), ('"', "/a/2/1".into(), "/a/2/1".into()));
    assert_eq!(read_at(&document, "/a"), [vec!["x".to_owned()], vec!["y".into(), "z".into()]]);
}

fn read_at(document: &Document<'_>, pointer: &str) -> Vec<Vec<String>> {
    Deserialize::deserialize(Value { document, id: document.find(pointer).0 }).unwrap()
}
