//! The files that an inspection leaves: every map as a picture for people and as an array for scripts.

use super::attribution::{Attribution, LeafMaps, Named, array, tensor};
use crate::failure::Failure;
use crate::picture::{Palette, Picture};
use std::path::{Path, PathBuf};
use weft_compiler::inspect::Inspection;
use weft_runtime::io::npy;
use weft_runtime::tensor::Tensor;

/// So many channels, heads or filters are drawn; the array has all.
const TILES: usize = 64;
/// No drawn map has a longer side: what is larger is drawn with gaps.
const LONGEST: usize = 1024;

/// A folder, and what was written into it.
pub struct Folder {
    path: PathBuf,
    /// Before each name.
    prefix: String,
    pub written: Vec<PathBuf>,
}

impl Folder {
    pub fn make(path: &Path) -> Result<Folder, Failure> {
        std::fs::create_dir_all(path).map_err(|error| {
            let why = weft_runtime::error::plain(&error);
            Failure::environment(format!("cannot make the folder {}: {why}", path.display()))
        })?;
        Ok(Folder { path: path.to_path_buf(), prefix: String::new(), written: Vec::new() })
    }

    /// What follows is of this row, where there are several.
    pub fn row(&mut self, number: Option<usize>) {
        self.prefix = number.map_or(String::new(), |row| format!("row{row}."));
    }

    pub fn picture(&mut self, name: &str, picture: &Picture) -> Result<(), Failure> {
        let path = self.place(name, "png");
        picture.save(&path)?;
        self.written.push(path);
        Ok(())
    }

    pub fn array(&mut self, name: &str, values: &Tensor) -> Result<(), Failure> {
        let path = self.place(name, "npy");
        npy::write(&path, values.view())?;
        self.written.push(path);
        Ok(())
    }

    fn place(&self, name: &str, extension: &str) -> PathBuf {
        let safe: String = name.chars().map(|c| if c == '/' || c == '\\' { '_' } else { c }).collect();
        self.path.join(format!("{}{safe}.{extension}", self.prefix))
    }

    /// All that was found about one row.
    pub fn attribution(
        &mut self,
        looked: &Inspection,
        inputs: &[Named],
        found: &Attribution,
    ) -> Result<(), Failure> {
        for maps in &found.leaves {
            self.leaf(maps, inputs, found)?;
        }
        for (path, name) in &looked.attention {
            if let Some(map) = tensor(&found.seen, name) {
                self.values(&format!("attention.{path}"), &without_rows(&map, looked.rows))?;
            }
        }
        for (path, name) in &looked.activations {
            if let Some(values) = tensor(&found.seen, name) {
                self.values(&format!("activation.{path}"), &without_rows(&values, looked.rows))?;
            }
        }
        Ok(())
    }

    /// Saliency, integrated gradients and Grad-CAM of one input.
    fn leaf(&mut self, maps: &LeafMaps, inputs: &[Named], found: &Attribution) -> Result<(), Failure> {
        // `inspect.image` is where bytes became numbers; for the user it is `image`.
        let name = maps.leaf.name.trim_start_matches("inspect.");
        self.array(&format!("{name}.saliency"), &array(&maps.shape, &maps.gradient))?;
        self.array(&format!("{name}.integrated_gradients"), &array(&maps.shape, &maps.integrated))?;
        let Some((height, width, channels)) = image_shape(maps) else { return Ok(()) };
        let shown = picture_of(maps, inputs, (height, width, channels));
        let pixels = |values: &[f64], pixel: fn(&[f64]) -> f64| -> Vec<f64> {
            values.chunks(channels).map(pixel).collect()
        };
        let slope = pixels(&maps.gradient, |c| c.iter().fold(0.0, |most: f64, v| most.max(v.abs())));
        let adds = pixels(&maps.integrated, |c| c.iter().sum());
        self.map(&format!("{name}.saliency"), &shown, &slope, Palette::Rising)?;
        self.map(&format!("{name}.integrated_gradients"), &shown, &adds, Palette::Signed)?;
        if let Some((h, w, map)) = &found.cam {
            self.array(&format!("{name}.grad_cam"), &array(&[*h, *w], map))?;
            let stretched = stretched(map, (*h, *w), (height, width));
            self.map(&format!("{name}.grad_cam"), &shown, &stretched, Palette::Rising)?;
        }
        Ok(())
    }

    /// The input, a map of it, and the map over the input, side by side.
    fn map(&mut self, name: &str, shown: &Picture, values: &[f64], palette: Palette) -> Result<(), Failure> {
        let map = Picture::of_map(shown.height, shown.width, values, palette);
        let scale = palette.scale(values);
        let strength = |x: usize, y: usize| values.get(y * shown.width + x).map_or(0.0, |v| v.abs() / scale);
        let over = shown.under(&map, strength);
        self.picture(name, &Picture::grid(&[shown.clone(), map, over].map(|p| p.to_be_seen()), 3))
    }

    /// Any tensor: its array, and a picture that suits its shape.
    pub fn values(&mut self, name: &str, tensor: &Tensor) -> Result<(), Failure> {
        self.array(name, tensor)?;
        match drawn(&tensor.shape, &tensor.view().to_f64()) {
            Some(picture) => self.picture(name, &picture),
            None => Ok(()),
        }
    }
}

fn without_rows(tensor: &Tensor, rows: bool) -> Tensor {
    let mut tensor = tensor.clone();
    if rows && tensor.shape.first() == Some(&1) {
        tensor.shape.remove(0);
    }
    tensor
}

/// Height, width and channels, where a leaf is a picture.
pub fn image_shape(maps: &LeafMaps) -> Option<(usize, usize, usize)> {
    match maps.shape[..] {
        _ if maps.leaf.embedded => None,
        [h, w, c @ 1..=4] if h > 3 && w > 3 => Some((h, w, c)),
        [h, w] if h > 3 && w > 3 => Some((h, w, 1)),
        _ => None,
    }
}

/// The input as the user gave it, where its shape is the leaf's; else the leaf's numbers.
fn picture_of(
    maps: &LeafMaps,
    inputs: &[Named],
    (height, width, channels): (usize, usize, usize),
) -> Picture {
    let given = inputs.iter().find(|(name, _)| *name == maps.leaf.input).map(|(_, tensor)| tensor);
    match given.filter(|t| t.dtype == weft_runtime::program::DType::U8 && t.data.len() == maps.values.len()) {
        Some(bytes) => Picture::of_values(height, width, channels, &bytes.view().to_f64(), 0.0, 255.0),
        None => {
            let (low, high) = bounds(&maps.values);
            Picture::of_values(height, width, channels, &maps.values, low, high)
        }
    }
}

fn bounds(values: &[f64]) -> (f64, f64) {
    let finite = values.iter().copied().filter(|v| v.is_finite());
    finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
}

/// A map at other extents, linear between its cells' centres.
fn stretched(map: &[f64], (h, w): (usize, usize), (height, width): (usize, usize)) -> Vec<f64> {
    let place = |at: usize, from: usize, to: usize| {
        let at = ((at as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, (from - 1) as f64);
        (at as usize, (at as usize + 1).min(from - 1), at.fract())
    };
    let value = |y: usize, x: usize| map.get(y * w + x).copied().unwrap_or(0.0);
    let pixel = |i: usize| {
        let ((y0, y1, fy), (x0, x1, fx)) = (place(i / width, h, height), place(i % width, w, width));
        let line = |y| value(y, x0) * (1.0 - fx) + value(y, x1) * fx;
        line(y0) * (1.0 - fy) + line(y1) * fy
    };
    if h == 0 || w == 0 { vec![0.0; height * width] } else { (0..height * width).map(pixel).collect() }
}

/// A picture of any tensor: filters `[h, w, in, out]` and channels `[h, w, c]` as tiles, `[heads, t, s]` as a tile each, a matrix as a map,
/// a vector as a strip. All tiles have one scale of colours.
fn drawn(shape: &[usize], values: &[f64]) -> Option<Picture> {
    let palette = Palette::of(values);
    let scale = palette.scale(values);
    // (tile, y, x) → place among the values
    let tiles =
        |count: usize, (height, width): (usize, usize), place: &dyn Fn(usize, usize, usize) -> usize| {
            let (step_y, step_x) = (height.div_ceil(LONGEST).max(1), width.div_ceil(LONGEST).max(1));
            let tile = |t: usize| {
                Picture::from_fn(width.div_ceil(step_x), height.div_ceil(step_y), |x, y| {
                    palette.colour(values.get(place(t, y * step_y, x * step_x)).map_or(0.0, |v| v / scale))
                })
            };
            let shown = count.min(TILES);
            let columns = (shown as f64).sqrt().ceil() as usize;
            let side = if shown > 1 { 4 * 224 / columns.max(1) } else { 448 };
            let factor = (side / height.max(width).max(1)).clamp(1, 32);
            let tiles: Vec<Picture> = (0..shown).map(|t| tile(t).enlarged(factor)).collect();
            Picture::grid(&tiles, columns)
        };
    if shape.contains(&0) {
        return None;
    }
    Some(match *shape {
        [] => return None,
        [n] => tiles(1, (1, n), &|_, _, x| x),
        [h, w] => tiles(1, (h, w), &|_, y, x| y * w + x),
        // Channels come last, heads first: attention's maps are as wide as they are high or wider than there are heads.
        [h, w, c] if h == w || c > 4 * h.min(w) || h > 4 => {
            if w == c && h < w {
                tiles(h, (w, c), &|t, y, x| (t * w + y) * c + x)
            } else {
                tiles(c, (h, w), &|t, y, x| (y * w + x) * c + t)
            }
        }
        [n, h, w] => tiles(n, (h, w), &|t, y, x| (t * h + y) * w + x),
        [h, w, i, o] => tiles(i * o, (h, w), &|t, y, x| ((y * w + x) * i + t / o) * o + t % o),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_stretch_between_their_cells() {
        assert_eq!(stretched(&[0.0, 4.0], (1, 2), (1, 4)), [0.0, 1.0, 3.0, 4.0]);
        assert_eq!(stretched(&[7.0], (1, 1), (2, 2)), [7.0; 4]);
    }

    #[test]
    fn tensors_of_every_shape_are_drawn_or_left() {
        for shape in [&[5][..], &[3, 4], &[2, 9, 9], &[7, 7, 20], &[3, 3, 2, 5], &[3000, 2], &[1, 1]] {
            let values: Vec<f64> = (0..shape.iter().product::<usize>()).map(|i| i as f64 - 3.0).collect();
            let picture = drawn(shape, &values).unwrap();
            assert!(picture.width > 0 && picture.width <= 8192 && picture.height <= 8192, "{shape:?}");
        }
        assert!(drawn(&[], &[1.0]).is_none() && drawn(&[2, 0], &[]).is_none());
        // A head's map is one tile: its corner is the head's first weight.
        let two = [vec![0.0; 9], vec![1.0; 9]].concat();
        let picture = drawn(&[2, 3, 3], &two).unwrap();
        assert_eq!(picture.at(0, 0), Palette::Rising.colour(0.0));
        assert_eq!(picture.at(picture.width - 1, 0), Palette::Rising.colour(1.0));
    }
}
