//! `docs/language.md`: its tables are made of the registry, so that they cannot lag behind the library.
//!
//! Between `<!-- FAMILY -->` and `<!-- end -->` stands the table of a family. `WEFT_BLESS=1 cargo test -p weft-tests --test language` writes them
//! anew.

use std::path::PathBuf;
use weft_compiler::diagnostics::articles;
use weft_compiler::registry::{self, Entry, FAMILIES, Kind, Parameter};
use weft_tests::specs::root;

/// The marker of the table of codes.
const CODES: &str = "codes";

fn path() -> PathBuf {
    root().join("docs/language.md")
}

#[test]
fn the_tables_are_those_of_the_registry() {
    let text = std::fs::read_to_string(path()).expect("there is docs/language.md");
    let fresh = filled(&text);
    if std::env::var_os("WEFT_BLESS").is_some() {
        std::fs::write(path(), fresh).expect("docs/language.md can be written");
    } else if let Some((have, want)) = text.lines().zip(fresh.lines()).find(|(a, b)| a != b) {
        panic!("docs/language.md is stale: run with WEFT_BLESS=1\nit says:  {have}\ninstead of: {want}");
    } else {
        assert_eq!(
            text.lines().count(),
            fresh.lines().count(),
            "docs/language.md is stale: run with WEFT_BLESS=1"
        );
    }
}

#[test]
fn every_family_has_its_table() {
    let text = std::fs::read_to_string(path()).expect("there is docs/language.md");
    for name in FAMILIES.iter().map(|f| f.name).chain([CODES]) {
        let count = text.matches(&format!("<!-- {name} -->\n")).count();
        assert_eq!(count, 1, "`<!-- {name} -->` must stand once in docs/language.md");
    }
}

/// The document with every table made anew.
fn filled(text: &str) -> String {
    let entries = registry::all();
    let (mut out, mut skipping) = (String::new(), false);
    for line in text.lines() {
        let marker = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
        let family = marker.and_then(|name| FAMILIES.iter().find(|f| f.name == name));
        if marker == Some("end") {
            skipping = false;
        }
        if !skipping {
            out += &format!("{line}\n");
        }
        if marker == Some(CODES) {
            out += &codes();
            skipping = true;
        }
        if let Some(family) = family {
            out += &table(&entries.iter().filter(|e| e.family == family.name).collect::<Vec<_>>());
            skipping = true;
        }
    }
    assert!(!skipping, "a table has no `<!-- end -->`");
    out
}

fn table(entries: &[&Entry]) -> String {
    let written =
        entries.iter().any(|e| [Kind::Primitive, Kind::Source, Kind::Word, Kind::Type].contains(&e.kind));
    let (head, second) = if written { ("name", "form") } else { ("name", "arguments") };
    let mut out = format!("| {head} | {second} | what it is |\n|---|---|---|\n");
    for entry in entries {
        let form = if written { code(&entry.signature) } else { arguments(&entry.parameters) };
        let name = code(&entry.name);
        out += &format!("| {name} | {form} | {} |\n", cell(&entry.summary));
    }
    out
}

/// The codes of errors and warnings.
fn codes() -> String {
    let rows = articles::ARTICLES.iter().map(|a| format!("| `{}` | {} |\n", a.code, cell(a.title())));
    format!("| code | what is wrong |\n|---|---|\n{}", rows.collect::<String>())
}

/// `units`, `bias = true`
fn arguments(parameters: &[Parameter]) -> String {
    let one = |p: &Parameter| match &p.default {
        Some(default) => code(&format!("{} = {default}", p.name)),
        None => code(&p.name),
    };
    parameters.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn code(text: &str) -> String {
    format!("`{}`", cell(text))
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
