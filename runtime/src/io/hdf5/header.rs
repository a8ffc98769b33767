//! Object headers: the messages that say what a group or a data set is.

use super::Outcome;
use super::bytes::{Cursor, Source};

/// The kinds of messages that are looked at.
pub mod kind {
    pub const DATASPACE: u16 = 0x01;
    pub const LINK_INFO: u16 = 0x02;
    pub const DATATYPE: u16 = 0x03;
    pub const LINK: u16 = 0x06;
    pub const LAYOUT: u16 = 0x08;
    pub const FILTERS: u16 = 0x0b;
    pub const ATTRIBUTE: u16 = 0x0c;
    pub const CONTINUATION: u16 = 0x10;
    pub const SYMBOL_TABLE: u16 = 0x11;
    pub const ATTRIBUTE_INFO: u16 = 0x15;
}

#[derive(Clone, Debug)]
pub struct Message<'a> {
    pub kind: u16,
    /// The content stands elsewhere, to be shared by several objects.
    pub shared: bool,
    pub data: &'a [u8],
}

/// All messages of an object, those of continuations too.
#[derive(Debug)]
pub struct Header<'a> {
    messages: Vec<Message<'a>>,
}

impl<'a> Header<'a> {
    pub fn read(source: &Source<'a>, address: u64) -> Outcome<Header<'a>> {
        let mut at = source.at(address)?;
        let mut header = Header { messages: Vec::new() };
        if at.clone().take(4)? == b"OHDR" {
            header.second_version(&mut at, source)?;
        } else {
            header.first_version(&mut at, source)?;
        }
        Ok(header)
    }

    /// Messages of a kind.
    pub fn all(&self, kind: u16) -> impl Iterator<Item = &Message<'a>> {
        self.messages.iter().filter(move |message| message.kind == kind)
    }

    pub fn first(&self, kind: u16) -> Option<&Message<'a>> {
        self.all(kind).next()
    }

    /// The content of the one message of a kind.
    pub fn needed(&self, kind: u16, what: &str) -> Outcome<&'a [u8]> {
        match self.first(kind) {
            Some(message) if message.shared => Err(format!("its {what} is shared, which is not read here")),
            Some(message) => Ok(message.data),
            None => Err(format!("it has no {what}")),
        }
    }

    fn first_version(&mut self, at: &mut Cursor<'_, 'a>, source: &Source<'a>) -> Outcome<()> {
        at.version(1, "object header")?;
        at.skip(1)?;
        let count = at.u16()?;
        at.skip(4)?;
        let size = at.u32()?;
        at.skip(4)?;
        let mut blocks = vec![at.take(size.into())?];
        // The count is of all blocks together.
        while let Some(block) = blocks.pop() {
            let mut at = source.within(block);
            while at.left() >= 8 && self.messages.len() < count.into() {
                let (kind, size, flags) = (at.u16()?, at.u16()?, at.u8()?);
                at.skip(3)?;
                let data = at.take(size.into())?;
                if kind == kind::CONTINUATION {
                    blocks.push(continuation(data, source)?);
                }
                self.messages.push(Message { kind, shared: flags & 2 != 0, data });
            }
        }
        Ok(())
    }

    fn second_version(&mut self, at: &mut Cursor<'_, 'a>, source: &Source<'a>) -> Outcome<()> {
        at.expect(b"OHDR", "object header")?;
        at.version(2, "object header")?;
        let flags = at.u8()?;
        if flags & 0x20 != 0 {
            at.skip(16)?;
        }
        if flags & 0x10 != 0 {
            at.skip(4)?;
        }
        let size = at.uint(1 << (flags & 3))?;
        let mut blocks = vec![at.take(size)?];
        while let Some(block) = blocks.pop() {
            let mut at = source.within(block);
            let prefix = if flags & 4 != 0 { 6 } else { 4 };
            // What is too short for a message is a gap.
            while at.left() >= prefix {
                let (kind, size, own) = (at.u8()?.into(), at.u16()?, at.u8()?);
                at.skip(prefix - 4)?;
                let data = at.take(size.into())?;
                if kind == kind::CONTINUATION {
                    let mut inner = source.within(continuation(data, source)?);
                    inner.expect(b"OCHK", "continued object header")?;
                    let length =
                        inner.left().checked_sub(4).ok_or("a continued object header is too short")?;
                    blocks.push(inner.take(length)?);
                }
                self.messages.push(Message { kind, shared: own & 2 != 0, data });
            }
        }
        Ok(())
    }
}

/// The block that a continuation message names.
fn continuation<'a>(data: &'a [u8], source: &Source<'a>) -> Outcome<&'a [u8]> {
    let mut at = source.within(data);
    let (address, length) = (at.offset()?, at.length()?);
    source.at(address)?.take(length)
}
