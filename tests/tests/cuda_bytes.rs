//! What the kernels of maps, rows, columns, indices and convolutions of single channels move: the bytes that memory moves in training steps and
//! predictions of every spec, as the interpreter counts them, are at most 1.15 times those that a kernel needs. Counts, not times, so they are the
//! same everywhere.
//! `weft bench --dry` shows them for any spec, and says what needs and moves are.
//!
//! **Sizes** are small, and so is the interpreter's cache, a block's share of a GPU's: 48 KB for 256 threads. What all samples of a batch read again (a table of
//! positions, a row of scales) lies in a GPU's cache from one sample to the next, for a sample of a real size moves a thirtieth of what that
//! holds. So samples here move no more than the interpreter's holds.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use weft_compiler::check::Options;
use weft_compiler::cuda::Library;
use weft_compiler::graph::{Entry, Module};
use weft_runtime::execute::Session;
use weft_runtime::program::{InputSource, Kernel};
use weft_tests::device::{Device, Machine};
use weft_tests::{batches, cuda, specs};

/// What a kernel may move for each byte that it needs.
const MOST: f64 = 1.15;
/// Kernels that need less are all start and no traffic.
const LITTLE: u64 = 16 << 10;
/// Bytes that memory moves at once.
const SECTOR: u64 = 32;

/// A spec, settings that make it small, and rows of a batch.
type Case = (&'static str, &'static [(&'static str, &'static str)], usize);

const CASES: [Case; 28] = [
    ("specs/autoencoder", &[], 96),
    (
        "specs/bert",
        &[
            ("layers", "1"),
            ("width", "64"),
            ("heads", "2"),
            ("hidden", "128"),
            ("vocab", "400"),
            ("length", "32"),
        ],
        12,
    ),
    ("specs/cifar_cnn", &[("width", "8")], 4),
    ("specs/cifar_keras", &[], 1),
    ("specs/dcgan", &[("latent", "16"), ("width", "16")], 4),
    ("specs/denoising", &[("width", "8")], 8),
    (
        "specs/en_es",
        &[
            ("layers", "1"),
            ("width", "32"),
            ("heads", "2"),
            ("hidden", "64"),
            ("vocab", "300"),
            ("longest", "24"),
        ],
        16,
    ),
    ("specs/fashion_mnist", &[("width", "8")], 12),
    ("specs/gan_mnist", &[("latent", "16"), ("width", "16")], 4),
    ("specs/gan_quality", &[("latent", "16"), ("width", "8"), ("steps", "1")], 4),
    ("specs/gpt", &[("layers", "1"), ("width", "64"), ("heads", "2"), ("context", "32")], 9),
    ("specs/imdb_bow", &[], 32),
    ("specs/imdb_cnn", &[], 16),
    ("specs/imdb_lstm", &[("vocab", "300"), ("units", "16")], 32),
    (
        "specs/imdb_transformer",
        &[("vocab", "300"), ("layers", "1"), ("width", "32"), ("heads", "2"), ("longest", "40")],
        24,
    ),
    ("specs/iris", &[], 512),
    ("specs/lstm_series", &[("units", "32")], 32),
    ("specs/mnist_cnn", &[], 12),
    ("specs/mnist_mlp", &[], 96),
    (
        "specs/mobilenet",
        &[
            ("stages", "[(1, 8, 1, 1), (6, 16, 1, 2)]"),
            ("size", "32"),
            ("stem", "16"),
            ("last", "64"),
            ("classes", "10"),
        ],
        6,
    ),
    ("specs/peephole", &[("units", "32")], 24),
    ("specs/resnet50", &[("depths", "[1, 1]"), ("width", "8"), ("size", "64"), ("classes", "10")], 4),
    (
        "specs/t5_small",
        &[
            ("layers", "1"),
            ("width", "64"),
            ("heads", "2"),
            ("head_width", "16"),
            ("hidden", "128"),
            ("vocab", "400"),
            ("length", "32"),
        ],
        12,
    ),
    ("specs/unet", &[("widths", "[8, 16]"), ("size", "60"), ("classes", "10")], 2),
    ("specs/vae", &[("width", "8")], 12),
    (
        "specs/vit",
        &[
            ("size", "64"),
            ("layers", "1"),
            ("width", "64"),
            ("heads", "2"),
            ("hidden", "128"),
            ("classes", "10"),
        ],
        12,
    ),
    ("specs/vowels_cnn", &[], 64),
    ("specs/vowels_lstm", &[], 32),
];

/// Specs at widths, heads and lengths that are multiples of nothing.
const UNEVEN: [Case; 14] = [
    ("tests/shapes", &[], 3),
    (
        "specs/bert",
        &[
            ("layers", "1"),
            ("width", "66"),
            ("heads", "3"),
            ("hidden", "131"),
            ("vocab", "401"),
            ("length", "37"),
        ],
        12,
    ),
    ("specs/cifar_cnn", &[("width", "13")], 5),
    ("specs/dcgan", &[("latent", "17"), ("width", "14")], 5),
    ("specs/denoising", &[("width", "11")], 8),
    (
        "specs/en_es",
        &[
            ("layers", "1"),
            ("width", "36"),
            ("heads", "3"),
            ("hidden", "67"),
            ("vocab", "301"),
            ("longest", "23"),
        ],
        16,
    ),
    (
        "specs/gpt",
        &[("layers", "1"), ("width", "45"), ("heads", "3"), ("context", "70"), ("vocab", "1001")],
        5,
    ),
    ("specs/imdb_lstm", &[("vocab", "301"), ("units", "17")], 33),
    ("specs/lstm_series", &[("units", "33")], 37),
    ("specs/mnist_mlp", &[("units", "101")], 100),
    (
        "specs/mobilenet",
        &[
            ("stages", "[(1, 9, 1, 1), (6, 15, 1, 2)]"),
            ("size", "35"),
            ("stem", "17"),
            ("last", "67"),
            ("classes", "11"),
        ],
        6,
    ),
    (
        "specs/t5_small",
        &[
            ("layers", "1"),
            ("width", "66"),
            ("heads", "3"),
            ("head_width", "22"),
            ("hidden", "129"),
            ("vocab", "401"),
            ("length", "33"),
        ],
        12,
    ),
    ("specs/vae", &[("width", "9"), ("code", "3")], 12),
    (
        "specs/vit",
        &[
            ("size", "63"),
            ("patch", "9"),
            ("layers", "1"),
            ("width", "66"),
            ("heads", "3"),
            ("hidden", "131"),
            ("classes", "11"),
        ],
        12,
    ),
];

/// What is counted is of the whole process: one test at a time.
static COUNTS: Mutex<()> = Mutex::new(());

/// By kernel: starts, bytes needed and moved, for those whose time is that of their bytes.
fn counted(session: &mut Session) -> BTreeMap<String, (u64, u64, u64)> {
    let program = session.program();
    let mut buffers: BTreeMap<&str, u64> = BTreeMap::new();
    for launch in program.entries.iter().flat_map(|entry| &entry.segments).flat_map(|s| s.launches()) {
        let Kernel::Device(start) = &launch.kernel else { continue };
        let function = &program.device.functions[start.function as usize];
        let products = [Library::Matrix, Library::Tensor, Library::Few, Library::Flash];
        if products.iter().all(|product| !function.libraries.contains(&(*product as u32))) {
            buffers.insert(&function.name, launch.buffers.len() as u64);
        }
    }
    let mut found: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for line in weft_runtime::cuda::counts().expect("the interpreter counts").lines() {
        let launch: serde_json::Value = serde_json::from_str(line).expect("a line of counts is JSON");
        let number = |name: &str| launch[name].as_u64().unwrap_or_else(|| panic!("no {name} in {line}"));
        let name = launch["kernel"].as_str().expect("a kernel has a name");
        let Some(buffers) = buffers.get(name) else { continue };
        let row = found.entry(name.to_owned()).or_default();
        row.0 += 1;
        // Memory moves whole sectors, so each buffer's ends may cost one.
        row.1 += number("bytes_read") + number("bytes_written") + SECTOR * buffers;
        row.2 += SECTOR * (number("memory_read") + number("memory_written"));
    }
    found
}

#[test]
fn elementwise_kernels_and_rows_move_what_they_need() {
    let _alone = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    if !cuda::is_ready() || weft_runtime::cuda::counts().is_none() {
        return;
    }
    let failures: Vec<String> = CASES.iter().flat_map(failures).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Widths that are multiples of nothing, and the shapes of `tests/shapes.weft`.
#[test]
fn shapes_that_nobody_made_kernels_for_move_what_they_need() {
    let _alone = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    if !cuda::is_ready() || weft_runtime::cuda::counts().is_none() {
        return;
    }
    let failures: Vec<String> = UNEVEN.iter().flat_map(failures).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The kernels of a spec's steps and predictions that move more than they may.
fn failures((spec, settings, rows): &Case) -> Vec<String> {
    let before = Instant::now();
    let settings = settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let options = Options { settings, ..Options::default() };
    let checked = specs::check_file(&format!("{spec}.weft"), &options);
    let shown = specs::rendered(&checked);
    let module = checked.module.unwrap_or_else(|| panic!("{shown}"));
    let mut machine = Machine::new(module.clone(), Device::Cuda);
    if module.entries.iter().any(|entry| entry.graph.name == "init") {
        machine.run("init", &batches::of(&module, "init", 0, 0));
    }
    batches::set_fitted(&mut machine);
    weft_runtime::cuda::counts();
    let steps = module.trainings.iter().flat_map(|training| training.steps.iter().map(String::as_str));
    for entry in steps.chain(predictions(&module)) {
        machine.run(entry, &batches::of(&module, entry, *rows, 0));
    }
    let mut failures = Vec::new();
    let counted = counted(machine.session().expect("it has a session"));
    assert!(!counted.is_empty(), "{spec} has no kernels");
    for (name, (starts, needed, moved)) in counted {
        if needed < LITTLE * starts {
            continue;
        }
        let share = moved as f64 / needed as f64;
        println!("{spec}: {name}: {share:.2}");
        if share > MOST {
            failures
                .push(format!("{spec}: `{name}` moves {moved} bytes and needs {needed}: {share:.2} times"));
        }
    }
    println!("{spec}: {:.1} s", before.elapsed().as_secs_f64());
    failures
}

/// Sums over fewer columns than a line of memory holds: of numbers and bytes, in rows that begin anywhere in a sector and are more than the cache
/// holds.
#[test]
fn sums_over_few_columns_move_what_they_need() {
    let _alone = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    if !cuda::is_ready() || weft_runtime::cuda::counts().is_none() {
        return;
    }
    let mut seen = 0;
    for columns in 1..32 {
        let text = format!(
            "edition 2026\n\npredict sums(x: f32[n, 1901, {columns}], b: u8[n, 1903, {columns}]) -> {{ y, z }} {{\n    \
             {{ y = sum(x, axis = 1), z = sum(f32(b), axis = 1) }}\n}}\n"
        );
        let checked = specs::check_text(&text, &Options::default());
        let shown = specs::rendered(&checked);
        let module = checked.module.unwrap_or_else(|| panic!("{shown}"));
        let mut machine = Machine::new(module.clone(), Device::Cuda);
        weft_runtime::cuda::counts();
        machine.run("predict.sums", &batches::of(&module, "predict.sums", 3, 0));
        for (name, (starts, needed, moved)) in counted(machine.session().expect("it has a session")) {
            let share = moved as f64 / needed as f64;
            println!("{columns}: {name}: {share:.2} of {needed}");
            if needed < LITTLE * starts {
                continue;
            }
            seen += 1;
            assert!(share <= MOST, "{columns} columns: `{name}` moves {moved} bytes and needs {needed}");
        }
    }
    assert!(seen > 50, "only {seen} sums need much");
}

#[test]
fn sums_along_columns_of_any_number_read_them_once() {
    let _alone = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    if !cuda::is_ready() || weft_runtime::cuda::counts().is_none() {
        return;
    }
    let text = "edition 2026\npredict sums(x: f32[400, 333], y: f32[200, 1001]) -> { q, r } {\n    \
                { q = cumsum(x, axis = 0), r = cumsum(y, axis = 0) }\n}\n";
    let checked = specs::check_text(text, &Options::default());
    let shown = specs::rendered(&checked);
    let module = checked.module.unwrap_or_else(|| panic!("{shown}"));
    let mut machine = Machine::new(module.clone(), Device::Cuda);
    weft_runtime::cuda::counts();
    machine.run("predict.sums", &batches::of(&module, "predict.sums", 1, 0));
    let counted = counted(machine.session().expect("it has a session"));
    assert!(!counted.is_empty());
    for (name, (_, needed, moved)) in counted {
        assert!(moved as f64 <= MOST * needed as f64, "`{name}` moves {moved} bytes and needs {needed}");
    }
}

/// The predictions that need nothing but what a caller gives.
fn predictions(module: &Module) -> impl Iterator<Item = &str> {
    let given = |source: &InputSource| {
        let within = matches!(source, InputSource::Kept | InputSource::Carried { .. });
        !within && !matches!(source, InputSource::Written | InputSource::Collected)
    };
    let predicts = move |entry: &&Entry| {
        entry.graph.name.starts_with("predict.") && entry.inputs.iter().all(|input| given(&input.2))
    };
    module.entries.iter().filter(predicts).map(|entry| entry.graph.name.as_str())
}

#[test]
fn every_spec_is_counted() {
    let folder = std::fs::read_dir(specs::root().join("specs")).expect("the specs are there");
    for file in folder.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        let Some(name) = file.strip_suffix(".weft") else { continue };
        assert!(
            CASES.iter().any(|(spec, ..)| spec.strip_prefix("specs/") == Some(name)),
            "{file} is not counted"
        );
    }
}
