//! CUDA C++ → cubins and PTX, by NVRTC.
//!
//! NVRTC is looked for in the folder that `WEFT_NVRTC` names, where the system looks for libraries, in an activated Python environment (the
//! package `nvidia-cuda-nvrtc`), and in CUDA's usual folders. It is two libraries, of which the compiler opens the second one by name; so both
//! are opened here, by their whole paths, and stay open.
//!
//! Equal sources give equal images, so what was compiled once is kept ([`Cache`]).

use std::ffi::{CString, OsStr};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use cudarc::nvrtc::{result, sys};

use super::cache::{Cache, Key};
use crate::error::{Error, Result};
use crate::parallel;
use crate::pool::Pool;
use crate::program::{Arch, DeviceCode, DeviceFunction, DeviceImage, ImageKind};

/// Where to look first.
const FOLDER: &str = "WEFT_NVRTC";
/// The version that kernels are checked with.
const LIBRARY: &str = "libnvrtc.so.13";
/// Its second library bears NVRTC's own minor version.
const BUILTINS: &str = "libnvrtc-builtins.so.13.";

/// One kernel, compiled: its image, and what the compiler says of it (registers and spills, for a cubin).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    pub bytes: Vec<u8>,
    pub log: String,
}

/// Compiles all functions of a program, each a module of its own, on all threads. What the cache has is taken from there.
pub fn compile(code: &DeviceCode, arch: Arch, cache: &Cache) -> Result<Vec<Compiled>> {
    open()?;
    let compiler = format!("NVRTC {} {}", version()?, options(arch).join(" "));
    let made = AtomicBool::new(false);
    let get = |function: &DeviceFunction| {
        let source = code.source(function);
        let key = Key::of(&[&compiler, &function.name, &source]);
        if let Some(kept) = cache.find(&key) {
            return Ok(kept);
        }
        let compiled = one(source, function, arch)?;
        cache.keep(&key, &compiled);
        made.store(true, Ordering::Relaxed);
        Ok(compiled)
    };
    let all = parallel::map(Pool::default_threads(), &code.functions, get);
    if made.into_inner() {
        cache.make_room();
    }
    all.into_iter().collect()
}

/// The same as an image that a program can carry.
pub fn image(code: &DeviceCode, arch: Arch, cache: &Cache) -> Result<DeviceImage> {
    let modules: Vec<Vec<u8>> =
        compile(code, arch, cache)?.into_iter().map(|compiled| compiled.bytes).collect();
    DeviceImage::new(arch, &modules)
}

/// What NVRTC is told.
fn options(arch: Arch) -> Vec<String> {
    let mut options =
        vec![format!("--gpu-architecture={arch}"), "--std=c++17".to_string(), "-lineinfo".to_string()];
    if arch.kind == ImageKind::Cubin {
        options.push("--ptxas-options=-v".into());
    }
    options
}

/// NVRTC's version: `13.0`.
fn version() -> Result<String> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: NVRTC is open, and writes two numbers.
    let told = unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) }.result();
    told.map_err(|e| Error::Device(format!("NVRTC does not tell its version: {:?}", e.0)))?;
    Ok(format!("{major}.{minor}"))
}

/// The capabilities that NVRTC has machine code for.
pub fn supported() -> Result<Vec<u32>> {
    open()?;
    let failed =
        |e: result::NvrtcError| Error::Device(format!("NVRTC does not tell what it supports: {:?}", e.0));
    let mut count = 0;
    // SAFETY: NVRTC is open, and writes one number.
    unsafe { sys::nvrtcGetNumSupportedArchs(&raw mut count) }.result().map_err(failed)?;
    let mut all = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the place has room for as many numbers as NVRTC says there are.
    unsafe { sys::nvrtcGetSupportedArchs(all.as_mut_ptr()) }.result().map_err(failed)?;
    Ok(all.into_iter().filter_map(|capability| u32::try_from(capability).ok()).collect())
}

/// What to compile for a GPU: the machine code of its architecture; where NVRTC is older than the GPU and does not know that, PTX for the newest
/// that it does know, which the driver compiles.
pub(super) fn known(arch: Arch) -> Result<Arch> {
    let supported = supported()?;
    known_of(arch, &supported).ok_or_else(|| {
        let version = version().unwrap_or_default();
        Error::Device(format!("NVRTC {version} compiles nothing that an {arch} runs; install a newer one"))
    })
}

fn known_of(arch: Arch, supported: &[u32]) -> Option<Arch> {
    let capability = supported.iter().copied().filter(|known| *known <= arch.capability).max()?;
    Some(if capability == arch.capability { arch } else { Arch { capability, ..arch }.ptx() })
}

/// One kernel as a module.
fn one(source: String, function: &DeviceFunction, arch: Arch) -> Result<Compiled> {
    let failed = |message: String| Error::Device(format!("the kernel `{}`: {message}", function.name));
    let text = CString::new(source).map_err(|_| failed("its source has a zero byte".into()))?;
    let name = CString::new(format!("{}.cu", function.name)).unwrap_or_default();
    let program =
        Program(result::create_program(&text, Some(&name)).map_err(|e| failed(format!("{:?}", e.0)))?);
    // SAFETY: the program was made above, and is not destroyed yet; so below.
    let outcome = unsafe { result::compile_program(program.0, &options(arch)) };
    // SAFETY: as above.
    let log =
        unsafe { result::get_program_log(program.0) }.map_or_else(|_| String::new(), |log| text_of(&log));
    if let Err(error) = outcome {
        return Err(failed(format!("NVRTC refuses it: {:?}\n{log}", error.0)));
    }
    let bytes = match arch.kind {
        // SAFETY: as above.
        ImageKind::Ptx => unsafe { result::get_ptx(program.0) }.map(|ptx| text_of(&ptx).into_bytes()),
        // SAFETY: as above; the place has the size that NVRTC says.
        ImageKind::Cubin => unsafe {
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
    let is_builtins =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(BUILTINS));
    let both = |folder: &Path| {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
        let opened = files.filter(is_builtins).filter(|path| load(path.as_os_str()).is_ok()).count();
        opened > 0 && load(folder.join(LIBRARY).as_os_str()).is_ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_nvrtc_does_not_know_gets_the_latest_ptx() {
        let known = |arch: &str| {
            let arch = arch.parse().expect("an architecture");
            known_of(arch, &[75, 80, 86, 90, 100, 120]).map(|arch| arch.to_string())
        };
        assert_eq!(known("sm_80").as_deref(), Some("sm_80"));
        assert_eq!(known("sm_90a").as_deref(), Some("sm_90a"));
        assert_eq!(known("sm_103a").as_deref(), Some("compute_100"));
        assert_eq!(known("sm_130a").as_deref(), Some("compute_120"));
        assert_eq!(known("sm_70"), None);
    }
}
