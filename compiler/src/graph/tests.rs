//! The verifier, the text form, and random graphs through both.

use super::random::{self, Options};
use super::text::{parse, parse_dim, print};
use super::{Builder, DType, Dim, NodeId, Op, TensorType, verify};
use proptest::prelude::*;

const EXAMPLE: &str = r#"graph predict
bound n <= 128
guard (n%2) "n must be \"even\""
%x = input : f32[n, 28, 28, 1]  // predict
%Cnn.conv.w = variable : f32[3, 3, 1, 32]
%Cnn.conv.conv = conv %x, %Cnn.conv.w {stride=[1, 1], padding=[(0, 0), (0, 0)], dilation=[1, 1], groups=1} : f32[n, 26, 26, 32]
%constant = constant 0.0 : f32[]
%broadcast = broadcast %constant {axes=[]} : f32[n, 26, 26, 32]
%Cnn.relu.max = max %Cnn.conv.conv, %broadcast : f32[n, 26, 26, 32]
%slice = slice %Cnn.relu.max {axis=0, start=((n + 1)//2), step=-1} : f32[(n//2), 26, 26, 32]
%a_b.reduce_max = reduce_max %slice {axes=[0, 1, 2, 3]} : f32[]  // a b
%pad = pad %a_b.reduce_max {amounts=[], value=-inf} : f32[]
%pad_2 = pad %pad {amounts=[], value=-inf} : f32[]
%Net.w = variable : f32[]  //
%w_v = variable "w&v" : f32[]
output "y" = %pad_2
update "steps" = %constant
"#;

#[test]
fn text_form_reads_back() {
    let graph = parse(EXAMPLE).unwrap();
    assert_eq!(print(&graph), EXAMPLE);
    assert_eq!(verify(&graph), Ok(()));
    let paths: Vec<&str> = graph.nodes.iter().map(|n| &*n.path).collect();
    assert_eq!(
        paths,
        ["predict", "Cnn.conv", "Cnn.conv", "", "", "Cnn.relu", "", "a b", "", "", "", ""],
        "names tell paths"
    );
}

const LOOP: &str = r#"graph predict
%x = input : f32[t, n]
%h = input : f32[n]
%scan = scan %x, %h {trip=t, reversed=false, elements=1, carries=1} : bool[0]
  | %element.0 = input : f32[n]
  | %carry.0 = input : f32[n]
  | %scan = scan %carry.0 {trip=3, reversed=true, elements=0, carries=1} : bool[0]
  |   | %carry.0 = input : f32[n]
  |   | %tanh = tanh %carry.0 : f32[n]
  |   | output "carry.0" = %tanh
  | %result = result %scan {index=0} : f32[n]
  | %add = add %result, %element.0 : f32[n]
  | output "carry.0" = %add
  | output "yield.0" = %carry.0
%result = result %scan {index=0} : f32[n]
%result_2 = result %scan {index=1} : f32[t, n]
output "last" = %result
output "all" = %result_2
"#;

#[test]
fn loops_read_back_with_their_bodies() {
    let graph = parse(LOOP).unwrap();
    assert_eq!(print(&graph), LOOP);
    assert_eq!(verify(&graph), Ok(()));
    for (right, wrong, why) in [
        ("index=0} : f32[n]\n%result_2", "index=1} : f32[n]\n%result_2", "not result 1"),
        ("output \"last\" = %result", "%neg = not %scan : bool[0]\noutput \"last\" = %result", "token"),
    ] {
        let graph = parse(&LOOP.replace(right, wrong)).unwrap();
        let errors = verify(&graph).unwrap_err().join("\n");
        assert!(errors.contains(why), "{errors}");
    }
    for (right, wrong, why) in [
        ("trip=t", "trip=n", "`element.0` must be f32[n, n]"),
        ("| output \"carry.0\" = %add", "| output \"carry.1\" = %add", "output 0 must be `carry.0`"),
        ("elements=1, carries=1", "elements=1, carries=2", "too few carries"),
        ("  | %add = add", "  | %w = variable : f32[n]\n  | %add = add", "no place in the body"),
    ] {
        let error = parse(&LOOP.replace(right, wrong)).unwrap_err();
        assert!(error.message.contains(why) || error.message.contains("the body takes"), "{error}");
    }
}

#[test]
fn dims_read_back() {
    for text in
        ["0", "-3", "-k + 2*m*n + 7", "((n + 1)//2)", "(n%(m + 3))", "max(n, 3) + min(2*n, m)", "(n//-3)"]
    {
        assert_eq!(parse_dim(text).unwrap().to_string(), text);
    }
    for text in ["", "2*", "(n", "n n", "--n", "max(n)"] {
        assert!(parse_dim(text).is_err(), "{text}");
    }
    assert!(parse_dim(&"(".repeat(100_000)).is_err());
}

#[test]
fn errors_name_the_line() {
    // What a text calls its nodes is its own matter.
    let named = parse("%a = input \"x\" : f32[n]\n%7 = exp %a : f32[n]\noutput \"y\" = %7").unwrap();
    assert_eq!(print(&named), "graph \n%x = input : f32[n]\n%exp = exp %x : f32[n]\noutput \"y\" = %exp\n");
    let error = parse("graph g\n%0 = input \"x\" : f32[n]\n%1 = exp %0 : f32[m]\n").unwrap_err();
    assert_eq!(error.line, 3);
    for bad in [
        "%0 = dim 1 : f32[]\n%0 = dim 2 : f32[]",
        "% = dim 1 : f32[]",
        "%0 = exp %0 : f32[]",
        "%0 = frob : f32[]",
        "%0 = input \"x : f32[]",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_verifier_finds_each_violation() {
    let good = parse(EXAMPLE).unwrap();
    let broken = |change: &dyn Fn(&mut super::Graph), says: &str| {
        let mut graph = good.clone();
        change(&mut graph);
        let errors = verify(&graph).unwrap_err().join("\n");
        assert!(errors.contains(says), "{errors}");
    };
    broken(&|g| g.nodes[2].inputs[0] = NodeId(9), "does not stand before");
    broken(&|g| g.nodes[5].ty.dtype = DType::F16, "gives f32");
    broken(&|g| g.nodes[4].ty.shape[0] = Dim::symbol("m"), "nothing binds the symbol m");
    broken(&|g| g.outputs.push(("z".into(), NodeId(99))), "does not exist");
    broken(&|g| g.outputs.push(("y".into(), NodeId(3))), "stands twice");
    broken(&|g| g.updates.push(("Cnn.conv.w".into(), NodeId(3))), "the update of `Cnn.conv.w`");
    broken(&|g| g.nodes[1].op = Op::Input("x".into()), "stands twice");
    broken(&|g| g.guards.push((Dim::symbol("q"), "q".into(), Default::default())), "binds the symbol q");
}

#[test]
fn the_builder_refuses_ill_typed_nodes() {
    let mut b = Builder::new("bad");
    let x = b.input("x", TensorType::new(DType::F32, [Dim::symbol("n")])).unwrap();
    let far = usize::MAX;
    for op in [
        Op::Window { axis: far, size: vec![1], stride: vec![1], dilation: vec![1] },
        Op::Window { axis: 0, size: vec![0], stride: vec![1], dilation: vec![1] },
        Op::CumulativeSum { axis: far, reverse: false, exclusive: false },
        Op::Transpose { permutation: vec![far] },
        Op::Reduce { reduction: super::op::Reduction::Sum, axes: vec![0, 0] },
        Op::Concat { axis: 1 },
        Op::Reshape,
    ] {
        assert!(b.push(op.clone(), &[x], None).is_err(), "{op:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn random_graphs_are_well_typed_and_read_back(seed: u64, smooth: bool) {
        let case = random::case(seed, Options { steps: 30, smooth });
        prop_assert_eq!(verify(&case.graph), Ok(()));
        let text = print(&case.graph);
        let back = parse(&text).unwrap();
        prop_assert_eq!(&back, &case.graph);
        prop_assert_eq!(print(&back), text);
    }
}

#[test]
fn random_graphs_have_every_operation() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..400 {
        let case = random::case(seed, Options { steps: 40, smooth: false });
        seen.extend(case.graph.nodes.iter().map(|n| super::text::op_name(&n.op)));
    }
    let named = |list: Vec<&str>| list.into_iter().map(String::from).collect::<Vec<_>>();
    let mut all = named(super::op::Unary::ALL.iter().map(|u| u.name()).collect());
    all.extend(named(super::op::Binary::ALL.iter().map(|b| b.name()).collect()));
    all.extend(named(super::op::Compare::ALL.iter().map(|c| c.name()).collect()));
    all.extend(named(vec![
        "input",
        "constant",
        "table",
        "iota",
        "dim",
        "random",
        "select",
        "cast",
        "hold",
        "arg_max",
        "arg_min",
        "reduce_sum",
        "reduce_max",
        "reduce_min",
        "reduce_prod",
        "cumulative_sum",
        "contract",
        "conv",
        "conv_data",
        "conv_weights",
        "gather",
        "scatter_add",
        "sort",
        "reshape",
        "transpose",
        "broadcast",
        "slice",
        "window",
        "unwindow",
        "pad",
        "concat",
    ]));
    let missing: Vec<&String> = all.iter().filter(|name| !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
