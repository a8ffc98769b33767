//! Pointers that the host passes: all that is unsafe about the driver's interface.

use std::ffi::{CStr, c_char, c_void};

use super::{CALLED_BACK, Done, INVALID_VALUE};

/// Where a result goes.
#[repr(transparent)]
#[derive(Debug)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Stores a result; a null pointer is an invalid value.
    pub(super) fn set(&self, value: T) -> Done {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the driver's interface asks for a pointer to a writable value of this type.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// Stores a result where one is wanted.
    pub(super) fn set_if_wanted(&self, value: T) {
        let _ = self.set(value);
    }

    /// The first of so many values, as an address.
    pub(super) fn address(&self) -> usize {
        self.0 as usize
    }
}

/// A value that the host passes by pointer.
#[repr(transparent)]
#[derive(Debug)]
pub struct In<T>(*const T);

impl<T: Copy> In<T> {
    pub(super) fn at(&self, index: usize) -> Done<T> {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the driver's interface asks for a pointer to (so many) readable values of this type.
        Ok(unsafe { self.0.add(index).read_unaligned() })
    }

    pub(super) fn null() -> Self {
        In(std::ptr::null())
    }

    pub(super) fn is_null(&self) -> bool {
        self.0.is_null()
    }
}

/// A C text.
#[repr(transparent)]
#[derive(Debug)]
pub struct Text(*const c_char);

impl Text {
    pub(super) fn get(&self) -> Done<String> {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the driver's interface asks for a text that ends with a zero byte.
        Ok(unsafe { CStr::from_ptr(self.0) }.to_string_lossy().into_owned())
    }

    pub(super) fn address(&self) -> usize {
        self.0 as usize
    }
}

/// Bytes of the host that are read.
pub(super) fn read(address: usize, bytes: usize) -> Done<Vec<u8>> {
    if address == 0 && bytes > 0 {
        return Err(INVALID_VALUE);
    }
    let mut out = vec![0; bytes];
    // SAFETY: the driver's interface asks for so many readable bytes at this address.
    unsafe { std::ptr::copy_nonoverlapping(address as *const u8, out.as_mut_ptr(), bytes) };
    Ok(out)
}

/// Bytes of the host that are written.
pub(super) fn write(address: usize, bytes: &[u8]) -> Done {
    if address == 0 && !bytes.is_empty() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the driver's interface asks for so many writable bytes at this address.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
    Ok(())
}

/// Calls a function of the host, which must not call the driver.
pub(super) fn call_back(function: usize, data: usize) -> Done {
    if function == 0 {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the driver's interface asks for a function of this type.
    let function: extern "C" fn(*mut c_void) = unsafe { std::mem::transmute(function) };
    CALLED_BACK.set(true);
    function(data as *mut c_void);
    CALLED_BACK.set(false);
    Ok(())
}

/// What tells how much shared memory blocks of a size need.
pub(super) fn shared_of(function: usize, block: i32) -> usize {
    if function == 0 {
        return 0;
    }
    // SAFETY: the driver's interface asks for a function of this type.
    let function: extern "C" fn(i32) -> usize = unsafe { std::mem::transmute(function) };
    function(block)
}

/// Page-locked memory of the host: zeros, aligned as pages are.
#[derive(Debug)]
pub(super) struct Pinned {
    address: usize,
    layout: std::alloc::Layout,
}

impl Pinned {
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let layout = std::alloc::Layout::from_size_align(bytes.max(1), 4096).ok()?;
        // SAFETY: the size is not zero.
        let address = unsafe { std::alloc::alloc_zeroed(layout) } as usize;
        (address != 0).then_some(Pinned { address, layout })
    }

    pub(super) fn address(&self) -> usize {
        self.address
    }

    pub(super) fn holds(&self, address: usize) -> bool {
        (self.address..self.address + self.layout.size()).contains(&address)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: the memory was allocated with this layout, and this value alone owns it.
        unsafe { std::alloc::dealloc(self.address as *mut u8, self.layout) };
    }
}
