//! `.png` images as u8 tensors `[height, width, channels]`, read and written.

use std::io::Cursor;
use std::path::Path;

use png::{BitDepth, ColorType, Decoder, Transformations};

use crate::error::{Error, Result};
use crate::program::DType;
use crate::tensor::{Tensor, TensorView};

use super::image::{check_size, orientation};

/// Reads an image with so many channels: 1 (grey), 3 (red, green, blue) or 4 (with alpha). Grey becomes colour by
/// repetition, colour becomes grey by luma (BT.601), and alpha is dropped where it is not asked for.
pub fn read(path: &Path, channels: usize) -> Result<Tensor> {
    decode(path, &super::read(path)?, channels, None).map(|(tensor, _)| tensor)
}

/// Refuses a number of channels that no image has.
pub fn check_channels(path: &Path, channels: usize) -> Result<()> {
    if [1, 3, 4].contains(&channels) {
        return Ok(());
    }
    Err(Error::damaged(path, format!("an image has 1, 3 or 4 channels, not {channels}")))
}

/// Decodes the bytes of a file as it lies there, and says how it is to be turned. See [`super::image::decode`].
pub(super) fn decode(
    path: &Path,
    bytes: &[u8],
    channels: usize,
    wanted: Option<(usize, usize)>,
) -> Result<(Tensor, u16)> {
    let wrong = |message: String| Error::damaged(path, message);
    check_channels(path, channels)?;
    let mut decoder = Decoder::new(Cursor::new(bytes));
    // Palettes and fewer bits become 8-bit grey or colour; 16 bits lose their lower half.
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let not_png = |error: png::DecodingError| wrong(format!("this image cannot be decoded: {error}"));
    let header = decoder.read_header_info().map_err(not_png)?;
    let (width, height) = (header.width, header.height);
    check_size(path, width.into(), height.into(), wanted)?;
    let mut reader = decoder.read_info().map_err(not_png)?;
    let (color, depth) = reader.output_color_type();
    let found = match (color, depth) {
        (ColorType::Grayscale, BitDepth::Eight) => 1,
        (ColorType::GrayscaleAlpha, BitDepth::Eight) => 2,
        (ColorType::Rgb, BitDepth::Eight) => 3,
        (ColorType::Rgba, BitDepth::Eight) => 4,
        other => {
            return Err(wrong(format!(
                "pixels of kind {other:?} cannot be read; save the image as grey or colour with 8 bits"
            )));
        }
    };
    let size = reader.output_buffer_size().ok_or_else(|| wrong("the image is larger than memory".into()))?;
    let mut pixels = vec![0; size];
    reader.next_frame(&mut pixels).map_err(not_png)?;
    let orientation = reader.info().exif_metadata.as_deref().map_or(1, orientation);
    let data = with_channels(pixels, found, channels);
    Ok((
        Tensor { dtype: DType::U8, shape: vec![height as usize, width as usize, channels], data },
        orientation,
    ))
}

/// Pixels of so many channels as pixels of others.
pub fn with_channels(pixels: Vec<u8>, found: usize, channels: usize) -> Vec<u8> {
    if found == channels {
        return pixels;
    }
    let pixels = pixels.chunks_exact(found);
    match channels {
        1 => pixels.map(grey).collect(),
        _ => pixels.flat_map(|pixel| convert(pixel).into_iter().take(channels)).collect(),
    }
}

/// Writes a u8 tensor `[height, width, channels]` of 1, 3 or 4 channels as an image.
pub fn write(path: &Path, image: TensorView<'_>) -> Result<()> {
    super::write_atomically(path, &[&encode(image).map_err(|message| Error::damaged(path, message))?])
}

/// The bytes of an image's file.
pub fn encode(image: TensorView<'_>) -> Result<Vec<u8>, String> {
    let (&[height, width, channels], DType::U8) = (image.shape, image.dtype) else {
        return Err(format!(
            "an image is u8[height, width, channels], not {}{:?}",
            image.dtype.name(),
            image.shape
        ));
    };
    let color = match channels {
        1 => ColorType::Grayscale,
        3 => ColorType::Rgb,
        4 => ColorType::Rgba,
        _ => return Err(format!("an image has 1, 3 or 4 channels, not {channels}")),
    };
    let extent = |extent: usize| u32::try_from(extent).map_err(|_| format!("{extent} pixels are too many"));
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, extent(width)?, extent(height)?);
    encoder.set_color(color);
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|e| e.to_string())?;
    writer.write_image_data(image.data).map_err(|e| e.to_string())?;
    writer.finish().map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// A pixel of any kind as red, green, blue, alpha.
fn convert(pixel: &[u8]) -> [u8; 4] {
    match *pixel {
        [g] => [g, g, g, 255],
        [g, a] => [g, g, g, a],
        [r, g, b] => [r, g, b, 255],
        [r, g, b, a] => [r, g, b, a],
        _ => [0; 4],
    }
}

/// A pixel's brightness. The weights add up to 2¹⁶, so grey stays what it is.
fn grey(pixel: &[u8]) -> u8 {
    let [r, g, b, _] = convert(pixel).map(u32::from);
    ((19595 * r + 38470 * g + 7471 * b + 32768) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::Folder;

    fn encoded(color: ColorType, depth: BitDepth, size: (u32, u32), data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, size.0, size.1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(data).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn every_kind_becomes_the_channels_asked_for() {
        let folder = Folder::new();
        let grey = folder.file("g.png", &encoded(ColorType::Grayscale, BitDepth::Eight, (2, 1), &[7, 200]));
        let rgb =
            folder.file("c.png", &encoded(ColorType::Rgb, BitDepth::Eight, (1, 2), &[255, 0, 0, 9, 9, 9]));
        let rgba = folder.file("a.png", &encoded(ColorType::Rgba, BitDepth::Eight, (1, 1), &[1, 2, 3, 4]));
        let bits =
            folder.file("b.png", &encoded(ColorType::Grayscale, BitDepth::One, (2, 1), &[0b0100_0000]));
        let wide =
            folder.file("w.png", &encoded(ColorType::Grayscale, BitDepth::Sixteen, (1, 1), &[0xab, 0xcd]));

        let tensor = read(&grey, 1).unwrap();
        assert_eq!((tensor.shape.as_slice(), tensor.data.as_slice()), (&[1, 2, 1][..], &[7, 200][..]));
        assert_eq!(read(&grey, 3).unwrap().data, [7, 7, 7, 200, 200, 200]);
        assert_eq!(read(&rgb, 3).unwrap().shape, [2, 1, 3]);
        assert_eq!(read(&rgb, 1).unwrap().data, [76, 9]);
        assert_eq!(read(&rgb, 4).unwrap().data, [255, 0, 0, 255, 9, 9, 9, 255]);
        assert_eq!(read(&rgba, 4).unwrap().data, [1, 2, 3, 4]);
        assert_eq!(read(&rgba, 3).unwrap().data, [1, 2, 3]);
        assert_eq!(read(&bits, 1).unwrap().data, [0, 255]);
        assert_eq!(read(&wide, 1).unwrap().data, [0xab]);
        assert!(read(&wide, 2).unwrap_err().to_string().contains("not 2"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = Folder::new();
        let path = folder.path().join("w.png");
        for channels in [1, 3, 4] {
            let image = Tensor::from_u8(&[3, 2, channels], &(0..6 * channels as u8).collect::<Vec<_>>());
            write(&path, image.view()).unwrap();
            assert_eq!(read(&path, channels).unwrap(), image);
        }
        for shape in [&[3, 2, 2][..], &[6], &[0, 2, 3]] {
            let image = Tensor::from_u8(shape, &vec![0; shape.iter().product()]);
            assert!(write(&path, image.view()).is_err(), "{shape:?}");
        }
    }

    #[test]
    fn damaged_images_are_errors() {
        let folder = Folder::new();
        let good = encoded(ColorType::Rgb, BitDepth::Eight, (16, 16), &[77; 768]);
        for length in 0..good.len() - 12 {
            assert!(read(&folder.file("x.png", &good[..length]), 3).is_err(), "cut at {length}");
        }
        for position in 0..good.len() {
            let mut bytes = good.clone();
            bytes[position] ^= 0x41;
            let _ = read(&folder.file("x.png", &bytes), 3);
        }
        let text = folder.file("x.png", b"hello");
        assert!(read(&text, 3).unwrap_err().to_string().contains("cannot be decoded"));
    }

    #[test]
    fn a_huge_image_is_refused_by_its_header() {
        let folder = Folder::new();
        let mut bytes = encoded(ColorType::Grayscale, BitDepth::Eight, (1, 1), &[0]);
        bytes[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let crc = crc(&bytes[12..29]).to_be_bytes();
        bytes[29..33].copy_from_slice(&crc);
        let error = read(&folder.file("x.png", &bytes), 1).unwrap_err().to_string();
        assert!(error.contains("65536 × 65536 pixels is too large"), "{error}");
    }

    /// The check sum of a PNG chunk, bit by bit.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |sum, &byte| {
            (0..8).fold(sum ^ u32::from(byte), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
        })
    }
}
