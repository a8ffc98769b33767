//! A model of this process's image, ready to answer.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use super::call::{Generate, Predict, size};
use super::signature::{self, Item};
use super::{Descriptor, MAGIC};
use crate::command::Failure;
use crate::error::{Error, Result};
use crate::execute::Session;
use crate::memory::Room;
use crate::payload::Manifest;
use crate::pool::Pool;
use crate::program::Program;

/// A model with its memory and threads. Code and weights are those of the image, which all models of it share.
#[derive(Debug)]
pub struct Model {
    session: Session,
    functions: Vec<Callable>,
    /// The names of classes, by the keys of the fields.
    classes: Vec<(String, Vec<CString>)>,
}

#[derive(Debug)]
enum Callable {
    Predict(Predict),
    /// It has a session of its own: a text that is being written lives in it.
    Generate(Box<Generate>),
}

/// The parts of a model in the image.
#[derive(Clone, Copy, Debug)]
struct Image {
    code: &'static [u8],
    variables: &'static [u8],
    manifest: &'static [u8],
}

impl Image {
    /// # Safety
    /// What the descriptor points to must be there, and be what the compiler made.
    unsafe fn of(descriptor: &'static Descriptor) -> Result<Image> {
        if descriptor.magic != MAGIC {
            return Err(Error::Unsound("this is no model of this version of Weft".into()));
        }
        let start = std::ptr::from_ref(descriptor).cast::<u8>();
        let part = |(distance, bytes): (i64, u64)| {
            let first = start.wrapping_offset(distance as isize);
            // SAFETY: as this function's.
            unsafe { std::slice::from_raw_parts(first, bytes as usize) }
        };
        Ok(Image {
            code: part(descriptor.code),
            variables: part(descriptor.variables),
            manifest: part(descriptor.manifest),
        })
    }

    fn session(self, program: &Arc<Program>, threads: usize, room: Room) -> Result<Session> {
        // SAFETY: as at `of`; code is a part of the image that is mapped executable.
        unsafe { Session::linked(Arc::clone(program), threads, self.code, self.variables, room) }
    }
}

impl Model {
    /// The model of a descriptor, on so many threads, the caller's included; 0: one for each core.
    ///
    /// # Safety
    /// What the descriptor points to must be there, and be what the compiler made.
    pub unsafe fn create(descriptor: &'static Descriptor, threads: usize) -> Result<Model, Failure> {
        // SAFETY: as this function's.
        let image = unsafe { Image::of(descriptor)? };
        Model::new(image, threads, Room::default())
    }

    /// The same with room for calls of sizes up to those that [`signature::sizes`] names, in memory of the caller or of the system.
    ///
    /// # Safety
    /// As for [`Model::create`]; and there must be a word for each size.
    pub unsafe fn create_in(
        descriptor: &'static Descriptor,
        threads: usize,
        room: Room,
        words: *const u64,
    ) -> Result<Model, Failure> {
        // SAFETY: as this function's.
        let image = unsafe { Image::of(descriptor)? };
        let mut model = Model::new(image, threads, room)?;
        let program = model.session.program().clone();
        let names = signature::sizes(&program)
            .ok_or_else(|| Failure::usage("a model that writes texts asks for memory as they grow"))?;
        // SAFETY: as this function's.
        let words = unsafe { std::slice::from_raw_parts(words, names.len()) };
        let mut largest = Vec::new();
        for prediction in &program.predictions {
            let entry = model.session.entry(&prediction.entry)?;
            let of = |symbol: &String| {
                let word = names.iter().position(|name| name == symbol).map_or(0, |place| words[place]);
                Ok(size(symbol, word)? as i64)
            };
            let symbols = program.entries[entry].symbols.iter().map(of).collect::<Result<_, Failure>>()?;
            largest.push((entry, symbols));
        }
        model.session.reserve_up_to(&largest)?;
        Ok(model)
    }

    fn new(image: Image, threads: usize, room: Room) -> Result<Model, Failure> {
        let threads = if threads == 0 { Pool::default_threads() } else { threads };
        let manifest = Manifest::from_bytes(image.manifest).map_err(Error::Unsound)?;
        let Manifest { program, vocabularies, classes, .. } = manifest;
        let program = Arc::new(program);
        let functions = signature::functions(&program)
            .into_iter()
            .map(|function| match function.item {
                Item::Predict(place) => {
                    let prediction = &program.predictions[place];
                    Predict::new(&program, prediction, function.arguments, &vocabularies)
                        .map(Callable::Predict)
                }
                Item::Generate(place) => {
                    let generation = &program.generations[place];
                    let session = image.session(&program, threads, Room::default())?;
                    Generate::new(session, generation, function.arguments, &vocabularies)
                        .map(|generate| Callable::Generate(Box::new(generate)))
                }
            })
            .collect::<Result<_>>()?;
        let named = |(key, names): (String, Vec<String>)| {
            (key, names.into_iter().map(|name| CString::new(name).unwrap_or_default()).collect())
        };
        Ok(Model {
            session: image.session(&program, threads, room)?,
            functions,
            classes: classes.into_iter().map(named).collect(),
        })
    }

    /// Bytes that it has taken for tensors; weights are in the image.
    pub fn taken_bytes(&self) -> usize {
        self.session.taken_bytes()
    }

    /// Calls a function of the program, by its place among [`signature::functions`].
    ///
    /// # Safety
    /// There must be a word for each of its arguments, and what the words point to must be as large as the sizes say.
    pub unsafe fn call(&mut self, function: usize, words: *const u64) -> Result<(), Failure> {
        match self.functions.get_mut(function) {
            // SAFETY: as this function's.
            Some(Callable::Predict(predict)) => unsafe { predict.call(&mut self.session, words) },
            // SAFETY: as this function's.
            Some(Callable::Generate(generate)) => unsafe { generate.call(words) },
            None => Err(Failure::usage(format!("the model has no function {function}"))),
        }
    }

    /// The name of a class, by the place of its field among those that have names.
    pub fn class_name(&self, field: usize, class: i64) -> Option<&CStr> {
        let (_, names) = self.classes.get(field)?;
        names.get(usize::try_from(class).ok()?).map(CString::as_c_str)
    }
}
