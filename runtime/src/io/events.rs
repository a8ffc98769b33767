//! TensorBoard's event files: numbers and pictures over steps, as `tensorboard --logdir` reads them.
//!
//! A file is a row of records (length, its check sum, bytes, their check sum), each an `Event` in protocol buffers' wire form. Of that
//! form only what is written here is known: fields of bytes, of 64-bit and 32-bit floats, and of variable-length integers.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What a record says under its tag.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Scalar(f32),
    /// A picture as a `.png` file's bytes; height, width, channels.
    Image {
        size: [usize; 3],
        png: Vec<u8>,
    },
}

/// One moment: values by their tags.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Seconds since 1970.
    pub time: f64,
    pub step: i64,
    pub values: Vec<(String, Value)>,
}

/// A file that is written event by event; TensorBoard may read it meanwhile.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// Begins a file in a folder, which is made. Its name holds the time, because TensorBoard goes through files in that order.
    pub fn create(folder: &Path, time: f64) -> Result<Events> {
        std::fs::create_dir_all(folder).map_err(Error::file("make the folder", folder))?;
        let path = folder.join(format!("{PREFIX}{:010}.weft", time.max(0.0) as u64));
        let options = OpenOptions::new().create(true).write(true).truncate(true).open(&path);
        let file = options.map_err(Error::file("write", &path))?;
        let mut events = Events { path, file };
        let mut version = Vec::new();
        double(&mut version, 1, time);
        bytes(&mut version, 3, b"brain.Event:2");
        events.record(&version)?;
        Ok(events)
    }

    pub fn write(&mut self, event: &Event) -> Result<()> {
        self.record(&encoded(event))
    }

    fn record(&mut self, data: &[u8]) -> Result<()> {
        self.file.write_all(&record(data)).map_err(Error::file("write", &self.path))
    }
}

/// How the files' names begin.
pub const PREFIX: &str = "events.out.tfevents.";

/// Bytes as a record.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let sum = |bytes: &[u8]| masked(crc32c::crc32c(bytes)).to_le_bytes();
    [&length, &sum(&length)[..], data, &sum(data)].concat()
}

/// Check sums of data that hold check sums are no good; so they are turned and moved.
fn masked(sum: u32) -> u32 {
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn encoded(event: &Event) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in &event.values {
        let mut out = Vec::new();
        bytes(&mut out, 1, tag.as_bytes());
        match value {
            Value::Scalar(number) => {
                key(&mut out, 2, 5);
                out.extend(number.to_le_bytes());
            }
            Value::Image { size: [height, width, channels], png } => {
                let mut image = Vec::new();
                for (field, extent) in [(1, height), (2, width), (3, channels)] {
                    key(&mut image, field, 0);
                    varint(&mut image, *extent as u64);
                }
                bytes(&mut image, 4, png);
                bytes(&mut out, 4, &image);
            }
        }
        bytes(&mut summary, 1, &out);
    }
    let mut out = Vec::new();
    double(&mut out, 1, event.time);
    key(&mut out, 2, 0);
    varint(&mut out, event.step as u64);
    bytes(&mut out, 5, &summary);
    out
}

fn key(out: &mut Vec<u8>, field: u64, wire: u64) {
    varint(out, field << 3 | wire);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn double(out: &mut Vec<u8>, field: u64, value: f64) {
    key(out, field, 1);
    out.extend(value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    key(out, field, 2);
    varint(out, value.len() as u64);
    out.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::Folder;

    /// A field of a message: its number, and its value as bytes or as a number.
    #[derive(Debug, PartialEq)]
    enum Field<'a> {
        Number(u64),
        Bytes(&'a [u8]),
    }

    /// Reads messages as any reader of the wire form would.
    fn fields(mut data: &[u8]) -> Vec<(u64, Field<'_>)> {
        fn varint(data: &mut &[u8]) -> u64 {
            let mut value = 0;
            for shift in (0..).step_by(7) {
                let (&byte, rest) = data.split_first().unwrap();
                *data = rest;
                value |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            value
        }
        let mut out = Vec::new();
        while !data.is_empty() {
            let key = varint(&mut data);
            let length = match key & 7 {
                0 => {
                    out.push((key >> 3, Field::Number(varint(&mut data))));
                    continue;
                }
                1 => 8,
                5 => 4,
                2 => varint(&mut data) as usize,
                other => panic!("wire type {other}"),
            };
            let (value, rest) = data.split_at(length);
            out.push((key >> 3, Field::Bytes(value)));
            data = rest;
        }
        out
    }

    fn one<'a>(fields: &'a [(u64, Field<'a>)], number: u64) -> &'a Field<'a> {
        &fields.iter().find(|(n, _)| *n == number).unwrap_or_else(|| panic!("no {number}")).1
    }

    fn inside<'a>(fields: &'a [(u64, Field<'a>)], number: u64) -> &'a [u8] {
        match one(fields, number) {
            Field::Bytes(bytes) => bytes,
            other => panic!("{number} is {other:?}"),
        }
    }

    /// The records of a file, with their check sums checked.
    fn records(mut file: &[u8]) -> Vec<Vec<u8>> {
        let unmasked = |bytes: &[u8]| {
            let sum = u32::from_le_bytes(bytes.try_into().unwrap()).wrapping_sub(0xa282_ead8);
            sum.rotate_left(15)
        };
        let mut out = Vec::new();
        while !file.is_empty() {
            let (head, rest) = file.split_at(12);
            assert_eq!(unmasked(&head[8..]), crc32c::crc32c(&head[..8]));
            let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
            let (data, rest) = rest.split_at(length);
            assert_eq!(unmasked(&rest[..4]), crc32c::crc32c(data));
            out.push(data.to_vec());
            file = &rest[4..];
        }
        out
    }

    #[test]
    fn events_are_read_back() {
        let folder = Folder::new();
        let mut events = Events::create(&folder.path().join("train"), 1.5e9).unwrap();
        let png = vec![7; 300];
        let values = vec![
            ("loss".into(), Value::Scalar(0.25)),
            ("drawn".into(), Value::Image { size: [28, 300, 1], png: png.clone() }),
        ];
        events.write(&Event { time: 1.5e9 + 0.5, step: 12_345, values }).unwrap();
        let path = folder.path().join("train/events.out.tfevents.1500000000.weft");
        let records = records(&std::fs::read(path).unwrap());
        assert_eq!(records.len(), 2);
        assert_eq!(inside(&fields(&records[0]), 3), b"brain.Event:2");

        let event = fields(&records[1]);
        assert_eq!(inside(&event, 1), (1.5e9 + 0.5f64).to_le_bytes());
        assert_eq!(*one(&event, 2), Field::Number(12_345));
        let summary = fields(inside(&event, 5));
        let [(1, Field::Bytes(loss)), (1, Field::Bytes(drawn))] = summary[..] else { panic!("{summary:?}") };
        let loss = fields(loss);
        assert_eq!((inside(&loss, 1), inside(&loss, 2)), (&b"loss"[..], &0.25f32.to_le_bytes()[..]));
        let drawn = fields(drawn);
        let image = fields(inside(&drawn, 4));
        let size = [1, 2, 3].map(|n| one(&image, n));
        assert_eq!(size, [28, 300, 1].map(Field::Number).each_ref());
        assert_eq!(inside(&image, 4), png);
    }

    #[test]
    fn check_sums_are_those_of_the_standard() {
        // RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    }
}
