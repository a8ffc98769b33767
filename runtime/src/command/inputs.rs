//! `--input NAME=VALUE`: what the user gives a prediction, as tensors. A value is a `.npy` array, a `.csv` table of numbers, a `.png` or `.jpg` picture, numbers, or so
//! many rows of noise. Where the prediction takes texts, it is a text, a file with a text a line (`@FILE`, or one that ends in `.txt`), a
//! `.jsonl` file with one in each object, or `-` for the lines of standard input.

use std::path::Path;

use serde_json::Value;

use super::Failure;
use crate::generate::{Generator, Given};
use crate::io::{self, image, npy};
use crate::kernels::random;
use crate::program::{DType, DataSource, DimExpr, DimIndex, Entry, Input, InputSource, Program};
use crate::tensor::Tensor;
use crate::text;

/// Where the tokenizers are of a prediction that takes texts.
#[derive(Debug)]
pub struct Texts<'a> {
    /// Its data sets also say the size that pictures are brought to.
    pub program: &'a Program,
    /// The vocabularies that the weights hold.
    pub kept: &'a [(String, String)],
    /// The spec's folder.
    pub base: &'a Path,
}

/// Reads a value for each of the entry's inputs, in its order. What is drawn depends on the seed alone.
pub fn read(
    entry: &Entry,
    given: &[(String, String)],
    texts: &Texts<'_>,
    seed: u64,
) -> Result<Vec<Tensor>, Failure> {
    let taken: Vec<&str> = text::given::texts(entry);
    let known: Vec<&str> = entry
        .inputs
        .iter()
        .filter(|input| !input.is_made())
        .map(|i| i.name.as_str())
        .chain(taken.iter().copied())
        .collect();
    known_and_once(given, &known)?;
    let all: Vec<(String, Vec<String>)> =
        taken.into_iter().map(|name| texts_given(name, given)).collect::<Result<_, _>>()?;
    let all: Vec<(&str, Vec<&str>)> =
        all.iter().map(|(name, texts)| (name.as_str(), texts.iter().map(String::as_str).collect())).collect();
    let reader = text::given::Reader::new(texts.program, entry, texts.kept, texts.base);
    let tensors = reader.and_then(|reader| reader.tensors(&all))?;
    entry
        .inputs
        .iter()
        .map(|input| match given.iter().find(|(name, _)| *name == input.name) {
            _ if input.source == InputSource::Random => Ok(Tensor::from_i64(&[2], &[seed as i64, 0])),
            _ if input.is_made() => match tensors.iter().find(|(name, _)| *name == input.name) {
                Some((_, tensor)) => Ok(tensor.clone()),
                None => Err(Failure::input(format!("nothing gives the tokens `{}`", input.name))),
            },
            _ => tensor_given(texts.program, entry, input, given, seed),
        })
        .collect()
}

/// What a generation is given: texts, and tensors for its other inputs.
pub fn of_generation(generator: &Generator, given: &[(String, String)], seed: u64) -> Result<Given, Failure> {
    let (texts, tensors) = (generator.texts(), generator.tensors());
    let known: Vec<&str> = texts.iter().copied().chain(tensors.iter().map(|i| i.name.as_str())).collect();
    known_and_once(given, &known)?;
    Ok(Given {
        texts: texts.into_iter().map(|name| texts_given(name, given)).collect::<Result<_, _>>()?,
        tensors: tensors
            .into_iter()
            .map(|input| {
                tensor_given(generator.program(), generator.entry(), input, given, seed)
                    .map(|tensor| (input.name.clone(), tensor))
            })
            .collect::<Result<_, _>>()?,
    })
}

fn known_and_once(given: &[(String, String)], known: &[&str]) -> Result<(), Failure> {
    for (place, (name, _)) in given.iter().enumerate() {
        if !known.contains(&name.as_str()) {
            let names = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            return Err(match known {
                [] => Failure::usage(format!("there is no input `{name}`; nothing is to be given")),
                _ => Failure::usage(format!("there is no input `{name}`; the inputs are {names}")),
            });
        }
        if given[..place].iter().any(|(other, _)| other == name) {
            return Err(Failure::usage(format!("the input `{name}` is given twice")));
        }
    }
    Ok(())
}

fn texts_given(name: &str, given: &[(String, String)]) -> Result<(String, Vec<String>), Failure> {
    let Some((_, value)) = given.iter().find(|(given, _)| given == name) else {
        return Err(Failure::usage(format!("the input `{name}` is missing")).help(format!(
            "give it with --input {name}=\"a text\", or a file of texts: --input {name}=@FILE.txt"
        )));
    };
    Ok((name.to_owned(), texts_of(name, value)?))
}

fn tensor_given(
    program: &Program,
    entry: &Entry,
    input: &Input,
    given: &[(String, String)],
    seed: u64,
) -> Result<Tensor, Failure> {
    match given.iter().find(|(name, _)| *name == input.name) {
        Some((_, value)) => match noise(entry, input, value, seed) {
            Some(drawn) => drawn,
            None => read_one(program, entry, input, value),
        },
        None => Err(Failure::usage(format!("the input `{}` is missing", input.name))
            .help(format!("give it with --input {}=FILE, or numbers: --input {0}=1.5,2", input.name))),
    }
}

/// The texts that a value stands for.
fn texts_of(name: &str, value: &str) -> Result<Vec<String>, Failure> {
    let named = value.strip_prefix('@').filter(|file| !file.is_empty());
    let file = Path::new(named.unwrap_or(value));
    let extension = file.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    let is_file = named.is_some() || ["txt", "jsonl"].contains(&extension.as_str());
    let content = match value {
        "-" => std::io::read_to_string(std::io::stdin())
            .map_err(|error| Failure::reading(Path::new("standard input"), &error))?,
        _ if is_file => io::read_text(file)?,
        _ => return Ok(vec![value.to_owned()]),
    };
    // An empty line of a text file is an empty text, so that what comes out lines up with the file.
    let is_row = |line: &str| extension != "jsonl" || !line.trim().is_empty();
    let lines = content.lines().enumerate().filter(|(_, line)| is_row(line));
    let texts: Vec<String> = lines
        .map(|(number, line)| match extension.as_str() {
            _ if extension != "jsonl" => Ok(line.to_owned()),
            _ => json_text(name, line).ok_or_else(|| {
                Failure::input(format!(
                    "{value}: line {}: this is neither a text nor an object with `{name}`",
                    number + 1
                ))
            }),
        })
        .collect::<Result<_, _>>()?;
    let from = if value == "-" { "standard input" } else { value };
    if texts.is_empty() { Err(Failure::input(format!("{from}: there is no text"))) } else { Ok(texts) }
}

/// `"a text"` or `{ "text": "a text" }`.
fn json_text(name: &str, line: &str) -> Option<String> {
    match serde_json::from_str(line).ok()? {
        Value::String(text) => Some(text),
        Value::Object(object) => object.get(name)?.as_str().map(str::to_owned),
        _ => None,
    }
}

/// What a value stands for that is numbers or names a file.
pub(super) fn read_one(
    program: &Program,
    entry: &Entry,
    input: &Input,
    given: &str,
) -> Result<Tensor, Failure> {
    if let Some(tensor) = numbers(given) {
        return adapt(
            input,
            tensor,
            &format!("{given}: `{}` takes {}, but these are", input.name, input.dtype.name()),
        );
    }
    let file = Path::new(given);
    let extension = file.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    let tensor = match extension.as_str() {
        "npy" => npy::read(file)?,
        "csv" => table(file, input.shape.len())?,
        "png" | "jpg" | "jpeg" => picture(program, entry, input, file, &io::read(file)?)?,
        _ => {
            return Err(Failure::usage(format!(
                "{}: the file must end in .npy, .csv, .png or .jpg",
                file.display()
            ))
            .help(format!("or give numbers: --input {}=1.5,2", input.name)));
        }
    };
    let takes =
        format!("{}: `{}` takes {}, but the file holds", file.display(), input.name, input.dtype.name());
    adapt(input, tensor, &takes)
}

/// The numbers of a file with commas between them, a row a line; a first line without numbers has the names of the columns. A single
/// column is a list where the input has one axis.
fn table(file: &Path, axes: usize) -> Result<Tensor, Failure> {
    let text = io::read_text(file)?;
    let wrong =
        |line: usize, message: &str| Failure::input(format!("{}: line {line}: {message}", file.display()));
    let (mut rows, mut columns, mut values) = (0, 0, Vec::new());
    for (place, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Result<Vec<f64>, _> = line.split(',').map(|cell| cell.trim().parse::<f64>()).collect();
        match cells {
            Ok(cells) if rows == 0 || cells.len() == columns => {
                (rows, columns) = (rows + 1, cells.len());
                values.extend(cells);
            }
            Ok(cells) => {
                let message = format!("it has {} numbers, the rows before have {columns}", cells.len());
                return Err(wrong(place + 1, &message));
            }
            Err(_) if rows == 0 && place == 0 => {}
            Err(error) => return Err(wrong(place + 1, &format!("not all of it are numbers ({error})"))),
        }
    }
    if rows == 0 {
        return Err(wrong(1, "there are no numbers"));
    }
    let shape = if axes == 1 && columns == 1 { vec![rows] } else { vec![rows, columns] };
    Ok(Tensor { dtype: DType::F64, shape, data: values.iter().flat_map(|v| v.to_le_bytes()).collect() })
}

/// A picture's bytes as an input that is one, in the size that the spec's folder of pictures gives to all of its own, where the input
/// has that size; else it must have the input's.
pub fn picture(
    program: &Program,
    entry: &Entry,
    input: &Input,
    file: &Path,
    bytes: &[u8],
) -> Result<Tensor, Failure> {
    let constant = |dim: &DimIndex| match entry.dims.get(dim.0 as usize) {
        Some(DimExpr::Constant(extent)) => usize::try_from(*extent).ok(),
        _ => None,
    };
    let sides: Vec<Option<usize>> = input.shape.iter().rev().take(3).rev().map(constant).collect();
    let [height, width, Some(channels @ (1 | 3 | 4))] = sides[..] else {
        return Err(Failure::input(format!(
            "the input `{}` is no image, so a picture does not fit",
            input.name
        )));
    };
    let wanted = height.zip(width);
    let is_source = |source: &DataSource| match source {
        DataSource::Images { height, width, channels: c, .. } => {
            wanted == Some((*height, *width)) && channels == *c
        }
        _ => false,
    };
    let resized = program.data.iter().any(|set| is_source(&set.source));
    let picture = image::decode(file, bytes, channels, wanted.filter(|_| !resized))?;
    Ok(match wanted.filter(|_| resized) {
        Some((height, width)) => io::resize::resized(&picture, height, width),
        None => picture,
    })
}

/// `normal(16)` or `uniform(16)`: so many rows of random numbers, the same for the same seed and input. None if the value is
/// something else.
fn noise(entry: &Entry, input: &Input, given: &str, seed: u64) -> Option<Result<Tensor, Failure>> {
    let (kind, rows) = given.trim().strip_suffix(')')?.split_once('(')?;
    let draw = match kind {
        "normal" => random::normal,
        "uniform" => random::uniform,
        _ => return None,
    };
    let wrong = |message: String| Some(Err(Failure::usage(message)));
    let Ok(rows) = rows.trim().parse::<u32>() else {
        return wrong(format!("{given}: the number of rows is no whole number"));
    };
    let constant = |dim: &DimIndex| match entry.dims.get(dim.0 as usize) {
        Some(DimExpr::Constant(extent)) => usize::try_from(*extent).ok(),
        _ => None,
    };
    let rest: Option<Vec<usize>> = input.shape.iter().skip(1).map(constant).collect();
    let (Some(rest), DType::F32, false) = (rest, input.dtype, input.shape.is_empty()) else {
        return wrong(format!(
            "{given}: noise is for rows of f32 whose other extents are constant, which `{}` is not",
            input.name
        ));
    };
    let shape = [&[rows as usize], rest.as_slice()].concat();
    let count = shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
    let Some(count) = count.filter(|&count| count < 1 << 32) else {
        return wrong(format!("{given}: that is too much noise"));
    };
    let key = random::key(&format!("input.{}", input.name));
    let values: Vec<f32> = (0..count as u64).map(|index| draw(index, [seed as i64, 0], key)).collect();
    Some(Ok(Tensor::from_f32(&shape, &values)))
}

/// Adds a batch axis where one is missing, all axes to a single number, and converts between element types where nothing is lost; `takes` begins the message when
/// something would be.
pub fn adapt(input: &Input, mut tensor: Tensor, takes: &str) -> Result<Tensor, Failure> {
    if tensor.shape.is_empty() {
        tensor.shape = vec![1; input.shape.len()];
    } else if tensor.shape.len() + 1 == input.shape.len() {
        tensor.shape.insert(0, 1);
    }
    if tensor.dtype == input.dtype {
        return Ok(tensor);
    }
    let values = tensor.view().to_f64();
    let wrong = || Failure::input(format!("{takes} {}, and not all of its values fit", tensor.dtype.name()));
    let kept = match (input.dtype, tensor.dtype) {
        // Not all of these are floats of 64 bits.
        (DType::I64, DType::F32 | DType::F64) => None,
        _ => bytes_of(input.dtype, &values),
    };
    let data = kept.ok_or_else(wrong)?;
    Ok(Tensor { dtype: input.dtype, shape: tensor.shape, data })
}

/// Numbers with commas between them: one alone is a scalar.
fn numbers(text: &str) -> Option<Tensor> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let shape = if parts.len() == 1 { vec![] } else { vec![parts.len()] };
    if let Ok(whole) = parts.iter().map(|p| p.parse()).collect::<Result<Vec<i64>, _>>() {
        return Some(Tensor::from_i64(&shape, &whole));
    }
    let values = parts.iter().map(|p| p.parse()).collect::<Result<Vec<f64>, _>>().ok()?;
    Some(Tensor { dtype: DType::F64, shape, data: values.iter().flat_map(|v| v.to_le_bytes()).collect() })
}

/// Values as an element type; none where one would be lost.
pub fn bytes_of(dtype: DType, values: &[f64]) -> Option<Vec<u8>> {
    let whole = |low: f64, high: f64| values.iter().all(|v| v.fract() == 0.0 && (low..=high).contains(v));
    match dtype {
        DType::F32 => Some(values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect()),
        DType::F64 => Some(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        DType::U8 if whole(0.0, 255.0) => Some(values.iter().map(|v| *v as u8).collect()),
        DType::Bool if whole(0.0, 1.0) => Some(values.iter().map(|v| *v as u8).collect()),
        DType::I32 if whole(f64::from(i32::MIN), f64::from(i32::MAX)) => {
            Some(values.iter().flat_map(|v| (*v as i32).to_le_bytes()).collect())
        }
        DType::I64 if whole(-9e15, 9e15) => {
            Some(values.iter().flat_map(|v| (*v as i64).to_le_bytes()).collect())
        }
        _ => None,
    }
}
