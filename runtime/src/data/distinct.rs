//! Rows that stand only once: of several with the same value, one is kept, so that none of a held-out part was trained on.

use std::collections::HashSet;

use super::column::Table;
use super::{Files, Parts, Split};
use crate::error::{Error, Result};

/// Leaves out what stands twice in files, before rows are held out. What the test part's file has is kept there; else the first is.
pub fn of_files(set: &str, files: &mut Files, field: &str, notes: &mut Vec<String>) -> Result<()> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for table in [files.test.as_ref(), files.validation.as_ref(), Some(&files.train)].into_iter().flatten() {
        all.push(again(set, table, field, &table.usable(), &mut seen)?);
    }
    note(notes, field, all.iter().map(Vec::len).sum());
    let tables =
        [files.test.as_mut(), files.validation.as_mut(), Some(&mut files.train)].into_iter().flatten();
    for (table, again) in tables.zip(all) {
        table.left_out.extend(again);
        table.left_out.sort_unstable();
    }
    Ok(())
}

/// Leaves out what stands twice in parts that a column says.
pub fn of_parts(set: &str, parts: &mut Parts, field: &str, notes: &mut Vec<String>) -> Result<()> {
    let mut count = 0;
    let mut seen = HashSet::new();
    for split in [Split::Test, Split::Validation, Split::Train] {
        let part = parts.get_mut(split);
        let again = again(set, &part.table, field, &part.rows, &mut seen)?;
        count += again.len();
        *part = part.of(part.rows.iter().copied().filter(|row| again.binary_search(row).is_err()));
    }
    note(notes, field, count);
    Ok(())
}

/// Those of some rows whose value was seen before, in order.
fn again(
    set: &str,
    table: &Table,
    field: &str,
    rows: &[u32],
    seen: &mut HashSet<Box<[u8]>>,
) -> Result<Vec<u32>> {
    let column = table.column(field).ok_or_else(|| Error::Data {
        set: set.to_string(),
        message: format!("rows are to be distinct by `{field}`, which they do not have"),
    })?;
    let (mut again, mut value) = (Vec::new(), Vec::new());
    for &row in rows {
        value.clear();
        column.read(row as usize, &mut value)?;
        if !seen.insert(value.as_slice().into()) {
            again.push(row);
        }
    }
    Ok(again)
}

fn note(notes: &mut Vec<String>, field: &str, count: usize) {
    match count {
        0 => {}
        1 => notes.push(format!("1 row is left out, whose `{field}` stands in another")),
        _ => notes.push(format!("{count} rows are left out, whose `{field}` stands in others")),
    }
}
