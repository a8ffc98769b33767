//! What an executable carries behind its own code: a program with its machine code and weights.
//!
//! ```text
//! the stub │ machine code │ variables │ manifest │ footer
//! ```
//!
//! One that can be trained has a second program's code, and the weights that only training needs, before the manifest. The code of one that is
//! for GPUs is images of its kernels; one that runs on either has the code of both, over the same variables.
//!
//! The parts begin at page borders, so that they are mapped where they lie: code readable and executable, variables readable, nothing
//! ever writable. The footer stands at the very end and says where the [`Manifest`] is; that says where the rest is. Every byte
//! behind the stub is under a checksum (CRC-32C), which is compared before anything of it is used: a file that was cut off, stripped
//! or changed says so and runs nothing.

mod card;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::execute::Session;
use crate::io;
use crate::program::{Code, Program};
use crate::tensor::{TensorView, byte_count};
use crate::weights::{self, Classes, Vocabularies};

pub use card::{Card, CardData};

/// The last bytes of every executable, and with it the version of this format.
const MAGIC: [u8; 8] = *b"weft\x00\x02\r\n";

/// Parts begin at multiples of this: a page, on all processors that we make code for.
const PAGE: u64 = 16 << 10;

/// Where the manifest is, how long the whole file, and what the checksum of the manifest.
const FOOTER: usize = 8 + 8 + 8 + 4 + 4 + MAGIC.len();

/// Everything but machine code and variables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Without the bytes of its code.
    pub program: Program,
    /// All that its texts are cut by, as `tokenizer.json`.
    pub vocabularies: Vocabularies,
    pub classes: Classes,
    pub card: Card,
    /// What trains its weights, in an executable that was built with it.
    pub training: Option<Trainable>,
    /// What runs where no GPU does, in an executable whose programs are for GPUs.
    pub processor: Option<OnProcessor>,
    code: Part,
    variables: Part,
}

/// A second program: steps, evaluation and report. Kept apart, so that predicting is the same with and without it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trainable {
    /// Without the bytes of its code, and without the texts that the first one has.
    pub program: Program,
    code: Part,
    /// The values of its weights and states that the first program has not, one after another.
    others: Part,
}

/// The same programs for processors: of the same variables, in the same order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OnProcessor {
    /// Without the bytes of its code, and without texts; so are the others.
    pub program: Program,
    code: Part,
    training: Option<(Program, Part)>,
}

/// An executable in the making.
#[derive(Debug)]
pub struct Parts<'a> {
    pub stub: &'a [u8],
    pub program: Program,
    /// As a session of the program lays them out.
    pub variables: &'a [u8],
    /// See [`Trainable`].
    pub training: Option<(Program, Vec<u8>)>,
    /// See [`OnProcessor`]: what predicts, and what trains.
    pub processor: Option<(Program, Option<Program>)>,
    pub vocabularies: Vocabularies,
    pub classes: Classes,
    pub card: Card,
}

/// A part of the file.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Part {
    start: u64,
    length: u64,
    checksum: u32,
}

impl Part {
    fn range(self) -> Range<u64> {
        self.start..self.start.saturating_add(self.length)
    }

    /// Its bytes, which must be those that were written.
    fn of<'a>(self, bytes: &'a [u8], what: &str) -> Result<&'a [u8], String> {
        let range = self.range();
        let found = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let found = found.and_then(|(start, end)| bytes.get(start..end));
        match found {
            Some(found) if crc32c::crc32c(found) == self.checksum => Ok(found),
            Some(_) => Err(format!("it was changed: the checksum of its {what} does not fit")),
            None => Err(format!("it was cut off: a piece of its {what} is missing")),
        }
    }
}

impl Manifest {
    /// The manifest of a program that is linked into another, and its machine code: both stand elsewhere than in a payload.
    pub fn linked(
        mut program: Program,
        vocabularies: Vocabularies,
        classes: Classes,
        card: Card,
    ) -> (Manifest, Vec<u8>) {
        let code = std::mem::take(&mut program.code.bytes);
        let (nowhere, training, processor) = (Part::default(), None, None);
        let variables = nowhere;
        (
            Manifest { program, vocabularies, classes, card, training, processor, code: nowhere, variables },
            code,
        )
    }

    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        postcard::to_allocvec(self)
            .map_err(|error| Error::Unsound(format!("its manifest cannot be written: {error}")))
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Manifest, String> {
        postcard::from_bytes(bytes).map_err(|error| format!("its manifest cannot be read ({error})"))
    }
}

/// Writes an executable: a program over a stub, with the variables of a session of it. Without a stub it is a file that
/// [`Payload::open`] takes, and nothing that runs.
pub fn write(path: &Path, parts: Parts<'_>) -> Result<()> {
    let Parts { stub, mut program, variables, training, processor, vocabularies, classes, card } = parts;
    let mut file = Assembly { end: stub.len() as u64, pieces: vec![Cow::Borrowed(stub)] };
    let code = file.code(&mut program)?;
    let variables = file.part(variables);
    let without_texts = |mut program: Program, file: &mut Assembly<'_>| {
        program.sources.clear();
        let code = file.code(&mut program)?;
        Ok::<_, Error>((program, code))
    };
    let training = match training {
        Some((program, others)) => {
            let (program, code) = without_texts(program, &mut file)?;
            Some(Trainable { program, code, others: file.part(others) })
        }
        None => None,
    };
    let processor = match processor {
        Some((program, training)) => {
            let (program, code) = without_texts(program, &mut file)?;
            let training = training.map(|program| without_texts(program, &mut file)).transpose()?;
            Some(OnProcessor { program, code, training })
        }
        None => None,
    };
    let manifest = Manifest { program, vocabularies, classes, card, training, processor, code, variables };
    let manifest = file.part(manifest.to_bytes()?);
    let mut footer = Vec::with_capacity(FOOTER);
    footer.extend(manifest.start.to_le_bytes());
    footer.extend(manifest.length.to_le_bytes());
    footer.extend((manifest.range().end + FOOTER as u64).to_le_bytes());
    footer.extend(manifest.checksum.to_le_bytes());
    footer.extend(crc32c::crc32c(&footer).to_le_bytes());
    footer.extend(MAGIC);
    file.pieces.push(footer.into());
    let pieces: Vec<&[u8]> = file.pieces.iter().map(|piece| &**piece).collect();
    if stub.is_empty() { io::write_atomically(path, &pieces) } else { io::write_executable(path, &pieces) }
}

/// The pieces of a file, one behind the other.
struct Assembly<'a> {
    end: u64,
    pieces: Vec<Cow<'a, [u8]>>,
}

impl<'a> Assembly<'a> {
    /// Appends a part, at the border of a page.
    fn part(&mut self, bytes: impl Into<Cow<'a, [u8]>>) -> Part {
        let bytes = bytes.into();
        let start = self.end.next_multiple_of(PAGE);
        self.pieces.push(vec![0; (start - self.end) as usize].into());
        self.end = start + bytes.len() as u64;
        let part = Part { start, length: bytes.len() as u64, checksum: crc32c::crc32c(&bytes) };
        self.pieces.push(bytes);
        part
    }

    /// Appends what a program's machine runs of it, and takes it out of the program.
    fn code(&mut self, program: &mut Program) -> Result<Part> {
        if program.device.is_empty() {
            return Ok(self.part(std::mem::take(&mut program.code.bytes)));
        }
        let images = std::mem::take(&mut program.device.images);
        let images = postcard::to_allocvec(&images)
            .map_err(|error| Error::Unsound(format!("its images cannot be written: {error}")))?;
        Ok(self.part(images))
    }
}

/// An executable's own payload, whole and unchanged.
#[derive(Debug)]
pub struct Payload {
    file: File,
    path: PathBuf,
    pub manifest: Manifest,
}

impl Payload {
    /// Opens the payload of a file, and compares all its checksums.
    pub fn open(path: &Path) -> Result<Payload> {
        let bytes = io::map(path)?;
        let damaged = |message: String| Error::Damaged {
            file: path.to_path_buf(),
            message: format!("{message}; copy this executable again, or build it anew with `weft build`"),
        };
        let mut manifest = manifest(&bytes).map_err(damaged)?;
        // Images are packed, and few bytes: they are part of their programs from here on.
        let Manifest { program, training, code, .. } = &mut manifest;
        let programs = training.as_mut().map(|training| (&mut training.program, training.code));
        for (program, code) in [(program, *code)].into_iter().chain(programs) {
            if !program.device.is_empty() {
                let images = postcard::from_bytes(code.of(&bytes, "code").map_err(damaged)?);
                program.device.images =
                    images.map_err(|error| damaged(format!("its images cannot be read ({error})")))?;
            }
        }
        let file = File::open(path).map_err(Error::file("read", path))?;
        Ok(Payload { file, path: path.to_path_buf(), manifest })
    }

    /// Is it for GPUs?
    pub fn is_for_gpus(&self) -> bool {
        !self.manifest.program.device.is_empty()
    }

    /// From now on its programs are those for processors, if it has them.
    pub fn take_processor(&mut self) {
        let Manifest { program, training, processor, code, .. } = &mut self.manifest;
        let Some(other) = processor.take() else { return };
        let sources = std::mem::take(&mut program.sources);
        (*program, *code) = (Program { sources, ..other.program }, other.code);
        if let Some((training, (program, code))) = training.as_mut().zip(other.training) {
            (training.program, training.code) = (program, code);
        }
    }

    /// A session of its program, over the weights in the file.
    pub fn session(&self, threads: usize) -> Result<Session> {
        let Manifest { program, code, variables, .. } = &self.manifest;
        let program = std::sync::Arc::new(program.clone());
        Session::of_file(program, threads, &self.file, &code.range(), &variables.range())
    }

    /// The program with its code, for a session with other weights.
    pub fn program(&self) -> Result<Program> {
        self.with_code(&self.manifest.program, self.manifest.code)
    }

    fn with_code(&self, program: &Program, code: Part) -> Result<Program> {
        let mut program = program.clone();
        if program.device.is_empty() {
            program.code = Code { bytes: self.bytes(code, "code")?, ..program.code };
        }
        Ok(program)
    }

    fn bytes(&self, part: Part, what: &str) -> Result<Vec<u8>> {
        let bytes = io::map(&self.path)?;
        let found = part.of(&bytes, what);
        found.map(<[u8]>::to_vec).map_err(|message| Error::Damaged { file: self.path.clone(), message })
    }

    /// The program that trains, if there is one.
    pub fn training(&self) -> Result<Option<Program>> {
        let Some(training) = &self.manifest.training else { return Ok(None) };
        let program = self.with_code(&training.program, training.code)?;
        Ok(Some(Program { sources: self.manifest.program.sources.clone(), ..program }))
    }

    /// Writes the weights that it was built with into a file, as a training leaves them.
    pub fn save_weights(&self, path: &Path, metadata: &BTreeMap<String, String>) -> Result<()> {
        let Manifest { program, variables, .. } = &self.manifest;
        let holder = Session::holding(std::sync::Arc::new(program.clone()))?;
        let (own, no_others) = (self.bytes(*variables, "weights")?, Vec::new());
        let place = |path: &str| program.variables.iter().position(|own| own.path == path);
        let value = |place: usize| {
            let (start, bytes) = holder.variable_places()[place];
            own.get(start..start + bytes)
                .ok_or_else(|| Error::Unsound("its weights are not all there".into()))
        };
        let (program, others) = match &self.manifest.training {
            Some(training) => (&training.program, self.bytes(training.others, "weights")?),
            None => (&self.manifest.program, no_others),
        };
        let mut rest = others.as_slice();
        let mut tensors = BTreeMap::new();
        for index in weights::saved(program) {
            let variable = &program.variables[index];
            let view = match place(&variable.path) {
                Some(place) => {
                    let data = value(place)?;
                    TensorView { dtype: variable.dtype, shape: &variable.shape, data }
                }
                None => {
                    let bytes = byte_count(variable.dtype, &variable.shape);
                    let (own, others) = bytes
                        .and_then(|bytes| rest.split_at_checked(bytes))
                        .ok_or_else(|| Error::Unsound("its weights are not all there".into()))?;
                    rest = others;
                    TensorView { dtype: variable.dtype, shape: &variable.shape, data: own }
                }
            };
            tensors.insert(variable.path.as_str(), view);
        }
        io::weights::write(path, &tensors, metadata)
    }
}

/// Finds the manifest at the end of a file, and compares the checksums of all that it speaks of.
fn manifest(bytes: &[u8]) -> Result<Manifest, String> {
    let nothing = || "it holds no program: it was cut off or stripped".to_owned();
    let footer =
        bytes.last_chunk::<FOOTER>().filter(|footer| footer.ends_with(&MAGIC)).ok_or_else(nothing)?;
    let (fields, rest) = footer.split_at(FOOTER - MAGIC.len() - 4);
    if !rest.starts_with(&crc32c::crc32c(fields).to_le_bytes()) {
        return Err("it was changed: the checksum of its footer does not fit".into());
    }
    let number =
        |at: usize| fields[at..at + 8].iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let checksum = number(20) >> 32;
    if number(16) != bytes.len() as u64 {
        return Err(format!("it has {} bytes instead of {}", bytes.len(), number(16)));
    }
    let part = Part { start: number(0), length: number(8), checksum: checksum as u32 };
    let manifest = Manifest::from_bytes(part.of(bytes, "manifest")?)?;
    manifest.code.of(bytes, "code")?;
    manifest.variables.of(bytes, "weights")?;
    if let Some(training) = &manifest.training {
        training.code.of(bytes, "code")?;
        training.others.of(bytes, "weights")?;
    }
    if let Some(processor) = &manifest.processor {
        processor.code.of(bytes, "code")?;
        processor.training.iter().try_for_each(|(_, code)| code.of(bytes, "code").map(|_| ()))?;
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::Folder;
    use crate::program::{DType, Variable, VariableKind};

    fn program() -> Program {
        let variable = Variable {
            path: "w".into(),
            kind: VariableKind::Weight,
            dtype: DType::F32,
            shape: vec![16],
            trainable: true,
            channels: Vec::new(),
        };
        let code = Code {
            arch: std::env::consts::ARCH.into(),
            bytes: vec![0xc3; 32],
            functions: vec![0, 16],
            ..Code::default()
        };
        Program { name: "test".into(), variables: vec![variable], code, ..Program::default() }
    }

    /// Of the same weight, and another one.
    fn training() -> Program {
        let mut program = program();
        let own = &program.variables[0];
        program.variables = vec![Variable { path: "v".into(), shape: vec![2], ..own.clone() }, own.clone()];
        program
    }

    /// The same with other code.
    fn elsewhere(program: Program) -> Program {
        Program { code: Code { bytes: vec![0x90; 40], ..program.code }, ..program }
    }

    fn written(folder: &Folder) -> PathBuf {
        let path = folder.path().join("model");
        let card = Card { weft: "0".into(), ..Card::default() };
        let classes = vec![("classes.d.label".into(), vec!["no".into(), "yes".into()])];
        let values: Vec<u8> = (0..64).collect();
        let parts = Parts {
            stub: b"a stub of some bytes",
            program: program(),
            variables: &values,
            training: Some((training(), vec![7; 8])),
            processor: Some((elsewhere(program()), Some(elsewhere(training())))),
            vocabularies: Vec::new(),
            classes,
            card,
        };
        write(&path, parts).unwrap();
        path
    }

    #[test]
    fn what_is_written_is_found_again() {
        let folder = Folder::new();
        let path = written(&folder);
        let payload = Payload::open(&path).unwrap();
        assert_eq!(payload.manifest.classes[0].1, ["no", "yes"]);
        let session = payload.session(1).unwrap();
        assert_eq!(session.variable(0).data, (0..64).collect::<Vec<u8>>());
        assert_eq!(payload.program().unwrap().code.bytes, program().code.bytes);
        assert_eq!(payload.training().unwrap().unwrap().code.bytes, program().code.bytes);
        let file = folder.path().join("start.safetensors");
        payload.save_weights(&file, &BTreeMap::new()).unwrap();
        let tensors = io::weights::read(&file).unwrap().tensors;
        assert_eq!(tensors["v"].data, [7; 8]);
        assert_eq!(tensors["w"].data, (0..64).collect::<Vec<u8>>());
        // The programs for processors take the place of the others, over the same weights.
        let mut payload = payload;
        payload.take_processor();
        assert_eq!(payload.program().unwrap().code.bytes, [0x90; 40]);
        assert_eq!(payload.training().unwrap().unwrap().code.bytes, [0x90; 40]);
        assert_eq!(payload.session(1).unwrap().variable(0).data, (0..64).collect::<Vec<u8>>());
        payload.save_weights(&file, &BTreeMap::new()).unwrap();
        assert_eq!(io::weights::read(&file).unwrap().tensors, tensors);
    }

    #[test]
    fn no_part_of_it_can_be_missing_or_changed() {
        let folder = Folder::new();
        let path = written(&folder);
        let whole = std::fs::read(&path).unwrap();
        let stub = PAGE as usize;
        for end in (0..whole.len()).step_by(997).chain(whole.len() - FOOTER - 3..whole.len()) {
            assert!(manifest(&whole[..end]).is_err(), "cut off at {end}");
        }
        let used = |at: &usize| whole[*at] != 0 || *at > whole.len() - FOOTER;
        for at in (stub..whole.len()).filter(used) {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(manifest(&changed).is_err(), "changed at {at}");
        }
        let longer = [whole.as_slice(), b"x"].concat();
        assert!(manifest(&longer).unwrap_err().contains("cut off"));
        assert!(Payload::open(Path::new("/bin/sh")).unwrap_err().to_string().contains("holds no program"));
    }

    #[test]
    fn a_footer_that_lies_is_an_error() {
        let folder = Folder::new();
        let whole = std::fs::read(written(&folder)).unwrap();
        let start = whole.len() - FOOTER;
        let numbers = [0, 1, 44, 1 << 14, whole.len() as u64, 1 << 40, 1 << 63, u64::MAX - 8, u64::MAX];
        for place in numbers {
            for length in numbers {
                for size in [whole.len() as u64, u64::MAX] {
                    let mut lying = whole.clone();
                    let mut fields = [place, length, size].map(u64::to_le_bytes).concat();
                    fields.extend(crc32c::crc32c(&[]).to_le_bytes());
                    let sum = crc32c::crc32c(&fields).to_le_bytes();
                    lying[start..start + 28].copy_from_slice(&fields);
                    lying[start + 28..start + 32].copy_from_slice(&sum);
                    assert!(manifest(&lying).is_err(), "{place}, {length}, {size}");
                }
            }
        }
    }
}
