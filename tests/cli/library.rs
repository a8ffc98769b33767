//! `weft build --emit`: models as parts of C and Rust programs, which are compiled, linked and run here.
//!
//! A machine without a C compiler, valgrind or a sanitizer is said so on standard error; what needs them is skipped there.

use crate::files;
use crate::harness::{Run, fine, folder, root, text, weft, write};
use crate::train::{MLP, NARROW, trained};
use crate::{generate, text as texts};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
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
    let given =
        ["build", MLP, "--set", NARROW, "--weights", &trained().best(), "--emit", emit, "--json", "-o"];
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
    let given =
        ["predict", MLP, "--set", NARROW, "--weights", &trained().best(), "--json", "--input", &image];
    let answer = fine(&given).last_object();
    let row = |row: usize| {
        let confidence = answer["confidence"][row].as_f64().expect("a number") as f32;
        format!("{} {:08x}\n", answer["label"][row], confidence.to_bits())
    };
    (0..ROWS).map(row).collect()
}

fn run_program(program: &Path, args: &[&str]) -> Run {
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
        let own = run_program(&program, &["answers", &rows, &all, &all, threads]).ends_with(0);
        assert_eq!(own.out, due, "{threads} threads");
    }
    // One row a call, from one model and from several.
    let first = run_program(&program, &["answers", &rows, "1", "1", "1"]).ends_with(0).out;
    let each = run_program(&program, &["answers", &rows, &all, "1", "1"]).ends_with(0).out;
    assert!(each.starts_with(&first) && each.lines().count() == ROWS, "{each}");
    let sides = run_program(&program, &["side-by-side", &rows, &all, "4"]).ends_with(0);
    assert_eq!(sides.out, "4 threads agree\n");
}

#[test]
fn a_model_lives_in_memory_of_the_caller() {
    let folder = folder("library_own");
    digits(&folder, "staticlib", "libdigits.a");
    let (rows, _) = pictures(&folder);
    let Some(program) = c_program(&folder, &[], &["libdigits.a"]) else { return };
    let all = ROWS.to_string();
    for (batch, threads) in [("1", "1"), ("3", "2"), (&all, "1")] {
        let system = run_program(&program, &["answers", &rows, &all, batch, threads]).ends_with(0);
        let own = run_program(&program, &["own", &rows, &all, batch, threads]).ends_with(0);
        assert_eq!(own.out, system.out);
    }
}

#[test]
fn a_shared_library_is_linked_and_loaded() {
    let folder = folder("library_shared");
    let built = digits(&folder, "sharedlib", "libdigits.so");
    assert!(built["link"].as_str().is_some_and(|link| link.contains("-rpath")), "{built}");
    let (rows, array) = pictures(&folder);
    let Some(program) = c_program(&folder, &[], &["-L.", "-ldigits", "-Wl,-rpath,."]) else { return };
    let (due, all) = (due(&array), ROWS.to_string());
    let own = run_program(&program, &["answers", &rows, &all, &all, "2"]).ends_with(0);
    assert_eq!(own.out, due);
    run_program(&program, &["side-by-side", &rows, &all, "3"]).ends_with(0);
    let args = ["--error-exitcode=9", "-q", text(&program), "answers", &rows, &all, "3", "1"];
    if let Some(ended) = tool("valgrind", &args, &folder) {
        ended.ends_with(0);
    }
    // Another one beside it, both found by their names.
    digits(&folder, "sharedlib", "libothers.so");
    let main = "#include <dlfcn.h>\n#include <stdio.h>\n\
        int main(void) { void *a = dlopen(\"./libdigits.so\", RTLD_NOW | RTLD_GLOBAL), *b = dlopen(\"./libothers.so\", RTLD_NOW);\n\
        if (!a || !b) { fputs(dlerror(), stderr); return 1; }\n\
        int (*create)(void **, int) = (int (*)(void **, int))dlsym(b, \"others_create\"); void *model;\n\
        if (!create || dlsym(b, \"digits_create\") || create(&model, 1)) return 2;\n\
        return dlclose(a); }\n";
    write(&folder, "load.c", main);
    let Some(made) = tool("cc", &["load.c", "-o", "load", "-ldl"], &folder) else { return };
    made.ends_with(0);
    run_program(&folder.join("load"), &[]).ends_with(0);
}

#[test]
fn a_call_allocates_nothing_and_takes_no_lock() {
    let folder = folder("library_count");
    digits(&folder, "staticlib", "libdigits.a");
    let (rows, _) = pictures(&folder);
    let wrapped =
        ["malloc", "calloc", "realloc", "posix_memalign", "mmap64", "pthread_mutex_lock", "syscall"];
    let wrapped: Vec<String> = wrapped.iter().map(|name| format!("-Wl,--wrap={name}")).collect();
    let mut more = vec!["-DCOUNTED"];
    more.extend(wrapped.iter().map(String::as_str));
    let Some(program) = c_program(&folder, &more, &["libdigits.a"]) else { return };
    let counted = run_program(&program, &["count", &rows, "1000"]).ends_with(0).out;
    assert_eq!(counted, "creating: counted; 1000 calls: memory 0, locks 0, system 0\n");
}

#[test]
fn mistakes_of_a_c_program_are_told() {
    let folder = folder("library_wrong");
    digits(&folder, "staticlib", "libdigits.a");
    let Some(program) = c_program(&folder, &[], &["libdigits.a"]) else { return };
    let told = run_program(&program, &["wrong"]).ends_with(0).out;
    let due = [
        "nothing failed: \"\"",
        "no place: 2: there is no place for the model: the pointer is null",
        "threads: 2: a model cannot run on -3 threads",
        "model: none",
        "no model: 2: the model is a null pointer",
        "little memory: 3, enough: 1",
        "no memory: 2: `memory` is a null pointer",
        "no number: 2: there is no place for the number: the pointer is null",
        "no image: 2: `image` is a null pointer",
        "no result: 2: `confidence` is a null pointer",
        "size: 2: `n` is -1, which is no size",
    ];
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[..due.len()], due, "{told}");
    let large = lines[due.len()];
    assert!(
        large.starts_with("too large: 1: `predict.digit`") && large.contains("n = 4611686018427387903"),
        "{told}"
    );
}

#[test]
fn sanitizers_find_nothing() {
    let folder = folder("library_sanitized");
    digits(&folder, "staticlib", "libdigits.a");
    let (rows, array) = pictures(&folder);
    let (due, all) = (due(&array), ROWS.to_string());
    let jobs =
        [vec!["answers", &rows, &all, "3", "2"], vec!["side-by-side", &rows, &all, "3"], vec!["wrong"]];
    if let Some(program) = c_program(&folder, &["-fsanitize=address,undefined"], &["libdigits.a"]) {
        jobs.iter().for_each(|job| {
            run_program(&program, job).ends_with(0);
        });
        let own = run_program(&program, &["answers", &rows, &all, &all, "1"]).ends_with(0);
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
    let own = run_program(&folder.join("main"), &[&rows, &all]).ends_with(0).out;
    let program = c_program(&folder, &[], &["libdigits.a"]);
    // Five rows at a time, as it does.
    if let Some(program) = program {
        let five = run_program(&program, &["answers", &rows, &all, "5", "1"]).ends_with(0).out;
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
         int main(void) {{\n  static uint8_t image[{0}]; int32_t a[{1}], b[{1}]; float p[{1}], q[{1}]; digits *d; others *o;\n\
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
    let own = run_program(&folder.join("two"), &[]).ends_with(0).out;
    let labels: String = due(&array).lines().map(|row| format!("{}\n", &row[..1])).collect();
    assert_eq!(own, labels);
}

#[test]
fn texts_are_read_and_written_from_c() {
    let folder = folder("library_texts");
    write(&folder, "reviews.csv", texts::reviews());
    let (mood, gpt2) =
        (write(&folder, "mood.weft", texts::SPEC), write(&folder, "gpt2.weft", generate::GPT2));
    let run = folder.join("run");
    fine(&["train", &mood, "--out", text(&run), "--json"]);
    let (of_mood, of_gpt2) =
        (run.join("last.safetensors"), root().join("tests/golden/generation/gpt2.safetensors"));
    for (spec, weights, object) in [(&mood, &of_mood, "mood.o"), (&gpt2, &of_gpt2, "gpt2.o")] {
        let object = folder.join(object);
        fine(&["build", spec, "--weights", text(weights), "--emit", "object", "-o", text(&object)]);
    }
    let source = root().join("tests/link/texts.c");
    let strict = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-I.", "-o", "texts", text(&source)];
    let args = [&strict[..], &["mood.o", "gpt2.o", "libweft.a", "-lpthread", "-ldl", "-lm"]].concat();
    let Some(made) = tool("cc", &args, &folder) else { return };
    made.ends_with(0);
    let program = folder.join("texts");

    let said = ["the film was bad", "fine and the end was fine"];
    let file = write(&folder, "said.txt", said.join("\n"));
    let given = format!("text={file}");
    let due =
        fine(&["predict", &mood, "--weights", text(&of_mood), "--json", "--input", &given]).last_object();
    let row = |row: usize| {
        let (label, bits) = (&due["label"][row], due["confidence"][row].as_f64().expect("a number") as f32);
        let name = if *label == 0 { "good" } else { "poor" };
        format!("{label} {name} {:08x}\n", bits.to_bits())
    };
    let own = run_program(&program, &said).ends_with(0).out;
    assert_eq!(own, row(0) + &row(1));
    let wrong = Command::new(&program).arg(OsStr::from_bytes(b"bad \xff bytes")).output().expect("it starts");
    let wrong = Run::of(&[], wrong).ends_with(1);
    assert!(wrong.err.contains("`text` is no UTF-8 from byte 4 on"), "{wrong}");

    let prompt = folder.join("prompt.npy");
    npy::write(&prompt, Tensor::from_i32(&[1, 3], &[2, 3, 4]).view()).expect("the array can be written");
    let given = format!("prompt={}", text(&prompt));
    let due =
        fine(&["generate", &gpt2, "--weights", text(&of_gpt2), "--json", "--input", &given]).last_object();
    let tokens: Vec<String> =
        due["tokens"].as_array().expect("tokens").iter().map(|token| format!("[{token}]")).collect();
    assert!(tokens.len() > 3);
    assert_eq!(
        run_program(&program, &["-n", "1000"]).ends_with(0).out.replace(' ', ""),
        tokens.concat() + "\n"
    );
    // It ends where the caller has enough.
    assert_eq!(
        run_program(&program, &["-n", "3"]).ends_with(0).out.replace(' ', ""),
        tokens[..3].concat() + "\n"
    );
}

#[test]
fn libraries_stay_small() {
    let folder = folder("library_sizes");
    let over = |emit: &str, file: &str| {
        let built = digits(&folder, emit, file);
        let number = |key: &str| built[key].as_u64().expect("a number");
        (number("bytes") - number("weight_bytes")) >> 10
    };
    // KiB beside the weights: a tenth more than what they had when this was written, or a little more than they have.
    for (emit, file, most) in [
        ("object", "digits.o", 100),
        ("staticlib", "libdigits.a", 2900),
        ("sharedlib", "libdigits.so", 2050),
        ("payload", "digits.payload", 100),
    ] {
        let size = over(emit, file);
        assert!(size <= most, "{file} has {size} KiB beside its weights, more than {most}");
    }
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
fn a_header_needs_no_weights() {
    let folder = folder("library_header");
    std::fs::create_dir_all(folder.join("with")).expect("it can be made");
    let with = digits(&folder, "header", "with/digits.h");
    let path = folder.join("digits.h");
    let given = ["build", MLP, "--set", NARROW, "--emit", "header", "--json", "-o", text(&path)];
    let without = fine(&given).last_object();
    assert_eq!(without["functions"], with["functions"]);
    let read = |path: &Path| std::fs::read_to_string(path).expect("it was written");
    let said = read(&folder.join("with/digits.h"));
    let known: Vec<&str> = said.lines().filter(|line| !line.contains("weights     SHA-256")).collect();
    assert_eq!(read(&path).lines().collect::<Vec<_>>(), known);
    // A vocabulary that was never trained has no tokens, but functions take texts all the same.
    let home = generate::home("library_header_text");
    let path = folder.join("story.h");
    let given = ["build", &home.spec, "--emit", "header", "--json", "-o", text(&path)];
    let named = fine(&given).last_object();
    assert!(named["functions"].to_string().contains("story_generate"), "{named}");
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
