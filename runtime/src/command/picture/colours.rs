//! Numbers as colours.

use super::Colour;

/// A scale of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// From 0 (dark) to 1 (bright).
    Rising,
    /// From -1 (blue) over 0 (white) to 1 (red).
    Signed,
}

/// Evenly spaced; between them colours are mixed.
const RISING: [Colour; 6] =
    [[8, 6, 28], [66, 14, 98], [146, 38, 103], [220, 80, 58], [250, 155, 25], [252, 250, 180]];
const SIGNED: [Colour; 5] = [[20, 60, 150], [120, 160, 220], [250, 250, 250], [230, 130, 105], [165, 15, 30]];

impl Palette {
    /// The palette that suits these numbers.
    pub fn of(values: &[f64]) -> Palette {
        if values.iter().any(|v| *v < 0.0) { Palette::Signed } else { Palette::Rising }
    }

    /// What counts as full strength: all but the few largest magnitudes are at most so large, so that one of them doesn't darken all else.
    pub fn scale(self, values: &[f64]) -> f64 {
        let mut sizes: Vec<f64> = values.iter().map(|v| v.abs()).filter(|v| v.is_finite()).collect();
        sizes.sort_unstable_by(f64::total_cmp);
        let most = sizes.last().copied().unwrap_or(0.0);
        let many = sizes.get(sizes.len() * 99 / 100).copied().unwrap_or(0.0);
        let scale = if many > 0.0 { many } else { most };
        if scale > 0.0 { scale } else { 1.0 }
    }

    pub fn colour(self, value: f64) -> Colour {
        if value.is_nan() {
            return [128; 3];
        }
        match self {
            Palette::Rising => mixed(&RISING, value),
            Palette::Signed => mixed(&SIGNED, value / 2.0 + 0.5),
        }
    }
}

/// The colour at a place between 0 and 1.
fn mixed(colours: &[Colour], place: f64) -> Colour {
    let place = place.clamp(0.0, 1.0) * (colours.len() - 1) as f64;
    let (low, share) = (place.floor(), place.fract());
    let from = colours.get(low as usize).copied().unwrap_or_default();
    let to = colours.get(low as usize + 1).copied().unwrap_or(from);
    [0, 1, 2].map(|c| (f64::from(from[c]) * (1.0 - share) + f64::from(to[c]) * share).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_numbers() {
        assert_eq!(Palette::Rising.colour(0.0), RISING[0]);
        assert_eq!(Palette::Rising.colour(7.0), RISING[5]);
        assert_eq!(Palette::Signed.colour(0.0), SIGNED[2]);
        assert_eq!(Palette::Signed.colour(-1.0), SIGNED[0]);
        assert_eq!(Palette::Signed.colour(0.25), [240, 190, 178]);
        assert_eq!(Palette::of(&[0.0, 2.0]), Palette::Rising);
        assert_eq!(Palette::of(&[-1.0, 2.0]), Palette::Signed);
    }

    #[test]
    fn one_outlier_does_not_set_the_scale() {
        let mut values = vec![1.0; 200];
        values[7] = 1e9;
        values[8] = f64::NAN;
        assert_eq!(Palette::Rising.scale(&values), 1.0);
        assert_eq!(Palette::Rising.scale(&[0.0, 0.0]), 1.0);
        let mut rare = vec![0.0; 500];
        rare[3] = -4.0;
        assert_eq!(Palette::Signed.scale(&rare), 4.0);
    }
}
