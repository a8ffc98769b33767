//! Predictions of rows from standard input: a JSON object a line in, a JSON object a line out, in constant memory.
//!
//! Lines that have arrived are run together, up to [`AT_ONCE`]; nobody waits for lines that have not.

use std::io::{BufRead, BufReader, Read};

use super::inputs::Texts;
use super::row::{Maker, Row, has_rows};
use super::{Failure, output, results};
use crate::execute::Session;
use crate::tensor::{Tensor, TensorView};

/// Rows of one run at most.
const AT_ONCE: usize = 256;
/// A line that is longer is no row.
const LONGEST: u64 = 64 << 20;

/// Answers every line of a stream, in its order. The first line that is no row ends it; those before it are answered.
pub fn answer(
    session: &mut Session,
    entry: usize,
    texts: &Texts<'_>,
    seed: u64,
    stream: impl Read,
) -> Result<(), Failure> {
    let mut lines = BufReader::with_capacity(1 << 16, stream);
    let maker = Maker::new(&texts.program.entries[entry], texts, true)?;
    let most = if has_rows(maker.entry()) { AT_ONCE } else { 1 };
    let (mut number, mut ended) = (0u64, false);
    while !ended {
        let (mut rows, mut numbers) = (Vec::new(), Vec::new());
        let mut wrong = None;
        // The first line is waited for, the others are taken when they are there.
        while rows.len() < most && (rows.is_empty() || lines.buffer().contains(&b'\n')) {
            let mut line = Vec::new();
            let read = (&mut lines).take(LONGEST).read_until(b'\n', &mut line);
            let count = read.map_err(|e| Failure::reading(std::path::Path::new("standard input"), &e))?;
            if count == 0 {
                ended = true;
                break;
            }
            number += 1;
            match serde_json::from_slice::<Row>(&line) {
                _ if line.iter().all(u8::is_ascii_whitespace) => {}
                Ok(row) => {
                    rows.push(row);
                    numbers.push(number);
                }
                Err(_) if count as u64 == LONGEST => {
                    wrong = Some(format!(
                        "a row takes {LONGEST} bytes at most; give large tensors as files: {{\"{}\": \"FILE.npy\"}}",
                        maker.names().first().unwrap_or(&"x")
                    ));
                }
                Err(error) => wrong = Some(format!("this is no JSON object ({error})")),
            }
            if wrong.is_some() {
                break;
            }
        }
        if !rows.is_empty() {
            run(session, entry, &maker, seed, &rows, &numbers)?;
        }
        if let Some(wrong) = wrong {
            return Err(Failure::input(format!("standard input: line {number}: {wrong}")));
        }
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
            let line = numbers.first().copied().unwrap_or_default();
            let message = format!("standard input: line {line}: {}", failure.message);
            return Err(Failure { message, ..failure });
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
