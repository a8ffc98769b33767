//! `weft fmt`: specs in their canonical form.
//!
//! A file is rewritten only when it reads without errors and its text changes, and then as a whole: the new text is written
//! beside it and takes its place, so that an interrupted run leaves one or the other. Before that, the new text is read
//! again and must give the same tree.

use crate::args::Fmt;
use crate::failure::Failure;
use crate::{output, spec};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use weft_compiler::diagnostics::{Diagnostic, Sources};
use weft_grammar::ast::SourceFile;
use weft_runtime::error::plain;

/// A diff longer than this is cut: it shows what kind of change is due, not all of it.
const DIFF_LINES: usize = 24;

pub fn run(args: &Fmt) -> Result<(), Failure> {
    if args.paths.iter().any(|path| path.as_os_str() == "-") {
        return standard_input(args);
    }
    let mut files = Vec::new();
    if args.paths.is_empty() {
        walk(Path::new("."), &mut files)?;
    }
    for path in &args.paths {
        if path.is_dir() {
            walk(path, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    files.dedup();
    if files.is_empty() {
        return Err(Failure::input("there is no .weft file here"));
    }
    let (mut differ, mut wrong) = (0, 0);
    for path in &files {
        let before = spec::read_text(path)?;
        let name = path.strip_prefix(".").unwrap_or(path).display().to_string();
        let Some(after) = formatted(&name, &before, args.json)? else {
            wrong += 1;
            continue;
        };
        let changed = before != after;
        differ += usize::from(changed);
        if changed && !args.check {
            replace(path, &after)?;
        }
        if args.json {
            output::json(&json!({ "file": name, "changed": changed }));
        } else if changed && args.check {
            output::write(&diff(&name, &before, &after));
        } else if changed {
            output::line(&format!("{name}: formatted"));
        }
    }
    let count = |n: usize| format!("{n} of {} file{}", files.len(), if files.len() == 1 { "" } else { "s" });
    match (wrong, differ) {
        (0, 0) => Ok(()),
        (0, _) if !args.check => Ok(()),
        (0, _) if args.json => Err(Failure::reported()),
        (0, _) => {
            Err(Failure::input(format!("{} would change", count(differ))).help("`weft fmt` rewrites them"))
        }
        _ if args.json => Err(Failure::reported()),
        _ => Err(Failure::input(format!("{} cannot be read and stayed as before", count(wrong)))),
    }
}

/// `weft fmt -`: an editor's way.
fn standard_input(args: &Fmt) -> Result<(), Failure> {
    if args.paths.len() > 1 {
        return Err(Failure::usage("`-` stands alone: it reads standard input and writes standard output"));
    }
    let mut bytes = Vec::new();
    let cannot = |why: String| Failure::environment(format!("cannot read standard input: {why}"));
    std::io::stdin().read_to_end(&mut bytes).map_err(|e| cannot(plain(&e)))?;
    let before = String::from_utf8(bytes).map_err(|_| Failure::input("standard input is not UTF-8 text"))?;
    let after = formatted("standard input", &before, args.json)?.ok_or_else(Failure::reported)?;
    match (args.check, before == after) {
        (false, _) => output::write(&after),
        (true, true) => {}
        (true, false) => {
            output::write(&diff("standard input", &before, &after));
            return Err(Failure::reported());
        }
    }
    Ok(())
}

/// The canonical text, or nothing when the text does not read: then its errors were shown.
fn formatted(name: &str, text: &str, json: bool) -> Result<Option<String>, Failure> {
    let mut sources = Sources::default();
    let file = sources.add(name, text, false);
    let parsed = weft_grammar::parse(file, text);
    if !parsed.errors.is_empty() {
        let diagnostics: Vec<Diagnostic> = parsed.errors.into_iter().map(Diagnostic::from).collect();
        spec::show_all(&diagnostics, &sources, json);
        return Ok(None);
    }
    let after = weft_grammar::format(&parsed.file, text);
    let again = weft_grammar::parse(file, &after);
    if !again.errors.is_empty() || meaning(&parsed.file) != meaning(&again.file) {
        return Err(Failure::environment(format!(
            "formatting {name} would change its meaning, so it stays as it is"
        ))
        .help("this is a mistake in Weft; please report it with the file"));
    }
    Ok(Some(after))
}

/// A tree without its places, and with its comments as mere texts.
fn meaning(tree: &SourceFile) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields)
                if fields.len() == 3 && fields.contains_key("start") && fields.contains_key("end") =>
            {
                *value = Value::Null;
            }
            Value::Object(fields) => fields.values_mut().for_each(strip),
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let comments: Vec<&str> = tree.comments.iter().map(|comment| comment.text.as_str()).collect();
    let mut items = json!([tree.edition, tree.items]);
    strip(&mut items);
    json!({ "items": items, "comments": comments })
}

/// Every `.weft` file under a folder; what is hidden stays out, and links are not followed.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let entries = std::fs::read_dir(folder).map_err(|e| Failure::reading(folder, &e))?;
    for entry in entries {
        let entry = entry.map_err(|e| Failure::reading(folder, &e))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(|e| Failure::reading(folder, &e))?);
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if kind.is_dir() && !hidden {
            walk(&path, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|e| e == "weft") {
            files.push(path);
        }
    }
    Ok(())
}

/// Puts a new text in a file's place, whole or not at all, with the file's permissions.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let failed =
        |e: std::io::Error| Failure::environment(format!("cannot write {}: {}", path.display(), plain(&e)));
    // A link stays a link: what it names is rewritten.
    let path = std::fs::canonicalize(path).map_err(failed)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let write = || {
        let permissions = std::fs::metadata(&path)?.permissions();
        if permissions.readonly() {
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        let mut file = std::fs::File::create_new(&beside)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(permissions)?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)
    };
    write().map_err(|error| {
        // Nothing more can be done if this fails as well.
        let _ = std::fs::remove_file(&beside);
        failed(error)
    })
}

/// What would change, in the usual form, cut when it is long.
fn diff(name: &str, before: &str, after: &str) -> String {
    let diff = similar::TextDiff::from_lines(before, after);
    let whole = diff.unified_diff().context_radius(1).header(name, "formatted").to_string();
    let lines: Vec<&str> = whole.lines().collect();
    let mut out = lines.iter().take(DIFF_LINES).map(|line| format!("{line}\n")).collect::<String>();
    if lines.len() > DIFF_LINES {
        out += &format!("… and {} more lines\n", lines.len() - DIFF_LINES);
    }
    out
}
