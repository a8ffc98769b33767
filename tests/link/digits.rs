//! Reads digits by the C functions of a model, from a Rust program that has a standard library of its own beside the model's.
//!
//! `digits FILE ROWS`: the label and the bits of the confidence of each row, from a thread for each half of them.

use std::ffi::{CStr, c_char, c_int};

const PIXELS: usize = 28 * 28;

#[repr(C)]
struct Digits {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn digits_create(model: *mut *mut Digits, threads: c_int) -> c_int;
    fn digits_destroy(model: *mut Digits);
    fn digits_last_error() -> *const c_char;
    fn digits_predict_digit(
        model: *mut Digits,
        n: i64,
        image: *const u8,
        label: *mut i32,
        confidence: *mut f32,
    ) -> c_int;
}

/// A model that is given back when it is dropped.
struct Model(*mut Digits);

impl Model {
    fn new() -> Result<Model, String> {
        let mut model = std::ptr::null_mut();
        // SAFETY: there is a place for the pointer.
        match unsafe { digits_create(&mut model, 1) } {
            0 => Ok(Model(model)),
            _ => Err(last_error()),
        }
    }

    fn answer(&mut self, images: &[u8]) -> Result<Vec<(i32, f32)>, String> {
        let rows = images.len() / PIXELS;
        let (mut labels, mut confidences) = (vec![0; rows], vec![0.0; rows]);
        // SAFETY: all arrays have the sizes that the header asks for.
        let code = unsafe {
            digits_predict_digit(
                self.0,
                rows as i64,
                images.as_ptr(),
                labels.as_mut_ptr(),
                confidences.as_mut_ptr(),
            )
        };
        if code == 0 { Ok(labels.into_iter().zip(confidences).collect()) } else { Err(last_error()) }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: it was made by `digits_create`, and is not used any more.
        unsafe { digits_destroy(self.0) }
    }
}

fn last_error() -> String {
    // SAFETY: the text lives until the next call of this thread.
    unsafe { CStr::from_ptr(digits_last_error()) }.to_string_lossy().into_owned()
}

fn main() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(rows)) = (args.next(), args.next()) else { return Err("digits FILE ROWS".into()) };
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    let rows: usize = rows.parse().map_err(|_| "ROWS is no number")?;
    let images = bytes.get(..rows * PIXELS).ok_or("there are fewer rows")?;
    // A panic of this program is its own: it is caught here, whatever the model's runtime does with its panics.
    std::panic::set_hook(Box::new(|_| {}));
    let caught = std::panic::catch_unwind(|| panic!("on purpose"));
    assert!(caught.is_err());
    let halves = images.chunks((rows / 2).max(1) * PIXELS);
    let answers = std::thread::scope(|scope| {
        let threads: Vec<_> =
            halves.map(|half| scope.spawn(move || Model::new()?.answer(half))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect::<Result<Vec<_>, _>>()
    })?;
    for (label, confidence) in answers.concat() {
        println!("{label} {:08x}", confidence.to_bits());
    }
    Ok(())
}
