//! Parts: which rows are for training, validation and test. What is drawn depends on the seed alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::column::Table;
use super::{Files, Part, Parts, shuffle};
use crate::error::{Error, Result};
use crate::program::{DataSet, Held};

/// The column that says which part a row is of, while it is read; no field of a spec can be called so.
pub const PART_COLUMN: &str = "the part's column";

/// Makes the parts of what was read.
pub fn split(set: &DataSet, files: Files, seed: u64) -> Result<Parts> {
    let wrong = |message: String| Err(Error::Data { set: set.name.clone(), message });
    let Files { train, validation, test } = files;
    if train.rows == 0 {
        return wrong("there are no rows to train on".into());
    }
    if let Some(column) = &set.splits.column {
        return by_column(set, column, train);
    }
    let all = Part::whole(train);
    let count = all.len();
    let rows = |held: &Held, part: &str, own: bool| -> Result<usize> {
        let rows = match held {
            _ if own => return Ok(0),
            Held::Nothing | Held::File(_) => return Ok(0),
            Held::Share(share) => (share.clamp(0.0, 1.0) * count as f64).round() as usize,
            Held::Rows(rows) => usize::try_from(*rows).unwrap_or(usize::MAX),
        };
        match held {
            Held::Share(share) if rows == 0 && *share > 0.0 => {
                let message = format!("holding out {share} of {count} rows leaves none to the {part} part");
                Err(Error::Data { set: set.name.clone(), message })
            }
            _ => Ok(rows),
        }
    };
    let of_validation = rows(&set.splits.validation, "validation", validation.is_some())?;
    let of_test = rows(&set.splits.test, "test", test.is_some())?;
    let held_out = of_validation.saturating_add(of_test);
    if held_out > 0 && held_out >= count {
        return wrong(format!("holding out {held_out} of {count} rows leaves none to train on"));
    }
    let order = match &set.splits.stratify {
        _ if held_out == 0 => all.rows.to_vec(),
        None => drawn(&all, seed),
        Some(field) => stratified(&all, field, [of_validation, of_test], seed)?,
    };
    // Each part keeps the order of the file.
    let held = |range: std::ops::Range<usize>| {
        let mut rows = order[range].to_vec();
        rows.sort_unstable();
        all.of(rows)
    };
    Ok(Parts {
        validation: validation.map_or_else(|| held(0..of_validation), Part::whole),
        test: test.map_or_else(|| held(of_validation..held_out), Part::whole),
        train: held(held_out..count),
        classes: Vec::new(),
        vocabularies: Vec::new(),
        notes: Vec::new(),
    })
}

/// The rows in the order in which they are drawn to be held out.
fn drawn(all: &Part, seed: u64) -> Vec<u32> {
    let places = shuffle::order(all.len(), shuffle::HOLD_OUT, seed);
    places.into_iter().map(|place| all.rows[place as usize]).collect()
}

/// Parts as a column says: its values are the parts' names.
fn by_column(set: &DataSet, column: &str, mut table: Table) -> Result<Parts> {
    let Some(at) = table.columns.iter().position(|column| column.name == PART_COLUMN) else {
        return Err(Error::Unsound(format!("`{}` was read without its column `{column}`", set.name)));
    };
    let names = table.columns.remove(at);
    let mut part_of = Vec::new();
    for class in names.classes.iter().flat_map(|classes| classes.iter()) {
        part_of.push(match class.name.to_lowercase().as_str() {
            "train" | "training" => 0,
            "validation" | "valid" | "val" | "dev" => 1,
            "test" | "testing" => 2,
            _ => {
                let message = format!(
                    "{}: the column `{column}` says `{}`, which is none of `train`, `validation` and `test`",
                    class.place, class.name
                );
                return Err(Error::Data { set: set.name.clone(), message });
            }
        });
    }
    let mut rows: [Vec<u32>; 3] = Default::default();
    for row in 0..table.rows {
        let number = names.integer(row)?;
        let part = usize::try_from(number).ok().and_then(|number| part_of.get(number)).copied().unwrap_or(0);
        rows[part].push(row as u32);
    }
    let [train, validation, test] = rows;
    if train.is_empty() {
        let message =
            format!("the column `{column}` says `train` of no row, so there is nothing to train on");
        return Err(Error::Data { set: set.name.clone(), message });
    }
    let table = Arc::new(table);
    let part = |rows: Vec<u32>| Part { table: Arc::clone(&table), rows: rows.into() };
    Ok(Parts {
        train: part(train),
        validation: part(validation),
        test: part(test),
        classes: Vec::new(),
        vocabularies: Vec::new(),
        notes: Vec::new(),
    })
}

/// All rows in an order whose beginning, so many rows for each part, has every value of the field in the share that it has among
/// all rows, as nearly as whole rows can; the last row of a value is left to training where that can be.
fn stratified(all: &Part, field: &str, wanted: [usize; 2], seed: u64) -> Result<Vec<u32>> {
    let column =
        all.table.column(field).ok_or_else(|| Error::Unsound(format!("there is no field `{field}`")))?;
    let mut groups: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for row in drawn(all, seed) {
        groups.entry(column.integer(row as usize)?).or_default().push(row);
    }
    let mut groups: Vec<Vec<u32>> = groups.into_values().collect();
    let mut order = Vec::new();
    for (part, wanted) in wanted.into_iter().enumerate() {
        let left: usize = groups.iter().map(Vec::len).sum();
        // The second part's share is one of what the first has left.
        let quotas = quotas(&groups.iter().map(Vec::len).collect::<Vec<_>>(), wanted, left);
        let start = order.len();
        for (group, quota) in groups.iter_mut().zip(quotas) {
            order.extend(group.drain(..quota.min(group.len())));
        }
        debug_assert_eq!(order.len() - start, wanted, "part {part}");
    }
    order.extend(groups.into_iter().flatten());
    Ok(order)
}

/// How many of each group make so many of all: the whole part of its share, and one more for those with the largest rest.
fn quotas(sizes: &[usize], wanted: usize, all: usize) -> Vec<usize> {
    let exact = |size: usize| size as u128 * wanted as u128;
    let all = all.max(1) as u128;
    let mut quotas: Vec<usize> = sizes.iter().map(|&size| (exact(size) / all) as usize).collect();
    let mut places: Vec<usize> = (0..sizes.len()).collect();
    places.sort_by_key(|&place| (std::cmp::Reverse(exact(sizes[place]) % all), place));
    let mut rest = wanted.saturating_sub(quotas.iter().sum());
    // First without the last row of any group; only if that isn't enough, with it.
    for spared in [1, 0] {
        for &place in places.iter().cycle().take(places.len() * (rest.min(2) + 1)) {
            if rest > 0 && quotas[place] + spared < sizes[place] {
                quotas[place] += 1;
                rest -= 1;
            }
        }
    }
    // What is still missing is taken wherever there is something.
    for (quota, size) in quotas.iter_mut().zip(sizes) {
        let more = rest.min(size - *quota);
        *quota += more;
        rest -= more;
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::super::Split;
    use super::super::column::{Class, Column};
    use super::*;
    use crate::program::{DType, DataSource, Field, Splits};

    fn table(rows: usize) -> Table {
        let values: Vec<u8> = (0..rows).map(|row| row as u8).collect();
        Table { rows, columns: vec![Column::new("x", DType::U8, [1], values)], left_out: Vec::new() }
    }

    fn set(validation: Held, test: Held) -> DataSet {
        DataSet {
            name: "d".into(),
            source: DataSource::Idx { folder: String::new() },
            fields: vec![Field::new("x", DType::U8, [1])],
            splits: Splits { validation, test, ..Splits::default() },
            fit: None,
            vocabularies: Vec::new(),
        }
    }

    fn alone(train: Table) -> Files {
        Files { train, validation: None, test: None }
    }

    fn whole(parts: &Parts) -> Vec<u32> {
        let mut all: Vec<u32> = Split::ALL.iter().flat_map(|&s| parts.get(s).rows.to_vec()).collect();
        all.sort_unstable();
        all
    }

    fn message(set: &DataSet, files: Files) -> String {
        match split(set, files, 1) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it was split"),
        }
    }

    #[test]
    fn shares_are_held_out_by_the_seed_without_overlap() {
        let parts = |seed| split(&set(Held::Share(0.2), Held::Rows(5)), alone(table(50)), seed).unwrap();
        let first = parts(1);
        assert_eq!((first.train.len(), first.validation.len(), first.test.len()), (35, 10, 5));
        assert_eq!(whole(&first), (0..50).collect::<Vec<u32>>());
        assert_eq!(first.validation.rows, parts(1).validation.rows);
        assert_ne!(first.validation.rows, parts(2).validation.rows);
    }

    #[test]
    fn parts_with_files_of_their_own_are_left_whole() {
        let files = Files { train: table(9), validation: Some(table(3)), test: Some(table(2)) };
        let parts = split(&set(Held::Share(0.5), Held::Share(0.5)), files, 1).unwrap();
        assert_eq!((parts.train.len(), parts.validation.len(), parts.test.len()), (9, 3, 2));
    }

    #[test]
    fn parts_without_rows_are_explained() {
        let half = || set(Held::Share(0.5), Held::Share(0.5));
        assert_eq!(
            message(&half(), alone(table(4))),
            "data set `d`: holding out 4 of 4 rows leaves none to train on"
        );
        let many = set(Held::Rows(u64::MAX), Held::Rows(u64::MAX));
        assert!(message(&many, alone(table(4))).contains("of 4 rows leaves none to train on"));
        let few = set(Held::Share(0.1), Held::Nothing);
        assert!(
            message(&few, alone(table(4)))
                .ends_with("holding out 0.1 of 4 rows leaves none to the validation part")
        );
        assert!(message(&half(), alone(table(0))).ends_with("there are no rows to train on"));
    }

    fn labelled(labels: &[i32]) -> Table {
        let bytes: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        Table {
            rows: labels.len(),
            columns: vec![Column::new("label", DType::I32, [], bytes)],
            left_out: Vec::new(),
        }
    }

    #[test]
    fn stratified_parts_have_every_value_in_its_share() {
        // 60 of one, 30 of another, 10 of a third, and one alone.
        let labels: Vec<i32> =
            (0..101).map(|i| [0, 0, 1, 0, 1, 0, 0, 1, 2, 0][i % 10] + 7 * i32::from(i == 100)).collect();
        let mut set = set(Held::Share(0.2), Held::Rows(10));
        set.splits.stratify = Some("label".into());
        let parts = split(&set, alone(labelled(&labels)), 3).unwrap();
        let count =
            |part: &Part, value: i32| part.rows.iter().filter(|&&row| labels[row as usize] == value).count();
        assert_eq!(parts.validation.len(), 20);
        assert_eq!([0, 1, 2, 7].map(|value| count(&parts.validation, value)), [12, 6, 2, 0]);
        assert_eq!([0, 1, 2, 7].map(|value| count(&parts.test, value)), [6, 3, 1, 0]);
        assert_eq!(whole(&parts), (0..101).collect::<Vec<u32>>());
        let again = split(&set, alone(labelled(&labels)), 4).unwrap();
        assert_ne!(again.validation.rows, parts.validation.rows);
    }

    #[test]
    fn quotas_always_add_up() {
        for (sizes, wanted) in
            [(vec![1, 1, 1, 1], 3), (vec![5], 4), (vec![1, 9], 9), (vec![2, 2, 2], 1), (vec![3, 0, 4], 7)]
        {
            let all = sizes.iter().sum();
            let quotas = quotas(&sizes, wanted, all);
            assert_eq!(quotas.iter().sum::<usize>(), wanted, "{sizes:?}");
            assert!(quotas.iter().zip(&sizes).all(|(quota, size)| quota <= size), "{sizes:?} {quotas:?}");
        }
    }

    #[test]
    fn a_column_says_the_parts() {
        let mut set = set(Held::Nothing, Held::Nothing);
        set.splits.column = Some("part".into());
        let with = |names: &[&str], codes: &[i32]| {
            let mut table = table(codes.len());
            let bytes: Vec<u8> = codes.iter().flat_map(|code| code.to_le_bytes()).collect();
            let class =
                |(i, name): (usize, &&str)| Class { name: (*name).into(), place: format!("d.csv:{}", i + 2) };
            table.columns.push(Column {
                classes: Some(names.iter().enumerate().map(class).collect()),
                ..Column::new(PART_COLUMN, DType::I32, [], bytes)
            });
            alone(table)
        };
        let parts = split(&set, with(&["test", "Train", "val"], &[1, 0, 1, 2]), 1).unwrap();
        assert_eq!(
            (&parts.train.rows[..], &parts.validation.rows[..], &parts.test.rows[..]),
            (&[0, 2][..], &[3][..], &[1][..])
        );
        assert_eq!(parts.train.table.columns.len(), 1);
        assert!(
            message(&set, with(&["train", "tset"], &[0, 1]))
                .contains("d.csv:3: the column `part` says `tset`")
        );
        assert!(message(&set, with(&["test"], &[0])).contains("says `train` of no row"));
    }
}
