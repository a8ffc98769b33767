//! What happens between a gradient and a weight, in real trainings: accumulated batches, averages, reduced rates.

use std::collections::BTreeMap;
use std::sync::Arc;
use weft_compiler::check;
use weft_compiler::graph::Module;
use weft_runtime::data::Split;
use weft_runtime::error::Error;
use weft_runtime::program::{Program, VariableKind};
use weft_runtime::train::{self, Event, Observer, Options, Silent, Trainer};
use weft_tests::{cuda, specs};

/// A perceptron in two parts, and the digits in `specs/data`.
const MODELS: &str = "
model A(image: f32[n, 28, 28, 1]) -> f32[n, 16] { image |> max_pool2d(4) |> flatten |> dense(16) |> tanh }
model B(code: f32[n, 16]) -> f32[n, 10] { code |> dense(10) }
data digits = mnist(\"data/mnist\") { image = f32(image) / 255 }
";

/// One step; the rows weigh differently, and the rate, the clipping and the average all depend on what a step is.
const ONE_STEP: &str = "
    minimize { loss = cross_entropy(B(A(image)), label), weight = 0.5 + f32(label) / 4 }
        using sgd(rate = cosine(0.2), momentum = 0.9) { rate *= 0.5 for *.bias }
    clip gradients by global norm 0.5
    average weights by 0.9
";

/// Two steps, of which the second sees the first one's update.
const TWO_STEPS: &str = "
    let logits = B(A(image))
    step first { minimize cross_entropy(logits, label) over A using sgd(rate = 0.5) }
    step second { minimize cross_entropy(logits, label) over B using sgd(rate = 0.5) }
";

/// Penalties and constraints, which an update of many batches counts once.
const PENALISED: &str = "
    minimize cross_entropy(B(A(image)), label) using sgd(rate = 0.2) {
        regularise = l2(0.01) for *.weight
        constrain = max_norm(0.8) for B.dense.weight
    }
";

/// All that can be asked of a weight, at once.
const ASKED: &str = "
model Net(image: f32[n, 28, 28, 1]) -> f32[n, 10] {
    image
    |> conv2d(4, kernel = (3, 5), regularise = l2(0.001), reparametrise = spectral_norm) |> relu |> max_pool2d(4)
    |> flatten |> dropout(0.2) |> inner: dense(16, constrain = non_negative, reparametrise = weight_norm) |> tanh
    |> out: dense(10, regularise = elastic(1e-4, 1e-3), constrain = max_norm(0.5))
}
data digits = mnist(\"data/mnist\") { image = f32(image) / 255 }
train {
    on digits as { image, label }
    batch = 100
    minimize cross_entropy(Net(image), label) using adam(rate = 0.05) {
        constrain = unit_norm for conv2d.weight
        regularise = near_orthogonal(0.1) for inner.weight
    }
}";

/// Two losses that move the same weights, and their sum, which moves them as far: both rules are linear in the gradients, if each loss has a
/// momentum of its own.
const TWO_LOSSES: [&str; 2] = [
    "let logits = B(A(image))
     minimize cross_entropy(logits, label) using sgd(rate = 0.1, momentum = 0.9)
     minimize 0.5 * mean(logits ** 2) using sgd(rate = 0.1, momentum = 0.9)",
    "let logits = B(A(image))
     minimize cross_entropy(logits, label) + 0.5 * mean(logits ** 2) using sgd(rate = 0.1, momentum = 0.9)",
];

fn spec(clauses: &str) -> String {
    format!("{MODELS}train {{\n on digits as {{ image, label }}\n seed = 3\n {clauses} }}")
}

fn program(clauses: &str) -> Arc<Program> {
    compiled(&spec(clauses))
}

fn module(spec: &str) -> Module {
    let checked = specs::check_text(spec, &check::Options::default());
    let shown = specs::rendered(&checked);
    checked.module.unwrap_or_else(|| panic!("{shown}"))
}

fn compiled(spec: &str) -> Arc<Program> {
    Arc::new(weft_compiler::stages::compile(&module(spec)).unwrap_or_else(|e| panic!("{e}")))
}

/// The same for a GPU.
fn on_gpu(spec: &str) -> Arc<Program> {
    Arc::new(cuda::program(&module(spec)))
}

fn options(threads: usize) -> Options {
    Options { base: specs::root().join("specs"), threads: Some(threads), ..Options::default() }
}

fn trainer(clauses: &str, threads: usize) -> Trainer {
    prepared(program(clauses), threads)
}

fn prepared(program: Arc<Program>, threads: usize) -> Trainer {
    let mut trainer = Trainer::new(program, 0, &options(threads)).unwrap_or_else(|e| panic!("{e}"));
    trainer.initialise(None).unwrap_or_else(|e| panic!("{e}"));
    trainer
}

/// So many batches of the first epoch.
fn run(trainer: &mut Trainer, count: usize) {
    let mut batches = trainer.batches(1).expect("there is data");
    for done in 0..count {
        let Some(batch) = batches.next_batch().unwrap() else { return };
        trainer.step(batch, done).unwrap_or_else(|e| panic!("{e}"));
    }
}

/// Weights, states and averages.
fn weights(trainer: &mut Trainer) -> BTreeMap<String, Vec<f64>> {
    let session = trainer.session();
    let kept = |(_, v): &(usize, &weft_runtime::program::Variable)| {
        matches!(v.kind, VariableKind::Weight | VariableKind::State) || v.path.ends_with(".average")
    };
    let variables = session.program().variables.iter().enumerate().filter(kept);
    variables.map(|(index, v)| (v.path.clone(), session.variable(index).to_f64())).collect()
}

fn distance(a: &BTreeMap<String, Vec<f64>>, b: &BTreeMap<String, Vec<f64>>) -> f64 {
    assert!(a.keys().eq(b.keys()));
    let pairs = a.values().flatten().zip(b.values().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, |worst, d| if d.is_nan() { f64::NAN } else { worst.max(d) })
}

#[test]
fn losses_of_one_step_that_move_the_same_weights_both_do() {
    for keys in ["batch = 100", "batch = 50\n accumulate = 2"] {
        let [two, sum] = TWO_LOSSES.map(|clauses| {
            let mut trainer = trainer(&format!("{keys} {clauses}"), 2);
            run(&mut trainer, 20);
            weights(&mut trainer)
        });
        let far = distance(&two, &sum);
        assert!(far < 2e-5, "{far:.1e} off with {keys}");
    }
}

#[test]
fn any_loss_that_is_no_number_ends_the_training() {
    let sound = "minimize cross_entropy(logits, label) over A using sgd(rate = 0.1)";
    let wrong = "minimize mean(log(-1 - logits ** 2)) over B using sgd(rate = 0.1)";
    let logits = "let logits = B(A(image))";
    for clauses in [
        format!("{logits}\n step first {{ {sound} }}\n step second {{ {wrong} }}"),
        format!("{logits}\n {sound}\n {wrong}"),
    ] {
        let error = train::train(program(&clauses), 0, &options(2), &mut Silent).unwrap_err();
        assert!(matches!(error, Error::NonFinite { epoch: 1, batch: 1, .. }), "{error}: {clauses}");
    }
}

/// 8,000 rows: 166 batches of 48 and one of 32, so the last update has fewer batches and fewer rows.
#[test]
fn accumulated_batches_move_weights_as_one_large_batch() {
    for clauses in [ONE_STEP, TWO_STEPS, PENALISED] {
        let after = |keys: &str, threads: usize| {
            let mut trainer = trainer(&format!("{keys} {clauses}"), threads);
            run(&mut trainer, usize::MAX);
            weights(&mut trainer)
        };
        let large = after("batch = 192", 2);
        let small = after("batch = 48\n accumulate = 4", 2);
        let far = distance(&large, &small);
        assert!(far < 2e-5, "{far:.1e} off: {clauses}");
        assert_eq!(small, after("batch = 48\n accumulate = 4", 1), "threads change bits: {clauses}");
        let alone = distance(&large, &after("batch = 48", 2));
        assert!(alone > 1e-2, "every batch an update makes no difference ({alone:.1e}): {clauses}");
    }
}

#[test]
fn so_they_do_on_a_gpu() {
    if !cuda::is_ready() {
        return;
    }
    for clauses in [ONE_STEP, TWO_STEPS, PENALISED] {
        let after = |keys: &str, batches: usize| {
            let mut trainer = prepared(on_gpu(&spec(&format!("{keys} {clauses}"))), 1);
            run(&mut trainer, batches);
            weights(&mut trainer)
        };
        let far = distance(&after("batch = 192", 3), &after("batch = 48\n accumulate = 4", 12));
        assert!(far < 2e-5, "{far:.1e} off: {clauses}");
        let mut trainer = trainer(&format!("batch = 192 {clauses}"), 2);
        run(&mut trainer, 3);
        let far = distance(&after("batch = 192", 3), &weights(&mut trainer));
        assert!(far < 2e-5, "{far:.1e} off a processor's: {clauses}");
    }
}

#[test]
fn averages_are_those_of_the_formula_and_are_evaluated() {
    let mut trainer = trainer(&format!("batch = 100\n {ONE_STEP}"), 2);
    let mut expected: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut batches = trainer.batches(1).expect("there is data");
    for done in 0..7 {
        let batch = batches.next_batch().unwrap().expect("there are more rows");
        trainer.step(batch, done).unwrap_or_else(|e| panic!("{e}"));
        for (path, now) in weights(&mut trainer).into_iter().filter(|(path, _)| !path.contains('/')) {
            let average = expected.entry(format!("{path}/train.average")).or_insert_with(|| now.clone());
            average.iter_mut().zip(&now).for_each(|(a, w)| *a = 0.9 * *a + 0.1 * w);
        }
    }
    let state = weights(&mut trainer);
    let kept: BTreeMap<_, _> = state.clone().into_iter().filter(|(path, _)| path.contains('/')).collect();
    assert!(distance(&kept, &expected) < 1e-6, "{:.1e} off", distance(&kept, &expected));
    let evaluated = trainer.evaluate(Split::Validation, &mut Silent).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(weights(&mut trainer), state, "an evaluation leaves the weights");

    // Another training that has these averages for its weights says the same.
    let mut other = self::trainer(&format!("batch = 100\n {ONE_STEP}"), 2);
    let own = other.evaluate(Split::Validation, &mut Silent).unwrap_or_else(|e| panic!("{e}"));
    let session = other.session();
    let paths: Vec<String> = session.program().variables.iter().map(|v| v.path.clone()).collect();
    for (index, path) in paths.iter().enumerate() {
        if let Some(values) = kept.get(&format!("{path}/train.average")) {
            let bytes: Vec<u8> = values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect();
            session.variable_bytes_mut(index).copy_from_slice(&bytes);
        }
    }
    let same = other.evaluate(Split::Validation, &mut Silent).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(evaluated, same);
    assert_ne!(evaluated, own);
}

#[test]
fn weights_and_averages_are_both_saved_and_the_best_are_averages() {
    let out = std::env::temp_dir().join(format!("weft-averages-{}", std::process::id()));
    let program = program(&format!("batch = 100\n epochs = 2\n keep best by validation.loss\n {ONE_STEP}"));
    let options = Options { out: Some(out.clone()), ..options(2) };
    let summary =
        train::train(Arc::clone(&program), 0, &options, &mut Silent).unwrap_or_else(|e| panic!("{e}"));
    let loss = |file: &str, split| {
        let figures =
            train::evaluate(Arc::clone(&program), 0, Some(&out.join(file)), split, &options, &mut Silent);
        figures.unwrap_or_else(|e| panic!("{e}")).expect("nothing interrupts")
    };
    let test = loss(train::BEST_FILE, Split::Test);
    assert_eq!(summary.test.as_ref(), Some(&test));
    assert_eq!(summary.best, Some(train::Point::end_of(2)));
    assert_eq!(summary.validation, Some(loss(train::AVERAGE_FILE, Split::Validation)));
    assert_ne!(summary.validation, Some(loss(train::LAST_FILE, Split::Validation)));
    assert_eq!(summary.saved.len(), 3);
    std::fs::remove_dir_all(out).expect("the files were saved");
}

/// The gradient is 1, so the weight tells the sum of all rates: two steps of each epoch's.
#[test]
fn a_rate_falls_when_nothing_gets_better() {
    #[derive(Default)]
    struct Rates(Vec<f32>);
    impl Observer for Rates {
        fn event(&mut self, event: &Event<'_>) {
            if let Event::Record { record, .. } = event
                && let [(name, rate)] = record.rates.as_slice()
            {
                assert_eq!(name, "rate");
                self.0.push(*rate);
            }
        }
    }
    let text = "
        layer line()(image: f32[n, 28, 28, 1]) {
            weight w: f32[1] = zeros()
            sum(image * 0.0, axis = [1, 2, 3]) + w
        }
        model Line(image: f32[n, 28, 28, 1]) { image |> line }
        data digits = mnist(\"data/mnist\") { image = f32(image) }
        train {
            on digits as { image }
            batch = 4000
            epochs = 8
            minimize Line(image) using sgd(rate = 1.0)
            measure still: sum(image * 0.0, axis = [1, 2, 3])
            reduce rate by 0.5 after 1 epochs without better validation.still with min_rate = 0.2, cooldown = 1
        }";
    let mut trainer = prepared(compiled(text), 2);
    let mut rates = Rates::default();
    trainer.train(&Options::default(), &mut rates).unwrap_or_else(|e| panic!("{e}"));
    // The first epoch is the best there is; after each reduction one epoch does not count.
    assert_eq!(rates.0, [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2]);
    let w = &weights(&mut trainer)["Line.line.w"];
    assert!((w[0] + 2.0 * 3.9).abs() < 1e-5, "{w:?}");
}

/// Batches of nothing but padding.
#[test]
fn rows_without_weight_move_nothing() {
    for keys in ["batch = 50", "batch = 50\n accumulate = 2"] {
        let minimize = "minimize { loss = cross_entropy(B(A(image)), label), weight = f32(label > 9) }";
        let mut trainer = trainer(&format!("{keys}\n {minimize} using sgd(rate = 0.5)"), 2);
        let start = weights(&mut trainer);
        run(&mut trainer, 4);
        assert_eq!(weights(&mut trainer), start, "{keys}");
    }
}

/// Everything that touches a weight or a figure, at once.
#[test]
fn every_thread_count_gives_the_same_files_and_figures() {
    let clauses = "
        batch = 64
        accumulate = 3
        epochs = 2
        let logits = B(A(image))
        minimize cross_entropy(logits, label, smoothing = 0.1, class_weights = [1, 1, 2, 1, 1, 1, 1, 3, 1, 1], ignore = 4)
            using lamb(rate = warm_up(cosine(0.02), steps = 10)) { decay = 0 for *.bias; rate *= 0.5 for B.* }
        clip gradients by value 0.5
        clip gradients by norm 2.0
        clip gradients by global norm 3.0
        average weights by 0.9
        reduce rate by 0.5 after 1 epochs without better validation.f1 with cooldown = 1
        measure f1(logits, label), class_auc(softmax(logits), label, curve = pr, average = each)
        measure confusion_matrix(logits, label), perplexity(logits, label), r2(logits, one_hot(label, 10))
        keep best by validation.f1";
    let program = program(clauses);
    let results = [1, 2, 3].map(|threads| {
        let out = std::env::temp_dir().join(format!("weft-updates-{}-{threads}", std::process::id()));
        let options = Options { out: Some(out.clone()), ..options(threads) };
        let summary =
            train::train(Arc::clone(&program), 0, &options, &mut Silent).unwrap_or_else(|e| panic!("{e}"));
        let files = [train::BEST_FILE, train::LAST_FILE, train::AVERAGE_FILE]
            .map(|file| std::fs::read(out.join(file)).unwrap_or_else(|e| panic!("{file}: {e}")));
        std::fs::remove_dir_all(out).expect("the files were saved");
        (files, summary.train, summary.validation, summary.test)
    });
    assert!(results[0] == results[1] && results[1] == results[2], "threads change bits");
}

#[test]
fn constraints_hold_after_each_update() {
    /// The lengths of a matrix's columns.
    fn lengths(matrix: &[f64], columns: usize) -> Vec<f64> {
        let square = |c: usize| matrix.iter().skip(c).step_by(columns).map(|w| w * w).sum::<f64>();
        (0..columns).map(|c| square(c).sqrt()).collect()
    }
    let program = compiled(ASKED);
    let mut trainers: Vec<Trainer> =
        [1, 2, 3].into_iter().map(|threads| prepared(Arc::clone(&program), threads)).collect();
    if cuda::is_ready() {
        trainers.push(prepared(on_gpu(ASKED), 1));
    }
    let first = weights(&mut trainers[0]);
    assert!(first["Net.inner.weight"].iter().any(|w| *w < 0.0), "nothing is to be constrained");
    for done in 1..=6 {
        let mut all = Vec::new();
        for trainer in &mut trainers {
            run(trainer, 1);
            all.push(weights(trainer));
        }
        assert!(all[1] == all[0] && all[2] == all[0], "threads change bits of update {done}");
        for now in &all[2..] {
            let inner = &now["Net.inner.weight"];
            assert!(inner.iter().all(|w| *w >= 0.0) && inner.contains(&0.0), "update {done}: {inner:?}");
            let out = lengths(&now["Net.out.weight"], 10);
            assert!(
                out.iter().all(|l| *l < 0.5 + 1e-6) && out.iter().any(|l| *l > 0.499),
                "update {done}: {out:?}"
            );
            let kernel = lengths(&now["Net.conv2d.weight"], 4);
            assert!(kernel.iter().all(|l| (l - 1.0).abs() < 1e-5), "update {done}: {kernel:?}");
            assert_ne!(now["Net.inner.weight_norm.length"], first["Net.inner.weight_norm.length"]);
            assert_ne!(now["Net.conv2d.spectral_norm.left"], first["Net.conv2d.spectral_norm.left"]);
        }
    }
}
