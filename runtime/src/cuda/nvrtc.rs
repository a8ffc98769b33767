//! CUDA C++ → cubins and PTX, by NVRTC.
//!
//! NVRTC is looked for in the folder that `WEFT_NVRTC` names, where the system looks for libraries, in an activated Python environment (the
//! package `nvidia-cuda-nvrtc`), and in CUDA's usual folders. It is two libraries, of which the compiler opens the second one by name; so both
//! are opened here, by their whole paths, and stay open.

use std::ffi::{CString, OsStr};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use cudarc::nvrtc::{result, sys};

use crate::error::{Error, Result};
use crate::program::{DeviceCode, DeviceFunction};

/// Where to look first.
const FOLDER: &str = "WEFT_NVRTC";
/// The version that kernels are checked with.
const LIBRARY: &str = "libnvrtc.so.13";
const BUILTINS: &str = "libnvrtc-builtins.so.13.0";

/// What to compile to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// Machine code for one architecture: `sm_90a`.
    Cubin(String),
    /// PTX for this virtual architecture and later ones: `compute_80`.
    Ptx(String),
}

impl Image {
    /// NVRTC's name of the architecture.
    pub fn arch(&self) -> &str {
        match self {
            Image::Cubin(arch) | Image::Ptx(arch) => arch,
        }
    }
}

/// One kernel, compiled: its image, and what the compiler says of it (registers and spills, for a cubin).
#[derive(Clone, Debug)]
pub struct Compiled {
    pub bytes: Vec<u8>,
    pub log: String,
}

/// Compiles all functions of a program, each a module of its own, on all threads.
pub fn compile(code: &DeviceCode, image: &Image) -> Result<Vec<Compiled>> {
    open()?;
    let count = code.functions.len();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count.max(1));
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(function) = code.functions.get(at) else { return done };
            done.push((at, one(code, function, image)));
        }
    };
    let mut all: Vec<(usize, Result<Compiled>)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(some)).collect();
        let mut all = some();
        all.extend(others.into_iter().flat_map(|thread| thread.join().unwrap_or_default()));
        all
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, compiled)| compiled).collect()
}

/// One kernel as a module.
fn one(code: &DeviceCode, function: &DeviceFunction, image: &Image) -> Result<Compiled> {
    let failed = |message: String| Error::Device(format!("the kernel `{}`: {message}", function.name));
    let text =
        CString::new(code.source(function)).map_err(|_| failed("its source has a zero byte".into()))?;
    let name = CString::new(format!("{}.cu", function.name)).unwrap_or_default();
    let program =
        Program(result::create_program(&text, Some(&name)).map_err(|e| failed(format!("{:?}", e.0)))?);
    let mut options = vec![
        format!("--gpu-architecture={}", image.arch()),
        "--std=c++17".to_string(),
        "-lineinfo".to_string(),
    ];
    if let Image::Cubin(_) = image {
        options.push("--ptxas-options=-v".into());
    }
    // SAFETY: the program was made above, and is not destroyed yet; so below.
    let outcome = unsafe { result::compile_program(program.0, &options) };
    // SAFETY: as above.
    let log =
        unsafe { result::get_program_log(program.0) }.map_or_else(|_| String::new(), |log| text_of(&log));
    if let Err(error) = outcome {
        return Err(failed(format!("NVRTC refuses it: {:?}\n{log}", error.0)));
    }
    let bytes = match image {
        // SAFETY: as above.
        Image::Ptx(_) => unsafe { result::get_ptx(program.0) }.map(|ptx| text_of(&ptx).into_bytes()),
        // SAFETY: as above; the place has the size that NVRTC says.
        Image::Cubin(_) => unsafe {
            let mut size = 0usize;
            sys::nvrtcGetCUBINSize(program.0, &raw mut size).result().and_then(|()| {
                let mut cubin = vec![0u8; size];
                sys::nvrtcGetCUBIN(program.0, cubin.as_mut_ptr().cast()).result().map(|()| cubin)
            })
        },
    };
    Ok(Compiled { bytes: bytes.map_err(|e| failed(format!("{:?}", e.0)))?, log })
}

/// A program of NVRTC, destroyed at the end.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: it was made by `create_program`, and is destroyed once.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

fn text_of(letters: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = letters.iter().map(|letter| *letter as u8).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).trim_end().to_string()
}

/// Opens NVRTC, once.
///
/// # Errors
/// It is not there; the message says where it is looked for.
pub fn open() -> Result<()> {
    static OPENED: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    OPENED.get_or_init(find).clone().map_err(Error::Device)
}

/// The folders in which NVRTC may be, the first ones first.
fn folders() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut folders: Vec<PathBuf> = variable(FOLDER).into_iter().collect();
    for root in ["CUDA_PATH", "CUDA_HOME"].into_iter().filter_map(variable) {
        folders.push(root.join("lib64"));
    }
    if let Some(environment) = variable("VIRTUAL_ENV") {
        let versions = std::fs::read_dir(environment.join("lib")).into_iter().flatten().flatten();
        for version in versions.map(|entry| entry.path()) {
            folders.push(version.join("site-packages/nvidia/cu13/lib"));
        }
    }
    folders.push("/usr/local/cuda/lib64".into());
    folders
}

fn find() -> std::result::Result<(), String> {
    let load = |path: &OsStr| {
        // SAFETY: these libraries of CUDA may be opened at any time; they are never closed.
        unsafe { libloading::os::unix::Library::open(Some(path), GLOBAL | libloading::os::unix::RTLD_NOW) }
            .map(std::mem::forget)
    };
    let both = |folder: &Path| {
        load(folder.join(BUILTINS).as_os_str()).is_ok() && load(folder.join(LIBRARY).as_os_str()).is_ok()
    };
    let there = |folder: &PathBuf| folder.join(LIBRARY).is_file() && both(folder);
    if folders().iter().any(there) || load(OsStr::new(LIBRARY)).is_ok() {
        return Ok(());
    }
    Err(format!(
        "kernels for a GPU are compiled by NVRTC of CUDA 13, and {LIBRARY} is not there; install CUDA, or its Python package \
         (`pip install nvidia-cuda-nvrtc==13.0.88`), and name the folder of {LIBRARY} with {FOLDER}"
    ))
}

/// Names of the library are seen by others that are opened later.
const GLOBAL: std::ffi::c_int = libloading::os::unix::RTLD_GLOBAL;
