//! The stubs that executables begin with, as the build script made them.

use crate::failure::Failure;
use weft_runtime::program::{InputSource, Program};

const PLAIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stub-plain"));
const TEXT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stub-text"));
const TRAIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stub-train"));

/// The smallest stub that can run a program, and train its weights where that is asked for.
pub fn of(program: &Program, trains: bool) -> Result<&'static [u8], Failure> {
    let reads = program.entries.iter().flat_map(|entry| &entry.inputs);
    let mut texts = reads.filter(|input| matches!(input.source, InputSource::Tokens { .. }));
    let writes = program.generations.iter().any(|generation| generation.vocabulary.is_some());
    let stub = match trains {
        true => TRAIN,
        false if writes || texts.next().is_some() => TEXT,
        false => PLAIN,
    };
    if stub.is_empty() {
        return Err(Failure::environment("this `weft` was built without the stubs of executables")
            .help("build it again without WEFT_STUBS=none"));
    }
    Ok(stub)
}
