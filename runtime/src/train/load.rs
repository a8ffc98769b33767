//! `load` items: first values of a model's weights from a file that names and lays them out in its own way.
//!
//! A weight is looked for under the name that the first fitting rule gives, else under its own path, with or without the part that
//! the item names: `load Bert.encoder from …` finds `Bert.encoder.block.0.weight` as `block.0.weight` too.
//!
//! All that the item names must be in the file; the file may hold more, such as the head of the task that a model was trained for.

use std::path::Path;

use super::weights::{Misfits, saved};
use crate::error::Result;
use crate::execute::Session;
use crate::io::weights;
use crate::program::{Load, LoadRule, Variable};
use crate::tensor::Tensor;

/// Carries out all `load` items of a program; their files are relative to `base`.
pub fn load_items(session: &mut Session, base: &Path) -> Result<()> {
    for load in session.program().loads.clone() {
        load_item(session, &load, &base.join(&load.file))?;
    }
    Ok(())
}

fn load_item(session: &mut Session, load: &Load, path: &Path) -> Result<()> {
    let file = weights::read(path)?;
    let program = session.program();
    let mut misfits = Misfits::default();
    let (mut used, mut found) = (Vec::new(), Vec::new());
    for index in saved(program) {
        let variable = &program.variables[index];
        let Some(inner) = variable.path.strip_prefix(&load.target).and_then(|rest| rest.strip_prefix('.'))
        else {
            continue;
        };
        let (names, transposed) = sources(load, variable, inner);
        let Some((name, tensor)) = names.iter().find_map(|name| file.tensors.get_key_value(name)) else {
            let rest = file.tensors.keys().map(String::as_str);
            misfits.missing(names.first().map_or(inner, String::as_str), rest);
            continue;
        };
        used.push(name.as_str());
        let tensor = if transposed { transpose(tensor) } else { Some(tensor.clone()) };
        match tensor {
            Some(tensor) if (tensor.dtype, &tensor.shape) == (variable.dtype, &variable.shape) => {
                found.push((index, tensor));
            }
            Some(tensor) => misfits.different(variable, &tensor),
            None => misfits.different(variable, &file.tensors[name]),
        }
    }
    // What the file holds beside them matters only where something is missing: there is its other name.
    if misfits.any_missing() {
        misfits.unexpected(file.tensors.keys().filter(|name| !used.contains(&name.as_str())));
    }
    misfits.check(path, &load.target)?;
    for (index, tensor) in found {
        session.variable_bytes_mut(index).copy_from_slice(&tensor.data);
    }
    Ok(())
}

/// The names that a variable may have in the file, and whether it lies transposed there.
fn sources(load: &Load, variable: &Variable, inner: &str) -> (Vec<String>, bool) {
    let by_rule = |rule: &LoadRule| {
        let captured = captures(&rule.to, inner).or_else(|| captures(&rule.to, &variable.path))?;
        Some((vec![filled(&rule.from, &captured)], rule.transposed))
    };
    load.rules
        .iter()
        .find_map(by_rule)
        .unwrap_or_else(|| (vec![inner.to_owned(), variable.path.clone()], false))
}

/// What the braces of a pattern stand for in a path; `None` when it does not fit. A capture is one step of a path, or part of one.
fn captures<'a>(pattern: &str, path: &'a str) -> Option<Vec<(String, &'a str)>> {
    let Some((literal, rest)) = pattern.split_once('{') else {
        return (pattern == path).then(Vec::new);
    };
    let path = path.strip_prefix(literal)?;
    let (name, rest) = rest.split_once('}')?;
    let step = path.find('.').unwrap_or(path.len());
    // The longest capture first: `block{i}` takes all digits.
    (1..=step).rev().filter(|end| path.is_char_boundary(*end)).find_map(|end| {
        let mut inner = captures(rest, &path[end..])?;
        inner.insert(0, (name.to_owned(), &path[..end]));
        Some(inner)
    })
}

fn filled(pattern: &str, captured: &[(String, &str)]) -> String {
    captured
        .iter()
        .fold(pattern.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

/// A matrix with its axes swapped; `None` for other ranks.
fn transpose(tensor: &Tensor) -> Option<Tensor> {
    let [rows, columns] = tensor.shape[..] else { return None };
    let size = tensor.dtype.size();
    let mut data = Vec::with_capacity(tensor.data.len());
    for column in 0..columns {
        for row in 0..rows {
            let at = (row * columns + column) * size;
            data.extend_from_slice(&tensor.data[at..at + size]);
        }
    }
    Some(Tensor { dtype: tensor.dtype, shape: vec![columns, rows], data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_captures_steps_of_a_path() {
        let found = captures("block.{i}.{part}.weight", "block.12.query.weight").unwrap();
        assert_eq!(filled("layer.{i}.self.{part}.w", &found), "layer.12.self.query.w");
        assert!(captures("block.{i}.weight", "block.1.query.weight").is_none());
        assert!(captures("block{i}", "block").is_none());
        assert_eq!(captures("b{i}", "b17").unwrap(), [("i".to_owned(), "17")]);
    }

    #[test]
    fn a_transposed_matrix_swaps_its_axes() {
        let tensor = Tensor::from_i32(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        assert_eq!(transpose(&tensor), Some(Tensor::from_i32(&[3, 2], &[1, 4, 2, 5, 3, 6])));
        assert_eq!(transpose(&Tensor::from_i32(&[2], &[1, 2])), None);
    }
}
