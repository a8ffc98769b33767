//! The GPU: what a session needs of CUDA, behind a safe interface over cudarc.
//!
//! Nothing of CUDA is linked: the driver, `libcuda.so.1`, is opened when a device is, and NVRTC, which compiles kernels, when a program comes
//! without images that fit. Where they are missing or too old, opening says so, and what to do.
//!
//! [`Device`] is one GPU with one stream of work, which it does in order: copies, kernels, and graphs of kernels that were captured once
//! ([`Device::capture`]) and are replayed with one call. Addresses on the device are plain pointers that nobody here may follow.

#[cfg(feature = "cuda")]
mod counts;
#[cfg(feature = "cuda")]
mod device;
#[cfg(feature = "cuda")]
mod nvrtc;

#[cfg(feature = "cuda")]
pub use counts::counts;
#[cfg(feature = "cuda")]
pub use device::{Device, DeviceBlock, Function, Graph, Kernels, Staging};
#[cfg(feature = "cuda")]
pub use nvrtc::{Compiled, Image, compile, open as open_nvrtc};

#[cfg(not(feature = "cuda"))]
mod absent;
#[cfg(not(feature = "cuda"))]
pub use absent::{Device, DeviceBlock, Function, Graph, Kernels, Staging};
