//! Fit values: what a data set computes from its training part, once, before the first step.
//!
//! They are states like those of layers, so weights files carry them, and what was fitted stays as it is: a training that starts from
//! weights, an evaluation and a prediction all see the values of the rows that the first training saw. Computing them takes the fields
//! that they read, of all rows, in memory at once; that memory is given back before the training begins.

use crate::data::Part;
use crate::error::{Error, Result};
use crate::execute::Session;
use crate::program::{DType, Fit, Input, InputSource, Program, Storage};
use crate::tensor::TensorView;

/// Computes the fit values of a data set, unless the variables hold them already.
pub fn fit(session: &mut Session, data: usize, part: &Part, seed: u64) -> Result<()> {
    let Some(fit) = session.program().data.get(data).and_then(|set| set.fit.clone()) else { return Ok(()) };
    if fitted_rows(session, &fit)? > 0 {
        return Ok(());
    }
    let entry = session.entry(&fit.entry)?;
    let inputs = session.program().entries[entry].inputs.clone();
    let mut state = seed.to_le_bytes().to_vec();
    state.extend([0; 8]);
    let values = inputs.iter().map(|input| column(input, part)).collect::<Result<Vec<_>>>()?;
    let shapes: Vec<Vec<usize>> = values
        .iter()
        .map(|value| value.as_ref().map_or(vec![2], |(row, _)| [&[part.len()], row.as_slice()].concat()))
        .collect();
    let views: Vec<TensorView<'_>> = inputs
        .iter()
        .zip(&values)
        .zip(&shapes)
        .map(|((input, value), shape)| {
            let data = value.as_ref().map_or(state.as_slice(), |(_, bytes)| bytes);
            TensorView { dtype: input.dtype, shape, data }
        })
        .collect();
    session.run(entry, &views)?;
    session.release(entry)
}

/// A field of all rows of the part, with the shape of one row; none of the state of random numbers.
fn column(input: &Input, part: &Part) -> Result<Option<(Vec<usize>, Vec<u8>)>> {
    let field = match &input.source {
        InputSource::Field { field, .. } => field,
        InputSource::Random => return Ok(None),
        _ => return Err(Error::Unsound(format!("a fit cannot read `{}`", input.name))),
    };
    let column = part.table.columns.iter().find(|column| column.name == *field);
    let column = column.ok_or_else(|| Error::Unsound(format!("the data has no field `{field}`")))?;
    if column.ragged.is_some() {
        return Err(Error::Unsound(format!("a fit reads `{field}`, whose rows differ in length")));
    }
    let mut bytes = Vec::with_capacity(part.len() * column.row_bytes());
    part.rows.iter().try_for_each(|&row| column.read(row as usize, &mut bytes))?;
    Ok(Some((column.shape.clone(), bytes)))
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
