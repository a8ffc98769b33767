//! The functions that a linked model's own call: the border to C.
//!
//! Each returns 0, or why it failed as the exit codes of `weft` have it: 1 the input is wrong, 2 the call is, 3 the machine failed.
//! [`weft_1_last_error`] has the words, for the thread that asks. A handle is used by one thread at a time. Two at once are no undefined
//! behaviour: the second one is refused, by a flag rather than a lock.

use std::cell::{RefCell, UnsafeCell};
use std::ffi::{CString, c_char, c_int};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Descriptor, Model};
use crate::command::Failure;
use crate::memory::{ALIGNMENT, Room};

thread_local! {
    static LAST_ERROR: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// What a C program holds of a model.
#[derive(Debug)]
pub struct Handle {
    /// A call is under way.
    busy: AtomicBool,
    model: UnsafeCell<Model>,
}

/// The code of an end, whose words are kept.
fn code(ended: Result<(), Failure>) -> c_int {
    let Err(failure) = ended else { return 0 };
    let words = match &failure.help {
        Some(help) => format!("{}; {help}", failure.message),
        None => failure.message.clone(),
    };
    let words = CString::new(words.replace('\0', " ")).unwrap_or_default();
    LAST_ERROR.with(|last| *last.borrow_mut() = Some(words));
    failure.class as c_int
}

/// Makes the model of a descriptor and points `to` at it; at nothing when that fails.
///
/// # Safety
/// `descriptor` must be one that the compiler made, and `to` null or a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weft_1_create(
    descriptor: &'static Descriptor,
    to: *mut *mut Handle,
    threads: c_int,
) -> c_int {
    // SAFETY: the caller's place, and a descriptor that the compiler made.
    code(unsafe { give(to, threads, |threads| Model::create(descriptor, threads)) })
}

/// The same for a model whose memory is the caller's: so many bytes, for calls of sizes up to those that the words say.
///
/// # Safety
/// As for [`weft_1_create`]; there must be a word for each of the model's sizes; and the memory must outlive the model, which alone uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weft_1_create_in(
    descriptor: &'static Descriptor,
    to: *mut *mut Handle,
    threads: c_int,
    memory: *mut u8,
    bytes: usize,
    words: *const u64,
) -> c_int {
    let make = |threads| {
        if memory.is_null() {
            return Err(Failure::usage("`memory` is a null pointer"));
        }
        // SAFETY: the caller's memory is the model's alone.
        let room = unsafe { Room::of(memory, bytes) };
        // SAFETY: as this function's.
        unsafe { Model::create_in(descriptor, threads, room, words) }
    };
    // SAFETY: the caller's place.
    code(unsafe { give(to, threads, make) })
}

/// Tells how many bytes [`weft_1_create_in`] needs for these threads and sizes.
///
/// # Safety
/// As for [`weft_1_create_in`]; `to` must be null or a place for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weft_1_memory(
    descriptor: &'static Descriptor,
    to: *mut usize,
    threads: c_int,
    words: *const u64,
) -> c_int {
    code((|| {
        if to.is_null() {
            return Err(Failure::usage("there is no place for the number: the pointer is null"));
        }
        // The memory of the system is taken page by page when it is written to, so asking for it costs none.
        // SAFETY: as this function's.
        let model = unsafe { Model::create_in(descriptor, count(threads)?, Room::default(), words)? };
        // SAFETY: the caller's place for a number. The caller's memory may begin anywhere in a cache line.
        unsafe { to.write(model.taken_bytes() + ALIGNMENT) };
        Ok(())
    })())
}

fn count(threads: c_int) -> Result<usize, Failure> {
    match usize::try_from(threads) {
        Ok(threads @ 0..=1024) => Ok(threads),
        _ => Err(Failure::usage(format!("a model cannot run on {threads} threads"))),
    }
}

/// Makes a model and points the caller's pointer at it.
///
/// # Safety
/// `to` must be null or a place for a pointer.
unsafe fn give(
    to: *mut *mut Handle,
    threads: c_int,
    make: impl FnOnce(usize) -> Result<Model, Failure>,
) -> Result<(), Failure> {
    if to.is_null() {
        return Err(Failure::usage("there is no place for the model: the pointer is null"));
    }
    // SAFETY: as this function's.
    unsafe { to.write(ptr::null_mut()) };
    let handle = Handle { busy: AtomicBool::new(false), model: UnsafeCell::new(make(count(threads)?)?) };
    // SAFETY: as this function's.
    unsafe { to.write(Box::into_raw(Box::new(handle))) };
    Ok(())
}

/// Gives back what a model has. Nothing happens for null.
///
/// # Safety
/// The handle must be null or one that [`weft_1_create`] made, and nobody may use it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weft_1_destroy(handle: *mut Handle) {
    if !handle.is_null() {
        // SAFETY: `weft_1_create` made it from a box, and this is its last use.
        drop(unsafe { Box::from_raw(handle) });
    }
}

/// Why the last call that failed on this thread did; an empty text where none has. It is there until the next one fails.
#[unsafe(no_mangle)]
pub extern "C" fn weft_1_last_error() -> *const c_char {
    LAST_ERROR.with(|last| last.borrow().as_ref().map_or(c"".as_ptr(), |words| words.as_ptr()))
}

/// Calls a function of a model, by its place, with a word for each argument.
///
/// # Safety
/// The handle must be null or a living one; for the words see [`Model::call`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weft_1_call(handle: *mut Handle, function: u64, words: *const u64) -> c_int {
    // SAFETY: the caller's handle lives.
    let Some(handle) = (unsafe { handle.as_ref() }) else {
        return code(Err(Failure::usage("the model is a null pointer")));
    };
    if handle.busy.swap(true, Ordering::Acquire) {
        let message = "another thread is using this model; create one for each thread";
        return code(Err(Failure::usage(message)));
    }
    // SAFETY: the flag makes this the only use of the model.
    let model = unsafe { &mut *handle.model.get() };
    // SAFETY: as this function's.
    let ended = unsafe { model.call(function as usize, words) };
    handle.busy.store(false, Ordering::Release);
    code(ended)
}

/// The name of a class, by the place of its field among those that have names; null where there is no such class.
///
/// # Safety
/// The handle must be null or a living one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weft_1_class_name(handle: *const Handle, field: u64, class: i64) -> *const c_char {
    // SAFETY: the caller's handle lives, and the names never change.
    let model = unsafe { handle.as_ref().map(|handle| &*handle.model.get()) };
    model.and_then(|model| model.class_name(field as usize, class)).map_or(ptr::null(), |name| name.as_ptr())
}
