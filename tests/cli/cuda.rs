//! `--device cuda`: what the command says where a GPU is missing, too old, too small or fails, and that it trains and predicts on one. The GPU
//! here is the interpreter of the crate `ptxvm`, behind a driver of its own.

use crate::executable::rows;
use crate::harness::{Run, command, folder, text, weft, write};
use crate::train::{MLP, NARROW, trained};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use weft_runtime::cuda;
use weft_runtime::io::npy;
use weft_runtime::program::DType;
use weft_runtime::tensor::Tensor;

/// The folder with the interpreter's driver.
pub fn driver() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = folder("cuda_driver");
        ptxvm::install(&folder).expect("the interpreter was built with this test");
        folder
    })
}

/// The cache of these tests: what one has compiled, others need not.
pub fn cache() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| folder("cuda_cache"))
}

/// Runs `weft` where a GPU has these settings.
pub fn on_gpu(args: &[&str], settings: &[(&str, &str)]) -> Run {
    let mut command = command(args);
    command.env("LD_LIBRARY_PATH", driver()).env("WEFT_CUDA_IMAGE", "ptx").env("WEFT_CACHE", cache());
    command.envs(settings.iter().copied());
    Run::of(args, command.output().expect("weft starts"))
}

/// A short training in a folder of this name.
fn training(out: &str) -> Vec<String> {
    let args = ["train", MLP, "--set", NARROW, "--epochs", "1", "--batch", "100", "--quiet", "--out", out];
    args.map(String::from).to_vec()
}

fn train(name: &str, device: &str, settings: &[(&str, &str)]) -> (PathBuf, Run) {
    let folder = folder(name);
    let args = [training(text(&folder)), vec!["--device".into(), device.into()]].concat();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    (folder, on_gpu(&args, settings))
}

/// Whether kernels can be compiled here; said where not.
pub fn has_nvrtc() -> bool {
    let there = cuda::open_nvrtc();
    if let Err(error) = &there {
        assert!(std::env::var_os("WEFT_NVRTC_MUST_BE_THERE").is_none(), "{error}");
        eprintln!("SKIPPED: {error}");
    }
    there.is_ok()
}

#[test]
fn a_machine_without_a_gpu_says_so_and_what_to_do() {
    if cuda::Device::open().is_ok() {
        // This machine has one.
        return;
    }
    for command in ["train", "bench", "eval"] {
        let mut args = vec![command, MLP, "--device", "cuda"];
        if command == "eval" {
            args.extend(["--weights", "nowhere.safetensors"]);
        }
        weft(&args).fails(3, &["no CUDA driver here", "--device cpu", "--device auto"]);
    }
}

#[test]
fn what_a_driver_lacks_is_said() {
    let fails = |settings: &[(&str, &str)], says: &[&str]| {
        let args = ["bench", MLP, "--set", NARROW, "--device", "cuda"];
        on_gpu(&args, settings).fails(3, says);
    };
    fails(&[("PTXVM_DEVICES", "0")], &["no GPU that CUDA can use", "--device cpu"]);
    fails(&[("PTXVM_DRIVER", "12040")], &["driver is for CUDA 12.4", "install a newer driver"]);
    fails(&[("PTXVM_COMPUTE", "7.5")], &["compute capability 7.5", "8.0 and later"]);
}

#[test]
fn auto_takes_the_processor_and_says_so() {
    let (_, run) = train("cuda_auto", "auto", &[("PTXVM_DEVICES", "0")]);
    let run = run.ends_with(0);
    assert!(run.err.contains("running on this processor: there is no GPU"), "{run}");
}

#[test]
fn a_gpu_that_fails_ends_the_command_and_leaves_what_was_saved() {
    if !has_nvrtc() {
        return;
    }
    let fails = |name: &str, settings: &[(&str, &str)], says: &[&str]| {
        let (_, run) = train(name, "cuda", settings);
        run.fails(3, says);
    };
    fails("cuda_memory", &[("PTXVM_MEMORY", "300000")], &["of memory left", "make batches smaller"]);
    // A kernel that touches what is not there, and one that cannot be started.
    let says = ["CUDA_ERROR_ILLEGAL_ADDRESS", "CUDA_LAUNCH_BLOCKING=1 names the kernel", "--device cpu"];
    fails("cuda_launch", &[("PTXVM_FAIL", "cuLaunchKernel:9:700")], &says);
    fails(
        "cuda_module",
        &[("PTXVM_FAIL", "cuModuleLoadData:2:209")],
        &["load kernels", "install a newer one"],
    );
    for call in ["cuGraphInstantiateWithFlags:1:2", "cuMemHostAlloc:1:2"] {
        fails("cuda_other", &[("PTXVM_FAIL", call)], &["CUDA_ERROR_OUT_OF_MEMORY", "make batches smaller"]);
    }
    fails("cuda_unknown", &[("PTXVM_FAIL", "cuGraphLaunch:1:999")], &["nvidia-smi", "--device cpu"]);
    // One that does not end is heard of later, unless each is waited for.
    let endless = ("PTXVM_LIMIT", "100");
    fails("cuda_endless", &[endless], &["CUDA_ERROR_LAUNCH_TIMEOUT", "CUDA_LAUNCH_BLOCKING=1"]);
    fails("cuda_which", &[endless, ("CUDA_LAUNCH_BLOCKING", "1")], &["when it was to run the kernel `"]);
}

#[test]
fn auto_takes_the_processor_where_nothing_compiles_kernels() {
    let hidden = ["WEFT_NVRTC", "CUDA_PATH", "CUDA_HOME", "VIRTUAL_ENV"].map(|name| (name, "/nowhere"));
    let (_, run) = train("cuda_uncompiled", "auto", &hidden);
    // Where the system itself has NVRTC, it runs on the GPU.
    let run = run.ends_with(0);
    assert!(
        run.err.contains("running on this processor: kernels") || run.err.contains("running on PTX"),
        "{run}"
    );
}

/// What was compiled is kept: found again, made anew where it is damaged, and done without where there is no place for it.
#[test]
fn compiled_kernels_are_kept_on_disk() {
    if !has_nvrtc() {
        return;
    }
    let cache = folder("cuda_kept");
    let rows = rows(&cache);
    let image = format!("image={rows}");
    let weights = trained().best();
    let args =
        ["predict", MLP, "--set", NARROW, "--weights", &weights, "--input", &image, "--device", "cuda"];
    let predict = |cache: &Path| on_gpu(&args, &[("WEFT_CACHE", text(cache))]);
    let due = predict(Path::new("")).ends_with(0).out;
    assert_eq!(predict(&cache).ends_with(0).out, due);
    let kept = || -> Vec<(PathBuf, Vec<u8>)> {
        let files = std::fs::read_dir(cache.join("cuda")).expect("the folder was made").flatten();
        let mut files: Vec<_> = files.map(|file| file.path()).collect();
        files.sort();
        files.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("it can be read"))).collect()
    };
    let first = kept();
    assert!(first.len() > 1, "{first:?}");
    assert_eq!(predict(&cache).ends_with(0).out, due);
    assert!(kept() == first, "nothing was compiled anew");
    // Damage is found, and mended.
    let (path, bytes) = &first[0];
    for damaged in [&bytes[..bytes.len() / 2], b"", &[&bytes[..], b"x"].concat()] {
        std::fs::write(path, damaged).expect("it can be written");
        assert_eq!(predict(&cache).ends_with(0).out, due);
        assert!(kept() == first);
    }
    // What is in the cache is what is loaded: with the file of one kernel in the places of all, the others are missing.
    for (path, _) in &first {
        std::fs::write(path, bytes).expect("it can be written");
    }
    let swapped = predict(&cache);
    assert!(swapped.code != Some(0) && swapped.err.contains("lack the kernel"), "{swapped}");
    // A file stands where the folder would be.
    assert_eq!(predict(Path::new(path)).ends_with(0).out, due);
}

/// Weights of bf16, f16 and i8 are read and widened by kernels of a GPU, with the results that a processor has of them.
#[test]
fn narrow_weights_are_read_by_a_gpu() {
    if !has_nvrtc() {
        return;
    }
    let home = folder("cuda_narrow");
    let rows = rows(&home);
    let image = format!("image={rows}");
    let data = trained().data();
    let out = home.join("cnn");
    let cnn = ["specs/mnist_cnn.weft", "--set", "width=4"];
    let train =
        ["train", cnn[0], cnn[1], cnn[2], "--data", &data, "--epochs", "1", "--quiet", "--out", text(&out)];
    on_gpu(&train, &[]).ends_with(0);
    let (mlp, cnn_weights) = (trained().best(), text(&out.join("last.safetensors")).to_owned());
    for (spec, weights) in [(&[MLP, "--set", NARROW], &mlp), (&cnn, &cnn_weights)] {
        for dtype in ["bf16", "f16", "int8"] {
            let answers = |device: &str| {
                let more =
                    ["--weights", weights, "--input", &image, "--dtype", dtype, "--device", device, "--json"];
                on_gpu(&[&["predict"], &spec[..], &more].concat(), &[]).ends_with(0).last_object()
            };
            let (gpu, cpu) = (answers("cuda"), answers("cpu"));
            close(&gpu, &cpu, &["confidence"], &format!("{spec:?}, {dtype}"));
            assert_eq!(gpu["label"], cpu["label"], "{spec:?}, {dtype}");
        }
    }
}

/// Numbers under these keys are nearly the same.
pub fn close(found: &Value, due: &Value, keys: &[&str], what: &str) {
    for key in keys {
        let numbers = |object: &Value| -> Vec<f64> {
            let list = object[*key].as_array().unwrap_or_else(|| panic!("{what}: no `{key}` in {object}"));
            list.iter().map(|value| value.as_f64().expect("a number")).collect()
        };
        let (found, due) = (numbers(found), numbers(due));
        assert_eq!(found.len(), due.len(), "{what}");
        for (found, due) in found.iter().zip(&due) {
            assert!((found - due).abs() < 1e-4, "{what}: {found} is not {due}");
        }
    }
}

#[test]
fn it_trains_evaluates_and_predicts_on_a_gpu() {
    if !has_nvrtc() {
        return;
    }
    let (folder, run) = train("cuda_trains", "cuda", &[]);
    run.ends_with(0);
    let best = folder.join("best.safetensors");
    let evaluate = |device: &str| {
        let args = ["eval", MLP, "--set", NARROW, "--weights", text(&best), "--device", device, "--json"];
        on_gpu(&args, &[]).ends_with(0).last_object()
    };
    let (gpu, cpu) = (evaluate("cuda"), evaluate("cpu"));
    let figure = |object: &serde_json::Value, name: &str| object["test"][name].as_f64().expect("a number");
    assert!((figure(&gpu, "loss") - figure(&cpu, "loss")).abs() < 1e-4, "{gpu} is not {cpu}");
    assert!(figure(&gpu, "accuracy") > 0.7, "{gpu}");
    let bench =
        on_gpu(&["bench", MLP, "--set", NARROW, "--batch", "64", "--dry", "--json"], &[]).ends_with(0);
    for kernel in bench.objects() {
        let number = |name: &str| kernel[name].as_u64().unwrap_or_else(|| panic!("no {name} in {kernel}"));
        // It needs something, and what it asks for twice a cache may have.
        let (needed, moved, asked) = (number("needed_bytes"), number("moved_bytes"), number("asked_bytes"));
        assert!(needed > 0 && moved > 0 && moved <= asked, "{kernel}");
    }
}

#[test]
fn work_and_bytes_without_a_gpu_are_those_that_are_counted_by_hand() {
    if !has_nvrtc() {
        return;
    }
    let run = weft(&["bench", MLP, "--dry", "--entry", "predict", "--batch", "32", "--json"]).ends_with(0);
    let found = run.objects();
    let kernel = |name: &str| found.iter().find(|k| k["kernel"] == name).unwrap_or_else(|| panic!("{run}"));
    let of = |name: &str, key: &str| kernel(name)[key].as_u64().expect("a number");
    // [32, 784] by [784, 128]; a bias is added, and what is below 0 is 0, which counts for two. On their way the 784 bytes of each image become as
    // many numbers: a conversion and a division each.
    assert_eq!(of("Mlp_relu", "flops"), 2 * 32 * 784 * 128 + 3 * 32 * 128 + 2 * 32 * 784);
    assert_eq!(of("Mlp_relu", "bytes"), 32 * 784 + 4 * (784 * 128 + 128 + 32 * 128));
    let floor = kernel("Mlp_relu")["A100"]["floor_us"].as_f64().expect("a number");
    assert!((floor - of("Mlp_relu", "flops") as f64 / 19.5e6).abs() < 1e-9, "{floor}");
}

#[test]
fn products_are_in_the_numbers_that_are_asked_for() {
    for args in [&["train", MLP][..], &["bench", MLP], &["eval", MLP, "--weights", "nowhere.safetensors"]] {
        weft(&[args, &["--math", "bf16"]].concat()).fails(2, &["--math bf16 is for a GPU", "--device cuda"]);
    }
    weft(&["emit", MLP, "--stage", "loops", "--math", "f16"])
        .fails(2, &["kernels for a GPU", "--stage cuda"]);
    let kernels = |math: &str| weft(&["emit", MLP, "--stage", "cuda", "--math", math]).ends_with(0).out;
    for (math, tile) in [
        ("f32", "TileF32<"),
        ("tf32", "TileMma<float, "),
        ("bf16", "TileMma<bfloat_t, "),
        ("f16", "TileMma<half_t, "),
    ] {
        assert!(kernels(math).contains(tile), "{math}");
    }
    let folder = folder("cuda_math");
    let given = training(text(&folder));
    let train = |device: &str, settings: &[(&str, &str)]| {
        let given = given.iter().map(String::as_str).chain(["--device", device, "--math", "bf16"]);
        on_gpu(&given.collect::<Vec<_>>(), settings).ends_with(0)
    };
    let run = train("auto", &[("PTXVM_DEVICES", "0")]);
    assert!(run.err.contains("running on this processor, in f32: "), "{run}");
    // So it is one in f32 that goes on.
    let run = weft(&["train", MLP, "--resume", text(&folder), "--epochs", "2", "--quiet"]).ends_with(0);
    assert!(!run.err.contains("multiplied in"), "{run}");
    if !has_nvrtc() {
        return;
    }
    // What was trained in bf16 is f32, and evaluated in any numbers.
    train("cuda", &[]);
    let best = folder.join("best.safetensors");
    let evaluate = |more: &[&str]| {
        let args = ["eval", MLP, "--set", NARROW, "--weights", text(&best), "--json"];
        on_gpu(&[&args, more].concat(), &[]).ends_with(0).last_object()["test"]["loss"]
            .as_f64()
            .expect("a number")
    };
    let run = weft(&["train", MLP, "--resume", text(&folder), "--epochs", "2", "--quiet"]).ends_with(0);
    assert!(run.err.contains("multiplied in bf16 so far and goes on in f32"), "{run}");
    let (wide, narrow) = (evaluate(&[]), evaluate(&["--device", "cuda", "--math", "f16"]));
    assert!((wide - narrow).abs() < 5e-3 && wide < 1.5, "{wide}, {narrow}");
}

/// What is larger than a kernel's numbers is refused before it begins: the machine cannot, and the way out is said.
#[test]
fn what_a_gpu_cannot_count_is_refused() {
    if !has_nvrtc() {
        return;
    }
    let folder = folder("cuda_counts");
    let spec = write(
        &folder,
        "far.weft",
        "predict terms(x: f32[1, n]) -> { q } {\n    \
         { q = sum(abs(expand(x, 2) - expand(x, 1)), axis = [1, 2]) }\n}\n\
         predict operand(x: f32[n], v: f32[2]) -> { q } {\n    \
         { q = abs(expand(x, 0) - expand(x, 1)) @ (expand(x, 1) * expand(v, 0)) }\n}\n",
    );
    let refuses = |item: &str, n: usize, place: &str| {
        let array = folder.join("x.npy");
        let shape = if item == "terms" { vec![1, n] } else { vec![n] };
        let tensor = Tensor { dtype: DType::F32, shape, data: vec![0; 4 * n] };
        npy::write(&array, tensor.view()).expect("the array can be written");
        let given = format!("x={}", text(&array));
        let mut args = vec!["predict", &spec, "--predict", item, "--device", "cuda", "--input", &given];
        if item == "operand" {
            args.extend(["--input", "v=1,2"]);
        }
        let says = [place, "and a GPU's kernels count to 2146435071", "make batches smaller", "--device cpu"];
        on_gpu(&args, &[]).fails(3, &says);
    };
    // Beyond 32 bits, and a stride before their end.
    refuses("terms", 46_400, "far.weft:2: ");
    refuses("terms", 46_340, "far.weft:2: ");
    refuses("operand", 46_400, "far.weft:5: ");
}
