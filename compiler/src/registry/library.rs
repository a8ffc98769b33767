//! Entries of the standard library, read off its own text.

use super::{Entry, Kind, Parameter, families};
use crate::check;
use weft_grammar::ast::{CallableKind, Item, ItemKind, Param, ResultType, TypeKind};
use weft_grammar::{FileId, Span};

/// All items of the library, file by file in the order of their families.
pub fn entries() -> Vec<Entry> {
    let files = families::FAMILIES.iter().flat_map(|f| f.files.iter().copied());
    files.flat_map(|stem| file(stem).unwrap_or_default()).collect()
}

fn file(stem: &str) -> Option<Vec<Entry>> {
    let (name, text) = check::library().iter().find(|(name, _)| *name == format!("std/{stem}.weft"))?;
    let family = families::of_file(stem)?;
    let parsed = weft_grammar::parse(FileId(0), text);
    Some(parsed.file.items.iter().filter_map(|item| entry(item, name, text, family)).collect())
}

fn entry(item: &Item, file: &'static str, text: &str, family: &'static str) -> Option<Entry> {
    let slice = |span: Span| text.get(span.start as usize..span.end as usize).unwrap_or("");
    let parameter = |p: &Param| Parameter {
        name: p.name.text.clone(),
        ty: p.ty.as_ref().map(|t| one_line(slice(t.span))),
        default: p.default.as_ref().map(|d| one_line(slice(d.span))),
    };
    // The tensors of a `fn` or `metric` stand in the same list as what configures it.
    let is_input = |p: &Param| match &p.ty {
        Some(ty) => matches!(ty.kind, TypeKind::Tensor { .. }),
        None => p.default.is_none(),
    };
    let (kind, word, name, end, params, inputs) = match &item.kind {
        ItemKind::Callable(c) => {
            let (kind, word) = match c.kind {
                CallableKind::Fn => (Kind::Fn, "fn"),
                CallableKind::Layer | CallableKind::Model => (Kind::Layer, "layer"),
                CallableKind::Optimizer => (Kind::Optimizer, "optimizer"),
            };
            let (inputs, params): (Vec<&Param>, Vec<&Param>) = match &c.inputs {
                Some(inputs) => (inputs.iter().collect(), c.params.iter().collect()),
                None => c.params.iter().partition(|p| is_input(p)),
            };
            (kind, word, &c.name, c.body.span.start, params, inputs)
        }
        ItemKind::Metric(m) => {
            // A metric's body starts at the first brace: nothing before it can hold one.
            let body = slice(m.span).find('{').map_or(m.span.end, |at| m.span.start + at as u32);
            let (inputs, params) = m.params.iter().partition(|p| is_input(p));
            (Kind::Metric, "metric", &m.name, body, params, inputs)
        }
        _ => return None,
    };
    let head = one_line(slice(Span { end, ..name.span }));
    let doc = item.doc.as_deref().unwrap_or("");
    let family = match (is_helper(item), is_member(family, kind, doc)) {
        (true, _) => "helpers",
        (false, true) => family,
        (false, false) => "functions",
    };
    let list = |params: Vec<&Param>| params.into_iter().map(parameter).collect();
    let entry = Entry::described(kind, family, &name.text, format!("{word} {head}"), doc);
    Some(Entry { parameters: list(params), inputs: list(inputs), file: Some(file), ..entry })
}

/// Is an item what the family of its file is about? A part of several losses, such as their weights, is not itself one; its examples
/// tell, for they show how an item is used.
fn is_member(family: &str, kind: Kind, doc: &str) -> bool {
    match family {
        "layers" => kind == Kind::Layer || doc.contains("|> "),
        "losses" => doc.contains("Example: `minimize "),
        "metrics" => kind == Kind::Metric,
        "weights" => {
            ["regularise = ", "constrain = ", "reparametrise = "].iter().any(|role| doc.contains(role))
        }
        "initialisers" => doc.contains("Example: `weight ") || doc.contains("init = "),
        _ => true,
    }
}

/// Does a function compute with sizes rather than with tensors? Its result, or its first parameter, is a number.
fn is_helper(item: &Item) -> bool {
    let ItemKind::Callable(callable) = &item.kind else { return false };
    if callable.kind != CallableKind::Fn || callable.inputs.is_some() {
        return false;
    }
    let number =
        |kind: &TypeKind| matches!(kind, TypeKind::Kind(k) if ["int", "float"].contains(&k.text.as_str()));
    let first = callable.params.first().and_then(|p| p.ty.as_ref());
    let result = match &callable.result {
        Some(ResultType::One(ty)) => Some(ty),
        _ => None,
    };
    first.is_some_and(|t| number(&t.kind)) || result.is_some_and(|t| number(&t.kind))
}

/// A signature or type as one line, however it is broken in its file.
fn one_line(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.replace("( ", "(").replace(", )", ")").replace(" )", ")")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_losses_and_metrics_are_functions() {
        let all = entries();
        let family = |name: &str| all.iter().find(|e| e.name == name).map(|e| e.family);
        for (name, expected) in [
            ("max_pool2d", "layers"),
            ("cell_means", "functions"),
            ("huber", "losses"),
            ("weight_of", "functions"),
            ("f1", "metrics"),
            ("confusion", "functions"),
            ("orthogonal", "initialisers"),
            ("inverse_erf", "functions"),
            ("same_padding", "helpers"),
        ] {
            assert_eq!(family(name), Some(expected), "{name}");
        }
    }
}
