//! Attributions of inputs that are no pictures: a row a number, the weightiest first.

use super::attribution::{Attribution, LeafMaps, Named};
use super::files::image_shape;
use crate::output;
use serde_json::{Value, json};

/// Rows that are printed.
const SHOWN: usize = 24;

/// One number of an input.
struct Cell {
    name: String,
    value: f64,
    slope: f64,
    adds: f64,
}

fn cells(maps: &LeafMaps, inputs: &[Named]) -> Vec<Cell> {
    // A looked-up row counts as one: what its numbers add up to, and the length of its slope.
    let width = if maps.leaf.embedded { maps.shape.last().copied().unwrap_or(1).max(1) } else { 1 };
    let shape = maps.shape.get(..maps.shape.len() - usize::from(width > 1)).unwrap_or_default();
    let given = inputs.iter().find(|(name, _)| *name == maps.leaf.input).map(|(_, t)| t.view().to_f64());
    let given = given.filter(|values| values.len() * width == maps.values.len());
    let groups = maps.gradient.chunks(width).zip(maps.integrated.chunks(width));
    let cell = |(place, (gradient, integrated)): (usize, (&[f64], &[f64]))| {
        let value = given.as_ref().unwrap_or(&maps.values).get(place).copied().unwrap_or(f64::NAN);
        let slope = match gradient {
            [one] => *one,
            many => many.iter().map(|g| g * g).sum::<f64>().sqrt(),
        };
        Cell {
            name: format!("{}{}", maps.leaf.input, index(shape, place)),
            value,
            slope,
            adds: integrated.iter().sum(),
        }
    };
    groups.enumerate().map(cell).collect()
}

/// `[1, 2]`: a place of a shape; nothing for a scalar.
fn index(shape: &[usize], mut place: usize) -> String {
    let mut at: Vec<String> = Vec::new();
    for extent in shape.iter().rev() {
        at.insert(0, (place % extent.max(&1)).to_string());
        place /= extent.max(&1);
    }
    if at.is_empty() { String::new() } else { format!("[{}]", at.join(", ")) }
}

/// As short as an f32 can be told from others.
fn number(value: f64) -> String {
    format!("{}", value as f32)
}

pub fn print(inputs: &[Named], found: &Attribution) {
    let leaves = found.leaves.iter().filter(|maps| image_shape(maps).is_none());
    let mut all: Vec<Cell> = leaves.flat_map(|maps| cells(maps, inputs)).collect();
    if all.is_empty() {
        return;
    }
    all.sort_by(|a, b| b.adds.abs().total_cmp(&a.adds.abs()));
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    let names = all.iter().map(|c| c.name.chars().count()).max().unwrap_or(0).max("input".len());
    let values = all.iter().map(|c| number(c.value).len()).max().unwrap_or(0).max("value".len());
    output::line(&format!("{:names$}  {:>values$}  {:>11}  {:>11}", "input", "value", "slope", "adds"));
    for Cell { name, value, slope, adds } in &all {
        let value = number(*value);
        output::line(&format!("{name:names$}  {value:>values$}  {slope:>11.4}  {adds:>+11.4}"));
    }
    if more > 0 {
        output::line(&format!("… and {more} that add less"));
    }
}

/// The numbers of all inputs that are no pictures.
pub fn json(inputs: &[Named], found: &Attribution) -> Value {
    let leaves = found.leaves.iter().filter(|maps| image_shape(maps).is_none());
    let cell = |c: Cell| json!({ "input": c.name, "value": c.value, "slope": c.slope, "adds": c.adds });
    leaves.flat_map(|maps| cells(maps, inputs)).map(cell).collect()
}
