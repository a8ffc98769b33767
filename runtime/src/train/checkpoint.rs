//! Weights between a session and a file: all of them or an error that names each one that does not fit.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::execute::Session;
use crate::io::weights;
use crate::program::{Program, VariableKind};

/// At most so many names of one kind are listed.
const LISTED: usize = 8;

/// The variables that make a model: what is learned, and what layers keep.
fn saved(program: &Program) -> impl Iterator<Item = usize> {
    (0..program.variables.len())
        .filter(|&index| matches!(program.variables[index].kind, VariableKind::Weight | VariableKind::State))
}

/// Writes all weights and states.
pub fn save_weights(session: &Session, path: &Path, metadata: &BTreeMap<String, String>) -> Result<()> {
    let program = session.program();
    let tensors =
        saved(program).map(|index| (program.variables[index].path.as_str(), session.variable(index))).collect();
    weights::write(path, &tensors, metadata)
}

/// Reads all weights and states. A name that is missing, unexpected, or of another type or shape is an error; optimizer
/// states in the file are passed over.
pub fn load_weights(session: &mut Session, path: &Path) -> Result<()> {
    let file = weights::read(path)?;
    let program = session.program();
    let known = |name: &str| program.variables.iter().any(|variable| variable.path == name);
    let mut unexpected: Vec<&str> = file.tensors.keys().map(String::as_str).filter(|name| !known(name)).collect();
    let (mut missing, mut different, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for index in saved(program) {
        let variable = &program.variables[index];
        match file.tensors.get(&variable.path) {
            None => {
                let near = nearest(&variable.path, &unexpected);
                missing.push(match near {
                    Some(name) => format!("{} (the file has {name})", variable.path),
                    None => variable.path.clone(),
                });
            }
            Some(tensor) if (tensor.dtype, &tensor.shape) != (variable.dtype, &variable.shape) => {
                different.push(format!(
                    "{} is {}{:?} in the file, but {}{:?} in the spec",
                    variable.path,
                    tensor.dtype.name(),
                    tensor.shape,
                    variable.dtype.name(),
                    variable.shape
                ));
            }
            Some(tensor) => found.push((index, tensor)),
        }
    }
    unexpected.sort_unstable();
    let unexpected: Vec<String> = unexpected.into_iter().map(str::to_string).collect();
    let problems: Vec<String> = [("missing", missing), ("unexpected", unexpected), ("different", different)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(kind, names)| {
            let more = names.len().saturating_sub(LISTED);
            let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
            format!("{kind}: {}{rest}", names[..names.len().min(LISTED)].join(", "))
        })
        .collect();
    if !problems.is_empty() {
        let message = format!("these weights are not those of `{}`; {}", program.name, problems.join("; "));
        return Err(Error::Weights { file: path.to_path_buf(), message });
    }
    for (index, tensor) in found {
        session.variable_bytes_mut(index).copy_from_slice(&tensor.data);
    }
    Ok(())
}

/// The most similar name, when it is similar enough to be meant.
fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    candidates
        .iter()
        .map(|&candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|&(similarity, _)| similarity > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// A copy of all weights and states.
pub fn snapshot(session: &Session) -> Vec<u8> {
    saved(session.program()).flat_map(|index| session.variable(index).data).copied().collect()
}

/// Puts a copy back.
pub fn restore(session: &mut Session, snapshot: &[u8]) {
    let indices: Vec<usize> = saved(session.program()).collect();
    let mut rest = snapshot;
    for index in indices {
        let bytes = session.variable_bytes_mut(index);
        let (own, others) = rest.split_at(bytes.len());
        bytes.copy_from_slice(own);
        rest = others;
    }
}
