//! Everything that a spec can name, in one table: `weft explain NAME`, the reference in `docs/language.md` and "did you mean" read it.
//!
//! Nothing is written down twice. An item of the standard library describes itself: its signature is its own text, its description is
//! its `///`, its place in a family is that of its file ([`families`]). Primitives come from the checker's table of builtins, data
//! sources from the checker's table of sources. Only the words of the language itself have their lines here ([`words`]).
//!
//! A description ends in one or more lines ``Example: `…` ``. [`example`] makes a whole spec of such an example, so that a test can check
//! every one of them, and `weft explain` can show the shapes in it.

pub mod example;
pub mod families;
mod library;
mod words;

use crate::check;
use crate::diagnostics::{did_you_mean_name, habits};
pub use families::{FAMILIES, Family};
use serde::Serialize;
pub use words::{generate_keys, train_keys};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Layer,
    Fn,
    Optimizer,
    Metric,
    /// A function that is not written in Weft.
    Primitive,
    /// Where a `data` item reads from.
    Source,
    /// A word or mark of the language: an item, a statement, a key, an operator.
    Word,
    /// An element type or a kind of compile-time values.
    Type,
}

/// One name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    pub name: String,
    pub kind: Kind,
    /// The [`Family::name`] it belongs to.
    pub family: &'static str,
    /// How it is declared or written: `layer dense(units: int, …)(x: f32[..., d]) -> f32[..., units]`.
    pub signature: String,
    /// The first sentence of the description.
    pub summary: String,
    /// The whole description, without its examples.
    pub doc: String,
    /// What configures it.
    pub parameters: Vec<Parameter>,
    /// The tensors that it is applied to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Parameter>,
    pub examples: Vec<Example>,
    /// The file of the standard library that declares it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<&'static str>,
}

/// A parameter, or a tensor that something is applied to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameter {
    pub name: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub ty: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// ``Example: `code` note``
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    pub code: String,
    /// What stands behind the code: "is `f32[n, 10]` for `label: i32[n]`".
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Entry {
    /// An entry from its description, with what the description itself tells filled in.
    fn described(kind: Kind, family: &'static str, name: &str, signature: String, doc: &str) -> Entry {
        let (doc, examples) = split_examples(doc);
        let summary = first_sentence(&doc).to_owned();
        let name = name.to_owned();
        Entry {
            name,
            kind,
            family,
            signature,
            summary,
            doc,
            parameters: Vec::new(),
            inputs: Vec::new(),
            examples,
            file: None,
        }
    }
}

/// Every entry, by family and in a family as the files and tables have them.
pub fn all() -> Vec<Entry> {
    let mut entries: Vec<Entry> = library::entries();
    entries.extend(check::documentation().iter().map(primitive));
    entries.extend(check::sources().map(source));
    entries.extend(words::entries());
    entries.sort_by_key(|e| FAMILIES.iter().position(|f| f.name == e.family));
    entries
}

/// The entries of this name: `split` is a primitive and a word of `data`.
pub fn find(name: &str) -> Vec<Entry> {
    all().into_iter().filter(|e| e.name == name).collect()
}

/// What could have been meant by a name that is none: one spelt nearly so, or what another framework's word is here.
pub fn suggest(name: &str) -> Option<String> {
    let entries = all();
    let clause = || habits::clause(name).map(|clause| format!("in a `train` block: `{clause}`"));
    did_you_mean_name(name, entries.iter().map(|e| e.name.as_str())).or_else(clause)
}

fn primitive(documentation: &check::Documentation) -> Entry {
    let (name, signature) = (documentation.name, documentation.signature);
    let mut entry = Entry::described(
        Kind::Primitive,
        documentation.family,
        name,
        signature.to_owned(),
        documentation.doc,
    );
    let inner = signature.split_once('(').map_or("", |(_, rest)| rest.strip_suffix(')').unwrap_or(rest));
    entry.parameters = inner
        .split(", ")
        .filter(|p| !p.is_empty())
        .map(|p| match p.split_once(" = ") {
            Some((name, default)) => {
                Parameter { name: name.to_owned(), ty: None, default: Some(default.to_owned()) }
            }
            None => Parameter { name: p.to_owned(), ty: None, default: None },
        })
        .collect();
    entry
}

fn source(source: check::SourceDocumentation) -> Entry {
    let arguments = source.parameters.iter().map(|(name, _, default)| match default {
        Some(default) => format!("{name} = {default}"),
        None => (*name).to_owned(),
    });
    let row = source.row.unwrap_or_else(|| "FIELD: TYPE, …".to_owned());
    let arguments = arguments.collect::<Vec<_>>().join(", ");
    let signature = format!("{}({arguments}) -> {{ {row} }}", source.name);
    let mut entry = Entry::described(Kind::Source, "sources", source.name, signature, source.doc);
    entry.parameters = source
        .parameters
        .into_iter()
        .map(|(name, ty, default)| Parameter { name: name.to_owned(), ty: Some(ty), default })
        .collect();
    entry
}

/// Takes the ``Example: `…` `` paragraphs out of a description.
fn split_examples(doc: &str) -> (String, Vec<Example>) {
    let (mut kept, mut examples) = (Vec::new(), Vec::new());
    for paragraph in doc.split("\n\n") {
        let joined = paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        match joined.trim().strip_prefix("Example: `").and_then(|rest| rest.split_once('`')) {
            Some((code, note)) => {
                examples.push(Example { code: code.to_owned(), note: note.trim().to_owned() });
            }
            None => kept.push(joined.trim().to_owned()),
        }
    }
    (kept.join("\n\n"), examples)
}

/// Up to the first full stop outside parentheses and code: "Rectified linear unit: `x` where it is positive, else 0."
pub fn first_sentence(doc: &str) -> &str {
    let paragraph = doc.split("\n\n").next().unwrap_or(doc);
    let (mut depth, mut code) = (0usize, false);
    for (at, c) in paragraph.char_indices() {
        match c {
            '`' => code = !code,
            '(' if !code => depth += 1,
            ')' if !code => depth = depth.saturating_sub(1),
            '.' if !code && depth == 0 => {
                let rest = paragraph.get(at + 1..).unwrap_or("");
                if rest.is_empty() || rest.starts_with(' ') {
                    return paragraph.get(..=at).unwrap_or(paragraph);
                }
            }
            _ => {}
        }
    }
    paragraph
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_name_says_what_it_is_and_how_it_is_used() {
        let mut wrong = Vec::new();
        let mut seen = HashSet::new();
        for entry in all() {
            let mut complain = |what: &str| wrong.push(format!("{} ({}): {what}", entry.name, entry.family));
            if !FAMILIES.iter().any(|f| f.name == entry.family) {
                complain("its family is not in `families.rs`");
            }
            if !seen.insert((entry.name.clone(), entry.family)) {
                complain("it stands twice in its family");
            }
            if entry.doc.is_empty() || !entry.summary.ends_with(['.', '?']) {
                complain("its description has no first sentence");
            }
            if entry.examples.is_empty() {
                complain("it has no ``Example: `…` ``");
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_first_sentence_ends_at_its_own_full_stop() {
        assert_eq!(
            first_sentence("Capped at 6 (Howard et al. 2017). More."),
            "Capped at 6 (Howard et al. 2017)."
        );
        assert_eq!(first_sentence("`a. b` is 0.5 of it.\nNo"), "`a. b` is 0.5 of it.\nNo");
        assert_eq!(first_sentence("One.\n\nTwo."), "One.");
    }

    #[test]
    fn names_of_other_frameworks_are_understood() {
        for (name, meant) in [("Dense", "dense"), ("MaxPooling2D", "max_pool2d"), ("sofmax", "softmax")] {
            assert_eq!(suggest(name), Some(format!("did you mean `{meant}`?")), "{name}");
        }
        assert!(suggest("early_stopping").is_some_and(|hint| hint.contains("stop after")));
        assert_eq!(suggest("zzzzzzzz"), None);
    }
}
