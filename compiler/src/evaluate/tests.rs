//! Each primitive on numbers that can be checked by hand.

use super::{Outcome, Symbols, Value, Values, evaluate, evaluate_with, random_state};
use crate::graph::DType;
use crate::graph::op::{Binary, Unary};
use crate::graph::text::parse;

fn f32s(shape: &[usize], values: &[f64]) -> Value<f32> {
    Value::from_f64(DType::F32, shape, values).unwrap()
}

/// Runs a text with the f32 vector `x` and gives output `y`.
fn y_of(text: &str, x: &[f64]) -> Vec<f64> {
    run(text, [("x", f32s(&[x.len()], x))]).outputs["y"].to_f64()
}

fn run<const N: usize>(text: &str, inputs: [(&str, Value<f32>); N]) -> Outcome<f32> {
    let graph = parse(text).unwrap();
    crate::graph::verify(&graph).unwrap();
    let inputs = inputs.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    evaluate(&graph, &inputs, &Values::new()).unwrap()
}

#[test]
fn unary_operations() {
    let x = [-1.5, -0.5, 0.0, 0.5, 2.5];
    for &op in Unary::ALL {
        let expected: Option<[f64; 5]> = match op {
            Unary::Neg => Some([1.5, 0.5, 0.0, -0.5, -2.5]),
            Unary::Abs => Some([1.5, 0.5, 0.0, 0.5, 2.5]),
            Unary::Sign => Some([-1.0, -1.0, 0.0, 1.0, 1.0]),
            Unary::Floor => Some([-2.0, -1.0, 0.0, 0.0, 2.0]),
            Unary::Ceil => Some([-1.0, 0.0, 0.0, 1.0, 3.0]),
            Unary::Round => Some([-2.0, 0.0, 0.0, 0.0, 2.0]),
            Unary::Not => continue,
            _ => None,
        };
        let text = format!("%0 = input \"x\" : f32[n]\n%1 = {} %0 : f32[n]\noutput \"y\" = %1", op.name());
        let found = y_of(&text, &x);
        if let Some(expected) = expected {
            assert_eq!(found, expected, "{}", op.name());
        }
        // The rest at one point each.
        let (at, value) = match op {
            Unary::Sqrt => (2.25, 1.5),
            Unary::Rsqrt => (4.0, 0.5),
            Unary::Exp => (1.0, std::f64::consts::E),
            Unary::Expm1 => (1e-6, 1.000_000_5e-6),
            Unary::Log => (std::f64::consts::E, 1.0),
            Unary::Log1p => (1e-6, 9.999_995e-7),
            Unary::Sin => (std::f64::consts::FRAC_PI_6, 0.5),
            Unary::Cos => (std::f64::consts::FRAC_PI_3, 0.5),
            Unary::Tanh => (0.549_306_144_334_054_8, 0.5),
            Unary::Sigmoid => (-1.098_612_288_668_109_8, 0.25),
            Unary::Erf => (0.476_936_276_204_469_9, 0.5),
            _ => continue,
        };
        let found = y_of(&text, &[at])[0];
        assert!((found - value).abs() <= 2e-7 * value, "{} of {at}: {found}", op.name());
    }
}

#[test]
fn binary_operations_on_floats_and_integers() {
    let expected = |op: Binary, float: bool| -> Option<[f64; 4]> {
        Some(match (op, float) {
            (Binary::Add, _) => [9.0, -5.0, 5.0, -9.0],
            (Binary::Sub, _) => [5.0, -9.0, 9.0, -5.0],
            (Binary::Mul, _) => [14.0, -14.0, -14.0, 14.0],
            (Binary::Div, true) => [3.5, -3.5, -3.5, 3.5],
            (Binary::Div, false) => [3.0, -3.0, -3.0, 3.0],
            (Binary::FloorDiv, _) => [3.0, -4.0, -4.0, 3.0],
            (Binary::Rem, _) => [1.0, 1.0, -1.0, -1.0],
            (Binary::Max, _) => [7.0, 2.0, 7.0, -2.0],
            (Binary::Min, _) => [2.0, -7.0, -2.0, -7.0],
            (Binary::Pow, true) => [49.0, 49.0, 1.0 / 49.0, 1.0 / 49.0],
            (Binary::Pow, false) => [49.0, 49.0, 0.0, 0.0],
            (Binary::And | Binary::Or, _) => return None,
        })
    };
    for &op in Binary::ALL {
        for (dtype, float) in [("f32", true), ("i32", false)] {
            let Some(expected) = expected(op, float) else { continue };
            let text = format!(
                "%0 = table [7.0, -7.0, 7.0, -7.0] : {dtype}[4]\n%1 = table [2.0, 2.0, -2.0, -2.0] : {dtype}[4]\n\
                 %2 = {} %0, %1 : {dtype}[4]\noutput \"y\" = %2",
                op.name()
            );
            let found = run(&text, []).outputs["y"].to_f64();
            for (a, b) in found.iter().zip(expected) {
                assert!((a - b).abs() < 1e-6, "{} {dtype}: {found:?}", op.name());
            }
        }
    }
    let text = "%0 = table [2147483647.0, 7.0, 7.0] : i32[3]\n%1 = table [1.0, 0.0, 0.0] : i32[3]\n";
    let with = |op: &str| {
        run(&format!("{text}%2 = {op} %0, %1 : i32[3]\noutput \"y\" = %2"), []).outputs["y"].to_f64()
    };
    assert_eq!(with("add")[0], -2_147_483_648.0);
    assert_eq!([with("div")[1], with("floor_div")[1], with("rem")[1]], [0.0; 3]);
}

#[test]
fn casts_and_nan() {
    let text = |to: &str| format!("%0 = input \"x\" : f32[n]\n%1 = cast %0 : {to}[n]\noutput \"y\" = %1");
    let x = [2.9, -2.9, 300.0, f64::NAN, -1.0];
    assert_eq!(y_of(&text("i32"), &x), [2.0, -2.0, 300.0, 0.0, -1.0]);
    assert_eq!(y_of(&text("u8"), &x), [2.0, 0.0, 255.0, 0.0, 0.0]);
    assert_eq!(y_of(&text("bool"), &[0.0, -0.0, f64::NAN, 3.0]), [0.0, 0.0, 1.0, 1.0]);
    assert_eq!(y_of(&text("bf16"), &[1.003, 1.005]), [1.0, 1.007_812_5]);
    for op in ["max", "min"] {
        let text = format!(
            "%0 = input \"x\" : f32[2]\n%1 = table [1.0, 1.0] : f32[2]\n%2 = {op} %0, %1 : f32[2]\n%3 = {op} %1, %0 : f32[2]\n%4 = add %2, %3 : f32[2]\noutput \"y\" = %4"
        );
        let y = y_of(&text, &[f64::NAN, 1.0]);
        assert!(y[0].is_nan() && y[1] == 2.0);
    }
}

#[test]
fn reductions() {
    let text = |op: &str, to: &str| {
        format!("%0 = input \"x\" : f32[4]\n%1 = {op} %0 {{axes=[0]}} : {to}[]\noutput \"y\" = %1")
    };
    let x = [3.0, 1.0, 3.0, 2.0];
    for (op, expected) in
        [("reduce_sum", 9.0), ("reduce_max", 3.0), ("reduce_min", 1.0), ("reduce_prod", 18.0)]
    {
        assert_eq!(y_of(&text(op, "f32"), &x), [expected], "{op}");
    }
    assert_eq!(y_of(&text("arg_max", "i32"), &x), [0.0]);
    assert_eq!(y_of(&text("arg_min", "i32"), &x), [1.0]);
    assert_eq!(y_of(&text("arg_max", "i32"), &[1.0, f64::NAN, 9.0, f64::NAN]), [1.0]);
    assert_eq!(y_of(&text("arg_min", "i32"), &[1.0, f64::NAN, 9.0, f64::NAN]), [1.0]);
    assert!(y_of(&text("reduce_max", "f32"), &[1.0, f64::NAN, 9.0, 0.0])[0].is_nan());
    // Over several axes the index is row-major.
    let text = "%0 = input \"x\" : f32[8]\n%1 = reshape %0 : f32[2, 2, 2]\n%2 = arg_max %1 {axes=[0, 2]} : i32[2]\noutput \"y\" = %2";
    assert_eq!(y_of(text, &[0.0, 1.0, 7.0, 0.0, 2.0, 5.0, 0.0, 9.0]), [3.0, 3.0]);
    // Of nothing at all.
    let text = "%0 = input \"x\" : f32[n]\n%1 = reduce_max %0 {axes=[0]} : f32[]\noutput \"y\" = %1";
    assert_eq!(y_of(text, &[]), [f64::NEG_INFINITY]);
    let text = "%0 = input \"x\" : f32[n]\n%1 = cast %0 : i32[n]\n%2 = reduce_min %1 {axes=[0]} : i32[]\noutput \"y\" = %2";
    assert_eq!(y_of(text, &[]), [f64::from(i32::MAX)]);
}

#[test]
fn cumulative_sums_and_sorting() {
    let text = |reverse: bool, exclusive: bool| {
        format!(
            "%0 = input \"x\" : f32[3]\n%1 = cumulative_sum %0 {{axis=0, reverse={reverse}, exclusive={exclusive}}} : f32[3]\noutput \"y\" = %1"
        )
    };
    let x = [1.0, 2.0, 4.0];
    assert_eq!(y_of(&text(false, false), &x), [1.0, 3.0, 7.0]);
    assert_eq!(y_of(&text(true, false), &x), [7.0, 6.0, 4.0]);
    assert_eq!(y_of(&text(false, true), &x), [0.0, 1.0, 3.0]);
    assert_eq!(y_of(&text(true, true), &x), [6.0, 4.0, 0.0]);
    let text = |falling: bool, indices: bool, ty: &str| {
        format!(
            "%0 = input \"x\" : f32[4]\n%1 = sort %0 {{falling={falling}, indices={indices}}} : {ty}\noutput \"y\" = %1"
        )
    };
    assert_eq!(y_of(&text(true, false, "f32[3]"), &[2.0, 5.0, 2.0, 7.0]), [7.0, 5.0, 2.0]);
    assert_eq!(y_of(&text(true, true, "i32[3]"), &[2.0, 5.0, 2.0, 7.0]), [3.0, 1.0, 0.0]);
    assert_eq!(y_of(&text(false, false, "f32[4]"), &[2.0, 5.0, 2.0, 7.0]), [2.0, 2.0, 5.0, 7.0]);
    // Equal elements keep their order both ways; not-a-number is the largest.
    assert_eq!(y_of(&text(false, true, "i32[4]"), &[2.0, f64::NAN, 2.0, 7.0]), [0.0, 2.0, 3.0, 1.0]);
    assert_eq!(y_of(&text(true, true, "i32[4]"), &[2.0, f64::NAN, 2.0, 7.0]), [1.0, 3.0, 0.0, 2.0]);
}

#[test]
fn views_and_placements() {
    let view = |line: &str, x: &[f64]| {
        y_of(&format!("%0 = input \"x\" : f32[6]\n%1 = reshape %0 : f32[2, 3]\n{line}\noutput \"y\" = %2"), x)
    };
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    assert_eq!(
        view("%2 = transpose %1 {permutation=[1, 0]} : f32[3, 2]", &x),
        [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
    );
    assert_eq!(view("%2 = slice %1 {axis=1, start=2, step=-2} : f32[2, 2]", &x), [3.0, 1.0, 6.0, 4.0]);
    assert_eq!(
        view("%2 = window %1 {axis=1, size=[2], stride=[1], dilation=[1]} : f32[2, 2, 2]", &x),
        [1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 5.0, 6.0]
    );
    assert_eq!(
        view("%2 = unwindow %1 {axis=0, size=[3], stride=[1], dilation=[1]} : f32[4]", &x),
        [1.0, 6.0, 8.0, 6.0]
    );
    assert_eq!(
        view("%2 = pad %1 {amounts=[(1, 0), (0, 1)], value=9.0} : f32[3, 4]", &x),
        [9.0, 9.0, 9.0, 9.0, 1.0, 2.0, 3.0, 9.0, 4.0, 5.0, 6.0, 9.0]
    );
    assert_eq!(
        view("%2 = concat %1, %1 {axis=1} : f32[2, 6]", &x),
        [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 4.0, 5.0, 6.0]
    );
    let text = "%0 = input \"x\" : f32[2]\n%1 = broadcast %0 {axes=[1]} : f32[2, 2]\noutput \"y\" = %1";
    assert_eq!(y_of(text, &[1.0, 2.0]), [1.0, 2.0, 1.0, 2.0]);
    let text = "%0 = iota {axis=1} : i32[2, 2]\noutput \"y\" = %0";
    assert_eq!(run(text, []).outputs["y"].to_f64(), [0.0, 1.0, 0.0, 1.0]);
}

#[test]
fn contraction_and_convolution() {
    let text = "%0 = input \"x\" : f32[4]\n%1 = reshape %0 : f32[2, 2]\n%2 = contract %1, %1 {batch=[], sum=[(1, 0)]} : f32[2, 2]\noutput \"y\" = %2";
    assert_eq!(y_of(text, &[1.0, 2.0, 3.0, 4.0]), [7.0, 10.0, 15.0, 22.0]);
    let text = |op: &str| {
        format!(
            "%0 = input \"x\" : f32[5]\n%1 = reshape %0 : f32[1, 5, 1]\n%2 = table [1.0, 10.0] : f32[2, 1, 1]\n{op}\noutput \"y\" = %3"
        )
    };
    let conv = "%3 = conv %1, %2 {stride=[2], padding=[(1, 0)], dilation=[1], groups=1} : f32[1, 3, 1]";
    assert_eq!(y_of(&text(conv), &[1.0, 2.0, 3.0, 4.0, 5.0]), [10.0, 32.0, 54.0]);
    let data = "%3 = conv_data %1, %2 {stride=[2], padding=[(0, 0)], dilation=[1], groups=1} : f32[1, 10, 1]";
    assert_eq!(
        y_of(&text(data), &[1.0, 2.0, 3.0, 4.0, 5.0]),
        [1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0, 5.0, 50.0]
    );
    let weights =
        "%3 = conv_weights %1, %1 {stride=[1], padding=[(1, 1)], dilation=[1], groups=1} : f32[3, 1, 1]";
    assert_eq!(y_of(&text(weights), &[1.0, 2.0, 3.0, 4.0, 5.0]), [40.0, 55.0, 40.0]);
}

#[test]
fn indices_out_of_range_clamp_and_are_reported() {
    let text = "%0 = input \"x\" : f32[3]\n%1 = input \"i\" : i32[m]\n%2 = gather %0, %1 {axis=0} : f32[m]  // Net.embed\n\
                %3 = scatter_add %2, %1 {axis=0} : f32[3]  // Net.back\noutput \"y\" = %2\noutput \"z\" = %3";
    let indices = |values: &[f64]| Value::from_f64(DType::I32, &[values.len()], values).unwrap();
    let x = f32s(&[3], &[10.0, 20.0, 30.0]);
    let fine = run(text, [("x", x.clone()), ("i", indices(&[2.0, 0.0, 2.0]))]);
    assert_eq!(fine.outputs["z"].to_f64(), [10.0, 0.0, 60.0]);
    assert!(fine.out_of_range.is_empty());
    let out = run(text, [("x", x), ("i", indices(&[7.0, -1.0]))]);
    assert_eq!(out.outputs["y"].to_f64(), [30.0, 10.0]);
    assert_eq!(out.out_of_range, ["Net.embed", "Net.back"]);
}

#[test]
fn symbols_bind_and_guards_speak() {
    let text = "guard (n%2) \"n must be even\"\n%0 = input \"x\" : f32[n]\n%1 = input \"z\" : f32[2*n]\n%2 = dim (3*n) : i32[]\noutput \"y\" = %2";
    let graph = parse(text).unwrap();
    let with = |n: usize, m: usize| {
        let values = |count: usize| f32s(&[count], &vec![0.0; count]);
        let inputs = Values::from([("x".to_string(), values(n)), ("z".to_string(), values(m))]);
        evaluate(&graph, &inputs, &Values::new()).map(|o| o.outputs["y"].to_f64()).map_err(|e| e.message)
    };
    assert_eq!(with(2, 4), Ok(vec![6.0]));
    assert_eq!(with(3, 6), Err("n must be even".to_string()));
    assert!(with(2, 5).unwrap_err().contains("`z`"));
    let free = parse("bound m <= 4\n%0 = dim m : i32[]\noutput \"y\" = %0").unwrap();
    assert!(evaluate::<f32>(&free, &Values::new(), &Values::new()).is_err());
    let known = Symbols::from([("m".to_string(), 3)]);
    let y = evaluate_with::<f32>(&free, &Values::new(), &Values::new(), &known).unwrap();
    assert_eq!(y.outputs["y"].to_f64(), [3.0]);
}

#[test]
fn updates_see_old_values() {
    let graph = parse(
        "%0 = variable \"a\" : f32[]\n%1 = variable \"b\" : f32[]\nupdate \"a\" = %1\nupdate \"b\" = %0",
    )
    .unwrap();
    let variables =
        Values::from([("a".to_string(), f32s(&[], &[1.0])), ("b".to_string(), f32s(&[], &[2.0]))]);
    let updates = evaluate(&graph, &Values::new(), &variables).unwrap().updates;
    assert_eq!([updates["a"].to_f64(), updates["b"].to_f64()], [[2.0], [1.0]]);
}

#[test]
fn random_elements_depend_on_seed_batch_and_key() {
    let text = |distribution: &str, key: &str| {
        format!(
            "%0 = input \"random\" : i64[2]\n%1 = random %0 {{distribution={distribution}, key=\"{key}\"}} : f32[4096]\noutput \"y\" = %1"
        )
    };
    let draw =
        |text: &str, seed, batch| run(text, [("random", random_state(seed, batch))]).outputs["y"].to_f64();
    let uniform = text("uniform", "a");
    let first = draw(&uniform, 1, 2);
    assert_eq!(first, draw(&uniform, 1, 2));
    for other in [draw(&uniform, 2, 2), draw(&uniform, 1, 3), draw(&text("uniform", "b"), 1, 2)] {
        assert_ne!(first, other);
    }
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    assert!(first.iter().all(|v| (0.0..1.0).contains(v)));
    assert!((mean(&first) - 0.5).abs() < 0.02);
    let normal = draw(&text("normal", "a"), 1, 2);
    let squares: Vec<f64> = normal.iter().map(|v| v * v).collect();
    assert!(mean(&normal).abs() < 0.06 && (mean(&squares) - 1.0).abs() < 0.1);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let graph = parse(
        "%0 = input \"x\" : f32[n]\n%1 = slice %0 {axis=0, start=2, step=1} : f32[3]\noutput \"y\" = %1",
    )
    .unwrap();
    let with =
        |value: Value<f32>| evaluate(&graph, &Values::from([("x".to_string(), value)]), &Values::new());
    assert!(with(f32s(&[5], &[0.0; 5])).is_ok());
    assert!(with(f32s(&[4], &[0.0; 4])).is_err());
    assert!(with(f32s(&[2, 2], &[0.0; 4])).is_err());
    assert!(with(Value::from_f64(DType::I32, &[5], &[0.0; 5]).unwrap()).is_err());
    assert!(evaluate::<f32>(&graph, &Values::new(), &Values::new()).is_err());
}

#[test]
fn a_loop_carries_and_stacks() {
    // h = h / 2 + x, from 8; what is yielded is h before the step.
    let text = |reversed: bool| {
        format!(
            r#"%x = input : f32[t, 2]
            %h = input : f32[2]
            %w = input : f32[2]
            %scan = scan %x, %h, %w {{trip=t, reversed={reversed}, elements=1, carries=1}} : bool[0]
              | %element.0 = input : f32[2]
              | %carry.0 = input : f32[2]
              | %capture.0 = input : f32[2]
              | %mul = mul %carry.0, %capture.0 : f32[2]
              | %add = add %mul, %element.0 : f32[2]
              | output "carry.0" = %add
              | output "yield.0" = %carry.0
            %last = result %scan {{index=0}} : f32[2]
            %all = result %scan {{index=1}} : f32[t, 2]
            output "last" = %last
            output "all" = %all"#
        )
    };
    let inputs = || {
        [
            ("x", f32s(&[3, 2], &[1.0, 10.0, 2.0, 20.0, 3.0, 30.0])),
            ("h", f32s(&[2], &[8.0, 80.0])),
            ("w", f32s(&[2], &[0.5, 0.5])),
        ]
    };
    let forward = run(&text(false), inputs()).outputs;
    assert_eq!(forward["last"].to_f64(), [5.25, 52.5]);
    assert_eq!(forward["all"].to_f64(), [8.0, 80.0, 5.0, 50.0, 4.5, 45.0]);
    let backward = run(&text(true), inputs()).outputs;
    assert_eq!(backward["last"].to_f64(), [3.75, 37.5]);
    assert_eq!(backward["all"].to_f64(), [5.5, 55.0, 7.0, 70.0, 8.0, 80.0]);
    let mut none = inputs();
    none[0].1 = f32s(&[0, 2], &[]);
    let none = run(&text(false), none).outputs;
    assert_eq!(none["last"].to_f64(), [8.0, 80.0]);
    assert_eq!(none["all"].shape(), [0, 2]);
}
