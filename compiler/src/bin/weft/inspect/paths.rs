//! `--path`: which there are, and the weights below one.

use super::files::Folder;
use crate::failure::Failure;
use weft_compiler::check::TypedSpec;
use weft_compiler::diagnostics::did_you_mean;
use weft_runtime::execute::Session;
use weft_runtime::program::VariableKind;

/// So many paths are listed when nothing near is found.
const LISTED: usize = 30;

/// Is the variable this path's, or below it?
fn within(variable: &str, path: &str) -> bool {
    variable.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn saved(kind: VariableKind) -> bool {
    matches!(kind, VariableKind::Weight | VariableKind::State)
}

/// Each path is that of a layer, of a model or of a weight.
pub fn check(paths: &[String], typed: &TypedSpec) -> Result<(), Failure> {
    let weights = typed.variables.iter().filter(|v| saved(v.kind)).map(|v| v.path.as_str());
    let known: Vec<&str> = typed.instances.iter().map(|i| i.path.as_str()).chain(weights).collect();
    let Some(path) = paths.iter().find(|path| !known.contains(&path.as_str())) else { return Ok(()) };
    let hint = did_you_mean(path, known.iter().copied()).unwrap_or_else(|| {
        let more = known.len().saturating_sub(LISTED);
        let list = known.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
        if more > 0 { format!("there are {list}, and {more} more") } else { format!("there are {list}") }
    });
    Err(Failure::usage(format!("nothing in the spec has the path `{path}`")).help(hint))
}

/// Writes every weight and state below a path.
pub fn weights(out: &mut Folder, session: &Session, path: &str) -> Result<(), Failure> {
    for (index, variable) in session.program().variables.iter().enumerate() {
        if saved(variable.kind) && within(&variable.path, path) {
            out.values(&format!("weight.{}", variable.path), &session.variable(index).to_owned())?;
        }
    }
    Ok(())
}
