//! Which row of the data an index out of range comes from.
//!
//! A label that is no class is found before the first step, where a field of the data is what looks something up; where the index is
//! computed, at the step that meets it.

use std::path::Path;

use crate::data::{Column, Part, Parts, Split};
use crate::error::{Error, Result, StrayIndex};
use crate::program::{DType, DataSet, Indexed};

/// Looks at all rows of a part for values that name nothing.
pub fn check(set: &DataSet, parts: &Parts, split: Split, path: &Path, fields: &[Indexed]) -> Result<()> {
    let part = parts.get(split);
    for indexed in fields {
        let Some(column) = part.table.columns.iter().find(|column| column.name == indexed.field) else {
            continue;
        };
        if always_fits(column.dtype, indexed.rows) {
            continue;
        }
        let (mut bytes, mut values) = (Vec::new(), Vec::new());
        for &row in part.rows.iter() {
            whole_numbers(column, row, &mut bytes, &mut values)?;
            let fits = 0..indexed.rows as i64;
            let Some(&value) = values.iter().find(|value| !fits.contains(value)) else { continue };
            let last = indexed.rows.saturating_sub(1);
            let message = format!(
                "row {} of the {} part ({}) has {}, but {}:{} takes 0 to {last}; correct the row, or make room for it there",
                grouped(row),
                split.name(),
                path.display(),
                described(parts, &indexed.field, value),
                indexed.file,
                indexed.line,
            );
            return Err(Error::Data { set: set.name.clone(), message });
        }
    }
    Ok(())
}

/// An error of a batch with the row that it comes from. `rows`: those of the batch, as their table counts them.
pub fn explained(
    error: Error,
    set: &DataSet,
    parts: &Parts,
    split: Split,
    path: &Path,
    rows: &[u32],
) -> Error {
    let Error::IndexOutOfRange { path: node, file, line, stray, row: None } = error else { return error };
    let found = row_of(&stray, rows).map(|(row, place)| {
        let has = field_with(parts.get(split), row, place, stray.index);
        let has = has.map_or(String::new(), |field| {
            format!(", which has {}", described(parts, field, stray.index.into()))
        });
        format!(
            "{stray} in `{node}` ({file}:{line}); it comes from row {} of `{}` ({} part, {}){has}",
            grouped(row),
            set.name,
            split.name(),
            path.display()
        )
    });
    Error::IndexOutOfRange { path: node, file, line, stray, row: found }
}

/// The row, and the place of the index among those of that row.
fn row_of(stray: &StrayIndex, rows: &[u32]) -> Option<(u32, usize)> {
    let each = stray.count.checked_div(rows.len()).filter(|each| each * rows.len() == stray.count)?;
    Some((*rows.get(stray.place.checked_div(each)?)?, stray.place % each))
}

/// The field that holds this number at this place.
fn field_with(part: &Part, row: u32, place: usize, value: i32) -> Option<&str> {
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    let mut holds = |column: &&Column| {
        whole_numbers(column, row, &mut bytes, &mut values).is_ok()
            && values.get(place).copied() == Some(value.into())
    };
    part.table.columns.iter().find(|column| holds(column)).map(|column| column.name.as_str())
}

/// `the label 12`, with the name of a class.
fn described(parts: &Parts, field: &str, value: i64) -> String {
    let names = parts.classes.iter().find(|(own, _)| own == field).map(|(_, names)| names);
    let name = names.and_then(|names| names.get(usize::try_from(value).ok()?));
    match (value, names, name) {
        (-1, Some(_), _) => format!("no `{field}` (a missing class is -1)"),
        (_, _, Some(name)) => format!("the `{field}` {value} (`{name}`)"),
        _ => format!("the `{field}` {value}"),
    }
}

/// The values of a field of one row, into `values`; none of a field that holds no whole numbers.
fn whole_numbers(column: &Column, row: u32, bytes: &mut Vec<u8>, values: &mut Vec<i64>) -> Result<()> {
    bytes.clear();
    values.clear();
    column.read(row as usize, bytes)?;
    match column.dtype {
        DType::I64 => values.extend(bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b))),
        DType::I32 => {
            values.extend(bytes.as_chunks::<4>().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))))
        }
        DType::I8 => values.extend(bytes.iter().map(|b| i64::from(*b as i8))),
        DType::U8 | DType::Bool => values.extend(bytes.iter().map(|b| i64::from(*b))),
        DType::F32 | DType::F64 | DType::F16 | DType::BF16 => {}
    }
    Ok(())
}

/// Can a value of this type never be out of range?
fn always_fits(dtype: DType, rows: usize) -> bool {
    match dtype {
        DType::U8 => rows > u8::MAX.into(),
        DType::Bool => rows > 1,
        _ => false,
    }
}

/// As people count: from 1, with commas.
fn grouped(row: u32) -> String {
    let digits = (u64::from(row) + 1).to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_from_one() {
        assert_eq!([0, 999, 3_016, 1_234_566].map(grouped), ["1", "1,000", "3,017", "1,234,567"]);
    }

    #[test]
    fn an_index_belongs_to_a_row_where_each_has_as_many() {
        let stray = |place, count| StrayIndex { index: 9, place, count, rows: 3 };
        assert_eq!(row_of(&stray(5, 8), &[10, 11, 12, 13]), Some((12, 1)));
        assert_eq!(row_of(&stray(5, 7), &[10, 11, 12, 13]), None);
        assert_eq!(row_of(&stray(0, 1), &[]), None);
    }
}
