//! Products, convolutions, attention and kernels that move by index on a GPU (here an interpreter of their kernels), at sizes where tiles end
//! early and with operands that lie in every way, against the evaluator; and products in narrower numbers, within what these round to.
//! Without NVRTC there is nothing to run; see [`weft_tests::cuda`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use weft_compiler::cuda::{Math, plan_in};
use weft_compiler::evaluate::{Real, Value, Values, evaluate};
use weft_compiler::graph::random::Rng;
use weft_compiler::graph::text::parse;
use weft_compiler::graph::{Dim, Entry, Graph, Module, NodeId, Op, TensorType, Variable};
use weft_compiler::passes::{self, narrow, rounded};
use weft_compiler::plan::halves;
use weft_runtime::cuda::counts;
use weft_runtime::execute::Session;
use weft_runtime::program::{DType, InputSource, VariableKind};
use weft_runtime::tensor::Tensor;
use weft_tests::cuda;

/// What products may be off by, for each of their terms of up to 1 by 1.
#[derive(Clone, Copy, Debug)]
struct Tolerance {
    /// From those of operands that are rounded alike: sums in f32 run in another order.
    sums: f64,
    /// From those of the operands themselves: two that are rounded, each by so much of its size at most, and a little for second order.
    operands: f64,
}

/// Of products of all kinds (contractions, convolutions and their gradients), by their numbers: the largest error of one operand is 2^-10 in tf32
/// (which cuts), 2^-8 in bf16 and 2^-11 in f16.
fn tolerance(math: Math) -> Tolerance {
    let of = |operand: f64| Tolerance { sums: 4e-6, operands: 2.05 * operand + 4e-6 };
    match math {
        Math::F32 => of(0.0),
        Math::Tf32 => of(1.0 / 1024.0),
        Math::Bf16 => of(1.0 / 256.0),
        Math::F16 => of(1.0 / 2048.0),
    }
}

/// The graph as the GPU computes it, with operands rounded where that is said in the graph, and the inputs of which tensor cores take tf32. None
/// where products are of what was computed before, which one rounding may bring to the next number, or where an input is more than an operand.
fn rounded(graph: &Graph, math: Math) -> Option<(Graph, BTreeSet<String>)> {
    let input = |mut id: NodeId| {
        while let (Op::Reshape | Op::Transpose { .. } | Op::Broadcast { .. } | Op::Slice { .. }, [from]) =
            (&graph.node(id).op, graph.node(id).inputs.as_slice())
        {
            id = *from;
        }
        if let Op::Input(name) = &graph.node(id).op { Some(name.clone()) } else { None }
    };
    let (mut operands, mut others) = (BTreeSet::new(), BTreeSet::new());
    for node in &graph.nodes {
        let products = halves::places(graph, node);
        for (place, id) in node.inputs.iter().enumerate() {
            match (products.contains(&place), input(*id)) {
                (true, None) => return None,
                (true, Some(name)) => drop(operands.insert(name)),
                (false, Some(name)) => drop(others.insert(name)),
                (false, None) => {}
            }
        }
    }
    // Views show what others read.
    let views = graph.nodes.iter().any(|node| matches!(node.op, Op::Reshape | Op::Transpose { .. }));
    let mut graph = graph.clone();
    match math.operands() {
        Some(dtype) => rounded::operands(&mut graph, dtype),
        None if math == Math::F32 => operands.clear(),
        None if views || !operands.is_disjoint(&others) => return None,
        None => {}
    }
    Some((graph, operands))
}

/// What the evaluator says; in f32 it rounds narrower floats, in f64 nothing.
fn outputs<T: Real>(graph: &Graph, values: &Values<T>, text: &str) -> BTreeMap<String, Vec<f64>> {
    let outcome = evaluate(graph, values, &Values::new()).unwrap_or_else(|e| panic!("{text}: {e}"));
    outcome.outputs.into_iter().map(|(name, value)| (name, value.to_f64())).collect()
}

/// Runs a graph whose symbols have these values on the GPU, and compares its outputs with the evaluator's, of the same operands and of
/// operands that are rounded alike. Products are added up over `sum` elements of up to 1.
fn agrees(text: &str, symbols: &[(&str, i64)], math: Math, sum: f64) {
    let graph = parse(&format!("graph products\n{text}")).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    let bind = |name: &str| symbols.iter().find(|(symbol, _)| *symbol == name).map(|(_, value)| *value);
    let alike = rounded(&graph, math);
    let mut rng = Rng::new(text.len() as u64);
    let (mut inputs, mut given) = (Vec::new(), Vec::new());
    let (mut values, mut cut) = (Values::<f64>::new(), Values::<f32>::new());
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
                    DType::F32 => f64::from(rng.unit() as f32),
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
        let fills = "the elements fill the shape";
        values.insert(name.clone(), Value::from_f64(node.ty.dtype, &shape, &numbers).expect(fills));
        // Of f32, the upper 19 bits are those of tf32.
        let cuts = math == Math::Tf32 && alike.as_ref().is_some_and(|(_, operands)| operands.contains(name));
        let upper = |x: &f64| match cuts {
            true => f64::from(f32::from_bits((*x as f32).to_bits() & !0x1fff)),
            false => *x,
        };
        let upper: Vec<f64> = numbers.iter().map(upper).collect();
        cut.insert(name.clone(), Value::from_f64(node.ty.dtype, &shape, &upper).expect(fills));
        given.push(Tensor { dtype: node.ty.dtype, shape, data });
        inputs.push((name.clone(), node.ty.clone(), InputSource::Caller));
    }
    let Tolerance { sums, operands } = tolerance(math);
    let alike = alike.map(|(graph, _)| outputs(&graph, &cut, text));
    let attends = graph.nodes.iter().any(|node| matches!(node.op, Op::Attention(_)));
    let mut oracles = Vec::new();
    if attends {
        // Its weights are rounded too, where they are multiplied.
        oracles.extend(alike.map(|alike| ("of rounded operands", operands, alike)));
    } else {
        oracles.push(("of these operands", operands, outputs(&graph, &values, text)));
        oracles.extend(alike.map(|alike| ("of rounded operands", sums, alike)));
    }
    let module =
        Module { name: "products".into(), entries: vec![Entry { graph, inputs }], ..Module::default() };
    let program = Arc::new(cuda::program_in(&module, math));
    let mut session = Session::new(program, 1).unwrap_or_else(|e| panic!("{text}: {e}"));
    let views: Vec<_> = given.iter().map(Tensor::view).collect();
    let outputs = session.run(0, &views).unwrap_or_else(|e| panic!("{text}: {e}"));
    for (name, view) in outputs.iter() {
        let got = view.to_f64();
        for (of, each, wanted) in &oracles {
            let wanted = &wanted[name];
            assert_eq!(wanted.len(), got.len());
            let slack = if view.dtype.is_float() { each * sum } else { 0.0 };
            for (place, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
                let near = wanted == got || (wanted - got).abs() <= slack;
                assert!(near, "{math:?} {of}, `{name}`, element {place}: {got}, not {wanted}, of\n{text}");
            }
        }
    }
}

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
    for math in Math::ALL {
        for (k, m) in [(40, 56), (36, 52), (35, 51)] {
            agrees(
                &product(&format!("n, {k}"), &format!("{k}, {m}"), &format!("n, {m}"), "(1, 0)"),
                &[("n", 37)],
                math,
                40.0,
            );
            agrees(
                &product(&format!("n, {k}"), &format!("{m}, {k}"), &format!("n, {m}"), "(1, 1)"),
                &[("n", 70)],
                math,
                40.0,
            );
            agrees(
                &product(&format!("{k}, n"), &format!("{k}, {m}"), &format!("n, {m}"), "(0, 0)"),
                &[("n", 130)],
                math,
                40.0,
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
        // What rows, steps and items are divided by is not known before.
        for t in [1, 7, 33] {
            let rows = "%0 = input \"x\" : f32[n, 3, t, 20]\n%1 = input \"w\" : f32[3, 20, 12]\n\
                        %2 = contract %0, %1 {batch=[(1, 0)], sum=[(3, 1)]} : f32[3, n, t, 12]\noutput \"y\" = %2";
            agrees(rows, &[("n", 3), ("t", t)], math, 20.0);
            let steps = "%0 = input \"x\" : f32[n, 5, t]\n%1 = input \"w\" : f32[n, t, 12]\n\
                         %2 = contract %0, %1 {batch=[], sum=[(0, 0), (2, 1)]} : f32[5, 12]\noutput \"y\" = %2";
            agrees(steps, &[("n", 5), ("t", t)], math, 165.0);
            let items = "%0 = input \"x\" : f32[n, 6, t, 20]\n%1 = input \"w\" : f32[n, t, 20, 12]\n\
                         %2 = contract %0, %1 {batch=[(0, 0), (2, 1)], sum=[(3, 2)]} : f32[n, t, 6, 12]\noutput \"y\" = %2";
            agrees(items, &[("n", 3), ("t", t)], math, 20.0);
        }
        // Columns of any number are along x, behind rows and items.
        for t in [33, 150] {
            let cols = "%0 = input \"x\" : f32[n, 70, 20]\n%1 = input \"w\" : f32[n, 20, t]\n\
                        %2 = contract %0, %1 {batch=[(0, 0)], sum=[(2, 1)]} : f32[n, 70, t]\noutput \"y\" = %2";
            agrees(cols, &[("n", 3), ("t", t)], math, 20.0);
            agrees(&product("70, 20", "20, t", "70, t", "(1, 0)"), &[("t", t)], math, 20.0);
        }
    }
    // Rows that are few.
    agrees(&product("3, 20", "20, t", "3, t", "(1, 0)"), &[("t", 700)], Math::F32, 20.0);
    for (x, w, y, sum) in [
        ("n, 260", "260, 513", "n, 513", "(1, 0)"),
        ("n, 260", "52, 260", "n, 52", "(1, 1)"),
        ("n, 264", "52, 264", "n, 52", "(1, 1)"),
    ] {
        let few = format!("bound n <= 4\n{}", product(x, w, y, sum));
        // In f32 where tf32 is asked for: no tensor core does them.
        for math in [Math::F32, Math::Bf16, Math::F16] {
            agrees(&few, &[("n", 3)], math, 264.0);
        }
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
    for math in Math::ALL {
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

/// How many prologues products have in the plan of a graph.
fn prologues(text: &str, math: Math) -> usize {
    let mut graph = parse(&format!("graph products\n{text}")).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    graph = passes::optimize(&graph);
    let inputs = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Input(name) => Some((name.clone(), node.ty.clone(), InputSource::Caller)),
        _ => None,
    });
    let entry = Entry { inputs: inputs.collect(), graph: graph.clone() };
    let plan = plan_in(&entry, &[], math).unwrap_or_else(|e| panic!("{text}: {e}"));
    let launches = plan.segments.iter().flat_map(|segment| segment.launches());
    launches.map(|launch| launch.prologues.len()).sum()
}

/// A map of an input, as lines that begin with `%{at}`: 1/4 more than a half of it, so that what is not there must not be mapped.
fn half_and_more(at: usize, input: usize, shape: &str) -> String {
    let [half, halves, times, more, mores, sum] = [0, 1, 2, 3, 4, 5].map(|step| at + step);
    format!(
        "%{half} = constant 0.5 : f32[]\n%{halves} = broadcast %{half} {{axes=[]}} : f32[{shape}]\n\
         %{times} = mul %{input}, %{halves} : f32[{shape}]\n%{more} = constant 0.25 : f32[]\n\
         %{mores} = broadcast %{more} {{axes=[]}} : f32[{shape}]\n%{sum} = add %{times}, %{mores} : f32[{shape}]\n"
    )
}

#[test]
fn products_with_prologues() {
    if !cuda::is_ready() {
        return;
    }
    // Which operands are maps, and a product of them.
    let product = |maps: [bool; 2], x: &str, w: &str, y: &str, form: &str| {
        let mut text = format!("%0 = input \"x\" : f32[{x}]\n%1 = input \"w\" : f32[{w}]\n");
        let mut operands = [0, 1];
        for (slot, shape) in [x, w].into_iter().enumerate().filter(|(slot, _)| maps[*slot]) {
            let at = 2 + 6 * slot;
            text.push_str(&half_and_more(at, slot, shape));
            operands[slot] = at + 5;
        }
        let [a, b] = operands;
        text + &format!("%14 = contract %{a}, %{b} {{{form}}} : f32[{y}]\noutput \"y\" = %14")
    };
    let which = [[true, false], [false, true], [true, true]];
    for math in Math::ALL {
        let check = |maps: [bool; 2], bound: &str, [x, w, y]: [&str; 3], form: &str, n: i64, sum: f64| {
            let text = format!("{bound}{}", product(maps, x, w, y, form));
            let wanted = maps.iter().filter(|map| **map).count();
            // What is rounded to 16 bits is a map too.
            let wanted = if math.operands().is_some() { 2 } else { wanted };
            assert_eq!(prologues(&text, math), wanted, "{math:?}\n{text}");
            agrees(&text, &[("n", n)], math, sum);
        };
        for maps in which {
            // Operands that lie along the sum and across it; tiles end within rows, columns and steps, by packs and by single elements.
            let few = "bound n <= 24\n";
            for (k, m) in [(40, 24), (36, 28), (35, 27)] {
                let [nk, nm] = [k, m].map(|extent| format!("n, {extent}"));
                let (km, mk, kn) = (format!("{k}, {m}"), format!("{m}, {k}"), format!("{k}, n"));
                check(maps, few, [&nk, &km, &nm], "batch=[], sum=[(1, 0)]", 21, 40.0);
                check(maps, few, [&nk, &mk, &nm], "batch=[], sum=[(1, 1)]", 21, 40.0);
                check(maps, few, [&kn, &km, &nm], "batch=[], sum=[(0, 0)]", 24, 40.0);
            }
            // A sum in parts, and products side by side.
            let deep = "bound n <= 4096\n";
            check(maps, deep, ["n, 8", "n, 12", "8, 12"], "batch=[], sum=[(0, 0)]", 1000, 1000.0);
            let batch = ["n, 9, 3, 20", "n, 3, 20, 12", "n, 3, 9, 12"];
            check(maps, "", batch, "batch=[(0, 0), (2, 1)], sum=[(3, 2)]", 3, 20.0);
        }
        // A map that reads only where there is something, along what is summed, and across it.
        for (amounts, [x, w], form) in [
            ("(0, 0), (4, 8)", ["n, 28", "40, 24"], "sum=[(1, 0)]"),
            ("(3, 2), (0, 0)", ["15, n", "20, 24"], "sum=[(0, 0)]"),
        ] {
            let padded = if form == "sum=[(1, 0)]" { "n, 40" } else { "20, n" };
            let text = format!(
                "bound n <= 24\n%0 = input \"x\" : f32[{x}]\n%1 = input \"w\" : f32[{w}]\n\
                 %2 = pad %0 {{amounts=[{amounts}], value=0.5}} : f32[{padded}]\n\
                 %3 = contract %2, %1 {{batch=[], {form}}} : f32[n, 24]\noutput \"y\" = %3"
            );
            assert!(prologues(&text, math) >= 1, "{math:?}\n{text}");
            agrees(&text, &[("n", 21)], math, 40.0);
        }
        // Rows that are few.
        for (w, form) in [("260, 24", "batch=[], sum=[(1, 0)]"), ("24, 260", "batch=[], sum=[(1, 1)]")] {
            let text = format!("bound n <= 4\n{}", product([false, true], "n, 260", w, "n, 24", form));
            assert_eq!(prologues(&text, math), 1, "{math:?}\n{text}");
            agrees(&text, &[("n", 3)], math, 260.0);
        }
    }
}

#[test]
fn convolutions_with_prologues() {
    if !cuda::is_ready() {
        return;
    }
    // Channels in and out, groups; taps, stride, padding before and after.
    type Axis = (i64, i64, (i64, i64));
    let cases: [(i64, i64, i64, Axis, Axis); 4] = [
        (4, 8, 1, (3, 1, (1, 1)), (3, 1, (1, 1))),
        (3, 5, 1, (1, 1, (0, 0)), (3, 1, (0, 2))),
        (8, 12, 2, (1, 1, (0, 0)), (3, 1, (1, 1))),
        (8, 4, 1, (2, 2, (0, 2)), (3, 2, (2, 2))),
    ];
    let mut found = BTreeMap::new();
    for (ci, co, groups, high, wide) in cases {
        let form = format!(
            "{{stride=[{}, {}], padding=[{:?}, {:?}], dilation=[1, 1], groups={groups}}}",
            high.1, wide.1, high.2, wide.2
        );
        let out =
            |size: i64, (taps, stride, (before, after)): Axis| (size + before + after - taps) / stride + 1;
        let x = format!("n, 11, 12, {ci}");
        let w = format!("{}, {}, {}, {co}", high.0, wide.0, ci / groups);
        let y = format!("n, {}, {}, {co}", out(11, high), out(12, wide));
        for (kind, a, b, c) in [("conv", &x, &w, &y), ("conv_data", &y, &w, &x), ("conv_weights", &x, &y, &w)]
        {
            // Of truth values, a number for each channel where they hold, and another one where they do not: neither is 0.
            let channels =
                |shape: &str| shape.rsplit(", ").next().map(str::to_owned).expect("it has channels");
            let text = format!(
                "%0 = input \"a\" : bool[{a}]\n%1 = input \"p\" : f32[{p}]\n%2 = broadcast %1 {{axes=[3]}} : f32[{a}]\n\
                 %3 = constant 0.25 : f32[]\n%4 = broadcast %3 {{axes=[]}} : f32[{a}]\n%5 = select %0, %2, %4 : f32[{a}]\n\
                 %6 = input \"b\" : bool[{b}]\n%7 = input \"q\" : f32[{q}]\n%8 = broadcast %7 {{axes=[3]}} : f32[{b}]\n\
                 %9 = constant -0.5 : f32[]\n%10 = broadcast %9 {{axes=[]}} : f32[{b}]\n%11 = select %6, %8, %10 : f32[{b}]\n\
                 %12 = {kind} %5, %11 {form} : f32[{c}]\noutput \"y\" = %12",
                p = channels(a),
                q = channels(b)
            );
            for math in Math::ALL {
                *found.entry((kind, math.name())).or_insert(0) += prologues(&text, math);
                agrees(&text, &[("n", 3)], math, 400.0);
            }
        }
    }
    // Some are not worth it, but of each kind some are, in all numbers.
    assert!(found.values().all(|count| *count > 0), "{found:?}");
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
        let form = format!(
            "{{stride=[{}, {}], padding=[{:?}, {:?}], dilation=[{}, {}], groups={groups}}}",
            high.1, wide.1, high.2, wide.2, high.3, wide.3
        );
        let w = format!("f32[{}, {}, {}, {co}]", high.0, wide.0, ci / groups);
        // Sizes that are known when it is compiled, or only when it runs; in all numbers once.
        for (symbols, sizes) in [(false, [11, 12]), (true, [11, 12]), (true, [16, 9])] {
            let size = |axis: usize| match symbols {
                true => Dim::symbol(["h", "t"][axis]),
                false => Dim::constant(sizes[axis]),
            };
            let out = |axis: usize, (taps, stride, (before, after), dilation): Axis| {
                let added = Dim::constant(before + after - (taps - 1) * dilation - 1);
                (size(axis) + added).floor_div(&Dim::constant(stride)) + Dim::constant(1)
            };
            let x = format!("f32[n, {}, {}, {ci}]", size(0), size(1));
            let y = format!("f32[n, {}, {}, {co}]", out(0, high), out(1, wide));
            let given = [("n", 3), ("h", sizes[0]), ("t", sizes[1])];
            let given = if symbols { &given[..] } else { &given[..1] };
            for (kind, a, b, c) in
                [("conv", &x, &w, &y), ("conv_data", &y, &w, &x), ("conv_weights", &x, &y, &w)]
            {
                let text = format!(
                    "%0 = input \"a\" : {a}\n%1 = input \"b\" : {b}\n%2 = {kind} %0, %1 {form} : {c}\noutput \"y\" = %2"
                );
                // A size that follows from others has to be that of an input.
                if symbols && kind == "conv_data" && (out(0, high), out(1, wide)) != (size(0), size(1)) {
                    continue;
                }
                for math in if groups < ci && !symbols { &Math::ALL[..] } else { &Math::ALL[..1] } {
                    agrees(&text, given, *math, 400.0);
                }
            }
        }
    }
}

/// Attention with these queries, keys, heads, groups, width and depth, its result, its rows' sums and its gradients.
fn attention([t, s, heads, groups, width, depth]: [i64; 6], causal: &str, bias: bool, mask: bool) -> String {
    let (q, k) = (format!("n, {t}, {heads}, {width}"), format!("n, {s}, {groups}, {width}"));
    let (v, y) = (format!("n, {s}, {groups}, {depth}"), format!("n, {t}, {heads}, {depth}"));
    let scores = format!("n, {heads}, {t}, {s}");
    let (mut text, mut beside, mut next) = (String::new(), String::new(), 3);
    for (at, (name, ty)) in [("q", &q), ("k", &k), ("v", &v)].into_iter().enumerate() {
        text.push_str(&format!("%{at} = input \"{name}\" : f32[{ty}]\n"));
    }
    for (name, kind, _) in
        [("bias", "f32", bias), ("mask", "bool", mask)].into_iter().filter(|(_, _, there)| *there)
    {
        text.push_str(&format!("%{next} = input \"{name}\" : {kind}[{scores}]\n"));
        beside.push_str(&format!(", %{next}"));
        next += 1;
    }
    text.push_str(&format!("%{next} = input \"g\" : f32[{y}]\n"));
    let mut part = |at: i64, more: &str, part: &str, ty: &str| {
        text.push_str(&format!(
            "%{at} = attention %0, %1, %2{beside}{more} {{part={part}, scale=0.3, causal={causal}, bias={bias}, mask={mask}}} : f32[{ty}]\n"
        ));
    };
    let (result, sums) = (next + 1, next + 2);
    part(result, "", "result", &y);
    part(sums, "", "sums", &format!("n, {heads}, {t}"));
    let given = format!(", %{result}, %{sums}, %{next}");
    let mut all = vec![("result", &y), ("sums", &y), ("queries", &q), ("keys", &k), ("values", &v)];
    all.extend(bias.then_some(("bias", &scores)));
    for (at, (name, ty)) in all.iter().enumerate().skip(2) {
        part(result + at as i64, &given, name, ty);
    }
    let outputs = all
        .iter()
        .enumerate()
        .map(|(at, (name, _))| format!("output \"to {name}\" = %{}", result + at as i64));
    text + &outputs.collect::<Vec<_>>().join("\n")
}

#[test]
fn attention_in_all_numbers() {
    if !cuda::is_ready() {
        return;
    }
    let cases = [
        ([70, 70, 2, 2, 16, 16], "true", false, false),
        ([37, 75, 4, 2, 32, 24], "false", false, true),
        ([33, 40, 2, 1, 20, 12], "last", true, false),
        ([5, 7, 3, 3, 5, 6], "false", true, true),
        ([34, 33, 1, 1, 64, 64], "false", false, false),
        ([16, 35, 1, 1, 128, 72], "true", false, false),
    ];
    for (sizes, causal, bias, mask) in cases {
        let text = attention(sizes, causal, bias, mask);
        for math in Math::ALL {
            // An adjoint of a key is a sum over the queries of several heads.
            agrees(&text, &[("n", if sizes[4] > 64 { 1 } else { 2 })], math, 20.0);
        }
    }
}

/// Of the kernels whose name begins so and that multiply on tensor cores, so many: how often banks of shared memory served a word, and how often
/// they would have without conflicts.
fn turns(kernel: &str, count: usize) -> Vec<(u64, u64)> {
    // What a question is told is told no more, and other tests ask too, or run kernels meanwhile, so that one may come to nothing.
    static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let name = format!("\"kernel\":\"{kernel}");
    let found = (0..1000).find_map(|_| {
        let mut told = TOLD.lock().expect("no test panics while it asks");
        told.extend(counts().unwrap_or_default().lines().map(str::to_owned));
        let is_product = |line: &String| line.contains(&name) && !line.contains("\"mma\":0");
        if told.iter().filter(|line| is_product(line)).count() < count {
            return None;
        }
        let (own, others) = std::mem::take(&mut *told).into_iter().partition(is_product);
        *told = others;
        Some(own)
    });
    let number = |line: &String, name: &str| {
        let rest = line.split_once(&format!("\"{name}\":"))?.1;
        rest.split([',', '}']).next()?.parse::<u64>().ok()
    };
    let found: Vec<String> = found.unwrap_or_else(|| panic!("{kernel} is not among the counts"));
    found
        .iter()
        .map(|line| {
            number(line, "shared_turns").zip(number(line, "shared_turns_least")).expect("both are told")
        })
        .collect()
}

#[test]
fn tiles_of_attention_meet_in_no_bank_of_shared_memory() {
    if !cuda::is_ready() || counts().is_none() {
        return;
    }
    for width in [16, 32, 64] {
        for math in [Math::Tf32, Math::Bf16, Math::F16] {
            let of_all = attention([70, 70, 2, 2, width, width], "true", false, false);
            let result = of_all.find("%5 = ").expect("the sums come second");
            let forward = format!("{}output \"y\" = %4", &of_all[..result]);
            for (name, text) in [("forward", forward), ("backward", of_all)] {
                // A name that no other test has.
                let own = format!("Net.{name}{width}{}", math.name());
                let named: Vec<String> = text
                    .lines()
                    .map(|line| match line.contains("= attention") {
                        true => format!("{line}  // {own}"),
                        false => line.to_owned(),
                    })
                    .collect();
                agrees(&named.join("\n"), &[("n", 1)], math, 20.0);
                let count = if name == "forward" { 1 } else { 2 };
                for (taken, least) in turns(&own.replace('.', "_"), count) {
                    assert!(taken == least && least > 1000, "{own}: {taken} turns, not {least}");
                }
            }
        }
    }
}

#[test]
fn tiles_of_tensor_cores_meet_in_no_bank_of_shared_memory() {
    // A GPU does not tell; the interpreter counts from the first question on.
    if !cuda::is_ready() || counts().is_none() {
        return;
    }
    for (x, w, sum) in [
        ("n, 64", "64, 1024", "(1, 0)"),
        ("n, 64", "1024, 64", "(1, 1)"),
        ("64, n", "64, 1024", "(0, 0)"),
        ("64, n", "1024, 64", "(0, 1)"),
    ] {
        let text = format!(
            "bound n <= 4096\n%0 = input \"x\" : f32[{x}]\n%1 = input \"w\" : f32[{w}]\n\
             %2 = contract %0, %1 {{batch=[], sum=[{sum}]}} : f32[n, 1024]  // Net.banks\noutput \"y\" = %2"
        );
        for math in [Math::Tf32, Math::Bf16, Math::F16] {
            agrees(&text, &[("n", 136)], math, 64.0);
            for (taken, least) in turns("Net_banks", 1) {
                assert!(taken == least && least > 1000, "{math:?}, {x}, {w}: {taken} turns, not {least}");
            }
        }
    }
}

#[test]
fn weights_are_rounded_once_until_they_change() {
    if !cuda::is_ready() {
        return;
    }
    // `y = x wᵀ`, an entry that doubles `w`, and the product once more.
    let product = "%w = variable : f32[40, 24]\n%x = input : f32[n, 24]\n\
         %y = contract %x, %w {batch=[], sum=[(1, 1)]} : f32[n, 40]\noutput \"y\" = %y";
    let texts = [
        &format!("graph product\n{product}"),
        "graph double\n%w = variable : f32[40, 24]\n%more = add %w, %w : f32[40, 24]\nupdate \"w\" = %more",
        &format!("graph again\n{product}"),
    ];
    let entry = |text: &&str| {
        let graph = parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let inputs = graph.nodes.iter().filter_map(|node| match &node.op {
            Op::Input(name) => Some((name.clone(), node.ty.clone(), InputSource::Caller)),
            _ => None,
        });
        Entry { inputs: inputs.collect(), graph }
    };
    let weight = Variable {
        path: "w".into(),
        kind: VariableKind::Weight,
        ty: TensorType::new(DType::F32, vec![40i64.into(), 24i64.into()]),
        trainable: true,
        channels: Vec::new(),
        span: Default::default(),
    };
    let module = Module {
        name: "rounding".into(),
        variables: vec![weight],
        entries: texts.iter().map(entry).collect(),
        ..Module::default()
    };
    for (math, prepares) in [(Math::F32, 0), (Math::Bf16, 1)] {
        let program = Arc::new(cuda::program_in(&module, math));
        assert_eq!(
            program.entries.iter().map(|entry| entry.prepares).collect::<Vec<_>>(),
            [prepares, 0, prepares]
        );
        let mut session = Session::new(program, 1).unwrap_or_else(|e| panic!("{e}"));
        let mut w: Vec<f32> = (0..40 * 24).map(|i| (i * 7 % 13) as f32 - 6.0).collect();
        let x: Vec<f32> = (0..16 * 24).map(|i| (i * 5 % 11) as f32 - 5.0).collect();
        let bytes = |w: &[f32]| w.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
        // Small whole numbers are what they are in bf16. Whether a weight was rounded, and all is right.
        let run_entry = |session: &mut Session, entry: usize, w: &[f32]| {
            let profile = session.run_profiled(entry, &[Tensor::from_f32(&[16, 24], &x).view()]).unwrap();
            let due = x.chunks(24).flat_map(|row| {
                w.chunks(24)
                    .map(move |column| row.iter().zip(column).map(|(x, w)| f64::from(x * w)).sum::<f64>())
            });
            assert_eq!(profile.outputs.get(0).to_f64(), due.collect::<Vec<_>>(), "{math:?}");
            let first = profile.launches.first().expect("there are some").nanoseconds > 0;
            first && prepares == 1
        };
        let run = |session: &mut Session, w: &[f32]| run_entry(session, 0, w);
        let once = prepares == 1;
        session.variable_bytes_mut(0).copy_from_slice(&bytes(&w));
        assert_eq!([run(&mut session, &w), run(&mut session, &w)], [once, false]);
        // Changed by hand, and by an entry.
        w.iter_mut().for_each(|w| *w += 1.0);
        session.variable_bytes_mut(0).copy_from_slice(&bytes(&w));
        assert_eq!([run(&mut session, &w), run(&mut session, &w)], [once, false]);
        session.run(1, &[]).unwrap();
        w.iter_mut().for_each(|w| *w *= 2.0);
        assert_eq!([run(&mut session, &w), run(&mut session, &w)], [once, false]);
        // And as one replays them.
        for _ in 0..4 {
            let given = Tensor::from_f32(&[16, 24], &x);
            let outputs = session.run(0, &[given.view()]).unwrap();
            assert_eq!(outputs.get(0).to_f64().len(), 16 * 40);
        }
        assert!(!run(&mut session, &w));
        // What another entry rounds too is there once, and right for both when either has rounded it.
        let taken = session.taken_bytes();
        assert!(!run_entry(&mut session, 2, &w));
        assert_eq!(session.taken_bytes(), taken);
        w.iter_mut().for_each(|w| *w -= 1.0);
        session.variable_bytes_mut(0).copy_from_slice(&bytes(&w));
        assert_eq!([run_entry(&mut session, 2, &w), run(&mut session, &w)], [once, false]);
        session.release(0).unwrap_or_else(|e| panic!("{e}"));
        assert!(!run_entry(&mut session, 2, &w));
    }
}

#[test]
fn weights_of_i8_are_multiplied_as_all_else_is() {
    if !cuda::is_ready() {
        return;
    }
    let weight = |shape: [i64; 2]| Variable {
        path: "w".into(),
        kind: VariableKind::Weight,
        ty: TensorType::new(DType::F32, shape.map(Dim::constant).to_vec()),
        trainable: true,
        channels: Vec::new(),
        span: Default::default(),
    };
    // How a weight lies, by packs of eight and of four, and one by one; rows that fill tiles of several sizes, and few.
    for (k, m) in [(40, 56), (36, 52), (35, 51)] {
        for (shape, form) in [([k, m], "(1, 0)"), ([m, k], "(1, 1)")] {
            for (rows, bound) in [(37, 64), (130, 4096), (3, 4)] {
                let text = format!(
                    "graph product\nbound n <= {bound}\n%w = variable : f32[{}, {}]\n%x = input : f32[n, {k}]\n\
                     %y = contract %x, %w {{batch=[], sum=[{form}]}} : f32[n, {m}]\noutput \"y\" = %y",
                    shape[0], shape[1]
                );
                let graph = parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
                let x = TensorType::new(DType::F32, vec![Dim::symbol("n"), Dim::constant(k)]);
                let entry = Entry { graph, inputs: vec![("x".into(), x, InputSource::Caller)] };
                let (variables, entries) = (vec![weight(shape)], vec![entry]);
                let module = Module { name: "products".into(), variables, entries, ..Module::default() };
                let module = narrow::weights(&module, DType::I8);
                let [values, scales] = module.variables.as_slice() else {
                    panic!("{text}: a weight and its scales")
                };
                assert_eq!((values.ty.dtype, scales.ty.dtype), (DType::I8, DType::F32), "{text}");
                let mut rng = Rng::new(k as u64);
                // All numbers of i8, the ends of their range too.
                let whole: Vec<f64> = (0..k * m).map(|at| (at * 37 % 255 - 127) as f64).collect();
                let size: Vec<f64> = (0..m).map(|_| f64::from((rng.unit() as f32).abs()) / 127.0).collect();
                let given: Vec<f64> = (0..rows * k).map(|_| f64::from(rng.unit() as f32)).collect();
                let value = |dtype: DType, shape: &[i64], numbers: &[f64]| {
                    let shape: Vec<usize> = shape.iter().map(|extent| *extent as usize).collect();
                    Value::from_f64(dtype, &shape, numbers).expect("the elements fill the shape")
                };
                let narrow_graph = &module.entries[0].graph;
                for math in Math::ALL {
                    let inputs =
                        Values::<f32>::from([("x".to_owned(), value(DType::F32, &[rows, k], &given))]);
                    let kept = Values::from([
                        (values.path.clone(), value(DType::I8, &shape, &whole)),
                        (scales.path.clone(), value(DType::F32, &[m], &size)),
                    ]);
                    let mut alike = narrow_graph.clone();
                    let Tolerance { sums, operands } = tolerance(math);
                    let each = match math.operands() {
                        Some(dtype) => {
                            rounded::operands(&mut alike, dtype);
                            sums
                        }
                        None => operands,
                    };
                    let due = evaluate(&alike, &inputs, &kept).unwrap_or_else(|e| panic!("{text}: {e}"));
                    let due = due.outputs["y"].to_f64();
                    let program = Arc::new(cuda::program_in(&module, math));
                    let tensors = program.device.functions.iter().any(|one| one.source.contains("TileMma<"));
                    assert_eq!(tensors, math != Math::F32 && bound > 4, "{math:?}\n{text}");
                    let mut session = Session::new(program, 1).unwrap_or_else(|e| panic!("{text}: {e}"));
                    let bytes: Vec<u8> = whole.iter().map(|x| *x as i8 as u8).collect();
                    session.variable_bytes_mut(0).copy_from_slice(&bytes);
                    let bytes: Vec<u8> = size.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect();
                    session.variable_bytes_mut(1).copy_from_slice(&bytes);
                    let given: Vec<f32> = given.iter().map(|x| *x as f32).collect();
                    let given = Tensor::from_f32(&[rows as usize, k as usize], &given);
                    let outputs = session.run(0, &[given.view()]).unwrap_or_else(|e| panic!("{text}: {e}"));
                    for (place, (due, got)) in due.iter().zip(outputs.get(0).to_f64()).enumerate() {
                        let near = (due - got).abs() <= each * k as f64;
                        assert!(near, "{math:?}, element {place}: {got}, not {due}, of\n{text}");
                    }
                }
            }
        }
    }
}
