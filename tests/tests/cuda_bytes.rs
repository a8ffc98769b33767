//! What the kernels of maps, rows and indices move: the bytes that memory moves in training steps, as the interpreter counts them, are at most
//! 1.15 times those that a kernel needs. Counts, not times, so they are the same everywhere. `weft bench --dry` shows them for any spec,
//! and says what needs and moves are.

use std::collections::BTreeMap;
use weft_compiler::check::Options;
use weft_compiler::cuda::Library;
use weft_runtime::execute::Session;
use weft_runtime::program::Kernel;
use weft_tests::device::{Device, Machine};
use weft_tests::{batches, cuda, specs};

/// What a kernel may move for each byte that it needs.
const MOST: f64 = 1.15;
/// Kernels that need less are all start and no traffic.
const LITTLE: u64 = 16 << 10;
/// Bytes that memory moves at once.
const SECTOR: u64 = 32;

/// A spec, settings that make it small, rows of a batch, and its kernels that may move more: a part of the name, and how much.
struct Case {
    spec: &'static str,
    settings: &'static [(&'static str, &'static str)],
    rows: usize,
    more: &'static [(&'static str, f64)],
}

const CASES: [Case; 5] = [
    Case { spec: "mnist_mlp", settings: &[], rows: 96, more: &[] },
    Case { spec: "mnist_cnn", settings: &[], rows: 12, more: &[] },
    Case {
        spec: "gpt",
        settings: &[("layers", "1"), ("width", "64"), ("heads", "2"), ("context", "48")],
        rows: 6,
        // What is added for each place is read again with every sample. The cache of one block has no room for it; that of a GPU has.
        more: &[("attention_norm", 1.3), ("feed_norm", 1.2)],
    },
    Case { spec: "lstm_series", settings: &[], rows: 64, more: &[] },
    Case { spec: "vowels_cnn", settings: &[], rows: 64, more: &[] },
];

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
    if !cuda::is_ready() || weft_runtime::cuda::counts().is_none() {
        return;
    }
    let (mut seen, mut failures) = (0, Vec::new());
    for Case { spec, settings, rows, more } in &CASES {
        let settings = settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let options = Options { settings, ..Options::default() };
        let checked = specs::check_file(&format!("specs/{spec}.weft"), &options);
        let shown = specs::rendered(&checked);
        let module = checked.module.unwrap_or_else(|| panic!("{shown}"));
        let mut machine = Machine::new(module.clone(), Device::Cuda);
        machine.run("init", &batches::of(&module, "init", 0, 0));
        batches::set_fitted(&mut machine);
        weft_runtime::cuda::counts();
        for step in &module.trainings[0].steps {
            machine.run(step, &batches::of(&module, step, *rows, 0));
        }
        for (name, (starts, needed, moved)) in counted(machine.session().expect("it has a session")) {
            if needed < LITTLE * starts {
                continue;
            }
            seen += 1;
            let share = moved as f64 / needed as f64;
            println!("{spec}: {name}: {share:.2}");
            let most = more.iter().find(|(part, _)| name.contains(part)).map_or(MOST, |(_, most)| *most);
            if share > most {
                failures.push(format!(
                    "{spec}: `{name}` moves {moved} bytes and needs {needed}: {share:.2} times"
                ));
            }
        }
    }
    assert!(seen > 30, "only {seen} kernels need much");
    assert!(failures.is_empty(), "{} of {seen}:\n{}", failures.len(), failures.join("\n"));
}
