//! Columns of tokens: vocabularies are found in the training part's texts, then the texts of all parts are cut into tokens.
//!
//! Texts are cut by several threads, a run of rows each; the runs are put together in their order, so nothing depends on how many
//! threads there are. With a window, the texts of a part stand one after another and its rows are windows of their tokens.

use std::sync::Arc;
use std::thread;

use super::column::{Column, Places, Ragged, Table};
use super::{Known, Part, Parts, Split};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::program::{Cell, DType, DataSet, Encoding, Field};
use crate::text::{self, Encoder};

/// Makes the vocabularies of a data set and the fields that are tokens of texts or lengths of rows.
pub fn tokenize(set: &DataSet, parts: &mut Parts, known: &Known<'_>) -> Result<()> {
    let threads = Pool::default_threads();
    for vocabulary in &set.vocabularies {
        let tokenizer = match vocabulary.tokenizer(known.vocabularies, known.base)? {
            Some(tokenizer) => tokenizer,
            None => text::train(vocabulary, &training_texts(parts, vocabulary.source.texts())?, threads)?,
        };
        parts.vocabularies.push(tokenizer);
    }
    for field in &set.fields {
        let Cell::Tokens { text, encoding } = &field.cell else { continue };
        let tokenizer =
            parts.vocabularies.iter().zip(&set.vocabularies).find(|(_, v)| v.name == encoding.vocabulary);
        let Some((tokenizer, _)) = tokenizer else {
            return Err(Error::Unsound(format!(
                "`{}` has no vocabulary `{}`",
                set.name, encoding.vocabulary
            )));
        };
        let (encoder, pad) = (Encoder::new(tokenizer, encoding)?, tokenizer.pad());
        match encoding.window {
            Some((window, stride)) => {
                for split in Split::ALL {
                    let part = parts.get_mut(split);
                    *part =
                        windows(set, field, &part.clone(), text, &encoder, [window, stride], split, threads)?;
                }
            }
            None => each_table(parts, |table| tokens(field, table, text, encoding, &encoder, pad, threads))?,
        }
    }
    for field in &set.fields {
        let Cell::Length { of } = &field.cell else { continue };
        each_table(parts, |table| {
            let lengths = table.column(of).and_then(|column| column.lengths(field.name.clone()));
            lengths.ok_or_else(|| Error::Unsound(format!("the rows of `{of}` have no lengths")))
        })?;
    }
    same_lengths(set, parts)
}

/// The texts of some fields of the training part, field by field.
fn training_texts<'p>(parts: &'p Parts, fields: &[String]) -> Result<Vec<&'p str>> {
    let part = &parts.train;
    let mut texts = Vec::with_capacity(part.len() * fields.len());
    for field in fields {
        let column = texts_of(&part.table, field)?;
        for &row in part.rows.iter() {
            texts.push(column.text(row as usize)?);
        }
    }
    Ok(texts)
}

fn texts_of<'t>(table: &'t Table, field: &str) -> Result<&'t Column> {
    table.column(field).ok_or_else(|| Error::Unsound(format!("there are no texts `{field}`")))
}

/// Adds a column to each table; parts of one table stay so.
fn each_table(parts: &mut Parts, make: impl Fn(&Table) -> Result<Column>) -> Result<()> {
    let mut done: Vec<(Arc<Table>, Arc<Table>)> = Vec::new();
    for split in Split::ALL {
        let part = parts.get_mut(split);
        if let Some((_, new)) = done.iter().find(|(old, _)| Arc::ptr_eq(old, &part.table)) {
            part.table = Arc::clone(new);
            continue;
        }
        let old = Arc::clone(&part.table);
        let column = make(&old)?;
        let mut table = Table::clone(&old);
        table.columns.push(column);
        part.table = Arc::new(table);
        done.push((old, Arc::clone(&part.table)));
    }
    Ok(())
}

/// The tokens of each row's text.
fn tokens(
    field: &Field,
    table: &Table,
    text: &str,
    encoding: &Encoding,
    encoder: &Encoder,
    pad: i32,
    threads: usize,
) -> Result<Column> {
    let rows: Vec<u32> = (0..table.rows as u32).collect();
    let (tokens, lengths) = encoded(texts_of(table, text)?, &rows, encoder, threads)?;
    let mut end = 0;
    let ends: Vec<u64> = lengths
        .into_iter()
        .map(|length| {
            end += length as u64;
            end
        })
        .collect();
    let fixed = encoding.max_length.filter(|_| encoding.fixed);
    let ragged = Ragged { ends: ends.into(), pad: Some(pad.to_le_bytes().to_vec().into()), fixed };
    Ok(Column { ragged: Some(ragged), ..Column::new(&field.name, DType::I32, [], bytes(&tokens)) })
}

/// The part as windows of its tokens.
fn windows(
    set: &DataSet,
    field: &Field,
    part: &Part,
    text: &str,
    encoder: &Encoder,
    [window, stride]: [usize; 2],
    split: Split,
    threads: usize,
) -> Result<Part> {
    let (tokens, _) = encoded(texts_of(&part.table, text)?, &part.rows, encoder, threads)?;
    let stride = stride.max(1);
    let rows = (tokens.len() + 1).saturating_sub(window).div_ceil(stride);
    if rows == 0 && !part.is_empty() {
        let message = format!(
            "the {} part has {} tokens, which fill no window of {window}",
            split.name(),
            tokens.len()
        );
        return Err(Error::Data { set: set.name.clone(), message });
    }
    if rows > super::rows::MAX_ROWS {
        let message = format!("there are {rows} windows, which is too many; take a larger stride");
        return Err(Error::Data { set: set.name.clone(), message });
    }
    let column = Column::new(&field.name, DType::I32, field.shape.as_slice(), bytes(&tokens));
    let column = Column { places: Places::even(0, stride * size_of::<i32>()), ..column };
    Ok(Part::whole(Table { rows, columns: vec![column], left_out: Vec::new() }))
}

fn bytes(tokens: &[i32]) -> Vec<u8> {
    tokens.iter().flat_map(|token| token.to_le_bytes()).collect()
}

/// The tokens of some rows' texts one after another, and how many each row has.
fn encoded(
    column: &Column,
    rows: &[u32],
    encoder: &Encoder,
    threads: usize,
) -> Result<(Vec<i32>, Vec<usize>)> {
    let run = |rows: &[u32]| -> Result<(Vec<i32>, Vec<usize>)> {
        let (mut tokens, mut lengths) = (Vec::new(), Vec::with_capacity(rows.len()));
        for &row in rows {
            let text = encoder.encode(column.text(row as usize)?)?;
            lengths.push(text.len());
            tokens.extend(text);
        }
        Ok((tokens, lengths))
    };
    let size = rows.len().div_ceil(threads.max(1)).max(1);
    thread::scope(|scope| {
        let runs: Vec<_> = rows.chunks(size).map(|rows| scope.spawn(|| run(rows))).collect();
        let (mut tokens, mut lengths) = (Vec::new(), Vec::new());
        for run in runs {
            let failed = |_| Error::Unsound("cutting texts into tokens failed".into());
            let (more, ends) = run.join().map_err(failed)??;
            tokens.extend(more);
            lengths.extend(ends);
        }
        Ok((tokens, lengths))
    })
}

/// Fields of one symbol have rows of one length: a spec that gives two axes one name means that.
fn same_lengths(set: &DataSet, parts: &Parts) -> Result<()> {
    let mut known: Vec<&Field> = Vec::new();
    for field in set.fields.iter().filter(|field| field.ragged.is_some()) {
        let Some(other) = known.iter().find(|other| other.ragged == field.ragged) else {
            known.push(field);
            continue;
        };
        for split in Split::ALL {
            let part = parts.get(split);
            let ragged =
                |field: &Field| part.table.column(&field.name).and_then(|column| column.ragged.as_ref());
            let (Some(one), Some(two)) = (ragged(other), ragged(field)) else { continue };
            let length = |ragged: &Ragged, row: u32| ragged.steps(row as usize).map(|steps| steps.len());
            if let Some(row) = part.rows.iter().find(|row| length(one, **row) != length(two, **row)) {
                let message = format!(
                    "row {} of the {} part has {} steps of `{}`, but {} of `{}`, and the spec calls both {}",
                    row + 1,
                    split.name(),
                    length(one, *row).unwrap_or(0),
                    other.name,
                    length(two, *row).unwrap_or(0),
                    field.name,
                    field.ragged.as_deref().unwrap_or_default()
                );
                return Err(Error::Data { set: set.name.clone(), message });
            }
        }
    }
    Ok(())
}
