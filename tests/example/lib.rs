//! Nothing of its own: this package is here for `tests/specs.rs`.
