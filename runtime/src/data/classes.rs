//! Class columns: texts become their places among the classes, once it is known which rows are for training.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::column::{Column, Table};
use super::{Parts, Split};
use crate::error::{Error, Result};
use crate::program::{Cell, DataSet, Field};
use crate::weights::classes_key;

/// Numbers every class column by the classes that are known from an earlier training, else by those that the spec names, else by
/// those of the training rows.
pub fn number(set: &DataSet, parts: &mut Parts, known: &[(String, Vec<String>)]) -> Result<()> {
    for field in &set.fields {
        let Cell::Class(stated) = &field.cell else { continue };
        let names = match known.iter().find(|(key, _)| *key == classes_key(&set.name, &field.name)) {
            Some((_, names)) => names.clone(),
            None if !stated.is_empty() => stated.clone(),
            None => of_training(set, field, parts)?,
        };
        let numbers: HashMap<&str, i32> =
            names.iter().enumerate().map(|(number, name)| (name.as_str(), number as i32)).collect();
        renumber(set, field, parts, &names, &numbers)?;
        parts.classes.push((field.name.clone(), names));
    }
    Ok(())
}

/// The different values of the training rows, in order.
fn of_training(set: &DataSet, field: &Field, parts: &Parts) -> Result<Vec<String>> {
    let Some((column, classes)) = column(&parts.train.table, &field.name) else { return Ok(Vec::new()) };
    let mut seen = vec![false; classes.len()];
    for row in parts.train.rows.iter() {
        let number = usize::try_from(column.integer(*row as usize)?).ok();
        if let Some(seen) = number.and_then(|number| seen.get_mut(number)) {
            *seen = true;
        }
    }
    let mut names: Vec<String> =
        classes.iter().zip(seen).filter(|(_, seen)| *seen).map(|(class, _)| class.name.clone()).collect();
    names.sort_by(|a, b| by_value(a, b));
    if let [] | [_] = names[..] {
        let only =
            names.first().map_or("is missing in all rows".into(), |name| format!("is `{name}` in all rows"));
        let message =
            format!("`{}` {only} of the training part, so there is nothing to tell apart", field.name);
        return Err(Error::Data { set: set.name.clone(), message });
    }
    Ok(names)
}

/// Numbers by their size, before texts in the order of their letters.
fn by_value(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| !number.is_nan());
    match (number(a), number(b)) {
        (Some(x), Some(y)) => x.total_cmp(&y).then_with(|| a.cmp(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Gives the numbers of a column their meaning in the tables of all parts. The column itself, which may be larger than memory, stays as
/// it is.
fn renumber(
    set: &DataSet,
    field: &Field,
    parts: &mut Parts,
    names: &[String],
    numbers: &HashMap<&str, i32>,
) -> Result<()> {
    let mut done: Vec<(*const Table, Arc<Table>)> = Vec::new();
    for split in Split::ALL {
        let part = parts.get_mut(split);
        let address = Arc::as_ptr(&part.table);
        if let Some((_, table)) = done.iter().find(|(other, _)| *other == address) {
            part.table = Arc::clone(table);
            continue;
        }
        let Some((_, classes)) = column(&part.table, &field.name) else { continue };
        let mut new = Vec::with_capacity(classes.len());
        for class in classes {
            match numbers.get(class.name.as_str()) {
                Some(number) => new.push(*number),
                None if field.optional => new.push(-1),
                None => return Err(unknown(set, field, class, names)),
            }
        }
        let mut table = Table::clone(&part.table);
        if let Some(column) = table.columns.iter_mut().find(|column| column.name == field.name) {
            column.numbers = Some(new.into());
            column.classes = None;
        }
        part.table = Arc::new(table);
        done.push((address, Arc::clone(&part.table)));
    }
    Ok(())
}

fn unknown(set: &DataSet, field: &Field, class: &super::Class, names: &[String]) -> Error {
    const SHOWN: usize = 12;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = names.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
    let message = format!(
        "{}: `{}` is `{}`, which is none of the classes {}{rest}; `{}: class?` makes a value that training has not seen -1",
        class.place,
        field.name,
        super::cells::shown(&class.name),
        shown.join(", "),
        field.name,
    );
    Error::Data { set: set.name.clone(), message }
}

fn column<'t>(table: &'t Table, name: &str) -> Option<(&'t Column, &'t [super::Class])> {
    let column = table.column(name)?;
    Some((column, column.classes.as_deref()?))
}
