//! What the trained model answers about rows that it was not trained on, asked with the kept weights: of the spec's `predict` items all that
//! can be asked ([`super::items`]), or, without any, the model itself.
//!
//! What an answer is compared with follows from its type. A whole number for each row is a class, and is held against the class of the
//! row, and so is the greatest of a model's own results where there are as many as classes; a number is held against the field of its name; a
//! picture is laid beside the picture that the model was given; of any other vector it is drawn where the rows lie by it.

use super::codes::Codes;
use super::items::{Item, Items};
use std::path::Path;
use weft_runtime::data::{Batch, Batches, Column, Order, Part, Parts, Split};
use weft_runtime::error::Error;
use weft_runtime::program::DType;
use weft_runtime::tensor::{Tensor, TensorView};

/// At most so many rows are asked about, the first ones of the part.
const MAX_ROWS: usize = 10_000;
/// Letters that are shown of a text.
const LETTERS: usize = 280;
/// Pictures of which as many are kept.
const PICTURES: usize = 12;
const BATCH: usize = 64;

/// Rows and answers.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// The part of the data.
    pub part: &'static str,
    pub rows: usize,
    pub classes: Option<Classes>,
    pub values: Option<Values>,
    pub drawn: Option<Drawn>,
    pub codes: Option<Codes>,
}

/// Answers that are classes.
#[derive(Clone, Debug, Default)]
pub struct Classes {
    /// The `predict` item, and the field that it is held against.
    pub item: String,
    pub field: String,
    pub names: Vec<String>,
    /// Truth and answer of each row, and how sure the model was.
    pub pairs: Vec<(usize, usize, Option<f32>)>,
    /// Rows to show, by their place among the pairs.
    pub wrong: Vec<(usize, Shown)>,
    pub right: Vec<(usize, Shown)>,
}

/// Answers that are numbers: truth and answer of each row.
#[derive(Clone, Debug, Default)]
pub struct Values {
    pub item: String,
    pub field: String,
    pub pairs: Vec<(f64, f64)>,
}

/// The model's own pictures beside those that it was given.
#[derive(Clone, Debug, Default)]
pub struct Drawn {
    pub item: String,
    pub pairs: Vec<[Picture; 2]>,
}

/// What is shown of a row.
#[derive(Clone, Debug)]
pub enum Shown {
    Picture(Picture),
    /// Its fields as a table has them: name and value.
    Cells(Vec<(String, String)>),
}

/// Bytes `[height, width, channels]`.
#[derive(Clone, Debug)]
pub struct Picture {
    pub shape: [usize; 3],
    pub pixels: Vec<u8>,
}

/// Asks about the test part, or about validation where there is no test. Without an item that can be asked there is no answer.
pub fn ask(items: &mut Items, parts: &Parts, weights: &Path) -> Result<Option<Answers>, Error> {
    let held = [Split::Test, Split::Validation].into_iter().find(|split| !parts.get(*split).is_empty());
    let Some(split) = held else { return Ok(None) };
    items.load(weights)?;
    let mut answers = Answers { part: split.name(), ..Answers::default() };
    for item in items.items.clone().into_iter().filter(Item::of_rows_alone) {
        answers.ask(items, &item, parts, parts.get(split))?;
    }
    let some = answers.classes.is_some() || answers.values.is_some();
    Ok((some || answers.drawn.is_some() || answers.codes.is_some()).then_some(answers))
}

impl Answers {
    fn ask(&mut self, items: &mut Items, item: &Item, parts: &Parts, part: &Part) -> Result<(), Error> {
        let known =
            (self.classes.is_some(), self.values.is_some(), self.drawn.is_some(), self.codes.is_some());
        let (mut candidates, mut rows) = (Vec::new(), 0);
        let mut batches = Batches::start(part, Order::plain(BATCH))?;
        while rows < MAX_ROWS
            && let Some(batch) = batches.next_batch()?
        {
            let results = items.ask(item, batch, &part.table)?;
            let asked = Asked { item, parts, part, batch };
            for (name, result) in &results {
                let alone = result.shape.iter().skip(1).product::<usize>() == 1;
                let logits = item.of_model && results.len() == 1;
                if result.shape.first() != Some(&batch.rows) {
                    continue;
                } else if alone && !result.dtype.is_float() && !known.0 {
                    let answers = result.view().to_f64().into_iter().map(|class| class as i64).collect();
                    self.take_classes(&asked, name, answers, sureness(&results), &mut candidates);
                } else if alone && result.dtype == DType::F32 && self.classes.is_none() && !known.1 {
                    self.take_values(&asked, name, result);
                } else if shape_of_picture(result.shape.get(1..).unwrap_or_default()).is_some() {
                    if !known.2 {
                        self.take_pictures(&asked, result);
                    }
                } else if let [_, width] = *result.shape.as_slice()
                    && result.dtype.is_float()
                    && width > 1
                {
                    if logits && !known.0 && asked.scalar(name, true).is_some_and(|at| asked.fits(at, width))
                    {
                        let (classes, sure) = greatest(&result.view().to_f64(), width);
                        self.take_classes(&asked, name, classes, Some(sure), &mut candidates);
                    } else if !known.3 {
                        let codes = self.codes.get_or_insert_with(|| Codes::new(&item.name, name, width));
                        let truth = asked.scalar("", true).filter(|at| asked.fits(*at, Codes::MAX_CLASSES));
                        let field = truth.map(|at| (asked.name(at), asked.classes(at)));
                        codes.take(name, &result.view().to_f64(), field, truth.map(|at| asked.column(at)));
                    }
                }
            }
            rows += batch.rows;
        }
        self.rows = self.rows.max(rows);
        if let Some(classes) = self.classes.as_mut().filter(|_| !known.0) {
            classes.choose(candidates);
        }
        if let Some(codes) = self.codes.as_mut().filter(|_| !known.3) {
            codes.flatten();
        }
        Ok(())
    }

    fn take_classes(
        &mut self,
        asked: &Asked<'_>,
        name: &str,
        answers: Vec<i64>,
        sure: Option<Vec<f64>>,
        candidates: &mut Vec<(usize, Shown)>,
    ) {
        let Some(at) = asked.scalar(name, true) else { return };
        let classes = self.classes.get_or_insert_with(|| Classes {
            item: asked.item.name.clone(),
            field: asked.name(at).to_owned(),
            names: asked.classes(at),
            ..Classes::default()
        });
        if classes.field != asked.name(at) {
            return;
        }
        for (row, (truth, answer)) in asked.column(at).into_iter().zip(answers).enumerate() {
            // A class that is missing is not known to be right or wrong.
            let (Ok(truth), Ok(answer)) = (usize::try_from(truth as i64), usize::try_from(answer)) else {
                continue;
            };
            let sure = sure.as_ref().and_then(|sure| sure.get(row)).map(|sure| *sure as f32);
            let place = classes.pairs.len();
            classes.pairs.push((truth, answer, sure));
            let enough = candidates.len() >= PICTURES * 40 && truth == answer;
            if !enough {
                candidates.extend(asked.shown(row).map(|shown| (place, shown)));
            }
        }
    }

    fn take_values(&mut self, asked: &Asked<'_>, name: &str, result: &Tensor) {
        let Some(at) = asked.scalar(name, false) else { return };
        let (item, field) = (asked.item.name.clone(), asked.name(at).to_owned());
        let values = self.values.get_or_insert_with(|| Values { item, field, pairs: Vec::new() });
        if values.field == asked.name(at) {
            values.pairs.extend(asked.column(at).into_iter().zip(result.view().to_f64()));
        }
    }

    fn take_pictures(&mut self, asked: &Asked<'_>, result: &Tensor) {
        let item = asked.item.name.clone();
        let drawn = self.drawn.get_or_insert_with(|| Drawn { item, pairs: Vec::new() });
        for (row, picture) in pictures(result).into_iter().enumerate() {
            let Some(given) = asked.picture(row).filter(|_| drawn.pairs.len() < PICTURES) else { return };
            drawn.pairs.push([given, picture]);
        }
    }
}

/// A batch that an item was asked about.
struct Asked<'a> {
    item: &'a Item,
    parts: &'a Parts,
    part: &'a Part,
    batch: &'a Batch,
}

impl Asked<'_> {
    fn name(&self, at: usize) -> &str {
        &self.part.table.columns[at].name
    }

    /// The names of a field's classes, where the data has names for them.
    fn classes(&self, at: usize) -> Vec<String> {
        let named = self.parts.classes.iter().find(|(name, _)| name == self.name(at));
        named.map_or(Vec::new(), |(_, names)| names.clone())
    }

    fn column(&self, at: usize) -> Vec<f64> {
        let column = &self.part.table.columns[at];
        let shape = self.batch.shape(&self.part.table, at);
        TensorView { dtype: column.dtype, shape: &shape, data: &self.batch.columns[at] }.to_f64()
    }

    /// The field that an answer of this name is held against: of its name, else the only one that the item was not given.
    fn scalar(&self, name: &str, whole: bool) -> Option<usize> {
        let columns = &self.part.table.columns;
        let fits = |at: &usize| {
            let column = &columns[*at];
            is_number(column) && column.dtype.is_float() != whole && !self.item.takes(*at)
        };
        let free: Vec<usize> = (0..columns.len()).filter(fits).collect();
        let named = free.iter().copied().find(|at| columns[*at].name == name);
        named.or(free.first().copied().filter(|_| free.len() == 1))
    }

    /// Are the classes of a field so few?
    fn fits(&self, at: usize, most: usize) -> bool {
        self.column(at).iter().all(|class| *class < most as f64)
    }

    fn picture(&self, row: usize) -> Option<Picture> {
        let columns = &self.part.table.columns;
        let at = columns.iter().position(|c| c.dtype == DType::U8 && shape_of_picture(&c.shape).is_some())?;
        let shape = shape_of_picture(&columns[at].shape)?;
        let size = shape.iter().product::<usize>();
        let pixels = self.batch.columns[at].get(row * size..(row + 1) * size)?.to_vec();
        Some(Picture { shape, pixels })
    }

    /// What is shown of a row: its picture, or the numbers that it has.
    fn shown(&self, row: usize) -> Option<Shown> {
        if let Some(picture) = self.picture(row) {
            return Some(Shown::Picture(picture));
        }
        let columns = self.part.table.columns.iter().enumerate();
        let cell = |(at, column): (usize, &Column)| {
            let value = self.column(at).get(row).copied()?;
            let class =
                usize::try_from(value as i64).ok().and_then(|class| self.classes(at).get(class).cloned());
            Some((column.name.clone(), class.unwrap_or_else(|| (value as f32).to_string())))
        };
        let text = |column: &Column| {
            let text = column.text(self.batch.numbers.get(row).map_or(0, |row| *row as usize)).ok()?;
            Some((column.name.clone(), beginning(text)))
        };
        let texts = self.part.table.columns.iter().filter(|column| column.is_text()).filter_map(text);
        let cells: Vec<_> = texts.chain(columns.filter(|(_, c)| is_number(c)).filter_map(cell)).collect();
        (!cells.is_empty()).then_some(Shown::Cells(cells))
    }
}

/// Is it one number a row that a reader knows, rather than the length of another field?
fn is_number(column: &Column) -> bool {
    let length = column.name.ends_with(".length");
    column.ragged.is_none() && !length && column.shape.iter().product::<usize>() == 1
}

/// The beginning of a text, whole words of it.
fn beginning(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(LETTERS) else { return text.to_owned() };
    let shown = text.get(..end).unwrap_or_default();
    let words = shown.rfind(char::is_whitespace).and_then(|end| shown.get(..end)).unwrap_or(shown);
    format!("{words}…")
}

/// How sure a model is: its result that is a number of each row.
fn sureness(results: &[(String, Tensor)]) -> Option<Vec<f64>> {
    let found = results.iter().find(|(_, result)| result.dtype == DType::F32 && result.shape.len() == 1);
    found.map(|(_, result)| result.view().to_f64())
}

/// The place of the greatest of each row, and its share under a softmax.
fn greatest(logits: &[f64], width: usize) -> (Vec<i64>, Vec<f64>) {
    let each = |row: &[f64]| {
        let (place, most) = row.iter().enumerate().fold((0, f64::NEG_INFINITY), |best, (place, value)| {
            if *value > best.1 { (place, *value) } else { best }
        });
        (place as i64, 1.0 / row.iter().map(|value| (value - most).exp()).sum::<f64>())
    };
    logits.chunks_exact(width).map(each).unzip()
}

/// The pictures of a result: bytes, or numbers from 0 to 1 (from -1 to 1 where some are below 0).
pub fn pictures(result: &Tensor) -> Vec<Picture> {
    let Some(shape) = shape_of_picture(result.shape.get(1..).unwrap_or_default()) else { return Vec::new() };
    let values = result.view().to_f64();
    let signed = result.dtype.is_float() && values.iter().any(|value| *value < -0.05);
    let byte = |value: f64| {
        let value = match (result.dtype, signed) {
            (DType::U8, _) => value,
            (_, true) => (value + 1.0) * 127.5,
            (_, false) => value * 255.0,
        };
        value.round().clamp(0.0, 255.0) as u8
    };
    let pixels: Vec<u8> = values.into_iter().map(byte).collect();
    let size = shape.iter().product::<usize>().max(1);
    pixels.chunks_exact(size).map(|pixels| Picture { shape, pixels: pixels.to_vec() }).collect()
}

/// Height, width and channels: grey or colour, large enough to be seen.
pub fn shape_of_picture(shape: &[usize]) -> Option<[usize; 3]> {
    match *shape {
        [height, width, channels @ (1 | 3)] if height > 3 && width > 3 => Some([height, width, channels]),
        [height, width] if height > 3 && width > 3 => Some([height, width, 1]),
        _ => None,
    }
}

impl Classes {
    /// The wrong answers that the model was surest of, and right ones of as many classes as there are.
    fn choose(&mut self, candidates: Vec<(usize, Shown)>) {
        let (mut wrong, right): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|(at, _)| self.pairs.get(*at).is_some_and(|(t, a, _)| t != a));
        let sure = |at: usize| self.pairs.get(at).and_then(|pair| pair.2).unwrap_or(0.0);
        wrong.sort_by(|(a, _), (b, _)| sure(*b).total_cmp(&sure(*a)));
        wrong.truncate(PICTURES);
        let mut shown: Vec<(usize, Shown)> = Vec::new();
        for turn in 0..PICTURES {
            for (at, picture) in &right {
                let class = |at: usize| self.pairs.get(at).map(|pair| pair.0);
                let same = shown.iter().filter(|(other, _)| class(*other) == class(*at)).count();
                let known = shown.iter().any(|(other, _)| other == at);
                if shown.len() < PICTURES && same <= turn && !known {
                    shown.push((*at, picture.clone()));
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
