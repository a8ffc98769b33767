//! `weft predict`: a model on the user's own input.

use crate::args::Predict;
use crate::compile::{self, Wanted};
use crate::failure::Failure;
use crate::picture::Picture;
use crate::{inputs, output, spec};
use serde_json::{Map, Value, json};
use weft_runtime::execute::Session;
use weft_runtime::io::npy;
use weft_runtime::program::{DType, Prediction};
use weft_runtime::tensor::{Tensor, TensorView};

/// Rows that are printed before the rest is only counted.
const SHOWN: usize = 20;

pub fn run(args: &Predict) -> Result<(), Failure> {
    let spec = spec::sound(&args.spec, None, None)?;
    let program = compile::program(&spec, Wanted::Prediction, args.item.threads)?;
    let entry = &chosen(&program.predictions, args.item.predict.as_deref())?.entry;
    let mut session = Session::new(program.clone(), compile::threads(args.item.threads))
        .map_err(compile::runtime_failure)?;
    let index = session.entry(entry).map_err(compile::runtime_failure)?;
    compile::weights(&mut session, &[index], args.weights.as_deref(), &spec)?;
    let entry = &program.entries[index];
    let kept = match &args.weights {
        Some(weights) => weft_runtime::train::provenance(weights).map_err(compile::runtime_failure)?,
        None => weft_runtime::train::Provenance::default(),
    };
    let texts = inputs::Texts { program: &program, kept: &kept.vocabularies, base: &spec.folder };
    let inputs = inputs::read(entry, &args.inputs, &texts, args.seed)?;
    let views: Vec<TensorView<'_>> = inputs.iter().map(Tensor::view).collect();
    let outputs = session.run(index, &views).map_err(compile::runtime_failure)?;
    let results: Vec<(String, Tensor)> =
        outputs.iter().map(|(name, view)| (name.to_owned(), view.to_owned())).collect();
    if let Some(path) = &args.output {
        let Some((_, first)) = results.first() else {
            return Err(Failure::input("the predict item has no result"));
        };
        let picture = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
        return if picture {
            sheet(first)?.save(path)
        } else {
            npy::write(path, first.view()).map_err(compile::runtime_failure)
        };
    }
    if args.spec.json {
        let object: Map<String, Value> = results.iter().map(|(n, t)| (n.clone(), nested(t))).collect();
        output::json(&Value::Object(object));
    } else {
        output::write(&text(&results));
    }
    Ok(())
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
fn sheet(result: &Tensor) -> Result<Picture, Failure> {
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

/// A row per sample: `label 7  confidence 0.9981`.
fn text(results: &[(String, Tensor)]) -> String {
    let rows = results.iter().map(|(_, t)| t.shape.first().copied().unwrap_or(1)).max().unwrap_or(0);
    let mut out = String::new();
    for row in 0..rows.min(SHOWN) {
        let cells: Vec<String> =
            results.iter().map(|(name, tensor)| format!("{name} {}", cell(tensor, row))).collect();
        out += &format!("{}\n", cells.join("  "));
    }
    if rows > SHOWN {
        out += &format!("… and {} more rows; --output FILE.npy writes all\n", rows - SHOWN);
    }
    out
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
