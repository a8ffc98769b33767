//! The GPU: what a session needs of CUDA, behind a safe interface over cudarc.
//!
//! Nothing of CUDA is linked: the driver, `libcuda.so.1`, is opened when a device is, and NVRTC, which compiles kernels, when a program comes
//! without images. Where they are missing or too old, opening says so. What NVRTC made stays on disk (`cache`).
//!
//! [`Device`] is one GPU with one stream of work, which it does in order: copies, kernels, and graphs of kernels that were captured once
//! ([`Device::capture`]) and are replayed with one call. Addresses on the device are plain pointers that nobody here may follow.

#[cfg(feature = "nvrtc")]
mod cache;
#[cfg(feature = "nvrtc")]
mod counts;
#[cfg(feature = "cuda")]
mod device;
#[cfg(feature = "nvrtc")]
mod nvrtc;

#[cfg(feature = "nvrtc")]
pub use cache::Cache;
#[cfg(feature = "nvrtc")]
pub use counts::counts;
#[cfg(feature = "cuda")]
pub use device::{Device, DeviceBlock, Function, Graph, Kernels, Staging};
#[cfg(feature = "nvrtc")]
pub use nvrtc::{Compiled, compile, image, open as open_nvrtc, supported};

#[cfg(not(feature = "cuda"))]
mod absent;
#[cfg(not(feature = "cuda"))]
pub use absent::{Device, DeviceBlock, Function, Graph, Kernels, Staging};
