//! Small data sets and images whose labels can be learned, made by formulas.

use std::path::Path;

/// Rows of the small sets.
pub const TRAIN_ROWS: usize = 300;
pub const VALIDATION_ROWS: usize = 60;
pub const TEST_ROWS: usize = 70;

const SIDE: usize = 28;

/// A digit set as idx files with all three parts.
pub fn digits(folder: &Path) {
    digits_of(folder, SIDE);
}

/// The same with images of another size, of which only the first pixels are kept.
pub fn digits_of(folder: &Path, side: usize) {
    for (part, rows) in [("train", TRAIN_ROWS), ("validation", VALIDATION_ROWS), ("t10k", TEST_ROWS)] {
        let images: Vec<u8> = (0..rows).flat_map(|row| digit(row).into_iter().take(side * side)).collect();
        let labels: Vec<u8> = (0..rows).map(label).collect();
        let extents = [rows, side, side];
        write(folder, &format!("{part}-images-idx3-ubyte"), &idx(&extents, &images));
        write(folder, &format!("{part}-labels-idx1-ubyte"), &idx(&extents[..1], &labels));
    }
}

/// CIFAR-10's binary files with a few rows each.
pub fn photos(folder: &Path, rows: usize) {
    for (number, name) in (1..=5).map(|n| format!("data_batch_{n}")).chain(["test_batch".into()]).enumerate()
    {
        let bytes: Vec<u8> = (number * rows..(number + 1) * rows).flat_map(photo).collect();
        write(folder, &format!("{name}.bin"), &bytes);
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join(name), bytes).expect("the file can be written");
}

/// What a row shows: every class comes equally often, in an order without pattern for a batch.
pub fn label(row: usize) -> u8 {
    ((row * 7 + row / 10) % 10) as u8
}

/// A noisy image with a bright bar, which stands the lower the higher the label is.
pub fn digit(row: usize) -> Vec<u8> {
    let bar = 2 * usize::from(label(row)) + 4;
    let pixel =
        |i: usize| if (bar..bar + 2).contains(&(i / SIDE)) { 220 } else { noise(row * SIDE * SIDE + i) % 60 };
    (0..SIDE * SIDE).map(pixel).collect()
}

/// A grey JPEG of 28 × 28 pixels, a bright ring on black, written by Pillow 13.
pub fn jpeg() -> Vec<u8> {
    const DIGITS: &str = "ffd8ffe000104a46494600010100000100010000ffdb004300281c1e231e19282321232d2b28303c64413c37373c7b585d496491\
     8099968f808c8aa0b4e6c3a0aadaad8a8cc8ffcbdaeef5ffffff9bc1fffffffaffe6fdfff8ffc0000b08001c001c01011100ffc4\
     001800000301010000000000000000000000000004050302ffc40027100002010303030305000000000000000001021100030405\
     12211441512331b1326171a1e1ffda0008010100003f008ca0b305504926001dea85bd172ae5b5726da489dac4c8fd56397a7e46\
     2005d432c7d49240fcd2954744b6973389750db10b2cf63239acf3b36fddcab805c7545685512b1078e3cd3fa45e6ccb37b1f266\
     ea8020b49e0f93f150e9bd372ba4cb0e40dac36b7d879aa37f4ab598fd4e35f016e1dd1123df93fcaebd1d1b19d55c5cc871201e\
     27c71d87cd41a28a28afffd9";
    let value = |digit: u8| char::from(digit).to_digit(16).expect("a digit") as u8;
    DIGITS.as_bytes().chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

/// A label, then three planes; the label decides where each is bright.
fn photo(row: usize) -> Vec<u8> {
    const PLANE: usize = 32 * 32;
    let label = label(row);
    let bright = |channel: usize, i: usize| i / 32 / 3 == (usize::from(label) + 3 * channel) % 10;
    let pixels = (0..3 * PLANE)
        .map(|i| if bright(i / PLANE, i % PLANE) { 230 } else { noise(row * 3 * PLANE + i) % 80 });
    std::iter::once(label).chain(pixels).collect()
}

fn noise(i: usize) -> u8 {
    ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 41) as u8
}

/// An idx file of bytes.
fn idx(extents: &[usize], data: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, extents.len() as u8];
    file.extend(extents.iter().flat_map(|e| (*e as u32).to_be_bytes()));
    file.extend(data);
    file
}

/// A grey image as a PNG whose pixels are stored, not compressed.
pub fn png(width: usize, height: usize, pixels: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend((width as u32).to_be_bytes());
    header.extend((height as u32).to_be_bytes());
    // 8 bits of grey; the only compression and filtering there are; not interlaced.
    header.extend([8, 0, 0, 0, 0]);
    // Each line starts with its filter: none.
    let lines: Vec<u8> =
        pixels.chunks(width).flat_map(|line| std::iter::once(0).chain(line.iter().copied())).collect();
    let length = u16::try_from(lines.len()).expect("one stored block holds a small image");
    let mut stream = vec![0x78, 0x01, 0x01];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend(&lines);
    stream.extend(adler32(&lines).to_be_bytes());
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", header), (b"IDAT", stream), (b"IEND", Vec::new())] {
        file.extend((data.len() as u32).to_be_bytes());
        let start = file.len();
        file.extend(kind);
        file.extend(data);
        file.extend(crc32(&file[start..]).to_be_bytes());
    }
    file
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (a + b) % 65521)
    });
    b << 16 | a
}

pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}
