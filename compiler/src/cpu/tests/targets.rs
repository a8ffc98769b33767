//! Code for other processors of this architecture: the same bits, and nothing of what they lack.

use super::{module, run_program, tensor};
use crate::cpu::{Compilation, Target, compile};
use crate::graph::op::Binary;
use crate::graph::random::{self, Given, Options};
use crate::graph::{Builder, DType, Dim, TensorType};
use proptest::prelude::*;
use std::sync::Arc;
use weft_runtime::execute::Session;

/// `x·y + z`, `z - x·y` and `x mod y`, of vectors and, where a row is one number, of scalars.
fn products(columns: i64) -> crate::graph::Graph {
    let mut b = Builder::new("products");
    let ty = TensorType::new(DType::F32, [Dim::symbol("n"), Dim::constant(columns)]);
    let [x, y, z] = ["x", "y", "z"].map(|name| b.input(name, ty.clone()).unwrap());
    let product = b.binary(Binary::Mul, x, y).unwrap();
    let sum = b.binary(Binary::Add, product, z).unwrap();
    let product = b.binary(Binary::Mul, x, y).unwrap();
    let difference = b.binary(Binary::Sub, z, product).unwrap();
    let rest = b.binary(Binary::Rem, x, y).unwrap();
    b.graph.outputs = vec![("sum".into(), sum), ("difference".into(), difference), ("rest".into(), rest)];
    b.graph.bounds = vec![("n".into(), 4096)];
    b.graph
}

/// Bits of f32 of all sizes, and sums that nearly cancel.
fn numbers(count: usize, mut seed: u64) -> [Vec<f32>; 3] {
    let mut bits = move || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 32) as u32
    };
    let mut lists: [Vec<f32>; 3] = Default::default();
    for at in 0..count {
        let (x, y) = match at % 3 {
            0 => (f32::from_bits(bits()), f32::from_bits(bits())),
            _ => (f32::from_bits(bits() >> 9 | 0x3f80_0000), f32::from_bits(bits() >> 9 | 0x3f80_0000)),
        };
        let near = f32::from_bits((x * y).to_bits().wrapping_add(bits() % 3));
        let small = f32::from_bits(near.to_bits().saturating_sub((bits() % 40) << 23) & 0xffff_fffe);
        let z = [f32::from_bits(bits()), -near, small][at % 3];
        for (list, value) in lists.iter_mut().zip([x, y, z]) {
            list.push(value);
        }
    }
    lists
}

#[test]
fn products_and_sums_are_rounded_once_without_fma_too() {
    for columns in [1, 7, 64] {
        let count = 4096 * columns;
        let lists = numbers(count, columns as u64);
        let module = module(&products(columns as i64), Vec::new());
        let results = [Target::Host, Target::Baseline].map(|target| {
            let mut session = Session::new(Arc::new(compile(&module, target).unwrap()), 1).unwrap();
            let inputs: Vec<_> = lists
                .iter()
                .map(|list| {
                    let mut tensor = tensor(DType::F32, &[4096, columns], &vec![0.0; count]);
                    tensor.data = list.iter().flat_map(|x| x.to_le_bytes()).collect();
                    tensor
                })
                .collect();
            let views: Vec<_> = inputs.iter().map(weft_runtime::tensor::Tensor::view).collect();
            let outputs = session.run(0, &views).unwrap();
            let list: Vec<Vec<f32>> = outputs
                .iter()
                .map(|(_, view)| {
                    view.data.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
                })
                .collect();
            list
        });
        let [here, baseline] = results;
        for (name, (here, baseline)) in ["sum", "difference", "rest"].iter().zip(here.iter().zip(&baseline)) {
            for at in 0..count {
                let (a, b) = (here[at], baseline[at]);
                let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                let [x, y, z] = [0, 1, 2].map(|list| lists[list][at]);
                assert!(same, "{name} of {x:e}, {y:e}, {z:e}: {a:e} here, {b:e} without FMA");
            }
        }
    }
}

/// Instructions of AVX begin with a `v` in assembly.
#[test]
#[cfg(target_arch = "x86_64")]
fn baseline_code_uses_nothing_of_avx() {
    let compilation = Compilation::new(&module(&products(64), Vec::new()), Target::Baseline).expect("plans");
    let avx = |target| {
        let text = crate::cpu::asm_text(&compilation.plans[0], target).expect("lowers");
        text.lines().any(|line| line.trim_start().starts_with('v'))
    };
    assert!(avx(Target::Host));
    assert!(!avx(Target::Baseline));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn random_graphs_give_the_same_bits_on_all_targets(seed: u64) {
        let case = random::case(seed, Options { steps: 25, smooth: false, loops: true });
        let module = module(&case.graph, Vec::new());
        let bits = |target| {
            let program = Arc::new(compile(&module, target).map_err(|error| error.to_string())?);
            let given: &[Given] = &case.inputs;
            let results = run_program(&module, program, given, &[], 1)?;
            // A NaN's bits are no number's.
            let plain = |x: f64| if x.is_nan() { u64::MAX } else { x.to_bits() };
            Ok(results.into_iter().map(|(_, _, _, list)| list.into_iter().map(plain).collect()).collect())
        };
        let here: Result<Vec<Vec<u64>>, String> = bits(Target::Host);
        prop_assert_eq!(&bits(Target::Baseline), &here);
        prop_assert_eq!(&bits(Target::Native), &here);
    }
}
