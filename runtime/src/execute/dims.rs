//! Dims: from the shapes of inputs to the value of every place of an entry's dim table.

use crate::error::{Error, Result};
use crate::program::{DimExpr, Entry, Program};
use crate::tensor::{TensorView, byte_count};

/// Evaluates the dim table at the given symbols, one pass from front to back.
pub fn evaluate(entry: &Entry, symbols: &[i64]) -> Result<Vec<i64>> {
    let mut values = Vec::with_capacity(entry.dims.len());
    evaluate_into(entry, symbols, &mut values)?;
    Ok(values)
}

/// The same into values that were there before, which allocates nothing where they were this entry's.
pub fn evaluate_into(entry: &Entry, symbols: &[i64], values: &mut Vec<i64>) -> Result<()> {
    values.clear();
    for (place, expr) in entry.dims.iter().enumerate() {
        let at = |d: crate::program::DimIndex| values[d.0 as usize];
        let value = match *expr {
            DimExpr::Constant(value) => Some(value),
            DimExpr::Symbol(symbol) => Some(symbols[symbol as usize]),
            DimExpr::Add(a, b) => at(a).checked_add(at(b)),
            DimExpr::Sub(a, b) => at(a).checked_sub(at(b)),
            DimExpr::Mul(a, b) => at(a).checked_mul(at(b)),
            DimExpr::FloorDiv(a, b) => floor_div(at(a), at(b)),
            DimExpr::CeilDiv(a, b) => {
                at(a).checked_neg().and_then(|a| floor_div(a, at(b))).and_then(i64::checked_neg)
            }
            DimExpr::Rem(a, b) => floor_div(at(a), at(b)).map(|q| at(a) - q * at(b)),
            DimExpr::Min(a, b) => Some(at(a).min(at(b))),
            DimExpr::Max(a, b) => Some(at(a).max(at(b))),
        };
        let message = || {
            let given: Vec<String> =
                entry.symbols.iter().zip(symbols).map(|(name, value)| format!("{name} = {value}")).collect();
            format!("dim {place} has no value when {}: {expr:?}", given.join(", "))
        };
        values.push(value.ok_or_else(|| Error::Dim { entry: entry.name.clone(), message: message() })?);
    }
    Ok(())
}

/// Division that rounds towards minus infinity; none for a divisor of zero or an overflow.
fn floor_div(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

/// Binds the entry's symbols from its inputs: an axis whose dim is a bare symbol binds it where it is first met.
pub fn bind_symbols(entry: &Entry, inputs: &[TensorView<'_>]) -> Result<Vec<i64>> {
    let mut symbols: Vec<Option<i64>> = vec![None; entry.symbols.len()];
    for (input, given) in entry.inputs.iter().zip(inputs) {
        if given.shape.len() != input.shape.len() {
            return Err(Error::InputRank {
                entry: entry.name.clone(),
                input: input.name.clone(),
                expected: input.shape.len(),
                got: given.shape.to_vec(),
            });
        }
        for (dim, &extent) in input.shape.iter().zip(given.shape) {
            if let DimExpr::Symbol(symbol) = entry.dims[dim.0 as usize] {
                let extent = i64::try_from(extent).unwrap_or(i64::MAX);
                symbols[symbol as usize].get_or_insert(extent);
            }
        }
    }
    let unbound = |symbol: usize| Error::Dim {
        entry: entry.name.clone(),
        message: format!("no input's shape binds `{}`", entry.symbols[symbol]),
    };
    symbols.iter().enumerate().map(|(symbol, value)| value.ok_or_else(|| unbound(symbol))).collect()
}

/// Checks types, shapes and sizes of the inputs against the entry at these dims.
pub fn check_inputs(entry: &Entry, dims: &[i64], symbols: &[i64], inputs: &[TensorView<'_>]) -> Result<()> {
    for (input, given) in entry.inputs.iter().zip(inputs) {
        for (axis, (dim, &got)) in input.shape.iter().zip(given.shape).enumerate() {
            let expected = dims[dim.0 as usize];
            if i64::try_from(got) != Ok(expected) {
                let reason = match &entry.dims[dim.0 as usize] {
                    DimExpr::Constant(_) => String::new(),
                    DimExpr::Symbol(symbol) => {
                        format!(" (`{}`, from an input before it)", entry.symbols[*symbol as usize])
                    }
                    _ => {
                        let bound: Vec<String> = entry
                            .symbols
                            .iter()
                            .zip(symbols)
                            .map(|(name, value)| format!("{name} = {value}"))
                            .collect();
                        format!(" (with {})", bound.join(", "))
                    }
                };
                return Err(Error::InputAxis {
                    entry: entry.name.clone(),
                    input: input.name.clone(),
                    axis,
                    expected: format!("{expected}{reason}"),
                    got,
                });
            }
        }
        if !super::lies_there(input, given) {
            check_bytes(entry, &input.name, given)?;
        }
    }
    Ok(())
}

/// Checks that a tensor holds as many bytes as its shape says.
pub fn check_bytes(entry: &Entry, input: &str, given: &TensorView<'_>) -> Result<()> {
    let expected = byte_count(given.dtype, given.shape).unwrap_or(usize::MAX);
    if given.data.len() != expected {
        return Err(Error::InputBytes {
            entry: entry.name.clone(),
            input: input.to_string(),
            expected,
            got: given.data.len(),
        });
    }
    Ok(())
}

/// Checks the number and the types of the inputs.
pub fn check_types(entry: &Entry, inputs: &[TensorView<'_>]) -> Result<()> {
    if inputs.len() != entry.inputs.len() {
        return Err(Error::InputCount {
            entry: entry.name.clone(),
            expected: entry.inputs.len(),
            got: inputs.len(),
        });
    }
    for (input, given) in entry.inputs.iter().zip(inputs) {
        if given.dtype != input.dtype {
            return Err(Error::InputType {
                entry: entry.name.clone(),
                input: input.name.clone(),
                expected: input.dtype.name().to_string(),
                got: given.dtype.name().to_string(),
            });
        }
    }
    Ok(())
}

/// Checks what the spec's author asserted about dims.
pub fn check_guards(program: &Program, entry: &Entry, dims: &[i64]) -> Result<()> {
    match entry.guards.iter().find(|guard| dims[guard.value.0 as usize] != 0) {
        None => Ok(()),
        Some(guard) => Err(Error::Guard {
            message: guard.message.clone(),
            file: source_name(program, guard.place.file),
            line: guard.place.line,
        }),
    }
}

/// The name of a source file, for errors.
pub fn source_name(program: &Program, file: u32) -> String {
    program.sources.get(file as usize).map_or_else(|| program.name.clone(), |(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::DimIndex;

    fn value(expr: fn(DimIndex, DimIndex) -> DimExpr, a: i64, b: i64) -> Result<i64> {
        let entry = Entry {
            name: "e".into(),
            symbols: vec!["a".into(), "b".into()],
            dims: vec![DimExpr::Symbol(0), DimExpr::Symbol(1), expr(DimIndex(0), DimIndex(1))],
            ..Entry::default()
        };
        Ok(evaluate(&entry, &[a, b])?[2])
    }

    #[test]
    fn division_floors_and_ceils_for_every_sign() {
        for a in -7..=7i64 {
            for b in [-3, -2, -1, 1, 2, 3i64] {
                let exact = a as f64 / b as f64;
                assert_eq!(value(DimExpr::FloorDiv, a, b).unwrap(), exact.floor() as i64, "{a} // {b}");
                assert_eq!(value(DimExpr::CeilDiv, a, b).unwrap(), exact.ceil() as i64, "{a} /^ {b}");
                assert_eq!(value(DimExpr::Rem, a, b).unwrap(), a - exact.floor() as i64 * b, "{a} % {b}");
            }
        }
    }

    #[test]
    fn overflow_and_division_by_zero_are_errors() {
        for result in [
            value(DimExpr::Mul, i64::MAX, 2),
            value(DimExpr::Add, i64::MAX, 1),
            value(DimExpr::Sub, i64::MIN, 1),
            value(DimExpr::FloorDiv, 1, 0),
            value(DimExpr::CeilDiv, i64::MIN, 1),
            value(DimExpr::Rem, 1, 0),
            value(DimExpr::FloorDiv, i64::MIN, -1),
        ] {
            assert!(result.unwrap_err().to_string().contains("has no value when a = "));
        }
    }
}
