//! Makes all of an object private but a few names, so that nothing in it meets what the program that it is linked into brings along: a
//! Rust program has a standard library of its own.
//!
//! In ELF, local symbols come first in the table of symbols. So the table is made anew, without names and without the symbols that nothing
//! refers to, and every relocation is told the new number of its symbol. (*System V Application Binary Interface*, chapter 4.)

/// Bytes of a section's header (and of the file's), of a symbol, of a relocation with an addend.
const HEADER: usize = 64;
const SYMBOL: usize = 24;
const RELOCATION: usize = 24;

/// Types of sections.
const SYMBOLS: u32 = 2;
const RELOCATIONS: u32 = 4;
const NOTHING: u32 = 8;
const GROUP: u32 = 17;

/// Where a symbol is that is nowhere in this object, or that the linker still has to place.
const ELSEWHERE: u16 = 0;
const COMMON: u16 = 0xfff2;

/// A section: its header, which is written anew, and its bytes.
struct Section {
    header: [u8; HEADER],
    bytes: Vec<u8>,
}

impl Section {
    fn kind(&self) -> u32 {
        number(&self.header, 4, 4) as u32
    }

    fn put(&mut self, at: usize, width: usize, value: u64) {
        self.header[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }
}

/// A little-endian number; zero where there are no bytes.
fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    let bytes = bytes.get(at..at + width).unwrap_or_default();
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The object with `kept` as the only names that others see. It must be a 64-bit little-endian ELF object.
pub fn private(object: &[u8], kept: &[&str]) -> Result<Vec<u8>, String> {
    if object.get(..6) != Some(b"\x7fELF\x02\x01") || number(object, 16, 2) != 1 {
        return Err("this is no 64-bit little-endian ELF object".into());
    }
    let mut sections = sections(object)?;
    let is = |section: &Section, kind| section.kind() == kind;
    let table = sections.iter().position(|s| is(s, SYMBOLS)).ok_or("it has no symbols")?;
    let names = number(&sections[table].header, 40, 4) as usize;
    if names == number(object, 62, 2) as usize {
        return Err("its symbols and its sections share their names".into());
    }
    let old: Vec<[u8; SYMBOL]> = sections[table].bytes.as_chunks::<SYMBOL>().0.to_vec();
    let mut used = vec![false; old.len()];
    for section in &sections {
        match section.kind() {
            RELOCATIONS => {
                for relocation in section.bytes.chunks_exact(RELOCATION) {
                    note(&mut used, number(relocation, 12, 4) as usize);
                }
            }
            GROUP => note(&mut used, number(&section.header, 44, 4) as usize),
            _ => {}
        }
    }

    let name_of = |symbol: &[u8; SYMBOL]| {
        let text = sections[names].bytes.get(number(symbol, 0, 4) as usize..).unwrap_or_default();
        text.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
    };
    let is_seen = |symbol: &[u8; SYMBOL]| {
        let (bind, place) = (symbol[4] >> 4, number(symbol, 6, 2) as u16);
        let is_kept = || kept.iter().any(|kept| kept.as_bytes() == name_of(symbol));
        bind != 0 && (place == ELSEWHERE || place == COMMON || is_kept())
    };
    let (mut new, mut texts) = (vec![[0; SYMBOL]], vec![0u8]);
    let mut numbers = vec![0u32; old.len()];
    let mut first_seen = 1;
    for seen in [false, true] {
        for (place, symbol) in old.iter().enumerate().skip(1) {
            // What nothing refers to is needed by those alone who look for it by its name.
            let is_kept = seen && number(symbol, 6, 2) != u64::from(ELSEWHERE);
            if is_seen(symbol) != seen || !(used[place] || is_kept) {
                continue;
            }
            let mut symbol = *symbol;
            let name = if seen { name_of(&symbol) } else { Vec::new() };
            let at = if name.is_empty() { 0 } else { texts.len() as u32 };
            symbol[..4].copy_from_slice(&at.to_le_bytes());
            if seen {
                texts.extend(name);
                texts.push(0);
            } else {
                (symbol[4], symbol[5]) = (symbol[4] & 0xf, 0);
            }
            numbers[place] = new.len() as u32;
            new.push(symbol);
        }
        if !seen {
            first_seen = new.len();
        }
    }

    for section in &mut sections {
        match section.kind() {
            RELOCATIONS => {
                for relocation in section.bytes.chunks_exact_mut(RELOCATION) {
                    let old = number(relocation, 12, 4) as usize;
                    let new = numbers.get(old).copied().unwrap_or_default();
                    relocation[12..16].copy_from_slice(&new.to_le_bytes());
                }
            }
            GROUP => {
                let old = number(&section.header, 44, 4) as usize;
                section.put(44, 4, u64::from(numbers.get(old).copied().unwrap_or_default()));
            }
            _ => {}
        }
    }
    sections[table].bytes = new.concat();
    sections[table].put(44, 4, first_seen as u64);
    sections.get_mut(names).ok_or("its symbols have no names")?.bytes = texts;
    Ok(written(object, sections))
}

fn note(used: &mut [bool], symbol: usize) {
    if let Some(used) = used.get_mut(symbol) {
        *used = true;
    }
}

fn sections(object: &[u8]) -> Result<Vec<Section>, String> {
    let (start, count) = (number(object, 40, 8) as usize, number(object, 60, 2) as usize);
    if count == 0 {
        return Err("it has too many sections".into());
    }
    let section = |place: usize| {
        let at = start + place * HEADER;
        let header: [u8; HEADER] = object.get(at..)?.first_chunk().copied()?;
        let (offset, size) = (number(&header, 24, 8) as usize, number(&header, 32, 8) as usize);
        let is_there = number(&header, 4, 4) as u32 != NOTHING;
        let bytes =
            if is_there { object.get(offset..offset.checked_add(size)?)?.to_vec() } else { Vec::new() };
        Some(Section { header, bytes })
    };
    (0..count).map(|place| section(place).ok_or_else(|| "it was cut off".to_owned())).collect()
}

/// The sections one behind the other, and their headers.
fn written(object: &[u8], mut sections: Vec<Section>) -> Vec<u8> {
    let mut out = object[..HEADER].to_vec();
    for section in sections.iter_mut().skip(1) {
        let align = (number(&section.header, 48, 8) as usize).max(1);
        out.resize(out.len().next_multiple_of(align), 0);
        section.put(24, 8, out.len() as u64);
        if section.kind() != NOTHING {
            section.put(32, 8, section.bytes.len() as u64);
        }
        out.extend(&section.bytes);
    }
    out.resize(out.len().next_multiple_of(8), 0);
    let start = out.len() as u64;
    sections.iter().for_each(|section| out.extend(section.header));
    out[40..48].copy_from_slice(&start.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::write::{Object, Relocation, StandardSection, Symbol, SymbolSection};
    use object::{
        Architecture, BinaryFormat, Endianness, ObjectSection, ObjectSymbol, RelocationFlags,
        RelocationTarget, SymbolFlags, SymbolKind, SymbolScope, elf, read,
    };

    #[test]
    fn only_what_is_kept_is_seen_and_calls_go_where_they_went() {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let text = object.section_id(StandardSection::Text);
        let start = object.append_section_data(text, &[0x90; 32], 16);
        let mut add = |name: &str, place: Option<u64>| {
            object.add_symbol(Symbol {
                name: name.into(),
                value: place.unwrap_or(0),
                size: 8,
                kind: SymbolKind::Text,
                scope: SymbolScope::Dynamic,
                weak: false,
                section: place.map_or(SymbolSection::Undefined, |_| SymbolSection::Section(text)),
                flags: SymbolFlags::None,
            })
        };
        let symbols = [
            add("seen", Some(start)),
            add("rust_eh_personality", Some(8)),
            add("never_called", Some(16)),
            add("malloc", None),
        ];
        for (place, symbol) in [(1, symbols[1]), (9, symbols[3]), (17, symbols[0])] {
            let flags = RelocationFlags::Elf { r_type: elf::R_X86_64_PLT32 };
            object.add_relocation(text, Relocation { offset: place, symbol, addend: -4, flags }).unwrap();
        }
        let private = private(&object.write().unwrap(), &["seen"]).unwrap();

        let file = read::File::parse(private.as_slice()).unwrap();
        use read::Object as _;
        let seen: Vec<&str> = file.symbols().filter(|s| s.is_global()).map(|s| s.name().unwrap()).collect();
        assert_eq!(seen, ["seen", "malloc"]);
        assert!(file.symbols().all(|symbol| symbol.name() != Ok("rust_eh_personality")));
        let section = file.section_by_name(".text").unwrap();
        let targets: Vec<(u64, String, u64)> = section
            .relocations()
            .map(|(place, relocation)| match relocation.target() {
                RelocationTarget::Symbol(index) => {
                    let symbol = file.symbol_by_index(index).unwrap();
                    (place, symbol.name().unwrap().to_owned(), symbol.address())
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let due = [(1, "", 8), (9, "malloc", 0), (17, "seen", 0)];
        assert_eq!(targets, due.map(|(place, name, address)| (place, name.to_owned(), address)));
        assert!(super::private(&private[..100], &[]).is_err());
        assert!(super::private(b"no object", &[]).is_err());
    }
}
