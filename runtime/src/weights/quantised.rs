//! Weights of i8: whole numbers from -127 to 127, and a scale for each channel.
//!
//! The scale of a channel is that of its largest value, or, where it is told how much each of the values matters, the one out of some smaller
//! ones with the least error: a few large values are then cut off for the sake of all others. What matters is the mean square of what a value
//! is multiplied by ([`Matter`]), for the error of a sum over independent terms is the sum of their errors (Banner et al. 2019, "Post training
//! 4-bit quantization of convolutional networks for rapid-deployment").

use std::thread;

/// The largest number.
const LARGEST: f32 = 127.0;
/// Scales that are tried: the largest value's, and so many smaller ones, down to half of it.
const TRIED: usize = 32;
/// Values that are worth a thread.
const SHARE: usize = 1 << 20;

/// What the values of one channel are multiplied by: its mean square, in the order of the axes that are no channels.
pub type Matter<'a> = Option<&'a [f32]>;

/// A quantised weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantised {
    /// In the weight's own order.
    pub values: Vec<i8>,
    /// Row-major over the channels' axes.
    pub scales: Vec<f32>,
}

/// Quantises a row-major weight; `channels` are axes of `shape`, in order. A `matter` of another length than a channel's is passed over.
pub fn quantise(weight: &[f32], shape: &[usize], channels: &[usize], matter: Matter<'_>) -> Quantised {
    let split = |wanted: bool| -> Vec<(usize, usize)> {
        let step = |axis: usize| shape[axis + 1..].iter().product::<usize>();
        (0..shape.len())
            .filter(|axis| channels.contains(axis) == wanted)
            .map(|axis| (shape[axis], step(axis)))
            .collect()
    };
    let starts = offsets(&split(true));
    let within = offsets(&split(false));
    let matter = matter.filter(|matter| matter.len() == within.len());
    let mut quantised = Quantised { values: vec![0; weight.len()], scales: vec![0.0; starts.len()] };
    let threads = (weight.len() / SHARE).clamp(1, thread::available_parallelism().map_or(1, usize::from));
    let share = starts.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        for (starts, scales) in starts.chunks(share).zip(quantised.scales.chunks_mut(share)) {
            let within = &within;
            scope.spawn(move || {
                for (start, scale) in starts.iter().zip(scales) {
                    *scale = self::scale(within.iter().map(|at| weight[start + at]), matter);
                }
            });
        }
    });
    for (start, scale) in starts.iter().zip(&quantised.scales) {
        for at in &within {
            quantised.values[start + at] = step(weight[start + at], *scale);
        }
    }
    quantised
}

/// Where the elements of some axes (extent and step) lie, row-major.
fn offsets(axes: &[(usize, usize)]) -> Vec<usize> {
    let mut all = vec![0];
    for (extent, step) in axes {
        all = all.iter().flat_map(|at| (0..*extent).map(move |i| at + i * step)).collect();
    }
    all
}

/// The number that a value becomes.
fn step(value: f32, scale: f32) -> i8 {
    (value / scale).round_ties_even().clamp(-LARGEST, LARGEST) as i8
}

/// The scale of a channel.
fn scale(channel: impl Iterator<Item = f32> + Clone, matter: Matter<'_>) -> f32 {
    let largest = channel.clone().fold(0.0f32, |most, value| most.max(value.abs()));
    // A channel of zeros has some scale.
    let whole = largest.max(f32::MIN_POSITIVE * LARGEST) / LARGEST;
    let Some(matter) = matter else { return whole };
    let error = |scale: f32| -> f64 {
        let terms = channel.clone().zip(matter).map(|(value, matter)| {
            let off = f64::from(value) - f64::from(step(value, scale)) * f64::from(scale);
            f64::from(*matter) * off * off
        });
        terms.sum()
    };
    let smaller = (0..=TRIED).map(|i| whole * (1.0 - i as f32 / (2 * TRIED) as f32));
    let best = smaller
        .map(|scale| (error(scale), scale))
        .reduce(|best, next| if next.0 < best.0 { next } else { best });
    best.map_or(whole, |(_, scale)| scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count as u64).map(|i| crate::kernels::random::uniform(i, [7, 0], 1) * 2.0 - 1.0).collect()
    }

    #[test]
    fn every_value_is_within_half_a_step_of_its_own_channel() {
        let shape = [5, 3, 4];
        let weight = numbers(60);
        for channels in [vec![0], vec![2], vec![0, 2], vec![]] {
            let Quantised { values, scales } = quantise(&weight, &shape, &channels, None);
            let mut steps = vec![0; 3];
            let mut count = 1;
            for axis in channels.iter().rev() {
                steps[*axis] = count;
                count *= shape[*axis];
            }
            assert_eq!(scales.len(), count);
            for (at, (value, number)) in weight.iter().zip(&values).enumerate() {
                let index = [at / 12, at / 4 % 3, at % 4];
                let scale = scales[index.iter().zip(&steps).map(|(i, step)| i * step).sum::<usize>()];
                assert!((value - f32::from(*number) * scale).abs() <= 0.5001 * scale, "{at}");
            }
        }
        let none = quantise(&[0.0; 8], &[4, 2], &[1], None);
        assert!(none.values.iter().all(|v| *v == 0) && none.scales.iter().all(|s| *s > 0.0));
    }

    #[test]
    fn what_matters_decides_what_is_cut_off() {
        // One large value that nothing is ever multiplied by, among many small ones.
        let mut weight = numbers(512);
        weight[100] = 1.9;
        let mut matter = vec![1.0; 512];
        let error = |quantised: &Quantised, matter: &[f32]| -> f64 {
            let terms = weight.iter().zip(&quantised.values).zip(matter).map(|((value, number), matter)| {
                f64::from(*matter) * f64::from(value - f32::from(*number) * quantised.scales[0]).powi(2)
            });
            terms.sum()
        };
        matter[100] = 0.0;
        let (told, plain) =
            (quantise(&weight, &[512, 1], &[1], Some(&matter)), quantise(&weight, &[512, 1], &[1], None));
        assert!(told.scales[0] < 0.6 * plain.scales[0]);
        assert!(error(&told, &matter) < 0.5 * error(&plain, &matter));
        // Where it matters as much as all others, it stays.
        let even = quantise(&weight, &[512, 1], &[1], Some(&[1.0; 512]));
        assert!(error(&even, &[1.0; 512]) <= error(&plain, &[1.0; 512]));
    }
}
