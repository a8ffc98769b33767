//! Kernels against naive loops in f64, at every level that this machine has.
