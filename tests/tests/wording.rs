//! What is said of broken text is said in our words: no rule of the grammar, and none of the parser generator's phrases, reaches an author; and
//! one slip costs few messages.

use std::path::{Path, PathBuf};
use weft_grammar::{FileId, SyntaxError, parse};
use weft_tests::specs::root;

const GRAMMAR: &str = include_str!("../../grammar/weft.pest");

/// The names of the grammar's rules that are no words of the language, nor of English.
fn rules() -> Vec<&'static str> {
    let name = |line: &'static str| line.split_once(" = ").map(|(name, _)| name.trim());
    let word = |name: &&str| name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    GRAMMAR.lines().filter_map(name).filter(word).collect()
}

/// The parser generator's own phrases.
const FOREIGN: &[&str] = &["EOI", "-->", "expected one of", "Rule", "pest", "parsing"];

/// A message without what it quotes of the author's text.
fn unquoted(message: &str) -> String {
    message.split('`').step_by(2).collect()
}

fn specs(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for path in std::fs::read_dir(folder).expect("the folder is there").flatten().map(|e| e.path()) {
        if path.is_dir() {
            all.extend(specs(&path));
        } else if path.extension().is_some_and(|e| e == "weft") {
            all.push(path);
        }
    }
    all.sort();
    all
}

/// The words and marks of a text, as ranges.
fn pieces(text: &str) -> Vec<(usize, usize)> {
    let mut all: Vec<(usize, usize)> = Vec::new();
    let mut word = false;
    for (at, c) in text.char_indices() {
        let part = c.is_alphanumeric() || c == '_';
        match all.last_mut() {
            Some(last) if part && word && last.1 == at => last.1 = at + c.len_utf8(),
            _ if c.is_whitespace() => {}
            _ => all.push((at, at + c.len_utf8())),
        }
        word = part;
    }
    all
}

fn said(text: &str, rules: &[&str]) -> Vec<SyntaxError> {
    let errors = parse(FileId(0), text).errors;
    for error in &errors {
        let hint = error.hint.clone().unwrap_or_default();
        let related = error.related.as_ref().map_or(String::new(), |(_, label)| label.clone());
        for part in [error.message.clone(), hint, related] {
            let plain = unquoted(&part);
            let words: Vec<&str> = plain.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let rule = rules.iter().find(|rule| words.contains(rule));
            let foreign = FOREIGN.iter().find(|phrase| plain.contains(**phrase));
            assert!(rule.is_none() && foreign.is_none(), "{part}\n{text}");
        }
        assert!(!error.message.is_empty() && error.code.starts_with("E00"), "{error:?}");
        assert!(text.get(error.span.start as usize..error.span.end as usize).is_some(), "{error:?}");
    }
    errors
}

/// What a slip of the hand puts in the place of a piece.
const SLIPS: &[&str] = &["", "= =", ")", "{", ";", "let", "é", "'", "\"", "->", "0x1g", "|"];

#[test]
fn broken_specs_are_told_in_our_words() {
    let root = root();
    let rules = rules();
    assert!(rules.len() > 40, "{rules:?}");
    let (mut broken, mut messages, mut turn) = (0, 0, 0);
    for path in specs(&root.join("specs")).into_iter().chain(specs(&root.join("tests/bad"))) {
        let text = std::fs::read_to_string(&path).expect("a spec is text");
        said(&text, &rules);
        let pieces = pieces(&text);
        // Each slip in turn, at places spread over the text.
        for (start, end) in pieces.iter().step_by(1 + pieces.len() / 16) {
            let slip = SLIPS[turn % SLIPS.len()];
            turn += 1;
            let errors = said(&format!("{}{slip}{}", &text[..*start], &text[*end..]), &rules);
            broken += usize::from(!errors.is_empty());
            messages += errors.len();
        }
    }
    assert!(broken > 1000, "{broken} of {turn} were broken");
    assert!(messages < 2 * broken, "{messages} messages about {broken} slips");
}

/// Words in any order, so that every rule is left in the middle.
#[test]
fn jumbled_words_are_told_in_our_words() {
    let rules = rules();
    let words: Vec<&str> = "model M ( x : f32 [ n , 8 ] ) -> { let y = x |> dense ( 4 ) ; y } layer fn data d = mnist ( ) train on as minimize \
        using measure keep best by stop after epochs predict load from metric sum collect value setting if else for in scan over yield repeat ... + \
        - // == <- \"a\" 1.5e choice assert where weight state fresh map step freeze split augment"
        .split_whitespace()
        .collect();
    let mut state = 1u64;
    for _ in 0..1500 {
        let mut text = String::from("model M(x: f32[n, 8]) ");
        for _ in 0..12 {
            // A multiplicative generator is random enough here.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text += words[(state >> 33) as usize % words.len()];
            text.push(' ');
        }
        said(&text, &rules);
    }
}
