//! `weft check`: every mistake of a spec, and nothing else.

use crate::args::Check;
use crate::failure::Failure;
use crate::{output, spec};
use serde_json::json;
use weft_compiler::diagnostics::Severity;
use weft_compiler::{check, render};

pub fn run(args: &Check) -> Result<(), Failure> {
    let ((checked, calls), ..) = spec::read_by(&args.spec, None, None, check::check_noting_calls)?;
    let errors = spec::show(&checked, args.spec.json);
    let warnings = checked.diagnostics.iter().filter(|d| d.severity == Severity::Warning).count();
    if errors > 0 || (args.deny.is_some() && warnings > 0) {
        if !args.spec.json {
            output::note(&format!("{}: {}", args.spec.spec.display(), counts(errors, warnings)));
        }
        return Err(Failure::reported());
    }
    if args.render {
        let rendered = render::render(&checked, &calls, &args.spec.set).ok_or_else(|| {
            Failure::environment("the spec with its defaults cannot be read")
                .help("this is a mistake in Weft; please report it with the spec")
        })?;
        if args.spec.json {
            output::json(&json!({ "rendered": rendered.text, "elsewhere": rendered.elsewhere }));
        } else {
            for setting in &rendered.elsewhere {
                output::note(&format!(
                    "note: `{setting}` is a setting of a file in use, which stays as it is"
                ));
            }
            output::write(&rendered.text);
        }
    } else if !args.spec.json {
        let found = if warnings > 0 { format!(" ({})", counts(0, warnings)) } else { String::new() };
        output::line(&format!("{}: fine{found}", args.spec.spec.display()));
    }
    Ok(())
}

fn counts(errors: usize, warnings: usize) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, w) => count(w, "warning"),
        (e, 0) => count(e, "error"),
        (e, w) => format!("{}, {}", count(e, "error"), count(w, "warning")),
    }
}
