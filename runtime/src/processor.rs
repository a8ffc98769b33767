//! What the processor has, by the names that compilers have for it.

/// A feature, and how it is found out.
#[cfg(target_arch = "x86_64")]
macro_rules! known {
    ($($name:tt),*) => { vec![$(($name, std::arch::is_x86_feature_detected!($name))),*] };
}

/// The features that code may be made for, in the order of their years, and whether this processor has them.
#[cfg(target_arch = "x86_64")]
fn known() -> Vec<(&'static str, bool)> {
    known!(
        "sse3",
        "ssse3",
        "sse4.1",
        "sse4.2",
        "popcnt",
        "avx",
        "avx2",
        "fma",
        "bmi1",
        "bmi2",
        "lzcnt",
        "avx512f",
        "avx512dq",
        "avx512vl",
        "avx512vbmi",
        "avx512bitalg",
        "avx512vnni"
    )
}

/// AArch64's baseline has all that code is made for.
#[cfg(not(target_arch = "x86_64"))]
fn known() -> Vec<(&'static str, bool)> {
    Vec::new()
}

/// Those that this processor has.
pub fn features() -> Vec<&'static str> {
    known().into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

/// Those of a list that this processor lacks; what nobody knows is lacking.
pub fn lacks(wanted: &[String]) -> Vec<&str> {
    let there = features();
    wanted.iter().map(String::as_str).filter(|name| !there.contains(name)).collect()
}
