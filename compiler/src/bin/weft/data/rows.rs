//! Rows of a data set, raw, after the body of their `data` item, and as the steps of a training see them.

use super::figures::FieldFigures;
use crate::compile;
use crate::failure::Failure;
use std::sync::Arc;
use weft_runtime::data::{Batch, Batches, Order, Parts, Split};
use weft_runtime::execute::Session;
use weft_runtime::program::{InputSource, Program, Training};
use weft_runtime::tensor::{Tensor, TensorView};
use weft_runtime::train::{self, Options};

/// Rows that are run at once where no training says how many.
const BATCH: usize = 64;

/// Fields by name.
pub type Fields = Vec<(String, Tensor)>;

/// One row.
pub struct Seen {
    pub plain: Fields,
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
        let parts = train::read_data(&program.data, &training, options).map_err(compile::runtime_failure)?;
        let seed = options.seed.unwrap_or(training.seed);
        let mut session =
            Session::new(program.clone(), options.threads.unwrap_or(1)).map_err(compile::runtime_failure)?;
        compile::fresh_weights(&mut session, seed).map_err(compile::runtime_failure)?;
        train::fit(&mut session, set, &parts.train, seed).map_err(compile::runtime_failure)?;
        let rows = Split::ALL.map(|split| parts.get(split).len());
        let batch = options.batch.unwrap_or(training.batch).clamp(1, rows[0].max(1));
        Ok(Reader { program, session, set, parts, seed, batch, rows })
    }

    /// What a class is called in the data; nothing where classes are numbers only.
    pub fn class_name(&self, field: &str, value: i64) -> &str {
        let names = self.parts.classes.iter().find(|(own, _)| own == field).map(|(_, names)| names);
        match (value, names) {
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
        let order = Order { batch: BATCH, shuffle: None };
        let mut source = Batches::start(&part, order).map_err(compile::runtime_failure)?;
        let mut done = 0;
        while done < most
            && let Some(batch) = source.next_batch().map_err(compile::runtime_failure)?
        {
            done += batch.rows;
            let name = self.entry("");
            for (name, values) in self.run(&name, batch)? {
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
        let order = Order { batch: count.max(1), shuffle: Some((self.seed, 1)) };
        let part = self.parts.train.clone();
        let mut source = Batches::start(&part, order).map_err(compile::runtime_failure)?;
        let batch = source.next_batch().map_err(compile::runtime_failure)?.cloned();
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
        let seen = |at| Seen { plain: row(&plain, at), trained: trained.as_ref().map(|t| row(t, at)) };
        Ok((0..batch.rows).map(seen).collect())
    }

    fn entry(&self, suffix: &str) -> String {
        format!("data.{}{suffix}", self.program.data[self.set].name)
    }

    /// Runs one of the entries that give rows.
    fn run(&mut self, entry: &str, batch: &Batch) -> Result<Fields, Failure> {
        let index = self.session.entry(entry).map_err(compile::runtime_failure)?;
        let state = Tensor::from_i64(&[2], &[self.seed as i64, 0]);
        let table = &self.parts.train.table;
        let mut inputs: Vec<Tensor> = Vec::new();
        for input in &self.program.entries[index].inputs {
            let column = |field: &str| table.columns.iter().position(|c| c.name == field);
            inputs.push(match &input.source {
                InputSource::Field { field, .. } => {
                    let place = column(field)
                        .ok_or_else(|| Failure::input(format!("the data has no field `{field}`")))?;
                    let shape = [&[batch.rows][..], &table.columns[place].shape].concat();
                    Tensor { dtype: input.dtype, shape, data: batch.columns[place].clone() }
                }
                _ => state.clone(),
            });
        }
        let views: Vec<TensorView<'_>> = inputs.iter().map(Tensor::view).collect();
        let outputs = self.session.run(index, &views).map_err(compile::runtime_failure)?;
        Ok(outputs.iter().map(|(name, view)| (name.to_owned(), view.to_owned())).collect())
    }
}
