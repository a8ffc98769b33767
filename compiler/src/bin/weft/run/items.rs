//! The `predict` items of a spec that a run can ask on its own, and what they are given: fields of the data as they lie in the files, fields as
//! models see them, or noise that is the same every time.

use crate::compile::{self, Wanted};
use crate::failure::Failure;
use crate::spec::Spec;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weft_runtime::data::{Batch, Parts, Table};
use weft_runtime::error::{Error, Result};
use weft_runtime::execute::Session;
use weft_runtime::kernels::random;
use weft_runtime::program::{
    DType, DimExpr, DimIndex, Entry, Input, InputSource, Output, Program, VariableKind,
};
use weft_runtime::tensor::{Tensor, TensorView};
use weft_runtime::text;
use weft_runtime::weights::load_weights;

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq)]
enum Feed {
    /// A column of the data, by its place.
    Column(usize),
    /// A field after the body of the `data` item, by its place among the results.
    Field(usize),
    /// Normal numbers, of these extents behind the rows.
    Noise(Vec<usize>),
    /// The state of random numbers.
    State,
    /// Tokens of the data's texts, or how many each text has.
    Texts,
}

/// An item that can be asked.
#[derive(Clone, Debug)]
pub struct Item {
    pub name: String,
    /// It is a model's own signature.
    pub of_model: bool,
    entry: usize,
    feeds: Vec<Feed>,
}

impl Item {
    /// Is it asked about rows of the data?
    pub fn of_rows(&self) -> bool {
        self.feeds.iter().any(|feed| matches!(feed, Feed::Column(_) | Feed::Field(_) | Feed::Texts))
    }

    /// Does it know all that it is asked about, without any noise?
    pub fn of_rows_alone(&self) -> bool {
        self.of_rows() && !self.feeds.iter().any(|feed| matches!(feed, Feed::Noise(_)))
    }

    /// Is this column given to it?
    pub fn takes(&self, column: usize) -> bool {
        self.feeds.contains(&Feed::Column(column))
    }
}

/// Predictions, ready to be asked.
pub struct Items {
    program: Arc<Program>,
    session: Session,
    pub items: Vec<Item>,
    /// The entry that gives rows as models see them, with the columns that it reads.
    rows: Option<(usize, Vec<Option<usize>>)>,
    /// The vocabularies that the data's texts were cut by, and the spec's folder.
    kept: Vec<(String, String)>,
    base: PathBuf,
    seed: i64,
}

impl Items {
    /// The items of a spec whose inputs are known, for the data set of a training.
    pub fn new(spec: &Spec, data: &str, parts: &Parts, seed: u64, threads: usize) -> Result<Items> {
        let table: &Table = &parts.train.table;
        let program = compile::program(spec, Wanted::Answers, u16::try_from(threads).ok());
        // What can be trained can be compiled.
        let program = program.map_err(|failure: Failure| Error::Unsound(failure.message))?;
        let session = Session::new(Arc::clone(&program), threads)?;
        let rows = session.entry(&format!("data.{data}")).ok().map(|entry| {
            let inputs = program.entries[entry].inputs.iter();
            (entry, inputs.map(|input| field_column(input, table)).collect())
        });
        let fields = rows.as_ref().map(|(entry, _)| &program.entries[*entry]);
        let item = |prediction: &weft_runtime::program::Prediction| {
            let entry = session.entry(&prediction.entry).ok()?;
            let feeds = program.entries[entry].inputs.iter();
            let feeds: Option<Vec<Feed>> =
                feeds.map(|input| feed(&program.entries[entry], input, table, fields)).collect();
            feeds.map(|feeds| Item {
                name: prediction.name.clone(),
                of_model: prediction.of_model,
                entry,
                feeds,
            })
        };
        let items = program.predictions.iter().filter_map(item).collect();
        let kept = parts.vocabularies.iter().map(|t| (t.name().to_owned(), t.json().to_owned())).collect();
        let base = spec.folder.clone();
        Ok(Items { program, session, items, rows, kept, base, seed: seed as i64 })
    }

    /// Takes the weights of a file.
    pub fn load(&mut self, weights: &Path) -> Result<()> {
        load_weights(&mut self.session, weights)
    }

    /// Takes the weights as a training has them.
    pub fn copy(&mut self, training: &Session) {
        let others = &training.program().variables;
        for (index, variable) in self.program.variables.iter().enumerate() {
            let saved = matches!(variable.kind, VariableKind::Weight | VariableKind::State);
            let other = others.iter().position(|other| saved && other.path == variable.path);
            if let Some(other) = other {
                self.session.variable_bytes_mut(index).copy_from_slice(training.variable(other).data);
            }
        }
    }

    /// The results of an item: name, type, extents of a row where they are constant.
    pub fn results(&self, item: &Item) -> Vec<(&str, DType, Option<Vec<usize>>)> {
        let entry = &self.program.entries[item.entry];
        let result = |output: &Output| row_extents(entry, &output.shape);
        entry.outputs.iter().map(|output| (output.name.as_str(), output.dtype, result(output))).collect()
    }

    /// What an item gives, by name, for a batch or for so many rows of noise.
    pub fn ask(&mut self, item: &Item, batch: &Batch, table: &Table) -> Result<Vec<(String, Tensor)>> {
        let fields = match item.feeds.iter().any(|feed| matches!(feed, Feed::Field(_))) {
            true => self.fields(batch, table)?,
            false => Vec::new(),
        };
        let made = match item.feeds.contains(&Feed::Texts) {
            true => self.texts(item, batch, table)?,
            false => Vec::new(),
        };
        let state = Tensor::from_i64(&[2], &[self.seed, 0]);
        let inputs = &self.program.entries[item.entry].inputs;
        let given: Vec<Tensor> = item
            .feeds
            .iter()
            .enumerate()
            .map(|(place, feed)| match feed {
                Feed::Column(at) => column(batch, table, *at),
                Feed::Field(at) => fields.get(*at).cloned().unwrap_or_else(|| state.clone()),
                Feed::Noise(extents) => noise(batch.rows, extents, self.seed, place),
                Feed::State => state.clone(),
                Feed::Texts => {
                    let name = inputs.get(place).map(|input| &input.name);
                    let tensor = made.iter().find(|(made, _)| Some(made) == name);
                    tensor.map_or_else(|| state.clone(), |(_, tensor)| tensor.clone())
                }
            })
            .collect();
        self.run(item.entry, &given)
    }

    /// The inputs of an item that are made of the texts of a batch's rows.
    fn texts(&self, item: &Item, batch: &Batch, table: &Table) -> Result<Vec<(String, Tensor)>> {
        let entry = &self.program.entries[item.entry];
        let reader = text::given::Reader::new(&self.program, entry, &self.kept, &self.base)?;
        let mut texts: Vec<(&str, Vec<&str>)> = Vec::new();
        for column in table.columns.iter().filter(|column| column.is_text()) {
            let rows: Result<Vec<&str>> =
                batch.numbers.iter().map(|row| column.text(*row as usize)).collect();
            texts.push((&column.name, rows?));
        }
        reader.tensors(&texts)
    }

    /// The fields of a batch after the body of the `data` item.
    fn fields(&mut self, batch: &Batch, table: &Table) -> Result<Vec<Tensor>> {
        let Some((entry, columns)) = self.rows.clone() else { return Ok(Vec::new()) };
        let state = Tensor::from_i64(&[2], &[self.seed, 0]);
        let given = columns.iter().map(|at| at.map_or_else(|| state.clone(), |at| column(batch, table, at)));
        let given: Vec<Tensor> = given.collect();
        Ok(self.run(entry, &given)?.into_iter().map(|(_, field)| field).collect())
    }

    fn run(&mut self, entry: usize, given: &[Tensor]) -> Result<Vec<(String, Tensor)>> {
        let views: Vec<TensorView<'_>> = given.iter().map(Tensor::view).collect();
        let outputs = self.session.run(entry, &views)?;
        Ok(outputs.iter().map(|(name, view)| (name.to_owned(), view.to_owned())).collect())
    }
}

fn field_column(input: &Input, table: &Table) -> Option<usize> {
    let InputSource::Field { field, .. } = &input.source else { return None };
    table.columns.iter().position(|column| column.name == *field)
}

/// The constant extents behind an input's or output's first axis.
fn row_extents(entry: &Entry, shape: &[DimIndex]) -> Option<Vec<usize>> {
    let constant = |dim: &DimIndex| match entry.dims.get(dim.0 as usize) {
        Some(DimExpr::Constant(extent)) => usize::try_from(*extent).ok(),
        _ => None,
    };
    shape.get(1..)?.iter().map(constant).collect()
}

/// What an input is given, if that is known: the field of its name, else the only one of its type and shape, else noise.
fn feed(entry: &Entry, input: &Input, table: &Table, fields: Option<&Entry>) -> Option<Feed> {
    if input.source == InputSource::Random {
        return Some(Feed::State);
    }
    match &input.source {
        InputSource::Tokens { text, .. } => {
            return table.column(text).filter(|column| column.is_text()).map(|_| Feed::Texts);
        }
        // Of tokens that are known, or the item is not asked.
        InputSource::Lengths { .. } => return Some(Feed::Texts),
        _ => {}
    }
    let named = table.columns.iter().position(|column| {
        column.name == input.name
            && column.dtype == input.dtype
            && !column.is_text()
            && column.shape.len() + 1 + usize::from(column.ragged.is_some()) == input.shape.len()
    });
    if let Some(column) = named {
        return Some(Feed::Column(column));
    }
    let extents = row_extents(entry, &input.shape)?;
    let outputs = fields.map_or(&[][..], |fields| &fields.outputs);
    let alike = |place: &usize| {
        let output = &outputs[*place];
        output.dtype == input.dtype
            && fields.and_then(|fields| row_extents(fields, &output.shape)) == Some(extents.clone())
    };
    let alike: Vec<usize> = (0..outputs.len()).filter(alike).collect();
    let named = alike.iter().copied().find(|place| outputs[*place].name == input.name);
    match (named, alike.as_slice()) {
        (Some(place), _) | (None, &[place]) => Some(Feed::Field(place)),
        _ if input.dtype == DType::F32 && !extents.is_empty() => Some(Feed::Noise(extents)),
        _ => None,
    }
}

fn column(batch: &Batch, table: &Table, at: usize) -> Tensor {
    let column = &table.columns[at];
    let shape = batch.shape(table, at);
    Tensor { dtype: column.dtype, shape, data: batch.columns[at].clone() }
}

/// The same numbers for the same seed, input and row.
fn noise(rows: usize, extents: &[usize], seed: i64, input: usize) -> Tensor {
    let shape = [&[rows], extents].concat();
    let key = random::key(&format!("report.noise.{input}"));
    let count = shape.iter().product::<usize>() as u64;
    let values: Vec<f32> = (0..count).map(|index| random::normal(index, [seed, 0], key)).collect();
    Tensor::from_f32(&shape, &values)
}
