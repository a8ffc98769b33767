//! The stubs that executables begin with, and the runtime that is linked into programs, as the build script made them.

use crate::failure::Failure;
use flate2::read::ZlibDecoder;
use std::io::Read;
use weft_runtime::text;
use weft_runtime::weights::Vocabularies;

const PLAIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stub-plain"));
const TEXT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stub-text"));
const TRAIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stub-train"));
const CUDA: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stub-cuda"));

const PLAIN_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/object-plain"));
const TEXT_OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/object-text"));
const PLAIN_SHARED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shared-plain"));
const TEXT_SHARED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shared-text"));

/// The smallest stub that can run a program which reads and writes texts by these vocabularies, and train its weights where that is
/// asked for. The one for GPUs can do all of that.
pub fn of(vocabularies: &Vocabularies, trains: bool, gpus: bool) -> Result<&'static [u8], Failure> {
    if gpus {
        return there(CUDA);
    }
    there(match trains {
        true => TRAIN,
        false if cuts_texts(vocabularies) => TEXT,
        false => PLAIN,
    })
}

/// The smallest object that can run a program which is linked with it.
pub fn object(vocabularies: &Vocabularies) -> Result<Vec<u8>, Failure> {
    unpacked(if cuts_texts(vocabularies) { TEXT_OBJECT } else { PLAIN_OBJECT })
}

/// The object that any program can be linked with.
pub fn object_for_all() -> Result<Vec<u8>, Failure> {
    unpacked(TEXT_OBJECT)
}

/// The smallest one as a shared library.
pub fn shared(vocabularies: &Vocabularies) -> Result<Vec<u8>, Failure> {
    unpacked(if cuts_texts(vocabularies) { TEXT_SHARED } else { PLAIN_SHARED })
}

fn unpacked(packed: &'static [u8]) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let unpacked = ZlibDecoder::new(there(packed)?).read_to_end(&mut bytes);
    unpacked
        .map_err(|error| Failure::environment(format!("the runtime for libraries is damaged: {error}")))?;
    match bytes.is_empty() {
        true => Err(Failure::environment("this `weft` makes libraries on Linux only")
            .help("an executable can be made here as well: leave out --emit")),
        false => Ok(bytes),
    }
}

/// Are there texts that tokenizers cut? Bytes are tokens as they are.
fn cuts_texts(vocabularies: &Vocabularies) -> bool {
    vocabularies.iter().any(|(_, json)| !text::is_bytes(json))
}

fn there(stub: &'static [u8]) -> Result<&'static [u8], Failure> {
    if stub.is_empty() {
        return Err(Failure::environment("this `weft` was built without the stubs of executables")
            .help("build it again without WEFT_STUBS=none"));
    }
    Ok(stub)
}
