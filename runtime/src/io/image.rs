//! Pictures of any kind as u8 tensors `[height, width, channels]`, upright.

use std::io::Cursor;
use std::path::Path;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::png;
use crate::error::{Error, Result};
use crate::program::DType;
use crate::tensor::Tensor;

/// Larger images are refused before they are decoded.
pub const MAX_PIXELS: u64 = 64 << 20;

/// Reads a PNG or JPEG image, whatever its name says, with so many channels: 1 (grey), 3 (red, green, blue) or 4 (with alpha).
pub fn read(path: &Path, channels: usize) -> Result<Tensor> {
    decode(path, &super::read(path)?, channels, None)
}

/// The same for the bytes of a file. What has another height and width than those that are wanted is refused by its header: a small
/// file may hold a picture of gigabytes.
pub fn decode(path: &Path, bytes: &[u8], channels: usize, wanted: Option<(usize, usize)>) -> Result<Tensor> {
    let (tensor, orientation) = match bytes.starts_with(&[0xff, 0xd8]) {
        true => jpeg(path, bytes, channels, wanted)?,
        false => png::decode(path, bytes, channels, wanted)?,
    };
    Ok(upright(tensor, orientation))
}

/// Refuses a picture by its size, before any of it is decoded. One that a camera held sideways has the other sides.
pub(super) fn check_size(path: &Path, width: u64, height: u64, wanted: Option<(usize, usize)>) -> Result<()> {
    if width.saturating_mul(height) > MAX_PIXELS {
        let message =
            format!("an image of {width} × {height} pixels is too large (at most {MAX_PIXELS} pixels)");
        return Err(Error::damaged(path, message));
    }
    match wanted.map(|(high, wide)| (high as u64, wide as u64)) {
        Some(wanted) if wanted != (height, width) && wanted != (width, height) => {
            let (high, wide) = wanted;
            let message = format!("an image of {width} × {height} pixels, where {wide} × {high} are wanted");
            Err(Error::damaged(path, message))
        }
        _ => Ok(()),
    }
}

fn jpeg(path: &Path, bytes: &[u8], channels: usize, wanted: Option<(usize, usize)>) -> Result<(Tensor, u16)> {
    png::check_channels(path, channels)?;
    let wrong = |message: String| Error::damaged(path, format!("this image cannot be decoded: {message}"));
    let options =
        DecoderOptions::default().set_strict_mode(true).set_max_width(1 << 16).set_max_height(1 << 16);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| wrong(error.to_string()))?;
    let (width, height) = decoder.dimensions().ok_or_else(|| wrong("it has no size".into()))?;
    check_size(path, width as u64, height as u64, wanted)?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let space = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let pixels = decoder.decode().map_err(|error| wrong(error.to_string()))?;
    let found = if grey { 1 } else { 3 };
    if pixels.len() != width * height * found {
        return Err(wrong("it ends too early".into()));
    }
    // The decoder fills up what is missing at the end; within a scan no other bytes look like its mark or that of the end.
    let last = |mark: [u8; 2]| bytes.windows(2).rposition(|pair| pair == mark);
    if last([0xff, 0xd9]) < last([0xff, 0xda]) {
        return Err(wrong("it ends too early".into()));
    }
    let orientation = decoder.exif().map_or(1, |exif| orientation(exif));
    let data = png::with_channels(pixels, found, channels);
    Ok((Tensor { dtype: DType::U8, shape: vec![height, width, channels], data }, orientation))
}

/// How a camera was held: the orientation tag of EXIF metadata, 1 where there is none.
pub fn orientation(exif: &[u8]) -> u16 {
    find_orientation(exif).filter(|value| (1..=8).contains(value)).unwrap_or(1)
}

fn find_orientation(exif: &[u8]) -> Option<u16> {
    const ORIENTATION: u16 = 0x0112;
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let little = match exif.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = exif.get(at..)?.first_chunk::<2>()?;
        Some(if little { u16::from_le_bytes(*bytes) } else { u16::from_be_bytes(*bytes) })
    };
    let long = |at: usize| {
        let bytes = exif.get(at..)?.first_chunk::<4>()?;
        Some(if little { u32::from_le_bytes(*bytes) } else { u32::from_be_bytes(*bytes) } as usize)
    };
    let table = long(4)?;
    (0..usize::from(short(table)?))
        .map(|entry| table + 2 + 12 * entry)
        .find(|&entry| short(entry) == Some(ORIENTATION))
        .and_then(|entry| short(entry + 8))
}

/// Turns and mirrors an image as its orientation asks for.
fn upright(tensor: Tensor, orientation: u16) -> Tensor {
    let [height, width, channels] = tensor.shape[..] else { return tensor };
    if orientation == 1 {
        return tensor;
    }
    let turned = orientation >= 5;
    let (rows, columns) = if turned { (width, height) } else { (height, width) };
    let mut data = Vec::with_capacity(tensor.data.len());
    for row in 0..rows {
        for column in 0..columns {
            let (y, x) = match orientation {
                2 => (row, width - 1 - column),
                3 => (height - 1 - row, width - 1 - column),
                4 => (height - 1 - row, column),
                5 => (column, row),
                6 => (height - 1 - column, row),
                7 => (height - 1 - column, width - 1 - row),
                _ => (column, width - 1 - row),
            };
            let at = (y * width + x) * channels;
            data.extend_from_slice(&tensor.data[at..at + channels]);
        }
    }
    Tensor { dtype: tensor.dtype, shape: vec![rows, columns, channels], data }
}
