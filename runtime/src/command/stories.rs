//! Generations for rows of standard input: a JSON object a line in, a JSON object a line out, in constant memory.

use std::io::Read;
use std::sync::atomic::Ordering;

use super::inputs::Texts;
use super::lines::{self, Arrived, Lines};
use super::page::Page;
use super::row::{Maker, Row};
use super::{Failure, interrupt};
use crate::generate::{Asked, Generator};

/// Rows of one run at most. Of these, those with equally many tokens are written side by side.
const AT_ONCE: usize = 256;

/// Writes a text for every line of a stream, in its order. The first line that is no row ends it; those before it are answered.
pub fn answer(
    generator: &mut Generator,
    texts: &Texts<'_>,
    asked: &Asked,
    stream: impl Read,
) -> Result<(), Failure> {
    let entry = generator.entry_index();
    let maker = Maker::new(&texts.program.entries[entry], texts, true)?;
    let mut lines = Lines::new(stream, generator.texts().first().unwrap_or(&"x"));
    let mut before = 0;
    while let Some(Arrived { rows, numbers, wrong }) = lines.next(AT_ONCE)? {
        if !rows.is_empty() {
            run(generator, &maker, asked, &rows, &numbers, before)?;
        }
        before += rows.len();
        if interrupt::taken().load(Ordering::Relaxed) {
            break;
        }
        wrong.map_or(Ok(()), Err)?;
    }
    Ok(())
}

/// Writes for some rows together, up to one that is wrong; where they do not fit together, for each by itself.
fn run(
    generator: &mut Generator,
    maker: &Maker<'_>,
    asked: &Asked,
    rows: &[Row],
    numbers: &[u64],
    before: usize,
) -> Result<(), Failure> {
    let given = |rows: &[Row]| maker.generation(&generator.texts(), &generator.tensors(), rows);
    let one = |row: &Row| given(std::slice::from_ref(row));
    if let Some((wrong, failure)) =
        rows.iter().map(one).enumerate().find_map(|(row, given)| Some((row, given.err()?)))
    {
        if wrong > 0 {
            run(generator, maker, asked, &rows[..wrong], &numbers[..wrong], before)?;
        }
        return Err(lines::at(numbers[wrong], failure));
    }
    let mut written = 0;
    let together = given(rows).and_then(|given| {
        let mut page = Page::of_rows(&given, before, interrupt::taken());
        let all = generator.write(&given, asked, &mut page);
        written = page.shown();
        all.map(|_| page.close()).map_err(Failure::writing)
    });
    match (together, numbers) {
        (Ok(()), _) => Ok(()),
        (Err(failure), [line]) => Err(lines::at(*line, failure)),
        (Err(_), _) => (written..rows.len()).try_for_each(|row| {
            let only = row..row + 1;
            run(generator, maker, asked, &rows[only.clone()], &numbers[only], before + row)
        }),
    }
}
