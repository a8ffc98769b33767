//! Parquet files: columns in groups of rows, of which only those that the spec names are read.

use std::fs::File;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Repetition;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field as Cells;
use parquet::record::reader::RowIter;
use parquet::schema::types::{ColumnDescPtr, Type};

use super::cells::{Number, shown};
use super::rows::Rows;
use crate::error::{Error, Result, nearest};
use crate::program::{Cell, Field};

/// So many values of a column are read at once.
const AT_ONCE: usize = 1024;

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
    let damaged = |error: ParquetError| {
        let said = error.to_string();
        let packed = said.split_once("Disabled feature at compile time: ");
        Error::damaged(
            path,
            match packed {
                Some((_, by)) => format!("it is packed by {by}; write it with zstd, snappy, gzip or lz4"),
                None => format!("it cannot be read: {said}"),
            },
        )
    };
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
    let mut taken = 0u64;
    let mut take = |cells: &[&Cells]| {
        taken += 1;
        let wrong = |index: usize, message: String| {
            let column = fields.get(index).map_or("", |field| field.from.as_str());
            Error::damaged(path, format!("row {taken}: `{column}`: {message}"))
        };
        for (index, field) in fields.iter().enumerate() {
            let result = match cells.get(places[index]) {
                None | Some(Cells::Null) => rows.missing(index),
                Some(value) => cell(value, index, field, rows, || format!("{}:{taken}", path.display())),
            };
            result.map_err(|message| wrong(index, message))?;
        }
        rows.end_row(wrong)
    };
    if wanted.iter().all(|column| column.is_primitive() && !is_repeated(column)) {
        return flat(&reader, &wanted, damaged, take);
    }
    let projection = Type::group_type_builder(schema.name()).with_fields(wanted.clone()).build();
    for row in RowIter::from_file(Some(projection.map_err(damaged)?), &reader).map_err(damaged)? {
        let row = row.map_err(damaged)?;
        let cells: Vec<&Cells> = row.get_column_iter().map(|(_, cell)| cell).collect();
        take(&cells)?;
    }
    Ok(())
}

fn is_repeated(column: &Type) -> bool {
    let about = column.get_basic_info();
    about.has_repetition() && about.repetition() == Repetition::REPEATED
}

/// Columns without lists: some values of each at a time, which is many times as fast as whole rows.
fn flat(
    reader: &SerializedFileReader<File>,
    wanted: &[Arc<Type>],
    damaged: impl Fn(ParquetError) -> Error + Copy,
    mut take: impl FnMut(&[&Cells]) -> Result<()>,
) -> Result<()> {
    let columns = reader.metadata().file_metadata().schema_descr().columns();
    let leaf = |column: &Arc<Type>| {
        let place = columns.iter().position(|leaf| *leaf.path().parts() == [column.name()]);
        place.ok_or_else(|| damaged(ParquetError::General(format!("`{}` has no values", column.name()))))
    };
    let leaves: Vec<usize> = wanted.iter().map(leaf).collect::<Result<_>>()?;
    for number in 0..reader.num_row_groups() {
        let group = reader.get_row_group(number).map_err(damaged)?;
        let mut readers = Vec::new();
        for leaf in &leaves {
            readers.push(group.get_column_reader(*leaf).map_err(damaged)?);
        }
        let mut left = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let mut values: Vec<Vec<Cells>> = vec![Vec::new(); leaves.len()];
        while left > 0 {
            let count = left.min(AT_ONCE);
            for ((leaf, reader), values) in leaves.iter().zip(&mut readers).zip(&mut values) {
                values.clear();
                some(reader, &columns[*leaf], count, values).map_err(damaged)?;
            }
            for row in 0..count {
                let cells: Vec<&Cells> = values.iter().filter_map(|values| values.get(row)).collect();
                take(&cells)?;
            }
            left -= count;
        }
    }
    Ok(())
}

/// The next values of a column.
fn some(
    reader: &mut ColumnReader,
    column: &ColumnDescPtr,
    count: usize,
    out: &mut Vec<Cells>,
) -> Result<(), ParquetError> {
    use ColumnReader as R;
    match reader {
        R::BoolColumnReader(r) => typed(r, column, count, out, |v| Ok(Cells::convert_bool(column, v))),
        R::Int32ColumnReader(r) => typed(r, column, count, out, |v| Ok(Cells::convert_int32(column, v))),
        R::Int64ColumnReader(r) => typed(r, column, count, out, |v| Ok(Cells::convert_int64(column, v))),
        R::Int96ColumnReader(r) => typed(r, column, count, out, |v| Ok(Cells::convert_int96(column, v))),
        R::FloatColumnReader(r) => typed(r, column, count, out, |v| Ok(Cells::convert_float(column, v))),
        R::DoubleColumnReader(r) => typed(r, column, count, out, |v| Ok(Cells::convert_double(column, v))),
        R::ByteArrayColumnReader(r) => typed(r, column, count, out, |v| Cells::convert_byte_array(column, v)),
        R::FixedLenByteArrayColumnReader(r) => {
            typed(r, column, count, out, |v| Cells::convert_byte_array(column, v.into()))
        }
    }
}

fn typed<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    column: &ColumnDescPtr,
    count: usize,
    out: &mut Vec<Cells>,
    convert: impl Fn(T::T) -> Result<Cells, ParquetError>,
) -> Result<(), ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::with_capacity(count));
    let (records, ..) = reader.read_records(count, Some(&mut levels), None, &mut values)?;
    if records < count {
        return Err(ParquetError::General(format!("`{}` ends before its rows do", column.name())));
    }
    let mut values = values.into_iter();
    let missing = || ParquetError::General(format!("`{}` lacks a value", column.name()));
    for place in 0..count {
        let is_there = match column.max_def_level() {
            0 => true,
            most => levels.get(place) == Some(&most),
        };
        out.push(if is_there { convert(values.next().ok_or_else(missing)?)? } else { Cells::Null });
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
        Cells::Decimal(_) => return rows.part(index, &value.to_string()),
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
    use parquet::data_type::{ByteArrayType, DoubleType, Int32Type, Int64Type};
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

    /// Two rows: lists of numbers, and what databases write.
    fn of_databases() -> Vec<u8> {
        let schema = "message rows {
            REQUIRED GROUP pixels (LIST) { REPEATED GROUP list { OPTIONAL INT32 element; } }
            REQUIRED INT32 price (DECIMAL(9, 2)); REQUIRED INT64 at (TIMESTAMP_MILLIS); REQUIRED INT32 day (DATE); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut bytes = Vec::new();
        let mut writer =
            SerializedFileWriter::new(&mut bytes, schema, Arc::new(WriterProperties::default())).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let levels = (&[2, 2, 2, 2, 1, 2][..], &[0, 1, 1, 0, 1, 1][..]);
        column.typed::<Int32Type>().write_batch(&[1, 2, 3, 4, 6], Some(levels.0), Some(levels.1)).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&[1999, -5], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[1_700_000_000_123, 0], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&[19_000, -1], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        bytes
    }

    #[test]
    fn lists_decimals_and_moments_are_numbers() {
        let (folder, memory) = (Folder::new(), Memory::new(None));
        let path = folder.file("rows.parquet", &of_databases());
        let wanted = [
            Field { optional: true, ..Field::new("pixels", DType::F32, [3]) },
            Field::new("price", DType::F64, []),
            Field::new("at", DType::I64, []),
            Field::new("day", DType::I32, []),
        ];
        // Beside a list, and without one: two ways to read.
        for fields in [&wanted[..], &wanted[1..]] {
            let mut rows = Rows::new(fields, Store::new(&memory, None));
            read(&path, fields, &mut rows).unwrap();
            let table = rows.finish().unwrap();
            assert_eq!(table.rows, 2);
            let bytes = |name: &str, row: usize| {
                let mut bytes = Vec::new();
                table.column(name).unwrap().read(row, &mut bytes).unwrap();
                bytes
            };
            assert_eq!(bytes("price", 0), 19.99f64.to_le_bytes());
            assert_eq!(bytes("price", 1), (-0.05f64).to_le_bytes());
            assert_eq!(table.column("at").unwrap().integer(0).unwrap(), 1_700_000_000_123);
            assert_eq!([0, 1].map(|row| table.column("day").unwrap().integer(row).unwrap()), [19_000, -1]);
            if fields.len() == 4 {
                assert_eq!(bytes("pixels", 0), [1f32, 2.0, 3.0].map(f32::to_le_bytes).concat());
                assert_eq!(bytes("pixels", 1), [4f32, f32::NAN, 6.0].map(f32::to_le_bytes).concat());
            }
        }
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
