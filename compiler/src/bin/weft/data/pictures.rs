//! Rows as pictures: a sheet of them, each as it is beside what a training sees.

use super::rows::{Fields, Seen};
use crate::failure::Failure;
use crate::picture::{Palette, Picture};
use std::path::Path;
use weft_runtime::tensor::Tensor;

/// Columns of a terminal that a picture may take.
const COLUMNS: usize = 96;

/// Is there anything to draw?
pub fn any(rows: &[Seen]) -> bool {
    rows.iter().any(|row| picture(&row.plain).is_some())
}

/// Writes the sheet of some rows and gives it back.
pub fn sheet(rows: &[Seen], path: &Path) -> Result<Picture, Failure> {
    let tiles: Vec<Picture> = rows.iter().filter_map(tile).collect();
    if tiles.is_empty() {
        return Err(Failure::input("no field of a row is a picture, so there is nothing to draw")
            .help("without --out the rows are printed as numbers"));
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| {
            let why = weft_runtime::error::plain(&error);
            Failure::environment(format!("cannot make the folder {}: {why}", folder.display()))
        })?;
    }
    let columns = (tiles.len() as f64).sqrt().ceil() as usize;
    let sheet = Picture::grid(&tiles, columns);
    sheet.save(path)?;
    Ok(sheet)
}

/// One row: as it is, and where a training sees it otherwise, that beside it.
fn tile(row: &Seen) -> Option<Picture> {
    let plain = picture(&row.plain)?;
    let pair = match row.trained.as_ref().and_then(picture) {
        Some(trained) => vec![plain, trained],
        None => vec![plain],
    };
    let side = pair.iter().map(|p| p.width.max(p.height)).max()?;
    let pair: Vec<Picture> = pair.iter().map(|p| p.enlarged((96 / side.max(1)).max(1))).collect();
    Some(Picture::grid(&pair, 2))
}

/// The first field that is a picture.
fn picture(fields: &Fields) -> Option<Picture> {
    fields.iter().find_map(|(_, tensor)| drawn(tensor))
}

/// A row's field as a picture: `[1, height, width, channels]` or `[1, height, width]`, from its smallest to its largest number (bytes and
/// shares from 0 on).
fn drawn(tensor: &Tensor) -> Option<Picture> {
    let (height, width, channels) = match tensor.shape[..] {
        [_, h, w, c @ 1..=4] if h > 3 && w > 3 => (h, w, c),
        [_, h, w] if h > 3 && w > 3 => (h, w, 1),
        _ => return None,
    };
    let values = tensor.view().to_f64();
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    Some(match (low >= 0.0, high) {
        (true, ..=1.0) => Picture::of_values(height, width, channels, &values, 0.0, 1.0),
        (true, 1.0..=255.0) => Picture::of_values(height, width, channels, &values, 0.0, 255.0),
        _ if channels == 1 && low < 0.0 => Picture::of_map(height, width, &values, Palette::Signed),
        _ => Picture::of_values(height, width, channels, &values, low, high),
    })
}

/// A picture as coloured half blocks, two rows of pixels a line.
pub fn blocks(picture: &Picture) -> String {
    let step = picture.width.div_ceil(COLUMNS).max(1);
    let mut text = String::new();
    for y in (0..picture.height / step).step_by(2) {
        for x in 0..picture.width / step {
            let [r, g, b] = picture.at(x * step, y * step);
            let [r2, g2, b2] = picture.at(x * step, ((y + 1) * step).min(picture.height - 1));
            text += &format!("\x1b[38;2;{r};{g};{b}m\x1b[48;2;{r2};{g2};{b2}m▀");
        }
        text += "\x1b[0m\n";
    }
    text
}
