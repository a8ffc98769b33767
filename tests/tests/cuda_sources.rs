//! What kernels are compiled from: whole sources are complete, all libraries can stand in one, and whatever a spec calls things, it is no name of
//! C++, of CUDA, or of a kernel's own text. Without NVRTC only the names of kernels' texts are looked at.

use std::collections::BTreeSet;
use weft_compiler::check::Options;
use weft_compiler::cuda::{Library, Math, PRELUDE, names};
use weft_compiler::stages::{self, Format, Stage};
use weft_runtime::cuda::{self, Cache};
use weft_runtime::program::{Arch, DeviceCode, DeviceFunction};
use weft_tests::cuda::has_nvrtc;
use weft_tests::specs;

/// Compiles a text, in which there is a kernel of this name.
fn compiles(source: &str, name: &str) {
    let function = DeviceFunction {
        name: name.into(),
        source: source.into(),
        libraries: Vec::new(),
        threads: 32,
        shared: 0,
    };
    let code = DeviceCode { functions: vec![function], ..DeviceCode::default() };
    cuda::compile(&code, Arch::PTX, &Cache::none()).unwrap_or_else(|e| panic!("{e}"));
}

fn emit(spec: &str, stage: Stage, entry: &str, math: Math) -> String {
    let checked = specs::check_file(&format!("specs/{spec}.weft"), &Options::default());
    let text = stages::emit_in(&checked, stage, Some(entry), Format::Text, math);
    text.unwrap_or_else(|e| panic!("{spec}: {e:?}"))
}

/// The name of a text's first kernel.
fn first_kernel(source: &str) -> &str {
    let behind = source.split_once("__launch_bounds__(").and_then(|(_, rest)| rest.split_once(") "));
    behind.and_then(|(_, rest)| rest.split_once('(')).map_or("", |(name, _)| name)
}

#[test]
fn a_whole_source_is_complete() {
    if !has_nvrtc() {
        return;
    }
    for (spec, entry, math) in
        [("mnist_cnn", "train", Math::F32), ("gpt", "predict", Math::F32), ("gpt", "predict", Math::Bf16)]
    {
        let kernels = emit(spec, Stage::Cuda, entry, math);
        let whole = emit(spec, Stage::CudaSource, entry, math);
        assert!(whole.ends_with(&kernels) && whole.starts_with(PRELUDE), "{spec}");
        compiles(&whole, first_kernel(&kernels));
    }
}

/// C++'s keywords, CUDA's variables and functions, macros, and what else an item, an input or a dim could be called.
const WORDS: &str = "alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class compl concept \
     const consteval constexpr constinit const_cast continue co_await co_return co_yield decltype default delete do double dynamic_cast else \
     enum explicit export extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or \
     or_eq private protected public register reinterpret_cast requires return short signed sizeof static static_assert static_cast struct \
     switch template this thread_local throw true try typedef typeid typename typeof union unsigned using virtual void volatile wchar_t while xor xor_eq \
     threadIdx blockIdx blockDim gridDim warpSize dim3 size_t ptrdiff_t NULL NAN INFINITY main printf malloc free memcpy memset assert clock \
     clock64 linux unix abs labs llabs fabs fabsf min max fmin fminf fmax fmaxf exp expf exp2 exp2f exp10 exp10f expm1 expm1f log logf log2 log10 \
     log1p logb ilogb sin cos tan sincos sinpi cospi sincospi asin acos atan atan2 sinh cosh tanh asinh acosh atanh sqrt rsqrt cbrt rcbrt hypot \
     rhypot pow norm norm3d norm4d rnorm rnorm3d rnorm4d normf normcdf normcdfinv erf erfc erfcx erfinv erfcinv lgamma tgamma j0 j1 jn y0 y1 yn \
     cyl_bessel_i0 cyl_bessel_i1 fmod remainder remquo modf frexp ldexp scalbn scalbln nan nextafter copysign signbit isnan isinf isfinite \
     isnanf ceil floor trunc round rint nearbyint lround llround lrint llrint fdim fdividef fma fmaf mul24 umul24 mulhi umulhi mul64hi saturate \
     umin umax llmin llmax ullmin ullmax float2 float4 int2 make_float4 make_int2 double2 uint4 half atomicAdd atomicCAS surf2Dread tex1D \
     cudaMalloc cudaError_t __syncthreads __expf __float2int_rz __global__ __device__ __shared__ __LINE__ __FILE__ __CUDA_ARCH__ __int128 \
     _Float16 _Bool __builtin_expect __launch_bounds__ i i0 k x1 r0 t3 v12 step row lane point by_n part1 square2 stray held inlined INF \
     NOT_A_NUMBER pack load store largest float_rem copy_async TileF32 TileMma Flash FlashMma Share Divisor floor_div kernel test std";

#[test]
fn no_name_of_a_spec_is_one_of_cxx_or_cuda() {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let (mut kernels, mut parameters) = (BTreeSet::new(), BTreeSet::new());
    // All libraries, and a kernel of each name with parameters of each name.
    let mut source = PRELUDE.to_owned();
    for library in Library::ALL {
        source.push_str(library.text());
    }
    for word in &words {
        assert!(parameters.insert(names::identifier(word)), "{word} and another are one name");
        // An item alone, and a value in it.
        for path in [(*word).to_string(), format!("{word}.{word}")] {
            let name = names::kernel(&path);
            if kernels.insert(name.clone()) {
                let parameter = names::identifier(word);
                source.push_str(&format!(
                    "extern \"C\" __global__ void {name}(float* {parameter}, int {parameter}_2)\n{{\n    {parameter}[0] = {parameter}_2;\n}}\n"
                ));
            }
        }
    }
    for (first, second) in
        [("static", "cast"), ("const", "cast"), ("not", "eq"), ("cyl", "bessel_i0"), ("make", "float4")]
    {
        let name = names::kernel(&format!("{first}.{second}"));
        if !kernels.insert(name.clone()) {
            continue;
        }
        source.push_str(&format!(
            "extern \"C\" __global__ void {name}(float* x, int n)\n{{\n    x[0] = n;\n}}\n"
        ));
    }
    if has_nvrtc() {
        compiles(&source, &names::kernel(words[0]));
    }
}

/// A parameter hides what has its name, so that none has a name that a kernel's text says.
#[test]
fn what_kernels_say_are_no_names_of_parameters() {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut said = BTreeSet::new();
    for (spec, entry) in [
        ("mnist_cnn", "train"),
        ("gpt", "train"),
        ("imdb_lstm", "train"),
        ("vae", "train"),
        ("dcgan", "train"),
        ("bert", "predict"),
    ] {
        for kernel in emit(spec, Stage::Cuda, entry, Math::F32).split("\n}\n") {
            let Some((head, body)) = kernel.split_once(")\n{\n") else { continue };
            let list = head.rsplit_once("(\n").map_or("", |(_, list)| list);
            let own: BTreeSet<&str> =
                list.split(',').filter_map(|one| one.rsplit([' ', '*']).next()).collect();
            for line in body.lines() {
                let code = line.split("//").next().unwrap_or_default();
                let mut before = ' ';
                for word in code.split_inclusive(|letter| !is_word(letter)) {
                    let name = word.trim_end_matches(|letter| !is_word(letter));
                    // Members are no names by themselves.
                    let alone = before != '.' && before != ':' && !code.trim_start().starts_with('#');
                    before = word.chars().last().unwrap_or(' ');
                    let begins = name.starts_with(|letter: char| letter.is_ascii_alphabetic());
                    if alone && begins && !own.contains(name) {
                        said.insert(name.to_owned());
                    }
                }
            }
        }
    }
    // What is kept of a row is called like a buffer, and looks for a name that no parameter has.
    let own = |name: &str| name.starts_with("row_") || name.contains("_of_row");
    let free: Vec<&String> =
        said.iter().filter(|name| names::identifier(name) == **name && !own(name)).collect();
    assert!(said.len() > 100 && free.is_empty(), "{free:?}");
}
