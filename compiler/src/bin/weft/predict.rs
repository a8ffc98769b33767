//! `weft predict`: a model on the user's own input.

use crate::args::Predict;
use crate::compile::{self, Wanted};
use crate::failure::Failure;
use crate::{output, spec};
use serde_json::{Map, Value, json};
use std::path::Path;
use weft_runtime::execute::Session;
use weft_runtime::io::{npy, png};
use weft_runtime::program::{DType, DimExpr, Entry, Input, Prediction, Program};
use weft_runtime::tensor::{Tensor, TensorView};

/// Rows that are printed before the rest is only counted.
const SHOWN: usize = 20;

pub fn run(args: &Predict) -> Result<(), Failure> {
    let spec = spec::sound(&args.spec, None, None)?;
    let program = compile::program(&spec, Wanted::Prediction, args.threads)?;
    let entry = &prediction(&program, args.predict.as_deref())?.entry;
    let mut session =
        Session::new(program.clone(), compile::threads(args.threads)).map_err(compile::runtime_failure)?;
    weft_runtime::train::load_weights(&mut session, &args.weights).map_err(compile::runtime_failure)?;
    let index = session.entry(entry).map_err(compile::runtime_failure)?;
    let entry = &program.entries[index];
    let inputs = read_inputs(entry, &args.inputs)?;
    let views: Vec<TensorView<'_>> = inputs.iter().map(Tensor::view).collect();
    let outputs = session.run(index, &views).map_err(compile::runtime_failure)?;
    let results: Vec<(String, Tensor)> =
        outputs.iter().map(|(name, view)| (name.to_owned(), view.to_owned())).collect();
    if let Some(path) = &args.output {
        let Some((_, first)) = results.first() else {
            return Err(Failure::input("the predict item has no result"));
        };
        npy::write(path, first.view()).map_err(compile::runtime_failure)?;
        return Ok(());
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
fn prediction<'a>(program: &'a Program, name: Option<&str>) -> Result<&'a Prediction, Failure> {
    let names = || program.predictions.iter().map(|p| p.name.clone()).collect::<Vec<_>>().join(", ");
    match (name, program.predictions.as_slice()) {
        (_, []) => Err(Failure::input("the spec has no model to predict with")),
        (Some(name), all) => all.iter().find(|p| p.name == name).ok_or_else(|| {
            Failure::usage(format!("the spec has no predict item `{name}`; it has: {}", names()))
        }),
        (None, [only]) => Ok(only),
        (None, _) => Err(Failure::usage(format!("the spec has several predict items: {}", names()))
            .help("choose one with --predict NAME")),
    }
}

/// Reads a file for each of the entry's inputs, in its order.
fn read_inputs(entry: &Entry, given: &[(String, String)]) -> Result<Vec<Tensor>, Failure> {
    let names = || entry.inputs.iter().map(|i| format!("`{}`", i.name)).collect::<Vec<_>>().join(", ");
    for (place, (name, _)) in given.iter().enumerate() {
        if !entry.inputs.iter().any(|i| i.name == *name) {
            return Err(Failure::usage(format!("there is no input `{name}`; the inputs are {}", names())));
        }
        if given[..place].iter().any(|(other, _)| other == name) {
            return Err(Failure::usage(format!("the input `{name}` is given twice")));
        }
    }
    entry
        .inputs
        .iter()
        .map(|input| match given.iter().find(|(name, _)| *name == input.name) {
            Some((_, file)) => read_input(entry, input, Path::new(file)),
            None => Err(Failure::usage(format!("the input `{}` is missing", input.name))
                .help(format!("give it with --input {}=FILE", input.name))),
        })
        .collect()
}

fn read_input(entry: &Entry, input: &Input, file: &Path) -> Result<Tensor, Failure> {
    let extension = file.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    let tensor = match extension.as_str() {
        "npy" => npy::read(file).map_err(compile::runtime_failure)?,
        "png" => {
            let channels = match input.shape.last().map(|d| &entry.dims[d.0 as usize]) {
                Some(DimExpr::Constant(c @ (1 | 3 | 4))) if input.shape.len() >= 3 => *c as usize,
                _ => {
                    return Err(Failure::input(format!(
                        "the input `{}` is no image, so a .png does not fit",
                        input.name
                    )));
                }
            };
            png::read(file, channels).map_err(compile::runtime_failure)?
        }
        _ => {
            return Err(Failure::usage(format!("{}: the file must end in .npy or .png", file.display())));
        }
    };
    adapt(input, tensor, file)
}

/// Adds a batch axis where one is missing, and converts between element types where nothing is lost.
fn adapt(input: &Input, mut tensor: Tensor, file: &Path) -> Result<Tensor, Failure> {
    if tensor.shape.len() + 1 == input.shape.len() {
        tensor.shape.insert(0, 1);
    }
    if tensor.dtype == input.dtype {
        return Ok(tensor);
    }
    let values = tensor.view().to_f64();
    let wrong = |why: &str| {
        Failure::input(format!(
            "{}: `{}` takes {}, but the file holds {}{why}",
            file.display(),
            input.name,
            input.dtype.name(),
            tensor.dtype.name()
        ))
    };
    let whole = |low: f64, high: f64| values.iter().all(|v| v.fract() == 0.0 && (low..=high).contains(v));
    let data: Vec<u8> = match input.dtype {
        DType::F32 => values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect(),
        DType::F64 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::U8 if whole(0.0, 255.0) => values.iter().map(|v| *v as u8).collect(),
        DType::I32 if whole(f64::from(i32::MIN), f64::from(i32::MAX)) => {
            values.iter().flat_map(|v| (*v as i32).to_le_bytes()).collect()
        }
        DType::I64 if tensor.dtype != DType::F32 && tensor.dtype != DType::F64 => {
            values.iter().flat_map(|v| (*v as i64).to_le_bytes()).collect()
        }
        _ => return Err(wrong(", and not all of its values fit")),
    };
    Ok(Tensor { dtype: input.dtype, shape: tensor.shape, data })
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
