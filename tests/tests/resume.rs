//! Runs that are left at any batch and gone on with, on another number of threads, end with the same bits: with all that a
//! spec can ask of a training.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use weft_compiler::check;
use weft_compiler::graph::Module;
use weft_runtime::execute::Session;
use weft_runtime::io;
use weft_runtime::program::Program;
use weft_runtime::train::{self, Ending, Event, Observer, Options, Silent, Summary};
use weft_tests::{cuda, specs};

const MODELS: &str = "
model A(image: f32[n, 28, 28, 1]) -> f32[n, 16] {
    image |> max_pool2d(4) |> flatten |> dense(16) |> batch_norm |> tanh |> dropout(0.3)
}
model B(code: f32[n, 16]) -> f32[n, 10] { code |> dense(10) }
data digits = mnist(\"data/mnist\") {
    image = f32(image) / 255
    split validation = 0.1
}
";

/// 8,000 rows: 17 batches an epoch, of which the last is short, so that updates of 3 batches end with one of 2.
const ALL_AT_ONCE: &str = "
    batch = 480
    epochs = 4
    accumulate = 3
    minimize cross_entropy(B(A(image)), label) using adam(rate = cosine(0.05))
    measure accuracy(B(A(image)), label), auc(B(A(image))[:, 1], f32(label == 1))
    average weights by 0.9
    keep best by validation.accuracy
    stop after 3 epochs without better validation.loss
    reduce rate by 0.5 after 1 epochs without better train.loss
";

/// Steps that take the batches of an update in turn hold them back until it is due.
const IN_TURN: &str = "
    batch = 480
    epochs = 2
    accumulate = 3
    let logits = B(A(image))
    step first { minimize cross_entropy(logits, label) over A using sgd(rate = 0.5, momentum = 0.9) }
    step second { minimize cross_entropy(logits, label) over B using sgd(rate = 0.5) }
    measure accuracy(logits, label)
    keep best by validation.accuracy
";

/// Validated within epochs, where the watched figures stand between epochs, too.
const OFTEN: &str = "
    batch = 480
    epochs = 4
    accumulate = 3
    validate every 7 batches
    minimize cross_entropy(B(A(image)), label) using adam(rate = cosine(0.05))
    measure accuracy(B(A(image)), label), auc(B(A(image))[:, 1], f32(label == 1))
    average weights by 0.9
    keep best by validation.accuracy
    stop after 2 epochs without better validation.loss
    reduce rate by 0.5 after 1 epochs without better validation.loss with cooldown = 1
";

fn program(clauses: &str) -> Arc<Program> {
    Arc::new(weft_compiler::stages::compile(&module(clauses)).unwrap_or_else(|e| panic!("{e}")))
}

fn module(clauses: &str) -> Module {
    let spec = format!("{MODELS}train {{\n on digits as {{ image, label }}\n seed = 3\n {clauses} }}");
    let checked = specs::check_text(&spec, &check::Options::default());
    let shown = specs::rendered(&checked);
    checked.module.unwrap_or_else(|| panic!("{shown}"))
}

/// A folder for one test's files, which is empty.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("resume").join(name);
    let _ = std::fs::remove_dir_all(&path);
    path
}

/// Interrupts after a batch.
struct Until(usize, usize, bool);

impl Observer for Until {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Batch { epoch, batch, .. } = event {
            self.2 = (*epoch, *batch) == (self.0, self.1);
        }
    }

    fn interrupted(&self) -> bool {
        self.2
    }
}

fn run(program: &Arc<Program>, options: &Options, observer: &mut dyn Observer) -> Summary {
    train::train(Arc::clone(program), 0, options, observer).unwrap_or_else(|e| panic!("{e}"))
}

/// Figures and files of a run, and its history, without its times.
fn outcome(summary: &Summary, out: &Path) -> (String, Vec<Vec<u8>>) {
    let (_, mut state) = train::peek(out).expect("it can be read").expect("it is there");
    state.seconds = 0.0;
    state.history.iter_mut().for_each(|record| record.seconds = 0.0);
    let files = summary.saved.iter().map(|file| std::fs::read(file).expect("it was saved"));
    (format!("{state:?} {:?} {:?}", summary.test, summary.ending), files.collect())
}

fn any_batch(name: &str, clauses: &str, moments: &[(usize, usize)]) {
    any_batch_of(name, program(clauses), moments);
}

fn any_batch_of(name: &str, program: Arc<Program>, moments: &[(usize, usize)]) {
    let options = |out: &Path, threads| Options {
        base: specs::root().join("specs"),
        threads: Some(threads),
        out: Some(out.to_path_buf()),
        ..Options::default()
    };
    let whole = folder(&format!("{name}_whole"));
    let expected = outcome(&run(&program, &options(&whole, 2), &mut Silent), &whole);
    for &(epoch, batch) in moments {
        let out = folder(&format!("{name}_{epoch}_{batch}"));
        let left = run(&program, &options(&out, 1), &mut Until(epoch, batch, false));
        assert_eq!(left.ending, Ending::Interrupted);
        let on = Options { resume: Some(out.clone()), ..options(&out, 2) };
        let got = outcome(&run(&program, &on, &mut Silent), &out);
        assert_eq!(got.0, expected.0, "left after batch {batch} of epoch {epoch}");
        assert!(got.1 == expected.1, "left after batch {batch} of epoch {epoch}: the files differ");
    }
}

#[test]
fn all_that_a_block_can_ask_for_is_gone_on_with() {
    any_batch("all_at_once", ALL_AT_ONCE, &[(1, 1), (2, 5), (2, 15), (3, 17), (4, 16)]);
}

#[test]
fn so_it_is_on_a_gpu() {
    if cuda::is_ready() {
        let clauses = ALL_AT_ONCE.replace("epochs = 4", "epochs = 2");
        any_batch_of("on_a_gpu", Arc::new(cuda::program(&module(&clauses))), &[(1, 16)]);
    }
}

#[test]
fn a_run_is_left_between_and_in_validations() {
    any_batch("often", OFTEN, &[(1, 6), (1, 7), (1, 9), (2, 4), (3, 17)]);
    any_batch("in_turn_often", &format!("{IN_TURN} validate every 4 batches"), &[(1, 4), (1, 6), (2, 5)]);
    // At the end of an epoch, when only that is left to be validated.
    any_batch("whole_epochs", &format!("{IN_TURN} validate every 17 batches"), &[(1, 17), (2, 1)]);
}

/// Validations leave no trace in the weights, nor in what the epoch's training comes to.
#[test]
fn validations_change_no_bit() {
    let watches = |line: &&str| ["keep", "stop", "reduce"].iter().any(|word| line.contains(word));
    let clauses: Vec<&str> = OFTEN.lines().filter(|line| !watches(line)).collect();
    let runs = ["7 batches", "2 epochs"].map(|every| {
        let out = folder(&format!("trace_{}", every.replace(' ', "_")));
        let base = specs::root().join("specs");
        let options = Options { base, out: Some(out.clone()), ..Options::default() };
        run(&program(&clauses.join("\n").replace("7 batches", every)), &options, &mut Silent);
        let weights = io::weights::read(&out.join(train::LAST_FILE)).expect("it was saved").tensors;
        let (_, state) = train::peek(&out).expect("it can be read").expect("it is there");
        let epochs = state.history.iter().filter(|record| record.point.within().is_none());
        let epochs: Vec<_> = epochs.map(|record| (record.point, record.train.clone())).collect();
        (weights, epochs, state.history.len())
    });
    let [often, rarely] = runs;
    assert!(often.2 > rarely.2 && often.0 == rarely.0);
    assert_eq!(often.1, rarely.1);
}

#[test]
fn batches_that_were_held_back_are_taken_again() {
    any_batch("in_turn", IN_TURN, &[(1, 2), (1, 3), (2, 16)]);
}

/// How long a training of 60 million parameters with Adam's states stands still for a checkpoint:
/// `cargo test --release -p weft-tests --test resume -- --ignored --nocapture`
#[test]
#[ignore = "takes 2 GB of memory, and its time is for people to read"]
fn a_checkpoint_of_60_million_parameters_costs_little() {
    let spec = "
        model Wide(image: f32[n, 28, 28, 1]) -> f32[n, 10] {
            image |> flatten |> dense(7000) |> relu |> dense(7000) |> relu |> dense(700) |> dense(10)
        }
        data digits = mnist(\"data/mnist\") { image = f32(image) / 255 }
        train { on digits as { image, label } minimize cross_entropy(Wide(image), label) using adam() }";
    let checked = specs::check_text(spec, &check::Options::default());
    let module = checked.module.expect("it is sound");
    let program = Arc::new(weft_compiler::stages::compile(&module).expect("it compiles"));
    let mut session = Session::new(Arc::clone(&program), 2).expect("there is memory");
    let (mut copy, mut times) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        for index in 0..program.variables.len() {
            session.variable_bytes_mut(index).fill(1);
        }
        let start = Instant::now();
        session.copy_variables(&mut copy);
        times.push(start.elapsed().as_secs_f64());
    }
    // A run makes its first copy before its first step, so that no later one waits for memory.
    println!(
        "{} MB: before the first step {:.3} s, then {:.3?} s",
        copy.len() / 1_000_000,
        times[0],
        &times[1..]
    );
    assert!(copy.len() > 700_000_000 && times[1..].iter().all(|time| *time < 0.2), "{times:?}");
}
