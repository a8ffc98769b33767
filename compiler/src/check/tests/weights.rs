//! What is asked of weights: attributes, rules of a `minimize`, sizes for each axis.

use super::{graph, module, rendered, run};
use crate::graph::Op;

/// A model with this body and a training of it with these rules.
fn trained(body: &str, rules: &str) -> String {
    format!(
        "model M(x: f32[n, 28, 28, 1]) -> f32[n, 10] {{\n    {body}\n}}
data digits = mnist() {{ image = f32(image) / 255 }}
train {{
    on digits as {{ image, label }}
    minimize cross_entropy(M(image), label) using adam() {rules}
}}"
    )
}

#[test]
fn a_reparametrisation_lives_beside_its_weight() {
    let layers = "x |> conv2d(4, kernel = 3, reparametrise = spectral_norm(rounds = 2)) |> flatten
        |> dense(8, reparametrise = weight_norm) |> out: dense(10, reparametrise = spectral_norm)";
    let checked = run(&trained(layers, ""));
    let paths: Vec<&str> = module(&checked).variables.iter().map(|v| v.path.as_str()).collect();
    for path in [
        "M.conv2d.weight",
        "M.conv2d.spectral_norm.left",
        "M.conv2d.spectral_norm.right",
        "M.dense.weight_norm.length",
        "M.out.spectral_norm.left",
    ] {
        assert!(paths.contains(&path), "{path} is not among {paths:?}");
    }
    let step = graph(module(&checked), "train.step");
    assert!(step.updates.iter().any(|(path, _)| path == "M.out.spectral_norm.left"));
    assert!(!graph(module(&checked), "predict").updates.iter().any(|(path, _)| path.contains("norm")));
}

#[test]
fn what_a_rule_takes_away_costs_nothing() {
    let with = "x |> flatten |> dense(10, regularise = l2(1e-4), constrain = max_norm(2))";
    let count = |body: &str, rules: &str| {
        let checked = run(&trained(body, rules));
        assert_eq!(rendered(&checked), "");
        let roots = graph(module(&checked), "train.step").ids();
        roots.filter(|id| matches!(graph(module(&checked), "train.step").node(*id).op, Op::Binary(_))).count()
    };
    let plain = count("x |> flatten |> dense(10)", "");
    assert!(count(with, "") > plain);
    assert_eq!(count(with, "{ regularise = none for *; constrain = none for *.weight }"), plain);
}

#[test]
fn mistakes_about_weights_name_their_place() {
    let dense = |arguments: &str| format!("x |> flatten |> dense(10, {arguments})");
    let own = |attributes: &str| {
        format!(
            "let own = fn(y) {{ y }}\n    let f = head(10)\n    f(x)\n}}\nlayer head(units: int)(x: f32[n, h, w, c]) -> f32[n, units] {{
    weight w: f32[784, units] = zeros() with {attributes}\n    flatten(x) @ w"
        )
    };
    let bodies = [
        dense("regularise = 1e-4"),
        dense("constrain = max_norm"),
        dense("regularise = abs"),
        dense("constrain = fn(w) { sum(w) }"),
        dense("reparametrise = fn(w) { transpose(w) }"),
        dense("regularise = l2, regularize = l1"),
        dense("kernel_regularizer = l2(0.1)"),
        own("trainable = 1, decays = false"),
        own("trainable = false, regularise = fn(w) { w |> dense(3) |> sum }, trainable = true"),
        "x |> conv2d(4, kernel = (3, 3, 3)) |> flatten |> dense(10)".to_owned(),
        "x |> conv2d(4, kernel = 2.5) |> flatten |> dense(10)".into(),
        "x |> conv2d(4, kernel = 3, stride = [1]) |> flatten |> dense(10)".into(),
        "x |> zero_pad2d(((1, 2, 3), 1)) |> flatten |> dense(10)".into(),
    ];
    let rules = [
        "{ regularise = l2(1e-4) for *.wieght }",
        "{ regularise *= 0.1 for * }",
        "{ constrain = 2 for *.weight }",
        "{ constrian = unit_norm for *.weight }",
    ];
    let plain = dense("bias = false");
    let cases = bodies.iter().map(|body| (body.as_str(), "")).chain(rules.map(|rule| (plain.as_str(), rule)));
    let mut snapshot = String::new();
    for (body, rule) in cases {
        snapshot += &format!("{}\n", rendered(&run(&trained(body, rule))));
    }
    insta::assert_snapshot!(snapshot);
}
