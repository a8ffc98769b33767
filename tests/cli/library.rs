//! `weft build --emit`: models as parts of C and Rust programs, which are compiled, linked and run here.
//!
//! A machine without a C compiler, valgrind or a sanitizer is said so on standard error; what needs them is skipped there.

use crate::files;
use crate::harness::{Run, fine, folder, root, text, weft, write};
use crate::train::{MLP, NARROW, trained};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use weft_runtime::io::npy;
use weft_runtime::payload::Payload;
use weft_runtime::program::DType;
use weft_runtime::tensor::Tensor;

const ROWS: usize = 10;

/// Builds the perceptron as something else than an executable.
fn digits(folder: &Path, emit: &str, file: &str) -> Value {
    let path = folder.join(file);
    let given = ["build", MLP, "--set", NARROW, "--weights", &trained().best(), "--emit", emit, "--json", "-o"];
    fine(&[&given[..], &[text(&path)]].concat()).last_object()
}

/// Runs a tool to its end.
fn tool(program: &str, args: &[&str], folder: &Path) -> Option<Run> {
    match Command::new(program).args(args).current_dir(folder).output() {
        Ok(ended) => Some(Run::of(args, ended)),
        Err(error) => {
            eprintln!("SKIPPED: what needs `{program}`: {error}");
            None
        }
    }
}

/// A program of `tests/link` in C, linked with what is in the folder.
fn c_program(folder: &Path, more: &[&str], with: &[&str]) -> Option<PathBuf> {
    let (source, program) = (root().join("tests/link/digits.c"), folder.join("main"));
    let mut args = vec!["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-I.", "-o", "main"];
    args.extend(more);
    args.push(text(&source));
    args.extend(with);
    args.extend(["-lpthread", "-ldl", "-lm"]);
    tool("cc", &args, folder).map(|run| {
        run.ends_with(0);
        program
    })
}

/// The rows as a C program reads them and as `weft predict` does.
fn pictures(folder: &Path) -> (String, String) {
    let data: Vec<u8> = (0..ROWS).flat_map(files::digit).collect();
    let raw = write(folder, "rows.bin", &data);
    let array = folder.join("rows.npy");
    let tensor = Tensor { dtype: DType::U8, shape: vec![ROWS, 28, 28, 1], data };
    npy::write(&array, tensor.view()).expect("the array can be written");
    (raw, text(&array).to_owned())
}

/// What `weft predict` answers, as the programs print it.
fn due(rows: &str) -> String {
    let image = format!("image={rows}");
    let given = ["predict", MLP, "--set", NARROW, "--weights", &trained().best(), "--json", "--input", &image];
    let answer = fine(&given).last_object();
    let row = |row: usize| {
        let confidence = answer["confidence"][row].as_f64().expect("a number") as f32;
        format!("{} {:08x}\n", answer["label"][row], confidence.to_bits())
    };
    (0..ROWS).map(row).collect()
}

fn run(program: &Path, args: &[&str]) -> Run {
    let mut command = Command::new(program);
    command.args(args).env_clear().current_dir(program.parent().expect("it lies in a folder"));
    Run::of(args, command.output().expect("it starts"))
}

#[test]
fn a_c_program_answers_as_predict_does() {
    let folder = folder("library");
    let built = digits(&folder, "staticlib", "libdigits.a");
    assert!(built["link"].as_str().is_some_and(|link| link.contains("libdigits.a")), "{built}");
    let (rows, array) = pictures(&folder);
    let Some(program) = c_program(&folder, &[], &["libdigits.a"]) else { return };
    let due = due(&array);
    let all = ROWS.to_string();
    for threads in ["1", "2", "3"] {
        let own = run(&program, &["answers", &rows, &all, &all, threads]).ends_with(0);
        assert_eq!(own.out, due, "{threads} threads");
    }
    // One row a call, from one model and from several.
    let first = run(&program, &["answers", &rows, "1", "1", "1"]).ends_with(0).out;
    let each = run(&program, &["answers", &rows, &all, "1", "1"]).ends_with(0).out;
    assert!(each.starts_with(&first) && each.lines().count() == ROWS, "{each}");
    let sides = run(&program, &["side-by-side", &rows, &all, "4"]).ends_with(0);
    assert_eq!(sides.out, "4 threads agree\n");
}

#[test]
fn a_call_allocates_nothing_and_takes_no_lock() {
    let folder = folder("library_count");
    digits(&folder, "staticlib", "libdigits.a");
    let (rows, _) = pictures(&folder);
    let wrapped = ["malloc", "calloc", "realloc", "posix_memalign", "mmap64", "pthread_mutex_lock", "syscall"];
    let wrapped: Vec<String> = wrapped.iter().map(|name| format!("-Wl,--wrap={name}")).collect();
    let mut more = vec!["-DCOUNTED"];
    more.extend(wrapped.iter().map(String::as_str));
    let Some(program) = c_program(&folder, &more, &["libdigits.a"]) else { return };
    let counted = run(&program, &["count", &rows, "1000"]).ends_with(0).out;
    assert_eq!(counted, "creating: counted; 1000 calls: memory 0, locks 0, system 0\n");
}

#[test]
fn mistakes_of_a_c_program_are_told() {
    let folder = folder("library_wrong");
    digits(&folder, "staticlib", "libdigits.a");
    let Some(program) = c_program(&folder, &[], &["libdigits.a"]) else { return };
    let told = run(&program, &["wrong"]).ends_with(0).out;
    let due = [
        "nothing failed: \"\"",
        "no place: 2: there is no place for the model: the pointer is null",
        "threads: 2: a model cannot run on -3 threads",
        "model: none",
        "no model: 2: the model is a null pointer",
        "no image: 2: `image` is a null pointer",
        "no result: 2: `confidence` is a null pointer",
        "size: 2: `n` is -1, which is no size",
    ];
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[..due.len()], due, "{told}");
    assert!(lines[due.len()].starts_with("too large: 2: `image` cannot have the shape"), "{told}");
}

#[test]
fn sanitizers_find_nothing() {
    let folder = folder("library_sanitized");
    digits(&folder, "staticlib", "libdigits.a");
    let (rows, array) = pictures(&folder);
    let (due, all) = (due(&array), ROWS.to_string());
    let jobs = [vec!["answers", &rows, &all, "3", "2"], vec!["side-by-side", &rows, &all, "3"], vec!["wrong"]];
    if let Some(program) = c_program(&folder, &["-fsanitize=address,undefined"], &["libdigits.a"]) {
        jobs.iter().for_each(|job| {
            run(&program, job).ends_with(0);
        });
        let own = run(&program, &["answers", &rows, &all, &all, "1"]).ends_with(0);
        assert_eq!(own.out, due);
    }
    let Some(program) = c_program(&folder, &[], &["libdigits.a"]) else { return };
    for job in &jobs {
        let args = [&["--error-exitcode=9", "--leak-check=full", "-q", text(&program)][..], job].concat();
        let Some(ended) = tool("valgrind", &args, &folder) else { return };
        ended.ends_with(0);
    }
}

#[test]
fn a_rust_program_answers_as_predict_does() {
    let folder = folder("library_rust");
    digits(&folder, "staticlib", "libdigits.a");
    let (rows, array) = pictures(&folder);
    let (source, all) = (root().join("tests/link/digits.rs"), ROWS.to_string());
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let args = ["--edition=2024", "-O", text(&source), "-o", "main", "-L.", "-lstatic=digits"];
    let Some(made) = tool(&rustc, &args, &folder) else { return };
    made.ends_with(0);
    let half = |rows: &str| rows.lines().take(ROWS / 2).map(str::to_owned).collect::<Vec<_>>();
    let own = run(&folder.join("main"), &[&rows, &all]).ends_with(0).out;
    let program = c_program(&folder, &[], &["libdigits.a"]);
    // Five rows at a time, as it does.
    if let Some(program) = program {
        let five = run(&program, &["answers", &rows, &all, "5", "1"]).ends_with(0).out;
        assert_eq!(own, five);
    }
    let labels = |rows: Vec<String>| rows.iter().map(|row| row[..1].to_owned()).collect::<Vec<_>>();
    assert_eq!(labels(half(&own)), labels(half(&due(&array))));
}

#[test]
fn two_models_are_linked_into_one_program() {
    let folder = folder("library_two");
    let first = digits(&folder, "object", "digits.o");
    digits(&folder, "object", "others.o");
    assert!(first["link"].as_str().is_some_and(|link| link.contains("libweft.a")), "{first}");
    let (rows, array) = pictures(&folder);
    let main = format!(
        "#include \"digits.h\"\n#include \"others.h\"\n#include <stdio.h>\n\
         int main(void) {{\n  static uint8_t image[{0}]; int64_t a[{1}], b[{1}]; float p[{1}], q[{1}]; digits *d; others *o;\n\
         FILE *f = fopen(\"{rows}\", \"rb\");\n  if (!f || fread(image, 1, sizeof image, f) != sizeof image) return 1;\n\
         if (digits_create(&d, 1) || others_create(&o, 2)) return 2;\n\
         if (digits_predict_digit(d, {1}, image, a, p) || others_predict_digit(o, {1}, image, b, q)) return 3;\n\
         for (int i = 0; i < {1}; i++) {{ if (a[i] != b[i] || p[i] != q[i]) return 4; printf(\"%d\\n\", (int)a[i]); }}\n\
         digits_destroy(d); others_destroy(o); return 0; }}\n",
        ROWS * 28 * 28,
        ROWS
    );
    write(&folder, "two.c", main);
    let args = ["-I.", "two.c", "digits.o", "others.o", "libweft.a", "-o", "two", "-lpthread", "-ldl", "-lm"];
    let Some(made) = tool("cc", &args, &folder) else { return };
    made.ends_with(0);
    let own = run(&folder.join("two"), &[]).ends_with(0).out;
    let labels: String = due(&array).lines().map(|row| format!("{}\n", &row[..1])).collect();
    assert_eq!(own, labels);
}

#[test]
fn a_payload_is_read_by_a_host() {
    let folder = folder("library_payload");
    let built = digits(&folder, "payload", "digits.payload");
    assert!(built["bytes"].as_u64() > built["weight_bytes"].as_u64());
    let payload = Payload::open(&folder.join("digits.payload")).expect("it is whole");
    let mut session = payload.session(1).expect("it runs");
    let entry = session.entry("predict.digit").expect("it predicts");
    let image = Tensor { dtype: DType::U8, shape: vec![1, 28, 28, 1], data: files::digit(0) };
    let answers = session.run(entry, &[image.view()]).expect("it answers");
    assert_eq!(answers.named("label").map(|label| label.shape.to_vec()), Some(vec![1]));
}

#[test]
fn what_cannot_be_emitted_says_why() {
    let folder = folder("library_names");
    let best = trained().best();
    let build = |emit: &str, output: &str| {
        weft(&["build", MLP, "--set", NARROW, "--weights", &best, "--emit", emit, "-o", output])
    };
    let to = |name: &str| text(&folder.join(name)).to_owned();
    build("header", &to("3d.h")).fails(2, &["`3d`", "a digit", "--output digits.h"]);
    build("staticlib", &to("libint.a")).fails(2, &["`int`", "a word of C"]);
    build("object", &to("none/digits.o")).fails(1, &["cannot write"]);
    build("dll", &to("digits.dll")).fails(2, &["'dll'", "staticlib"]);
}
