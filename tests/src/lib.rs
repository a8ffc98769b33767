//! What Weft's tests share: the devices that a case runs on, and golden files.
//!
//! Every suite runs each case on every [`device::Device`]: the reference evaluator in f64 and f32, and the CPU back end on one thread and
//! on several. A new back end is one more device.

pub mod batches;
pub mod cuda;
pub mod device;
pub mod golden;
pub mod graphs;
pub mod sass;
pub mod specs;
