//! Sequences that are written a few tokens at a time: what lives on between the runs of an entry.
//!
//! A compiled sequence is two entries. The *start* runs once; the *step* runs for the first tokens and then for each new one. Beside the
//! tokens, a step's inputs are *kept* (the start gave them) or *carried* (the step before gave them), and both lie in blocks of the session
//! where the step reads them: nothing is handed over. What grows does so in place, since its new rows are written behind those that are
//! there ([`crate::program::Storage::Kept`]); its block is made twice as large when it is full. Other carried values are a few numbers a row, and are copied.
//!
//! Rows (the beams of a search) are chosen by number, in all blocks at once: a row that stays where it is costs nothing.

use super::{Outputs, Session, dims};
use crate::error::{Error, Result};
use crate::home::Home;
use crate::memory::Block;
use crate::program::{DimExpr, Entry, InputSource, Program};
use crate::tensor::{TensorView, byte_count};
use std::sync::{Arc, Mutex};

/// What a step's inputs hold between runs, by the number of the input.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Empty where the caller gives the input.
    pub blocks: Vec<Block>,
    shapes: Vec<Vec<usize>>,
    /// Values of the entry's symbols in the last run; 0 for those that nothing has bound yet.
    symbols: Vec<i64>,
    /// No step has run since the start did.
    fresh: bool,
    /// From which row of the start each row comes.
    origins: Vec<usize>,
    /// Rows on their way, of each input.
    spare: Vec<Vec<u8>>,
}

impl Memory {
    pub fn new(entry: &Entry) -> Memory {
        Memory {
            blocks: entry.inputs.iter().map(|_| Block::empty()).collect(),
            shapes: vec![Vec::new(); entry.inputs.len()],
            symbols: vec![0; entry.symbols.len()],
            spare: vec![Vec::new(); entry.inputs.len()],
            ..Memory::default()
        }
    }

    /// Makes a block hold so many bytes, and keeps what is in it. True when it has moved.
    pub fn make_room(&mut self, input: usize, bytes: usize, home: &Home) -> Result<bool> {
        let block = &mut self.blocks[input];
        if bytes <= block.len() {
            return Ok(false);
        }
        let larger = home.block(bytes)?;
        // SAFETY: the new block is larger than the old one, and nobody else has it.
        unsafe { home.copy(larger.pointer(), block.pointer(), block.len())? };
        *block = larger;
        Ok(true)
    }
}

/// Is it in the session's memory, rather than given by the caller?
pub(super) fn is_kept(source: &InputSource) -> bool {
    matches!(source, InputSource::Kept | InputSource::Carried { .. })
}

fn grows(source: &InputSource) -> bool {
    matches!(source, InputSource::Carried { grows: true })
}

/// Values of symbols by the shapes where they stand; 0 for the others.
fn bind(entry: &Entry, shapes: &[&[usize]]) -> Vec<i64> {
    let mut symbols: Vec<Option<i64>> = vec![None; entry.symbols.len()];
    for (input, shape) in entry.inputs.iter().zip(shapes) {
        for (dim, &extent) in input.shape.iter().zip(*shape) {
            if let DimExpr::Symbol(symbol) = entry.dims[dim.0 as usize] {
                symbols[symbol as usize].get_or_insert(i64::try_from(extent).unwrap_or(i64::MAX));
            }
        }
    }
    symbols.into_iter().map(|value| value.unwrap_or(0)).collect()
}

impl Session {
    /// Begins a sequence: runs its start, and gives the step what that gave. What there was of another sequence is forgotten.
    pub fn begin(&mut self, start: usize, step: usize, inputs: &[TensorView<'_>]) -> Result<()> {
        let binding = self.execute(start, inputs)?;
        self.fetch(start, binding, |_| false)?;
        self.finish(start, binding)?;
        let program = Arc::clone(&self.program);
        let entry = &program.entries[step];
        for (number, input) in entry.inputs.iter().enumerate().filter(|(_, input)| is_kept(&input.source)) {
            if grows(&input.source) {
                self.entries[step].memory.shapes[number].clear();
                continue;
            }
            let output = given_by(&program, start, &input.name)?;
            self.take_over(step, number, (start, binding, output))?;
        }
        let memory = &mut self.entries[step].memory;
        let shapes: Vec<&[usize]> = memory.shapes.iter().map(Vec::as_slice).collect();
        memory.symbols = bind(entry, &shapes);
        memory.origins.clear();
        memory.fresh = true;
        Ok(())
    }

    /// Runs the step of a sequence that [`Session::begin`] began. `given` are the inputs that are not kept, in order.
    pub fn advance(&mut self, step: usize, given: &[TensorView<'_>]) -> Result<Outputs<'_>> {
        let program = Arc::clone(&self.program);
        let entry = &program.entries[step];
        self.start_empty(entry, step, given)?;
        // The views of kept inputs show no data: it lies where the step reads it.
        let shapes = std::mem::take(&mut self.entries[step].memory.shapes);
        let mut rest = given.iter();
        let mut views = Vec::with_capacity(entry.inputs.len());
        for (input, shape) in entry.inputs.iter().zip(&shapes) {
            views.extend(match is_kept(&input.source) {
                true => Some(TensorView { dtype: input.dtype, shape, data: &[] }),
                false => rest.next().copied(),
            });
        }
        let bound = self.execute(step, &views);
        let all: Vec<&[usize]> = views.iter().map(|view| view.shape).collect();
        let symbols = bind(entry, &all);
        drop(views);
        let memory = &mut self.entries[step].memory;
        (memory.shapes, memory.symbols, memory.fresh) = (shapes, symbols, false);
        let binding = bound?;
        // What is carried stays where it is.
        let carried = |name: &str| {
            let named = entry.inputs.iter().find(|input| input.name == name);
            named.is_some_and(|input| matches!(input.source, InputSource::Carried { .. }))
        };
        self.fetch(step, binding, |output| !carried(&output.name))?;
        self.finish(step, binding)?;
        for (number, input) in entry.inputs.iter().enumerate() {
            if !matches!(input.source, InputSource::Carried { .. }) {
                continue;
            }
            let output = given_by(&program, step, &input.name)?;
            let port = &self.entries[step].bindings[binding].outputs[output];
            if port.pointer == self.entries[step].memory.blocks[number].pointer() {
                // It has grown where it is.
                let shape = port.shape.clone();
                self.entries[step].memory.shapes[number] = shape;
            } else {
                self.take_over(step, number, (step, binding, output))?;
            }
        }
        self.finish(step, binding)
    }

    /// The rows of a sequence become those with these numbers: some may leave, or stand several times.
    pub fn select(&mut self, step: usize, rows: &[usize]) -> Result<()> {
        let program = Arc::clone(&self.program);
        let entry = &program.entries[step];
        let memory = &mut self.entries[step].memory;
        let Some(symbol) = rows_symbol(entry) else { return Ok(()) };
        let count = usize::try_from(memory.symbols[symbol]).unwrap_or(0);
        if let Some(&row) = rows.iter().find(|row| **row >= count && count > 0) {
            let message = format!("there is no row {row} of {count}");
            return Err(Error::Dim { entry: entry.name.clone(), message });
        }
        if count == 0 || rows.len() == count && rows.iter().copied().eq(0..count) {
            return Ok(());
        }
        if memory.origins.len() != count {
            memory.origins = (0..count).collect();
        }
        let origins: Vec<usize> = rows.iter().map(|row| memory.origins[*row]).collect();
        let same_origins = origins == memory.origins;
        // An axis goes by rows where one row more makes it longer.
        let now = dims::evaluate(entry, &memory.symbols)?;
        memory.symbols[symbol] += 1;
        let more = dims::evaluate(entry, &memory.symbols)?;
        memory.symbols[symbol] = rows.len() as i64;
        memory.origins = origins;
        let mut moved = false;
        // Of each input whose rows move: how often they stand in it, and the bytes of one.
        let mut moves = vec![None; entry.inputs.len()];
        for (number, input) in entry.inputs.iter().enumerate().filter(|(_, input)| is_kept(&input.source)) {
            // What a start gave is the same for all rows that come from one.
            if input.source == InputSource::Kept && same_origins || memory.shapes[number].is_empty() {
                continue;
            }
            let by_rows = |dim: &crate::program::DimIndex| now[dim.0 as usize] != more[dim.0 as usize];
            let Some(axis) = input.shape.iter().position(by_rows) else { continue };
            let shape = &mut memory.shapes[number];
            let product = |extents: &[usize]| extents.iter().product::<usize>();
            let outer = product(&shape[..axis]);
            let row = product(&shape[axis..]) / count * input.dtype.size();
            shape[axis] = shape[axis] / count * rows.len();
            let bytes = byte_count(input.dtype, shape).unwrap_or(usize::MAX);
            moved |= memory.make_room(number, bytes, self.room.home())?;
            moves[number] = Some((outer, row));
        }
        if let home @ Home::Device(_) = self.room.home() {
            for (block, moves) in memory.blocks.iter_mut().zip(moves) {
                if let Some((outer, row)) = moves {
                    *block = gathered(home, block, outer, row, count, rows)?;
                }
            }
            // They lie elsewhere now.
            self.entries[step].bindings.clear();
            self.entries[step].oldest = 0;
            return Ok(());
        }
        let blocks = memory.blocks.iter_mut().zip(&mut memory.spare).zip(moves);
        let tasks: Vec<_> = blocks.filter_map(|(block, moves)| Some(Mutex::new((block, moves?)))).collect();
        self.pool.run(tasks.len(), &|task, _| {
            // Each block has one task, so that nobody waits.
            if let Ok(mut task) = tasks[task].lock() {
                let ((block, spare), (outer, row)) = &mut *task;
                gather(block.bytes_mut(), spare, *outer, *row, count, rows);
            }
        });
        if moved {
            self.entries[step].bindings.clear();
            self.entries[step].oldest = 0;
        }
        Ok(())
    }

    /// Copies an output into the block of a step's input.
    fn take_over(
        &mut self,
        step: usize,
        number: usize,
        (entry, binding, output): (usize, usize, usize),
    ) -> Result<()> {
        let port = &self.entries[entry].bindings[binding].outputs[output];
        let (from, bytes, shape) = (port.pointer.cast_const(), port.bytes, port.shape.clone());
        let state = &mut self.entries[step];
        let moved = state.memory.make_room(number, bytes, self.room.home())?;
        // SAFETY: the port's buffer holds `bytes` bytes in the arena (checked when it was bound), the block has room for as many, and
        // neither is the other; `&mut self` makes this the only access.
        unsafe { self.room.home().copy(state.memory.blocks[number].pointer(), from, bytes)? };
        state.memory.shapes[number] = shape;
        if moved && entry != step {
            state.bindings.clear();
            state.oldest = 0;
        }
        Ok(())
    }

    /// Gives growing values the shapes of nothing, before the first step.
    fn start_empty(&mut self, entry: &Entry, step: usize, given: &[TensorView<'_>]) -> Result<()> {
        let memory = &mut self.entries[step].memory;
        if !memory.fresh {
            return Ok(());
        }
        let mut rest = given.iter();
        let mut shapes: Vec<&[usize]> = Vec::with_capacity(entry.inputs.len());
        for (input, shape) in entry.inputs.iter().zip(&memory.shapes) {
            let caller = if is_kept(&input.source) { None } else { rest.next() };
            shapes.push(caller.map_or(shape.as_slice(), |view| view.shape));
        }
        let dims = dims::evaluate(entry, &bind(entry, &shapes))?;
        for (number, input) in entry.inputs.iter().enumerate().filter(|(_, input)| grows(&input.source)) {
            let extent = |dim: &crate::program::DimIndex| usize::try_from(dims[dim.0 as usize]).unwrap_or(0);
            memory.shapes[number] = input.shape.iter().map(extent).collect();
        }
        Ok(())
    }
}

/// The output of this name.
fn given_by(program: &Program, entry: usize, name: &str) -> Result<usize> {
    let entry = &program.entries[entry];
    let place = entry.outputs.iter().position(|output| output.name == name);
    place.ok_or_else(|| Error::Unsound(format!("entry `{}` gives no `{name}`", entry.name)))
}

/// The symbol that counts rows: the first axis of what the caller gives.
fn rows_symbol(entry: &Entry) -> Option<usize> {
    let tokens = entry.inputs.iter().find(|input| !is_kept(&input.source))?;
    match entry.dims[tokens.shape.first()?.0 as usize] {
        DimExpr::Symbol(symbol) => Some(symbol as usize),
        _ => None,
    }
}

/// Of `[outer, count, row]` in a block, makes `[outer, rows.len(), row]` in another one of the same size.
fn gathered(
    home: &Home,
    block: &Block,
    outer: usize,
    row: usize,
    count: usize,
    rows: &[usize],
) -> Result<Block> {
    let to = home.block(block.len())?;
    for part in 0..outer {
        for (at, source) in rows.iter().enumerate() {
            let from = block.pointer().wrapping_add((part * count + source) * row);
            let place = to.pointer().wrapping_add((part * rows.len() + at) * row);
            // SAFETY: both blocks have room for all rows, the old ones and the new ones, and are apart.
            unsafe { home.copy(place, from, row)? };
        }
    }
    Ok(to)
}

/// Of `[outer, count, row]`, makes `[outer, rows.len(), row]` in place.
fn gather(bytes: &mut [u8], spare: &mut Vec<u8>, outer: usize, row: usize, count: usize, rows: &[usize]) {
    if row == 0 {
        return;
    }
    let stays = |at: usize| rows.len() == count && rows[at] == at;
    let mut each = |block: usize| {
        let from = block * count * row;
        spare.clear();
        for (at, source) in rows.iter().enumerate() {
            if !stays(at) {
                let start = from + source * row;
                spare.extend_from_slice(&bytes[start..start + row]);
            }
        }
        let mut moved = spare.chunks_exact(row);
        for at in (0..rows.len()).filter(|at| !stays(*at)) {
            let start = (block * rows.len() + at) * row;
            if let Some(moved) = moved.next() {
                bytes[start..start + row].copy_from_slice(moved);
            }
        }
    };
    // What is not read yet is never written over: more rows come from the end, fewer from the front.
    if rows.len() > count { (0..outer).rev().for_each(&mut each) } else { (0..outer).for_each(&mut each) }
}

#[cfg(test)]
mod tests {
    use super::gather;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_are_those_that_were_asked_for(
            (outer, row, count) in (0usize..5, 0usize..4, 1usize..5),
            chosen in proptest::collection::vec(0usize..100, 0..8),
        ) {
            let rows: Vec<usize> = chosen.iter().map(|at| at % count).collect();
            let before: Vec<u8> = (0..outer * count * row).map(|i| i as u8).collect();
            let mut bytes = before.clone();
            bytes.resize(outer * count.max(rows.len()) * row, 0xff);
            gather(&mut bytes, &mut Vec::new(), outer, row, count, &rows);
            let mut due = Vec::new();
            for block in 0..outer {
                for source in &rows {
                    due.extend_from_slice(&before[(block * count + source) * row..][..row]);
                }
            }
            prop_assert_eq!(&bytes[..due.len()], due.as_slice());
        }
    }
}
