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
    /// What it counts beside the elements of its buffers: none of these may be more than [`LARGEST_COUNT`].
    pub counts: Vec<DimIndex>,
}

/// A GPU's kernels count in numbers of 32 bits. What they count is fewer than these, so that one stride beyond the last is a number, too.
pub const LARGEST_COUNT: i64 = i32::MAX as i64 - (1 << 20);

/// Blocks of a grid along x, y and z at most.
pub const LARGEST_GRID: [i64; 3] = [i32::MAX as i64, 65_535, 65_535];

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

/// All functions, compiled for some GPUs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeviceImage {
    pub arch: Arch,
    /// Its modules, packed: see [`DeviceImage::modules`].
    packed: Vec<u8>,
}

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Arch {
    /// Machine code, or PTX, which the driver compiles for the GPU that is there.
    pub kind: ImageKind,
    /// 90 for compute capability 9.0.
    pub capability: u32,
    pub scope: Scope,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ImageKind {
    Cubin,
    Ptx,
}

/// Which other GPUs run what was compiled for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Those after it: for machine code of the same major number, for PTX all.
    Later,
    /// Those after it of the same major number (`sm_100f`).
    Family,
    /// None: it may have instructions that no other has (`sm_90a`).
    Alone,
}

impl Arch {
    /// PTX that all GPUs read that kernels are made for.
    pub const PTX: Arch = Arch { kind: ImageKind::Ptx, capability: 80, scope: Scope::Later };

    /// Does a GPU of this capability run it? The rules are those of the *CUDA C++ Programming Guide*, "Binary Compatibility" and "PTX
    /// Compatibility".
    pub fn fits(self, capability: u32) -> bool {
        let later = capability >= self.capability;
        let same_major = capability / 10 == self.capability / 10;
        match (self.kind, self.scope) {
            (_, Scope::Alone) => capability == self.capability,
            (ImageKind::Ptx, Scope::Later) => later,
            (ImageKind::Cubin, Scope::Later) | (_, Scope::Family) => later && same_major,
        }
    }

    /// Machine code for GPUs of this capability.
    pub const fn cubin(capability: u32, scope: Scope) -> Arch {
        Arch { kind: ImageKind::Cubin, capability, scope }
    }

    /// PTX for this GPU and all later ones.
    pub const fn ptx(self) -> Arch {
        Arch { kind: ImageKind::Ptx, capability: self.capability, scope: Scope::Later }
    }
}

/// As NVRTC writes it: `sm_90a`, `compute_80`.
impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            ImageKind::Cubin => "sm",
            ImageKind::Ptx => "compute",
        };
        let letter = match self.scope {
            Scope::Later => "",
            Scope::Family => "f",
            Scope::Alone => "a",
        };
        write!(f, "{kind}_{}{letter}", self.capability)
    }
}

impl std::str::FromStr for Arch {
    type Err = String;

    fn from_str(text: &str) -> Result<Arch, String> {
        let wrong = || format!("`{text}` is no architecture; one is like sm_80, sm_90a or compute_80");
        let (kind, version) = text.split_once('_').ok_or_else(wrong)?;
        let kind = match kind {
            "sm" => ImageKind::Cubin,
            "compute" => ImageKind::Ptx,
            _ => return Err(wrong()),
        };
        let (number, scope) = match version.as_bytes().last() {
            Some(b'a') => (&version[..version.len() - 1], Scope::Alone),
            Some(b'f') => (&version[..version.len() - 1], Scope::Family),
            _ => (version, Scope::Later),
        };
        let digits = number.len() < 5 && number.bytes().all(|byte| byte.is_ascii_digit());
        let capability = number.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
        Ok(Arch { kind, capability, scope })
    }
}

impl DeviceCode {
    /// The image that a GPU of this capability runs best: machine code that was made for it, or for one before it, or else the latest PTX.
    /// `only_ptx` leaves machine code out.
    pub fn image_for(&self, capability: u32, only_ptx: bool) -> Option<&DeviceImage> {
        let fit = self.images.iter().filter(|image| image.arch.fits(capability));
        let fit = fit.filter(|image| !only_ptx || image.arch.kind == ImageKind::Ptx);
        fit.max_by_key(|image| {
            let Arch { kind, capability, scope } = image.arch;
            (kind == ImageKind::Cubin, capability, scope == Scope::Alone)
        })
    }
}

#[cfg(feature = "cuda")]
impl DeviceImage {
    /// Of one module after another; each holds some of the functions. They are mostly alike, and pack well.
    pub fn new(arch: Arch, modules: &[Vec<u8>]) -> crate::error::Result<DeviceImage> {
        use std::io::Write;
        let failed = |error: String| {
            crate::error::Error::Unsound(format!("its image for {arch} cannot be packed: {error}"))
        };
        let bytes = postcard::to_allocvec(modules).map_err(|error| failed(error.to_string()))?;
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        let packed = packer.write_all(&bytes).and_then(|()| packer.finish());
        Ok(DeviceImage { arch, packed: packed.map_err(|error| failed(error.to_string()))? })
    }

    pub fn modules(&self) -> crate::error::Result<Vec<Vec<u8>>> {
        use std::io::Read;
        let failed = |error: String| {
            crate::error::Error::Unsound(format!("its image for {} cannot be unpacked: {error}", self.arch))
        };
        let mut bytes = Vec::new();
        let read = flate2::read::ZlibDecoder::new(self.packed.as_slice()).read_to_end(&mut bytes);
        read.map_err(|error| failed(error.to_string()))?;
        postcard::from_bytes(&bytes).map_err(|error| failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(archs: &[&str]) -> DeviceCode {
        let image = |arch: &&str| DeviceImage { arch: arch.parse().unwrap(), packed: Vec::new() };
        DeviceCode { images: archs.iter().map(image).collect(), ..DeviceCode::default() }
    }

    #[test]
    fn the_image_that_is_closest_to_a_gpu_is_taken() {
        let usual = code(&["sm_80", "sm_90a", "sm_100", "compute_80"]);
        let chosen = |code: &DeviceCode, capability| {
            code.image_for(capability, false).map_or("none".into(), |image| image.arch.to_string())
        };
        for (capability, arch) in [
            (75, "none"),
            (80, "sm_80"),
            (86, "sm_80"),
            (89, "sm_80"),
            (90, "sm_90a"),
            (100, "sm_100"),
            (103, "sm_100"),
            (120, "compute_80"),
            (121, "compute_80"),
        ] {
            assert_eq!(chosen(&usual, capability), arch, "{capability}");
            let ptx = usual.image_for(capability, true).map(|image| image.arch.to_string());
            assert_eq!(ptx.as_deref(), (capability >= 80).then_some("compute_80"), "{capability}");
        }
        let more = code(&["compute_80", "compute_90", "sm_80", "sm_86", "sm_100f", "sm_100a", "sm_100"]);
        for (capability, arch) in
            [(80, "sm_80"), (87, "sm_86"), (90, "compute_90"), (100, "sm_100a"), (110, "compute_90")]
        {
            assert_eq!(chosen(&more, capability), arch, "{capability}");
        }
        assert!(matches!(chosen(&more, 103).as_str(), "sm_100" | "sm_100f"));
    }

    #[test]
    fn names_of_architectures_are_read_as_they_are_written() {
        for name in ["sm_80", "sm_90a", "sm_100f", "compute_80", "compute_120"] {
            assert_eq!(name.parse::<Arch>().unwrap().to_string(), name);
        }
        for wrong in ["", "80", "sm80", "sm_", "sm_a", "sm_8x", "sm_+80", "gfx_90", "sm_99999", "sm_9\u{e9}"]
        {
            assert!(wrong.parse::<Arch>().is_err(), "{wrong}");
        }
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn modules_are_what_they_were_and_damage_is_found() {
        let modules = vec![vec![7; 1000], Vec::new(), b"ptx".to_vec()];
        let image = DeviceImage::new("sm_80".parse().unwrap(), &modules).unwrap();
        assert!(image.packed.len() < 200);
        assert_eq!(image.modules().unwrap(), modules);
        for end in 0..image.packed.len() {
            let cut = DeviceImage { packed: image.packed[..end].to_vec(), ..image.clone() };
            assert!(cut.modules().is_err(), "{end}");
        }
    }
}
