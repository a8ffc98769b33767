//! What a prediction gives, as people, scripts and picture viewers want it.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::picture::Picture;
use super::{Failure, output};
use crate::io::npy;
use crate::program::{DType, Prediction};
use crate::tensor::Tensor;
use crate::weights::Classes;

/// Rows that are printed before the rest is only counted.
const SHOWN: usize = 20;

/// What came out, by name.
pub type Results = Vec<(String, Tensor)>;

/// Prints results: one JSON object, or a row of text a sample.
pub fn print(results: &Results, classes: &Classes, as_json: bool) {
    if as_json {
        output::json(&object(results));
    } else {
        output::write(&text(results, classes));
    }
}

/// Results as one JSON object.
pub fn object(results: &Results) -> Value {
    let object: Map<String, Value> = results.iter().map(|(n, t)| (n.clone(), nested(t))).collect();
    Value::Object(object)
}

/// One row of results, whose first axis is that of the rows.
pub fn row(results: &Results, row: usize) -> Value {
    let part = |tensor: &Tensor| {
        let shape = tensor.shape.get(1..).unwrap_or_default().to_vec();
        let bytes = shape.iter().product::<usize>() * tensor.dtype.size();
        let data = tensor.data.get(row * bytes..(row + 1) * bytes).unwrap_or_default().to_vec();
        Tensor { dtype: tensor.dtype, shape, data }
    };
    Value::Object(results.iter().map(|(name, tensor)| (name.clone(), nested(&part(tensor)))).collect())
}

/// Writes the first result into a file: `.png` shows it as pictures, anything else is a `.npy` array.
pub fn save(results: &Results, path: &Path) -> Result<(), Failure> {
    let Some((_, first)) = results.first() else {
        return Err(Failure::input("the predict item has no result"));
    };
    let picture = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    if picture { sheet(first)?.save(path) } else { Ok(npy::write(path, first.view())?) }
}

/// The prediction named, or the only one.
pub fn chosen<'a>(predictions: &'a [Prediction], name: Option<&str>) -> Result<&'a Prediction, Failure> {
    let names = || predictions.iter().map(|p| p.name.clone()).collect::<Vec<_>>().join(", ");
    match (name, predictions) {
        (_, []) => Err(Failure::input("the spec has no model to predict with")),
        (Some(name), all) => all.iter().find(|p| p.name == name).ok_or_else(|| {
            Failure::usage(format!("the spec has no predict item `{name}`; it has: {}", names()))
        }),
        (None, [only]) => Ok(only),
        (None, _) => Err(Failure::usage(format!("the spec has several predict items: {}", names()))
            .help("choose one with --predict NAME")),
    }
}

/// Images side by side, as wide as high: bytes as they are, floats from 0 to 1.
pub fn sheet(result: &Tensor) -> Result<Picture, Failure> {
    let wrong = || {
        Failure::input(
            "the (first) result is no images: a picture is made of u8 or f32 `[n, height, width, 1 or 3]`",
        )
        .help("--output FILE.npy takes any result")
    };
    let (rows, height, width, channels) = match *result.shape.as_slice() {
        [rows, height, width, channels @ (1 | 3)] => (rows, height, width, channels),
        [height, width, channels @ (1 | 3)] => (1, height, width, channels),
        _ => return Err(wrong()),
    };
    let high = match result.dtype {
        DType::U8 => 255.0,
        DType::F32 => 1.0,
        _ => return Err(wrong()),
    };
    if rows * height * width == 0 {
        return Err(Failure::input("the (first) result holds no image"));
    }
    let values = result.view().to_f64();
    let images = values.chunks(height * width * channels);
    let pictures: Vec<Picture> =
        images.map(|image| Picture::of_values(height, width, channels, image, 0.0, high)).collect();
    // A single image keeps its size, so that it can be given to a model again.
    Ok(match pictures.as_slice() {
        [single] => single.clone(),
        many => Picture::grid(many, (rows as f64).sqrt().ceil() as usize),
    })
}

/// Numbers as nested JSON lists.
fn nested(tensor: &Tensor) -> Value {
    let float = tensor.dtype.is_float();
    let leaf = |v: f64| match (tensor.dtype, float) {
        (DType::Bool, _) => json!(v != 0.0),
        (_, true) => json!(v),
        (_, false) => json!(v as i64),
    };
    let values: Vec<Value> = tensor.view().to_f64().into_iter().map(leaf).collect();
    let mut level = values;
    for extent in tensor.shape.iter().skip(1).rev() {
        level = level.chunks((*extent).max(1)).map(|c| Value::Array(c.to_vec())).collect();
    }
    match tensor.shape.len() {
        0 => level.into_iter().next().unwrap_or(Value::Null),
        _ => Value::Array(level),
    }
}

/// A row per sample: `label 7  confidence 0.9981`; `species 2 (virginica)` where the result has the name of a field of classes.
fn text(results: &Results, classes: &Classes) -> String {
    let rows = results.iter().map(|(_, t)| t.shape.first().copied().unwrap_or(1)).max().unwrap_or(0);
    let mut out = String::new();
    for row in 0..rows.min(SHOWN) {
        let cells: Vec<String> = results
            .iter()
            .map(|(name, tensor)| format!("{name} {}", named(name, cell(tensor, row), classes)))
            .collect();
        out += &format!("{}\n", cells.join("  "));
    }
    if rows > SHOWN {
        out += &format!("… and {} more rows; --output FILE.npy writes all\n", rows - SHOWN);
    }
    out
}

/// A whole number with the class that it stands for in the data of the training, where just one field has this name.
fn named(result: &str, cell: String, classes: &Classes) -> String {
    let is_field = |key: &str| key.rsplit('.').next() == Some(result);
    let mut fields = classes.iter().filter(|(key, _)| is_field(key));
    let (Some((_, names)), None) = (fields.next(), fields.next()) else { return cell };
    match cell.parse::<usize>().ok().and_then(|number| names.get(number)) {
        Some(name) if *name != cell => format!("{cell} ({name})"),
        _ => cell,
    }
}

/// What stands in one row of a result: a number, or up to a dozen of them.
fn cell(tensor: &Tensor, row: usize) -> String {
    const WIDTH: usize = 12;
    let rows = tensor.shape.first().copied().unwrap_or(1).max(1);
    let values = tensor.view().to_f64();
    let width = values.len() / rows;
    let number = |v: &f64| match tensor.dtype {
        DType::Bool => (*v != 0.0).to_string(),
        d if d.is_float() => format!("{v:.4}"),
        _ => format!("{v}"),
    };
    match values.get(row * width..(row + 1) * width) {
        Some([single]) => number(single),
        Some(many) => {
            let shown: Vec<String> = many.iter().take(WIDTH).map(number).collect();
            let rest =
                if many.len() > WIDTH { format!(", … {} in all", many.len()) } else { String::new() };
            format!("[{}{rest}]", shown.join(", "))
        }
        None => "-".to_owned(),
    }
}
