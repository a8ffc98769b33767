//! A model as an ELF object: what a linker puts into a program.
//!
//! Its machine code and its functions stand in `.text`, weights and manifest in `.rodata` behind the descriptor that says where they
//! are. All distances are relative, so nothing in it is changed when the program is loaded: code and weights are mapped from the program's file
//! and shared by all processes that run it.

use cranelift_codegen::binemit::Reloc;
use object::write::{Object, Relocation, SectionId, StandardSection, Symbol, SymbolId, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationEncoding, RelocationFlags, RelocationKind, SectionKind,
    SymbolFlags, SymbolKind, SymbolScope, elf,
};
use weft_runtime::library::{FUNCTIONS, MAGIC};
use weft_runtime::memory::ALIGNMENT;

use super::{Model, thunk};
use crate::cpu::{Target, isa};

/// Bytes of a [`weft_runtime::library::Descriptor`].
const DESCRIPTOR: usize = 8 + 3 * 16;

/// What of a model is no function.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    pub code: &'a [u8],
    /// As a session of the program has them.
    pub variables: &'a [u8],
    pub manifest: &'a [u8],
}

/// The descriptor of parts: for each of code, variables and manifest the distance and the bytes.
pub fn descriptor(parts: &[(i64, usize); 3]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (distance, length) in parts {
        bytes.extend(distance.to_le_bytes());
        bytes.extend((*length as u64).to_le_bytes());
    }
    bytes
}

/// The object of a model.
pub fn object(model: &Model<'_>, target: Target, parts: &Parts<'_>) -> Result<Vec<u8>, String> {
    let Parts { code, variables, manifest } = *parts;
    let arm = target.arch() == "aarch64";
    let architecture = if arm { Architecture::Aarch64 } else { Architecture::X86_64 };
    let mut object = Object::new(BinaryFormat::Elf, architecture, Endianness::Little);
    object.add_file_symbol(model.prefix.into());
    // An object without it asks for a stack that can be executed.
    object.add_section(Vec::new(), b".note.GNU-stack".to_vec(), SectionKind::Other);
    let (text, data) =
        (object.section_id(StandardSection::Text), object.section_id(StandardSection::ReadOnlyData));
    let align = ALIGNMENT as u64;

    let code_start = object.append_section_data(text, code, align);
    let code_symbol = local(&mut object, text, &format!("{}_code", model.prefix), code_start, code.len());
    let start = object.append_section_data(data, &[0; DESCRIPTOR], align);
    let variables_start = object.append_section_data(data, variables, align);
    let manifest_start = object.append_section_data(data, manifest, align);
    let described = local(&mut object, data, &format!("{}_model", model.prefix), start, DESCRIPTOR);
    let distance = |place: u64| (place - start) as i64;
    let fields = descriptor(&[
        (0, code.len()),
        (distance(variables_start), variables.len()),
        (distance(manifest_start), manifest.len()),
    ]);
    object.section_mut(data).data_mut()[start as usize..][..DESCRIPTOR].copy_from_slice(&fields);
    // Code lies in a section of its own, so the linker says how far it is: from the descriptor, not from the field.
    let place = start + MAGIC.len() as u64;
    let distance =
        RelocationFlags::Elf { r_type: if arm { elf::R_AARCH64_PREL64 } else { elf::R_X86_64_PC64 } };
    let relocation =
        Relocation { offset: place, symbol: code_symbol, addend: MAGIC.len() as i64, flags: distance };
    object.add_relocation(data, relocation).map_err(|error| error.to_string())?;

    let isa = isa::isa(target)?;
    let mut runtime: Vec<Option<SymbolId>> = vec![None; FUNCTIONS.len()];
    for thunk in thunk::all(model) {
        let code = thunk.compile(isa.as_ref())?;
        let start = object.append_section_data(text, &code.bytes, 16);
        object.add_symbol(Symbol {
            scope: SymbolScope::Dynamic,
            ..symbol(text, &thunk.name, SymbolKind::Text, start, code.bytes.len())
        });
        for (offset, kind, of, addend) in code.places {
            let symbol = match of {
                thunk::Symbol::Descriptor => described,
                thunk::Symbol::Runtime(place) => *runtime[place].get_or_insert_with(|| {
                    object.add_symbol(Symbol {
                        name: FUNCTIONS[place].into(),
                        value: 0,
                        size: 0,
                        kind: SymbolKind::Unknown,
                        scope: SymbolScope::Unknown,
                        weak: false,
                        section: SymbolSection::Undefined,
                        flags: SymbolFlags::None,
                    })
                }),
            };
            let flags = flags(kind).ok_or_else(|| format!("no linker knows {kind:?}"))?;
            let relocation = Relocation { offset: start + u64::from(offset), symbol, addend, flags };
            object.add_relocation(text, relocation).map_err(|error| error.to_string())?;
        }
    }
    object.write().map_err(|error| error.to_string())
}

fn symbol(section: SectionId, name: &str, kind: SymbolKind, value: u64, size: usize) -> Symbol {
    Symbol {
        name: name.into(),
        value,
        size: size as u64,
        kind,
        scope: SymbolScope::Compilation,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    }
}

/// A symbol that only this object sees.
fn local(object: &mut Object<'_>, section: SectionId, name: &str, value: u64, size: usize) -> SymbolId {
    object.add_symbol(symbol(section, name, SymbolKind::Data, value, size))
}

/// What ELF calls a place that Cranelift left open.
fn flags(kind: Reloc) -> Option<RelocationFlags> {
    let relative = |encoding| RelocationFlags::Generic { kind: RelocationKind::Relative, encoding, size: 32 };
    Some(match kind {
        Reloc::X86PCRel4 => relative(RelocationEncoding::Generic),
        Reloc::X86CallPCRel4 => RelocationFlags::Elf { r_type: elf::R_X86_64_PLT32 },
        Reloc::Arm64Call => RelocationFlags::Elf { r_type: elf::R_AARCH64_CALL26 },
        Reloc::Aarch64AdrGotPage21 => RelocationFlags::Elf { r_type: elf::R_AARCH64_ADR_GOT_PAGE },
        Reloc::Aarch64Ld64GotLo12Nc => RelocationFlags::Elf { r_type: elf::R_AARCH64_LD64_GOT_LO12_NC },
        Reloc::Aarch64AdrPrelPgHi21 => RelocationFlags::Elf { r_type: elf::R_AARCH64_ADR_PREL_PG_HI21 },
        Reloc::Aarch64AddAbsLo12Nc => RelocationFlags::Elf { r_type: elf::R_AARCH64_ADD_ABS_LO12_NC },
        _ => return None,
    })
}
