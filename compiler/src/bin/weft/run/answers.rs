//! What the trained model answers about rows that it was not trained on: the spec's first `predict` item that takes fields of the
//! data as they lie in the files, asked with the kept weights.
//!
//! What an answer is compared with follows from its type. A whole number for each row is a class, and is held against the class of the
//! row; a number is held against the field of its name; a picture is laid beside the picture that the model was given.

use crate::compile::{self, Wanted};
use crate::spec::Spec;
use std::path::Path;
use weft_runtime::data::{Batches, Column, Order, Parts, Split};
use weft_runtime::error::Error;
use weft_runtime::execute::Session;
use weft_runtime::program::{DType, Entry, InputSource, Program};
use weft_runtime::tensor::TensorView;
use weft_runtime::text;
use weft_runtime::train::load_weights;

/// At most so many rows are asked about, the first ones of the part.
const MAX_ROWS: usize = 10_000;
/// Pictures of which as many are kept.
const PICTURES: usize = 12;
const BATCH: usize = 64;

/// Rows and answers.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// The `predict` item, and the part of the data.
    pub item: String,
    pub part: &'static str,
    pub rows: usize,
    pub classes: Option<Classes>,
    pub values: Option<Values>,
    /// The model's own pictures beside those that it was given.
    pub drawn: Vec<[Picture; 2]>,
}

/// Answers that are classes.
#[derive(Clone, Debug, Default)]
pub struct Classes {
    pub field: String,
    pub names: Vec<String>,
    /// Truth and answer of each row, and how sure the model was.
    pub pairs: Vec<(usize, usize, Option<f32>)>,
    /// Rows that can be shown: their place among the pairs.
    pub wrong: Vec<(usize, Sample)>,
    pub right: Vec<(usize, Sample)>,
}

/// Answers that are numbers: truth and answer of each row.
#[derive(Clone, Debug, Default)]
pub struct Values {
    pub field: String,
    pub pairs: Vec<(f64, f64)>,
}

/// What of a row is shown.
#[derive(Clone, Debug)]
pub enum Sample {
    Picture(Picture),
    Text(String),
}

/// Bytes `[height, width, channels]`.
#[derive(Clone, Debug)]
pub struct Picture {
    pub shape: [usize; 3],
    pub pixels: Vec<u8>,
}

/// Where an input of the prediction comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    /// A column of the data.
    Column(usize),
    /// Its texts, cut into tokens.
    Texts,
}

/// Asks about the test part, or about validation where there is no test. Without a fitting `predict` item there is no answer.
pub fn ask(
    spec: &Spec,
    training: &Program,
    parts: &Parts,
    weights: &Path,
    threads: usize,
) -> Result<Option<Answers>, Error> {
    let held = [Split::Test, Split::Validation].into_iter().find(|split| !parts.get(*split).is_empty());
    let Some(split) = held.filter(|_| !training.trainings.is_empty()) else { return Ok(None) };
    let part = parts.get(split);
    let threads_given = u16::try_from(threads).ok();
    let Ok(program) = compile::program(spec, Wanted::Prediction, threads_given) else { return Ok(None) };
    let columns = &part.table.columns;
    let column_of = |entry: &Entry, input: usize| {
        let input = entry.inputs.get(input)?;
        let fits = |shape: &[usize]| input.shape.len() == shape.len() + 1;
        columns.iter().position(|c| c.name == input.name && c.dtype == input.dtype && fits(&c.shape))
    };
    let fitting = program.predictions.iter().find_map(|item| {
        let entry = program.entries.iter().find(|entry| entry.name == item.entry)?;
        let text = |name: &str| columns.iter().any(|column| column.name == name && column.is_text());
        let wire = |i: usize| match &entry.inputs.get(i)?.source {
            InputSource::Caller => column_of(entry, i).map(Wire::Column),
            InputSource::Tokens { text: name, .. } => text(name).then_some(Wire::Texts),
            InputSource::Lengths { .. } => Some(Wire::Texts),
            _ => None,
        };
        let wired: Option<Vec<Wire>> = (0..entry.inputs.len()).map(wire).collect();
        Some((item, wired.filter(|wired| !wired.is_empty())?))
    });
    let Some((item, wired)) = fitting else { return Ok(None) };

    let mut session = Session::new(program.clone(), threads)?;
    load_weights(&mut session, weights)?;
    let entry = session.entry(&item.entry)?;
    let described = &program.entries[entry];
    let kept: Vec<(String, String)> =
        parts.vocabularies.iter().map(|t| (t.name().to_owned(), t.json().to_owned())).collect();
    let reader = text::given::Reader::new(&program, described, &kept, &spec.folder)?;
    let texts: Vec<&Column> = columns.iter().filter(|column| column.is_text()).collect();
    let mut answers = Answers { item: item.name.clone(), part: split.name(), ..Answers::default() };
    let mut candidates: Vec<(usize, Sample)> = Vec::new();
    let picture = columns.iter().position(|column| column.dtype == DType::U8 && is_picture(&column.shape));
    let mut batches = Batches::start(part, Order::plain(BATCH))?;
    while answers.rows < MAX_ROWS
        && let Some(batch) = batches.next_batch()?
    {
        // Batches take the rows as they lie.
        let rows = part.rows.get(answers.rows..answers.rows + batch.rows).unwrap_or_default();
        let mut said: Vec<(&str, Vec<&str>)> = Vec::new();
        for column in &texts {
            let of_rows: Result<Vec<&str>, Error> =
                rows.iter().map(|row| column.text(*row as usize)).collect();
            said.push((column.name.as_str(), of_rows?));
        }
        let made = reader.tensors(&said)?;
        let shapes: Vec<Vec<usize>> = wired
            .iter()
            .map(|wire| match wire {
                Wire::Column(at) => batch.shape(&part.table, *at),
                Wire::Texts => Vec::new(),
            })
            .collect();
        let mut views: Vec<TensorView<'_>> = Vec::new();
        for ((wire, shape), input) in wired.iter().zip(&shapes).zip(&described.inputs) {
            let view = match wire {
                Wire::Column(at) => {
                    Some(TensorView { dtype: columns[*at].dtype, shape, data: &batch.columns[*at] })
                }
                Wire::Texts => {
                    made.iter().find(|(name, _)| *name == input.name).map(|(_, tensor)| tensor.view())
                }
            };
            views.extend(view);
        }
        let outputs = session.run(entry, &views)?;
        let column = |at: usize| {
            let shape = batch.shape(&part.table, at);
            TensorView { dtype: columns[at].dtype, shape: &shape, data: &batch.columns[at] }.to_f64()
        };
        let row_picture = |row: usize| {
            let at = picture?;
            let shape = shape_of_picture(&columns[at].shape)?;
            let size = shape.iter().product::<usize>();
            let pixels = batch.columns[at].get(row * size..(row + 1) * size)?.to_vec();
            Some(Picture { shape, pixels })
        };
        let sample = |row: usize| match row_picture(row) {
            Some(picture) => Some(Sample::Picture(picture)),
            None => said
                .first()
                .and_then(|(_, texts)| texts.get(row))
                .map(|text| Sample::Text((*text).to_owned())),
        };
        let sure = outputs
            .iter()
            .find(|(_, o)| o.dtype == DType::F32 && o.shape.len() == 1)
            .map(|(_, o)| o.to_f64());
        for (name, output) in outputs.iter() {
            let alone = output.shape.iter().skip(1).product::<usize>() == 1;
            let scalar = |integer: bool| {
                let kind = |dtype: DType| dtype.is_float() != integer;
                let fits = |at: &usize| {
                    let column = &columns[*at];
                    let single = column.ragged.is_none() && column.shape.iter().product::<usize>() == 1;
                    single && kind(column.dtype) && !column.name.ends_with(".length")
                };
                let free: Vec<usize> =
                    (0..columns.len()).filter(|at| fits(at) && !wired.contains(&Wire::Column(*at))).collect();
                let named = free.iter().copied().find(|at| columns[*at].name == name);
                named.or(free.first().copied().filter(|_| free.len() == 1))
            };
            if alone && !output.dtype.is_float() && answers.values.is_none() {
                let Some(at) = scalar(true) else { continue };
                let classes = answers.classes.get_or_insert_with(|| Classes {
                    field: columns[at].name.clone(),
                    names: names(parts, &columns[at].name),
                    ..Classes::default()
                });
                if classes.field != columns[at].name {
                    continue;
                }
                for (row, (truth, answer)) in column(at).into_iter().zip(output.to_f64()).enumerate() {
                    // A class that is missing is not known to be right or wrong.
                    if truth < 0.0 || answer < 0.0 {
                        continue;
                    }
                    let sure = sure.as_ref().and_then(|sure| sure.get(row)).map(|sure| *sure as f32);
                    let place = classes.pairs.len();
                    classes.pairs.push((truth as usize, answer as usize, sure));
                    let enough = candidates.len() >= PICTURES * 40 && truth == answer;
                    if !enough && let Some(sample) = sample(row) {
                        candidates.push((place, sample));
                    }
                }
            } else if alone && output.dtype == DType::F32 && answers.classes.is_none() {
                let Some(at) = scalar(false) else { continue };
                let field = columns[at].name.clone();
                let values = answers.values.get_or_insert_with(|| Values { field, pairs: Vec::new() });
                if values.field == columns[at].name {
                    values.pairs.extend(column(at).into_iter().zip(output.to_f64()));
                }
            } else if let Some(shape) = shape_of_picture(output.shape.get(1..).unwrap_or_default())
                && answers.drawn.len() < PICTURES
            {
                let size = shape.iter().product::<usize>();
                let scale = if output.dtype == DType::U8 { 1.0 } else { 255.0 };
                let bytes: Vec<u8> = output
                    .to_f64()
                    .into_iter()
                    .map(|v| (v * scale).round().clamp(0.0, 255.0) as u8)
                    .collect();
                for (row, pixels) in bytes.chunks_exact(size.max(1)).enumerate() {
                    let Some(given) = row_picture(row).filter(|_| answers.drawn.len() < PICTURES) else {
                        break;
                    };
                    answers.drawn.push([given, Picture { shape, pixels: pixels.to_vec() }]);
                }
            }
        }
        answers.rows += batch.rows;
    }
    if let Some(classes) = &mut answers.classes {
        classes.choose(candidates);
    }
    let some = answers.classes.is_some() || answers.values.is_some() || !answers.drawn.is_empty();
    Ok(some.then_some(answers))
}

/// The names of a field's classes, where the data has names for them.
fn names(parts: &Parts, field: &str) -> Vec<String> {
    parts.classes.iter().find(|(name, _)| name == field).map_or(Vec::new(), |(_, names)| names.clone())
}

fn is_picture(shape: &[usize]) -> bool {
    shape_of_picture(shape).is_some()
}

/// Height, width and channels: grey or colour, large enough to be seen.
fn shape_of_picture(shape: &[usize]) -> Option<[usize; 3]> {
    match *shape {
        [height, width, channels @ (1 | 3)] if height > 3 && width > 3 => Some([height, width, channels]),
        [height, width] if height > 3 && width > 3 => Some([height, width, 1]),
        _ => None,
    }
}

impl Classes {
    /// The wrong answers that the model was surest of, and right ones of as many classes as there are.
    fn choose(&mut self, candidates: Vec<(usize, Sample)>) {
        let (mut wrong, right): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|(at, _)| self.pairs.get(*at).is_some_and(|(t, a, _)| t != a));
        let sure = |at: usize| self.pairs.get(at).and_then(|pair| pair.2).unwrap_or(0.0);
        wrong.sort_by(|(a, _), (b, _)| sure(*b).total_cmp(&sure(*a)));
        wrong.truncate(PICTURES);
        let mut shown: Vec<(usize, Sample)> = Vec::new();
        for turn in 0..PICTURES {
            for (at, sample) in &right {
                let class = |at: usize| self.pairs.get(at).map(|pair| pair.0);
                let same = shown.iter().filter(|(other, _)| class(*other) == class(*at)).count();
                let known = shown.iter().any(|(other, _)| other == at);
                if shown.len() < PICTURES && same <= turn && !known {
                    shown.push((*at, sample.clone()));
                }
            }
        }
        (self.wrong, self.right) = (wrong, shown);
    }

    /// How many classes there are.
    pub fn count(&self) -> usize {
        let largest = self.pairs.iter().map(|(truth, answer, _)| truth.max(answer) + 1).max().unwrap_or(0);
        largest.max(self.names.len())
    }

    pub fn name(&self, class: usize) -> String {
        self.names.get(class).cloned().unwrap_or_else(|| class.to_string())
    }
}
