//! Weft's compiler as a library: text in, values out. No file, clock, thread or environment is touched here.
