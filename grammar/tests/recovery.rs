//! Many errors in one run, each at its place, one for each cause, and everything else still read.

use weft_grammar::ast::ItemKind;
use weft_grammar::{CODES, FileId, Parsed, parse};

/// The errors as lines: `line:column code "text" message (related) hint`.
fn errors(text: &str) -> String {
    let place = |at: u32| {
        let before = &text[..at as usize];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        format!("{line}:{column}")
    };
    let mut out = String::new();
    for error in parse(FileId(0), text).errors {
        assert!(CODES.iter().any(|(code, _)| *code == error.code), "{} is not in the table", error.code);
        let span = error.span;
        let shown = &text[span.start as usize..span.end as usize];
        out.push_str(&format!("{} {} {shown:?}: {}", place(span.start), error.code, error.message));
        if let Some((related, message)) = error.related {
            out.push_str(&format!(" | {}: {message}", place(related.start)));
        }
        if let Some(hint) = error.hint {
            out.push_str(&format!(" | hint: {hint}"));
        }
        out.push('\n');
    }
    out
}

fn names(parsed: &Parsed) -> Vec<&str> {
    parsed.file.items.iter().map(|item| name_of(&item.kind)).collect()
}

fn name_of(kind: &ItemKind) -> &str {
    match kind {
        ItemKind::Callable(callable) => &callable.name.text,
        ItemKind::Data(data) => &data.name.text,
        _ => "other",
    }
}

#[test]
fn a_bad_file() {
    insta::assert_snapshot!("bad_file", errors(include_str!("specs/bad.weft")));
}

#[test]
fn one_bad_statement_costs_one_statement() {
    let text = "fn f(x) {\n    let a = 1 +\n    let b = 2\n    let c = ) 3\n    a + b\n}\nfn g(x) { x }\n";
    let parsed = parse(FileId(0), text);
    assert_eq!(names(&parsed), ["f", "g"]);
    let ItemKind::Callable(f) = &parsed.file.items[0].kind else { panic!("not a callable") };
    assert_eq!(f.body.statements.len(), 4, "every statement keeps its place");
    insta::assert_snapshot!(errors(text), @r#"
    2:15 E0001 "+": expected an expression after `+`
    4:13 E0006 ")": `)` closes nothing
    "#);
}

#[test]
fn one_bad_head_costs_one_item_and_its_body_is_still_read() {
    let text = "layer bad(x: ) {\n    let a =\n}\nfn g(x) { x }\n";
    let parsed = parse(FileId(0), text);
    assert_eq!(names(&parsed), ["g"]);
    assert_eq!(parsed.lost, ["bad"]);
    assert_eq!(parsed.errors.len(), 2, "{:?}", parsed.errors);
}

#[test]
fn an_unclosed_brace_points_at_its_opening_and_spares_the_next_item() {
    let text = "fn f(x) {\n    if x {\n        x\n\nfn g(x) { x }\n";
    let parsed = parse(FileId(0), text);
    assert_eq!(names(&parsed), ["f", "g"]);
    insta::assert_snapshot!(errors(text), @r#"5:1 E0004 "fn": unclosed `{` | 2:10: this `{` is never closed | hint: a `}` is missing before this"#);
}

#[test]
fn deep_nesting_is_an_error_and_not_a_crash() {
    for (open, close) in
        [("(", ")"), ("[", "]"), ("{", "}"), ("-", ""), ("not ", ""), ("x(", ")"), ("1 ** ", "")]
    {
        let text =
            format!("setting a = 1\nfn f(x) {{ let y = {}x{} }}", open.repeat(10_000), close.repeat(10_000));
        let parsed = parse(FileId(0), &text);
        assert_eq!(parsed.errors.len(), 1, "{open}: {:?}", parsed.errors);
        assert_eq!(parsed.errors[0].message, "this is nested too deeply");
        assert_eq!(parsed.file.items.len(), 2, "{open}");
    }
    for link in [" + x", " |> x", ".x", "(x)", "[0]", " // x"] {
        let text = format!("fn f(x) {{ x{} }}", link.repeat(10_000));
        assert_eq!(parse(FileId(0), &text).errors.len(), 1, "{link}");
    }
    let chain = format!("fn f(x) {{ {}{{ x }} }}", "if x { x } else ".repeat(10_000));
    assert_eq!(parse(FileId(0), &chain).errors.len(), 1);
    let unclosed = "fn f(x) { ".to_owned() + &"{ (".repeat(10_000);
    assert!(!parse(FileId(0), &unclosed).errors.is_empty());
}

#[test]
fn many_statements_are_not_deep() {
    let text = format!("fn f(x) {{ {} }}", "let y = x + 1\n g(y)\n".repeat(5_000));
    assert_eq!(parse(FileId(0), &text).errors, []);
}

#[test]
fn two_slashes_divide_between_operands_and_else_start_a_comment() {
    let count = |text: &str| parse(FileId(0), text).file.comments.len();
    for division in ["setting a = b // 2", "setting a = (b + 1) // c.d + 1", "setting a = [b // (c + 1), 2]"]
    {
        assert_eq!(count(division), 0, "{division}");
    }
    for comment in [
        "setting a = b // two halves",
        "setting a = (b) // 2 of them",
        "setting a = b // (see above)",
        "// b",
        "setting a = b\n// c",
        "setting a = f(b, // c\n d)",
    ] {
        assert_eq!(count(comment), 1, "{comment}");
        assert_eq!(parse(FileId(0), comment).errors, [], "{comment}");
    }
}

#[test]
fn clause_words_stay_names() {
    let text = "fn f(step, batch, epochs, sum, value, on) {\n    let measure = sum(batch)\n    value = step\n    split = fit\n    measure\n}";
    assert_eq!(parse(FileId(0), text).errors, []);
}
