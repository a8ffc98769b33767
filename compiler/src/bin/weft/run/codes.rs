//! Vectors that a model gives for rows, such as the codes of an autoencoder, as points in the plane: by their two numbers, or by their first two
//! principal components (Pearson 1901).

/// Rows that are kept.
const MAX_ROWS: usize = 2000;
/// Longer vectors are left out.
const MAX_WIDTH: usize = 4096;
/// Turns of the power iteration.
const TURNS: usize = 60;

/// Vectors, and where they lie.
#[derive(Clone, Debug, Default)]
pub struct Codes {
    /// The `predict` item and its result.
    pub item: String,
    pub name: String,
    pub width: usize,
    rows: Vec<f64>,
    pub points: Vec<[f64; 2]>,
    /// What share of the variance the two axes hold.
    pub share: f64,
    /// The field that gives colours, its classes' names, the class of each row.
    pub field: String,
    pub names: Vec<String>,
    pub classes: Vec<usize>,
}

impl Codes {
    /// A field of more classes gives no colours.
    pub const MAX_CLASSES: usize = 16;

    pub fn new(item: &str, name: &str, width: usize) -> Codes {
        Codes { item: item.to_owned(), name: name.to_owned(), width, share: 1.0, ..Codes::default() }
    }

    /// Takes the vectors of a batch, with the field of their classes.
    pub fn take(
        &mut self,
        name: &str,
        values: &[f64],
        field: Option<(&str, Vec<String>)>,
        truth: Option<Vec<f64>>,
    ) {
        let room = (MAX_ROWS * self.width).saturating_sub(self.rows.len());
        if name != self.name
            || room == 0
            || self.width > MAX_WIDTH
            || !values.len().is_multiple_of(self.width)
        {
            return;
        }
        let taken = values.len().min(room);
        self.rows.extend_from_slice(&values[..taken]);
        if let (Some((field, names)), Some(truth)) = (field, truth) {
            (self.field, self.names) = (field.to_owned(), names);
            // A missing class has the last colour.
            let class = |value: f64| if value < 0.0 { Codes::MAX_CLASSES } else { value as usize };
            self.classes.extend(truth.into_iter().take(taken / self.width).map(class));
        }
    }

    /// Finds where the vectors lie in the plane.
    pub fn flatten(&mut self) {
        let width = self.width.max(1);
        let count = self.rows.len() / width;
        if self.rows.iter().any(|value| !value.is_finite()) || count < 3 {
            return;
        }
        if width == 2 {
            self.points = self.rows.as_chunks::<2>().0.to_vec();
            self.rows = Vec::new();
            return;
        }
        let mut rows = std::mem::take(&mut self.rows);
        for at in 0..width {
            let mean = rows.iter().skip(at).step_by(width).sum::<f64>() / count as f64;
            rows.iter_mut().skip(at).step_by(width).for_each(|value| *value -= mean);
        }
        let total: f64 = rows.iter().map(|value| value * value).sum();
        let mut places = vec![[0.0; 2]; count];
        let mut held = 0.0;
        for axis in 0..2 {
            let direction = principal(&rows, width);
            for (row, place) in rows.chunks_exact_mut(width).zip(&mut places) {
                let along: f64 = row.iter().zip(&direction).map(|(value, part)| value * part).sum();
                row.iter_mut().zip(&direction).for_each(|(value, part)| *value -= along * part);
                place[axis] = along;
                held += along * along;
            }
        }
        (self.points, self.share) = (places, if total > 0.0 { held / total } else { 1.0 });
    }
}

/// The direction in which rows of mean 0 differ most.
fn principal(rows: &[f64], width: usize) -> Vec<f64> {
    // From no direction that data is likely to be at right angles to.
    let mut direction: Vec<f64> = (0..width).map(|at| 1.0 + (at as f64 * 0.7).sin()).collect();
    for _ in 0..TURNS {
        let mut next = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            let along: f64 = row.iter().zip(&direction).map(|(value, part)| value * part).sum();
            next.iter_mut().zip(row).for_each(|(sum, value)| *sum += along * value);
        }
        let length = next.iter().map(|value| value * value).sum::<f64>().sqrt();
        if length <= 0.0 || !length.is_finite() {
            break;
        }
        next.iter_mut().for_each(|value| *value /= length);
        direction = next;
    }
    let length = direction.iter().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    direction.iter_mut().for_each(|value| *value /= length);
    direction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_are_a_place_and_more_are_brought_down_to_it() {
        let mut plain = Codes::new("encode", "code", 2);
        plain.take("code", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], None, None);
        plain.flatten();
        assert_eq!(plain.points, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);

        // On a plane in space: 5 along (1, 2, 2) / 3, and 1 along (2, 1, -2) / 3.
        let along = [(-5.0, 1.0), (5.0, 1.0), (-5.0, -1.0), (5.0, -1.0)];
        let rows: Vec<f64> = along
            .iter()
            .flat_map(|(a, b)| {
                [a / 3.0 + 2.0 * b / 3.0, 2.0 * a / 3.0 + b / 3.0, 2.0 * a / 3.0 - 2.0 * b / 3.0]
            })
            .map(|value| value + 7.0)
            .collect();
        let mut codes = Codes::new("encode", "code", 3);
        codes.take("code", &rows, Some(("kind", vec![])), Some(vec![0.0, 1.0, 2.0, -1.0]));
        codes.flatten();
        for (point, (a, b)) in codes.points.iter().zip(along) {
            assert!(
                (point[0].abs() - f64::abs(a)).abs() < 1e-6 && (point[1].abs() - f64::abs(b)).abs() < 1e-6,
                "{point:?}"
            );
        }
        assert!((codes.share - 1.0).abs() < 1e-9);
        assert_eq!(codes.classes, [0, 1, 2, Codes::MAX_CLASSES]);
    }
}
