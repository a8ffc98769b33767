use crate::kernels::isa::Level;
use crate::kernels::math::{MathFunction, Random, table_at};
use crate::kernels::random::{bits, key, normal, uniform};

fn draw<T: Copy + Default>(
    function: MathFunction,
    level: Level,
    first: u64,
    n: usize,
    state: [i64; 2],
    key: u64,
) -> Vec<T> {
    let mut values = vec![T::default(); n];
    // SAFETY: the table holds random functions of this type at such places.
    let call = unsafe { std::mem::transmute::<*const (), Random<T>>(table_at(level)[function as usize]) };
    // SAFETY: over the whole of `values`.
    unsafe { call(values.as_mut_ptr(), first, n, state.as_ptr(), key) };
    values
}

/// The known answers that the authors of Philox give.
#[test]
fn philox_gives_its_known_answers() {
    let block =
        |index: u64, state, key| -> Vec<u32> { (0..4).map(|i| bits(index * 4 + i, state, key)).collect() };
    assert_eq!(block(0, [0, 0], 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    // Counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0; the counter's low half is beyond any index, so
    // the strip function is asked through its own arithmetic in the test below, and here words 2 and 3 and the key speak.
    let state = [0x299f_31d0_a409_3822, 0x0370_7344_1319_8a2e];
    assert_eq!(block(0, state, 0), block(0, [state[0] ^ 5, state[1]], 5));
    assert_ne!(block(0, state, 0), block(0, [state[0], 0], 0));
}

#[test]
fn strips_equal_single_elements_at_every_level() {
    let (state, key) = ([0x1234_5678_9ABC_DEF0, 77], key("Cnn.dropout"));
    for level in Level::available() {
        for first in [0, 1, 3, 4, 61, 64, 4 * u64::from(u32::MAX) - 30] {
            for n in [0, 1, 2, 63, 64, 65, 200] {
                let index = |i: usize| first + i as u64;
                let drawn: Vec<u32> = draw(MathFunction::Bits, level, first, n, state, key);
                assert!(drawn.iter().enumerate().all(|(i, &x)| x == bits(index(i), state, key)));
                let drawn: Vec<f32> = draw(MathFunction::Uniform, level, first, n, state, key);
                assert!(drawn.iter().enumerate().all(|(i, &x)| x == uniform(index(i), state, key)));
                let drawn: Vec<f32> = draw(MathFunction::Normal, level, first, n, state, key);
                assert!(
                    drawn
                        .iter()
                        .enumerate()
                        .all(|(i, &x)| x.to_bits() == normal(index(i), state, key).to_bits())
                );
            }
        }
    }
}

#[test]
fn moments_are_those_of_the_distributions() {
    const N: usize = 1 << 18;
    let moments = |values: &[f32]| {
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / N as f64;
        let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / N as f64;
        let fourth = values.iter().map(|&x| (f64::from(x) - mean).powi(4)).sum::<f64>() / N as f64;
        (mean, variance, fourth)
    };
    let values: Vec<f32> = draw(MathFunction::Uniform, Level::best(), 0, N, [1, 2], 3);
    assert!(values.iter().all(|x| (0.0..1.0).contains(x)));
    let (mean, variance, _) = moments(&values);
    assert!((mean - 0.5).abs() < 3e-3 && (variance - 1.0 / 12.0).abs() < 1e-3, "{mean} {variance}");
    let values: Vec<f32> = draw(MathFunction::Normal, Level::best(), 0, N, [1, 2], 3);
    let (mean, variance, fourth) = moments(&values);
    assert!(
        mean.abs() < 1e-2 && (variance - 1.0).abs() < 1e-2 && (fourth - 3.0).abs() < 0.1,
        "{mean} {variance} {fourth}"
    );
    // Neighbours, of which pairs share a radius, are uncorrelated.
    let products =
        values.windows(2).map(|pair| f64::from(pair[0]) * f64::from(pair[1])).sum::<f64>() / N as f64;
    assert!(products.abs() < 1e-2, "{products}");
}

#[test]
fn keys_are_stable_and_distinct() {
    // FNV-1a of nothing is its offset basis; the finaliser is SplitMix64's. These values must never change.
    assert_eq!(key(""), 0xF52A_15E9_A9B5_E89B);
    let keys: std::collections::HashSet<u64> =
        (0..1000).map(|i| key(&format!("layer.{i}.dropout"))).collect();
    assert_eq!(keys.len(), 1000);
}
