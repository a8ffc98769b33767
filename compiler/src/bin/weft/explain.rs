//! `weft explain`: what a code means, and what a name of the language or of the standard library stands for.

use crate::args::Explain;
use crate::failure::Failure;
use crate::output;
use serde_json::{Value, json};
use weft_compiler::diagnostics::articles::{self, Article};
use weft_compiler::registry::{self, Entry, FAMILIES, Family, example};

pub fn run(args: &Explain) -> Result<(), Failure> {
    let Some(name) = &args.name else {
        match args.list {
            true => list(args.json),
            false => overview(args.json),
        }
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
    let family = FAMILIES.iter().find(|f| f.name == *name);
    if entries.is_empty() && family.is_none() {
        let failure = Failure::usage(format!("there is nothing called `{name}` to explain"));
        return Err(failure.help(way_out(name)));
    }
    // `train` is an item, and the words in it are a family.
    let pages = entries.iter().map(|entry| if args.json { line(&object(entry)) } else { page(entry) });
    let members = family.map(|family| {
        let of_family = registry::all().into_iter().filter(|e| e.family == family.name);
        match args.json {
            true => of_family.map(|entry| line(&row(&entry))).collect(),
            false => members(family, &of_family.collect::<Vec<_>>()),
        }
    });
    let parts: Vec<String> = pages.chain(members).collect();
    output::write(&parts.join(if args.json { "" } else { "\n" }));
    Ok(())
}

/// What to do about a name that is none.
fn way_out(name: &str) -> String {
    let is_code = name.len() == 5 && name.get(1..).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let hint = match is_code {
        true => weft_compiler::diagnostics::did_you_mean(name, articles::ARTICLES.iter().map(|a| a.code)),
        false => registry::suggest(name),
    };
    hint.unwrap_or_else(|| "`weft explain --list` lists all names".to_owned())
}

// ---- the overview

/// What can be asked, and the families with the first of their names.
fn overview(as_json: bool) {
    let entries = registry::all();
    let names = |family: &Family| -> Vec<String> {
        entries.iter().filter(|e| e.family == family.name).map(|e| e.name.clone()).collect()
    };
    if as_json {
        for family in FAMILIES {
            let Family { name, title, doc, .. } = family;
            output::json(&json!({ "family": name, "title": title, "doc": doc, "names": names(family) }));
        }
        return;
    }
    let rows: Vec<Vec<String>> = FAMILIES
        .iter()
        .map(|family| vec![format!("    {}", family.name), fitting(&names(family), 76)])
        .collect();
    output::write(&format!("{OVERVIEW}\n{}\n{AFTER}", columns(&rows)));
}

const OVERVIEW: &str = "\
`weft explain NAME` says what a name in a spec stands for: its form, its defaults, and an example with the shapes in it.

    weft explain conv2d     a layer, a function, a loss, an optimizer, a metric, …
    weft explain train      an item, with the words that stand in it
    weft explain losses     a family of names
    weft explain E0203      an error or a warning: what it means, a wrong spec and its fix
    weft explain --list     all names

Families, with the first of their names:
";

const AFTER: &str = "\
A newcomer may read them in this order: items, data, train, layers, losses, optimizers, metrics.
`weft new cnn NAME` writes a commented spec to start from.
";

/// As many names as fit into `width` characters.
fn fitting(names: &[String], width: usize) -> String {
    let mut out = String::new();
    for (place, name) in names.iter().enumerate() {
        let comma = if place > 0 { ", " } else { "" };
        if out.chars().count() + comma.len() + name.chars().count() > width {
            return format!("{out}, … ({})", names.len());
        }
        out += &format!("{comma}{name}");
    }
    out
}

/// A family: its names with their first sentences.
fn members(family: &Family, entries: &[Entry]) -> String {
    format!("{}. {}\n{}", family.title, family.doc, columns(&listed(entries.iter())))
}

// ---- one name

/// Everything about one name.
fn page(entry: &Entry) -> String {
    let mut out = format!("{}\n\n{}\n", signature(&entry.signature), wrapped(&entry.doc));
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

/// Paragraphs in lines of at most [`WIDTH`] characters.
fn wrapped(text: &str) -> String {
    let (mut out, mut used) = (String::new(), 0);
    for (place, paragraph) in text.split("\n\n").enumerate() {
        if place > 0 {
            out += "\n\n";
            used = 0;
        }
        for word in paragraph.split_whitespace() {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > WIDTH {
                out.push('\n');
                used = 0;
            }
            if used > 0 {
                out.push(' ');
                used += 1;
            }
            out += word;
            used += length;
        }
    }
    out
}

/// The width of what people read.
const WIDTH: usize = 100;

/// A signature too long for a line has one parameter a line.
fn signature(text: &str) -> String {
    if text.chars().count() <= WIDTH {
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
    let cells = |name: &str, ty: &str, more: String| vec![format!("        {name}"), ty.to_owned(), more];
    let spec = match example::check(code, note) {
        example::Outcome::Fine(spec) => spec,
        example::Outcome::Wrong(_) => return Vec::new(),
    };
    let Some(typed) = &spec.checked.typed else { return Vec::new() };
    let mut rows = Vec::new();
    if let Some((_, value)) = typed.settings.iter().find(|(name, _)| name == "example") {
        return vec![cells("=", value, String::new())];
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
        prediction.inputs.iter().filter(|(n, _)| n != "random").map(|(n, ty)| cells(n, ty, String::new())),
    );
    for instance in typed.instances.iter().filter(|i| i.path.matches('.').count() == 1) {
        let under = format!("{}.", instance.path);
        let own: Vec<String> = typed
            .variables
            .iter()
            .filter_map(|v| Some((v.path.strip_prefix(&under)?, &v.ty)))
            .map(|(name, ty)| format!("{name} {ty}"))
            .collect();
        rows.push(cells(&format!("|> {}", instance.layer), &instance.output, own.join(", ")));
    }
    let outputs = prediction.outputs.iter();
    rows.extend(outputs.map(|(name, ty)| cells(&name.replacen("output", "result", 1), ty, String::new())));
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

// ---- lists

fn list(as_json: bool) {
    let entries = registry::all();
    if as_json {
        for entry in &entries {
            output::json(&row(entry));
        }
        for article in articles::ARTICLES {
            output::json(&json!({ "name": article.code, "kind": "code", "summary": article.title() }));
        }
        return;
    }
    for family in FAMILIES {
        let rows = listed(entries.iter().filter(|e| e.family == family.name));
        output::write(&format!("{}\n{}\n", family.title, columns(&rows)));
    }
    let codes: Vec<Vec<String>> = articles::ARTICLES
        .iter()
        .map(|a: &Article| vec![format!("    {}", a.code), a.title().to_owned()])
        .collect();
    output::write(&format!("Codes of errors and warnings\n{}", columns(&codes)));
}

/// Names with their first sentences.
fn listed<'e>(entries: impl Iterator<Item = &'e Entry>) -> Vec<Vec<String>> {
    entries.map(|e| vec![format!("    {}", e.name), e.summary.clone()]).collect()
}

/// What a list says of one name.
fn row(entry: &Entry) -> Value {
    json!({
        "name": entry.name, "kind": entry.kind, "family": entry.family,
        "signature": entry.signature, "summary": entry.summary,
    })
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}

/// An article as plain text: its code indented instead of fenced, under a word that says which it is.
fn plain(markdown: &str) -> String {
    let (mut out, mut inside) = (String::new(), false);
    // The last spec is the fix.
    let mut wrong = markdown.lines().filter(|line| line.trim_end() == "```weft").count().saturating_sub(1);
    for line in markdown.lines() {
        if let Some(info) = line.strip_prefix("```") {
            inside = !inside;
            match (inside, info.strip_prefix("weft").map(str::trim)) {
                (true, Some("")) => {
                    out += if wrong > 0 { "Wrong:\n\n" } else { "Right:\n\n" };
                    wrong = wrong.saturating_sub(1);
                }
                (true, Some(file)) => out += &format!("{file}:\n\n"),
                _ => {}
            }
        } else if inside && !line.is_empty() {
            out += &format!("    {line}\n");
        } else {
            out += &format!("{}\n", line.strip_prefix("# ").unwrap_or(line));
        }
    }
    out
}
