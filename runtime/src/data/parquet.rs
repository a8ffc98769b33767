//! Parquet files: columns in groups of rows, of which only those that the spec names are read.

use std::fs::File;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field as Cells;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

use super::cells::{Number, shown};
use super::rows::Rows;
use crate::error::{Error, Result, nearest};
use crate::program::{Cell, Field};

/// Reads the rows of one file, group by group.
pub fn read(path: &Path, fields: &[Field], rows: &mut Rows<'_>) -> Result<()> {
    // The reader of the format panics over some damaged files. What it leaves half done is thrown away with the error, so
    // nothing broken is seen later; its words are of no use to anybody and are kept back.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = panic::catch_unwind(AssertUnwindSafe(|| columns(path, fields, rows)));
    panic::set_hook(hook);
    result.unwrap_or_else(|_| Err(Error::damaged(path, "it is no sound Parquet file; make it again")))
}

fn columns(path: &Path, fields: &[Field], rows: &mut Rows<'_>) -> Result<()> {
    let file = File::open(path).map_err(Error::file("read", path))?;
    let damaged = |error: ParquetError| Error::damaged(path, format!("it cannot be read: {error}"));
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let schema = reader.metadata().file_metadata().schema();
    let names: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
    let mut wanted: Vec<Arc<Type>> = Vec::new();
    for field in fields {
        let Some(place) = names.iter().position(|name| *name == field.from) else {
            let near = nearest(&field.from, names.iter().copied());
            let hint = near.map_or_else(
                || format!("there are {}", names.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(Error::damaged(path, format!("no column is called `{}`; {hint}", field.from)));
        };
        if !wanted.iter().any(|column| column.name() == field.from) {
            wanted.push(Arc::clone(&schema.get_fields()[place]));
        }
    }
    let place_of = |field: &Field| wanted.iter().position(|column| column.name() == field.from).unwrap_or(0);
    let places: Vec<usize> = fields.iter().map(place_of).collect();
    let projection = Type::group_type_builder(schema.name()).with_fields(wanted.clone()).build();
    let projection = projection.map_err(damaged)?;
    for (row, number) in RowIter::from_file(Some(projection), &reader).map_err(damaged)?.zip(1u64..) {
        let row = row.map_err(damaged)?;
        let wrong = |index: usize, message: String| {
            let column = fields.get(index).map_or("", |field| field.from.as_str());
            Error::damaged(path, format!("row {number}: `{column}`: {message}"))
        };
        let cells: Vec<&Cells> = row.get_column_iter().map(|(_, cell)| cell).collect();
        for (index, field) in fields.iter().enumerate() {
            let result = match cells.get(places[index]) {
                None | Some(Cells::Null) => rows.missing(index),
                Some(value) => cell(value, index, field, rows, || format!("{}:{number}", path.display())),
            };
            result.map_err(|message| wrong(index, message))?;
        }
        rows.end_row(wrong)?;
    }
    Ok(())
}

fn cell(
    value: &Cells,
    index: usize,
    field: &Field,
    rows: &mut Rows<'_>,
    place: impl FnOnce() -> String,
) -> Result<(), String> {
    let utf8 = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err("these bytes are no UTF-8 text".to_owned()),
    };
    match (&field.cell, value) {
        (_, Cells::Str(text)) => rows.text(index, text, place),
        (_, Cells::Bytes(bytes)) => rows.text(index, &utf8(bytes.data())?, place),
        (Cell::Numbers, value) => numbers(value, index, rows),
        (_, Cells::Group(_) | Cells::ListInternal(_) | Cells::MapInternal(_)) => {
            Err("a list stands where one text is wanted".into())
        }
        (_, value) => rows.text(index, &value.to_string(), place),
    }
}

/// A number, or a list of them.
fn numbers(value: &Cells, index: usize, rows: &mut Rows<'_>) -> Result<(), String> {
    let number = match value {
        Cells::ListInternal(list) => {
            return list.elements().iter().try_for_each(|value| numbers(value, index, rows));
        }
        Cells::Null => return rows.part(index, ""),
        Cells::Str(text) => return rows.part(index, text),
        Cells::Bool(value) => Number::Bool(*value),
        Cells::Byte(value) => Number::Int(i64::from(*value)),
        Cells::Short(value) => Number::Int(i64::from(*value)),
        Cells::Int(value) | Cells::Date(value) | Cells::TimeMillis(value) => Number::Int(i64::from(*value)),
        Cells::Long(value)
        | Cells::TimeMicros(value)
        | Cells::TimestampMillis(value)
        | Cells::TimestampMicros(value) => Number::Int(*value),
        Cells::UByte(value) => Number::Int(i64::from(*value)),
        Cells::UShort(value) => Number::Int(i64::from(*value)),
        Cells::UInt(value) => Number::Int(i64::from(*value)),
        Cells::ULong(value) => match i64::try_from(*value) {
            Ok(value) => Number::Int(value),
            Err(_) => Number::Float(*value as f64),
        },
        Cells::Float16(value) => Number::Float(f64::from(value.to_f32())),
        Cells::Float(value) => Number::Float(f64::from(*value)),
        Cells::Double(value) => Number::Float(*value),
        value => return Err(format!("`{}` is no number", shown(&value.to_string()))),
    };
    rows.number(index, number)
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::super::store::Store;
    use super::*;
    use crate::io::testing::Folder;
    use crate::program::DType;
    use parquet::data_type::{ByteArrayType, DoubleType};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    /// Three rows: `width` is missing in the second.
    fn file() -> Vec<u8> {
        let schema = "message rows { OPTIONAL DOUBLE width; REQUIRED BYTE_ARRAY kind (UTF8); REQUIRED DOUBLE unread; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut bytes = Vec::new();
        let mut writer =
            SerializedFileWriter::new(&mut bytes, schema, Arc::new(WriterProperties::default())).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[1.5, 2.5], Some(&[1, 0, 1]), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let kinds = ["a", "b", "a"].map(Into::into);
        column.typed::<ByteArrayType>().write_batch(&kinds, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[0.0; 3], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        bytes
    }

    fn fields(width: Cell, from: &str) -> Vec<Field> {
        let kind = Field { cell: Cell::Class(Vec::new()), ..Field::new("kind", DType::I32, []) };
        let width = Field { cell: width, from: from.into(), ..Field::new("width", DType::F32, []) };
        vec![kind, width]
    }

    fn read_bytes(bytes: &[u8], fields: &[Field]) -> Result<usize> {
        let folder = Folder::new();
        let memory = Memory::new(None);
        let mut rows = Rows::new(fields, Store::new(&memory, None));
        read(&folder.file("rows.parquet", bytes), fields, &mut rows)?;
        Ok(rows.len())
    }

    #[test]
    fn named_columns_are_read_and_others_are_told() {
        let message = |from: &str| read_bytes(&file(), &fields(Cell::Numbers, from)).unwrap_err().to_string();
        assert!(message("widht").ends_with("no column is called `widht`; did you mean `width`?"));
        assert!(message("width").contains("row 2: `width`: "), "{}", message("width"));
        let mut optional = fields(Cell::Numbers, "width");
        optional[1].optional = true;
        assert_eq!(read_bytes(&file(), &optional).unwrap(), 3);
        assert!(message("kind").contains("`kind`: "), "{}", message("kind"));
    }

    #[test]
    fn damaged_files_are_errors() {
        let mut wanted = fields(Cell::Numbers, "width");
        wanted[1].optional = true;
        let good = file();
        for length in 0..good.len() {
            assert!(read_bytes(&good[..length], &wanted).is_err(), "{length}");
        }
        for place in 0..good.len() {
            for bit in [0x01, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[place] ^= bit;
                // Some bits are values, which may be anything.
                let _ = read_bytes(&bad, &wanted);
            }
        }
    }
}
