//! Rows of a data set, raw, after the body of their `data` item, and as the steps of a training see them.

use super::figures::FieldFigures;
use crate::compile;
use crate::failure::Failure;
use std::sync::Arc;
use weft_runtime::data::{Batch, Batches, Column, Order, Parts, Split};
use weft_runtime::execute::Session;
use weft_runtime::program::{Cell, DimExpr, Field, InputSource, Output, Program, Training};
use weft_runtime::tensor::{Tensor, TensorView};
use weft_runtime::text::Tokenizer;
use weft_runtime::train::{self, Options};

/// Rows that are run at once where no training says how many.
const BATCH: usize = 64;

/// Fields by name.
pub type Fields = Vec<(String, Tensor)>;

/// One row.
pub struct Seen {
    pub plain: Fields,
    /// Its texts, by the names of their fields.
    pub texts: Vec<(String, String)>,
    /// Where a training sees it otherwise.
    pub trained: Option<Fields>,
}

/// A data set that is read, and its entries.
pub struct Reader {
    program: Arc<Program>,
    session: Session,
    set: usize,
    parts: Parts,
    seed: u64,
    pub batch: usize,
    /// Of the three parts.
    pub rows: [usize; 3],
}

impl Reader {
    pub fn new(program: Arc<Program>, set: usize, options: &Options) -> Result<Reader, Failure> {
        let training = program.trainings.iter().find(|t| t.data == set);
        // Without a training of its own, it is read as another would.
        let training = training.or(program.trainings.first()).cloned();
        let training = Training {
            data: set,
            ..training.ok_or_else(|| {
                Failure::input("the spec has no `train` block, whose seed decides which rows are held out")
                    .help("add one: `train { on … as { … }  minimize … using adam() }`")
            })?
        };
        let parts = train::read_data(&program.data, &training, options)?;
        let seed = options.seed.unwrap_or(training.seed);
        let mut session = Session::new(program.clone(), options.threads.unwrap_or(1))?;
        compile::fresh_weights(&mut session, seed)?;
        train::fit(&mut session, set, &parts.train, seed)?;
        let rows = Split::ALL.map(|split| parts.get(split).len());
        let batch = options.batch.unwrap_or(training.batch).clamp(1, rows[0].max(1));
        Ok(Reader { program, session, set, parts, seed, batch, rows })
    }

    /// The names of the classes of a field.
    pub fn classes(&self, field: &str) -> Option<&[String]> {
        self.parts.classes.iter().find(|(own, _)| own == field).map(|(_, names)| names.as_slice())
    }

    /// What a class is called in the data; nothing where classes are numbers only.
    pub fn class_name(&self, field: &str, value: i64) -> &str {
        match (value, self.classes(field)) {
            (-1, Some(_)) => "missing",
            (_, Some(names)) => {
                usize::try_from(value).ok().and_then(|at| names.get(at)).map_or("", |name| name)
            }
            (_, None) => "",
        }
    }

    pub fn variable(&self, index: usize) -> Tensor {
        self.session.variable(index).to_owned()
    }

    /// What the fields of a part's rows are, at most so many of them.
    pub fn figures(&mut self, split: Split, most: usize) -> Result<Vec<FieldFigures>, Failure> {
        let mut figures: Vec<FieldFigures> = Vec::new();
        let part = self.parts.get(split).clone();
        if part.is_empty() {
            return Ok(figures);
        }
        let order = Order::plain(BATCH);
        let mut source = Batches::start(&part, order)?;
        let mut done = 0;
        while done < most
            && let Some(batch) = source.next_batch()?
        {
            done += batch.rows;
            let name = self.entry("");
            let lengths = self.lengths(&name, batch);
            for ((name, values), lengths) in self.run(&name, batch)?.into_iter().zip(lengths) {
                let values = lengths.map_or(values.clone(), |lengths| whole_steps(&values, &lengths));
                match figures.iter_mut().find(|f| f.name == name) {
                    Some(known) => known.take(&values),
                    None => {
                        let mut new = FieldFigures::new(&name, &values);
                        new.take(&values);
                        figures.push(new);
                    }
                }
            }
        }
        Ok(figures)
    }

    /// The first rows of the first batch of a training, in its order.
    pub fn first(&mut self, count: usize) -> Result<Vec<Seen>, Failure> {
        let order = Order { shuffle: Some((self.seed, 1)), ..Order::plain(count.max(1)) };
        let part = self.parts.train.clone();
        let mut source = Batches::start(&part, order)?;
        let batch = source.next_batch()?.cloned();
        let Some(batch) = batch else { return Ok(Vec::new()) };
        drop(source);
        let plain = self.run(&self.entry(""), &batch)?;
        let name = self.entry(".train");
        let trained = match self.session.entry(&name) {
            Ok(_) => Some(self.run(&name, &batch)?),
            Err(_) => None,
        };
        let row = |fields: &Fields, at: usize| -> Fields {
            fields.iter().map(|(name, t)| (name.clone(), crate::inspect::row(t, at))).collect()
        };
        let lengths = self.lengths(&self.entry(""), &batch);
        let plain = |at: usize| {
            let cut = |(field, lengths): ((String, Tensor), &Option<Vec<usize>>)| match lengths {
                Some(lengths) => (field.0, cut(&field.1, lengths.get(at).copied().unwrap_or(0))),
                None => field,
            };
            row(&plain, at).into_iter().zip(&lengths).map(cut).collect()
        };
        let rows = order.rows(&part);
        let text = |column: &Column, at: usize| {
            let text = column.text(rows.get(at).map_or(0, |row| *row as usize)).unwrap_or_default();
            (column.name.clone(), text.to_owned())
        };
        let texts = part.table.columns.iter().filter(|column| column.is_text());
        let texts: Vec<&Column> = texts.collect();
        let seen = |at| Seen {
            plain: plain(at),
            texts: texts.iter().map(|column| text(column, at)).collect(),
            trained: trained.as_ref().map(|t| row(t, at)),
        };
        Ok((0..batch.rows).map(seen).collect())
    }

    /// For each output of an entry whose rows differ in length: how long each row of a batch is.
    fn lengths(&self, entry: &str, batch: &Batch) -> Vec<Option<Vec<usize>>> {
        let Some(entry) = self.program.entries.iter().find(|known| known.name == entry) else {
            return Vec::new();
        };
        let set = &self.program.data[self.set];
        let of = |output: &Output| {
            let axis = output.shape.get(1).and_then(|dim| entry.dims.get(dim.0 as usize));
            let Some(DimExpr::Symbol(symbol)) = axis else { return None };
            let symbol = entry.symbols.get(*symbol as usize)?;
            let field = set.fields.iter().find(|field| field.ragged.as_ref() == Some(symbol))?;
            let name = Field::length_of(&field.name);
            let place = self.parts.train.table.columns.iter().position(|column| column.name == name)?;
            let lengths = batch.columns.get(place)?.as_chunks().0;
            Some(lengths.iter().map(|length| i32::from_le_bytes(*length) as usize).collect())
        };
        entry.outputs.iter().map(of).collect()
    }

    /// How long the rows of each field are whose rows differ in length, part by part.
    pub fn row_lengths(&self) -> Vec<(String, [Vec<usize>; 3])> {
        let set = &self.program.data[self.set];
        let fields = set.fields.iter().filter(|field| matches!(field.cell, Cell::Length { .. }));
        let of = |field: &Field| {
            let lengths = Split::ALL.map(|split| {
                let part = self.parts.get(split);
                let column = part.table.column(&field.name);
                let length = |row: &u32| column?.integer(*row as usize).ok().map(|n| n as usize);
                part.rows.iter().filter_map(length).collect()
            });
            (field.name.trim_end_matches(".length").to_owned(), lengths)
        };
        fields.map(of).collect()
    }

    /// What texts are cut into: each vocabulary's name, how many tokens it has, and some of them.
    pub fn vocabularies(&self) -> Vec<(String, usize, Vec<String>)> {
        let shown = |tokenizer: &Tokenizer| (4..16).filter_map(|id| tokenizer.token_of(id)).collect();
        let all = self.parts.vocabularies.iter();
        all.map(|tokenizer| (tokenizer.name().to_owned(), tokenizer.size(), shown(tokenizer))).collect()
    }

    pub fn notes(&self) -> &[String] {
        &self.parts.notes
    }

    fn entry(&self, suffix: &str) -> String {
        format!("data.{}{suffix}", self.program.data[self.set].name)
    }

    /// Runs one of the entries that give rows.
    fn run(&mut self, entry: &str, batch: &Batch) -> Result<Fields, Failure> {
        let index = self.session.entry(entry)?;
        let state = Tensor::from_i64(&[2], &[self.seed as i64, 0]);
        let table = &self.parts.train.table;
        let mut inputs: Vec<Tensor> = Vec::new();
        for input in &self.program.entries[index].inputs {
            let column = |field: &str| table.columns.iter().position(|c| c.name == field);
            inputs.push(match &input.source {
                InputSource::Field { field, .. } => {
                    let place = column(field)
                        .ok_or_else(|| Failure::input(format!("the data has no field `{field}`")))?;
                    let shape = batch.shape(table, place);
                    Tensor { dtype: input.dtype, shape, data: batch.columns[place].clone() }
                }
                _ => state.clone(),
            });
        }
        let views: Vec<TensorView<'_>> = inputs.iter().map(Tensor::view).collect();
        let outputs = self.session.run(index, &views)?;
        Ok(outputs.iter().map(|(name, view)| (name.to_owned(), view.to_owned())).collect())
    }
}

/// The first steps of a row.
fn cut(row: &Tensor, steps: usize) -> Tensor {
    let Some((extent, step)) = row.shape.split_first() else { return row.clone() };
    let steps = steps.min(*extent);
    let width = row.data.len() / (*extent).max(1);
    let shape = std::iter::once(steps).chain(step.iter().copied()).collect();
    Tensor { dtype: row.dtype, shape, data: row.data[..steps * width].to_vec() }
}

/// The steps of a batch's rows without what fills them up, one after another.
fn whole_steps(batch: &Tensor, lengths: &[usize]) -> Tensor {
    let rows: Vec<Tensor> = lengths
        .iter()
        .enumerate()
        .map(|(at, length)| cut(&crate::inspect::row(batch, at), *length))
        .collect();
    let steps = rows.iter().map(|row| row.shape.first().copied().unwrap_or(0)).sum();
    let step = batch.shape.get(2..).unwrap_or_default();
    let shape = [&[1, steps], step].concat();
    Tensor { dtype: batch.dtype, shape, data: rows.into_iter().flat_map(|row| row.data).collect() }
}
