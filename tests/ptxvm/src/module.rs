//! A loaded module: its variables in device memory, its kernels ready to run.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::code::{Program, Space};
use crate::memory::Memory;
use crate::ptx::{Initial, PtxError, Variable};
use crate::{decode, ptx};

#[derive(Debug, Default)]
pub struct Module {
    pub kernels: BTreeMap<String, Arc<Program>>,
    /// Address and bytes of each variable.
    pub variables: BTreeMap<String, (u64, u64)>,
}

/// Why a module cannot be loaded.
#[derive(Debug)]
pub enum LoadError {
    Ptx(PtxError),
    OutOfMemory,
}

impl From<PtxError> for LoadError {
    fn from(error: PtxError) -> Self {
        LoadError::Ptx(error)
    }
}

impl Module {
    /// Decodes a PTX text and puts its variables into memory.
    pub fn load(text: &str, memory: &mut Memory) -> Result<Module, LoadError> {
        let tree = ptx::parse(text)?;
        let mut addresses = HashMap::new();
        let mut module = Module::default();
        let lying = |v: &&Variable<'_>| v.space != Space::Shared;
        for variable in tree.variables.iter().filter(lying) {
            let bytes = variable.element * variable.count;
            let Some(address) = memory.allocate(bytes.max(1)) else {
                module.unload(memory);
                return Err(LoadError::OutOfMemory);
            };
            addresses.insert(variable.name.to_string(), address);
            module.variables.insert(variable.name.to_string(), (address, bytes));
        }
        let filled = tree.variables.iter().filter(lying).try_for_each(|v| fill(v, &addresses, memory));
        let programs = filled.and_then(|()| decode::programs(&tree, &addresses));
        match programs {
            Ok(programs) => {
                module.kernels =
                    programs.into_iter().map(|(name, program)| (name, Arc::new(program))).collect();
                Ok(module)
            }
            Err(error) => {
                module.unload(memory);
                Err(error.into())
            }
        }
    }

    /// Gives the variables' memory back.
    pub fn unload(&self, memory: &mut Memory) {
        for (address, _) in self.variables.values() {
            memory.free(*address);
        }
    }
}

/// Variables begin as their initialiser says, and otherwise as zeros.
fn fill(
    variable: &Variable<'_>,
    addresses: &HashMap<String, u64>,
    memory: &mut Memory,
) -> Result<(), PtxError> {
    let address = addresses[variable.name];
    let mut bytes = vec![0; (variable.element * variable.count).max(1) as usize];
    let element = variable.element as usize;
    for (i, value) in variable.initial.iter().enumerate() {
        let bits = match value {
            Initial::Bits(bits) => *bits,
            Initial::Address(name, offset) => match addresses.get(*name) {
                Some(address) => address.wrapping_add(*offset as u64),
                None => {
                    let message =
                        format!("`{name}` in the initialiser of `{}` is not modelled", variable.name);
                    return Err(PtxError { line: variable.line, message });
                }
            },
        };
        if let Some(to) = bytes.get_mut(i * element..(i + 1) * element) {
            let bits = bits.to_le_bytes();
            let many = element.min(8);
            to[..many].copy_from_slice(&bits[..many]);
        }
    }
    memory.write(address, &bytes).map_err(|fault| PtxError { line: variable.line, message: fault.message })
}
