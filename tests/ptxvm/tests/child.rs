//! The library in programs of their own, found through `LD_LIBRARY_PATH`, with settings from the environment.
//!
//! Every test starts this test program anew with the name of a part to play.
//!
//! Every `unsafe` here calls the driver with values of the types that it, or the kernel, declares.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::path::PathBuf;
use std::process::{Command, Output};

use cudarc::driver::{CudaContext, LaunchConfig, PushKernelArg, result, sys};
use cudarc::nvrtc::Ptx;

/// A folder of the test's own.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("ptxvm-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn play(part: &str, settings: &[(&str, &str)]) -> Output {
    let libraries = folder(part);
    let installed = ptxvm::install(&libraries).unwrap();
    assert!(installed.ends_with("libcuda.so.1") && installed.is_file());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["the_part_that_is_played", "--exact", "--nocapture"])
        .env("LD_LIBRARY_PATH", &libraries)
        .env("PTXVM_TEST_PART", part)
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    std::fs::remove_dir_all(&libraries).unwrap();
    output
}

fn code<T>(result: Result<T, result::DriverError>) -> u32 {
    result.err().map_or(0, |e| e.0 as u32)
}

/// What the program does when it was started as a child; nothing otherwise.
#[test]
fn the_part_that_is_played() {
    let Ok(part) = std::env::var("PTXVM_TEST_PART") else { return };
    assert!(unsafe { sys::is_culib_present() });
    match part.as_str() {
        "no device" => assert_eq!(code(result::init()), 100),
        "old driver" => {
            let mut version = 0;
            assert_eq!(unsafe { sys::cuDriverGetVersion(&mut version) } as u32, 0);
            assert_eq!(version, 11080);
        }
        "little memory" => {
            let context = CudaContext::new(0).unwrap();
            assert_eq!(context.compute_capability().unwrap(), (9, 0));
            let stream = context.default_stream();
            assert_eq!(code(stream.alloc_zeros::<u8>(2 << 20)), 2);
            assert_eq!(code(stream.alloc_zeros::<u8>(1 << 19)), 0);
        }
        "failing call" => {
            let context = CudaContext::new(0).unwrap();
            let stream = context.default_stream();
            let first = stream.clone_htod(&[1u8; 4]).unwrap();
            assert_eq!(code(stream.clone_htod(&[1u8; 4])), 719);
            assert_eq!(stream.clone_dtoh(&first).unwrap(), [1; 4]);
        }
        _ => {
            let context = CudaContext::new(0).unwrap();
            let stream = context.default_stream();
            let module = context.load_module(Ptx::from_src(include_str!("data/faults.ptx"))).unwrap();
            let mut y = stream.alloc_zeros::<f32>(64).unwrap();
            let x = stream.clone_htod(&[1f32; 64]).unwrap();
            let n = if part == "counts" { 63i32 } else { 64 };
            let kernel = module.load_function("one_too_far").unwrap();
            let config = LaunchConfig { grid_dim: (3, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 0 };
            unsafe { stream.launch_builder(&kernel).arg(&x).arg(&mut y).arg(&n).launch(config) }.unwrap();
            assert_eq!(code(stream.synchronize()), if part == "counts" { 0 } else { 700 });
        }
    }
}

fn passes(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn settings_of_the_environment() {
    passes(&play("no device", &[("PTXVM_DEVICES", "0")]));
    passes(&play("old driver", &[("PTXVM_DRIVER", "11080")]));
    passes(&play("little memory", &[("PTXVM_MEMORY", "1048576"), ("PTXVM_COMPUTE", "9.0")]));
    // cudarc asks for memory in the order of a stream, because the device says that it has pools.
    passes(&play("failing call", &[("PTXVM_FAIL", "cuMemAllocAsync:2:719")]));
}

#[test]
fn reports_and_counts_are_written_into_files() {
    let folder = folder("files");
    let (report, counts) = (folder.join("report"), folder.join("counts"));
    let output = play("report", &[("PTXVM_REPORT", report.to_str().unwrap())]);
    passes(&output);
    let text = std::fs::read_to_string(&report).unwrap();
    for part in [
        "4 bytes past the end of an allocation of 256 bytes",
        "kernel one_too_far, block (2, 0, 0), thread (0, 0, 0)",
        "faults.cu:14)",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(part));
    }
    passes(&play("counts", &[("PTXVM_COUNTS", counts.to_str().unwrap())]));
    let text = std::fs::read_to_string(&counts).unwrap();
    assert!(text.contains("\"kernel\":\"one_too_far\"") && text.contains("\"bytes_read\":256"), "{text}");
    std::fs::remove_dir_all(&folder).unwrap();
}
