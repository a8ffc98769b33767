//! Machine code: written to fresh pages, then made executable; never both at once.

use std::fs::File;

use memmap2::{Mmap, MmapMut, MmapOptions};

use crate::cuda::{Device, Function, Kernels};
use crate::error::{Error, Result};
use crate::processor;
use crate::program::{Code, NestFunction};

/// A program's functions, mapped.
#[derive(Debug)]
pub struct MappedCode {
    place: Place,
    functions: Vec<u32>,
}

/// All code of a program: of this processor, or of a GPU.
#[derive(Debug)]
pub enum Loaded {
    Process(MappedCode),
    Device(Device, Kernels),
}

impl Loaded {
    /// The entry point of a function of this processor; none when the program has no such function.
    pub fn function(&self, index: u32) -> Option<NestFunction> {
        match self {
            Loaded::Process(code) => code.function(index),
            Loaded::Device(..) => None,
        }
    }

    /// The kernels of a GPU.
    pub fn kernels(&self) -> &[Function] {
        match self {
            Loaded::Process(_) => &[],
            Loaded::Device(_, kernels) => &kernels.functions,
        }
    }

    /// The GPU that runs it, if one does.
    pub fn on_device(&self) -> Option<Device> {
        match self {
            Loaded::Process(_) => None,
            Loaded::Device(device, _) => Some(device.clone()),
        }
    }
}

/// Where the code is.
#[derive(Debug)]
enum Place {
    Nowhere,
    Mapped(Mmap),
    /// In the image of the process itself.
    Linked(&'static [u8]),
}

impl MappedCode {
    /// The functions of a program that was linked into this process.
    ///
    /// # Safety
    /// The bytes must be mapped executable, and be those that the compiler made for the program.
    pub unsafe fn linked(code: &Code, bytes: &'static [u8]) -> Result<MappedCode> {
        if code.functions.is_empty() {
            return Ok(MappedCode::nothing());
        }
        check(code, bytes.len())?;
        Ok(MappedCode { place: Place::Linked(bytes), functions: code.functions.clone() })
    }

    /// The functions of a program whose code lies in a file, from `start` on: mapped as it is, readable and executable.
    pub fn of_file(code: &Code, file: &File, start: u64, bytes: usize) -> Result<MappedCode> {
        if code.functions.is_empty() {
            return Ok(MappedCode::nothing());
        }
        check(code, bytes)?;
        // SAFETY: the file is that of the running executable, which the system lets nobody write to, and its bytes are those that
        // the compiler made (their checksum was compared).
        let map = unsafe { MmapOptions::new().offset(start).len(bytes).map_exec(file) };
        let map = map.map_err(|source| Error::Memory { bytes, source })?;
        Ok(MappedCode { place: Place::Mapped(map), functions: code.functions.clone() })
    }

    /// No functions.
    pub const fn nothing() -> MappedCode {
        MappedCode { place: Place::Nowhere, functions: Vec::new() }
    }

    pub fn map(code: &Code) -> Result<MappedCode> {
        if code.functions.is_empty() {
            return Ok(MappedCode::nothing());
        }
        let bytes = code.bytes.len();
        check(code, bytes)?;
        let memory = |source| Error::Memory { bytes, source };
        let mut map = MmapMut::map_anon(bytes).map_err(memory)?;
        map.copy_from_slice(&code.bytes);
        // The kernel synchronises the instruction cache when it first maps these pages executable.
        let map = map.make_exec().map_err(memory)?;
        Ok(MappedCode { place: Place::Mapped(map), functions: code.functions.clone() })
    }

    /// The entry point of a function; none when the program has no such function.
    pub fn function(&self, index: u32) -> Option<NestFunction> {
        let start = *self.functions.get(index as usize)? as usize;
        let bytes: &[u8] = match &self.place {
            Place::Nowhere => return None,
            Place::Mapped(map) => map,
            Place::Linked(bytes) => bytes,
        };
        let address: *const u8 = bytes.get(start..)?.as_ptr();
        // SAFETY: the compiler put a function of this signature there, for this processor (checked by `map`). It is called
        // only while `self` is alive: bound entries live beside it in the session.
        Some(unsafe { std::mem::transmute::<*const u8, NestFunction>(address) })
    }
}

/// Checks that this machine can run so many bytes of code, and that functions lie in them.
fn check(code: &Code, bytes: usize) -> Result<()> {
    check_target(code)?;
    match code.functions.iter().find(|&&start| start as usize >= bytes) {
        Some(start) => Err(Error::Unsound(format!("a function starts at {start}, outside the code"))),
        None => Ok(()),
    }
}

/// Checks that this machine runs what the compiler made.
fn check_target(code: &Code) -> Result<()> {
    let here = std::env::consts::ARCH;
    if code.arch != here {
        return Err(Error::Target(format!("its code is for {}, this machine is {here}", code.arch)));
    }
    match processor::lacks(&code.features)[..] {
        [] => Ok(()),
        ref missing => Err(Error::Target(format!("its code needs a processor with {}", missing.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    #[test]
    fn code_for_another_machine_is_refused() {
        let code = Code {
            arch: "pdp11".into(),
            features: vec!["fis".into()],
            bytes: vec![0; 16],
            functions: vec![0],
        };
        let error = MappedCode::map(&code).unwrap_err();
        assert_eq!(error.class(), Class::Environment);
        assert!(error.to_string().contains("pdp11"));
        let error = MappedCode::map(&Code { arch: std::env::consts::ARCH.into(), ..code }).unwrap_err();
        assert_eq!(error.class(), Class::Environment);
        assert!(error.to_string().contains("a processor with fis"), "{error}");
    }

    #[test]
    fn a_function_outside_the_code_is_refused() {
        let code = Code {
            arch: std::env::consts::ARCH.into(),
            bytes: vec![0; 16],
            functions: vec![0, 16],
            ..Code::default()
        };
        assert!(matches!(MappedCode::map(&code), Err(Error::Unsound(_))));
    }
}
