//! What nothing uses: definitions, parameters, settings, items, imports, and values that nobody takes.

use crate::check::Checker;
use crate::check::names::ItemRef;
use crate::check::resolve::{Declaration, Kind, Resolution};
use crate::diagnostics::{Code, Diagnostic};
use weft_grammar::Span;
use weft_grammar::ast::{CallableKind, Name};

pub fn unused(checker: &Checker<'_>, main: usize, resolution: &Resolution) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = resolution.declarations.iter().filter_map(declaration).collect();
    for span in &resolution.dropped {
        found.push(
            Diagnostic::warning(Code::DroppedValue, *span, "nothing takes the value of this expression")
                .hint(
                    "give it a name with `let`, or take it out; the last expression of a body is its value",
                ),
        );
    }
    for (place, home) in checker.homes.iter().enumerate() {
        for name in home.imports.iter().filter(|n| !resolution.mentioned.contains(&(place, n.text.clone()))) {
            found.push(
                Diagnostic::warning(
                    Code::UnusedImport,
                    name.span,
                    format!("`{}` is used by nothing here", name.text),
                )
                .hint("take it out of the `use`"),
            );
        }
    }
    found.extend(items(checker, main, resolution));
    found.retain(|d| !checker.sources.text(d.primary.span).starts_with('_'));
    found
}

/// The text whose results go nowhere.
pub fn idle_text(resolution: &Resolution) -> Vec<Span> {
    let lets = resolution.declarations.iter().filter(|d| declaration(d).is_some()).filter_map(|d| d.value);
    lets.chain(resolution.dropped.iter().copied()).collect()
}

fn declaration(declaration: &Declaration) -> Option<Diagnostic> {
    if declaration.used {
        return None;
    }
    let (code, what, hint) = match declaration.kind {
        Kind::Quiet => return None,
        Kind::Let => (Code::UnusedLet, "", "take it out; a name that starts with `_` may stay unused"),
        Kind::Weight => (Code::UnusedLet, "the weight ", "use it, or take it out"),
        Kind::Setting => (Code::UnusedSetting, "the setting ", "take it out, or use it"),
        Kind::Parameter => (
            Code::UnusedParameter,
            "the parameter ",
            "take it out; a name that starts with `_` may stay unused",
        ),
    };
    let message = format!("{what}`{}` is never used", declaration.name);
    Some(Diagnostic::warning(code, declaration.span, message).hint(hint))
}

/// Items that nothing leads to. A file that neither trains nor predicts is there to be used by others, so that its items need no use.
fn items(checker: &Checker<'_>, main: usize, resolution: &Resolution) -> Vec<Diagnostic> {
    let Some(home) = checker.homes.get(main) else { return Vec::new() };
    let runs =
        |item: &ItemRef| matches!(item, ItemRef::Train(_) | ItemRef::Predict(_) | ItemRef::Generate(_));
    if !home.items.iter().any(|(item, _, _)| runs(item)) {
        return Vec::new();
    }
    let reached = resolution.reached();
    let mut found = Vec::new();
    for (item, _, _) in &home.items {
        let (what, name): (&str, &Name) = match item {
            ItemRef::Callable(item) => {
                let what = match item.callable.kind {
                    CallableKind::Fn => "fn",
                    CallableKind::Layer => "layer",
                    CallableKind::Optimizer => "optimizer",
                    CallableKind::Model => continue,
                };
                (what, &item.callable.name)
            }
            ItemRef::Setting(setting) => ("setting", &setting.name),
            ItemRef::Metric(metric) => ("metric", &metric.name),
            ItemRef::Data(data) => ("data set", &data.name),
            _ => continue,
        };
        // Of a whole group that only uses each other, the first one is enough.
        if reached.contains(&name.span) || resolution.mentioned_by_another(name.span) {
            continue;
        }
        let code = if what == "setting" { Code::UnusedSetting } else { Code::UnusedItem };
        found.push(
            Diagnostic::warning(code, name.span, format!("the {what} `{}` is never used", name.text))
                .hint("take it out, or use it; a name that starts with `_` may stay unused"),
        );
    }
    found
}
