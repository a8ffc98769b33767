//! Pictures that commands write: made from numbers, put side by side, saved as `.png`.

mod colours;

pub use colours::Palette;

use std::path::Path;

use super::Failure;
use crate::error::Error;
use crate::io::png;
use crate::tensor::Tensor;

pub type Colour = [u8; 3];

pub const WHITE: Colour = [255; 3];
/// Between pictures that stand side by side.
const GAP: usize = 6;
/// Small pictures are enlarged until their longer side has about so many pixels.
const SIDE: usize = 224;

/// Pixels in rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pixels: Vec<Colour>,
}

impl Picture {
    pub fn from_fn(width: usize, height: usize, mut colour: impl FnMut(usize, usize) -> Colour) -> Picture {
        let pixels = (0..width * height).map(|i| colour(i % width, i / width)).collect();
        Picture { width, height, pixels }
    }

    /// Numbers `[height, width, channels]` between `low` and `high`: one channel is grey, three or more are red, green and blue.
    pub fn of_values(
        height: usize,
        width: usize,
        channels: usize,
        values: &[f64],
        low: f64,
        high: f64,
    ) -> Picture {
        let byte = |v: Option<&f64>| {
            let v = v.copied().unwrap_or(low);
            (((v - low) / (high - low).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0) * 255.0).round() as u8
        };
        Picture::from_fn(width, height, |x, y| {
            let at = (y * width + x) * channels;
            match channels {
                3.. => [0, 1, 2].map(|c| byte(values.get(at + c))),
                _ => [byte(values.get(at)); 3],
            }
        })
    }

    /// A map `[height, width]` in the colours of a palette.
    pub fn of_map(height: usize, width: usize, values: &[f64], palette: Palette) -> Picture {
        let scale = palette.scale(values);
        Picture::from_fn(width, height, |x, y| {
            palette.colour(values.get(y * width + x).map_or(0.0, |v| v / scale))
        })
    }

    pub fn at(&self, x: usize, y: usize) -> Colour {
        self.pixels.get(y * self.width + x).copied().unwrap_or(WHITE)
    }

    /// Every pixel so many times in both directions.
    pub fn enlarged(&self, factor: usize) -> Picture {
        let factor = factor.max(1);
        Picture::from_fn(self.width * factor, self.height * factor, |x, y| self.at(x / factor, y / factor))
    }

    /// Enlarged to be seen well, where it is small.
    pub fn to_be_seen(&self) -> Picture {
        self.enlarged(SIDE / self.width.max(self.height).max(1))
    }

    /// So many pictures a line, each in a cell of the size of the largest.
    pub fn grid(pictures: &[Picture], columns: usize) -> Picture {
        Picture::spaced(pictures, columns, GAP, WHITE)
    }

    /// As [`Picture::grid`], so far apart on a ground of this colour.
    pub fn spaced(pictures: &[Picture], columns: usize, gap: usize, ground: Colour) -> Picture {
        let columns = columns.clamp(1, pictures.len().max(1));
        let widest = pictures.iter().map(|p| p.width).max().unwrap_or(0);
        let highest = pictures.iter().map(|p| p.height).max().unwrap_or(0);
        let lines = pictures.len().div_ceil(columns);
        let extent = |count: usize, size: usize| count * size + count.saturating_sub(1) * gap;
        let mut sheet = Picture::from_fn(extent(columns, widest), extent(lines, highest), |_, _| ground);
        for (place, picture) in pictures.iter().enumerate() {
            let (left, top) = (place % columns * (widest + gap), place / columns * (highest + gap));
            for y in 0..picture.height {
                let start = (top + y) * sheet.width + left;
                let line = y * picture.width..(y + 1) * picture.width;
                if let (Some(to), Some(from)) =
                    (sheet.pixels.get_mut(start..start + picture.width), picture.pixels.get(line))
                {
                    to.copy_from_slice(from);
                }
            }
        }
        sheet
    }

    /// A map laid over this picture: the more there is of it, the less of the picture shines through.
    pub fn under(&self, map: &Picture, strength: impl Fn(usize, usize) -> f64) -> Picture {
        Picture::from_fn(self.width, self.height, |x, y| {
            let (below, above, share) = (self.at(x, y), map.at(x, y), 0.75 * strength(x, y).clamp(0.0, 1.0));
            [0, 1, 2].map(|c| (f64::from(below[c]) * (1.0 - share) + f64::from(above[c]) * share) as u8)
        })
    }

    /// As the bytes of a `.png` file.
    pub fn encoded(&self) -> Result<Vec<u8>, Error> {
        let image = Tensor::from_u8(&[self.height, self.width, 3], self.pixels.as_flattened());
        png::encode(image.view()).map_err(Error::Unsound)
    }

    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let image = Tensor::from_u8(&[self.height, self.width, 3], self.pixels.as_flattened());
        Ok(png::write(path, image.view())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_a_grid_do_not_touch() {
        let dot = |colour| Picture::from_fn(2, 1, |_, _| colour);
        let sheet = Picture::grid(&[dot([1; 3]), dot([2; 3]), dot([3; 3])], 2);
        assert_eq!((sheet.width, sheet.height), (4 + GAP, 2 + GAP));
        assert_eq!(sheet.at(1, 0), [1; 3]);
        assert_eq!(sheet.at(2, 0), WHITE);
        assert_eq!(sheet.at(2 + GAP, 0), [2; 3]);
        assert_eq!(sheet.at(0, 1 + GAP), [3; 3]);
        assert_eq!(sheet.at(3 + GAP, 1 + GAP), WHITE);
    }

    #[test]
    fn a_map_lies_over_a_picture_where_it_is_strong() {
        let below = Picture::from_fn(2, 1, |_, _| [100; 3]);
        let above = Picture::from_fn(2, 1, |_, _| [200; 3]);
        let both = below.under(&above, |x, _| x as f64);
        assert_eq!((both.at(0, 0), both.at(1, 0)), ([100; 3], [175; 3]));
    }
}
