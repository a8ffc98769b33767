//! `load` items: first values of a model's weights from a file that names and lays them out in its own way.
//!
//! A weight is looked for under the names that the fitting rules give, else under its own path, with or without the part that
//! the item names: `load Bert.encoder from …` finds `Bert.encoder.block.0.weight` as `block.0.weight` too.
//!
//! All that the item names must be in the file, and the items of a file must name all that is in it, if only to leave it out
//! (`"pooler" -> none`). Floats of another width are converted; any other difference of type or shape is an error, and so is what is no
//! number.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::convert::{converts, nans, put};
use super::misfits::listed;
use super::{BESIDE, Misfits, saved};
use crate::error::{Error, Result};
use crate::execute::Session;
use crate::io::stored::Stored;
use crate::program::{Load, LoadRule, Program, Variable};
use crate::tensor::Tensor;

/// Carries out all `load` items of a program; their files are relative to `base`.
pub fn load_items(session: &mut Session, base: &Path) -> Result<()> {
    // All of it before any of it: a file that turns out to be damaged leaves the model as it was.
    let mut values = Vec::new();
    let mut files: BTreeMap<&str, File> = BTreeMap::new();
    let loads = session.program().loads.clone();
    for load in &loads {
        let file = match files.entry(&load.file) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(File::open(&base.join(&load.file))?),
        };
        load_item(session.program(), load, file, &mut values)?;
    }
    for file in files.into_values() {
        file.check_rest()?;
    }
    for (index, tensor) in values {
        put(session, index, tensor, None);
    }
    Ok(())
}

/// A file that items load from, and what of it they have named.
struct File {
    path: PathBuf,
    stored: Stored,
    named: BTreeSet<String>,
    /// The last item's model, for messages.
    model: String,
}

impl File {
    fn open(path: &Path) -> Result<File> {
        let stored = Stored::open(path)?;
        Ok(File { path: path.to_path_buf(), stored, named: BTreeSet::new(), model: String::new() })
    }

    /// The names that no item speaks of.
    fn rest(&self) -> Vec<&str> {
        let ours = |name: &&str| !self.named.contains(*name) && !name.starts_with(BESIDE);
        self.stored.names().filter(ours).collect()
    }

    fn check_rest(&self) -> Result<()> {
        let rest = self.rest();
        let Some(first) = rest.first() else { return Ok(()) };
        let message = format!(
            "no weight of `{}` is called {}; rules say which they are, and `\"{first}\" -> none` leaves one out",
            self.model,
            listed(&rest)
        );
        Err(Error::Weights { file: self.path.clone(), message })
    }
}

/// A path seen from a part of a model that it is in.
fn inside<'a>(target: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(target)?.strip_prefix('.')
}

fn load_item(
    program: &Program,
    load: &Load,
    file: &mut File,
    values: &mut Vec<(usize, Tensor)>,
) -> Result<()> {
    file.model.clone_from(&load.target);
    let left_out = |name: &str| {
        let mut rules = load.rules.iter().filter(|rule| rule.to.is_none());
        rules.any(|rule| is_at_or_below(&rule.from, name))
    };
    let mut named: Vec<String> =
        file.stored.names().filter(|name| left_out(name)).map(str::to_owned).collect();
    let (mut misfits, mut found) = (Misfits::default(), Vec::new());
    for index in saved(program) {
        let variable = &program.variables[index];
        let Some(inner) = inside(&load.target, &variable.path) else { continue };
        let names = sources(load, variable, inner);
        let Some((name, transposed)) = names.iter().find(|(name, _)| file.stored.get(name).is_some()) else {
            misfits.missing(names.first().map_or(inner, |(name, _)| name), file.stored.names());
            continue;
        };
        named.push(name.clone());
        let Some(entry) = file.stored.get(name) else { continue };
        // Before a value is read: a file that lies about a shape costs nothing.
        let converts = entry.dtype.is_some_and(|dtype| converts(dtype, variable));
        if !converts || brought(&entry.shape, *transposed) != variable.shape {
            misfits.different(variable, entry, &about_order(&entry.shape, *transposed, variable));
            continue;
        }
        found.push((index, name.clone(), *transposed));
    }
    file.named.extend(named);
    // Beside what is missing stand the names that nothing has asked for: one of them may be its other name.
    if misfits.any_missing() {
        misfits.unexpected(file.rest());
    }
    misfits.check(&file.path, &load.target)?;
    let mut no_numbers = Misfits::default();
    for (index, name, transposed) in found {
        let mut tensor = file.stored.read(&name)?;
        if transposed && tensor.shape.len() >= 2 {
            tensor = permuted(&tensor, &order(tensor.shape.len()));
        }
        let count = nans(&tensor);
        if count > 0 {
            no_numbers.spoilt(&name, count, tensor.shape.iter().product());
        }
        values.push((index, tensor));
    }
    no_numbers.check(&file.path, &load.target)
}

/// Does a name of the file fit the pattern, or begin with what does, up to a step?
fn is_at_or_below(pattern: &str, name: &str) -> bool {
    let ends = name.match_indices(['.', '/', ':']).map(|(at, _)| at).chain([name.len()]);
    ends.into_iter().any(|end| captures(pattern, &name[..end]).is_some())
}

/// The names that a variable may have in the file, and whether it lies transposed there. Several rules may fit: the first whose
/// name the file has is meant.
fn sources(load: &Load, variable: &Variable, inner: &str) -> Vec<(String, bool)> {
    let by_rule = |rule: &LoadRule| {
        let to = rule.to.as_deref()?;
        let captured = captures(to, inner).or_else(|| captures(to, &variable.path))?;
        Some((filled(&rule.from, &captured), rule.transposed))
    };
    let names: Vec<_> = load.rules.iter().filter_map(by_rule).collect();
    if names.is_empty() { vec![(inner.to_owned(), false), (variable.path.clone(), false)] } else { names }
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

/// Where the axes of a transposed weight come from: a matrix has them swapped, and a convolution's `[out, in, kernel …]`, as PyTorch
/// keeps it, becomes `[kernel …, in, out]`. What has no two axes stays as it is, so that one rule may serve a layer's weight and bias.
fn order(rank: usize) -> Vec<usize> {
    (2..rank).chain((0..rank.min(2)).rev()).collect()
}

/// The shape that a weight of the file has here.
fn brought(shape: &[usize], transposed: bool) -> Vec<usize> {
    match transposed {
        true => order(shape.len()).into_iter().map(|axis| shape[axis]).collect(),
        false => shape.to_vec(),
    }
}

/// What the order of its axes has to do with a shape that does not fit; empty if nothing.
fn about_order(shape: &[usize], transposed: bool, variable: &Variable) -> String {
    let here = brought(shape, true);
    match (shape == variable.shape, here == variable.shape) {
        _ if here == shape => String::new(),
        (true, _) if transposed => format!(
            " (its rule transposes it to {here:?}: leave out `transposed`, as the file has the spec's order)"
        ),
        (false, false) if transposed => format!(" (its rule transposes it to {here:?})"),
        (_, true) if !transposed => " (a rule with `transposed` brings it into this order)".into(),
        _ => String::new(),
    }
}

/// A tensor with its axes in another order.
fn permuted(tensor: &Tensor, order: &[usize]) -> Tensor {
    let size = tensor.dtype.size();
    let mut strides = vec![size; tensor.shape.len()];
    for axis in (1..strides.len()).rev() {
        strides[axis - 1] = strides[axis] * tensor.shape[axis];
    }
    let shape: Vec<usize> = order.iter().map(|&axis| tensor.shape[axis]).collect();
    let mut data = Vec::with_capacity(tensor.data.len());
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    while data.len() < tensor.data.len() {
        data.extend_from_slice(&tensor.data[at..at + size]);
        // The next element in the new order: the last axis first, with a carry.
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[order[axis]];
            if index[axis] < shape[axis] {
                break;
            }
            at -= shape[axis] * strides[order[axis]];
            index[axis] = 0;
        }
    }
    Tensor { dtype: tensor.dtype, shape, data }
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
    fn a_transposed_weight_has_its_axes_in_our_order() {
        let tensor = Tensor::from_i32(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let swapped = permuted(&tensor, &order(2));
        assert_eq!(swapped, Tensor::from_i32(&[3, 2], &[1, 4, 2, 5, 3, 6]));
        assert_eq!((order(0), order(1)), (vec![], vec![0]));
        // Two filters of one channel and two rows of one column.
        let filters = permuted(&Tensor::from_i32(&[2, 1, 2, 1], &[1, 2, 3, 4]), &order(4));
        assert_eq!(filters, Tensor::from_i32(&[2, 1, 1, 2], &[1, 3, 2, 4]));
        let none = permuted(&Tensor::from_i32(&[0, 3], &[]), &order(2));
        assert_eq!(none.shape, [3, 0]);
    }
}
