//! Predictions of rows from standard input: a JSON object a line in, a JSON object a line out, in constant memory.
//!
//! Lines that have arrived are run together, up to [`AT_ONCE`]; nobody waits for lines that have not.

use std::io::Read;

use super::inputs::Texts;
use super::lines::{self, Arrived, Lines};
use super::row::{Maker, Row, has_rows};
use super::{Failure, output, results};
use crate::execute::Session;
use crate::tensor::{Tensor, TensorView};

/// Rows of one run at most.
const AT_ONCE: usize = 256;

/// Answers every line of a stream, in its order. The first line that is no row ends it; those before it are answered.
pub fn answer(
    session: &mut Session,
    entry: usize,
    texts: &Texts<'_>,
    seed: u64,
    stream: impl Read,
) -> Result<(), Failure> {
    let maker = Maker::new(&texts.program.entries[entry], texts, true)?;
    let most = if has_rows(maker.entry()) { AT_ONCE } else { 1 };
    let mut lines = Lines::new(stream, maker.names().first().unwrap_or(&"x"));
    while let Some(Arrived { rows, numbers, wrong }) = lines.next(most)? {
        if !rows.is_empty() {
            run(session, entry, &maker, seed, &rows, &numbers)?;
        }
        wrong.map_or(Ok(()), Err)?;
    }
    Ok(())
}

/// Runs some rows, together where their shapes are the same, else each by itself.
fn run(
    session: &mut Session,
    entry: usize,
    maker: &Maker<'_>,
    seed: u64,
    rows: &[Row],
    numbers: &[u64],
) -> Result<(), Failure> {
    let together = maker.tensors(rows, seed);
    let mut shown = String::new();
    match together.and_then(|tensors| outputs(session, entry, &tensors)) {
        Ok(found) if rows.len() > 1 || has_rows(maker.entry()) => {
            (0..rows.len()).for_each(|row| shown += &format!("{}\n", results::row(&found, row)));
        }
        Ok(found) => shown += &format!("{}\n", results::object(&found)),
        Err(failure) if rows.len() == 1 => {
            return Err(lines::at(numbers.first().copied().unwrap_or_default(), failure));
        }
        Err(_) => {
            for (row, number) in rows.iter().zip(numbers) {
                run(session, entry, maker, seed, std::slice::from_ref(row), std::slice::from_ref(number))?;
            }
        }
    }
    output::write(&shown);
    Ok(())
}

fn outputs(session: &mut Session, entry: usize, inputs: &[Tensor]) -> Result<results::Results, Failure> {
    let views: Vec<TensorView<'_>> = inputs.iter().map(Tensor::view).collect();
    let found = session.run(entry, &views)?;
    Ok(found.iter().map(|(name, view)| (name.to_owned(), view.to_owned())).collect())
}
