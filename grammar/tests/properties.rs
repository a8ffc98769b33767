//! Properties of the parser and formatter: no panic, format ∘ parse is the identity on trees, formatting is idempotent.

use proptest::prelude::*;
use weft_grammar::{FileId, format, parse};

/// A tree without its places, for comparison. Line comments are compared by their texts alone.
fn shape(text: &str) -> String {
    let mut tree = parse(FileId(0), text).file;
    tree.comments.clear();
    let debug = format!("{tree:?}");
    let mut out = String::with_capacity(debug.len());
    let mut rest = debug.as_str();
    while let Some(at) = rest.find("Span {") {
        out.push_str(&rest[..at]);
        // `Span { file: FileId(0), start: 1, end: 2 }`
        rest = &rest[at..];
        rest = &rest[rest.find('}').map_or(rest.len(), |end| end + 1)..];
    }
    out.push_str(rest);
    out
}

fn comments(text: &str) -> Vec<String> {
    parse(FileId(0), text).file.comments.into_iter().map(|c| c.text).collect()
}

/// Formats, and checks all that must hold of it.
fn check(text: &str) -> String {
    let parsed = parse(FileId(0), text);
    assert!(parsed.errors.is_empty(), "{text}\n{:?}", parsed.errors);
    let once = format(&parsed.file, text);
    let again = parse(FileId(0), &once);
    assert!(again.errors.is_empty(), "from\n{text}\nto\n{once}\n{:?}", again.errors);
    assert_eq!(shape(text), shape(&once), "from\n{text}\nto\n{once}");
    assert_eq!(comments(text), comments(&once), "from\n{text}\nto\n{once}");
    assert_eq!(format(&again.file, &once), once, "not idempotent, from\n{text}");
    once
}

const NAMES: &[&str] =
    &["x", "y", "units", "step", "batch", "value", "sum", "weight", "state", "over", "with", "epochs"];

fn name() -> impl Strategy<Value = String> {
    proptest::sample::select(NAMES).prop_map(str::to_owned)
}

fn list(of: impl Strategy<Value = String>, least: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(of, least..4).prop_map(|all| all.join(", "))
}

/// Operators in a row, with and without parentheses that change nothing.
fn chain() -> impl Strategy<Value = String> {
    let operand = prop_oneof![
        3 => name(),
        1 => name().prop_map(|a| format!("-{a}")),
        1 => name().prop_map(|a| format!("(-{a})")),
        1 => name().prop_map(|a| format!("f({a})")),
        2 => (name(), name()).prop_map(|(a, b)| format!("({a} * {b})")),
        1 => (name(), name()).prop_map(|(a, b)| format!("({a} // {b})")),
        1 => (name(), name()).prop_map(|(a, b)| format!("(({a} |> {b}))")),
    ];
    let operator =
        proptest::sample::select(&["+", "-", "*", "/", "%", "**", "@", "and", "or", "|>", "|> stem:"][..]);
    (operand.clone(), proptest::collection::vec((operator, operand), 1..5)).prop_map(|(first, rest)| {
        rest.into_iter().fold(first, |before, (operator, operand)| format!("{before} {operator} {operand}"))
    })
}

/// The text of a random expression: every form, fully parenthesised or not at all.
fn expr() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => name(),
        1 => chain(),
        1 => proptest::sample::select(&["1", "0.5", ".5", "1e-3", "1_000", "true", "none", "\"a \\\"b\\n{x}\"", "()", "[]"][..])
            .prop_map(str::to_owned)
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        let operator = proptest::sample::select(
            &["+", "-", "*", "/", "%", "**", "@", "==", "<", "and", "or", "|>", "|> stem:"][..],
        );
        let i = move || inner.clone();
        prop_oneof![
            (i(), operator.clone(), i()).prop_map(|(a, o, b)| format!("({a}) {o} ({b})")),
            (i(), i()).prop_map(|(a, b)| format!("(({a}) // ({b}))")),
            (name(), proptest::sample::select(&["+", "*", "**", "and", "|>", "-"][..]), i())
                .prop_map(|(a, o, b)| format!("{a} {o} {b}")),
            i().prop_map(|a| format!("-({a})")),
            (i(), i(), i()).prop_map(|(a, b, c)| format!("({a}) |> fn(y) {{ {b} }} |> ({c})")),
            i().prop_map(|a| format!("not ({a})")),
            (i(), list(i(), 0), name(), i()).prop_map(|(f, a, n, v)| match a.is_empty() {
                true => format!("({f})({n} = {v})"),
                false => format!("({f})({a}, {n} = {v})"),
            }),
            (i(), name()).prop_map(|(a, n)| format!("({a}).{n}")),
            (i(), i(), i()).prop_map(|(a, b, c)| format!("({a})[{b}, ({b}):({c}), ..., :, ::{c}]")),
            list(i(), 2).prop_map(|a| format!("({a})")),
            list(i(), 1).prop_map(|a| format!("[{a},]")),
            (name(), i(), name()).prop_map(|(n, a, m)| format!("{{ {n} = {a}, {m} }}")),
            (name(), i()).prop_map(|(n, a)| format!("{{ {n} = {a} }}")),
            (name(), i(), i()).prop_map(|(n, a, b)| format!("{{ let {n} = {a}; {b} }}")),
            (name(), i()).prop_map(|(n, a)| format!("{{ {n} = {a}; }}")),
            (i(), i()).prop_map(|(a, b)| format!("map {{ ({a}): {b}, \"k\": 1 }}")),
            (i(), i(), i()).prop_map(|(c, a, b)| format!("if {c} {{ {a} }} else {{ {b} }}")),
            (i(), i(), i())
                .prop_map(|(c, a, b)| format!("if {c} {{ {a} }} else if {b} {{ {b} }} else {{ {a} }}")),
            (name(), i()).prop_map(|(n, a)| format!("fn({n}: int = 3, y) {{ {a} }}")),
            name().prop_map(|n| format!("fresh a.{n}(x)")),
            i().prop_map(|a| format!("fresh ({a})")),
            (name(), i(), i()).prop_map(|(n, a, b)| {
                format!(
                    "scan {n}, m in {n}, ({a}) over t reversed carrying c = {b} {{ c = {a}; yield c, {n} }}"
                )
            }),
        ]
    })
}

fn statement() -> impl Strategy<Value = String> {
    let e = expr;
    let leaf = prop_oneof![
        (name(), e()).prop_map(|(n, a)| format!("let {n} = {a};")),
        e().prop_map(|a| format!("let a, b = {a};")),
        e().prop_map(|a| format!("let {{ a, b as c }} = {a};")),
        e().prop_map(|a| format!("weight w: f32[n, d / 2] = {a};")),
        e().prop_map(|a| format!("weight w: f32[n, ...] = ({a}) with decay = {a}, trainable = false;")),
        e().prop_map(|a| format!("state m = {a};")),
        (name(), e()).prop_map(|(n, a)| format!("{n} <- {a};")),
        (name(), e()).prop_map(|(n, a)| format!("{n} = {a};")),
        e().prop_map(|a| format!("assert ({a}) : \"no {{x}}\";")),
        e().prop_map(|a| format!("({a});")),
        e().prop_map(|a| format!("setting s: float = {a};")),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        let body = proptest::collection::vec(inner, 0..3).prop_map(|all| all.join("\n"));
        prop_oneof![
            (expr(), body.clone()).prop_map(|(a, b)| format!("for i, j in ({a}) {{ {b} }}")),
            (expr(), body.clone()).prop_map(|(a, b)| format!("if ({a}) {{ {b} }}")),
            (expr(), body.clone(), body).prop_map(|(a, b, c)| format!("if ({a}) {{ {b} }} else {{ {c} }}")),
        ]
    })
}

fn item() -> impl Strategy<Value = String> {
    let body = || proptest::collection::vec(statement(), 0..4).prop_map(|all| all.join("\n"));
    prop_oneof![
        (body(), expr()).prop_map(|(b, e)| format!("/// Doc.\nfn f(x: f32[...], y: fn = relu) -> (f32, bool) {{ {b} {e} }}")),
        (body(), expr()).prop_map(|(b, e)| {
            format!("layer l(u: int = {e})(x: float[n]) -> {{ a: f32[n] }} where ({e}), n > 0 {{ {b} }}")
        }),
        (body(), expr()).prop_map(|(b, e)| {
            format!("metric m(a: choice(p, q) = p) better higher {{ sum c: i64[k] = {e}; collect s = {e}; {b} value = {e} }}")
        }),
        (body(), expr()).prop_map(|(b, e)| {
            format!("data d = s({e}) {{ split v = 0.1, t = {e}; fit m = {e}; {b} augment {{ {b} }} batch {{ {b} }} }}")
        }),
        expr().prop_map(|e| {
            format!(
                "train t {{ on d as {{ a }} batch = {e}; minimize ({e}) over A.b, C using ({e}) {{ decay = ({e}) for *.b, c.*; rate *= 2 for x }} \
                 measure {e}, k: {e}; keep best by v.a stop after ({e}) epochs without better v.l freeze a.b \
                 clip gradients by global norm {e} clip gradients by value ({e}) average weights by {e} validate every {e} batches checkpoint every {e} minutes \
                 reduce rate by ({e}) after ({e}) epochs without better v.l with min_rate = {e}; \
                 step s {{ let q = {e}; }} }}"
            )
        }),
        (body(), expr()).prop_map(|(b, e)| format!("predict p(x: u8[n]) -> {{ a, b }} {{ {b} {{ a = {e}, b }} }}")),
        body().prop_map(|b| format!("generate g(text) {{ {b} }}")),
        Just("load A.b from \"f\" { \"x.{i}\" -> y.{i}.z transposed \"q\" -> r }".to_owned()),
        expr().prop_map(|e| format!("setting s = {e}")),
    ]
}

/// Puts comments at line ends and on lines of their own.
fn with_comments(text: &str, at: &[u8]) -> String {
    let mut out = String::new();
    for (index, line) in text.lines().enumerate() {
        match at.get(index % at.len().max(1)) {
            Some(0) => out.push_str(&format!("{line} // a note, number {index}\n")),
            Some(1) => out.push_str(&format!("// own line {index}\n{line}\n")),
            Some(2) => out.push_str(&format!("\n\n\n{line}\n")),
            _ => out.push_str(&format!("{line}\n")),
        }
    }
    out
}

/// Begins lines where a writer may: before stages and after braces. The formatter keeps these.
fn with_breaks(text: &str, at: &[u8]) -> String {
    let (mut out, mut rest, mut turn) = (String::new(), text, at.iter().cycle());
    while let Some(place) = rest.find(" |>").into_iter().chain(rest.find("{ ").map(|place| place + 1)).min() {
        let (before, after) = rest.split_at(place);
        out.push_str(before);
        out.push_str(if turn.next().is_some_and(|turn| turn % 2 == 0) { "\n" } else { " " });
        rest = &after[1..];
    }
    out + rest
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_text_never_panics(text in "\\PC*") {
        parse(FileId(0), &text);
    }

    #[test]
    fn random_tokens_never_panic(words in proptest::collection::vec(proptest::sample::select(&[
        "fn", "layer", "f", "(", ")", "[", "]", "{", "}", "=", "<-", "let", "x", "1", "\"a", "\"b\"", "// c\n", "\n", "|>", "+", "//",
        "if", "else", "for", "in", "scan", "over", "yield", ",", ";", ":", "train", "step", "data", "load", "é", "***", ".", "map",
    ][..]), 0..60)) {
        let text = words.join(" ");
        let parsed = parse(FileId(0), &text);
        for error in &parsed.errors {
            let (start, end) = (error.span.start as usize, error.span.end as usize);
            prop_assert!(text.get(start..end).is_some(), "{error:?} in {text:?}");
        }
    }

    #[test]
    fn expressions_survive_formatting(e in expr()) {
        check(&format!("setting s = {e}"));
    }

    #[test]
    fn items_survive_formatting(items in proptest::collection::vec(item(), 1..4)) {
        check(&items.join("\n"));
    }

    #[test]
    fn lines_of_the_writer_survive_formatting(items in proptest::collection::vec(item(), 1..3), at in proptest::collection::vec(0u8..5, 1..20)) {
        let broken = check(&with_breaks(&items.join("\n"), &at));
        check(&with_comments(&broken, &at));
    }

    #[test]
    fn comments_survive_formatting(items in proptest::collection::vec(item(), 1..3), at in proptest::collection::vec(0u8..5, 1..20)) {
        let laid_out = check(&items.join("\n"));
        check(&with_comments(&laid_out, &at));
    }
}

#[test]
fn the_sketch_survives_formatting() {
    let text = include_str!("specs/sketch.weft");
    insta::assert_snapshot!("sketch_formatted", check(text));
}

/// Comments at odd places and lines that are too long: how each construct breaks.
#[test]
fn the_loose_spec_is_laid_out() {
    insta::assert_snapshot!("loose_formatted", check(include_str!("specs/loose.weft")));
}

#[test]
fn operators_bind_as_documented() {
    for (written, meant) in [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a ** b ** c", "a ** (b ** c)"),
        ("-a ** b", "-(a ** b)"),
        ("-a * b", "(-a) * b"),
        ("not a == b and c", "(not (a == b)) and c"),
        ("a or b and c", "a or (b and c)"),
        ("a |> f |> g + h", "(a |> f) |> (g + h)"),
        ("a @ b % c / d", "((a @ b) % c) / d"),
        ("a.b(c)[d]", "((a.b)(c))[d]"),
        ("fresh m.k(x)", "(fresh (m.k))(x)"),
    ] {
        let of = |text: &str| shape(&format!("setting s = {text}"));
        assert_eq!(of(written), of(meant), "{written}");
        assert_ne!(of(written), of("a"));
    }
}

#[test]
fn the_writers_parentheses_between_operators_stay() {
    for kept in [
        "a + (b * c)",
        "(a / b) * (c / d)",
        "(a + b) + c",
        "x ** -0.5",
        "x ** (-y)",
        "-(a * b)",
        "not (a == b)",
        "(a + b) |> relu",
        "x |> fn(y) { y * 2 } |> stem: fn(y) { y } |> relu",
        "{ loss = loss, weight }",
    ] {
        assert_eq!(check(&format!("setting s = {kept}")), format!("setting s = {kept}\n"));
    }
    for (written, meant) in
        [("((a + b)) * c", "(a + b) * c"), ("(a)", "a"), ("f((a + b), (c))", "f(a + b, c)")]
    {
        assert_eq!(check(&format!("setting s = {written}")), format!("setting s = {meant}\n"));
    }
}

#[test]
fn commas_make_a_record() {
    let of = |text: &str| shape(&format!("setting s = {text}"));
    for record in ["{ a, b }", "{ a = 1 }", "{ a, }", "{ a = 1, b }"] {
        assert!(of(record).contains("Record("), "{record}");
    }
    for block in ["{ a }", "{ a = 1; }", "{ a = 1 b = 2 }", "{ let a = 1 a }"] {
        assert!(of(block).contains("Block(Block"), "{block}");
    }
}
