//! `weft build --device cuda` and `--device auto`: files that run on a GPU with its driver alone.
//!
//! The GPU is the interpreter of the crate `ptxvm`, which runs PTX. It calls itself one that none of the machine code in an executable is for
//! (compute capability 12.0), so that the PTX is taken; where it calls itself another, it says for which GPU the machine code is that it was given.

use crate::cuda::{close, driver, has_nvrtc, on_gpu};
use crate::executable::{ROWS, json_row, rows, run, run_in};
use crate::families::{VERSES, translator};
use crate::harness::{Run, folder, text, weft};
use crate::served::Server;
use crate::train::{MLP, NARROW, trained};
use std::path::{Path, PathBuf};
use weft_runtime::io::weights;

/// A GPU that is later than all machine code.
const LATER: (&str, &str) = ("PTXVM_COMPUTE", "12.0");

/// The perceptron as an executable, in a folder where nothing else is.
fn digits(name: &str, more: &[&str]) -> PathBuf {
    let path = folder(name).join("digits");
    let best = trained().best();
    let args = ["build", MLP, "--set", NARROW, "--weights", &best, "--output", text(&path)];
    on_gpu(&[&args, more].concat(), &[]).ends_with(0);
    path
}

/// Runs an executable with nothing in its environment but where the driver is, and what it is to be like.
fn gpu(executable: &Path, args: &[&str], input: &str, settings: &[(&str, &str)]) -> Run {
    let environment = [&[("LD_LIBRARY_PATH", text(driver())), LATER], settings].concat();
    run_in(executable, args, input, &environment)
}

fn predict(device: &str, rows: &str) -> Run {
    let (image, best) = (format!("image={rows}"), trained().best());
    let args = [
        "predict",
        MLP,
        "--set",
        NARROW,
        "--weights",
        &best,
        "--input",
        &image,
        "--json",
        "--device",
        device,
    ];
    on_gpu(&args, &[LATER]).ends_with(0)
}

#[test]
fn an_executable_for_gpus_needs_the_driver_alone() {
    if !has_nvrtc() {
        return;
    }
    let digits = digits("gpus", &["--device", "cuda"]);
    let rows = rows(digits.parent().expect("a folder"));
    let own = gpu(&digits, &["predict", "--image", "rows.npy", "--json"], "", &[]).ends_with(0);
    assert_eq!(own.out, predict("cuda", &rows).out);
    let cpu = predict("cpu", &rows).last_object();
    close(&own.last_object(), &cpu, &["confidence"], "the executable");
    assert_eq!(own.last_object()["label"], cpu["label"]);
    // Rows of standard input, other weights, and a server.
    let row = gpu(&digits, &["predict"], &json_row(ROWS.start), &[]).ends_with(0).last_object();
    assert_eq!(row["label"], cpu["label"][0]);
    let best = trained().best();
    let args = ["predict", "--image", "rows.npy", "--json", "--device", "cuda", "--weights", &best];
    assert_eq!(gpu(&digits, &args, "", &[]).ends_with(0).out, own.out);
    let server = Server::start_in(&digits, &[], &[("LD_LIBRARY_PATH", text(driver())), LATER]);
    assert_eq!(server.post("/predict", json_row(ROWS.start)).fine(), row);
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));
    let timed = gpu(&digits, &["bench", "--json"], "", &[]).ends_with(0).last_object();
    assert!(timed["median_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{timed}");
    // It tells what it is, wherever that is asked.
    let told = run(&digits, &["info"], "").ends_with(0).out;
    assert!(told.contains("sm_80, sm_90a, sm_100, compute_80") && !told.contains("x86-64"), "{told}");
    let told = run(&digits, &["info", "--json"], "").ends_with(0).last_object();
    assert_eq!((&told["device"], &told["archs"][1]), (&"cuda".into(), &"sm_90a".into()));
    // It has nothing that could compile, and needs no C library that is newer than ten years of systems have.
    let bytes = std::fs::read(&digits).expect("it can be read");
    let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("libcuda") && !holds("nvrtc"));
    assert!(newest_glibc(&bytes) <= (2, 34), "{:?}", newest_glibc(&bytes));
    assert!(!holds("GLIBC_ABI_DT_RELR"));
}

/// The newest version of the C library that an ELF file asks for.
fn newest_glibc(elf: &[u8]) -> (u32, u32) {
    let mark = b"GLIBC_";
    let after = elf.windows(mark.len()).enumerate().filter(|(_, part)| part == mark);
    let version = |at: usize| {
        let text: Vec<u8> =
            elf[at..].iter().copied().take_while(|b| b.is_ascii_digit() || *b == b'.').collect();
        let text = String::from_utf8(text).ok()?;
        let mut numbers = text.split('.').map_while(|number| number.parse().ok());
        Some((numbers.next()?, numbers.next()?))
    };
    after.filter_map(|(at, _)| version(at + mark.len())).max().expect("it is linked with a C library")
}

#[test]
fn what_a_machine_lacks_is_said() {
    if !has_nvrtc() {
        return;
    }
    let digits = digits("gpus_lacking", &["--device", "cuda", "--arch", "sm_90a"]);
    let rows = rows(digits.parent().expect("a folder"));
    let predict = ["predict", "--image", &rows];
    let fails =
        |settings: &[(&str, &str)], says: &[&str]| gpu(&digits, &predict, "", settings).fails(3, says);
    if weft_runtime::cuda::Device::open().is_err() {
        run(&digits, &predict, "").fails(3, &["no CUDA driver here", "built with --device auto"]);
        run(&digits, &["serve"], "").fails(3, &["no CUDA driver here"]);
    }
    fails(&[("PTXVM_DEVICES", "0")], &["no GPU that CUDA can use", "built with --device auto"]);
    fails(&[("PTXVM_DRIVER", "12040")], &["driver is for CUDA 12.4", "install a newer driver"]);
    fails(&[("PTXVM_COMPUTE", "7.5")], &["compute capability 7.5", "8.0 and later"]);
    let old = &["compute capability 8.6, and none of the kernels", "sm_90a, compute_90", "--arch sm_86"];
    fails(&[("PTXVM_COMPUTE", "8.6")], old);
    fails(&[("PTXVM_MEMORY", "60000")], &["of memory left", "make batches smaller"]);
    fails(&[("PTXVM_FAIL", "cuLaunchKernel:1:700")], &["CUDA_ERROR_ILLEGAL_ADDRESS"]);
    fails(&[("PTXVM_FAIL", "cuModuleLoadData:1:209")], &["load kernels"]);
    for device in ["cpu", "auto"] {
        let args = [&predict[..], &["--device", device]].concat();
        gpu(&digits, &args, "", &[]).fails(2, &["built with --device cuda", "--device auto"]);
    }
    // Arguments are looked at before the GPU is.
    run(&digits, &["predict", "--imag", "x"], "").fails(2, &["--image"]);
}

#[test]
fn a_gpu_gets_the_machine_code_that_is_for_it() {
    if !has_nvrtc() {
        return;
    }
    let digits = digits("gpus_archs", &["--device", "cuda"]);
    let rows = rows(digits.parent().expect("a folder"));
    for (compute, arch) in
        [("8.0", "sm_80"), ("8.9", "sm_80"), ("9.0", "sm_90"), ("10.0", "sm_100"), ("10.3", "sm_100")]
    {
        let refused = gpu(&digits, &["predict", "--image", &rows], "", &[("PTXVM_COMPUTE", compute)]);
        refused.fails(3, &[&format!("it is a cubin for {arch},"), "load kernels"]);
    }
    // PTX can be asked for.
    let ptx = [("PTXVM_COMPUTE", "8.0"), ("WEFT_CUDA_IMAGE", "ptx")];
    gpu(&digits, &["predict", "--image", &rows], "", &ptx).ends_with(0);
}

#[test]
fn an_executable_for_both_takes_what_is_there() {
    if !has_nvrtc() {
        return;
    }
    let both = digits("gpus_auto", &["--device", "auto", "--arch", "sm_80"]);
    let rows = rows(both.parent().expect("a folder"));
    let args = ["predict", "--image", "rows.npy", "--json"];
    let (on_gpu, on_cpu) = (predict("cuda", &rows).out, predict("cpu", &rows).out);
    let own = gpu(&both, &args, "", &[]).ends_with(0);
    assert_eq!(own.out, on_gpu);
    assert!(own.err.contains("running on PTX interpreter"), "{own}");
    let own = gpu(&both, &args, "", &[("PTXVM_DEVICES", "0")]).ends_with(0);
    assert_eq!(own.out, on_cpu);
    assert!(own.err.contains("running on this processor: there is no GPU"), "{own}");
    let own = gpu(&both, &[&args[..], &["--device", "cpu"]].concat(), "", &[]).ends_with(0);
    assert_eq!((own.out, own.err.as_str()), (on_cpu, ""));
    let args = [&args[..], &["--device", "cuda"]].concat();
    assert_eq!(gpu(&both, &args, "", &[]).ends_with(0).out, on_gpu);
    gpu(&both, &args, "", &[("PTXVM_DEVICES", "0")]).fails(3, &["no GPU", "leave out --device"]);
    let told = run(&both, &["info", "--json"], "").ends_with(0).last_object();
    assert_eq!(told["device"], "auto");
    assert!(told["features"].to_string().contains("avx2") || cfg!(not(target_arch = "x86_64")), "{told}");
}

#[test]
fn narrow_weights_are_widened_on_the_gpu() {
    if !has_nvrtc() {
        return;
    }
    for dtype in ["bf16", "int8"] {
        let more = ["--device", "auto", "--arch", "sm_80", "--dtype", dtype, "--unmeasured"];
        let digits = digits(&format!("gpus_{dtype}"), &more);
        let rows = rows(digits.parent().expect("a folder"));
        let answers = |device: &str| {
            let args = ["predict", "--image", &rows, "--json", "--device", device];
            gpu(&digits, &args, "", &[]).ends_with(0).last_object()
        };
        let (gpu, cpu) = (answers("cuda"), answers("cpu"));
        close(&gpu, &cpu, &["confidence"], dtype);
        assert_eq!(gpu["label"], cpu["label"], "{dtype}");
    }
}

#[test]
fn a_translator_on_a_gpu() {
    if !has_nvrtc() {
        return;
    }
    let model = translator("gpus_translator");
    let alone = folder("gpus_translator_alone").join("model");
    let build = ["--device", "cuda", "--arch", "sm_80", "-o", text(&alone)];
    on_gpu(&model.command("build", "", &build), &[]).ends_with(0);
    for (verse, _) in VERSES {
        let input = format!("english={verse}");
        let more = ["--input", &input, "--json", "--device", "cuda"];
        let due = on_gpu(&model.command("generate", "spanish", &more), &[LATER]).ends_with(0);
        let own = gpu(&alone, &["generate", "--english", verse, "--json"], "", &[]).ends_with(0);
        assert_eq!(own.out, due.out, "{verse}");
        assert!(!due.last_object()["tokens"].as_array().expect("tokens").is_empty(), "{due}");
        // The same words, as a processor writes them.
        let cpu = model.weft("generate", "spanish", &["--input", &input, "--json"]);
        assert_eq!(own.last_object()["tokens"], cpu.last_object()["tokens"], "{verse}");
    }
    // As it is written.
    let input = format!("english={}", VERSES[1].0);
    let more = ["--input", &input, "--max", "3", "--device", "cuda"];
    let due = on_gpu(&model.command("generate", "spanish", &more), &[LATER]).ends_with(0);
    let told = gpu(&alone, &["generate", "--english", VERSES[1].0, "--max", "3"], "", &[]).ends_with(0);
    assert_eq!(told.out, due.out);
    // One for both, whose symbols are rows of a narrow table: the GPU's products in 16 bits, the processor's in f32.
    for dtype in ["bf16", "int8"] {
        let both = alone.with_file_name(dtype);
        let numbers = ["--dtype", dtype, "--unmeasured", "--math", "f16"];
        let build = [&["--device", "auto", "--arch", "sm_80", "-o", text(&both)], &numbers[..]].concat();
        on_gpu(&model.command("build", "", &build), &[]).ends_with(0);
        for (verse, _) in VERSES {
            let tokens = |device: &str| {
                let args = ["generate", "--english", verse, "--json", "--device", device];
                gpu(&both, &args, "", &[]).ends_with(0).last_object()["tokens"].clone()
            };
            assert_eq!(tokens("cuda"), tokens("cpu"), "{dtype}: {verse}");
        }
    }
}

#[test]
fn an_executable_trains_on_a_gpu() {
    if !has_nvrtc() {
        return;
    }
    let digits = digits("gpus_train", &["--device", "auto", "--arch", "sm_80", "--train"]);
    let home = digits.parent().expect("a folder");
    let (data, best) = (trained().data(), trained().best());
    let own = |out: &str, settings: &[(&str, &str)]| {
        let train =
            ["train", "--data", text(&trained().digits), "--epochs", "1", "--batch", "100", "--seed", "3"];
        gpu(&digits, &[&train[..], &["--out", out, "--quiet"]].concat(), "", settings).ends_with(0);
        weights::read(&home.join(out).join("last.safetensors")).expect("they were saved").tensors
    };
    let weft = |device: &str| {
        let out = folder(&format!("gpus_train_{device}"));
        let args = ["train", MLP, "--set", NARROW, "--weights", &best, "--data", &data, "--epochs", "1"];
        let more = ["--batch", "100", "--seed", "3", "--quiet", "--out", text(&out), "--device", device];
        on_gpu(&[&args[..], &more].concat(), &[LATER]).ends_with(0);
        weights::read(&out.join("last.safetensors")).expect("they were saved").tensors
    };
    assert!(own("gpu", &[]) == weft("cuda"));
    assert!(own("cpu", &[("PTXVM_DEVICES", "0")]) == weft("cpu"));
    // What it starts from is what was built in.
    let start = weights::read(&home.join("gpu/start.safetensors")).expect("it was saved").tensors;
    assert!(start == weights::read(Path::new(&best)).expect("they can be read").tensors);
    let rows = rows(home);
    let answers = |more: &[&str]| {
        let args = [&["predict", "--image", &rows, "--json"], more].concat();
        gpu(&digits, &args, "", &[]).ends_with(0).out
    };
    let finer = text(&home.join("gpu/last.safetensors")).to_owned();
    assert_ne!(answers(&["--weights", &finer]), answers(&[]));
}

#[test]
fn a_damaged_executable_for_gpus_runs_nothing() {
    if !has_nvrtc() {
        return;
    }
    let digits = digits("gpus_damaged", &["--device", "auto", "--arch", "sm_80"]);
    let whole = std::fs::read(&digits).expect("it can be read");
    let rows = rows(digits.parent().expect("a folder"));
    // Weights are found by their values; images stand before them, each packed, behind the mark of zlib.
    let best = trained().best();
    let kept = weights::read(Path::new(&best)).expect("they can be read");
    let largest = kept.tensors.values().max_by_key(|tensor| tensor.data.len()).expect("a tensor");
    let weights = whole.windows(64).rposition(|bytes| bytes == &largest.data[..64]).expect("they are there");
    let images =
        whole[..weights].windows(2).rposition(|bytes| bytes == [0x78, 0x9c]).expect("packed modules");
    let damaged = |bytes: &[u8]| {
        let path = digits.with_file_name("damaged");
        std::fs::copy(&digits, &path).expect("it can be copied");
        std::fs::write(&path, bytes).expect("it can be written");
        for command in [&["info"][..], &["predict", "--image", &rows], &["serve", "--port", "0"]] {
            gpu(&path, command, "", &[]).fails(1, &["build it anew"]);
        }
    };
    for end in [images + 100, weights, weights + 100, whole.len() - 1] {
        damaged(&whole[..end]);
    }
    for at in [images, images + 1000, weights, whole.len() - 900] {
        let mut changed = whole.clone();
        changed[at] ^= 0x41;
        damaged(&changed);
    }
}

#[test]
fn what_cannot_be_built_for_gpus_says_why() {
    let folder = folder("gpus_wrong");
    let (output, best) = (folder.join("digits"), trained().best());
    let build = |more: &[&str]| {
        let args = ["build", MLP, "--set", NARROW, "--weights", &best, "--output", text(&output)];
        weft(&[&args, more].concat())
    };
    build(&["--arch", "sm_80"]).fails(2, &["--arch names GPUs", "--device auto"]);
    build(&["--device", "cuda", "--arch", "hopper"]).fails(2, &["`hopper` is no architecture", "sm_90a"]);
    for kind in ["object", "staticlib", "sharedlib", "header"] {
        build(&["--device", "cuda", "--emit", kind]).fails(2, &["runs on the processor", "leave out --emit"]);
    }
    if !has_nvrtc() {
        build(&["--device", "cuda"]).fails(3, &["NVRTC", "pip install"]);
        return;
    }
    for arch in ["sm_75", "compute_75"] {
        build(&["--device", "cuda", "--arch", arch]).fails(2, &["capability 8.0 and later, not for", arch]);
    }
    build(&["--device", "cuda", "--arch", "sm_80,sm_81"]).fails(2, &["knows no sm_81", "sm_80", "sm_90"]);
    assert!(!output.exists());
}

/// A host that holds the runtime takes the same programs from a file without one.
#[test]
fn a_payload_for_both_is_read_by_a_host() {
    if !has_nvrtc() {
        return;
    }
    let path = digits("gpus_payload", &["--device", "auto", "--arch", "sm_80", "--emit", "payload"]);
    let mut payload = weft_runtime::payload::Payload::open(&path).expect("it is whole");
    assert!(payload.is_for_gpus());
    let archs: Vec<String> =
        payload.manifest.program.device.images.iter().map(|image| image.arch.to_string()).collect();
    assert_eq!(archs, ["sm_80", "compute_80"]);
    payload.take_processor();
    assert!(!payload.is_for_gpus());
    let session = payload.session(1).expect("it runs here");
    assert!(session.device().is_none());
    assert_eq!(session.program().predictions[0].name, "digit");
    assert!(session.variable_bytes() > 4 * 784 * 32);
}
