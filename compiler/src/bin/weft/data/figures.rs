//! What the numbers of a field are: their range, what is missing, how often each class comes.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use weft_runtime::data::Split;
use weft_runtime::tensor::Tensor;

pub const SPLITS: [Split; 3] = Split::ALL;
/// A field with more different values is not one of classes.
const MOST_CLASSES: usize = 64;

/// A field of one part.
#[derive(Clone, Debug)]
pub struct FieldFigures {
    pub name: String,
    low: f64,
    high: f64,
    sum: f64,
    count: usize,
    /// Values that are no number.
    missing: usize,
    /// How often each value comes, of a field of one integer a row.
    values: Option<BTreeMap<i64, usize>>,
}

impl FieldFigures {
    /// `batch` has the rows as its leading axis.
    pub fn new(name: &str, batch: &Tensor) -> FieldFigures {
        let classes = !batch.dtype.is_float() && batch.shape.len() == 1;
        FieldFigures {
            name: name.to_owned(),
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            sum: 0.0,
            count: 0,
            missing: 0,
            values: classes.then(BTreeMap::new),
        }
    }

    pub fn take(&mut self, batch: &Tensor) {
        for value in batch.view().to_f64() {
            if value.is_nan() {
                self.missing += 1;
                continue;
            }
            (self.low, self.high) = (self.low.min(value), self.high.max(value));
            self.sum += value;
            self.count += 1;
            if let Some(values) = &mut self.values {
                *values.entry(value as i64).or_insert(0) += 1;
            }
        }
        if self.values.as_ref().is_some_and(|values| values.len() > MOST_CLASSES) {
            self.values = None;
        }
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    /// `0 … 1, mean 0.13, 12 missing`
    pub fn range(&self) -> String {
        if self.count == 0 {
            return format!("{} missing, and nothing else", self.missing);
        }
        let missing = if self.missing > 0 { format!(", {} missing", self.missing) } else { String::new() };
        format!("{} … {}, mean {}{missing}", number(self.low), number(self.high), number(self.mean()))
    }

    pub fn json(&self) -> Value {
        json!({ "name": self.name, "min": self.low, "max": self.high, "mean": self.mean(), "missing": self.missing })
    }
}

/// For each field of classes: each value, and how often it comes in the three parts.
pub fn classes(parts: &[Vec<FieldFigures>]) -> Vec<(String, BTreeMap<i64, [usize; 3]>)> {
    let mut found: Vec<(String, BTreeMap<i64, [usize; 3]>)> = Vec::new();
    // A part of few rows has few values of any field.
    let is_of_many =
        |name: &str| parts.iter().flatten().any(|field| field.name == name && field.values.is_none());
    for (place, fields) in parts.iter().enumerate().take(3) {
        for field in fields.iter().filter(|field| !is_of_many(&field.name)) {
            let Some(values) = &field.values else { continue };
            if !found.iter().any(|(name, _)| *name == field.name) {
                found.push((field.name.clone(), BTreeMap::new()));
            }
            for (_, counts) in found.iter_mut().filter(|(name, _)| *name == field.name) {
                values.iter().for_each(|(value, n)| counts.entry(*value).or_insert([0; 3])[place] += n);
            }
        }
    }
    found
}

/// Up to a handful of numbers.
pub fn short(values: &[f64]) -> String {
    const SHOWN: usize = 6;
    let shown: Vec<String> = values.iter().take(SHOWN).map(|v| number(*v)).collect();
    match values.len() {
        1 => shown.concat(),
        0..=SHOWN => format!("[{}]", shown.join(", ")),
        many => format!("[{}, … {many} in all]", shown.join(", ")),
    }
}

/// Four digits are enough to see what a number is.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e9 {
        return format!("{value}");
    }
    if value != 0.0 && (value.abs() < 1e-3 || value.abs() >= 1e6) {
        format!("{value:.3e}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_values_are_counted_and_kept_out_of_the_range() {
        let batch = Tensor::from_f32(&[2, 2], &[1.0, f32::NAN, -2.5, 4.0]);
        let mut field = FieldFigures::new("x", &batch);
        field.take(&batch);
        assert_eq!(field.range(), "-2.5000 … 4, mean 0.8333, 1 missing");
        assert!(field.values.is_none(), "floats are no classes");
    }

    #[test]
    fn classes_are_counted_in_each_part() {
        let of = |labels: &[i32]| {
            let batch = Tensor::from_i32(&[labels.len()], labels);
            let mut field = FieldFigures::new("label", &batch);
            field.take(&batch);
            vec![field]
        };
        let found = classes(&[of(&[0, 0, 2]), of(&[2]), vec![]]);
        let counts: Vec<(i64, [usize; 3])> = found[0].1.iter().map(|(v, n)| (*v, *n)).collect();
        assert_eq!(counts, [(0, [2, 0, 0]), (2, [1, 1, 0])]);
        let many: Vec<i32> = (0..100).collect();
        assert!(classes(&[of(&many), of(&[1, 2])]).is_empty(), "so many values are no classes");
    }
}
