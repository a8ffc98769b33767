//! `--device cuda`: what the command says where a GPU is missing, too old, too small or fails, and that it trains and predicts on one. The GPU
//! here is the interpreter of the crate `ptxvm`, behind a driver of its own.

use crate::harness::{Run, command, folder, text, weft};
use crate::train::{MLP, NARROW};
use std::path::PathBuf;
use std::sync::OnceLock;
use weft_runtime::cuda;

/// The folder with the interpreter's driver.
fn driver() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = folder("cuda_driver");
        ptxvm::install(&folder).expect("the interpreter was built with this test");
        folder
    })
}

/// Runs `weft` where a GPU has these settings.
fn on_gpu(args: &[&str], settings: &[(&str, &str)]) -> Run {
    let mut command = command(args);
    command.env("LD_LIBRARY_PATH", driver()).env("WEFT_CUDA_IMAGE", "ptx");
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
fn has_nvrtc() -> bool {
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
    fails("cuda_launch", &[("PTXVM_FAIL", "cuLaunchKernel:9:700")], &["CUDA_ERROR_ILLEGAL_ADDRESS"]);
    fails("cuda_module", &[("PTXVM_FAIL", "cuModuleLoadData:2:209")], &["load kernels"]);
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
        // It touches something, and the memory moves no less than that.
        assert!(
            number("touched_bytes") > 0 && number("moved_bytes") + 31 >= number("touched_bytes"),
            "{kernel}"
        );
    }
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
