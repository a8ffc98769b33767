//! What a GPU runs: kernels in CUDA C++, and the images that were compiled from them.
//!
//! Every launch of such a program is a [`Kernel::Device`](super::Kernel::Device): the compiler has decided how a kernel's index space becomes
//! a grid, so that the runtime knows nothing of contractions or loop nests there. It only gives addresses and dims, and starts what it is
//! told, in order.

use serde::{Deserialize, Serialize};

use super::DimIndex;

/// One start of a generated kernel for the whole index space of its segment's units.
///
/// Its parameters are the addresses of [`super::Launch::buffers`], in order, then `dims` as `int`, then, where `indexed` is given, the
/// address of a 64-bit word: the least `place << 32 | index` of all indices out of range.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeviceLaunch {
    /// Index into [`DeviceCode::functions`].
    pub function: u32,
    /// Blocks along x, y and z. Nothing is started when one of them is 0.
    pub grid: [DimIndex; 3],
    pub dims: Vec<DimIndex>,
    pub indexed: Option<Strays>,
}

/// What a kernel that moves by index may name, and how many indices it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Strays {
    pub rows: DimIndex,
    pub count: DimIndex,
}

/// The kernels of a program for GPUs. Empty for one that this processor runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeviceCode {
    /// What stands before every function's source: types and small functions.
    pub prelude: String,
    /// Texts of device functions that some kernels call.
    pub libraries: Vec<String>,
    pub functions: Vec<DeviceFunction>,
    /// Compiled forms, for any number of architectures; without one that fits, the source is compiled when the program is loaded.
    pub images: Vec<DeviceImage>,
}

impl DeviceCode {
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// All that a function is compiled from. Lines are counted from its own first one.
    pub fn source(&self, function: &DeviceFunction) -> String {
        let libraries = function.libraries.iter().filter_map(|at| self.libraries.get(*at as usize));
        let before: Vec<&str> = std::iter::once(&self.prelude).chain(libraries).map(String::as_str).collect();
        format!("{}\n#line 1\n{}", before.join("\n"), function.source)
    }
}

/// A kernel in CUDA C++.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFunction {
    /// Of the `extern "C" __global__` function.
    pub name: String,
    pub source: String,
    /// What it needs before it: indices into [`DeviceCode::libraries`].
    pub libraries: Vec<u32>,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory that are asked for at the start, beside what the source declares.
    pub shared: u32,
}

/// All functions, compiled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeviceImage {
    /// `sm_90` for machine code of that architecture alone, `compute_90` for PTX, which later ones can read too.
    pub arch: String,
    /// One module after another; each holds some of the functions.
    pub modules: Vec<Vec<u8>>,
}
