//! Bytes that nobody would write, through all that reads what strangers give: no panic, and no allocation that a few bytes have not earned.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use weft_runtime::command::row::{Row, Rows};
use weft_runtime::io::{image, npy, png, weights};
use weft_runtime::tensor::Tensor;

/// Notes the largest piece of memory that a thread asks for.
struct Noting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all is left to the system's allocator; a thread that ends, whose cell is gone, is not noted.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller's promise is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

/// A reader may ask for so much, whatever it reads: a buffer, a table of a decoder.
const BASE: usize = 1 << 20;
/// And for so many bytes for each that it was given.
const EACH: usize = 64;

/// Numbers that depend on the seed alone.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64 (Steele et al. 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }

    /// Sound bytes with a few things wrong.
    fn damaged(&mut self, sound: &[u8]) -> Vec<u8> {
        let mut bytes = sound.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(7) {
                _ if bytes.is_empty() => bytes.push(self.next() as u8),
                0 => bytes[at] = self.next() as u8,
                1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes.truncate(at),
                3 => {
                    let piece = bytes[at..(at + self.below(40)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
                4 => {
                    let long =
                        [b"[", b"9", b"{", b",", b"(", b"\xff"][self.below(6)].repeat(self.below(3000));
                    bytes.splice(at..at, long);
                }
                5 => {
                    let large = [u64::MAX, 1 << 63, 1 << 32, 0][self.below(4)].to_le_bytes();
                    let end = (at + 1 + self.below(8)).min(bytes.len());
                    bytes.splice(at..end, large[..end - at].iter().copied());
                }
                _ => {
                    let large = ["18446744073709551615", "4294967296", "-1", "1e999"][self.below(4)];
                    let end = (at + self.below(3)).min(bytes.len());
                    bytes.splice(at..end, large.bytes());
                }
            }
        }
        bytes
    }
}

/// Reads damaged bytes again and again, and says how many were read as if nothing were wrong.
fn read(name: &str, sound: &[u8], rounds: usize, reader: impl Fn(Vec<u8>) -> bool) {
    assert!(reader(sound.to_vec()), "{name}: the sound bytes are not read");
    let mut random = Random(7);
    let mut refused = 0;
    for round in 0..rounds {
        let bytes = random.damaged(sound);
        let most = BASE + EACH * bytes.len();
        LARGEST.set(0);
        refused += usize::from(!reader(bytes));
        let largest = LARGEST.get();
        assert!(largest <= most, "{name}: round {round} asks for {largest} bytes at once");
    }
    // A test that damages nothing would test nothing.
    assert!(refused > rounds / 4, "{name}: only {refused} of {rounds} were refused");
}

#[test]
fn no_bytes_end_who_reads_them() {
    let body = Path::new("the body");
    let picture = Tensor::from_u8(&[28, 28, 1], &(0..784).map(|i| (i % 251) as u8).collect::<Vec<_>>());
    let array = npy::encode(picture.view()).expect("it can be written");
    read("npy", &array, 20_000, |bytes| npy::parse(bytes).is_ok());
    let file = png::encode(picture.view()).expect("it can be written");
    let size = Some((28, 28));
    read("png", &file, 10_000, |bytes| image::decode(body, &bytes, 1, size).is_ok());
    let row = "{\"image\": [[1, -2.5e3], [true, 4]], \"text\": \"seven \\u00e9\", \"n\": 12}";
    let rows = format!("[{row}, {row}, {row}]");
    read("rows", rows.as_bytes(), 20_000, |bytes| serde_json::from_slice::<Rows>(&bytes).is_ok());
    read("row", row.as_bytes(), 20_000, |bytes| serde_json::from_slice::<Row>(&bytes).is_ok());
    let tensors = [("image", picture.view()), ("other", picture.view())].into_iter().collect();
    let head = weights::head(&tensors, &Default::default());
    let file = [&head, &picture.data[..], &picture.data[..]].concat();
    read("safetensors", &file, 20_000, |bytes| weights::parse(body, &bytes).is_ok());
}
