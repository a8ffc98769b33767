//! Products, convolutions, attention and kernels that move by index on a GPU (here an interpreter of their kernels), at sizes where tiles end
//! early and with operands that lie in every way, against the evaluator; and products in narrower numbers, within what these round to.
//! Without NVRTC there is nothing to run; see [`weft_tests::cuda`].

use std::sync::Arc;
use weft_compiler::cuda::Math;
use weft_compiler::evaluate::{Value, Values, evaluate};
use weft_compiler::graph::random::Rng;
use weft_compiler::graph::text::parse;
use weft_compiler::graph::{Entry, Module, Op};
use weft_runtime::execute::Session;
use weft_runtime::program::{DType, InputSource};
use weft_runtime::tensor::Tensor;
use weft_tests::cuda;

/// An operand's largest error, of its own size, in such numbers; sums of such products are no worse.
fn rounding(math: Math) -> f64 {
    match math {
        Math::F32 => 1e-5,
        Math::Tf32 => 1e-3,
        Math::Bf16 => 8e-3,
    }
}

/// Runs a graph whose symbols have these values on the GPU, and compares its outputs with the evaluator's: floats by what the operands are
/// rounded to, whose products are added up over `sum` elements of up to 1.
fn agrees(text: &str, symbols: &[(&str, i64)], math: Math, sum: f64) {
    let graph = parse(&format!("graph products\n{text}")).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    let bind = |name: &str| symbols.iter().find(|(symbol, _)| *symbol == name).map(|(_, value)| *value);
    let mut rng = Rng::new(text.len() as u64);
    let (mut inputs, mut given, mut values) = (Vec::new(), Vec::new(), Values::<f64>::new());
    for node in &graph.nodes {
        let Op::Input(name) = &node.op else { continue };
        let shape: Vec<usize> = node
            .ty
            .shape
            .iter()
            .map(|d| d.evaluate(&bind).expect("its symbols are known") as usize)
            .collect();
        let mut data = Vec::new();
        let numbers: Vec<f64> = (0..shape.iter().product())
            .map(|_| {
                let value = match node.ty.dtype {
                    DType::F32 => f64::from((2.0 * rng.unit() - 1.0) as f32),
                    DType::Bool => f64::from(u8::from(rng.below(4) > 0)),
                    _ => rng.below(12) as f64,
                };
                match node.ty.dtype {
                    DType::F32 => data.extend((value as f32).to_le_bytes()),
                    DType::Bool => data.push(value as u8),
                    DType::I32 => data.extend((value as i32).to_le_bytes()),
                    other => panic!("no input of {}", other.name()),
                }
                value
            })
            .collect();
        let value = Value::from_f64(node.ty.dtype, &shape, &numbers).expect("the elements fill the shape");
        values.insert(name.clone(), value);
        given.push(Tensor { dtype: node.ty.dtype, shape, data });
        inputs.push((name.clone(), node.ty.clone(), InputSource::Caller));
    }
    let wanted = evaluate(&graph, &values, &Values::new()).unwrap_or_else(|e| panic!("{text}: {e}")).outputs;
    let module =
        Module { name: "products".into(), entries: vec![Entry { graph, inputs }], ..Module::default() };
    let program = Arc::new(cuda::program_in(&module, math));
    let mut session = Session::new(program, 1).unwrap_or_else(|e| panic!("{text}: {e}"));
    let views: Vec<_> = given.iter().map(Tensor::view).collect();
    let outputs = session.run(0, &views).unwrap_or_else(|e| panic!("{text}: {e}"));
    for (name, view) in outputs.iter() {
        let (wanted, got) = (wanted[name].to_f64(), view.to_f64());
        assert_eq!(wanted.len(), got.len());
        let slack = if view.dtype.is_float() { rounding(math) * sum } else { 0.0 };
        for (place, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
            let near = wanted == got || (wanted - got).abs() <= slack;
            assert!(near, "{math:?}, `{name}`, element {place}: {got}, not {wanted}, of\n{text}");
        }
    }
}

const ALL: [Math; 3] = [Math::F32, Math::Tf32, Math::Bf16];

#[test]
fn products_of_operands_that_lie_in_every_way() {
    if !cuda::is_ready() {
        return;
    }
    let product = |x: &str, w: &str, y: &str, sum: &str| {
        format!(
            "%0 = input \"x\" : f32[{x}]\n%1 = input \"w\" : f32[{w}]\n\
             %2 = contract %0, %1 {{batch=[], sum=[{sum}]}} : f32[{y}]\noutput \"y\" = %2"
        )
    };
    for math in ALL {
        for (k, m) in [(36, 52), (35, 51)] {
            agrees(
                &product(&format!("n, {k}"), &format!("{k}, {m}"), &format!("n, {m}"), "(1, 0)"),
                &[("n", 37)],
                math,
                36.0,
            );
            agrees(
                &product(&format!("n, {k}"), &format!("{m}, {k}"), &format!("n, {m}"), "(1, 1)"),
                &[("n", 70)],
                math,
                36.0,
            );
            agrees(
                &product(&format!("{k}, n"), &format!("{k}, {m}"), &format!("n, {m}"), "(0, 0)"),
                &[("n", 130)],
                math,
                36.0,
            );
        }
        // Large tiles, axes that do not collapse, a sum in parts.
        let large = format!("bound n <= 4096\n{}", product("n, 64", "64, 1024", "n, 1024", "(1, 0)"));
        agrees(&large, &[("n", 130)], math, 64.0);
        agrees(&product("n, 12, 8", "8, 12, 24", "n, 24", "(2, 0), (1, 1)"), &[("n", 9)], math, 96.0);
        agrees(&product("5, 20, 7", "20, 12", "5, 7, 12", "(1, 0)"), &[], math, 20.0);
        let deep = format!("bound n <= 4096\n{}", product("n, 8", "n, 12", "8, 12", "(0, 0)"));
        agrees(&deep, &[("n", 1000)], math, 1000.0);
        let batch = "%0 = input \"x\" : f32[n, 9, 3, 20]\n%1 = input \"w\" : f32[n, 3, 20, 12]\n\
                     %2 = contract %0, %1 {batch=[(0, 0), (2, 1)], sum=[(3, 2)]} : f32[n, 3, 9, 12]\noutput \"y\" = %2";
        agrees(batch, &[("n", 3)], math, 20.0);
    }
    // Few rows.
    for (w, y, sum) in [("260, 513", "n, 513", "(1, 0)"), ("52, 260", "n, 52", "(1, 1)")] {
        let few = format!("bound n <= 4\n{}", product("n, 260", w, y, sum));
        agrees(&few, &[("n", 3)], Math::F32, 260.0);
    }
}

#[test]
fn products_with_epilogues() {
    if !cuda::is_ready() {
        return;
    }
    let dense = |k: i64, m: i64, outputs: &str| {
        format!(
            "%0 = input \"x\" : f32[n, {k}]\n%1 = input \"w\" : f32[{k}, {m}]\n%2 = input \"b\" : f32[{m}]\n\
             %3 = contract %0, %1 {{batch=[], sum=[(1, 0)]}} : f32[n, {m}]\n%4 = broadcast %2 {{axes=[1]}} : f32[n, {m}]\n\
             %5 = add %3, %4 : f32[n, {m}]\n%6 = tanh %5 : f32[n, {m}]\n{outputs}"
        )
    };
    for math in ALL {
        agrees(&dense(36, 52, "output \"y\" = %6"), &[("n", 37)], math, 36.0);
        agrees(&dense(35, 51, "output \"y\" = %6\noutput \"z\" = %3"), &[("n", 37)], math, 36.0);
        // The result may not lie over an operand that other blocks still read.
        let beside = "%7 = add %6, %0 : f32[n, 36]\n%8 = mul %7, %0 : f32[n, 36]\noutput \"y\" = %8";
        agrees(&dense(36, 36, beside), &[("n", 150)], math, 36.0);
        let chain = "%7 = input \"v\" : f32[52, 8]\n%8 = contract %6, %7 {batch=[], sum=[(1, 0)]} : f32[n, 8]\n\
                     %9 = tanh %8 : f32[n, 8]\noutput \"y\" = %9";
        agrees(&dense(36, 52, chain), &[("n", 37)], math, 52.0 * 3.0);
    }
}

#[test]
fn convolutions_of_every_stride_dilation_padding_and_group() {
    if !cuda::is_ready() {
        return;
    }
    // Channels in and out, groups; taps, stride, padding before and after, dilation, by axis.
    type Axis = (i64, i64, (i64, i64), i64);
    let cases: [(i64, i64, i64, Axis, Axis); 8] = [
        (4, 8, 1, (3, 1, (1, 1), 1), (3, 1, (1, 1), 1)),
        (3, 8, 1, (3, 2, (1, 0), 1), (3, 2, (0, 1), 1)),
        (8, 4, 1, (2, 3, (0, 2), 1), (5, 2, (2, 2), 1)),
        (4, 4, 1, (3, 2, (2, 2), 3), (3, 3, (1, 2), 2)),
        (12, 20, 1, (1, 2, (0, 0), 1), (1, 2, (0, 0), 1)),
        (8, 12, 2, (3, 1, (1, 1), 1), (3, 1, (1, 1), 1)),
        (8, 8, 8, (3, 1, (1, 1), 1), (3, 2, (1, 1), 1)),
        (4, 12, 4, (3, 2, (1, 0), 1), (3, 2, (1, 1), 2)),
    ];
    for (ci, co, groups, high, wide) in cases {
        let out = |size: i64, (taps, stride, (before, after), dilation): Axis| {
            (size + before + after - (taps - 1) * dilation - 1) / stride + 1
        };
        let x = format!("f32[n, 11, 12, {ci}]");
        let y = format!("f32[n, {}, {}, {co}]", out(11, high), out(12, wide));
        let w = format!("f32[{}, {}, {}, {co}]", high.0, wide.0, ci / groups);
        let form = format!(
            "{{stride=[{}, {}], padding=[{:?}, {:?}], dilation=[{}, {}], groups={groups}}}",
            high.1, wide.1, high.2, wide.2, high.3, wide.3
        );
        for (kind, a, b, c) in [("conv", &x, &w, &y), ("conv_data", &y, &w, &x), ("conv_weights", &x, &y, &w)]
        {
            let text = format!(
                "%0 = input \"a\" : {a}\n%1 = input \"b\" : {b}\n%2 = {kind} %0, %1 {form} : {c}\noutput \"y\" = %2"
            );
            for math in if groups < ci { &ALL[..] } else { &ALL[..1] } {
                agrees(&text, &[("n", 3)], *math, 400.0);
            }
        }
    }
}
