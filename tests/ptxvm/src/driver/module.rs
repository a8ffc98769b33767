//! Modules: PTX texts alone; machine code is refused.

use super::pointer::{Out, Text, read};
use super::state::Function;
use super::{
    Done, INVALID_HANDLE, INVALID_PTX, INVALID_VALUE, NO_BINARY_FOR_GPU, NOT_FOUND, OUT_OF_MEMORY, State,
    exports,
};
use crate::module::{LoadError, Module};

/// Where the flags of an ELF file stand.
const ELF_FLAGS: usize = 48;

/// The architecture of a cubin, from its ELF header: CUDA 13 writes it in the second byte of the flags (ABI version 8), others before in the
/// first.
fn cubin_arch(header: &[u8]) -> u8 {
    header[if header[8] >= 8 { ELF_FLAGS + 1 } else { ELF_FLAGS }]
}

impl State {
    fn load(&mut self, out: &Out<usize>, text: &str) -> Done {
        self.refuse_unsafe()?;
        match Module::load(text, &mut self.memory) {
            Ok(module) => {
                let handle = self.handle();
                self.modules.insert(handle, module);
                out.set(handle)
            }
            Err(LoadError::OutOfMemory) => Err(OUT_OF_MEMORY),
            Err(LoadError::Ptx(error)) => {
                let line = text.lines().nth(error.line as usize - 1).unwrap_or_default().trim();
                self.tell(&format!("module refused: {error}\n    {line}"));
                Err(INVALID_PTX)
            }
        }
    }

    /// A module at an address of the host: PTX ends with a zero byte, machine code begins with a mark of its own.
    fn load_image(&mut self, out: &Out<usize>, image: &Text) -> Done {
        if image.address() == 0 {
            return Err(INVALID_VALUE);
        }
        let start = read(image.address(), 4)?;
        let kind = match start.as_slice() {
            [0x7f, b'E', b'L', b'F'] => {
                Some(format!("a cubin for sm_{}", cubin_arch(&read(image.address(), ELF_FLAGS + 4)?)))
            }
            [0x50, 0xed, 0x55, 0xba] => Some("a fat binary".to_string()),
            _ => None,
        };
        if let Some(kind) = kind {
            self.tell(&format!(
                "module refused: it is {kind}, machine code of a GPU; ptxvm runs PTX alone, so load the PTX of the \
                 kernels instead"
            ));
            return Err(NO_BINARY_FOR_GPU);
        }
        let text = image.get()?;
        self.load(out, &text)
    }
}

exports! {
    Context fn cuModuleLoadData(out: Out<usize>, image: Text) |state| {
        state.load_image(&out, &image)
    }

    Context fn cuModuleLoadDataEx(out: Out<usize>, image: Text, _count: u32, _options: usize, _values: usize) |state| {
        state.load_image(&out, &image)
    }

    Context fn cuModuleLoadFatBinary(out: Out<usize>, image: Text) |state| {
        state.load_image(&out, &image)
    }

    Context fn cuModuleLoad(out: Out<usize>, path: Text) |state| {
        let bytes = std::fs::read(path.get()?).map_err(|_| 301u32)?;
        if bytes.starts_with(b"\x7fELF") {
            state.tell("module refused: the file is a cubin, machine code of a GPU; ptxvm runs PTX alone");
            return Err(NO_BINARY_FOR_GPU);
        }
        let text = String::from_utf8(bytes).map_err(|_| INVALID_PTX)?;
        state.load(&out, text.trim_end_matches('\0'))
    }

    Context fn cuModuleUnload(module: usize) |state| {
        let gone = state.modules.remove(&module).ok_or(INVALID_HANDLE)?;
        gone.unload(&mut state.memory);
        state.functions.retain(|_, f| f.module != module);
        Ok(())
    }

    Context fn cuModuleGetFunction(out: Out<usize>, module: usize, name: Text) |state| {
        let name = name.get()?;
        let known = state.functions.iter().find(|(_, f)| f.module == module && f.program.name == name);
        if let Some((handle, _)) = known {
            return out.set(*handle);
        }
        let program = state.modules.get(&module).ok_or(INVALID_HANDLE)?.kernels.get(&name).ok_or(NOT_FOUND)?.clone();
        let handle = state.handle();
        let dynamic_limit = (48u32 << 10).saturating_sub(program.shared_bytes as u32);
        state.functions.insert(handle, Function { module, program, dynamic_limit, carveout: -1 });
        out.set(handle)
    }

    Context fn cuModuleGetFunctionCount(out: Out<u32>, module: usize) |state| {
        out.set(state.modules.get(&module).ok_or(INVALID_HANDLE)?.kernels.len() as u32)
    }

    Context fn cuModuleGetGlobal_v2(address: Out<u64>, bytes: Out<usize>, module: usize, name: Text) |state| {
        let module = state.modules.get(&module).ok_or(INVALID_HANDLE)?;
        let (at, size) = *module.variables.get(&name.get()?).ok_or(NOT_FOUND)?;
        address.set_if_wanted(at);
        bytes.set_if_wanted(size as usize);
        Ok(())
    }

    Context fn cuModuleGetLoadingMode(out: Out<u32>) |_state| {
        out.set(1)
    }
}
