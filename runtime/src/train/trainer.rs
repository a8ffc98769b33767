//! A training in progress: its session, its data, its entries wired up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::data::{self, Batch, Batches, Known, Memory, Order, Part, Parts, Split, shuffle};
use crate::error::{Error, Result};
use crate::execute::Session;
use crate::pool::Pool;
use crate::program::{DType, DataSet, Program, Training, VariableKind, Watch};
use crate::tensor::TensorView;
use crate::text::Tokenizer;

use super::checkpoint::peek;
use super::collect::Collections;
use super::figures::{Figures, Reading, Watched};
use super::fit;
use super::numerics::Watcher;
use super::state::State;
use super::wiring::{Moment, Wiring};
use super::{INIT, Observer, Options};
use crate::weights::{self, VOCABULARY_KEY, Vocabularies, load_items, load_weights, provenance};

/// Everything that one training needs, ready to step.
#[derive(Debug)]
pub struct Trainer {
    pub(super) program: Arc<Program>,
    pub(super) index: usize,
    pub(super) session: Session,
    pub(super) parts: Parts,
    pub(super) steps: Vec<Wiring>,
    /// See [`Training::updates`].
    pub(super) updates: Vec<Wiring>,
    pub(super) rates: Option<Wiring>,
    pub(super) evaluation: Wiring,
    pub(super) gradient_entries: Vec<Wiring>,
    /// What they gave last, for the next record.
    pub(super) gradients: Figures,
    pub(super) report: Wiring,
    /// What the report reads beside the accumulators.
    pub(super) collections: Collections,
    /// Weights and their averages.
    pub(super) averages: Vec<(usize, usize)>,
    /// Batches that wait for the rest of those that make one update, where several steps take them in turn.
    pub(super) held: Vec<(Batch, Moment)>,
    /// Where the run stands.
    pub(super) state: State,
    /// A copy of the best weights, where the spec keeps them.
    pub(super) best: Option<Arc<Vec<u8>>>,
    /// Looks at every step's numbers, where that is asked for.
    pub(super) watcher: Option<Watcher>,
    /// Accumulators of one float, which show a loss that is no longer finite as soon as it happens.
    pub(super) sums: Vec<usize>,
    pub(super) batch: usize,
    pub(super) epochs: usize,
    pub(super) seed: u64,
    /// What the files of `load` items are relative to.
    pub(super) base: PathBuf,
    /// Where the data are, for errors.
    pub(super) data_path: PathBuf,
}

/// Reads the data of a training from the folder that the options or the spec name.
pub fn read_data(sets: &[DataSet], training: &Training, options: &Options) -> Result<Parts> {
    let names = || sets.iter().map(|set| set.name.clone()).collect();
    if let Some((name, _)) = options.data.iter().find(|(name, _)| sets.iter().all(|set| set.name != *name)) {
        return Err(Error::Unknown { what: "data set", name: name.clone(), candidates: names() });
    }
    let set = sets.get(training.data).ok_or_else(|| Error::Unknown {
        what: "data set",
        name: training.data.to_string(),
        candidates: names(),
    })?;
    let vocabularies = vocabularies(options)?;
    let known = Known { classes: &options.classes, vocabularies: &vocabularies, base: &options.base };
    let memory = Memory::new(options.data_memory);
    let seed = options.seed.unwrap_or(training.seed);
    data::load(set, &place(set, options), seed, &known, &memory, options.reading.as_deref())
}

/// The vocabularies that texts were cut by so far: those of the weights that a training starts from, or of the run that it goes on with.
fn vocabularies(options: &Options) -> Result<Vocabularies> {
    if !options.vocabularies.is_empty() {
        return Ok(options.vocabularies.clone());
    }
    if let Some(weights) = &options.weights {
        return Ok(provenance(weights)?.vocabularies);
    }
    let Some(folder) = &options.resume else { return Ok(Vocabularies::new()) };
    // What is wrong with a run is told when it is read.
    let found = peek(folder).ok().flatten().map(|(run, _)| run.found).unwrap_or_default();
    let named = |(key, json): (String, String)| Some((key.strip_prefix(VOCABULARY_KEY)?.to_string(), json));
    Ok(found.into_iter().filter_map(named).collect())
}

/// Where a data set is.
fn place(set: &DataSet, options: &Options) -> data::Place {
    let given = options.data.iter().rfind(|(name, _)| *name == set.name).map(|(_, folder)| folder.as_path());
    data::place(set, &options.base, given)
}

impl Trainer {
    /// Prepares the training at an index of [`Program::trainings`].
    pub fn new(program: Arc<Program>, index: usize, options: &Options) -> Result<Trainer> {
        let parts = read_data(&program.data, find(&program, index)?, options)?;
        Trainer::with_data(program, index, options, parts)
    }

    /// Prepares a training whose data was read before, by [`read_data`]: while the program was compiled, say.
    pub fn with_data(
        program: Arc<Program>,
        index: usize,
        options: &Options,
        parts: Parts,
    ) -> Result<Trainer> {
        let training = find(&program, index)?;
        let wrong = |message: String| Err(Error::Training { training: training.name.clone(), message });
        let mut session =
            Session::new(Arc::clone(&program), options.threads.unwrap_or_else(Pool::default_threads))?;
        let wire = |name: &str| Wiring::new(&session, name, training.data, &parts.train.table);
        let steps = training.steps.iter().map(|name| wire(name)).collect::<Result<Vec<_>>>()?;
        let updates = training.updates.iter().map(|name| wire(name)).collect::<Result<Vec<_>>>()?;
        let rates = training.rates.as_deref().map(wire).transpose()?;
        let evaluation = wire(&training.evaluate)?;
        // Those that nobody asked for are not compiled.
        let there = |name: &&String| program.entries.iter().any(|entry| entry.name == **name);
        let gradient_entries =
            training.gradients.iter().filter(there).map(|name| wire(name)).collect::<Result<_>>()?;
        let collections = Collections::of_report(&program.entries[session.entry(&training.report)?]);
        let table = &parts.train.table;
        let report = Wiring::of_report(&session, &training.report, training.data, table, &collections)?;

        let batch = options.batch.unwrap_or(training.batch);
        if batch == 0 {
            return wrong("a batch needs rows".into());
        }
        if steps.is_empty() || training.figures.is_empty() {
            return wrong("it needs a step and a figure".into());
        }
        if training.accumulate == 0 || (training.accumulate > 1 && updates.len() != steps.len()) {
            return wrong("batches are accumulated, but no update follows".into());
        }
        if report.outputs(&program) != training.figures.len() {
            return wrong(format!("`{}` does not give one value for each figure", training.report));
        }
        let largest = Split::ALL.map(|split| parts.get(split).len()).into_iter().max().unwrap_or(0);
        let set = program.data.get(training.data);
        let longest = |symbol: &str| {
            let ragged = set?.fields.iter().filter(|field| field.ragged.as_deref() == Some(symbol));
            ragged.filter_map(|field| parts.longest(&field.name)).max()
        };
        for wiring in steps.iter().chain(&updates).chain(&gradient_entries).chain([&evaluation]) {
            let entry = &program.entries[wiring.entry];
            // A symbol is the number of a batch's rows, or the length of the longest.
            let bounds: Vec<(&str, usize)> = entry
                .symbols
                .iter()
                .map(|symbol| (symbol.as_str(), longest(symbol).unwrap_or(batch.min(largest))))
                .collect();
            session.reserve(wiring.entry, &bounds)?;
        }
        // In the report the batch is an epoch.
        let symbols = &program.entries[report.entry].symbols;
        let bounds: Vec<(&str, usize)> = symbols.iter().map(|symbol| (symbol.as_str(), largest)).collect();
        session.reserve(report.entry, &bounds)?;
        let is_sum = |index: &usize| {
            let variable = &program.variables[*index];
            variable.kind == VariableKind::Accumulator
                && variable.dtype == DType::F32
                && variable.shape.iter().product::<usize>() == 1
        };
        let averages = training.averages.iter().map(|pair| places(&program, pair)).collect::<Result<_>>()?;
        Ok(Trainer {
            index,
            session,
            parts,
            steps,
            updates,
            rates,
            evaluation,
            gradient_entries,
            gradients: Figures::default(),
            report,
            collections,
            averages,
            held: Vec::new(),
            state: State::default(),
            best: None,
            watcher: None,
            sums: (0..program.variables.len()).filter(is_sum).collect(),
            batch,
            epochs: options.epochs.unwrap_or(training.epochs),
            seed: options.seed.unwrap_or(training.seed),
            base: options.base.clone(),
            data_path: program
                .data
                .get(training.data)
                .map(|set| place(set, options).path)
                .unwrap_or_default(),
            program,
        })
    }

    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What the data's training part decided that is no number, as weights files say it: the names of classes, and vocabularies.
    pub(super) fn found_in_data(&self) -> BTreeMap<String, String> {
        let name = &self.program.data[self.training().data].name;
        let classes = self.parts.classes.iter();
        let named = |(field, names): &(String, Vec<String>)| {
            (weights::classes_key(name, field), serde_json::json!(names).to_string())
        };
        let vocabularies = self.parts.vocabularies.iter();
        let kept =
            |tokenizer: &Tokenizer| (weights::vocabulary_key(tokenizer.name()), tokenizer.json().to_string());
        classes.map(named).chain(vocabularies.map(kept)).collect()
    }

    pub fn batch_size(&self) -> usize {
        self.batch
    }

    /// The batches of an epoch of training, epochs counted from 1.
    pub fn batches(&self, epoch: usize) -> Result<Batches> {
        Batches::start(&self.parts.train, self.order(epoch))
    }

    /// Fills the variables: by the program's own entry, then from a file where one is given, else by the spec's `load` items.
    pub fn initialise(&mut self, weights: Option<&Path>) -> Result<()> {
        let init = Wiring::new(&self.session, INIT, self.training().data, &self.parts.train.table)?;
        init.run(&mut self.session, None, &Moment { seed: self.seed, ..Moment::default() })?;
        match weights {
            Some(path) => load_weights(&mut self.session, path),
            None => load_items(&mut self.session, &self.base),
        }
    }

    /// Computes the fit values of the data, unless the weights brought them.
    pub fn fit(&mut self) -> Result<()> {
        let data = self.training().data;
        fit::fit(&mut self.session, data, &self.parts.train, self.seed)?;
        self.check_fits()
    }

    /// Checks that all fit values are there.
    pub fn check_fits(&self) -> Result<()> {
        let entries = self.steps.iter().chain([&self.evaluation]).map(|wiring| wiring.entry);
        fit::check(&self.session, &self.training().name, entries)
    }

    /// From here on the training part is one batch of itself, drawn by the seed. What was fitted to all rows stays as it is.
    pub fn keep_one_batch(&mut self) {
        let part = &self.parts.train;
        let order = shuffle::order(part.len(), shuffle::ONE_BATCH, self.seed);
        let rows = order.iter().take(self.batch).filter_map(|&place| part.rows.get(place as usize)).copied();
        self.parts.train = Part { table: Arc::clone(&part.table), rows: rows.collect() };
    }

    /// Evaluates the present weights, or their averages where the spec has them; none when it was interrupted.
    pub fn evaluate(&mut self, split: Split, observer: &mut dyn Observer) -> Result<Option<Figures>> {
        self.exchange_averages();
        let figures = self.evaluate_as_it_is(split, observer);
        self.exchange_averages();
        figures
    }

    fn evaluate_as_it_is(&mut self, split: Split, observer: &mut dyn Observer) -> Result<Option<Figures>> {
        let part = self.parts.get(split);
        if part.is_empty() {
            return Err(self.wrong(format!("the data has no {} part", split.name())));
        }
        self.session.zero(VariableKind::Accumulator);
        self.collections.clear();
        let rows = part.len() as f64;
        let order = Order::plain(self.batch);
        let mut source = Batches::start(part, order)?;
        let mut number = 0;
        while let Some(batch) = source.next_batch()? {
            let moment = Moment { seed: self.seed, batch: number, ..Moment::default() };
            match self.evaluation.run(&mut self.session, Some(batch), &moment) {
                Ok(outputs) => self.collections.take(&outputs, batch.rows as f64 / rows),
                Err(error) => return Err(self.explained(error, split, order, number as usize)),
            }
            number += 1;
            if observer.interrupted() {
                return Ok(None);
            }
        }
        self.report().map(Some)
    }

    pub(super) fn training(&self) -> &Training {
        &self.program.trainings[self.index]
    }

    pub(super) fn wrong(&self, message: String) -> Error {
        Error::Training { training: self.training().name.clone(), message }
    }

    pub(super) fn order(&self, epoch: usize) -> Order {
        let training = self.training();
        let shuffle = training.shuffle.then_some((self.seed, epoch as u64));
        Order { batch: self.batch, shuffle, bucket: training.bucket }
    }

    /// Where the training stands after so many batches.
    pub(super) fn moment(&self, done: usize) -> Moment {
        let batches = self.batches_an_epoch();
        let accumulate = self.training().accumulate;
        let updates = batches.div_ceil(accumulate);
        let (epoch, update) = (done / batches, done % batches / accumulate);
        Moment {
            seed: self.seed,
            batch: done as i64,
            step: (epoch * updates + update) as i64,
            epoch: epoch as f32 + update as f32 / updates as f32,
            total_steps: (self.epochs * updates) as i64,
            rate_factor: self.state.plateau.scale as f32,
        }
    }

    pub(super) fn batches_an_epoch(&self) -> usize {
        self.order(1).batches(self.parts.train.len()).max(1)
    }

    /// The rates of the last step, after so many batches.
    pub(super) fn rates(&mut self, done: usize) -> Result<Vec<(String, f32)>> {
        let moment = self.moment(done.saturating_sub(1));
        let Some(rates) = &self.rates else { return Ok(Vec::new()) };
        let outputs = rates.run(&mut self.session, None, &moment)?;
        let first = |value: TensorView<'_>| value.to_f64().first().copied().unwrap_or(f64::NAN) as f32;
        Ok(outputs.iter().map(|(name, value)| (name.to_owned(), first(value))).collect())
    }

    /// Puts the averages in the place of the weights, or back again.
    pub(super) fn exchange_averages(&mut self) {
        if self.state.averaged {
            weights::exchange(&mut self.session, &self.averages);
        }
    }

    /// Reads the accumulators and what was collected.
    pub(super) fn report(&mut self) -> Result<Figures> {
        let moment = Moment { seed: self.seed, ..Moment::default() };
        let outputs = self.report.report(&mut self.session, &self.collections, &moment)?;
        let figures = &self.program.trainings[self.index].figures;
        let values = outputs.iter().zip(figures).map(|((_, value), figure)| {
            let values = value.to_f64().into_iter().map(|value| value as f32).collect();
            (figure.name.clone(), Reading { shape: value.shape.to_vec(), values })
        });
        Ok(Figures(values.collect()))
    }

    /// Reads the accumulators and checks the losses.
    pub(super) fn checked_report(&mut self, epoch: usize, batch: usize) -> Result<Figures> {
        let figures = self.report()?;
        let losses = figures.0.iter().zip(&self.training().figures).filter(|(_, figure)| figure.is_loss);
        let wrong = losses.filter_map(|((name, loss), _)| Some((name, loss.number()?)));
        match wrong.into_iter().find(|(_, value)| !value.is_finite()) {
            Some((name, value)) => {
                let loss = if name == "loss" { "the loss".to_owned() } else { format!("the loss `{name}`") };
                Err(Error::NonFinite { what: format!("{loss} is {value}"), epoch, batch, step: None })
            }
            None => Ok(figures),
        }
    }

    /// All accumulators, one after another.
    pub(super) fn sums_so_far(&self) -> Vec<u8> {
        let mut sums = Vec::new();
        accumulators(&self.program)
            .for_each(|index| sums.extend_from_slice(self.session.variable(index).data));
        sums
    }

    pub(super) fn put_sums_back(&mut self, sums: &[u8]) {
        let mut rest = sums;
        for index in accumulators(&self.program) {
            let bytes = self.session.variable_bytes_mut(index);
            let (own, others) = rest.split_at(bytes.len());
            bytes.copy_from_slice(own);
            rest = others;
        }
    }

    pub(super) fn sums_are_finite(&self) -> bool {
        self.sums.iter().all(|&index| {
            let bytes = self.session.variable(index).data.first_chunk::<4>();
            bytes.is_none_or(|bytes| f32::from_le_bytes(*bytes).is_finite())
        })
    }

    /// Resolves what the spec watches, before anything runs.
    pub(super) fn watch(&self, watch: &Watch) -> Result<Watched> {
        let split = Split::from_name(&watch.split)?;
        if split == Split::Test {
            return Err(self.wrong("the test part is for the end; watch train or validation".into()));
        }
        if self.parts.get(split).is_empty() {
            let message = format!(
                "`{0}.{1}` is watched, but the data has no {0} part; `split {0} = 0.1` in its `data` item holds one out",
                watch.split, watch.figure
            );
            return Err(self.wrong(message));
        }
        let names: Vec<String> = self.training().figures.iter().map(|figure| figure.name.clone()).collect();
        match names.iter().position(|name| *name == watch.figure) {
            Some(figure) => Ok(Watched { split, figure, higher_is_better: watch.higher_is_better }),
            None => Err(Error::Unknown { what: "figure", name: watch.figure.clone(), candidates: names }),
        }
    }
}

fn accumulators(program: &Program) -> impl Iterator<Item = usize> {
    (0..program.variables.len()).filter(|&index| program.variables[index].kind == VariableKind::Accumulator)
}

/// The places of a weight and its average.
fn places(program: &Program, (weight, average): &(String, String)) -> Result<(usize, usize)> {
    let place = |path: &str| program.variables.iter().position(|variable| variable.path == path);
    let alike = |a: usize, b: usize| {
        let (a, b) = (&program.variables[a], &program.variables[b]);
        (a.dtype, &a.shape) == (b.dtype, &b.shape)
    };
    match (place(weight), place(average)) {
        (Some(weight), Some(average)) if alike(weight, average) => Ok((weight, average)),
        _ => Err(Error::Unsound(format!("`{average}` is no average of `{weight}`"))),
    }
}

pub(super) fn find(program: &Program, index: usize) -> Result<&Training> {
    program.trainings.get(index).ok_or_else(|| Error::Unknown {
        what: "training",
        name: index.to_string(),
        candidates: program.trainings.iter().map(|training| training.name.clone()).collect(),
    })
}
