//! Clauses of `train` about what happens between a gradient and a weight.

use super::{graph, module, rendered, run};
use weft_runtime::program::VariableKind;

const TRAINED: &str = "
model M(x: f32[n, 28, 28, 1]) -> f32[n, 10] { x |> flatten |> dense(10) }
data digits = mnist() { image = f32(image) / 255 }
optimizer plain(speed: float = 0.1)(w, g, step) { w <- w - speed * g }
";

/// A training with these clauses, by this optimizer.
fn trained(clauses: &str, using: &str) -> String {
    format!(
        "{TRAINED}train {{\n    on digits as {{ image, label }}\n    let loss = cross_entropy(M(image), label)\n    \
         {clauses}\n    minimize loss using {using}\n}}"
    )
}

#[test]
fn accumulation_moves_the_weights_in_an_entry_of_its_own() {
    let clauses = "accumulate = 4\n clip gradients by norm 1.0\n average weights by 0.9
        reduce rate by 0.5 after 2 epochs without better validation.loss with min_rate = 1e-4";
    let checked = run(&trained(clauses, "sgd(rate = 0.1, momentum = 0.9) { rate = cosine(0.2) for *.bias }"));
    let module = module(&checked);
    let names = module.entries.iter().map(|e| e.graph.name.as_str());
    let names: Vec<&str> = names.filter(|name| !name.starts_with("data.")).collect();
    assert_eq!(
        names,
        ["init", "predict", "train.step", "train.update", "train.evaluate", "train.report", "train.rates"]
    );
    let updated = |entry: &str, path: &str| graph(module, entry).updates.iter().any(|(p, _)| p == path);
    for path in ["M.dense.weight", "M.dense.weight/sgd.velocity", "M.dense.weight/train.average"] {
        assert!(updated("train.update", path) && !updated("train.step", path), "{path}");
    }
    for path in ["M.dense.weight/train.loss.gradient", "train/loss.gathered"] {
        assert!(updated("train.update", path) && updated("train.step", path), "{path}");
        assert!(module.variables.iter().any(|v| v.path == path && v.kind == VariableKind::Slot));
    }
    let training = &module.trainings[0];
    assert_eq!((training.accumulate, &training.updates[..]), (4, &["train.update".to_owned()][..]));
    assert_eq!(training.averages[0], ("M.dense.weight".into(), "M.dense.weight/train.average".into()));
    // A narrow weight is only run, and its average would be of another type.
    let narrow = crate::passes::narrow::weights(module, crate::graph::DType::BF16);
    assert_eq!(narrow.trainings[0].averages, []);
    let rule =
        training.reduce_rate.as_ref().map(|r| (r.factor, r.epochs, r.cooldown, r.watch.figure.as_str()));
    assert_eq!(rule, Some((0.5, 2, 0, "loss")));
}

#[test]
fn each_loss_that_moves_a_weight_has_states_of_its_own() {
    let step = |name: &str, using: &str| format!("step {name} {{ minimize loss using {using} }}");
    let slots = |clauses: &str| -> Vec<String> {
        let checked = run(&format!(
            "{TRAINED}train {{\n    on digits as {{ image, label }}\n    let loss = cross_entropy(M(image), label)\n    {clauses}\n}}"
        ));
        let slots = module(&checked).variables.iter().filter(|v| v.kind == VariableKind::Slot);
        slots.filter_map(|v| v.path.strip_prefix("M.dense.bias/").map(str::to_owned)).collect()
    };
    let moving = "sgd(rate = 0.1, momentum = 0.9)";
    assert_eq!(slots(&step("a", moving)), ["sgd.velocity"]);
    let both = format!("{}\n{}", step("a", moving), step("b", moving));
    assert_eq!(slots(&both), ["sgd.velocity", "sgd.b.loss.velocity"]);
    let twice = format!("minimize loss using {moving}\n minimize 2 * loss using {moving}");
    assert_eq!(slots(&twice), ["sgd.velocity", "sgd.loss_2.velocity"]);
}

#[test]
fn a_rate_that_never_changes_costs_no_entry() {
    for (using, rates) in [("sgd(rate = 0.1)", None), ("sgd(rate = cosine(0.1))", Some("train.rates"))] {
        let checked = run(&trained("", using));
        assert_eq!(module(&checked).trainings[0].rates.as_deref(), rates, "{using}");
    }
}

#[test]
fn mistakes_about_updates_name_their_place() {
    let reduce = |rest: &str| format!("reduce rate by {rest}");
    let watched = "epochs without better validation.loss";
    let clauses = [
        "accumulate = 0".to_owned(),
        "accumulate = 2.5".into(),
        "clip gradients by norm 0".into(),
        "clip gradients by global norm true".into(),
        "clip gradients by 1.0".into(),
        "clip_norm = 1.0".into(),
        "average weights by 1.5".into(),
        "average weights by 0.9\n    average weights by 0.99".into(),
        reduce(&format!("2 after 3 {watched}")),
        reduce(&format!("0.5 after 0 {watched}")),
        reduce("0.5 after 3 epochs without better validation.los"),
        reduce(&format!("0.5 after 3 {watched} with min_lr = 1e-5, cooldown = -1")),
        reduce(&format!("0.5 after 3 {watched}\n    step again {{ clip gradients by value -1 }}")),
    ];
    let optimizers = [
        "adam(rate = -1e-3)",
        "adam(beta2 = 1.5)",
        "sgd(nesterov = true)",
        "sgd(rate = mean(loss))",
        "adamw() { decay = \"no\" for *.bias; rate = -1 for *; beta1 *= true for * }",
        "sgd(rate = warm_up(0.1, steps = 0))",
        "sgd(rate = piecewise([1.0, 0.1, 0.01], bounds = [3, 2]))",
    ];
    let mut snapshot = String::new();
    let cases = clauses.iter().map(|clauses| (clauses.as_str(), "adam()"));
    let cases = cases.chain(optimizers.map(|using| ("accumulate = 2", using)));
    for (clauses, using) in cases.chain([(reduce(&format!("0.5 after 3 {watched}")).as_str(), "plain()")]) {
        let checked = run(&trained(clauses, using));
        assert!(checked.failed(), "{clauses}, {using}");
        snapshot += &format!("{}\n", rendered(&checked));
    }
    insta::assert_snapshot!(snapshot);
}
