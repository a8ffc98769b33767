//! A data set: its type, its shape, and where its values are.

use super::Outcome;
use super::bytes::{Source, is_place};
use super::chunks::{Chunks, Index};
use super::filters::Filter;
use super::header::{Header, kind};
use super::types::{Element, shape};

/// An array in a file, before its values are read.
#[derive(Clone, Debug)]
pub struct Dataset {
    pub element: Element,
    pub shape: Vec<usize>,
    layout: Layout,
}

#[derive(Clone, Debug)]
enum Layout {
    /// In the header itself.
    Compact(Vec<u8>),
    /// In one piece, at an address; nowhere, as long as nothing was written.
    Contiguous(u64, u64),
    Chunked(Chunks),
    /// In a way that is not read here, or wrongly described: an error for whoever asks for the values, and nobody else.
    Unread(String),
}

impl Dataset {
    pub fn of<'a>(header: &Header<'a>, source: &Source<'a>) -> Outcome<Dataset> {
        let element = Element::of(&mut source.within(header.needed(kind::DATATYPE, "type")?))?;
        let shape = shape(&mut source.within(header.needed(kind::DATASPACE, "shape")?))?;
        let layout = layout(header, source, &element, &shape).unwrap_or_else(Layout::Unread);
        let dataset = Dataset { element, shape, layout };
        dataset.bytes().ok_or("it has more values than can be")?;
        Ok(dataset)
    }

    /// How many bytes the values are, if that is a number at all.
    pub fn bytes(&self) -> Option<usize> {
        self.shape.iter().try_fold(self.element.size, |bytes, &extent| bytes.checked_mul(extent))
    }

    pub(super) fn read(&self, source: &Source<'_>, into: &mut [u8]) -> Outcome<()> {
        if self.bytes() != Some(into.len()) {
            return Err("it was read into memory of another size".into());
        }
        match &self.layout {
            Layout::Unread(why) => return Err(why.clone()),
            Layout::Compact(bytes) => match bytes.get(..into.len()) {
                Some(bytes) => into.copy_from_slice(bytes),
                None => return Err("it holds fewer values than its shape".into()),
            },
            // There is nothing to read, and maybe no place either.
            Layout::Contiguous(..) if into.is_empty() => {}
            Layout::Contiguous(address, size) => {
                if !is_place(*address) {
                    return Err("nothing was ever written to it".into());
                }
                if *size < into.len() as u64 {
                    return Err("it holds fewer values than its shape".into());
                }
                into.copy_from_slice(source.at(*address)?.take(into.len() as u64)?);
            }
            Layout::Chunked(chunks) => chunks.read(source, &self.shape, self.element.size, into)?,
        }
        if self.element.big_endian {
            into.chunks_exact_mut(self.element.size).for_each(<[u8]>::reverse);
        }
        Ok(())
    }
}

fn layout<'a>(
    header: &Header<'a>,
    source: &Source<'a>,
    element: &Element,
    shape: &[usize],
) -> Outcome<Layout> {
    let mut at = source.within(header.needed(kind::LAYOUT, "place of its values")?);
    let version = at.u8()?;
    if version != 3 && version != 4 {
        return Err(format!("its layout has version {version}; versions 3 and 4 are known"));
    }
    match at.u8()? {
        0 => {
            let size = at.u16()?;
            Ok(Layout::Compact(at.take(size.into())?.to_vec()))
        }
        1 => Ok(Layout::Contiguous(at.offset()?, at.length()?)),
        2 => {
            let filters = match header.first(kind::FILTERS) {
                Some(_) => Filter::all(source.within(header.needed(kind::FILTERS, "filters")?))?,
                None => Vec::new(),
            };
            let flags = if version == 4 { at.u8()? } else { 0 };
            // One more than the axes: the last is the element's size.
            let rank = usize::from(at.u8()?);
            let early = if version == 3 { Some(at.offset()?) } else { None };
            let width = if version == 4 { at.u8()? } else { 4 };
            let extents: Vec<u64> = (0..rank).map(|_| at.uint(width)).collect::<Outcome<_>>()?;
            let index = match early {
                Some(address) => Index::Tree(address),
                None => Index::read(&mut at, flags)?,
            };
            let Some((&size, extents)) = extents.split_last() else {
                return Err("its chunks have no shape".into());
            };
            if size != element.size as u64 || extents.len() != shape.len() {
                return Err("its chunks have another shape or type than it".into());
            }
            Ok(Layout::Chunked(Chunks::new(extents, element.size, filters, index)?))
        }
        class => Err(format!("its values are kept in a way (class {class}) that is not read here")),
    }
}
