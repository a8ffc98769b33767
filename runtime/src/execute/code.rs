//! Machine code: written to fresh pages, then made executable; never both at once.

use std::fs::File;

use memmap2::{Mmap, MmapMut, MmapOptions};

use crate::error::{Error, Result};
use crate::processor;
use crate::program::{Code, NestFunction};

/// A program's functions, mapped.
#[derive(Debug)]
pub struct MappedCode {
    map: Option<Mmap>,
    functions: Vec<u32>,
}

impl MappedCode {
    /// The functions of a program whose code lies in a file, from `start` on: mapped as it is, readable and executable.
    pub fn of_file(code: &Code, file: &File, start: u64, bytes: usize) -> Result<MappedCode> {
        if code.functions.is_empty() {
            return Ok(MappedCode { map: None, functions: Vec::new() });
        }
        check(code, bytes)?;
        // SAFETY: the file is that of the running executable, which the system lets nobody write to, and its bytes are those that
        // the compiler made (their checksum was compared).
        let map = unsafe { MmapOptions::new().offset(start).len(bytes).map_exec(file) };
        let map = map.map_err(|source| Error::Memory { bytes, source })?;
        Ok(MappedCode { map: Some(map), functions: code.functions.clone() })
    }

    pub fn map(code: &Code) -> Result<MappedCode> {
        if code.functions.is_empty() {
            return Ok(MappedCode { map: None, functions: Vec::new() });
        }
        let bytes = code.bytes.len();
        check(code, bytes)?;
        let memory = |source| Error::Memory { bytes, source };
        let mut map = MmapMut::map_anon(bytes).map_err(memory)?;
        map.copy_from_slice(&code.bytes);
        // The kernel synchronises the instruction cache when it first maps these pages executable.
        let map = map.make_exec().map_err(memory)?;
        Ok(MappedCode { map: Some(map), functions: code.functions.clone() })
    }

    /// The entry point of a function; none when the program has no such function.
    pub fn function(&self, index: u32) -> Option<NestFunction> {
        let start = *self.functions.get(index as usize)? as usize;
        let address: *const u8 = self.map.as_ref()?.get(start..)?.as_ptr();
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
