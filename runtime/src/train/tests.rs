//! The whole loop, on a program of a few instructions: one weight `w` that every step changes by a constant, and the loss w².
//! Starting at 5 and falling by 1 a batch, the loss falls to 0 and then rises again, as over-fitting would have it.

use std::collections::BTreeMap;

use super::point::Point;
use super::wiring::Wiring;
use super::*;
use crate::data::idx_testing::write_pair;
use crate::error::Error;
use crate::execute::Session;
use crate::execute::testing::{ADD_ALL, ADD_SQUARE, ADD_TO, Builder, DIVIDE, code};
use crate::io::testing::Folder;
use crate::io::weights;
use crate::program::*;

const WEIGHT: u32 = 0;
const LOSS: u32 = 1;
const COUNT: u32 = 2;
const LABELS: u32 = 3;

fn variable(path: &str, kind: VariableKind) -> Variable {
    Variable { path: path.into(), kind, dtype: DType::F32, shape: vec![], trainable: true, channels: vec![] }
}

/// Adds what steps and evaluations share: loss += w², count += 1, labels += Σ label.
fn measure(b: &mut Builder, one: DimIndex, label: BufferIndex, n: DimIndex) {
    let scalar = |b: &mut Builder, variable| b.buffer(DType::F32, one, Storage::Variable(variable));
    let (w, loss) = (scalar(b, WEIGHT), scalar(b, LOSS));
    let (count, labels) = (scalar(b, COUNT), scalar(b, LABELS));
    b.nest(ADD_SQUARE, &[], &[loss, w]);
    b.nest(ADD_TO, &[one], &[count]);
    let all = b.launch(Kernel::Nest { function: ADD_ALL, dims: vec![] }, n, &[labels, label]);
    b.segment(one, 1, vec![all]);
}

fn over_rows(name: &str) -> (Builder, DimIndex, BufferIndex, DimIndex) {
    let mut b = Builder::new(name, &["n"]);
    let n = b.dim(DimExpr::Symbol(0));
    let (one, two) = (b.constant(1), b.constant(2));
    b.input("image", DType::U8, &[n, two, two, one], InputSource::Field { data: 0, field: "image".into() });
    let label = b.input("label", DType::I32, &[n], InputSource::Field { data: 0, field: "label".into() });
    (b, one, label, n)
}

/// The program; each step adds `change` to w.
fn program(change: i64) -> Program {
    let mut init = Builder::new("init", &[]);
    let (one, two, five) = (init.constant(1), init.constant(2), init.constant(5));
    init.input("random", DType::I64, &[two], InputSource::Random);
    let w = init.buffer(DType::F32, one, Storage::Variable(WEIGHT));
    init.nest(ADD_TO, &[five], &[w]);

    let (mut step, one, label, n) = over_rows("train.step");
    step.input("step", DType::I64, &[], InputSource::Step);
    step.input("epoch", DType::F32, &[], InputSource::Epoch);
    let change = step.constant(change);
    let w = step.buffer(DType::F32, one, Storage::Variable(WEIGHT));
    step.nest(ADD_TO, &[change], &[w]);
    measure(&mut step, one, label, n);

    let (mut evaluate, one, label, n) = over_rows("train.evaluate");
    measure(&mut evaluate, one, label, n);

    let mut report = Builder::new("train.report", &[]);
    let one = report.constant(1);
    let count = report.buffer(DType::F32, one, Storage::Variable(COUNT));
    for (name, variable) in [("loss", LOSS), ("labels", LABELS)] {
        let sum = report.buffer(DType::F32, one, Storage::Variable(variable));
        let mean = report.buffer(DType::F32, one, Storage::Arena { first: 0, last: 0 });
        report.nest(DIVIDE, &[], &[sum, count, mean]);
        report.output(name, &[], mean);
    }

    Program {
        name: "square".into(),
        variables: vec![
            variable("w", VariableKind::Weight),
            variable("loss", VariableKind::Accumulator),
            variable("count", VariableKind::Accumulator),
            variable("labels", VariableKind::Accumulator),
        ],
        entries: [init, step, evaluate, report].map(|b| b.0).into(),
        code: code(),
        data: vec![DataSet {
            name: "digits".into(),
            source: DataSource::Idx { folder: "data".into() },
            fields: vec![Field::new("image", DType::U8, [2, 2, 1]), Field::new("label", DType::I32, [])],
            splits: Splits { validation: Held::Share(0.25), ..Splits::default() },
            fit: None,
            vocabularies: Vec::new(),
        }],
        trainings: vec![Training {
            name: "train".into(),
            data: 0,
            steps: vec!["train.step".into()],
            accumulate: 1,
            updates: vec![],
            rates: None,
            averages: vec![],
            gradients: vec![],
            evaluate: "train.evaluate".into(),
            report: "train.report".into(),
            batch: 10,
            epochs: 4,
            seed: 1,
            shuffle: true,
            bucket: false,
            figures: vec![
                Figure { name: "loss".into(), is_loss: true, shape: vec![], higher_is_better: false },
                Figure { name: "labels".into(), is_loss: false, shape: vec![], higher_is_better: true },
            ],
            keep_best: None,
            stop_after: None,
            reduce_rate: None,
            validate: Every::Epochs(1),
            checkpoint: None,
            indexed: vec![],
        }],
        ..Program::default()
    }
}

fn watch(figure: &str) -> Watch {
    Watch { split: "validation".into(), figure: figure.into(), higher_is_better: false }
}

/// 40 training rows, of which 10 are held out: 3 batches of 10 an epoch; 7 test rows.
fn digits() -> Folder {
    let folder = Folder::new();
    write_pair(&folder, "train", 40);
    write_pair(&folder, "t10k", 7);
    folder
}

fn options(folder: &Folder) -> Options {
    Options {
        data: vec![("digits".into(), folder.path().to_path_buf())],
        out: Some(folder.path().join("out/deep")),
        threads: Some(2),
        ..Options::default()
    }
}

/// Writes down what happens; may interrupt.
#[derive(Default)]
struct Diary {
    lines: Vec<String>,
    interrupt_at: Option<(usize, usize)>,
    at: (usize, usize),
    curious: bool,
    /// Steps to measure.
    measured: usize,
}

impl Observer for Diary {
    fn event(&mut self, event: &Event<'_>) {
        self.lines.push(match event {
            Event::Start { epochs, batch, rows, .. } => format!("start {epochs} × {batch} of {rows:?}"),
            Event::EpochStart { epoch, batches, .. } => format!("epoch {epoch}: {batches}"),
            Event::Batch { epoch, batch, rows, figures, .. } => {
                self.at = (*epoch, *batch);
                let loss = figures.as_ref().and_then(|f| f.number("loss"));
                format!(
                    "batch {epoch}.{batch}: {rows}{}",
                    loss.map_or(String::new(), |l| format!(" loss {l}"))
                )
            }
            Event::Record { record, .. } => {
                let validation = record.validation.as_ref().and_then(|f| f.number("loss"));
                let (point, train) = (record.point, record.train.number("loss"));
                match point.within() {
                    None => format!("end {}: {train:?} {validation:?} {}", point.epoch(), record.best),
                    Some(_) => format!("within {point}: {train:?} {validation:?} {}", record.best),
                }
            }
            Event::Profile { entry, launches } => {
                assert!(launches.iter().all(|launch| launch.flops >= 0));
                format!("profile of {entry}: {} launches", launches.len())
            }
            Event::Note { text } => format!("note: {text}"),
            Event::Unsaved { error } => format!("unsaved: {error}"),
            Event::End { summary } => format!("end: {:?}", summary.ending),
        });
    }

    fn wants_figures(&mut self) -> bool {
        self.curious
    }

    fn wants_profile(&mut self) -> bool {
        let more = self.measured > 0;
        self.measured = self.measured.saturating_sub(1);
        more
    }

    fn interrupted(&self) -> bool {
        self.interrupt_at == Some(self.at)
    }
}

#[test]
fn a_training_runs_as_the_spec_says() {
    let folder = digits();
    let mut diary = Diary { curious: true, ..Diary::default() };
    let options = Options { epochs: Some(1), batch: Some(12), ..options(&folder) };
    let summary = train(Arc::new(program(-1)), 0, &options, &mut diary).unwrap();
    assert_eq!(
        diary.lines,
        [
            "start 1 × 12 of [30, 10, 7]",
            "epoch 1: 3",
            "batch 1.1: 12 loss 16",
            "batch 1.2: 12 loss 12.5",
            "batch 1.3: 6 loss 9.666667",
            "end 1: Some(9.666667) Some(4.0) false",
            "end: Finished",
        ]
    );
    // w is 2; the test labels 0 … 6 come in one batch.
    assert_eq!(
        summary.test,
        Some(Figures(vec![("loss".into(), 4.0.into()), ("labels".into(), 21.0.into())]))
    );
    assert_eq!(summary.saved, [options.out.unwrap().join(LAST_FILE)]);
    let saved = weights::read(&summary.saved[0]).unwrap();
    assert_eq!(saved.tensors["w"].view().to_f64(), [2.0]);
    assert_eq!(saved.tensors.len(), 1);
    let expected =
        ["epoch: 1", "seed: 1", "spec: square", "train.labels", "train.loss: 9.666667", "training: train"];
    let metadata: Vec<String> = saved.metadata.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    assert!(expected.iter().zip(&metadata).all(|(expected, got)| got.starts_with(expected)), "{metadata:?}");
}

#[test]
fn the_best_weights_are_kept_and_tested() {
    let folder = digits();
    let mut program = program(-1);
    program.trainings[0].keep_best = Some(watch("loss"));
    let mut diary = Diary::default();
    let options = options(&folder);
    let summary = train(Arc::new(program.clone()), 0, &options, &mut diary).unwrap();
    // After 3 batches an epoch, w is 2, -1, -4, -7.
    let ends: Vec<&String> = diary.lines.iter().filter(|line| line.starts_with("end ")).collect();
    assert!(ends[0].ends_with("Some(4.0) true") && ends[1].ends_with("Some(1.0) true"), "{ends:?}");
    assert!(ends[2].ends_with("Some(16.0) false") && ends[3].ends_with("Some(49.0) false"), "{ends:?}");
    assert_eq!((summary.epochs, summary.best, summary.ending), (4, Some(Point::end_of(2)), Ending::Finished));
    assert_eq!(summary.test.unwrap().number("loss"), Some(1.0));
    assert_eq!(summary.validation.unwrap().number("loss"), Some(1.0));
    let out = options.out.clone().unwrap();
    let w = |file: &str| weights::read(&out.join(file)).unwrap().tensors["w"].view().to_f64()[0];
    assert_eq!((w(BEST_FILE), w(LAST_FILE)), (-1.0, -7.0));

    let program = Arc::new(program);
    let loss = |file: &str, split| {
        evaluate(Arc::clone(&program), 0, Some(&out.join(file)), split, &options, &mut Silent)
            .unwrap()
            .and_then(|figures| figures.number("loss"))
            .unwrap()
    };
    assert_eq!((loss(BEST_FILE, Split::Test), loss(LAST_FILE, Split::Validation)), (1.0, 49.0));
}

#[test]
fn an_evaluation_holds_out_the_rows_that_its_weights_did_not_see() {
    let folder = digits();
    let options = options(&folder);
    let trained = Options { seed: Some(77), epochs: Some(1), ..options.clone() };
    let program = Arc::new(program(-1));
    let summary = train(Arc::clone(&program), 0, &trained, &mut Silent).unwrap();
    let evaluate = |options: &Options| {
        evaluate(Arc::clone(&program), 0, Some(&summary.saved[0]), Split::Validation, options, &mut Silent)
            .unwrap()
    };
    // The sum of the held-out labels tells which rows they are.
    assert_eq!(evaluate(&options), summary.validation);
    assert_ne!(evaluate(&Options { seed: Some(78), ..options }), summary.validation);
}

#[test]
fn patience_ends_a_training() {
    let folder = digits();
    let mut program = program(-1);
    program.trainings[0].epochs = 100;
    program.trainings[0].stop_after = Some((3, watch("loss")));
    let summary = train(Arc::new(program), 0, &options(&folder), &mut Silent).unwrap();
    assert_eq!((summary.epochs, summary.ending), (5, Ending::StoppedEarly));
}

#[test]
fn a_step_that_is_measured_does_the_same() {
    let folder = digits();
    let files = [0, 2].map(|measured| {
        let mut diary = Diary { measured, ..Diary::default() };
        let summary = train(Arc::new(program(-1)), 0, &options(&folder), &mut diary).unwrap();
        let told = diary.lines.iter().filter(|line| line.starts_with("profile of train.step: ")).count();
        assert_eq!(told, measured);
        (summary.train, std::fs::read(options(&folder).out.unwrap().join(LAST_FILE)).unwrap())
    });
    assert!(files[0] == files[1]);
}

#[test]
fn validations_come_as_often_as_the_spec_says() {
    let folder = digits();
    let told = |validate: Every, change: &dyn Fn(&mut Program)| {
        let mut program = program(-1);
        program.trainings[0].validate = validate;
        change(&mut program);
        let mut diary = Diary::default();
        let summary = train(Arc::new(program), 0, &options(&folder), &mut diary).unwrap();
        let seen = |line: &String| line.starts_with("end ") || line.starts_with("within ");
        (diary.lines.into_iter().filter(seen).collect::<Vec<_>>(), summary)
    };
    // After 3 batches an epoch, w is 2, -1, -4, -7. The last epoch is always validated.
    let (lines, _) = told(Every::Epochs(3), &|_| {});
    let seen: Vec<_> = lines.iter().map(|line| line.split(' ').nth(3).unwrap()).collect();
    assert_eq!(seen, ["None", "None", "Some(16.0)", "Some(49.0)"]);
    // Batches are counted on from epoch to epoch; what the epoch has summed up is left as it was.
    let (lines, summary) = told(Every::Batches(4), &|p| p.trainings[0].keep_best = Some(watch("loss")));
    assert_eq!(
        lines,
        [
            "end 1: Some(9.666667) None false",
            "within epoch 2, batch 1: Some(1.0) Some(1.0) true",
            "end 2: Some(0.6666667) None false",
            "within epoch 3, batch 2: Some(6.5) Some(9.0) false",
            "end 3: Some(9.666667) None false",
            "end 4: Some(36.666668) Some(49.0) false",
        ]
    );
    assert_eq!((summary.best, summary.epochs), (Some(Point { epochs: 1, batch: 1 }), 4));
    assert_eq!(summary.validation.unwrap().number("loss"), Some(1.0));
    let best = weights::read(&options(&folder).out.unwrap().join(BEST_FILE)).unwrap();
    assert_eq!((best.metadata["epoch"].as_str(), best.metadata["batch"].as_str()), ("2", "1"));
    assert_eq!(best.tensors["w"].view().to_f64(), [1.0]);
    // Nothing better than at the fifth batch for an epoch's worth of them: found at the first look after that.
    let (lines, summary) = told(Every::Batches(1), &|p| p.trainings[0].stop_after = Some((1, watch("loss"))));
    assert_eq!(lines.last().unwrap(), "within epoch 3, batch 2: Some(6.5) Some(9.0) false");
    assert_eq!((summary.epochs, summary.ending), (2, Ending::StoppedEarly));
}

#[test]
fn every_run_and_thread_count_gives_the_same_files() {
    let mut files = Vec::new();
    for threads in [1, 2, 3, 2] {
        let folder = digits();
        let options = Options { threads: Some(threads), ..options(&folder) };
        train(Arc::new(program(-1)), 0, &options, &mut Silent).unwrap();
        files.push(std::fs::read(options.out.unwrap().join(LAST_FILE)).unwrap());
    }
    assert!(files.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn an_interrupted_training_saves_and_can_go_on_from_its_weights() {
    let folder = digits();
    let mut diary = Diary { interrupt_at: Some((2, 1)), ..Diary::default() };
    let options = options(&folder);
    let summary = train(Arc::new(program(-1)), 0, &options, &mut diary).unwrap();
    assert_eq!((summary.epochs, summary.ending, summary.test), (1, Ending::Interrupted, None));
    let last = options.out.clone().unwrap().join(LAST_FILE);
    assert_eq!(weights::read(&last).unwrap().tensors["w"].view().to_f64(), [1.0]);
    let options = Options { weights: Some(last.clone()), epochs: Some(1), ..options };
    train(Arc::new(program(-1)), 0, &options, &mut Silent).unwrap();
    assert_eq!(weights::read(&last).unwrap().tensors["w"].view().to_f64(), [-2.0]);
}

#[test]
fn an_interruption_while_validating_keeps_the_epoch() {
    /// Interrupts at the first look after an epoch's last batch, which is in the validation.
    #[derive(Default)]
    struct Impatient {
        looks: std::cell::Cell<usize>,
    }
    impl Observer for Impatient {
        fn interrupted(&self) -> bool {
            self.looks.set(self.looks.get() + 1);
            self.looks.get() > 3
        }
    }
    let folder = digits();
    let summary = train(Arc::new(program(-1)), 0, &options(&folder), &mut Impatient::default()).unwrap();
    assert_eq!((summary.epochs, summary.ending), (1, Ending::Interrupted));
    let saved = weights::read(&summary.saved[0]).unwrap();
    assert_eq!((saved.metadata["epoch"].as_str(), saved.tensors["w"].view().to_f64()), ("1", vec![2.0]));
}

#[test]
fn a_loss_that_is_not_finite_stops_at_its_batch_and_keeps_the_files() {
    let folder = digits();
    let options = options(&folder);
    train(Arc::new(program(-1)), 0, &options, &mut Silent).unwrap();
    let last = options.out.clone().unwrap().join(LAST_FILE);
    let before = std::fs::read(&last).unwrap();
    let error = train(Arc::new(program(i64::MAX)), 0, &options, &mut Silent).unwrap_err();
    assert!(matches!(error, Error::NonFinite { epoch: 1, batch: 2, .. }), "{error}");
    assert_eq!(std::fs::read(&last).unwrap(), before);
}

#[test]
fn a_metric_may_be_without_a_value() {
    let folder = digits();
    let mut odd = program(i64::MAX);
    odd.trainings[0].figures[0].is_loss = false;
    train(Arc::new(odd), 0, &options(&folder), &mut Silent).unwrap();
}

#[test]
fn weights_that_do_not_fit_are_listed() {
    let folder = digits();
    let mut program = program(-1);
    program.variables.push(variable("Cnn.dense.weight", VariableKind::Weight));
    program.variables.push(variable("Cnn.dense.bias", VariableKind::State));
    let mut session = Session::new(Arc::new(program), 1).unwrap();
    let path = folder.path().join("w");
    let mut tensors = BTreeMap::new();
    let (scalar, vector) =
        (crate::tensor::Tensor::from_f32(&[], &[1.0]), crate::tensor::Tensor::from_f32(&[1], &[1.0]));
    tensors.insert("w", vector.view());
    tensors.insert("Cnn.dense.bias", scalar.view());
    tensors.insert("Cnn.dense_1.weight", scalar.view());
    tensors.insert("loss", scalar.view());
    weights::write(&path, &tensors, &BTreeMap::new()).unwrap();
    let message = crate::weights::load_weights(&mut session, &path).unwrap_err().to_string();
    let expected = "these weights are not those of `square`; \
        missing: Cnn.dense.weight (the file has Cnn.dense_1.weight); \
        unexpected: Cnn.dense_1.weight; \
        different: w is f32[1] in the file, but f32[] in the spec";
    assert_eq!(message, format!("{}: {expected}", path.display()));
    // Nothing was taken over.
    assert_eq!(session.variable(5).to_f64(), [0.0]);
}

#[test]
fn mistakes_are_found_before_the_first_step() {
    let folder = digits();
    let message = |damage: &dyn Fn(&mut Program, &mut Options)| {
        let (mut program, mut options) = (program(-1), options(&folder));
        damage(&mut program, &mut options);
        let mut diary = Diary::default();
        let error = train(Arc::new(program), 0, &options, &mut diary).unwrap_err();
        assert!(diary.lines.is_empty());
        error.to_string()
    };
    assert_eq!(
        message(&|_, o| o.data[0].0 = "digit".into()),
        "no data set is named `digit`; did you mean `digits`?"
    );
    assert!(message(&|_, o| o.data.clear()).contains("the folder data does not exist"));
    assert!(message(&|_, o| o.batch = Some(0)).contains("a batch needs rows"));
    assert_eq!(
        message(&|p, _| p.trainings[0].keep_best = Some(watch("accuracy"))),
        "no figure is named `accuracy`; known: loss, labels"
    );
    assert!(
        message(&|p, _| {
            p.data[0].splits.validation = Held::Nothing;
            p.trainings[0].keep_best = Some(watch("loss"));
        })
        .contains("`validation.loss` is watched, but the data has no validation part")
    );
    assert!(message(&|p, _| p.trainings[0].steps[0] = "step".into()).contains("no entry is named `step`"));
    assert!(
        message(&|p, _| p.data[0].fields[0].shape = vec![28, 28, 1])
            .contains("but the spec says u8[28, 28, 1]")
    );
    assert!(message(&|_, o| o.out = Some("/proc/nothing/here".into())).contains("cannot make the folder"));
}

#[test]
fn wires_carry_the_moment() {
    let mut b = Builder::new("echo", &[]);
    let two = b.constant(2);
    let random = b.input("random", DType::I64, &[two], InputSource::Random);
    b.output("random", &[two], random);
    for (name, dtype, source) in [
        ("step", DType::I64, InputSource::Step),
        ("epoch", DType::F32, InputSource::Epoch),
        ("total", DType::I64, InputSource::TotalSteps),
        ("rate_factor", DType::F32, InputSource::RateFactor),
    ] {
        let input = b.input(name, dtype, &[], source);
        b.output(name, &[], input);
    }
    let program = Program { entries: vec![b.0], ..Program::default() };
    let mut session = Session::new(Arc::new(program), 1).unwrap();
    let wiring = Wiring::new(&session, "echo", 0, &Default::default()).unwrap();
    let moment = Moment { seed: 9, batch: 5, step: 6, epoch: 1.5, total_steps: 70, rate_factor: 0.25 };
    let outputs = wiring.run(&mut session, None, &moment).unwrap();
    let values: Vec<Vec<f64>> = outputs.iter().map(|(_, value)| value.to_f64()).collect();
    assert_eq!(values, [vec![9.0, 5.0], vec![6.0], vec![1.5], vec![70.0], vec![0.25]]);
}

/// All files and figures of a run, but for its times.
fn outcome(summary: &Summary, out: &std::path::Path) -> (Summary, Vec<(PathBuf, Vec<u8>)>) {
    let files = summary.saved.iter().map(|path| {
        let name = path.strip_prefix(out).unwrap().to_path_buf();
        (name, std::fs::read(path).unwrap())
    });
    (Summary { seconds: 0.0, saved: vec![], ..summary.clone() }, files.collect())
}

#[test]
fn a_run_left_anywhere_goes_on_to_the_same_bits() {
    let mut program = program(-1);
    let training = &mut program.trainings[0];
    (training.keep_best, training.stop_after) = (Some(watch("loss")), Some((3, watch("loss"))));
    (training.epochs, training.accumulate) = (9, 1);
    let program = Arc::new(program);
    let whole = digits();
    let options = options(&whole);
    let out = options.out.clone().unwrap();
    let summary = train(Arc::clone(&program), 0, &options, &mut Silent).unwrap();
    let expected = outcome(&summary, &out);
    assert_eq!((summary.epochs, summary.ending, expected.1.len()), (5, Ending::StoppedEarly, 2));
    for at in [(1, 1), (1, 3), (2, 2), (3, 1), (5, 2), (5, 3)] {
        let folder = digits();
        let mut diary = Diary { interrupt_at: Some(at), ..Diary::default() };
        let left = Options { out: Some(folder.path().join("run")), ..options.clone() };
        let summary = train(Arc::clone(&program), 0, &left, &mut diary).unwrap();
        assert_eq!(summary.ending, Ending::Interrupted);
        // Whoever goes on may have other threads and may stop again.
        let again = Options { resume: left.out.clone(), threads: Some(1), ..left };
        let mut diary = Diary { interrupt_at: Some((at.0, 3)), ..Diary::default() };
        train(Arc::clone(&program), 0, &again, &mut diary).unwrap();
        let mut diary = Diary::default();
        let summary = train(Arc::clone(&program), 0, &again, &mut diary).unwrap();
        let got = outcome(&summary, again.out.as_deref().unwrap());
        assert_eq!(format!("{:?}", got.0), format!("{:?}", expected.0), "{at:?}");
        assert!(got.1 == expected.1, "{at:?}: the files differ");
        // Then there is nothing left to do, and the outcome is told again.
        let summary = train(Arc::clone(&program), 0, &again, &mut diary).unwrap();
        assert_eq!((summary.test, summary.ending), (expected.0.test.clone(), Ending::StoppedEarly));
    }
}
