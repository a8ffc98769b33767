//! Cells: what stands in a file for one value, read as the type that the spec gives it.

use crate::program::DType;

/// What people write where a number is missing.
const MISSING: [&str; 11] = ["", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", "<na>", "?", "-"];

/// Does a cell say that it has no number?
pub fn is_missing(cell: &str) -> bool {
    // Most cells are numbers, and no word here is longer than four letters.
    let may_be = cell.len() <= 4 && !cell.as_bytes().first().is_some_and(u8::is_ascii_digit);
    may_be && MISSING.iter().any(|word| word.eq_ignore_ascii_case(cell))
}

/// A number as it stands in a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Int(i64),
    Float(f64),
    Bool(bool),
}

/// Reads a number of a type from a text; the error says why that cannot be.
pub fn parse(cell: &str, dtype: DType) -> Result<Number, String> {
    let wrong = || format!("`{}` is no {}", shown(cell), kind(dtype));
    if dtype == DType::Bool {
        let (yes, no) = (["true", "t", "yes", "y", "1"], ["false", "f", "no", "n", "0"]);
        let is = |words: [&str; 5]| words.iter().any(|word| word.eq_ignore_ascii_case(cell));
        return match (is(yes), is(no)) {
            (true, _) => Ok(Number::Bool(true)),
            (_, true) => Ok(Number::Bool(false)),
            _ => Err(wrong()),
        };
    }
    if !dtype.is_float()
        && let Ok(value) = cell.parse()
    {
        return Ok(Number::Int(value));
    }
    cell.parse().map(Number::Float).map_err(|_| wrong())
}

/// Appends a number in a type; the error says why that cannot be. A fraction never becomes a whole number, and nothing wraps.
pub fn push(number: Number, dtype: DType, out: &mut Vec<u8>) -> Result<(), String> {
    match (dtype, number) {
        (DType::F32, number) => out.extend((float(number) as f32).to_le_bytes()),
        (DType::F64, number) => out.extend(float(number).to_le_bytes()),
        (DType::Bool, Number::Bool(value)) => out.push(u8::from(value)),
        (DType::Bool, number) => match float(number) {
            0.0 => out.push(0),
            1.0 => out.push(1),
            value => return Err(format!("{value} is neither true nor false")),
        },
        (DType::I8, number) => out.extend(narrow::<i8>(number, dtype)?.to_le_bytes()),
        (DType::U8, number) => out.extend(narrow::<u8>(number, dtype)?.to_le_bytes()),
        (DType::I32, number) => out.extend(narrow::<i32>(number, dtype)?.to_le_bytes()),
        (DType::I64, number) => out.extend(whole(number)?.to_le_bytes()),
        (DType::F16 | DType::BF16, _) => return Err(format!("nothing is read as {}", dtype.name())),
    }
    Ok(())
}

/// Appends what stands for a missing number; only floats have it.
pub fn push_missing(dtype: DType, out: &mut Vec<u8>) {
    match dtype {
        DType::F64 => out.extend(f64::NAN.to_le_bytes()),
        _ => out.extend(f32::NAN.to_le_bytes()),
    }
}

fn float(number: Number) -> f64 {
    match number {
        Number::Int(value) => value as f64,
        Number::Float(value) => value,
        Number::Bool(value) => f64::from(u8::from(value)),
    }
}

fn whole(number: Number) -> Result<i64, String> {
    /// From here on, not every whole number is a float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number {
        Number::Int(value) => Ok(value),
        Number::Bool(value) => Ok(i64::from(value)),
        Number::Float(value) if value.fract() == 0.0 && value.abs() <= EXACT => Ok(value as i64),
        Number::Float(value) => Err(format!("{value} is no whole number")),
    }
}

fn narrow<T: TryFrom<i64>>(number: Number, dtype: DType) -> Result<T, String> {
    let value = whole(number)?;
    T::try_from(value).map_err(|_| format!("{value} does not fit into {}", dtype.name()))
}

fn kind(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "true or false",
        dtype if dtype.is_float() => "number",
        _ => "whole number",
    }
}

/// A cell in a message: its beginning.
pub fn shown(cell: &str) -> String {
    let mut letters = cell.chars();
    let mut text: String = letters.by_ref().take(40).flat_map(char::escape_debug).collect();
    if letters.next().is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cell: &str, dtype: DType) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        push(parse(cell, dtype)?, dtype, &mut out).map(|()| out)
    }

    #[test]
    fn numbers_are_read_exactly_or_not_at_all() {
        assert_eq!(read("1e-3", DType::F32).unwrap(), 1e-3f32.to_le_bytes());
        assert_eq!(read("7", DType::I64).unwrap(), 7i64.to_le_bytes());
        assert_eq!(read("9223372036854775807", DType::I64).unwrap(), i64::MAX.to_le_bytes());
        assert_eq!(read("3.0", DType::I32).unwrap(), 3i32.to_le_bytes());
        assert_eq!(read("Yes", DType::Bool).unwrap(), [1]);
        for (cell, dtype, message) in [
            ("3.5", DType::I32, "3.5 is no whole number"),
            ("256", DType::U8, "256 does not fit into u8"),
            ("-129", DType::I8, "-129 does not fit into i8"),
            ("1e30", DType::I64, "1000000000000000000000000000000 is no whole number"),
            ("maybe", DType::Bool, "`maybe` is no true or false"),
            ("1,5", DType::F32, "`1,5` is no number"),
            ("a\0b", DType::I32, "`a\\0b` is no whole number"),
        ] {
            assert_eq!(read(cell, dtype).unwrap_err(), message);
        }
    }

    #[test]
    fn a_missing_number_has_many_names() {
        for cell in ["", "NA", "NaN", "null", "None", "?"] {
            assert!(is_missing(cell), "{cell}");
        }
        assert!(!is_missing("0"));
    }
}
