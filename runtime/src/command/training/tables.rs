//! Figures of classes as text: vectors side by side as the columns of one table, and each table by itself.

use crate::train::{Figures, Reading};

/// The lines of all figures that are no numbers, a blank line before each table.
pub fn lines(figures: &Figures) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest: &[(String, Reading)] = &figures.0;
    while let Some(((name, value), after)) = rest.split_first() {
        let count = match value.shape.len() {
            // Neighbours of one length belong together: precision and recall of each class.
            1 => rest
                .iter()
                .take_while(|(other, its)| its.shape == value.shape && whole(other) == whole(name))
                .count(),
            _ => 1,
        };
        match value.shape.len() {
            0 => {}
            1 => {
                let columns: Vec<(&str, &[f32])> = rest
                    .iter()
                    .take(count)
                    .map(|(name, value)| (name.as_str(), value.values.as_slice()))
                    .collect();
                lines.push(String::new());
                lines.extend(side_by_side(&columns));
            }
            _ => {
                lines.push(String::new());
                lines.extend(grid(name, value));
            }
        }
        rest = rest.get(count..).unwrap_or(after);
    }
    lines
}

/// The name of the figure that a part belongs to.
fn whole(name: &str) -> Option<&str> {
    name.split_once('.').map(|(whole, _)| whole)
}

/// One line a class, one column a figure. Parts of one figure, `report.precision` and `report.recall`, have its name in the corner.
fn side_by_side(columns: &[(&str, &[f32])]) -> Vec<String> {
    let corner = columns.first().and_then(|(name, _)| whole(name));
    let head =
        |name: &str| corner.map_or(name, |_| name.split_once('.').map_or(name, |(_, part)| part)).to_owned();
    let length = columns.first().map_or(0, |(_, values)| values.len());
    let mut table =
        vec![headed(corner.unwrap_or("class").to_owned(), (0..length).map(|place| place.to_string()))];
    for (name, values) in columns {
        table.push(headed(head(name), numbers(values)));
    }
    aligned(&table)
}

fn headed(head: String, cells: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(head).chain(cells).collect()
}

/// A table with the numbers of its rows and columns, its name in the corner.
fn grid(name: &str, value: &Reading) -> Vec<String> {
    let cells = numbers(&value.values);
    let width = value.shape.last().copied().unwrap_or(1).max(1);
    let rows: Vec<&[String]> = cells.chunks(width).collect();
    let mut table = vec![headed(name.to_owned(), (0..rows.len()).map(|row| row.to_string()))];
    for column in 0..width {
        let cells = rows.iter().filter_map(|row| row.get(column).cloned());
        table.push(headed(column.to_string(), cells));
    }
    aligned(&table)
}

/// Counts as whole numbers, anything else with four places.
fn numbers(values: &[f32]) -> Vec<String> {
    let whole = values.iter().all(|value| value.fract() == 0.0);
    values.iter().map(|value| if whole { format!("{value}") } else { format!("{value:.4}") }).collect()
}

/// Columns to lines, each column as wide as its widest cell, at the right.
fn aligned(columns: &[Vec<String>]) -> Vec<String> {
    let widths: Vec<usize> = columns
        .iter()
        .map(|cells| cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let height = columns.iter().map(Vec::len).max().unwrap_or(0);
    (0..height)
        .map(|line| {
            let cells = columns
                .iter()
                .zip(&widths)
                .map(|(cells, &width)| format!("{:>width$}", cells.get(line).map_or("", String::as_str)));
            cells.collect::<Vec<_>>().join("  ")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_one_length_are_columns_and_tables_are_grids() {
        let reading =
            |shape: &[usize], values: &[f32]| Reading { shape: shape.to_vec(), values: values.to_vec() };
        let figures = Figures(vec![
            ("loss".into(), 0.5.into()),
            ("precision".into(), reading(&[2], &[0.5, 1.0])),
            ("support".into(), reading(&[2], &[12.0, 8.0])),
            ("counts".into(), reading(&[2, 2], &[10.0, 2.0, 0.0, 8.0])),
            ("accuracy".into(), 0.9.into()),
            ("mean".into(), reading(&[3], &[0.25, 1.0, f32::NAN])),
            ("report.f1".into(), reading(&[2], &[0.5, 1.0])),
            ("report.support".into(), reading(&[2], &[3.0, 4.0])),
        ]);
        assert_eq!(
            lines(&figures).join("\n"),
            "
class  precision  support
    0     0.5000       12
    1     1.0000        8

counts   0  1
     0  10  2
     1   0  8

class    mean
    0  0.2500
    1  1.0000
    2     NaN

report      f1  support
     0  0.5000        3
     1  1.0000        4"
        );
    }
}
