//! A model as an ELF shared library, made without a linker.
//!
//! The runtime is a shared library already (`weft_runtime::library::abi` is what it exports). The model goes behind it, as two segments that
//! the system's loader maps like those that are there: machine code with the model's functions (readable and executable), and weights, manifest
//! and tables (readable). The functions reach the runtime and the weights by distances, which are known here, so that the loader has nothing to
//! fill in. Names come to the library by tables of symbols, of their texts, hashes and versions, that are written anew behind the old ones; what
//! spoke of the old tables is changed to speak of these. (*System V Application Binary Interface*, chapters 4 and 5.)

use super::object::{Parts, descriptor};
use super::{Model, thunk};
use crate::cpu::{Target, isa};
use cranelift_codegen::binemit::Reloc;
use weft_runtime::library::FUNCTIONS;
use weft_runtime::memory::ALIGNMENT;

/// Segments begin at multiples of this, in the file and in memory.
const PAGE: usize = 16 << 10;

/// Bytes of the entries of tables.
const SYMBOL: usize = 24;
const SEGMENT: usize = 56;
const SECTION: usize = 64;
const TAG: usize = 16;

/// Tags of the dynamic section.
const HASH: u64 = 4;
const TEXTS: u64 = 5;
const SYMBOLS: u64 = 6;
const TEXTS_BYTES: u64 = 10;
const NAME: u64 = 14;
const VERSIONS: u64 = 0x6fff_fff0;

/// Types of segments, and what may be done with one.
const LOADED: u32 = 1;
const DYNAMIC: u32 = 2;
const READABLE: u32 = 4;
const EXECUTABLE: u32 = 1;

/// The library of this name: the runtime's with a model in it.
pub fn shared(
    model: &Model<'_>,
    target: Target,
    runtime: &[u8],
    name: &str,
    parts: &Parts<'_>,
) -> Result<Vec<u8>, String> {
    let runtime = Library::read(runtime).ok_or("the runtime is no shared library")?;
    let isa = isa::isa(target)?;
    let thunks = thunk::all(model);
    let mut code = parts.code.to_vec();
    let mut functions = Vec::new();
    for thunk in &thunks {
        let compiled = thunk.compile(isa.as_ref())?;
        code.resize(code.len().next_multiple_of(16), 0);
        functions.push((code.len(), compiled.bytes.len(), compiled.places));
        code.extend(compiled.bytes);
    }

    // Where things are, in the file and in memory.
    let code_offset = runtime.bytes.len().next_multiple_of(PAGE);
    let code_address = runtime.end()?.next_multiple_of(PAGE);
    let data_offset = (code_offset + code.len()).next_multiple_of(PAGE);
    let data_address = code_address + (data_offset - code_offset);
    let mut data = Data { bytes: Vec::new(), address: data_address, offset: data_offset };
    let descriptor_address = data.address;
    let room = data.push(&descriptor(&[(0, 0); 3]), ALIGNMENT);
    let variables = data.push(parts.variables, ALIGNMENT);
    let manifest = data.push(parts.manifest, ALIGNMENT);
    let distance = |place: &Place| (place.address - descriptor_address) as i64;
    let fields = [
        (code_address as i64 - descriptor_address as i64, parts.code.len()),
        (distance(&variables), parts.variables.len()),
        (distance(&manifest), parts.manifest.len()),
    ];
    data.bytes[..room.bytes].copy_from_slice(&descriptor(&fields));

    for (start, _, places) in &functions {
        for (offset, kind, of, addend) in places {
            let at = start + *offset as usize;
            let target = match of {
                thunk::Symbol::Descriptor => descriptor_address,
                thunk::Symbol::Runtime(place) => runtime.address_of(FUNCTIONS[*place])?,
            };
            let distance = target as i64 + addend - (code_address + at) as i64;
            let (Reloc::X86PCRel4 | Reloc::X86CallPCRel4, Ok(distance)) = (kind, i32::try_from(distance))
            else {
                return Err(format!("a place of the kind {kind:?} cannot be filled in"));
            };
            code[at..at + 4].copy_from_slice(&distance.to_le_bytes());
        }
    }

    // The tables: what was there, and the model's functions.
    let mut texts = runtime.texts.to_vec();
    let mut add = |text: &str| {
        let at = texts.len() as u64;
        texts.extend(text.bytes().chain([0]));
        at
    };
    let library_name = add(name);
    let mut symbols = runtime.symbols.to_vec();
    for (thunk, (start, bytes, _)) in thunks.iter().zip(&functions) {
        symbols.extend((add(&thunk.name) as u32).to_le_bytes());
        // A function that all see, in the section of the code.
        symbols.extend([1 << 4 | 2, 0]);
        symbols.extend((runtime.sections() as u16).to_le_bytes());
        symbols.extend(((code_address + start) as u64).to_le_bytes());
        symbols.extend((*bytes as u64).to_le_bytes());
    }
    let versions = [runtime.versions, &[1, 0].repeat(thunks.len())].concat();
    let symbols_at = data.push(&symbols, 8);
    let texts_at = data.push(&texts, 1);
    let versions_at = data.push(&versions, 2);
    let hash_at = data.push(&hash_table(&symbols, &texts), 8);

    let mut out = runtime.bytes.to_vec();
    for (place, tag) in runtime.tags() {
        let value = match tag {
            SYMBOLS => symbols_at.address as u64,
            TEXTS => texts_at.address as u64,
            TEXTS_BYTES => texts_at.bytes as u64,
            VERSIONS => versions_at.address as u64,
            HASH => hash_at.address as u64,
            NAME => library_name,
            _ => continue,
        };
        put(&mut out, place + 8, 8, value);
    }
    // Segments lie in memory too, for who unwinds the stack.
    let segments = runtime.segment_headers();
    let headers_at = data.reserve(segments.len() + 2 * SEGMENT, 8);
    let code_at = Place { offset: code_offset, address: code_address, bytes: code.len() };
    let data_at = Place { offset: data_offset, address: data_address, bytes: data.bytes.len() };
    let headers =
        [segments, &segment(&code_at, READABLE | EXECUTABLE), &segment(&data_at, READABLE)].concat();
    data.bytes[headers_at.offset - data_offset..][..headers.len()].copy_from_slice(&headers);

    let mut sections = runtime.section_headers().to_vec();
    for (name, place) in [
        (".dynsym", &symbols_at),
        (".dynstr", &texts_at),
        (".gnu.version", &versions_at),
        (".hash", &hash_at),
    ] {
        let at = runtime.section(name).ok_or_else(|| format!("the runtime has no section {name}"))? * SECTION;
        put(&mut sections, at + 16, 8, place.address as u64);
        put(&mut sections, at + 24, 8, place.offset as u64);
        put(&mut sections, at + 32, 8, place.bytes as u64);
    }
    for (name, place) in [(".text", &code_at), (".rodata", &data_at)] {
        let like =
            runtime.section(name).ok_or_else(|| format!("the runtime has no section {name}"))? * SECTION;
        let mut header = sections[like..like + SECTION].to_vec();
        put(&mut header, 16, 8, place.address as u64);
        put(&mut header, 24, 8, place.offset as u64);
        put(&mut header, 32, 8, place.bytes as u64);
        sections.extend(header);
    }

    out.resize(code_offset, 0);
    out.extend(code);
    out.resize(data_offset, 0);
    out.extend(data.bytes);
    out.resize(out.len().next_multiple_of(8), 0);
    let sections_at = out.len() as u64;
    let (segment_count, section_count) = (headers.len() / SEGMENT, sections.len() / SECTION);
    out.extend(sections);
    put(&mut out, 32, 8, headers_at.offset as u64);
    put(&mut out, 40, 8, sections_at);
    put(&mut out, 56, 2, segment_count as u64);
    put(&mut out, 60, 2, section_count as u64);
    Ok(out)
}

/// A part of the library.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: usize,
    address: usize,
    bytes: usize,
}

/// The segment that is being filled.
struct Data {
    bytes: Vec<u8>,
    address: usize,
    offset: usize,
}

impl Data {
    fn push(&mut self, bytes: &[u8], align: usize) -> Place {
        let place = self.reserve(bytes.len(), align);
        let start = place.offset - self.offset;
        self.bytes[start..].copy_from_slice(bytes);
        place
    }

    fn reserve(&mut self, bytes: usize, align: usize) -> Place {
        let start = self.bytes.len().next_multiple_of(align);
        self.bytes.resize(start + bytes, 0);
        Place { offset: self.offset + start, address: self.address + start, bytes }
    }
}

/// The runtime's library, and where its tables are.
struct Library<'a> {
    bytes: &'a [u8],
    symbols: &'a [u8],
    texts: &'a [u8],
    versions: &'a [u8],
}

impl<'a> Library<'a> {
    fn read(bytes: &'a [u8]) -> Option<Library<'a>> {
        let is_library = bytes.get(..6)? == b"\x7fELF\x02\x01" && number(bytes, 16, 2) == 3;
        let none = Library { bytes, symbols: &[], texts: &[], versions: &[] };
        let part = |name: &str| {
            let at = number(bytes, 40, 8) + none.section(name)? * SECTION;
            let start = number(bytes, at + 24, 8);
            bytes.get(start..start.checked_add(number(bytes, at + 32, 8))?)
        };
        let (symbols, texts) = (part(".dynsym")?, part(".dynstr")?);
        is_library.then_some(Library { bytes, symbols, texts, versions: part(".gnu.version")? })
    }

    fn sections(&self) -> usize {
        number(self.bytes, 60, 2)
    }

    fn section_headers(&self) -> &'a [u8] {
        let start = number(self.bytes, 40, 8);
        self.bytes.get(start..start + self.sections() * SECTION).unwrap_or_default()
    }

    fn segment_headers(&self) -> &'a [u8] {
        let (start, count) = (number(self.bytes, 32, 8), number(self.bytes, 56, 2));
        self.bytes.get(start..start + count * SEGMENT).unwrap_or_default()
    }

    /// The number of a section.
    fn section(&self, name: &str) -> Option<usize> {
        let headers = self.section_headers();
        let names = number(headers, number(self.bytes, 62, 2) * SECTION + 24, 8);
        (0..self.sections()).find(|number_| {
            text(self.bytes, names + number(headers, number_ * SECTION, 4)) == name.as_bytes()
        })
    }

    /// Behind all that is loaded.
    fn end(&self) -> Result<usize, String> {
        let loaded = self.segment_headers().chunks(SEGMENT).filter(|s| number(s, 0, 4) == LOADED as usize);
        loaded.map(|s| number(s, 16, 8) + number(s, 40, 8)).max().ok_or_else(|| "nothing is loaded".into())
    }

    /// Each entry of the dynamic section: its place in the file, and its tag.
    fn tags(&self) -> Vec<(usize, u64)> {
        let mut segments = self.segment_headers().chunks(SEGMENT);
        let Some(dynamic) = segments.find(|s| number(s, 0, 4) == DYNAMIC as usize) else { return Vec::new() };
        let (start, bytes) = (number(dynamic, 8, 8), number(dynamic, 32, 8));
        (start..start + bytes).step_by(TAG).map(|at| (at, number(self.bytes, at, 8) as u64)).collect()
    }

    fn address_of(&self, name: &str) -> Result<usize, String> {
        let mut symbols = self.symbols.chunks(SYMBOL);
        let found = symbols.find(|symbol| text(self.texts, number(symbol, 0, 4)) == name.as_bytes());
        found.map(|symbol| number(symbol, 8, 8)).ok_or_else(|| format!("the runtime has no `{name}`"))
    }
}

/// A little-endian number; zero where there are no bytes.
fn number(bytes: &[u8], at: usize, width: usize) -> usize {
    let bytes = bytes.get(at..at.saturating_add(width)).unwrap_or_default();
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

fn put(bytes: &mut [u8], at: usize, width: usize, value: u64) {
    bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
}

/// The text at a place, without the zero that ends it.
fn text(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default()
}

fn segment(place: &Place, flags: u32) -> Vec<u8> {
    let mut header = [LOADED.to_le_bytes(), flags.to_le_bytes()].concat();
    for value in [place.offset, place.address, place.address, place.bytes, place.bytes, PAGE] {
        header.extend((value as u64).to_le_bytes());
    }
    header
}

/// Chains of symbols with equal hashes, as the loader walks them.
fn hash_table(symbols: &[u8], texts: &[u8]) -> Vec<u8> {
    let count = symbols.len() / SYMBOL;
    let (mut buckets, mut chains) = (vec![0u32; count.max(1)], vec![0u32; count]);
    for (place, symbol) in symbols.chunks(SYMBOL).enumerate().skip(1) {
        let bucket = hash(text(texts, number(symbol, 0, 4))) as usize % buckets.len();
        chains[place] = std::mem::replace(&mut buckets[bucket], place as u32);
    }
    let words = [buckets.len() as u32, count as u32].into_iter().chain(buckets).chain(chains);
    words.flat_map(u32::to_le_bytes).collect()
}

/// The hash of a name that the ABI asks for.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0u32, |sum, byte| {
        let sum = (sum << 4).wrapping_add(u32::from(*byte));
        let high = sum & 0xf000_0000;
        (sum ^ high >> 24) & !high
    })
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn names_hash_as_the_abi_says() {
        // From the ABI's own function, by hand.
        assert_eq!(hash(b""), 0);
        assert_eq!(hash(b"a"), 0x61);
        assert_eq!(hash(b"printf"), 0x077905a6);
    }
}
