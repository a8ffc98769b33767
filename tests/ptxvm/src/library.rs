//! Where the stand-in library lies, for the tests of other crates.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The shared library that Cargo built of this crate, beside the running test.
///
/// Cargo builds every kind of a library that a test depends on, and puts the shared one under
/// `target/PROFILE/deps`, where the tests' programs are; a program of `target/PROFILE` finds it there too.
pub fn library() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let mut tried = Vec::new();
    for folder in program.ancestors().skip(1).take(3) {
        for candidate in [folder.join("deps/libptxvm.so"), folder.join("libptxvm.so")] {
            if candidate.is_file() {
                return Ok(candidate);
            }
            tried.push(candidate.display().to_string());
        }
    }
    let message = format!(
        "libptxvm.so is not built: make the package `ptxvm` a dependency of the test (tried {})",
        tried.join(", ")
    );
    Err(io::Error::new(io::ErrorKind::NotFound, message))
}

/// Puts the library into a folder as `libcuda.so.1` and `libcuda.so`, for `LD_LIBRARY_PATH`, and returns its path.
pub fn install(folder: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let library = library()?;
    let installed = folder.join("libcuda.so.1");
    // Written whole or not at all: tests of one folder run side by side.
    let part = folder.join(format!("libcuda.{}.part", std::process::id()));
    fs::copy(&library, &part)?;
    fs::rename(&part, &installed)?;
    let plain = folder.join("libcuda.so");
    if !plain.exists() {
        match std::os::unix::fs::symlink("libcuda.so.1", &plain) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(installed)
}

/// Loads the library into this process under the name of the driver: who opens `libcuda.so.1` hereafter gets it.
///
/// Settings are read from the environment at the first call of a driver's function.
pub fn load() -> io::Result<()> {
    const NOW_AND_FOR_ALL: i32 = 0x102;
    // SAFETY: the function of the C library, as its manual declares it.
    unsafe extern "C" {
        fn dlopen(path: *const std::ffi::c_char, flags: i32) -> *mut std::ffi::c_void;
    }
    let path = library()?;
    let name = CString::new(path.display().to_string())?;
    // SAFETY: the path is a C text that outlives the call, and the library's initialisers are Rust's own.
    let handle = unsafe { dlopen(name.as_ptr(), NOW_AND_FOR_ALL) };
    if handle.is_null() {
        return Err(io::Error::other(format!("{} cannot be loaded", path.display())));
    }
    Ok(())
}
