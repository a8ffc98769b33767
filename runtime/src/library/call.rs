//! One call of a C function: its words become tensors and texts, and what came out goes where the words say.
//!
//! A prediction from tensors at sizes that it has seen before allocates nothing and takes no lock.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;
use std::sync::Arc;

use super::signature::{Argument, symbol};
use crate::command::Failure;
use crate::error::Result;
use crate::execute::{Session, evaluate_into};
use crate::generate::{Asked, Generator, Given, Reading, Text};
use crate::program::{DType, Entry, Generation, InputSource, Prediction, Program};
use crate::tensor::{Tensor, TensorView, byte_count};
use crate::text::given::Reader;
use crate::weights::Vocabularies;

/// The most inputs of an entry that has a C function.
pub const MAX_INPUTS: usize = 32;

/// A prediction, and what its calls use again.
#[derive(Debug)]
pub struct Predict {
    program: Arc<Program>,
    entry: usize,
    arguments: Vec<Argument>,
    /// Where it takes texts.
    reader: Option<Reader>,
    symbols: Vec<i64>,
    dims: Vec<i64>,
    /// By input.
    shapes: Vec<Vec<usize>>,
}

impl Predict {
    pub fn new(
        program: &Arc<Program>,
        prediction: &Prediction,
        arguments: Vec<Argument>,
        vocabularies: &Vocabularies,
    ) -> Result<Predict> {
        let place = program.entries.iter().position(|entry| entry.name == prediction.entry);
        let place = place
            .ok_or_else(|| crate::error::Error::Unsound(format!("`{}` has no entry", prediction.name)))?;
        let entry = &program.entries[place];
        if entry.inputs.len() > MAX_INPUTS {
            return Err(crate::error::Error::Unsound(format!("`{}` has too many inputs", prediction.name)));
        }
        let takes_texts = entry.inputs.iter().any(|i| matches!(i.source, InputSource::Tokens { .. }));
        let reader = takes_texts.then(|| Reader::new(program, entry, vocabularies, Path::new("")));
        Ok(Predict {
            reader: reader.transpose()?,
            symbols: vec![0; entry.symbols.len()],
            dims: Vec::with_capacity(entry.dims.len()),
            shapes: entry.inputs.iter().map(|input| vec![0; input.shape.len()]).collect(),
            program: Arc::clone(program),
            entry: place,
            arguments,
        })
    }

    /// # Safety
    /// See [`super::Model::call`].
    pub unsafe fn call(&mut self, session: &mut Session, words: *const u64) -> Result<(), Failure> {
        let program = Arc::clone(&self.program);
        let entry = &program.entries[self.entry];
        // SAFETY: there is a word for each argument.
        let words = unsafe { std::slice::from_raw_parts(words, self.arguments.len()) };
        let given = || self.arguments.iter().zip(words);
        let mut seed = [0u8; 16];
        self.symbols.fill(0);
        for (argument, &word) in given() {
            match argument {
                Argument::Size(symbol) => self.symbols[*symbol] = size(&entry.symbols[*symbol], word)? as i64,
                Argument::Seed => seed[..8].copy_from_slice(&word.to_le_bytes()),
                _ => {}
            }
        }
        // SAFETY: pointers to texts are what the header asks for.
        let made = unsafe { self.texts(entry, words)? };
        for (input, (_, tensor)) in made.iter().filter_map(|made| Some((input_of(entry, &made.0)?, made))) {
            for (dim, extent) in input.shape.iter().zip(&tensor.shape) {
                if let Some(symbol) = symbol(entry, *dim)
                    && self.symbols[symbol] == 0
                {
                    self.symbols[symbol] = *extent as i64;
                }
            }
        }
        evaluate_into(entry, &self.symbols, &mut self.dims)?;
        for (input, shape) in entry.inputs.iter().zip(&mut self.shapes) {
            for (extent, dim) in shape.iter_mut().zip(&input.shape) {
                *extent = size(&input.name, self.dims[dim.0 as usize] as u64)?;
            }
        }
        let mut views = [TensorView { dtype: DType::U8, shape: &[], data: &[] }; MAX_INPUTS];
        for (place, (input, view)) in entry.inputs.iter().zip(&mut views).enumerate() {
            *view = match input.source {
                InputSource::Random => TensorView { dtype: input.dtype, shape: &[2], data: &seed },
                _ if input.is_made() => match made.iter().find(|(name, _)| *name == input.name) {
                    Some((_, tensor)) => tensor.view(),
                    None => return Err(Failure::input(format!("nothing gives `{}`", input.name))),
                },
                _ => {
                    let of_this = |argument: &Argument| *argument == Argument::Tensor(place);
                    let word = given().find(|(argument, _)| of_this(argument)).map_or(0, |(_, word)| *word);
                    // SAFETY: the caller gives an array of this shape.
                    unsafe { array(&input.name, input.dtype, &self.shapes[place], word)? }
                }
            };
        }
        let outputs = session.run(self.entry, &views[..entry.inputs.len()])?;
        for (argument, &word) in given() {
            match argument {
                Argument::Output(place) => {
                    let data = outputs.get(*place).data;
                    let to = pointer(&entry.outputs[*place].name, word, data.len())?;
                    // SAFETY: the caller's array has room for an output of this shape, and is not the session's memory.
                    unsafe { to.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
                }
                Argument::Lent(place) => {
                    let to = pointer(&entry.outputs[*place].name, word, 8)?.cast::<*const u8>();
                    // SAFETY: the caller's argument points to a pointer.
                    unsafe { to.write(outputs.get(*place).data.as_ptr()) };
                }
                Argument::Found(symbol) => {
                    let to = pointer(&entry.symbols[*symbol], word, 8)?.cast::<i64>();
                    // SAFETY: the caller's argument points to a number.
                    unsafe { to.write(self.symbols[*symbol]) };
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The inputs that are made of texts, by name.
    unsafe fn texts(&self, entry: &Entry, words: &[u64]) -> Result<Vec<(String, Tensor)>, Failure> {
        let Some(reader) = &self.reader else { return Ok(Vec::new()) };
        let rows = entry.inputs.iter().find(|i| matches!(i.source, InputSource::Tokens { .. }));
        let rows = rows.and_then(|input| symbol(entry, *input.shape.first()?));
        let rows = rows.map_or(1, |symbol| self.symbols[symbol] as usize);
        let mut texts: Vec<(&str, Vec<&str>)> = Vec::new();
        for (argument, &word) in self.arguments.iter().zip(words) {
            if let Argument::Texts(name) = argument {
                let list = pointer(name, word, rows)?.cast::<*const c_char>();
                // SAFETY: the caller gives an array of so many texts.
                let each = (0..rows).map(|row| unsafe { text(name, *list.add(row) as u64) });
                texts.push((name, each.collect::<Result<_, _>>()?));
            }
        }
        Ok(reader.tensors(&texts)?)
    }
}

fn input_of<'e>(entry: &'e Entry, name: &str) -> Option<&'e crate::program::Input> {
    entry.inputs.iter().find(|input| input.name == name)
}

/// A size that was given as a word.
pub fn size(name: &str, word: u64) -> Result<usize, Failure> {
    let value = word as i64;
    usize::try_from(value).map_err(|_| Failure::usage(format!("`{name}` is {value}, which is no size")))
}

/// A pointer that was given as a word. It may be null where nothing is there.
fn pointer(name: &str, word: u64, bytes: usize) -> Result<*mut u8, Failure> {
    match word {
        0 if bytes > 0 => Err(Failure::usage(format!("`{name}` is a null pointer"))),
        word => Ok(std::ptr::with_exposed_provenance_mut(word as usize)),
    }
}

/// # Safety
/// The word must be null or point to an array of this shape, which nobody changes during the call.
unsafe fn array<'a>(
    name: &str,
    dtype: DType,
    shape: &'a [usize],
    word: u64,
) -> Result<TensorView<'a>, Failure> {
    let bytes = byte_count(dtype, shape)
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .ok_or_else(|| Failure::usage(format!("`{name}` cannot have the shape {shape:?}")))?;
    let start = pointer(name, word, bytes)?;
    let data = if bytes == 0 {
        &[]
    } else {
        // SAFETY: as this function's.
        unsafe { std::slice::from_raw_parts(start.cast_const(), bytes) }
    };
    Ok(TensorView { dtype, shape, data })
}

/// # Safety
/// The word must be null or point to a text that ends with a zero, which nobody changes during the call.
unsafe fn text<'a>(name: &str, word: u64) -> Result<&'a str, Failure> {
    let start = pointer(name, word, 1)?.cast::<c_char>();
    // SAFETY: as this function's.
    let text = unsafe { CStr::from_ptr(start) };
    text.to_str().map_err(|error| {
        Failure::input(format!("the text `{name}` is no UTF-8 from byte {} on", error.valid_up_to()))
    })
}

/// A generation with its session.
#[derive(Debug)]
pub struct Generate {
    generator: Generator,
    arguments: Vec<Argument>,
    symbols: Vec<i64>,
    dims: Vec<i64>,
}

/// What is told of each piece of text.
type Told = unsafe extern "C" fn(context: *mut c_void, text: *const c_char, bytes: usize) -> c_int;

impl Generate {
    pub fn new(
        session: Session,
        generation: &Generation,
        arguments: Vec<Argument>,
        vocabularies: &Vocabularies,
    ) -> Result<Generate> {
        let generator = Generator::new(session, generation, vocabularies, Path::new(""))?;
        let symbols = vec![0; generator.entry().symbols.len()];
        Ok(Generate { generator, arguments, symbols, dims: Vec::new() })
    }

    /// # Safety
    /// See [`super::Model::call`].
    pub unsafe fn call(&mut self, words: *const u64) -> Result<(), Failure> {
        // SAFETY: there is a word for each argument.
        let words = unsafe { std::slice::from_raw_parts(words, self.arguments.len()) };
        let given = || self.arguments.iter().zip(words);
        let entry = self.generator.entry();
        let (mut asked, mut all) = (Asked::default(), Given::default());
        let (mut told, mut context) = (None, std::ptr::null_mut());
        // One text is written, so that what is no size of its own is the number of rows.
        self.symbols.fill(1);
        for (argument, &word) in given() {
            match argument {
                Argument::Size(symbol) => self.symbols[*symbol] = size(&entry.symbols[*symbol], word)? as i64,
                Argument::Seed => asked.seed = word,
                Argument::Max => asked.max = Some(size("max", word)?).filter(|max| *max > 0),
                Argument::Text(name) => {
                    // SAFETY: the caller gives a text.
                    let text = unsafe { text(name, word)? };
                    all.texts.push((name.clone(), vec![text.to_owned()]));
                }
                Argument::Context => {
                    context = std::ptr::with_exposed_provenance_mut::<c_void>(word as usize);
                }
                Argument::Piece => {
                    let function = pointer("piece", word, 1)?;
                    // SAFETY: the caller gives a function of this type.
                    told = Some(unsafe { std::mem::transmute::<*mut u8, Told>(function) });
                }
                _ => {}
            }
        }
        evaluate_into(entry, &self.symbols, &mut self.dims)?;
        for (argument, &word) in given() {
            let Argument::Tensor(place) = argument else { continue };
            let input = &entry.inputs[*place];
            let extent = |dim: &crate::program::DimIndex| size(&input.name, self.dims[dim.0 as usize] as u64);
            let shape: Vec<usize> = input.shape.iter().map(extent).collect::<Result<_, _>>()?;
            // SAFETY: the caller gives an array of this shape.
            let tensor = unsafe { array(&input.name, input.dtype, &shape, word)? }.to_owned();
            all.tensors.push((input.name.clone(), tensor));
        }
        let Some(told) = told else { return Err(Failure::usage("`piece` is a null pointer")) };
        let mut telling = Telling { told, context, line: Vec::new(), ended: false };
        self.generator.write(&all, &asked, &mut telling)?;
        Ok(())
    }
}

/// Tells the caller each piece, until it has enough.
struct Telling {
    told: Told,
    context: *mut c_void,
    /// A piece with the zero behind it.
    line: Vec<u8>,
    ended: bool,
}

impl Reading for Telling {
    fn wrote(&mut self, _: usize, piece: &str) {
        if self.ended {
            return;
        }
        self.line.clear();
        self.line.extend_from_slice(piece.as_bytes());
        self.line.push(0);
        // SAFETY: the caller's function, with its own context and a text that lives during the call.
        let answer = unsafe { (self.told)(self.context, self.line.as_ptr().cast(), piece.len()) };
        self.ended = answer != 0;
    }

    fn done(&mut self, _: usize, _: &Text) {}

    fn interrupted(&self) -> bool {
        self.ended
    }
}
