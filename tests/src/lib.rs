//! Weft's test crate: see `tests/tests/`.
