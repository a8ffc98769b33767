//! Types of elements, shapes, and the texts of attributes.

use std::collections::BTreeMap;

use super::Outcome;
use super::btree::records;
use super::bytes::{Cursor, Source, is_place, text};
use super::header::{Header, kind};
use super::heap::{FractalHeap, shared_object};
use crate::program::DType;

/// The type of a data set's elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    pub size: usize,
    pub form: Form,
    pub big_endian: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    Signed,
    Unsigned,
    /// With so many bits for the exponent and the fraction.
    Float(u8, u8),
    Text,
    /// An address of a text and its length.
    AnyText,
    /// By the number of its class in HDF5's specification.
    Other(u8),
}

impl Element {
    /// The content of a datatype message.
    pub fn of(at: &mut Cursor<'_, '_>) -> Outcome<Element> {
        let class = at.u8()? & 15;
        let (bits, high) = (at.u8()?, at.uint(2)?);
        let size = at.u32()? as usize;
        let mut big_endian = bits & 1 != 0;
        let form = match class {
            0 => {
                at.skip(4)?;
                if bits & 8 != 0 { Form::Signed } else { Form::Unsigned }
            }
            1 => {
                at.skip(5)?;
                let exponent = at.u8()?;
                at.skip(1)?;
                let fraction = at.u8()?;
                at.skip(4)?;
                // The second bit of the order is that of the VAX.
                if bits & 0x40 != 0 || high & 0xff != 8 * size as u64 - u64::from(size > 0) {
                    Form::Other(class)
                } else {
                    Form::Float(exponent, fraction)
                }
            }
            3 => Form::Text,
            // A truth value of h5py: two names for the numbers 0 and 1.
            8 => {
                let (base, order) = (at.u8()? & 15, at.u8()?);
                big_endian = order & 1 != 0;
                match base {
                    0 if order & 8 != 0 => Form::Signed,
                    0 => Form::Unsigned,
                    _ => Form::Other(class),
                }
            }
            9 if bits & 15 == 1 => Form::AnyText,
            _ => Form::Other(class),
        };
        if size == 0 {
            return Err("its elements have no size".into());
        }
        Ok(Element { size, form, big_endian })
    }

    /// The same type here, if there is one.
    pub fn dtype(&self) -> Option<DType> {
        Some(match (&self.form, self.size) {
            (Form::Float(8, 23), 4) => DType::F32,
            (Form::Float(11, 52), 8) => DType::F64,
            (Form::Float(5, 10), 2) => DType::F16,
            (Form::Float(8, 7), 2) => DType::BF16,
            (Form::Signed, 1) => DType::I8,
            (Form::Unsigned, 1) => DType::U8,
            (Form::Signed, 4) => DType::I32,
            (Form::Signed, 8) => DType::I64,
            _ => return None,
        })
    }

    /// For messages: `u32`, `text`.
    pub fn name(&self) -> String {
        if let Some(dtype) = self.dtype() {
            return dtype.name().into();
        }
        let bits = 8 * self.size;
        match self.form {
            Form::Signed => format!("i{bits}"),
            Form::Unsigned => format!("u{bits}"),
            Form::Float(..) => format!("a float of {bits} bits"),
            Form::Text | Form::AnyText => "text".into(),
            Form::Other(class) => format!("HDF5's class {class}"),
        }
    }
}

/// A shape. A single value has no axes; what has no value at all has one of extent 0.
pub fn shape(at: &mut Cursor<'_, '_>) -> Outcome<Vec<usize>> {
    let version = at.u8()?;
    let rank = at.u8()?;
    let none = match version {
        1 => {
            at.skip(6)?;
            false
        }
        2 => {
            at.skip(1)?;
            at.u8()? == 2
        }
        _ => return Err(format!("its shape has version {version}; versions 1 and 2 are known")),
    };
    if none {
        return Ok(vec![0]);
    }
    let extent = |_| {
        let extent = at.length()?;
        usize::try_from(extent).map_err(|_| format!("an axis has {extent} elements"))
    };
    (0..rank).map(extent).collect()
}

/// All attributes that hold texts.
pub fn texts<'a>(header: &Header<'a>, source: &Source<'a>) -> Outcome<BTreeMap<String, Vec<String>>> {
    let mut found = BTreeMap::new();
    for message in header.all(kind::ATTRIBUTE).filter(|message| !message.shared) {
        found.extend(attribute(message.data, source)?);
    }
    if header.first(kind::ATTRIBUTE_INFO).is_some() {
        let mut at = source.within(header.needed(kind::ATTRIBUTE_INFO, "table of attributes")?);
        at.version(0, "table of attributes")?;
        if at.u8()? & 1 != 0 {
            at.skip(2)?;
        }
        let (heap, tree) = (at.offset()?, at.offset()?);
        if is_place(heap) {
            let heap = FractalHeap::read(source, heap)?;
            for record in records(source, tree, 8)? {
                let id = record.get(..8).ok_or("a record of an attribute is too short")?;
                found.extend(attribute(heap.object(source, id)?, source)?);
            }
        }
    }
    Ok(found)
}

/// The name and the texts of an attribute; `None` where it holds something else.
fn attribute<'a>(data: &'a [u8], source: &Source<'a>) -> Outcome<Option<(String, Vec<String>)>> {
    let mut at = source.within(data);
    let (version, flags) = (at.u8()?, at.u8()?);
    if !(1..=3).contains(&version) {
        return Err(format!("an attribute has version {version}; versions 1 to 3 are known"));
    }
    let sizes = [at.u16()?, at.u16()?, at.u16()?];
    if version == 3 {
        at.skip(1)?;
    }
    // The first version fills each part up to a multiple of eight bytes.
    let padded =
        sizes.map(|size| if version == 1 { u64::from(size).next_multiple_of(8) } else { size.into() });
    let name = text(at.take(padded[0])?);
    let (kind, space) = (at.take(padded[1])?, at.take(padded[2])?);
    // A type that is shared is no text of Keras'.
    if version > 1 && flags & 1 != 0 {
        return Ok(None);
    }
    let element = Element::of(&mut source.within(kind))?;
    let shape = shape(&mut source.within(space))?;
    let count = shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
    let count = count.ok_or("an attribute has more values than can be")?;
    let mut values = Vec::new();
    match element.form {
        Form::Text => {
            for _ in 0..count {
                let value = text(at.take(element.size as u64)?);
                values.push(value.trim_end_matches(' ').to_owned());
            }
        }
        Form::AnyText => {
            for _ in 0..count {
                let (length, address, index) = (at.u32()?, at.offset()?, at.u32()?);
                let bytes = if length == 0 { &[] } else { shared_object(source, address, index)? };
                values.push(text(bytes.get(..length as usize).unwrap_or(bytes)));
            }
        }
        _ => return Ok(None),
    }
    Ok(Some((name, values)))
}
