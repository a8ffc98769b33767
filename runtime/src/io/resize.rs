//! Pictures in another size: a tent over the pixels that fall onto each new one, so that shrinking takes the mean of an area and
//! enlarging goes straight from pixel to pixel.

use crate::tensor::Tensor;

/// A picture `[height, width, channels]` of bytes as the source `images` brings it to another size.
pub fn resized(picture: &Tensor, height: usize, width: usize) -> Tensor {
    let [from_height, from_width, channels] = picture.shape[..] else { return picture.clone() };
    let data = resize(&picture.data, (from_height, from_width), (height, width), channels);
    Tensor { dtype: picture.dtype, shape: vec![height, width, channels], data }
}

/// A picture of rows of pixels of bytes, in another size. Its bits are the same everywhere: sums are of whole numbers.
pub fn resize(pixels: &[u8], from: (usize, usize), to: (usize, usize), channels: usize) -> Vec<u8> {
    if from == to {
        return pixels.to_vec();
    }
    let ((height, width), (new_height, new_width)) = (from, to);
    // First along rows, as bytes again, then along columns.
    let across = taps(width, new_width);
    let mut middle = Vec::with_capacity(height * new_width * channels);
    for row in pixels.chunks_exact(width * channels) {
        for tap in &across {
            for channel in 0..channels {
                let at = |place: usize| row[(tap.first + place) * channels + channel];
                middle.push(tap.sum(at));
            }
        }
    }
    let width = new_width * channels;
    let mut new = Vec::with_capacity(new_height * width);
    for tap in taps(height, new_height) {
        for column in 0..width {
            new.push(tap.sum(|place| middle[(tap.first + place) * width + column]));
        }
    }
    new
}

/// The pixels that make a new one, with their weights.
struct Tap {
    first: usize,
    weights: Vec<i32>,
}

/// Weights are in 22nds of a bit; with bytes, sums stay inside of 32.
const BITS: u32 = 22;

impl Tap {
    fn sum(&self, at: impl Fn(usize) -> u8) -> u8 {
        let half = 1 << (BITS - 1);
        let sum =
            self.weights.iter().enumerate().map(|(place, weight)| weight * i32::from(at(place))).sum::<i32>();
        ((sum + half) >> BITS).clamp(0, 255) as u8
    }
}

fn taps(from: usize, to: usize) -> Vec<Tap> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    (0..to)
        .map(|place| {
            let center = (place as f64 + 0.5) * scale;
            let first = ((center - reach + 0.5).floor().max(0.0)) as usize;
            let end = ((center + reach + 0.5).floor() as usize).min(from).max(first + 1);
            let tent = |pixel: usize| (1.0 - ((pixel as f64 + 0.5 - center) / reach).abs()).max(0.0);
            let total: f64 = (first..end).map(tent).sum();
            let weight = |pixel: usize| (tent(pixel) / total * f64::from(1 << BITS)).round() as i32;
            Tap { first, weights: (first..end).map(weight).collect() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_takes_means_and_enlarging_goes_straight() {
        // What Pillow's `resize(…, BILINEAR)` gives.
        assert_eq!(resize(&[0, 100, 200, 100], (1, 4), (1, 2), 1), [71, 143]);
        assert_eq!(resize(&[0, 100], (1, 2), (1, 4), 1), [0, 25, 75, 100]);
        assert_eq!(resize(&[10, 20, 30, 40], (2, 2), (1, 1), 1), [25]);
        assert_eq!(resize(&[1, 2, 3, 4, 5, 6], (1, 2), (1, 1), 3), [3, 4, 5]);
        assert_eq!(resize(&[7; 300], (10, 10), (3, 7), 3), [7; 63]);
    }
}
