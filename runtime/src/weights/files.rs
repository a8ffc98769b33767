//! Weights between a session and a file: all of them, or an error that names each one that does not fit.

use std::collections::BTreeMap;
use std::path::Path;

use super::convert::{converts, nans, put};
use super::{CLASSES_KEY, Classes, Misfits, VOCABULARY_KEY, Vocabularies};
use crate::error::Result;
use crate::execute::Session;
use crate::io;
use crate::program::{Program, VariableKind};
use crate::tensor::{TensorView, byte_count};

/// How the names of tensors begin that a checkpoint holds beside the variables.
pub const BESIDE: &str = "checkpoint/";

/// The variables that make a model: what is learned, and what layers keep.
pub fn saved(program: &Program) -> impl Iterator<Item = usize> {
    (0..program.variables.len())
        .filter(|&index| matches!(program.variables[index].kind, VariableKind::Weight | VariableKind::State))
}

/// Writes all weights and states.
pub fn save_weights(session: &Session, path: &Path, metadata: &BTreeMap<String, String>) -> Result<()> {
    session.settle()?;
    let program = session.program();
    let tensors = saved(program)
        .map(|index| (program.variables[index].path.as_str(), session.variable(index)))
        .collect();
    io::weights::write(path, &tensors, metadata)
}

/// Reads all weights and states. A name that is missing, unexpected, or of another type or shape is an error, and so is a weight that is no
/// number; optimizer states in the file are passed over.
pub fn load_weights(session: &mut Session, path: &Path) -> Result<()> {
    load(session, path, true)
}

/// The same for a program that has only those variables of a spec that it needs: the file may have more.
pub fn load_needed_weights(session: &mut Session, path: &Path) -> Result<()> {
    load(session, path, false)
}

fn load(session: &mut Session, path: &Path, all: bool) -> Result<()> {
    let mut file = io::weights::read(path)?;
    let program = session.program();
    let known = |name: &str| {
        name.starts_with(BESIDE) || program.variables.iter().any(|variable| variable.path == name)
    };
    let unexpected: Vec<&str> = file.tensors.keys().map(String::as_str).filter(|name| !known(name)).collect();
    let (mut misfits, mut found) = (Misfits::default(), Vec::new());
    for index in saved(program) {
        let variable = &program.variables[index];
        match file.tensors.get(&variable.path) {
            None => misfits.missing(&variable.path, unexpected.iter().copied()),
            Some(tensor) if !converts(tensor.dtype, variable) || tensor.shape != variable.shape => {
                misfits.different(variable, format_args!("{}{:?}", tensor.dtype.name(), tensor.shape), "");
            }
            Some(tensor) => {
                let count = if variable.kind == VariableKind::Weight { nans(tensor) } else { 0 };
                if count > 0 {
                    misfits.spoilt(&variable.path, count, tensor.shape.iter().product());
                }
                found.push(index);
            }
        }
    }
    // Names that nothing has may tell how a missing one is written.
    if all || misfits.any_missing() {
        misfits.unexpected(unexpected);
    }
    misfits.check(path, &program.name)?;
    for index in found {
        let path = &session.program().variables[index].path;
        let Some(tensor) = file.tensors.remove(path) else { continue };
        put(session, index, tensor, None);
    }
    Ok(())
}

/// What a weights file says of the training that made it.
#[derive(Debug, Default)]
pub struct Provenance {
    pub seed: Option<u64>,
    /// What the training found in its data.
    pub classes: Classes,
    pub vocabularies: Vocabularies,
}

/// Reads where weights come from, as far as the file says it.
pub fn provenance(path: &Path) -> Result<Provenance> {
    let mut found = Provenance::default();
    for (key, value) in io::weights::read_metadata(path)? {
        if key == "seed" {
            found.seed = value.parse().ok();
        } else if key.starts_with(CLASSES_KEY) {
            found.classes.extend(serde_json::from_str(&value).ok().map(|names| (key, names)));
        } else if let Some(name) = key.strip_prefix(VOCABULARY_KEY) {
            found.vocabularies.push((name.to_string(), value));
        }
    }
    Ok(found)
}

/// Exchanges the values of pairs of variables of one type and shape.
pub fn exchange(session: &mut Session, pairs: &[(usize, usize)]) {
    let mut kept = Vec::new();
    for &(one, other) in pairs {
        kept.clear();
        kept.extend_from_slice(session.variable_bytes_mut(one));
        session.variable_bytes_mut(other).swap_with_slice(&mut kept);
        session.variable_bytes_mut(one).copy_from_slice(&kept);
    }
}

/// A copy of all weights and states.
pub fn snapshot(session: &Session) -> Result<Vec<u8>> {
    session.settle()?;
    let mut copy = Vec::new();
    saved(session.program()).for_each(|index| copy.extend_from_slice(session.variable(index).data));
    Ok(copy)
}

/// The weights and states of a copy by their names; none when the copy is of another program.
pub fn named<'a>(program: &'a Program, copy: &'a [u8]) -> Option<Vec<(&'a str, TensorView<'a>)>> {
    let mut rest = copy;
    let tensor = |index: usize| {
        let variable = &program.variables[index];
        let (own, others) = rest.split_at_checked(byte_count(variable.dtype, &variable.shape)?)?;
        rest = others;
        let view = TensorView { dtype: variable.dtype, shape: &variable.shape, data: own };
        Some((variable.path.as_str(), view))
    };
    saved(program).map(tensor).collect()
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
