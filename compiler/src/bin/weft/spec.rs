//! Reading a spec: the one place where the command touches source files, and where diagnostics are shown.

use crate::args::{KeptArgs, RunArgs, SpecArgs};
use crate::failure::Failure;
use crate::output;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use weft_compiler::check::{self, Checked, Options};
use weft_compiler::diagnostics::{self, Color, Diagnostic, Label, Severity, Sources};
use weft_compiler::graph::Module;
use weft_compiler::passes::narrow;
use weft_compiler::render;

/// A checked spec, and the folder that its relative paths start from.
#[derive(Clone)]
pub struct Spec {
    pub checked: Checked,
    pub folder: PathBuf,
    /// The file's stem: `mnist_cnn`.
    pub name: String,
}

impl Spec {
    /// The same with other graphs.
    pub fn with(&self, module: Module) -> Spec {
        let mut spec = self.clone();
        spec.checked.module = Some(module);
        spec
    }

    /// The same with its large weights kept as the command line says.
    pub fn kept(mut self, args: &KeptArgs) -> Spec {
        if let (Some(dtype), Some(module)) = (args.narrow(), &mut self.checked.module) {
            *module = narrow::weights(module, dtype);
        }
        self
    }
}

/// Reads and checks a spec without showing anything.
pub fn read(args: &SpecArgs, run: Option<&RunArgs>, epochs: Option<u32>) -> Result<Spec, Failure> {
    let (checked, folder, name) = read_by(args, run, epochs, check::check)?;
    Ok(Spec { checked, folder, name })
}

/// A way of checking: the main file's name, what reads files, and the options.
type Check<T> = fn(&str, &mut dyn FnMut(&str) -> Result<String, String>, &Options) -> T;

/// Reads a spec and checks it in some way; also its folder and its stem.
pub fn read_by<T>(
    args: &SpecArgs,
    run: Option<&RunArgs>,
    epochs: Option<u32>,
    check: Check<T>,
) -> Result<(T, PathBuf, String), Failure> {
    read_changed(args, run, epochs, check, |_| {})
}

fn read_changed<T>(
    args: &SpecArgs,
    run: Option<&RunArgs>,
    epochs: Option<u32>,
    check: Check<T>,
    change: impl FnOnce(&mut Options),
) -> Result<(T, PathBuf, String), Failure> {
    let path = &args.spec;
    // The main file is read first, so that a wrong path is a plain message rather than a diagnostic about an import.
    let main = read_text(path)?;
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let file = path.display().to_string();
    let mut loader = |name: &str| -> Result<String, String> {
        if name == file {
            return Ok(main.clone());
        }
        // The message names the file already.
        let plain =
            |message: String| message.rsplit_once(": ").map(|(_, why)| why.to_owned()).unwrap_or(message);
        read_text(Path::new(name)).map_err(|failure| plain(failure.message))
    };
    let mut options = Options {
        settings: args.set.clone(),
        batch: run.and_then(|r| r.batch).map(|b| b as usize),
        epochs: epochs.map(|e| e as usize),
        seed: run.and_then(|r| r.seed),
        ..Options::default()
    };
    change(&mut options);
    let checked = check(&file, &mut loader, &options);
    Ok((checked, folder, stem(args)))
}

/// The file's stem: `mnist_cnn`.
pub fn stem(args: &SpecArgs) -> String {
    args.spec.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Reads and checks a spec for a command that needs it whole: shows what was found, and ends when there is an error.
pub fn sound(args: &SpecArgs, run: Option<&RunArgs>, epochs: Option<u32>) -> Result<Spec, Failure> {
    whole(read(args, run, epochs)?)
}

/// As [`sound`], with other options than those that commands share.
pub fn sound_with(args: &SpecArgs, change: impl FnOnce(&mut Options)) -> Result<Spec, Failure> {
    let (checked, folder, name) = read_changed(args, None, None, check::check, change)?;
    whole(Spec { checked, folder, name })
}

/// As [`sound`], for a run of which a record is kept; also the text with every default written out.
pub fn sound_and_rendered(
    args: &SpecArgs,
    run: &RunArgs,
    epochs: Option<u32>,
) -> Result<(Spec, String), Failure> {
    let recorded: Check<_> = |file, loader, options| {
        check::check_noting_calls(file, loader, &Options { gradient_norms: true, ..options.clone() })
    };
    let ((checked, calls), folder, name) = read_by(args, Some(run), epochs, recorded)?;
    let spec = whole(Spec { checked, folder, name })?;
    let rendered = render::render(&spec.checked, &calls, &args.set);
    Ok((spec, rendered.map(|rendered| rendered.text).unwrap_or_default()))
}

fn whole(spec: Spec) -> Result<Spec, Failure> {
    let errors = show(&spec.checked, false);
    if errors > 0 || spec.checked.module.is_none() {
        return Err(Failure::reported());
    }
    Ok(spec)
}

/// Shows all that was found in a spec; counts the errors.
pub fn show(checked: &Checked, as_json: bool) -> usize {
    show_all(&checked.diagnostics, &checked.sources, as_json)
}

/// Shows diagnostics (as JSON lines on standard output, or for people on standard error); counts the errors.
pub fn show_all(diagnostics: &[Diagnostic], sources: &Sources, as_json: bool) -> usize {
    let plain =
        !std::io::stderr().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let color = if plain { Color::Never } else { Color::Always };
    for diagnostic in diagnostics {
        if as_json {
            let place = |label: &Label| {
                let (line, column) = sources.position(label.span);
                let file = sources.get(label.span.file).map(|s| s.name.as_str());
                json!({ "file": file, "line": line, "column": column, "label": label.text })
            };
            let mut object = json!({
                "severity": diagnostic.severity,
                "code": diagnostic.code,
                "message": diagnostic.message,
                "related": diagnostic.related.iter().map(place).collect::<Vec<_>>(),
                "notes": diagnostic.notes,
                "help": diagnostic.hint,
            });
            if let (Some(object), Value::Object(primary)) =
                (object.as_object_mut(), place(&diagnostic.primary))
            {
                object.extend(primary);
            }
            output::json(&object);
        } else {
            output::note(&diagnostics::render(diagnostic, sources, color));
        }
    }
    diagnostics.iter().filter(|d| d.severity == Severity::Error).count()
}

pub fn read_text(path: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::reading(path, &e))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::input(format!("{} is not UTF-8 text (byte {at})", path.display()))
            .help("a spec is plain UTF-8 text; is this the right file?")
    })
}
