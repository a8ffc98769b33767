//! The virtual GPU for Rust programs, without the driver's interface: memory, modules, launches.
//!
//! ```
//! use ptxvm::gpu::{Argument, Gpu};
//!
//! let ptx = "
//!     .version 9.0
//!     .target sm_80
//!     .address_size 64
//!     .visible .entry double(.param .u64 x) {
//!         .reg .b32 %r<3>;
//!         .reg .b64 %rd<4>;
//!         ld.param.u64 %rd1, [x];
//!         mov.u32 %r1, %tid.x;
//!         mul.wide.u32 %rd2, %r1, 4;
//!         add.s64 %rd3, %rd1, %rd2;
//!         ld.global.u32 %r2, [%rd3];
//!         add.s32 %r2, %r2, %r2;
//!         st.global.u32 [%rd3], %r2;
//!         ret;
//!     }";
//! let mut gpu = Gpu::default();
//! let module = gpu.load(ptx).unwrap();
//! let x = gpu.upload(&[1u32, 2, 3, 4]);
//! gpu.launch(&module.kernels["double"], [1, 1, 1], [4, 1, 1], 0, &[Argument::U64(x)]).unwrap();
//! assert_eq!(gpu.download::<u32>(x, 4), [2, 4, 6, 8]);
//! ```

use crate::code::Program;
use crate::counts::Counts;
use crate::fault::Report;
use crate::machine::{self, Launch, Limits};
use crate::memory::Memory;
use crate::module::{LoadError, Module};

/// A value that memory holds as its bytes.
pub trait Plain: Copy {
    const BYTES: usize;
    fn put(self, out: &mut Vec<u8>);
    fn take(bytes: &[u8]) -> Self;
}

macro_rules! plain {
    ($($t:ty),*) => {$(
        impl Plain for $t {
            const BYTES: usize = size_of::<$t>();
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$t>()];
                own.copy_from_slice(bytes);
                <$t>::from_le_bytes(own)
            }
        }
    )*};
}
plain!(u8, u16, u32, u64, i8, i16, i32, i64, f32, f64);

/// A value of a kernel's parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    U64(u64),
    I32(i32),
    F32(f32),
    /// A struct.
    Bytes(Vec<u8>),
}

#[derive(Debug)]
pub struct Gpu {
    pub memory: Memory,
    pub limits: Limits,
}

impl Default for Gpu {
    /// 1 GiB of memory, everything in its natural order, nothing counted.
    fn default() -> Self {
        let limits = Limits { seed: 0, instructions: 1 << 32, counting: false, watching: false };
        Gpu { memory: Memory::new(1 << 30), limits }
    }
}

impl Gpu {
    /// Loads a PTX text.
    pub fn load(&mut self, ptx: &str) -> Result<Module, LoadError> {
        Module::load(ptx, &mut self.memory)
    }

    /// Room for so many bytes that nothing has written.
    ///
    /// # Panics
    /// Where the device has no such room.
    pub fn allocate(&mut self, bytes: u64) -> u64 {
        self.memory.allocate(bytes).expect("room for an allocation")
    }

    /// A copy of values in device memory.
    ///
    /// # Panics
    /// Where the device has no such room, or there are no values.
    pub fn upload<T: Plain>(&mut self, values: &[T]) -> u64 {
        let mut bytes = Vec::new();
        values.iter().for_each(|v| v.put(&mut bytes));
        let address = self.allocate(bytes.len() as u64);
        self.memory.write(address, &bytes).expect("a fresh allocation holds its bytes");
        address
    }

    /// Values of device memory.
    ///
    /// # Panics
    /// Where that many are not there.
    pub fn download<T: Plain>(&mut self, address: u64, count: usize) -> Vec<T> {
        let mut bytes = vec![0; count * T::BYTES];
        self.memory.read(address, &mut bytes).expect("bytes of an allocation");
        bytes.chunks_exact(T::BYTES).map(T::take).collect()
    }

    /// Runs a kernel to its end.
    ///
    /// # Panics
    /// Where the arguments are not those that the kernel declares.
    pub fn launch(
        &mut self,
        program: &Program,
        grid: [u32; 3],
        block: [u32; 3],
        dynamic: u32,
        arguments: &[Argument],
    ) -> Result<Counts, Box<Report>> {
        assert_eq!(arguments.len(), program.parameters.len(), "arguments of {}", program.name);
        let mut parameters = vec![0; program.parameter_bytes];
        for (argument, place) in arguments.iter().zip(&program.parameters) {
            let bytes = match argument {
                Argument::U64(v) => v.to_le_bytes().to_vec(),
                Argument::I32(v) => v.to_le_bytes().to_vec(),
                Argument::F32(v) => v.to_le_bytes().to_vec(),
                Argument::Bytes(bytes) => bytes.clone(),
            };
            assert_eq!(bytes.len(), place.bytes, "an argument of {}", program.name);
            parameters[place.offset..place.offset + place.bytes].copy_from_slice(&bytes);
        }
        let launch = Launch { grid, block, dynamic, parameters: &parameters };
        machine::launch(program, &launch, &mut self.memory, &self.limits)
    }
}
