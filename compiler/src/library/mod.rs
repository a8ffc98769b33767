//! Models as parts of other programs: a C header, and the machine code, weights and functions that it speaks of.
//!
//! ```text
//!                     program, weights, names
//!           ┌───────────────────┼─────────────────┐
//!        header              object             thunks
//!       (`NAME.h`)    (ELF: .text, .rodata)   (`NAME_predict_…`, by Cranelift)
//!                               │
//!                   ┌───────────┴───────────┐
//!   archive (`libNAME.a`: the object   shared (`libNAME.so`: the same parts
//!        and the runtime's)              behind the runtime's library)
//! ```
//!
//! What a function takes is decided in the runtime ([`weft_runtime::library::signature`]); this room writes it down for C, and makes the few
//! instructions that hand it over. All names begin with the model's, so that several models live in one program.

pub mod archive;
pub mod header;
pub mod names;
pub mod object;
pub mod private;
pub mod shared;
mod thunk;

use weft_grammar::FileId;
use weft_grammar::ast::{Item, ItemKind};
use weft_runtime::library::signature::{self, Function};
use weft_runtime::payload::Card;
use weft_runtime::program::Program;
use weft_runtime::weights::Classes;

/// All that is said of a model to a linker and to C.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    /// What its C names begin with: `digits`.
    pub prefix: &'a str,
    pub program: &'a Program,
    pub classes: &'a Classes,
    pub card: &'a Card,
    /// What the spec says of its items, by the functions' names: `predict_digit`.
    pub docs: &'a [(String, String)],
}

impl Model<'_> {
    /// Those of its functions that answer.
    pub fn functions(&self) -> Vec<Function> {
        signature::functions(self.program)
    }

    /// Every C name that it gives to a program, in order.
    pub fn names(&self) -> Vec<String> {
        thunk::all(self).into_iter().map(|thunk| thunk.name).collect()
    }
}

/// What the spec says above its items, by the functions' names.
pub fn docs(program: &Program) -> Vec<(String, String)> {
    let named = |item: Item| {
        let name = match &item.kind {
            ItemKind::Predict(predict) => format!("predict_{}", predict.name.text),
            ItemKind::Generate(generate) => format!("generate_{}", generate.name.text),
            _ => return None,
        };
        Some((name, item.doc?))
    };
    let texts = program.sources.iter().filter(|(name, _)| !name.starts_with("std/"));
    texts.flat_map(|(_, text)| weft_grammar::parse(FileId(0), text).file.items).filter_map(named).collect()
}
