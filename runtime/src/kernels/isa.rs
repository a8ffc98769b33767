//! Which instruction set the kernels use: found out once, carried by every bound kernel.
//!
//! A kernel keeps the level with which it was bound, so that tests can run each level side by side.

use std::sync::OnceLock;

/// The instruction sets for which kernels exist, from narrow to wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// What the target's baseline offers (128-bit vectors on x86-64 and on AArch64).
    Portable,
    /// AVX2 and FMA: 256-bit vectors.
    Avx2,
    /// AVX-512 F, BW, DQ and VL: 512-bit vectors.
    Avx512,
}

impl Level {
    /// The levels that this machine can run, from narrow to wide.
    pub fn available() -> Vec<Level> {
        [Level::Portable, Level::Avx2, Level::Avx512]
            .into_iter()
            .filter(|&level| level <= Level::best())
            .collect()
    }

    /// The widest level that this machine can run.
    pub fn best() -> Level {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(detect)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (avx2, avx512) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        _ => Level::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Portable
}

/// Compiles one generic function for every level: `versions! { unsafe fn name = body, (a: A) }` makes
/// `fn name(level: Level, a: A)`, which calls `body(a)` compiled with the level's instructions; `body<V>` is also given the
/// level's [`super::vector::Vector`]. `body` must be `#[inline(always)]`, so that it takes on the features of its caller.
macro_rules! versions {
    ($(#[$meta:meta])* $visibility:vis unsafe fn $name:ident = $body:ident<V>, $arguments:tt) => {
        versions! { @ [$(#[$meta])*] $visibility $name $arguments
            { $body::<$crate::kernels::vector::x86::Wide> }
            { $body::<$crate::kernels::vector::x86::Half> }
            { $body::<$crate::kernels::vector::Four> }
        }
    };
    ($(#[$meta:meta])* $visibility:vis unsafe fn $name:ident = $body:ident, $arguments:tt) => {
        versions! { @ [$(#[$meta])*] $visibility $name $arguments { $body } { $body } { $body } }
    };
    (@ [$(#[$meta:meta])*] $visibility:vis $name:ident ($($argument:ident : $type:ty),*)
        { $($wide:tt)* } { $($half:tt)* } { $($four:tt)* }) => {
        $(#[$meta])*
        $visibility unsafe fn $name(level: $crate::kernels::isa::Level, $($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($argument: $type),*) {
                // SAFETY: as for the caller.
                unsafe { $($half)*($($argument),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            unsafe fn avx512($($argument: $type),*) {
                // SAFETY: as for the caller.
                unsafe { $($wide)*($($argument),*) }
            }
            // SAFETY: the caller's own promises; a level is used only where the machine has it (see `Level::best`).
            unsafe {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    $crate::kernels::isa::Level::Avx512 => avx512($($argument),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::kernels::isa::Level::Avx2 => avx2($($argument),*),
                    _ => $($four)*($($argument),*),
                }
            }
        }
    };
}
pub(crate) use versions;
