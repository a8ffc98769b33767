//! `weft explain`: what a code means, and what a name of the language or of the standard library stands for.

use crate::args::Explain;
use crate::failure::Failure;
use crate::output;
use serde_json::{Value, json};
use weft_compiler::diagnostics::articles::{self, Article};
use weft_compiler::registry::{self, Entry, FAMILIES, example};

pub fn run(args: &Explain) -> Result<(), Failure> {
    let Some(name) = &args.name else {
        list(args.json);
        return Ok(());
    };
    if let Some(article) = articles::find(name) {
        match args.json {
            true => {
                output::json(&json!({ "code": article.code, "title": article.title(), "text": article.text }))
            }
            false => output::write(&plain(article.text)),
        }
        return Ok(());
    }
    let entries = registry::find(name);
    if entries.is_empty() {
        let failure = Failure::usage(format!("there is nothing called `{name}` to explain"));
        let codes = || articles::ARTICLES.iter().map(|a| a.code);
        let is_code = name.len() == 5 && name.get(1..).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        let hint = match is_code {
            true => weft_compiler::diagnostics::did_you_mean(name, codes()),
            false => registry::suggest(name),
        };
        return Err(failure.help(hint.unwrap_or_else(|| "`weft explain --list` lists all names".to_owned())));
    }
    for (place, entry) in entries.iter().enumerate() {
        if args.json {
            output::json(&object(entry));
        } else {
            let gap = if place > 0 { "\n" } else { "" };
            output::write(&format!("{gap}{}", page(entry)));
        }
    }
    Ok(())
}

/// Everything about one name.
fn page(entry: &Entry) -> String {
    let mut out = format!("{}\n\n{}\n", signature(&entry.signature), entry.doc);
    let defaults: Vec<Vec<String>> = entry
        .parameters
        .iter()
        .filter_map(|p| {
            let default = p.default.clone()?;
            Some(vec![format!("    {}", p.name), default, p.ty.clone().unwrap_or_default()])
        })
        .collect();
    if !defaults.is_empty() {
        out += &format!("\ndefaults\n{}", columns(&defaults));
    }
    for example in &entry.examples {
        let note = if example.note.is_empty() { String::new() } else { format!("   // {}", example.note) };
        out += &format!("\nexample\n    {}{note}\n", example.code);
        out += &columns(&shapes(&example.code, &example.note));
    }
    let family = FAMILIES.iter().find(|f| f.name == entry.family).map_or("", |f| f.title);
    out += &match entry.file {
        Some(file) => format!("\n{family}; written in Weft: specs/{file}\n"),
        None => format!("\n{family}\n"),
    };
    out
}

/// A signature too long for a line has one parameter a line.
fn signature(text: &str) -> String {
    if text.chars().count() <= 100 {
        return text.to_owned();
    }
    let Some((head, rest)) = text.split_once('(') else { return text.to_owned() };
    let mut depth = 0;
    let close = rest.char_indices().find(|(_, c)| {
        depth += match c {
            '(' | '[' => 1,
            ')' | ']' => -1,
            _ => 0,
        };
        depth < 0
    });
    let (inner, tail) = rest.split_at(close.map_or(rest.len(), |(at, _)| at));
    let mut out = format!("{head}(\n    ");
    for c in inner.chars() {
        depth += match c {
            '(' | '[' => 1,
            ')' | ']' => -1,
            _ => 0,
        };
        out.push(c);
        if c == ',' && depth == -1 {
            out.push_str("\n   ");
        }
    }
    format!("{out},\n{tail}")
}

/// What an example makes of which shapes: its inputs, its layers with their weights, its result.
fn shapes(code: &str, note: &str) -> Vec<Vec<String>> {
    let row = |name: &str, ty: &str, more: String| vec![format!("        {name}"), ty.to_owned(), more];
    let spec = match example::check(code, note) {
        example::Outcome::Fine(spec) => spec,
        example::Outcome::Later => {
            return vec![row("in a later edition", "", String::new())];
        }
        example::Outcome::Wrong(_) => return Vec::new(),
    };
    let Some(typed) = &spec.checked.typed else { return Vec::new() };
    let mut rows = Vec::new();
    if let Some((_, value)) = typed.settings.iter().find(|(name, _)| name == "example") {
        return vec![row("=", value, String::new())];
    }
    let Some(prediction) = typed.predictions.iter().find(|p| p.name == "predict" || p.name == "Example")
    else {
        return rows;
    };
    // Of a training's example the models were put around it: nothing in them is the reader's.
    if !typed.trainings.is_empty() || !spec.text.contains("model Example(") {
        return rows;
    }
    rows.extend(
        prediction.inputs.iter().filter(|(n, _)| n != "random").map(|(n, ty)| row(n, ty, String::new())),
    );
    for instance in typed.instances.iter().filter(|i| i.path.matches('.').count() == 1) {
        let under = format!("{}.", instance.path);
        let own: Vec<String> = typed
            .variables
            .iter()
            .filter_map(|v| Some((v.path.strip_prefix(&under)?, &v.ty)))
            .map(|(name, ty)| format!("{name} {ty}"))
            .collect();
        rows.push(row(&format!("|> {}", instance.layer), &instance.output, own.join(", ")));
    }
    let outputs = prediction.outputs.iter();
    rows.extend(outputs.map(|(name, ty)| row(&name.replacen("output", "result", 1), ty, String::new())));
    rows
}

/// Columns two spaces apart, all of them to the left.
fn columns(rows: &[Vec<String>]) -> String {
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        out += cells.collect::<Vec<_>>().join("  ").trim_end();
        out.push('\n');
    }
    out
}

fn object(entry: &Entry) -> Value {
    let mut value = json!(entry);
    let shapes = entry.examples.iter().map(|e| {
        let rows = shapes(&e.code, &e.note);
        rows.iter().map(|r| r.iter().map(|c| c.trim().to_owned()).collect::<Vec<_>>()).collect::<Vec<_>>()
    });
    value["shapes"] = json!(shapes.collect::<Vec<_>>());
    value
}

fn list(as_json: bool) {
    let entries = registry::all();
    if as_json {
        for entry in &entries {
            output::json(&json!({
                "name": entry.name, "kind": entry.kind, "family": entry.family,
                "signature": entry.signature, "summary": entry.summary,
            }));
        }
        for article in articles::ARTICLES {
            output::json(&json!({ "name": article.code, "kind": "code", "summary": article.title() }));
        }
        return;
    }
    for family in FAMILIES {
        let rows: Vec<Vec<String>> = entries
            .iter()
            .filter(|e| e.family == family.name)
            .map(|e| vec![format!("    {}", e.name), e.summary.clone()])
            .collect();
        output::write(&format!("{}\n{}\n", family.title, columns(&rows)));
    }
    let codes: Vec<Vec<String>> = articles::ARTICLES
        .iter()
        .map(|a: &Article| vec![format!("    {}", a.code), a.title().to_owned()])
        .collect();
    output::write(&format!("Codes of errors and warnings\n{}", columns(&codes)));
}

/// An article as plain text: its code indented instead of fenced.
fn plain(markdown: &str) -> String {
    let (mut out, mut inside) = (String::new(), false);
    for line in markdown.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if inside && !line.is_empty() {
            out += &format!("    {line}\n");
        } else {
            out += &format!("{}\n", line.strip_prefix("# ").unwrap_or(line));
        }
    }
    out
}
