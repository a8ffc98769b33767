use crate::kernels::isa::Level;
use crate::kernels::math::{MathFunction, Random, table_at};
use crate::kernels::random::{bits, key, normal, philox, uniform};

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
    assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    let counter = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
    let key = [0xa409_3822, 0x299f_31d0];
    assert_eq!(philox(counter, key), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
}

#[test]
fn index_state_and_key_enter_the_block_as_documented() {
    let (index, state) = (0x0123_4567_89AB_CDEF_u64, [0x1111_2222_3333_4444, 0x5555_6666_7777_0888]);
    let block = index / 4;
    let counter = [block as u32, (block >> 32) as u32, 0x7777_0888, 0x5555_6666];
    let words = philox(counter, [0x3333_4444 ^ 0xDDEE_FF00, 0x1111_2222 ^ 0x99AA_BBCC]);
    assert_eq!(bits(index, state, 0x99AA_BBCC_DDEE_FF00), words[3]);
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
