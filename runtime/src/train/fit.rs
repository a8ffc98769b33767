//! Fit values: what a data set computes from its training part, once, before the first step.
//!
//! They are states like those of layers, so weights files carry them, and what was fitted stays as it is: a training that starts from
//! weights, an evaluation and a prediction all see the values of the rows that the first training saw. They are computed in passes over the
//! rows, a chunk at a time, where their expressions allow it; else the fields that they read are in memory at once, of all rows. That memory
//! is given back before the training begins.

use crate::data::{Batch, Batches, Order, Part};
use crate::error::{Error, Result};
use crate::execute::Session;
use crate::program::{DType, Fit, InputSource, Program, Storage, VariableKind};
use crate::tensor::TensorView;

/// Computes the fit values of a data set, unless the variables hold them already.
pub fn fit(session: &mut Session, data: usize, part: &Part, seed: u64) -> Result<()> {
    let Some(fit) = session.program().data.get(data).and_then(|set| set.fit.clone()) else { return Ok(()) };
    if fitted_rows(session, &fit)? > 0 {
        return Ok(());
    }
    session.zero(VariableKind::Accumulator);
    for pass in &fit.passes {
        let entry = session.entry(&pass.entry)?;
        let mut chunks = Batches::start(part, Order { batch: pass.rows, shuffle: None })?;
        while let Some(chunk) = chunks.next_batch()? {
            run(session, entry, part, chunk, seed)?;
        }
        session.release(entry)?;
    }
    let entry = session.entry(&fit.entry)?;
    let mut all = Batch::default();
    if fit.passes.is_empty() {
        all.gather(part, &part.rows)?;
    }
    run(session, entry, part, &all, seed)?;
    session.release(entry)?;
    session.zero(VariableKind::Accumulator);
    Ok(())
}

/// Runs an entry on some rows of the part.
fn run(session: &mut Session, entry: usize, part: &Part, rows: &Batch, seed: u64) -> Result<()> {
    let mut state = seed.to_le_bytes().to_vec();
    state.extend([0; 8]);
    let inputs = session.program().entries[entry].inputs.clone();
    let mut places = Vec::with_capacity(inputs.len());
    for input in &inputs {
        places.push(match &input.source {
            InputSource::Random => None,
            InputSource::Field { field, .. } => {
                let place = part.table.columns.iter().position(|column| column.name == *field);
                Some(place.ok_or_else(|| Error::Unsound(format!("the data has no field `{field}`")))?)
            }
            _ => return Err(Error::Unsound(format!("a fit cannot read `{}`", input.name))),
        });
    }
    let shape = |place: &Option<usize>| match place {
        Some(place) => [&[rows.rows], part.table.columns[*place].shape.as_slice()].concat(),
        None => vec![2],
    };
    let shapes: Vec<Vec<usize>> = places.iter().map(shape).collect();
    let views: Vec<TensorView<'_>> = inputs
        .iter()
        .zip(&places)
        .zip(&shapes)
        .map(|((input, place), shape)| {
            let data = place.map_or(Some(&state), |place| rows.columns.get(place));
            TensorView { dtype: input.dtype, shape, data: data.map_or(&[], Vec::as_slice) }
        })
        .collect();
    session.run(entry, &views).map(|_| ())
}

/// Checks that every fit value which these entries read was computed: by now, the training's own are.
pub fn check(session: &Session, training: &str, entries: impl Iterator<Item = usize>) -> Result<()> {
    let program = session.program();
    for entry in entries {
        for buffer in &program.entries[entry].buffers {
            let Storage::Variable(variable) = buffer.storage else { continue };
            let path = &program.variables[variable as usize].path;
            let set =
                program.data.iter().find(|set| set.fit.as_ref().is_some_and(|f| f.values.contains(path)));
            if let Some(set) = set
                && let Some(fit) = &set.fit
                && fitted_rows(session, fit)? == 0
            {
                let message = format!(
                    "`{path}` was never computed: it comes from the training rows of `{0}`; train on `{0}` first, and start \
                     from those weights with --weights FILE",
                    set.name
                );
                return Err(Error::Training { training: training.to_string(), message });
            }
        }
    }
    Ok(())
}

/// From how many rows the fit values were computed.
fn fitted_rows(session: &Session, fit: &Fit) -> Result<i64> {
    let program: &Program = session.program();
    let index = program.variables.iter().position(|v| v.path == fit.rows && v.dtype == DType::I64);
    let bytes = index.and_then(|index| session.variable(index).data.first_chunk::<8>().copied());
    bytes
        .map(i64::from_le_bytes)
        .ok_or_else(|| Error::Unsound(format!("the program has no variable `{}`", fit.rows)))
}
