//! Bodies as the tensors of an entry's inputs.

use std::path::Path;

use hyper::StatusCode;
use serde::Deserialize;

use super::answer::Problem;
use super::body::Kind;
use crate::command::inputs::{adapt, picture};
use crate::command::row::{Maker, Row, Rows, has_rows};
use crate::io::{npy, weights};
use crate::program::{DType, DimExpr, Input, InputSource};
use crate::tensor::{Tensor, byte_count};
use crate::text::given;

/// What a body is called in messages.
const BODY: &str = "the body";

/// How a request's rows came, and so how they go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    One,
    List,
    Lines,
}

/// What is said about a body beside it.
#[derive(Clone, Debug)]
pub struct About {
    pub kind: Kind,
    pub seed: u64,
    /// The input that it is, where an item has several.
    pub input: Option<String>,
    /// Of bare values.
    pub shape: Option<String>,
    pub dtype: Option<String>,
}

/// The inputs of an entry, in its order, for so many rows.
#[derive(Debug)]
pub struct Given {
    pub tensors: Vec<Tensor>,
    pub rows: usize,
    pub form: Form,
}

/// The rows of a JSON body, an object or a list or a line each.
pub fn rows(kind: Kind, bytes: &[u8]) -> Result<(Vec<Row>, Form), Problem> {
    if kind == Kind::Lines {
        let lines = bytes.split(|byte| *byte == b'\n').enumerate();
        let lines = lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
        let mut rows = Vec::new();
        for (number, line) in lines {
            rows.push(json::<Row>(line, &format!("line {}", number + 1))?);
            if rows.len() > Rows::MOST {
                return Err(Problem::content(format!("a request has {} rows at most", Rows::MOST)));
            }
        }
        return Ok((rows, Form::Lines));
    }
    Ok(match json(bytes, BODY)? {
        Rows::One(row) => (vec![row], Form::One),
        Rows::Many(rows) => (rows, Form::List),
    })
}

fn json<'b, T: Deserialize<'b>>(bytes: &'b [u8], what: &str) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| match error.is_data() {
        true => Problem::content(format!("{what} is not as it should be: {error}")),
        false => Problem::new(StatusCode::BAD_REQUEST, format!("{what} is no JSON: {error}")),
    })
}

/// The text of a body.
pub fn text(bytes: &[u8]) -> Result<&str, Problem> {
    let wrong = |error: std::str::Utf8Error| {
        let at = error.valid_up_to();
        Problem::new(StatusCode::BAD_REQUEST, format!("{BODY} is no UTF-8 at byte {at}"))
    };
    std::str::from_utf8(bytes).map_err(wrong)
}

pub fn given(maker: &Maker<'_>, about: &About, bytes: Vec<u8>) -> Result<Given, Problem> {
    let given = match about.kind {
        Kind::Json | Kind::Lines => {
            let (rows, form) = rows(about.kind, &bytes)?;
            drop(bytes);
            of_rows(maker, about, rows, form)?
        }
        Kind::Text => match maker.names()[..] {
            [name] if given::texts(maker.entry()) == [name] => {
                of_rows(maker, about, vec![Row::of_text(name, text(&bytes)?)], Form::One)?
            }
            _ => return Err(Problem::content("this does not take one text alone").help("send JSON")),
        },
        _ => binary(maker, about, bytes)?,
    };
    let truths = given.tensors.iter().filter(|tensor| tensor.dtype == DType::Bool);
    if truths.flat_map(|tensor| &tensor.data).any(|byte| *byte > 1) {
        return Err(Problem::content("a bool is neither 0 nor 1"));
    }
    Ok(given)
}

fn of_rows(maker: &Maker<'_>, about: &About, rows: Vec<Row>, form: Form) -> Result<Given, Problem> {
    match rows.len() {
        0 => return Err(Problem::content("there are no rows")),
        1 => {}
        _ if has_rows(maker.entry()) => {}
        _ => return Err(Problem::content("this answers one row at a time").help("send each row by itself")),
    }
    Ok(Given { tensors: maker.tensors(&rows, about.seed)?, rows: rows.len(), form })
}

/// Tensors as they are: one, or several with names.
fn binary(maker: &Maker<'_>, about: &About, bytes: Vec<u8>) -> Result<Given, Problem> {
    let entry = maker.entry();
    let inputs: Vec<&Input> =
        entry.inputs.iter().filter(|input| input.source == InputSource::Caller).collect();
    if let Some(text) = given::texts(entry).first() {
        return Err(Problem::content(format!("this takes the text `{text}`")).help("send JSON"));
    }
    let one = || match (&about.input, &inputs[..]) {
        (Some(name), inputs) => inputs
            .iter()
            .find(|input| input.name == *name)
            .copied()
            .ok_or_else(|| Problem::content(format!("there is no input `{name}`"))),
        (None, [only]) => Ok(*only),
        (None, []) => Err(Problem::content("nothing is to be given").help("send {}")),
        (None, _) => Err(Problem::content("this takes several tensors")
            .help("send application/safetensors with a tensor for each input, or JSON")),
    };
    let body = Path::new(BODY);
    let mut named: Vec<(String, Tensor)> = match about.kind {
        Kind::Safetensors => weights::parse(body, &bytes)?.tensors.into_iter().collect(),
        Kind::Picture => {
            let input = one()?;
            vec![(input.name.clone(), picture(maker.program(), entry, input, body, &bytes)?)]
        }
        Kind::Npy => {
            let wrong = |message| Problem::content(format!("{BODY}: {message}"));
            vec![(one()?.name.clone(), npy::parse(bytes).map_err(wrong)?)]
        }
        _ => {
            let input = one()?;
            vec![(input.name.clone(), bare(maker, about, input, bytes)?)]
        }
    };
    let known: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    if let Some((name, _)) = named.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(Problem::content(format!("there is no input `{name}`; there is: {}", known.join(", "))));
    }
    let (mut tensors, mut rows, mut one_row) = (Vec::new(), None, true);
    for input in &entry.inputs {
        if input.source == InputSource::Random {
            tensors.push(Tensor::from_i64(&[2], &[about.seed as i64, 0]));
            continue;
        }
        let place = named.iter().position(|(name, _)| *name == input.name);
        let missing = || Problem::content(format!("the input `{}` is missing", input.name));
        let (_, tensor) = named.swap_remove(place.ok_or_else(missing)?);
        one_row &= tensor.shape.len() + 1 == input.shape.len();
        let takes = format!("`{}` takes {}, but {BODY} holds", input.name, input.dtype.name());
        let tensor = adapt(input, tensor, &takes)?;
        if has_rows(entry) {
            let count = tensor.shape.first().copied().unwrap_or(0);
            if *rows.get_or_insert(count) != count {
                let message = format!("`{}` has {count} rows, but other inputs have others", input.name);
                return Err(Problem::content(message));
            }
        }
        tensors.push(tensor);
    }
    let rows = rows.unwrap_or(1);
    if rows == 0 {
        return Err(Problem::content("there are no rows"));
    }
    Ok(Given { tensors, rows, form: if one_row || !has_rows(entry) { Form::One } else { Form::List } })
}

/// Values without a header, little-endian. Where their shape is not said, they are rows of the input.
fn bare(maker: &Maker<'_>, about: &About, input: &Input, bytes: Vec<u8>) -> Result<Tensor, Problem> {
    let dtype = match about.dtype.as_deref() {
        None => input.dtype,
        Some(name) => DType::from_name(name).ok_or_else(|| {
            Problem::content(format!("`{name}` is no type of numbers"))
                .help("x-dtype is f32, f64, f16, bf16, i8, u8, i32, i64 or bool")
        })?,
    };
    let shape = match &about.shape {
        Some(text) => {
            let extents = text.split(',').map(|extent| extent.trim().parse::<usize>());
            extents.collect::<Result<Vec<usize>, _>>().map_err(|_| {
                Problem::content(format!("`{text}` is no shape")).help("x-shape is like 2,28,28,1")
            })?
        }
        None => {
            let constant = |dim: &crate::program::DimIndex| match maker.entry().dims[dim.0 as usize] {
                DimExpr::Constant(extent) => usize::try_from(extent).ok(),
                _ => None,
            };
            let row: Option<Vec<usize>> = input.shape.iter().skip(1).map(constant).collect();
            let bytes_of_row = row.as_ref().and_then(|row| byte_count(dtype, row));
            match (row, bytes_of_row) {
                (Some(row), Some(count)) if count > 0 && bytes.len().is_multiple_of(count) => {
                    [&[bytes.len() / count], row.as_slice()].concat()
                }
                _ => {
                    let message = format!("{} bytes are no rows of `{}`", bytes.len(), input.name);
                    return Err(Problem::content(message).help("say the shape: x-shape: 2,28,28,1"));
                }
            }
        }
    };
    match byte_count(dtype, &shape) {
        Some(count) if count == bytes.len() => Ok(Tensor { dtype, shape, data: bytes }),
        _ => Err(Problem::content(format!(
            "{} bytes are no {} of the shape {shape:?}",
            bytes.len(),
            dtype.name()
        ))),
    }
}
