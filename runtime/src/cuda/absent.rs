//! The GPU of a runtime that was built without it: there never is one.

use std::convert::Infallible;

use crate::error::{Error, Result};
use crate::program::DeviceCode;

/// A device that no build without the feature `cuda` has.
#[derive(Clone, Debug)]
pub struct Device(Infallible);

#[derive(Debug)]
pub struct DeviceBlock(Infallible);

#[derive(Clone, Debug)]
pub struct Function(Infallible);

#[derive(Debug)]
pub struct Kernels {
    _never: Infallible,
    pub functions: Vec<Function>,
}

#[derive(Debug)]
pub struct Graph(Infallible);

#[derive(Debug)]
pub struct Staging(Infallible);

impl Device {
    pub fn open() -> Result<Device> {
        Err(Error::Device("this program was built without what it takes to use a GPU".into()))
    }

    pub fn name(&self) -> &str {
        match self.0 {}
    }

    pub fn check(&self, _: &DeviceCode) -> Result<()> {
        match self.0 {}
    }

    pub fn block(&self, _: usize) -> Result<DeviceBlock> {
        match self.0 {}
    }

    /// # Safety
    /// It is never called; so below.
    pub unsafe fn fill(&self, _: *mut u8, _: usize, _: u8) -> Result<()> {
        match self.0 {}
    }

    /// # Safety
    /// As above.
    pub unsafe fn write(&self, _: *mut u8, _: &[u8]) -> Result<()> {
        match self.0 {}
    }

    /// # Safety
    /// As above.
    pub unsafe fn read(&self, _: *const u8, _: &mut [u8]) -> Result<()> {
        match self.0 {}
    }

    /// # Safety
    /// As above.
    pub unsafe fn copy(&self, _: *mut u8, _: *const u8, _: usize) -> Result<()> {
        match self.0 {}
    }

    pub fn begin(&self) -> Result<()> {
        match self.0 {}
    }

    pub fn load(&self, _: &DeviceCode) -> Result<Kernels> {
        match self.0 {}
    }

    /// # Safety
    /// As above.
    pub unsafe fn launch(&self, _: &Function, _: [u32; 3], _: &mut [*mut std::ffi::c_void]) -> Result<()> {
        match self.0 {}
    }

    pub fn wait_for(&self, _: &Function) -> Result<()> {
        match self.0 {}
    }

    pub fn captures(&self) -> bool {
        match self.0 {}
    }

    pub fn capture(&self, _: impl FnOnce() -> Result<()>) -> Result<Graph> {
        match self.0 {}
    }

    pub fn staging(&self, _: usize) -> Result<Staging> {
        match self.0 {}
    }

    pub fn time(&self, _: impl FnOnce() -> Result<()>) -> Result<u64> {
        match self.0 {}
    }
}

impl DeviceBlock {
    pub fn pointer(&self) -> *mut u8 {
        match self.0 {}
    }
}

impl Graph {
    pub fn launch(&self) -> Result<()> {
        match self.0 {}
    }
}

impl Staging {
    pub fn len(&self) -> usize {
        match self.0 {}
    }

    pub fn is_empty(&self) -> bool {
        match self.0 {}
    }

    pub fn bytes_mut(&mut self) -> Result<&mut [u8]> {
        match self.0 {}
    }

    /// # Safety
    /// As above.
    pub unsafe fn send(&self, _: *mut u8, _: std::ops::Range<usize>) -> Result<()> {
        match self.0 {}
    }

    pub fn sent(&self) -> Result<()> {
        match self.0 {}
    }
}
