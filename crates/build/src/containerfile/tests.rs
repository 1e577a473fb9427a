// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use super::*;

fn value(text: &str) -> Result<String, String> {
    let fuel = Fuel::default();
    let pairs = [("HOME", "/home"), ("EMPTY", ""), ("path", "/a/b/c.tar.gz"), ("n", "1 2"), ("名", "値")];
    let scope: BTreeMap<String, String> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let reading = expand::Reading { escape: '\\', quotes: true, fuel: &fuel };
    expand::word(text, &scope, reading).map(|expanded| expanded.text)
}

#[test]
fn words_are_worth_what_the_reference_says() {
    let table = [
        ("plain", "plain"),
        ("a'b c'd", "ab cd"),
        (r"a\'b", "a'b"),
        (r"a\\b", r"a\b"),
        (r"end\", "end"),
        (r#""x\ty""#, r"x\ty"),
        (r#""x\"y""#, r#"x"y"#),
        ("'$HOME'", "$HOME"),
        (r"\$HOME", "$HOME"),
        (r"\\$HOME", r"\/home"),
        ("$HOME.", "/home."),
        ("${HOME}x", "/homex"),
        ("$", "$"),
        ("$.", "$."),
        ("a$1b", "ab"),
        ("$名", "値"),
        ("$UNSET", ""),
        ("${UNSET-w}${EMPTY-w}", "w"),
        ("${UNSET:-w}${EMPTY:-w}", "ww"),
        ("${HOME+w}${EMPTY+w}${UNSET+w}", "ww"),
        ("${HOME:+w}${EMPTY:+w}", "w"),
        ("${UNSET:-${EMPTY:-deep}}", "deep"),
        ("${UNSET:-a{b}", "a{b"),
        ("${UNSET:-\\$HOME}", "$HOME"),
        ("${HOME?must}", "/home"),
        ("${path#*/}", "a/b/c.tar.gz"),
        ("${path##*/}", "c.tar.gz"),
        ("${path%.*}", "/a/b/c.tar"),
        ("${path%%.*}", "/a/b/c"),
        ("${path#x}", "/a/b/c.tar.gz"),
        ("${path/a/A}", "/A/b/c.tar.gz"),
        ("${path//a/A}", "/A/b/c.tAr.gz"),
        (r"${path//\//_}", "_a_b_c.tar.gz"),
        ("${path/b*./-}", "/a/-gz"),
        ("${path//?a/<>}", "<>/b/c.<>r.gz"),
        ("${n// /-}", "1-2"),
    ];
    for (text, expected) in table {
        assert_eq!(value(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_told() {
    let table = [
        ("'open", "single quote"),
        ("\"open", "double quote"),
        ("${HOME", "missing"),
        ("${}", "without a name"),
        ("${:-x}", "without a name"),
        ("${HOME:=x}", "no such modifier"),
        ("${HOME^}", "no such modifier"),
        ("${HOME:#x}", "no such modifier"),
        ("${UNSET?}", "UNSET must be set"),
        ("${EMPTY:?say it}", "EMPTY: say it"),
        ("${path/x}", "missing"),
        (r"${path#\x}", "no escape"),
    ];
    for (text, expected) in table {
        let message = value(text).expect_err(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

fn mistake(text: &str) -> Mistake {
    parse(text).expect_err(text)
}

#[test]
fn places_are_those_of_the_file_through_continued_lines() {
    let file = parse("FROM a\nRUN one \\\n  # aside\n\n  two\n").expect("a whole file");
    let run = &file.stages[0].instructions[0];
    assert_eq!(run.text, "RUN one   two");
    assert_eq!(run.span, Span { line: 2, column: 1, end_line: 5, end_column: 6 });
    assert_eq!(file.empty_continuations.len(), 1);
    let wrong = mistake("FROM a\nENV a=b \\\n  c\n");
    assert_eq!((wrong.span.line, wrong.span.column), (3, 3), "{wrong}");
    let flag = mistake("FROM a\nCOPY \\\n --fron=x a b\n");
    assert_eq!((flag.span.line, flag.span.column, flag.span.end_column), (3, 2, 10), "{flag}");
}

#[test]
fn here_documents_belong_to_the_line_that_announces_them() {
    let text = "FROM a\nCOPY <<one <<-\"two\" /d/\nx $y\none\n\ta\n\ttwo\nRUN <<EOF cat\nhi\nEOF\n";
    let file = parse(text).expect("a whole file");
    let Kind::Copy(copy) = &file.stages[0].instructions[0].kind else { panic!("no COPY") };
    let bodies: Vec<_> = copy
        .sources
        .iter()
        .map(|source| match source {
            CopySource::Inline(heredoc) => (heredoc.name.as_str(), heredoc.body.as_str(), heredoc.expand),
            CopySource::Path(path) => (path.as_str(), "", false),
        })
        .collect();
    assert_eq!(bodies, [("one", "x $y\n", true), ("two", "a\n", false)]);
    assert_eq!(file.stages[0].instructions[0].span.end_line, 6);
    let Kind::Run(run) = &file.stages[0].instructions[1].kind else { panic!("no RUN") };
    assert_eq!((run.form.clone(), run.heredocs.len()), (Form::Shell("<<EOF cat".to_owned()), 1));
    assert!(mistake("FROM a\nRUN <<EOF\nhi\n").message.contains("does not end"));
}

#[test]
fn hostile_files_end_soon_with_a_place() {
    let deep = format!("FROM a\nARG x={}\n", "${A:-".repeat(100_000));
    let many = format!("FROM a\nRUN {}\n", "<<EOF ".repeat(10_000));
    let stages = "FROM scratch AS s\n".repeat(10_000);
    for (text, fails) in [(deep, false), (many, true), (stages, false), ("FROM a\nRUN a\0b".to_owned(), true)]
    {
        assert_eq!(parse(&text).is_err(), fails, "{:.40}", text);
    }
    assert!(value(&"${A:-".repeat(100_000)).expect_err("too deep").contains("levels deep"));
    assert!(parse(&"x".repeat(9 << 20)).is_err());
    let fuel = Fuel::default();
    let scope = BTreeMap::from([("a".to_owned(), "a".repeat(100_000))]);
    let reading = expand::Reading { escape: '\\', quotes: true, fuel: &fuel };
    let costly = format!("${{a//{}/x}}", "*a".repeat(10_000));
    assert!(expand::word(&costly, &scope, reading).expect_err("costly").contains("too much work"));
}
