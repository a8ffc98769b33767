//! How far each operation on a GPU (here an interpreter of its kernels) may be from the reference evaluator in f64, forward and backward: one
//! table, [`TOLERANCES`], which `docs/cuda.md` shows too. An operation stands alone here; in the other suites many follow each other, and
//! their rounding adds up. Without NVRTC there is nothing to run; see [`weft_tests::cuda`].

use std::collections::{BTreeMap, BTreeSet};
use weft_compiler::cuda::Math;
use weft_compiler::grad;
use weft_compiler::graph::op::{Binary, Compare, Reduction, Unary};
use weft_compiler::graph::random::Rng;
use weft_compiler::graph::text::{op_name, parse};
use weft_compiler::graph::{Builder, Dim, Graph, NodeId, Op};
use weft_runtime::program::DType;
use weft_runtime::tensor::Tensor;
use weft_tests::device::{Device, Machine, Tensors};
use weft_tests::graphs::alone;
use weft_tests::{cuda, specs};

/// Operations, and by how much of the largest element of a tensor (or of 1) an element of it may be off: of the result, and of the gradient where
/// there is one. Sums are of 128 terms.
const TOLERANCES: &[(&[&str], f64, Option<f64>)] = &[
    // What is moved, compared, counted or taken: to the bit. Where an element went to several places, its gradient is a sum.
    (&["neg", "abs", "sign", "floor", "ceil", "round", "floor_div"], 0.0, Some(0.0)),
    (&["not", "and", "or", "eq", "ne", "lt", "le", "gt", "ge"], 0.0, None),
    (&["select", "cast", "hold", "iota", "dim", "table", "constant", "max", "min"], 0.0, Some(0.0)),
    (&["reshape", "transpose", "slice", "pad"], 0.0, Some(0.0)),
    (&["gather", "sort", "window", "broadcast", "concat"], 0.0, Some(5e-7)),
    (&["arg_max", "arg_min", "reduce_any", "reduce_all"], 0.0, None),
    (&["reduce_max", "reduce_min"], 0.0, Some(0.0)),
    // Arithmetic is rounded once; in a gradient a few operations follow each other.
    (&["add", "sub", "mul", "div", "rem", "sqrt", "rsqrt"], 1e-7, Some(3e-7)),
    // CUDA's own functions, within a few units in the last place.
    (&["exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "sigmoid", "erf", "pow"], 3e-7, Some(5e-7)),
    // Sums run in an order of their own.
    (&["reduce_sum", "cumulative_sum", "scatter_add", "unwindow"], 5e-7, Some(5e-7)),
    (&["reduce_prod"], 4e-6, Some(4e-6)),
    (&["contract", "conv", "conv_data", "conv_weights"], 2e-6, Some(2e-6)),
    (&["attention"], 5e-7, Some(1e-6)),
    (&["scan", "result"], 1e-6, Some(1e-6)),
    // Normals; uniform numbers are those of a processor to the bit.
    (&["random"], 1e-6, None),
];

/// What the same is for products in narrower numbers, whose operands are rounded: result and gradient.
const NARROWER: &[(Math, f64, f64)] =
    &[(Math::Tf32, 3e-3, 3e-3), (Math::Bf16, 8e-3, 8e-3), (Math::F16, 1e-3, 1e-3)];

/// Graphs whose outputs are named after the operations that they show, with the range of their inputs.
fn groups() -> Vec<(String, f64, f64)> {
    let each = |input: &str, names: &[&str], ty: &str| {
        let mut text = format!("%0 = input \"x\" : f32[{input}]\n%1 = input \"y\" : f32[{input}]\n");
        for (at, name) in (2..).zip(names) {
            let operands = if is_unary(name) { "%0" } else { "%0, %1" };
            text += &format!("%{at} = {name} {operands} : {ty}[{input}]\noutput \"{name}\" = %{at}\n");
        }
        text
    };
    let functions = [
        "neg", "abs", "sign", "floor", "ceil", "round", "exp", "expm1", "sin", "cos", "tanh", "sigmoid",
        "erf",
    ];
    let positive = ["sqrt", "rsqrt", "log", "log1p", "pow", "div", "rem", "floor_div"];
    let arithmetic = ["add", "sub", "mul", "max", "min"];
    let comparisons = ["eq", "ne", "lt", "le", "gt", "ge"];
    let text = |text: &str| text.to_owned();
    vec![
        (each("n, 96", &functions, "f32"), -3.0, 3.0),
        (each("n, 96", &positive, "f32"), 0.3, 3.0),
        (each("n, 96", &arithmetic, "f32"), -3.0, 3.0),
        (each("n, 96", &comparisons, "bool"), -1.0, 1.0),
        (text(CHOICES), -1.0, 1.0),
        (text(MOVES), -1.0, 1.0),
        (text(REDUCTIONS), -1.0, 1.0),
        (text(INDICES), -1.0, 1.0),
        (text(PRODUCTS), -1.0, 1.0),
        (text(ATTENTION), -1.0, 1.0),
        (text(LOOP), -1.0, 1.0),
    ]
}

fn is_unary(name: &str) -> bool {
    Unary::from_name(name).is_some()
}

const CHOICES: &str = "\
%x = input : f32[n, 96]
%y = input : f32[n, 96]
%a = lt %x, %y : bool[n, 96]
%zero = constant 0.0 : f32[]
%zeros = broadcast %zero {axes=[]} : f32[n, 96]
%b = gt %x, %zeros : bool[n, 96]
%not = not %a : bool[n, 96]
%and = and %a, %b : bool[n, 96]
%or = or %a, %b : bool[n, 96]
%select = select %a, %x, %y : f32[n, 96]
%cast = cast %x : i32[n, 96]
%hold = hold %x : f32[n, 96]
%iota = iota {axis=1} : i32[n, 96]
%dim = dim n : i32[]
%table = table [0.5, -0.25, 3.0] : f32[3]
%any = reduce_any %a {axes=[1]} : bool[n]
%all = reduce_all %or {axes=[0]} : bool[96]
output \"not\" = %not
output \"and\" = %and
output \"or\" = %or
output \"select\" = %select
output \"cast\" = %cast
output \"hold\" = %hold
output \"iota\" = %iota
output \"dim\" = %dim
output \"table\" = %table
output \"constant\" = %zeros
output \"reduce_any\" = %any
output \"reduce_all\" = %all
";

const MOVES: &str = "\
%x = input : f32[n, 12, 20]
%y = input : f32[20]
%reshape = reshape %x : f32[n, 240]
%transpose = transpose %x {permutation=[2, 0, 1]} : f32[20, n, 12]
%broadcast = broadcast %y {axes=[2]} : f32[n, 12, 20]
%slice = slice %x {axis=2, start=18, step=-3} : f32[n, 12, 6]
%window = window %x {axis=1, size=[3], stride=[2], dilation=[1]} : f32[n, 5, 3, 20]
%unwindow = unwindow %window {axis=1, size=[3], stride=[2], dilation=[1]} : f32[n, 12, 20]
%pad = pad %x {amounts=[(0, 0), (2, 1), (0, 3)], value=0.5} : f32[n, 15, 23]
%concat = concat %x, %broadcast {axis=2} : f32[n, 12, 40]
output \"reshape\" = %reshape
output \"transpose\" = %transpose
output \"broadcast\" = %broadcast
output \"slice\" = %slice
output \"window\" = %window
output \"unwindow\" = %unwindow
output \"pad\" = %pad
output \"concat\" = %concat
";

const REDUCTIONS: &str = "\
%x = input : f32[n, 128]
%one = constant 1.0 : f32[]
%ones = broadcast %one {axes=[]} : f32[n, 128]
%small = constant 0.01 : f32[]
%smalls = broadcast %small {axes=[]} : f32[n, 128]
%less = mul %x, %smalls : f32[n, 128]
%near = add %less, %ones : f32[n, 128]
%rows = reduce_sum %x {axes=[1]} : f32[n]
%columns = reduce_sum %x {axes=[0]} : f32[128]
%all = reduce_sum %x {axes=[0, 1]} : f32[]
%max = reduce_max %x {axes=[1]} : f32[n]
%min = reduce_min %x {axes=[0]} : f32[128]
%prod = reduce_prod %near {axes=[1]} : f32[n]
%arg_max = arg_max %x {axes=[1]} : i32[n]
%arg_min = arg_min %x {axes=[0]} : i32[128]
%cumulative_sum = cumulative_sum %x {axis=1, reverse=false, exclusive=false} : f32[n, 128]
output \"reduce_sum\" = %rows
output \"reduce_sum columns\" = %columns
output \"reduce_sum all\" = %all
output \"reduce_max\" = %max
output \"reduce_min\" = %min
output \"reduce_prod\" = %prod
output \"arg_max\" = %arg_max
output \"arg_min\" = %arg_min
output \"cumulative_sum\" = %cumulative_sum
";

const INDICES: &str = "\
%table = input : f32[30, 40]
%i = input : i32[n, 3]
%x = input : f32[n, 96]
%u = input : f32[n, 3, 40]
%gather = gather %table, %i {axis=0} : f32[n, 3, 40]
%scatter_add = scatter_add %u, %i {axis=0} : f32[30, 40]
%sort = sort %x {falling=false, indices=false} : f32[n, 96]
%places = sort %x {falling=true, indices=true} : i32[n, 5]
output \"gather\" = %gather
output \"scatter_add\" = %scatter_add
output \"sort\" = %sort
output \"sort places\" = %places
";

const PRODUCTS: &str = "\
%x = input : f32[n, 128]
%w = input : f32[128, 112]
%image = input : f32[4, 12, 12, 16]
%kernel = input : f32[3, 3, 16, 24]
%contract = contract %x, %w {batch=[], sum=[(1, 0)]} : f32[n, 112]
%conv = conv %image, %kernel {stride=[1, 1], padding=[(1, 1), (1, 1)], dilation=[1, 1], groups=1} : f32[4, 12, 12, 24]
%data = conv_data %conv, %kernel {stride=[1, 1], padding=[(1, 1), (1, 1)], dilation=[1, 1], groups=1} : f32[4, 12, 12, 16]
%weights = conv_weights %image, %conv {stride=[1, 1], padding=[(1, 1), (1, 1)], dilation=[1, 1], groups=1} : f32[3, 3, 16, 24]
output \"contract\" = %contract
output \"conv\" = %conv
output \"conv_data\" = %data
output \"conv_weights\" = %weights
";

const ATTENTION: &str = "\
%q = input : f32[2, 3, 64, 32]
%k = input : f32[2, 3, 64, 32]
%v = input : f32[2, 3, 64, 32]
%scores = contract %q, %k {batch=[(0, 0), (1, 1)], sum=[(3, 3)]} : f32[2, 3, 64, 64]
%scale = constant 0.17677669529663687 : f32[]
%scales = broadcast %scale {axes=[]} : f32[2, 3, 64, 64]
%scaled = mul %scores, %scales : f32[2, 3, 64, 64]
%largest = reduce_max %scaled {axes=[3]} : f32[2, 3, 64]
%held = hold %largest : f32[2, 3, 64]
%back = broadcast %held {axes=[0, 1, 2]} : f32[2, 3, 64, 64]
%shifted = sub %scaled, %back : f32[2, 3, 64, 64]
%e = exp %shifted : f32[2, 3, 64, 64]
%sum = reduce_sum %e {axes=[3]} : f32[2, 3, 64]
%sums = broadcast %sum {axes=[0, 1, 2]} : f32[2, 3, 64, 64]
%p = div %e, %sums : f32[2, 3, 64, 64]
%attention = contract %p, %v {batch=[(0, 0), (1, 1)], sum=[(3, 2)]} : f32[2, 3, 64, 32]
output \"attention\" = %attention
";

const LOOP: &str = "\
%x = input : f32[12, n, 32]
%h = input : f32[n, 32]
%w = input : f32[32, 32]
%scan = scan %x, %h, %w {trip=12, reversed=false, elements=1, carries=1} : bool[0]
  | %element.0 = input : f32[n, 32]
  | %carry.0 = input : f32[n, 32]
  | %capture.0 = input : f32[32, 32]
  | %contract = contract %carry.0, %capture.0 {batch=[], sum=[(1, 0)]} : f32[n, 32]
  | %tenth = constant 0.1 : f32[]
  | %tenths = broadcast %tenth {axes=[]} : f32[n, 32]
  | %less = mul %contract, %tenths : f32[n, 32]
  | %add = add %element.0, %less : f32[n, 32]
  | %tanh = tanh %add : f32[n, 32]
  | output \"carry.0\" = %tanh
  | output \"yield.0\" = %tanh
%last = result %scan {index=0} : f32[n, 32]
%all = result %scan {index=1} : f32[12, n, 32]
output \"scan\" = %last
output \"result\" = %all
";

/// The tolerances of an output's operation.
fn tolerance(output: &str) -> (f64, Option<f64>) {
    let op = output.split(' ').next().unwrap_or_default();
    let found = TOLERANCES.iter().find(|(ops, ..)| ops.contains(&op));
    found.map(|(_, value, gradient)| (*value, *gradient)).unwrap_or_else(|| panic!("`{op}` has no tolerance"))
}

/// A graph over 70 rows.
fn parsed(text: &str) -> Graph {
    let rows = [("[n]", "[70]"), ("[n,", "[70,"), (", n,", ", 70,"), ("dim n", "dim 70")];
    let text = rows.iter().fold(format!("graph ops\n{text}"), |text, (from, to)| text.replace(from, to));
    parse(&text).unwrap_or_else(|e| panic!("{text}: {e:?}"))
}

/// Inputs within these bounds, adjoints within -1 and 1, and indices of up to 30 rows.
fn drawn(graph: &Graph, low: f64, high: f64) -> Tensors {
    let mut rng = Rng::new(graph.nodes.len() as u64);
    let mut inputs = Tensors::new();
    for node in &graph.nodes {
        let Op::Input(name) = &node.op else { continue };
        let extent = |dim: &Dim| dim.as_constant().expect("no symbol is left") as usize;
        let shape: Vec<usize> = node.ty.shape.iter().map(extent).collect();
        let (low, high) = if name.starts_with('\'') { (-1.0, 1.0) } else { (low, high) };
        // All bits of an f32: `unit` is a multiple of 2^-16.
        let mut number =
            || low + (high - low) * (0.5 + 0.5 * (rng.unit() + rng.unit() / 65536.0)).clamp(0.0, 1.0);
        let numbers: Vec<f64> = (0..shape.iter().product()).map(|_| number()).collect();
        let data: Vec<u8> = match node.ty.dtype {
            DType::F32 => numbers.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect(),
            DType::I32 => numbers.iter().flat_map(|v| ((v.abs() * 29.0) as i32).to_le_bytes()).collect(),
            other => panic!("no input of {}", other.name()),
        };
        inputs.insert(name.clone(), Tensor { dtype: node.ty.dtype, shape, data });
    }
    inputs
}

/// The largest error, as a share of the largest element or of 1.
fn off(exact: &[f64], got: &[f64]) -> f64 {
    assert_eq!(exact.len(), got.len());
    let largest = exact.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
    let far = |(a, b): (&f64, &f64)| if a == b { 0.0 } else { (a - b).abs() };
    let worst = exact.iter().zip(got).map(far).fold(0.0, |m: f64, v| if v > m || v.is_nan() { v } else { m });
    worst / largest
}

/// The graph with the gradients of its float outputs with respect to its float inputs as further outputs, `x'0` for that of output 0 in `x`, where
/// `'0` is the adjoint that the output is given.
fn with_gradients(graph: &Graph) -> Graph {
    let mut b = Builder { graph: graph.clone(), span: Default::default(), path: "".into() };
    let is_float = |id: &NodeId| graph.node(*id).ty.dtype.is_float();
    let inputs = graph.ids().filter(is_float).filter_map(|id| match &graph.node(id).op {
        Op::Input(name) => Some((name.clone(), id)),
        _ => None,
    });
    let (names, wrt): (Vec<String>, Vec<NodeId>) = inputs.unzip();
    for (place, (_, y)) in graph.outputs.iter().enumerate().filter(|(_, (_, y))| is_float(y)) {
        let adjoint = b.input(&format!("'{place}"), graph.node(*y).ty.clone()).expect("its type is known");
        let gradients = grad::gradient(&mut b, *y, Some(adjoint), &wrt).expect("every primitive has a rule");
        let named = names.iter().zip(gradients).map(|(name, gradient)| (format!("{name}'{place}"), gradient));
        b.graph.outputs.extend(named);
    }
    b.graph
}

/// The errors of a graph's outputs and of their gradients, by output; of a gradient the worst over the inputs.
fn errors(text: &str, (low, high): (f64, f64), math: Math) -> BTreeMap<String, (f64, Option<f64>)> {
    let graph = parsed(text);
    let whole = with_gradients(&graph);
    let inputs = drawn(&whole, low, high);
    let module = alone(whole);
    let run = |device| Machine::new(module.clone(), device).run("ops", &inputs);
    let (exact, got) = (run(Device::Evaluator64), run(Device::CudaIn(math)));
    let mut found = BTreeMap::new();
    for (place, (name, _)) in graph.outputs.iter().enumerate() {
        let gradients = exact.keys().filter(|key| key.ends_with(&format!("'{place}")));
        let worst = gradients.map(|key| off(&exact[key], &got[key])).reduce(f64::max);
        found.insert(name.clone(), (off(&exact[name], &got[name]), worst));
    }
    found
}

#[test]
fn each_operation_is_within_its_tolerance() {
    if !cuda::is_ready() {
        return;
    }
    let mut failures = Vec::new();
    for (text, low, high) in groups() {
        for (name, (value, gradient)) in errors(&text, (low, high), Math::F32) {
            let (most, most_back) = tolerance(&name);
            println!("{name}: {value:.1e}, {:.1e}", gradient.unwrap_or(0.0));
            if value.is_nan() || value > most {
                failures.push(format!("`{name}` is off by {value:.1e}, more than {most:.0e}"));
            }
            // What jumps has no gradient: a derivative of zeros.
            let back = gradient.unwrap_or(0.0);
            if back.is_nan() || back > most_back.unwrap_or(0.0) {
                failures
                    .push(format!("the gradient of `{name}` is off by {back:.1e}, more than {most_back:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn products_in_narrower_numbers_are_within_theirs() {
    if !cuda::is_ready() {
        return;
    }
    let mut failures = Vec::new();
    for (math, most, most_back) in NARROWER {
        for text in [PRODUCTS, ATTENTION] {
            for (name, (value, gradient)) in errors(text, (-1.0, 1.0), *math) {
                let back = gradient.expect("products have gradients");
                println!("{name} in {}: {value:.1e}, {back:.1e}", math.name());
                if value.is_nan() || value > *most || back.is_nan() || back > *most_back {
                    failures.push(format!(
                        "`{name}` in {} is off by {value:.1e}, its gradient by {back:.1e}",
                        math.name()
                    ));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// All elementwise operations and reductions have a tolerance, and what has one is in a group: but for random numbers, which `devices.rs` compares
/// by the streams of a session, and attention, which a GPU makes of what is spelled out here.
#[test]
fn every_operation_is_there() {
    let (mut shown, mut due) =
        (BTreeSet::from(["random".to_owned(), "attention".to_owned()]), BTreeSet::new());
    for (text, ..) in groups() {
        shown.extend(parsed(&text).nodes.iter().map(|node| op_name(&node.op)));
    }
    due.extend(TOLERANCES.iter().flat_map(|(ops, ..)| ops.iter().map(|op| (*op).to_owned())));
    due.extend(Unary::ALL.iter().map(|op| op.name().to_owned()));
    due.extend(Binary::ALL.iter().map(|op| op.name().to_owned()));
    due.extend(Compare::ALL.iter().map(|op| op.name().to_owned()));
    due.extend(Reduction::ALL.iter().map(|op| format!("reduce_{}", op.name())));
    let missing: Vec<_> = due.difference(&shown).collect();
    assert!(missing.is_empty(), "{missing:?} are in no group");
    shown.remove("input");
    for op in &shown {
        let _ = tolerance(op);
    }
}

/// The tables of `docs/cuda.md`.
fn table() -> String {
    let cell = |tolerance: f64| if tolerance == 0.0 { "0".to_owned() } else { format!("{tolerance:.0e}") };
    let mut text = "| operations | result | gradient |\n|---|---|---|\n".to_owned();
    for (ops, value, gradient) in TOLERANCES {
        let names = ops.join("`, `");
        let gradient = gradient.map_or_else(|| "none".to_owned(), cell);
        text += &format!("| `{names}` | {} | {gradient} |\n", cell(*value));
    }
    for (math, value, gradient) in NARROWER {
        let (name, value, gradient) = (math.name(), cell(*value), cell(*gradient));
        text += &format!("| products and attention with `--math {name}` | {value} | {gradient} |\n");
    }
    text
}

#[test]
fn the_documents_show_the_same_tolerances() {
    let path = specs::root().join("docs/cuda.md");
    let text = std::fs::read_to_string(path).expect("it is there");
    assert!(text.contains(&table()), "docs/cuda.md lacks this table:\n{}", table());
}
