//! No text makes the checker panic.

use super::{SPECS, run};
use proptest::prelude::*;

/// Words that a mutation may put anywhere.
const WORDS: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    "|>",
    "=",
    "0",
    "-1",
    "3",
    "1e99",
    "99999999999999999999",
    "none",
    "let",
    "for i in range(9)",
    "if",
    "else",
    "x",
    "n",
    "image",
    "dense",
    "dense(8)",
    "relu",
    "...",
    "f32",
    "u8[n]",
    "\"a\"",
    "//",
    "/",
    "%",
    "**",
    "@",
    "fresh",
    "repeat(3,",
    "weight w: f32[n] = zeros()",
    "state s = 0",
    "s <- 1",
    "fn(a) { a }",
    "sum(",
    "reshape(x, [n])",
    "split(x, 0)",
    "gradient(",
    "map { 1: 2 }",
    "training",
    "batch",
    "where",
    "assert",
    "scan",
    "yield",
    ":",
    "1:-1:0",
    "model",
    "train",
    "step s {",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_specs_never_panic(
        which in 0..SPECS.len(),
        edits in prop::collection::vec((0usize..10_000, 0usize..12, 0..WORDS.len()), 1..6),
    ) {
        let mut text = SPECS[which].1.to_owned();
        for (place, cut, word) in edits {
            let mut start = place % (text.len() + 1);
            while !text.is_char_boundary(start) { start -= 1; }
            let mut end = (start + cut).min(text.len());
            while !text.is_char_boundary(end) { end += 1; }
            text.replace_range(start..end, &format!(" {} ", WORDS[word]));
        }
        let checked = run(&text);
        prop_assert_ne!(checked.module.is_some(), checked.failed());
        prop_assert!(!checked.diagnostics.iter().any(|d| d.message.contains("fault of the compiler")), "{text}");
    }
}

/// The deepest computation that the limits allow fits the stack of a test's thread.
#[test]
fn deep_specs_are_refused_in_time() {
    let nested = format!(
        "fn f(x: f32[n]) {{ {}f(x){} }}\nmodel M(x: f32[n]) {{ f(x) }}",
        "-(1 + ".repeat(40),
        ")".repeat(40)
    );
    assert!(run(&nested).failed());
    let records = format!(
        "fn f(x) {{ {}f(x){} }}\nsetting a = f(1)",
        "[if true { ".repeat(12),
        " } else { 1 }]".repeat(12)
    );
    assert!(run(&records).failed());
    let blocks = format!(
        "layer f(x) {{ let g = f\n {} x |> g {} }}\nmodel M(x: f32[n]) {{ f(x) }}",
        "if true {".repeat(20),
        "} else { x }".repeat(20)
    );
    assert!(run(&blocks).failed());
    let sum = format!("setting a = 0{}", " + 1".repeat(300));
    assert!(!run(&sum).failed());
}
