//! What kernels did, as a driver that counts it says: the interpreter of the crate `ptxvm`. NVIDIA's own does not.

use std::ffi::c_char;

/// `size ptxvm_counts(to, bytes)`: JSON, a line for each kernel that has run since the last call.
type Counts = unsafe extern "C" fn(*mut c_char, usize) -> usize;

/// A JSON object a line for each kernel that has run since the last call, in order; none where the driver does not count. The first call
/// makes it begin.
pub fn counts() -> Option<String> {
    // SAFETY: opening the driver's library runs its own initialisation alone. It stays open: the symbol is that of an interpreter whose
    // function has this signature, and whatever is called so in another driver is not called.
    unsafe {
        let driver = libloading::Library::new("libcuda.so.1").ok()?;
        let counts = *driver.get::<Counts>(b"ptxvm_counts\0").ok()?;
        std::mem::forget(driver);
        let bytes = counts(std::ptr::null_mut(), 0);
        let mut text = vec![0u8; bytes];
        let written = counts(text.as_mut_ptr().cast(), bytes);
        text.truncate(written.min(bytes));
        Some(String::from_utf8_lossy(&text).into_owned())
    }
}
