//! Half-width floats against the evaluator: every number of 16 bits widens exactly, every f32 rounds to the nearest, ties to even.

use super::{Given, check, module, run};
use crate::graph::text::parse;
use crate::graph::{DType, Graph};
use crate::passes;

fn graph(text: &str) -> Graph {
    passes::optimize(&parse(text).unwrap_or_else(|e| panic!("{e:?}")))
}

fn given(name: &str, dtype: DType, shape: &[usize], values: Vec<f64>) -> Given {
    Given { name: name.into(), dtype, shape: shape.to_vec(), values }
}

/// All numbers of the type that are no NaN. (Those of bf16 that f32 holds as denormals are flushed to zero while a program runs.)
fn numbers(dtype: DType) -> Vec<f64> {
    let number = |bits: u16| match dtype {
        DType::F16 => half::f16::from_bits(bits).to_f64(),
        _ => half::bf16::from_bits(bits).to_f64(),
    };
    let usual = |v: &f64| !v.is_nan() && (*v == 0.0 || v.abs() >= f64::from(f32::MIN_POSITIVE));
    (0..=u16::MAX).map(number).filter(usual).collect()
}

/// The results of a graph of one input and one output, for vectors (a row of them) and for scalars (strided, which are read one by one).
fn result(graph: &Graph, input: Given) -> Vec<f64> {
    let results = run(&module(graph, Vec::new()), &[input], &[], 1).unwrap();
    results.into_iter().next().unwrap().3
}

#[test]
fn every_number_of_sixteen_bits_widens_exactly() {
    for dtype in [DType::F16, DType::BF16] {
        let name = dtype.name();
        let numbers = numbers(dtype);
        let count = numbers.len();
        for (shape, expected) in [(vec![count], numbers.clone()), (vec![1, count], numbers.clone())] {
            let dims = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            let text = format!(
                "graph predict\n%x = input : {name}[{dims}]\n%y = cast %x : f32[{dims}]\noutput \"y\" = %y\n"
            );
            assert_eq!(result(&graph(&text), given("x", dtype, &shape, numbers.clone())), expected);
        }
    }
}

#[test]
fn every_number_between_rounds_to_the_nearest() {
    for dtype in [DType::F16, DType::BF16] {
        let name = dtype.name();
        let narrow = |v: f32| match dtype {
            DType::F16 => half::f16::from_f32(v).to_f64(),
            _ => half::bf16::from_f32(v).to_f64(),
        };
        // Each number itself, the middle to the next one, and what is just below and above that.
        let mut values = vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 65519.9, 65520.0, -1e30];
        for pair in numbers(dtype).windows(2) {
            let middle = ((pair[0] + pair[1]) / 2.0) as f32;
            let near = [pair[0] as f32, middle, middle.next_down(), middle.next_up()];
            let usual = |v: &&f32| v.is_finite() && (v.abs() >= f32::MIN_POSITIVE || **v == 0.0);
            values.extend(near.iter().filter(usual).map(|v| f64::from(*v)));
        }
        let expected: Vec<f64> = values.iter().map(|v| narrow(*v as f32)).collect();
        let count = values.len();
        // Stored narrow from vectors, and as scalars every other place of a row apart.
        let text = format!(
            "graph predict\n%x = input : f32[{count}]\n%y = cast %x : {name}[{count}]\noutput \"y\" = %y\n"
        );
        let got = result(&graph(&text), given("x", DType::F32, &[count], values.clone()));
        for ((value, got), want) in values.iter().zip(&got).zip(&expected) {
            assert!(
                got == want || got.is_nan() && want.is_nan(),
                "{name}: {value:e} becomes {got:e}, not {want:e}"
            );
        }
        let text = format!(
            "graph predict\n%x = input : f32[{count}, 1]\n%w = broadcast %x {{axes=[0, 1]}} : f32[{count}, 3]\n\
             %y = cast %w : {name}[{count}, 3]\n%z = transpose %y {{permutation=[1, 0]}} : {name}[3, {count}]\noutput \"y\" = %z\n"
        );
        let got = result(&graph(&text), given("x", DType::F32, &[count, 1], values.clone()));
        for ((value, got), want) in values.iter().zip(&got).zip(&expected) {
            assert!(
                got == want || got.is_nan() && want.is_nan(),
                "{name}: {value:e} becomes {got:e}, not {want:e}"
            );
        }
    }
}

#[test]
fn arithmetic_rounds_after_each_operation() {
    for name in ["bf16", "f16"] {
        let text = format!(
            r#"graph predict
%x = input : {name}[7, 5]
%w = input : {name}[5, 9]
%rows = input : i32[3]
%c = constant 0.1 : {name}[]
%tenth = broadcast %c {{axes=[]}} : {name}[7, 9]
%y = contract %x, %w {{batch=[], sum=[(1, 0)]}} : {name}[7, 9]
%z = mul %y, %tenth : {name}[7, 9]
%e = exp %z : {name}[7, 9]
%wide = cast %e : f32[7, 9]
%s = reduce_sum %e {{axes=[1]}} : {name}[7]
%g = gather %e, %rows {{axis=0}} : {name}[3, 9]
%p = pad %g {{amounts=[(1, 0), (0, 2)], value=1.5}} : {name}[4, 11]
%j = concat %p, %p {{axis=0}} : {name}[8, 11]
%big = gt %y, %z : bool[7, 9]
%most = arg_max %z {{axes=[1]}} : i32[7]
output "wide" = %wide
output "sum" = %s
output "placed" = %j
output "big" = %big
output "most" = %most
"#
        );
        let dtype = if name == "f16" { DType::F16 } else { DType::BF16 };
        let some = |count: usize| {
            (0..count)
                .map(|i| f64::from(half::bf16::from_f64(((i * 37 % 23) as f64 - 11.0) / 16.0)))
                .collect()
        };
        let inputs = [
            given("x", dtype, &[7, 5], some(35)),
            given("w", dtype, &[5, 9], some(45)),
            given("rows", DType::I32, &[3], vec![6.0, 0.0, 2.0]),
        ];
        check(&graph(&text), &inputs, &[]).unwrap_or_else(|why| panic!("{name}: {why}"));
    }
}
