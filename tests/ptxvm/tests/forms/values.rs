//! Values of every type as their bits, and arithmetic that Rust lacks, written anew.

pub trait Value: Copy {
    fn of(bits: u64) -> Self;
    fn bits(self) -> u64;
}

macro_rules! values {
    ($($t:ty as $u:ty),*) => {$(
        impl Value for $t {
            fn of(bits: u64) -> Self { bits as $t }
            fn bits(self) -> u64 { self as $u as u64 }
        }
    )*};
}
values!(u8 as u8, u16 as u16, u32 as u32, u64 as u64, i8 as u8, i16 as u16, i32 as u32, i64 as u64);
impl Value for f32 {
    fn of(bits: u64) -> Self {
        f32::from_bits(bits as u32)
    }
    fn bits(self) -> u64 {
        self.to_bits().into()
    }
}
impl Value for f64 {
    fn of(bits: u64) -> Self {
        f64::from_bits(bits)
    }
    fn bits(self) -> u64 {
        self.to_bits()
    }
}
impl Value for bool {
    fn of(bits: u64) -> Self {
        bits != 0
    }
    fn bits(self) -> u64 {
        self.into()
    }
}

/// bf16, whose value f32 holds.
#[derive(Clone, Copy)]
pub struct B(pub f32);
impl Value for B {
    fn of(bits: u64) -> Self {
        B(f32::from_bits((bits as u32) << 16))
    }
    fn bits(self) -> u64 {
        let bits = self.0.to_bits();
        if self.0.is_nan() {
            0x7fff
        } else {
            u64::from((bits.wrapping_add(0x7fff + ((bits >> 16) & 1))) >> 16)
        }
    }
}

/// f16 by tables of powers: its value in f64, and the nearest by search.
#[derive(Clone, Copy)]
pub struct H(pub f64);
impl Value for H {
    fn of(bits: u64) -> Self {
        let (sign, exponent, mantissa) = (bits >> 15 & 1, bits >> 10 & 31, (bits & 0x3ff) as f64);
        let size = match exponent {
            0 => mantissa * 2f64.powi(-24),
            31 if mantissa == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            e => (1024.0 + mantissa) * 2f64.powi(e as i32 - 25),
        };
        H(if sign == 1 { -size } else { size })
    }
    fn bits(self) -> u64 {
        if self.0.is_nan() {
            return 0x7fff;
        }
        let sign = if self.0.is_sign_negative() { 0x8000 } else { 0 };
        let size = self.0.abs();
        if size >= 65520.0 {
            return sign | 0x7c00;
        }
        // The floats of a sign are in the order of their bits.
        let (mut low, mut high) = (0u64, 0x7bff);
        while low < high {
            let middle = (low + high).div_ceil(2);
            if H::of(middle).0 <= size { low = middle } else { high = middle - 1 }
        }
        let (below, above) = (H::of(low).0, if low == 0x7bff { 65536.0 } else { H::of(low + 1).0 });
        let up = size - below > above - size || (size - below == above - size && low & 1 == 1);
        sign | (low + u64::from(up))
    }
}

pub fn never(_: u64) -> bool {
    false
}
pub fn nan32(bits: u64) -> bool {
    f32::from_bits(bits as u32).is_nan()
}
pub fn nan64(bits: u64) -> bool {
    f64::from_bits(bits).is_nan()
}
pub fn nan16(bits: u64) -> bool {
    bits & 0x7fff > 0x7c00
}
pub fn nan_brain(bits: u64) -> bool {
    bits & 0x7fff > 0x7f80
}
pub fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}
pub fn saturate(x: f32) -> f32 {
    if x > 0.0 { x.min(1.0) } else { 0.0 }
}
/// Rounded towards zero, down or up, from a value that f64 holds exactly.
pub fn toward(x: f64, way: i32) -> f32 {
    let near = x as f32;
    let exact = f64::from(near);
    let next = |up: bool| {
        let bits = near.to_bits() as i32;
        let step = if (near >= 0.0) == up { 1 } else { -1 };
        if near == 0.0 {
            f32::from_bits(if up { 1 } else { 0x8000_0001 })
        } else {
            f32::from_bits((bits + step) as u32)
        }
    };
    if exact == x || x.is_nan() {
        return near;
    }
    match way {
        0 if exact.abs() > x.abs() => next(x < 0.0),
        -1 if exact > x => next(false),
        1 if exact < x => next(true),
        _ => near,
    }
}
pub fn min32(a: f32, b: f32) -> f32 {
    if a.is_nan() {
        b
    } else if b.is_nan() || a < b || (a == b && a.is_sign_negative()) {
        a
    } else {
        b
    }
}
pub fn max32(a: f32, b: f32) -> f32 {
    -min32(-a, -b)
}

pub fn parts(x: u64) -> (B, B) {
    (B::of(x & 0xffff), B::of(x >> 16 & 0xffff))
}
pub fn halves(x: u64) -> (H, H) {
    (H::of(x & 0xffff), H::of(x >> 16 & 0xffff))
}
pub fn join(low: u64, high: u64) -> u64 {
    low | high << 16
}
