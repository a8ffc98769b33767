//! Files as they should not be: whatever their bytes are, reading them ends with rows or with an error that names the file.

use std::io::Write;
use std::path::Path;

use proptest::prelude::*;

use super::Known;
use super::{Memory, Parts, load, place};
use crate::error::{Class, Error};
use crate::io::testing::Folder;
use crate::io::{image, png};
use crate::program::{Cell, DType, DataSet, DataSource, Field, Splits};
use crate::tensor::Tensor;

/// 16 × 12 pixels, written by Pillow 12.
const JPEG: &str = "ffd8ffe000104a46494600010100000100010000ffdb0043001b12141714111b1716171e1c1b2028422b28252528513a3d304260\
     5565645f555d5b6a7899816a7190735b5d85b586909ea3abadab6780bcc9baa6c799a8aba4ffdb0043011c1e1e2823284e2b2b4e\
     a46e5d6ea4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4\
     a4a4ffc0001108000c001003012200021101031101ffc4001500010100000000000000000000000000000405ffc4001910000203\
     01000000000000000000000000000302045161ffc4001501010100000000000000000000000000000004ffc40018110003010100\
     00000000000000000000000001040212ffda000c03010002110311003f0096aa9c18aa7c1895c7072550c245be84d4b3ffd9";

fn jpeg() -> Vec<u8> {
    let digits: Vec<u8> = JPEG.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn floats(count: usize) -> Vec<u8> {
    (0..count).flat_map(|i| (i as f32 * 0.5).to_le_bytes()).collect()
}

/// The fields of all tables here: a number that may be missing, three numbers, a class, and a text.
fn fields() -> Vec<Field> {
    let class = Field { cell: Cell::Class(Vec::new()), ..Field::new("kind", DType::I32, []) };
    let width = Field { optional: true, ..Field::new("width", DType::F32, []) };
    vec![width, Field::new("pixels", DType::U8, [3]), class]
}

/// A sound file of each kind, and how it is read.
fn sources() -> Vec<(&'static str, DataSource, Vec<Field>, Vec<u8>)> {
    let csv = "width,pixels,kind,other\n1.5,1 2 3,a,\"x, y\"\n,4 5 6,b,\n-2e3,7 8 255,a,é\n";
    let json = "{\"width\": 1.5, \"pixels\": [1, 2, 3], \"kind\": \"a\"}\n{\"width\": null, \"pixels\": [4, [5], 6], \"kind\": \"b\"}\n";
    let arrays = [
        ("width.npy", npy("<f4", "(4,)", &floats(4))),
        ("pixels.npy", npy("|u1", "(4, 3)", &(0..12).collect::<Vec<u8>>())),
        ("kind.npy", npy("<i8", "(4,)", &[0i64, 1, 1, 0].map(i64::to_le_bytes).concat())),
    ];
    let text = vec![Field::new("text", DType::U8, [4])];
    let file = "rows".to_owned();
    vec![
        (
            "csv",
            DataSource::Csv { file: file.clone(), separator: b',', header: true, quotes: true },
            fields(),
            csv.into(),
        ),
        ("jsonl", DataSource::JsonLines { file: file.clone() }, fields(), json.into()),
        ("npz", DataSource::Npz { file: file.clone() }, fields(), npz(&arrays)),
        ("text", DataSource::Text { file, window: 4, stride: 2 }, text, "Grüße an Ümit und Zoë".into()),
    ]
}

fn read(folder: &Folder, source: DataSource, fields: Vec<Field>) -> Result<Parts, Error> {
    let set = DataSet {
        name: "d".into(),
        source,
        fields,
        splits: Splits::default(),
        fit: None,
        vocabularies: vec![],
    };
    let known = Known { classes: &[], vocabularies: &[], base: folder.path() };
    let parts = load(&set, &place(&set, folder.path(), None), 1, &known, &Memory::new(Some(64)), None)?;
    // All rows can be read, too.
    let mut row = Vec::new();
    for column in &parts.train.table.columns {
        parts.train.rows.iter().try_for_each(|at| column.read(*at as usize, &mut row))?;
    }
    Ok(parts)
}

/// An error is the user's to mend, and names what is wrong.
fn explained(error: &Error) {
    let message = error.to_string();
    assert_eq!(error.class(), Class::Input, "{message}");
    assert!(message.contains("rows") || message.contains("data set `d`"), "{message}");
    assert!(!message.contains("not sound"), "{message}");
}

fn damaged(bytes: &[u8], flips: &[(prop::sample::Index, u8)], cut: Option<prop::sample::Index>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (place, with) in flips {
        let place = place.index(bytes.len());
        bytes[place] ^= with;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
    bytes
}

#[test]
fn sound_files_are_read() {
    for (kind, source, fields, bytes) in sources() {
        let folder = Folder::new();
        folder.file("rows", &bytes);
        assert!(
            read(&folder, source, fields).unwrap_or_else(|error| panic!("{kind}: {error}")).train.len() > 1
        );
    }
}

#[test]
fn every_beginning_of_an_archive_is_an_error() {
    let (_, source, fields, bytes) = sources().remove(2);
    for length in 0..bytes.len() {
        let folder = Folder::new();
        folder.file("rows", &bytes[..length]);
        explained(&read(&folder, source.clone(), fields.clone()).unwrap_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn damaged_tables_arrays_and_texts_are_rows_or_errors(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        for (_, source, fields, bytes) in sources() {
            let folder = Folder::new();
            folder.file("rows", &damaged(&bytes, &flips, cut));
            if let Err(error) = read(&folder, source, fields) {
                explained(&error);
            }
        }
    }

    #[test]
    fn damaged_pictures_are_pictures_or_errors(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        channels in prop::sample::select(vec![1usize, 3, 4]),
    ) {
        let pixels: Vec<u8> = (0..16 * 12 * 3).map(|i| (i * 7 % 251) as u8).collect();
        let png = png::encode(Tensor::from_u8(&[12, 16, 3], &pixels).view()).unwrap();
        for bytes in [jpeg(), png] {
            let folder = Folder::new();
            match image::read(&folder.file("picture", &damaged(&bytes, &flips, cut)), channels) {
                Ok(picture) => prop_assert_eq!(picture.data.len(), picture.shape.iter().product::<usize>()),
                Err(error) => prop_assert!(error.to_string().contains("picture"), "{}", error),
            }
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for (_, source, fields, _) in sources() {
            let folder = Folder::new();
            folder.file("rows", &bytes);
            if let Err(error) = read(&folder, source, fields) {
                explained(&error);
            }
        }
    }
}

#[test]
fn a_jpeg_is_what_others_read_in_it() {
    let folder = Folder::new();
    let picture = image::read(&folder.file("x.jpg", &jpeg()), 3).unwrap();
    assert_eq!(picture.shape, [12, 16, 3]);
    // Pillow's pixels; decoders may differ by little.
    for (y, x, expected) in [(0, 0, [13, 2, 0]), (11, 15, [243, 217, 160]), (6, 8, [138, 122, 60])] {
        let pixel = &picture.data[(y * 16 + x) * 3..][..3];
        assert!(pixel.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 6), "{pixel:?} {expected:?}");
    }
    for length in 0..jpeg().len() - 2 {
        assert!(image::read(&folder.file("x.jpg", &jpeg()[..length]), 3).is_err(), "{length}");
    }
}

/// An array that promises so many rows, and holds what is given.
fn promised(rows: &str, values: &[u8]) -> String {
    let folder = Folder::new();
    folder.file("rows", &npz(&[("x.npy", npy("<f4", &format!("({rows}, 2)"), values))]));
    let fields = vec![Field::new("x", DType::F32, [2])];
    read(&folder, DataSource::Npz { file: "rows".into() }, fields).unwrap_err().to_string()
}

#[test]
fn promises_of_an_archive_are_not_believed() {
    assert!(promised("1000000000", &floats(4)).contains("take 8000000000 bytes, but 16 follow the header"));
    assert!(promised("99999999999", &floats(4)).contains("at most 4294967295 can be read"));
    assert!(promised("9223372036854775807", &floats(4)).contains("larger than memory"));
    assert!(promised("2", &floats(6)).contains("more follows than the 16 bytes"));
    assert!(promised("0", &[]).contains("there are no rows"));
    // Three megabytes of zeros in three kilobytes are no trick.
    let folder = Folder::new();
    folder.file("rows", &npz(&[("x.npy", npy("<f4", "(400000, 2)", &vec![0; 3_200_000]))]));
    let fields = vec![Field::new("x", DType::F32, [2])];
    let parts = read(&folder, DataSource::Npz { file: "rows".into() }, fields).unwrap();
    assert_eq!(parts.train.len(), 400_000);
}

#[test]
fn entries_that_share_their_bytes_are_refused() {
    let array = npy("<f4", "(4,)", &floats(4));
    let mut bytes = npz(&[("a.npy", array.clone()), ("b.npy", array)]);
    // The directory's entry for `b` is led to the bytes of `a`: its offset is the last field before its name.
    let name = bytes.windows(5).rposition(|window| window == b"b.npy").unwrap();
    bytes[name - 4..name].copy_from_slice(&0u32.to_le_bytes());
    let folder = Folder::new();
    folder.file("rows", &bytes);
    let fields = vec![Field::new("a", DType::F32, []), Field::new("b", DType::F32, [])];
    let message = read(&folder, DataSource::Npz { file: "rows".into() }, fields).unwrap_err().to_string();
    assert!(message.contains("lie over one another; make the file again"), "{message}");
}

/// A grey PNG of nothing but zeros, 65,000 times smaller than its pixels.
#[test]
fn a_picture_that_unpacks_to_too_much_is_refused() {
    let folder = Folder::new();
    let bomb = |side: usize| {
        let zeros = Tensor::from_u8(&[side, side, 1], &vec![0; side * side]);
        png::encode(zeros.view()).unwrap()
    };
    let fine = bomb(1000);
    assert!(fine.len() < 20_000);
    assert_eq!(image::read(&folder.file("fine.png", &fine), 1).unwrap().data.len(), 1_000_000);
    // The header promises little, and much follows; or it promises much, and little follows.
    for (side, says) in [(10u32, None), (60_000, Some("too large")), (8000, Some("cannot be decoded"))] {
        let mut lying = fine.clone();
        lying[16..20].copy_from_slice(&side.to_be_bytes());
        lying[20..24].copy_from_slice(&side.to_be_bytes());
        let sum = crc32fast::hash(&lying[12..29]).to_be_bytes();
        lying[29..33].copy_from_slice(&sum);
        let read = image::read(&folder.file("lying.png", &lying), 1);
        match (read, says) {
            (Err(error), Some(says)) => assert!(error.to_string().contains(says), "{error}"),
            (Err(_), None) => {}
            (Ok(picture), _) => assert!(picture.data.len() <= (side * side) as usize, "{side}"),
        }
    }
}

#[test]
fn a_place_without_the_file_names_it() {
    for (_, source, fields, _) in sources() {
        let folder = Folder::new();
        let message = read(&folder, source, fields).unwrap_err().to_string();
        assert!(message.contains("there is no file") && message.contains("--data d="), "{message}");
        assert!(Path::new(&message).components().count() > 1);
    }
}
