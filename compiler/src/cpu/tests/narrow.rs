//! Weights that are kept narrow, against the evaluator on the values that they stand for.

use super::{Given, check, module};
use crate::graph::text::parse;
use crate::graph::{DType, Entry, Graph, Module, Variable};
use crate::passes::{self, narrow};
use crate::plan::{self, Kernel};
use weft_runtime::program::{VariableKind, scale_path};
use weft_runtime::weights::quantised::quantise;

/// A matrix multiplied by `n` rows, and its transpose; a table that rows are taken from and that logits are computed with; a bias.
const TEXT: &str = r#"graph predict
%w = variable : f32[72, 100]
%t = variable : f32[90, 72]
%b = variable : f32[100]
%i = input : i32[n]
%x = input : f32[n, 72]
%rows = gather %t, %i {axis=0} : f32[n, 72]
%sum = add %rows, %x : f32[n, 72]
%h = contract %sum, %w {batch=[], sum=[(1, 0)]} : f32[n, 100]
%bias = broadcast %b {axes=[1]} : f32[n, 100]
%y = add %h, %bias : f32[n, 100]
%back = contract %y, %w {batch=[], sum=[(1, 1)]} : f32[n, 72]
%turned = transpose %t {permutation=[1, 0]} : f32[72, 90]
%logits = contract %sum, %turned {batch=[], sum=[(1, 0)]} : f32[n, 90]
output "y" = %y
output "back" = %back
output "logits" = %logits
"#;

fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut rng = crate::graph::random::Rng::new(seed);
    (0..count).map(|_| f64::from((rng.unit() * 2.0 - 1.0) as f32)).collect()
}

fn weights(module: &Module) -> Vec<(Variable, Given)> {
    let mut given: Vec<(Variable, Given)> = Vec::new();
    for variable in &module.variables {
        let shape: Vec<usize> =
            variable.ty.shape.iter().map(|extent| extent.as_constant().unwrap() as usize).collect();
        let wide = numbers(shape.iter().product(), shape.iter().sum::<usize>() as u64);
        let mut push = |path: &str, dtype, shape: &[usize], values| {
            let variable = module.variables.iter().find(|v| v.path == path).unwrap().clone();
            given.push((variable, Given { name: path.into(), dtype, shape: shape.to_vec(), values }));
        };
        match variable.ty.dtype {
            DType::I8 => {
                let wide: Vec<f32> = wide.iter().map(|v| *v as f32).collect();
                let found = quantise(&wide, &shape, &variable.channels, None);
                push(&variable.path, DType::I8, &shape, found.values.iter().map(|v| f64::from(*v)).collect());
                let scales: Vec<usize> = variable.channels.iter().map(|axis| shape[*axis]).collect();
                let values = found.scales.iter().map(|v| f64::from(*v)).collect();
                push(&scale_path(&variable.path), DType::F32, &scales, values);
            }
            DType::BF16 => {
                let values = wide.iter().map(|v| half::bf16::from_f64(*v).to_f64()).collect();
                push(&variable.path, DType::BF16, &shape, values);
            }
            _ if variable.kind == VariableKind::Scale => {}
            dtype => push(&variable.path, dtype, &shape, wide),
        }
    }
    given
}

/// The module of [`TEXT`], for about so many rows, with weights of a type.
fn narrowed(rows: i64, dtype: DType) -> Module {
    let mut graph = parse(TEXT).unwrap_or_else(|e| panic!("{e:?}"));
    graph.bounds = vec![("n".into(), rows)];
    let named =
        |path: &str, shape: &[usize]| super::variable(path, shape, VariableKind::Weight, DType::F32, 1.0).0;
    let variables = vec![named("w", &[72, 100]), named("t", &[90, 72]), named("b", &[100])];
    narrow::weights(&module(&graph, variables), dtype)
}

fn optimized(module: &Module) -> Graph {
    passes::optimize(&module.entries[0].graph)
}

#[test]
fn narrow_weights_agree_with_the_evaluator() {
    for dtype in [DType::BF16, DType::I8] {
        for bound in [1, 64] {
            let module = narrowed(bound, dtype);
            let graph = optimized(&module);
            for rows in [1, 3, 4, 5, 8, 50] {
                let indices = (0..rows).map(|i| (i * 37 % 90) as f64).collect();
                let given = [
                    Given { name: "i".into(), dtype: DType::I32, shape: vec![rows], values: indices },
                    Given {
                        name: "x".into(),
                        dtype: DType::F32,
                        shape: vec![rows, 72],
                        values: numbers(rows * 72, 5),
                    },
                ];
                check(&graph, &given, &weights(&module))
                    .unwrap_or_else(|why| panic!("{} {bound} {rows}: {why}", dtype.name()));
            }
        }
    }
}

#[test]
fn contractions_read_narrow_weights_as_they_are() {
    for dtype in [DType::BF16, DType::I8] {
        for bound in [1, 64] {
            let module = narrowed(bound, dtype);
            let entry = Entry { graph: optimized(&module), inputs: module.entries[0].inputs.clone() };
            let plan = plan::plan(&entry, &module.variables).unwrap();
            let text = plan::text::print(&plan);
            let launches: Vec<_> = plan.segments.iter().flat_map(plan::Segment::launches).collect();
            let kept = launches.iter().filter_map(|launch| match &launch.kernel {
                Kernel::Contraction { kept, .. } => Some(*kept),
                _ => None,
            });
            // The scales of `w` go with its columns: what is multiplied by its transpose is widened first.
            let back = if dtype == DType::I8 { DType::F32 } else { DType::BF16 };
            let mut kept: Vec<&str> = kept.map(DType::name).collect();
            let mut wanted = vec![dtype.name(), back.name(), dtype.name()];
            kept.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(kept, wanted, "{text}");
            // Nobody reads the table in f32, and no copy of it is there.
            let wide = plan.buffers.iter().filter(|buffer| {
                buffer.storage != plan::Storage::Unused
                    && buffer.dtype == DType::F32
                    && buffer.elements.as_constant() == Some(90 * 72)
            });
            assert_eq!(wide.count(), 0, "{text}");
        }
    }
}

#[test]
fn what_is_small_or_not_multiplied_is_left_as_it_is() {
    let module = narrowed(1, DType::I8);
    let of = |path: &str| module.variables.iter().find(|v| v.path == path).unwrap();
    assert_eq!((of("w").ty.dtype, &of("w").channels[..]), (DType::I8, &[1][..]));
    assert_eq!((of("t").ty.dtype, &of("t").channels[..]), (DType::I8, &[0][..]));
    assert_eq!(of("b").ty.dtype, DType::F32);
    assert_eq!(of(&scale_path("t")).kind, VariableKind::Scale);
}
