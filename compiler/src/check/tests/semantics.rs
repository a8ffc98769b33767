//! What the language means: instances and paths, dims, sharing, entries.

use super::{graph, module, rendered, run};
use crate::graph::text::print;
use weft_runtime::program::{InputSource, VariableKind};

/// The paths of all weights and states.
fn paths(spec: &str) -> Vec<String> {
    let checked = run(spec);
    module(&checked).variables.iter().map(|v| v.path.clone()).collect()
}

#[test]
fn applications_are_independent_and_names_share() {
    let spec = "model M(x: f32[n, 8]) { let d = dense(8, bias = false)\n x |> dense(8, bias = false) |> dense(8, bias = false) |> d |> d |> out: dense(8, bias = false) }";
    assert_eq!(paths(spec), ["M.dense.weight", "M.dense_2.weight", "M.d.weight", "M.out.weight"]);
}

#[test]
fn fresh_instantiates_again() {
    let spec =
        "model M(x: f32[n, 8]) { let d = dense(8, bias = false)\n let e = fresh d\n x |> d |> e |> fresh d }";
    assert_eq!(paths(spec), ["M.d.weight", "M.e.weight", "M.dense.weight"]);
}

#[test]
fn repeats_and_loops_number_their_turns() {
    let spec = "layer b(k: int)(x: f32[n, k]) { x |> dense(k, bias = false) }
        model M(x: f32[n, 8]) {
            let stack = repeat(2, b(8))
            let y = x |> stack |> repeat(2, b(8))
            for i in range(2) { let c = b(8)\n y = y |> c |> b(8) }
            y
        }";
    assert_eq!(
        paths(spec),
        [
            "M.stack.0.dense.weight",
            "M.stack.1.dense.weight",
            "M.b.0.dense.weight",
            "M.b.1.dense.weight",
            "M.c.0.dense.weight",
            "M.b_2.0.dense.weight",
            "M.c.1.dense.weight",
            "M.b_2.1.dense.weight"
        ]
    );
}

#[test]
fn parameters_own_their_templates_and_keep_instances() {
    let spec = "model M(x: f32[n, 8]) { let d = dense(8, bias = false)\n x |> residual(d) |> residual(dense(8, bias = false)) |> residual(fn(y) { y |> dense(8, bias = false) }) }";
    assert_eq!(paths(spec), ["M.d.weight", "M.residual_2.inner.weight", "M.residual_3.inner.dense.weight"]);
}

#[test]
fn a_model_is_one_instance() {
    let spec = "model A(x: f32[n, 8]) { x |> dense(8, bias = false) }\nmodel B(x: f32[n, 8]) { A(A(x)) }";
    assert_eq!(paths(spec), ["A.dense.weight"]);
}

#[test]
fn what_dims_cannot_decide_is_guarded() {
    let checked = run("model M(x: f32[n, h], y: f32[n, w]) { x + y }");
    insta::assert_snapshot!(print(graph(module(&checked), "predict")), @r#"
    graph predict
    guard h - w "`+` needs one shape, but an axis is h and w"
    %x = input : f32[n, h]
    %y = input : f32[n, w]
    %M.slice = slice %y {axis=1, start=0, step=1} : f32[n, h]
    %M.add = add %x, %M.slice : f32[n, h]
    output "output" = %M.add
    "#);
}

#[test]
fn facts_decide() {
    let spec = |fact: &str| {
        format!("model M(x: f32[n, h]) {fact} {{ let y = reshape(x, [n, h / 2, 2])\n reshape(y, [n, h]) }}")
    };
    let guards = |spec: &str| graph(module(&run(spec)), "predict").guards.len();
    assert_eq!(guards(&spec("where h % 4 == 0")), 1, "the fact itself is checked when dims bind");
    assert_eq!(guards(&spec("")), 3, "the division, and both reshapes");
}

#[test]
fn optional_inputs_and_records() {
    let spec = "
        layer l(x: f32[n, d], mask: bool[n] = none) -> { y: f32[n, d], z: f32[n] } {
            let s = sum(x, axis = -1)
            let z = if mask == none { s } else { where(mask, s, 0) }
            { z = z, y = x }
        }
        model M(x: f32[n, 8]) { let l1 = l\n let { y, z as w } = l1(x)\n let p = l1(y, mask = w > 0)\n { a = p.y, b = p.z } }";
    let checked = run(spec);
    let outputs: Vec<&str> =
        graph(module(&checked), "predict").outputs.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(outputs, ["a", "b"]);
}

#[test]
fn a_weight_may_be_held_and_numbers_fill() {
    let spec = "layer l(x: f32[n, d]) { weight w: f32[d] = 2 with trainable = false, decay = false\n x * w }
        model M(x: f32[n, 3]) { x |> l }";
    let checked = run(spec);
    let module = module(&checked);
    assert!(!module.variables[0].trainable);
    insta::assert_snapshot!(print(graph(module, "init")), @r#"
    graph init
    %M.l.w.constant = constant 2.0 : f32[]
    %M.l.w.broadcast = broadcast %M.l.w.constant {axes=[]} : f32[3]
    update "M.l.w" = %M.l.w.broadcast
    "#);
}

#[test]
fn training_is_a_compile_time_bool_and_states_move_in_steps_only() {
    let spec = "
        model M(x: f32[n, 784]) { x |> batch_norm |> dropout(0.5) |> dense(10) }
        data digits = mnist() { image = reshape(f32(image), [784]) }
        train { on digits as { image, label }\n minimize cross_entropy(M(image), label) using sgd(rate = cosine(0.1), momentum = 0.9) { rate *= 0.5 for *.bias } }";
    let checked = run(spec);
    let module = module(&checked);
    let states: Vec<&str> =
        module.variables.iter().filter(|v| v.kind == VariableKind::State).map(|v| v.path.as_str()).collect();
    assert_eq!(states, ["M.batch_norm.moving_mean", "M.batch_norm.moving_variance"]);
    let updated = |entry: &str, path: &str| graph(module, entry).updates.iter().any(|(p, _)| p == path);
    for state in states {
        assert!(
            updated("train.step", state) && !updated("train.evaluate", state) && !updated("predict", state)
        );
    }
    assert!(
        updated("train.evaluate", "train/loss.sum") && updated("train.step", "M.dense.weight/sgd.velocity")
    );
    assert!(print(graph(module, "train.step")).contains("key=\"M.dropout.uniform\""));
    assert!(!print(graph(module, "train.evaluate")).contains("random"));
    let sources: Vec<InputSource> = module
        .entries
        .iter()
        .filter(|e| e.graph.name == "train.step")
        .flat_map(|e| e.inputs.iter().map(|i| i.2.clone()))
        .collect();
    assert!(sources.contains(&InputSource::Step) && sources.contains(&InputSource::TotalSteps));
    assert!(sources.contains(&InputSource::Field { data: 0, field: "label".into() }));
}

#[test]
fn steps_move_what_they_are_told() {
    let spec = "
        model G(z: f32[n, 4]) { z |> dense(784) |> tanh }
        model D(x: f32[n, 784]) { x |> dense(1) }
        data digits = mnist() { image = reshape(f32(image) / 255, [784]) }
        train gan {
            on digits as { image }
            let fake = G(normal(batch, 4))
            step d { minimize mean(D(image) - D(hold(fake)), axis = -1) over D using adam() }
            step g { minimize mean(D(fake), axis = -1) over G using adam() }
        }";
    let checked = run(spec);
    let module = module(&checked);
    let moved = |entry: &str| {
        let updates = graph(module, entry).updates.iter();
        updates.map(|(p, _)| p.clone()).filter(|p| !p.contains('/')).collect::<Vec<_>>()
    };
    assert_eq!(moved("gan.step.d"), ["D.dense.weight", "D.dense.bias"]);
    assert_eq!(moved("gan.step.g"), ["G.dense.weight", "G.dense.bias"]);
    let figures: Vec<&str> = module.trainings[0].figures.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(figures, ["d.loss", "g.loss"]);
}

#[test]
fn used_files_share_their_items() {
    let mut loader = |name: &str| match name {
        "specs/main.weft" => {
            Ok("use \"lib/parts.weft\" { head as top, wide }\nmodel M(x: f32[n, 4]) { x |> top(wide) }"
                .to_owned())
        }
        "specs/lib/parts.weft" => {
            Ok("setting wide = 6\nlayer head(k: int)(x: f32[n, d]) { x |> dense(k) }".to_owned())
        }
        other => Err(format!("no {other}")),
    };
    let checked = crate::check::check("specs/main.weft", &mut loader, &crate::check::Options::default());
    assert_eq!(rendered(&checked), "");
    assert_eq!(module(&checked).variables[0].path, "M.head.dense.weight");
}

/// A used data set is the file's own, under the name that it gives it; what its body needs comes from where it was declared.
#[test]
fn used_data_sets_are_trained_on_and_their_fits_read() {
    let mut loader = |name: &str| {
        match name {
        "main.weft" => Ok("use \"parts.weft\" { digits as numbers }
            model M(image: f32[n, 28, 28, 1]) -> f32[n, 10] { image |> flatten |> dense(10) }
            train { on numbers as { image, label } minimize cross_entropy(M(image - numbers.centre), label) using adam() }"
            .to_owned()),
        "parts.weft" => Ok("fn scaled(image: u8[...]) { f32(image) / 255 }
            data digits = mnist() { image = scaled(image) fit centre = mean(image) split validation = 0.1 }"
            .to_owned()),
        other => Err(format!("no {other}")),
    }
    };
    let checked = crate::check::check("main.weft", &mut loader, &crate::check::Options::default());
    assert_eq!(rendered(&checked), "");
    let module = module(&checked);
    let names: Vec<&str> = module.data.iter().map(|set| set.name.as_str()).collect();
    assert_eq!(names, ["numbers"]);
    assert!(module.variables.iter().any(|v| v.path == "numbers.centre"));
}

#[test]
fn the_typed_spec_is_stable() {
    let checked = run(super::SPECS[0].1);
    module(&checked);
    let typed = checked.typed.unwrap_or_default();
    assert_eq!(typed.parameters("Cnn"), 93_322);
    insta::assert_snapshot!(typed.to_string());
}

/// The whole contract at work: first values, steps and the report run on the reference evaluator, and the loss falls.
#[test]
fn a_training_learns_on_the_evaluator() {
    use crate::evaluate::{Values, evaluate, random_state};
    use crate::graph::DType;
    type Value = crate::evaluate::Value<f64>;
    let spec = "
        model M(x: f32[n, 28, 28, 1]) { x |> max_pool2d(14) |> flatten |> dense(8) |> batch_norm |> relu |> dropout(0.1) |> dense(10) }
        data digits = mnist() { image = f32(image) / 255 }
        train {
            on digits as { image, label }
            epochs = 1
            clip gradients by global norm 5.0
            let logits = M(image)
            minimize cross_entropy(logits, label) using adam(rate = cosine(0.05, end = 0.01))
            measure accuracy(logits, label)
        }";
    let checked = run(spec);
    let module = module(&checked);
    let mut variables: Values<f64> = Values::new();
    let mut inputs: Values<f64> = Values::new();
    inputs.insert("random".into(), random_state(1, 0));
    variables.extend(evaluate(graph(module, "init"), &inputs, &variables).unwrap().updates);
    assert_eq!(variables.len(), module.variables.len());
    let image = |at: &[usize]| {
        ((at[0] * 7 + at[1] / 14 * (at[0] % 3 + 1) * 90 + at[2] / 14 * (at[0] % 4) * 60) % 256) as f64
    };
    inputs.insert("digits.image".into(), Value::generate(DType::U8, &[12, 28, 28, 1], image));
    inputs.insert("digits.label".into(), Value::generate(DType::I32, &[12], |at| (at[0] % 10) as f64));
    inputs.insert("total".into(), Value::generate(DType::I64, &[], |_| 60.0));
    let mut losses = Vec::new();
    for step in 0..60 {
        inputs.insert("step".into(), Value::generate(DType::I64, &[], |_| f64::from(step)));
        inputs.insert("epoch".into(), Value::generate(DType::F32, &[], |_| 0.0));
        inputs.insert("random".into(), random_state(1, i64::from(step)));
        let needed = &module.entries.iter().find(|e| e.graph.name == "train.step").unwrap().inputs;
        let given: Values<f64> = inputs
            .iter()
            .filter(|(n, _)| needed.iter().any(|i| i.0 == **n))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        let outcome = evaluate(graph(module, "train.step"), &given, &variables).unwrap();
        losses.push(outcome.outputs["loss"].to_f64()[0]);
        variables.extend(outcome.updates);
    }
    let report = evaluate(graph(module, "train.report"), &Values::new(), &variables).unwrap().outputs;
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    assert!((report["loss"].to_f64()[0] - mean).abs() < 1e-9, "the figure is the mean of all batches");
    assert!(losses[59] < 0.5 * losses[0], "{losses:?}");
    assert!((0.0..=1.0).contains(&report["accuracy"].to_f64()[0]));
}

/// A training that measures what `measured` says.
fn measuring(items: &str, measured: &str) -> String {
    format!(
        "{items}
        model M(x: f32[n, 28, 28, 1]) {{ x |> flatten |> dense(10) }}
        data digits = mnist() {{ image = f32(image) / 255 }}
        train {{
            on digits as {{ image, label }}
            let logits = M(image)
            minimize cross_entropy(logits, label) using sgd(rate = 0.1)
            measure {measured}
        }}"
    )
}

#[test]
fn what_is_collected_leaves_a_batch_and_enters_the_report() {
    // Two rows of three for each row of the batch.
    let metric = "metric spread(logits: f32[n, 10]) {
            collect parts: f32[2 * n, 3] = reshape(logits[:, :6], [2 * n, 3])
            collect first = argmax(logits, axis = -1)
            value = max(parts) - f32(max(first)) / n
        }";
    let checked = run(&measuring(metric, "spread(logits)"));
    let module = module(&checked);
    for entry in ["train.step", "train.evaluate"] {
        let graph = graph(module, entry);
        let output = |name: &str| {
            let (_, node) = graph.outputs.iter().find(|(n, _)| n == name).unwrap();
            graph.node(*node).ty.to_string()
        };
        assert_eq!(output("train/spread.parts"), "f32[2*batch, 3]");
        assert_eq!(output("train/spread.first"), "i32[batch]");
    }
    let report = module.entries.iter().find(|e| e.graph.name == "train.report").unwrap();
    let inputs: Vec<String> = report.inputs.iter().map(|(name, ty, _)| format!("{name} {ty}")).collect();
    // Each row of the data has its own place, so that the count of rows binds `batch`.
    assert_eq!(inputs, ["train/spread.parts f32[batch, 2, 3]", "train/spread.first i32[batch]"]);
    assert!(report.inputs.iter().all(|(_, _, source)| *source == InputSource::Collected));
}

#[test]
fn a_figure_is_a_number_a_vector_a_table_or_a_record_of_these() {
    let metric = "metric both(logits: f32[n, k]) {
            sum total: f32[k] = sum(logits, axis = 0)
            value = { all = sum(total), each = total, pairs = expand(total, -1) * total }
        }";
    let checked = run(&measuring(metric, "both(logits), confusion_matrix(logits, label)"));
    let figures: Vec<(&str, &[usize])> =
        module(&checked).trainings[0].figures.iter().map(|f| (f.name.as_str(), f.shape.as_slice())).collect();
    let expected: [(&str, &[usize]); 5] = [
        ("loss", &[]),
        ("both.all", &[]),
        ("both.each", &[10]),
        ("both.pairs", &[10, 10]),
        ("confusion_matrix", &[10, 10]),
    ];
    assert_eq!(figures, expected);
}

#[test]
fn a_loss_with_weights_is_measured_as_their_mean() {
    let weighted = "cross_entropy(logits, label, class_weights = [1, 1, 1, 1, 1, 1, 1, 1, 1, 9])";
    let spec = measuring("", &format!("weighted: {weighted}"))
        .replace("cross_entropy(logits, label) using", &format!("{weighted} using"));
    let checked = run(&spec);
    let text = print(graph(module(&checked), "train.evaluate"));
    assert!(text.contains("\"train/weighted.count\"") && text.contains("\"train/loss.count\""), "{text}");
    // One weight for each label: no count is that of the rows.
    assert!(!text.contains("dim batch"), "{text}");
}

#[test]
fn class_weights_may_be_fitted() {
    let spec = "
        data digits = mnist() { image = f32(image) / 255  fit weights = class_weights(label, 10) }
        model Net(image: f32[n, 28, 28, 1]) { image |> flatten |> dense(10) }
        train {
            on digits as { image, label }
            minimize cross_entropy(Net(image), label, class_weights = digits.weights) using adam()
        }";
    let checked = run(spec);
    let step = graph(module(&checked), "train.step");
    assert!(print(step).contains("digits.weights"), "{}", print(step));
    // A list of another length than the classes is told; so is a tensor.
    let wrong = rendered(&run(&spec.replace("class_weights(label, 10)", "class_weights(label, 9)")));
    assert!(wrong.contains("there are 10 classes, but 9 weights"), "{wrong}");
}
