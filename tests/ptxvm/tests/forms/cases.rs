//! Forms of instructions with what they mean, in plain Rust.
//!
//! A reference returns nothing where the PTX ISA leaves the result open.

use crate::values::*;

pub struct Case {
    pub body: &'static str,
    pub reference: fn(u64, u64, u64) -> Option<u64>,
    /// Whether a result is a NaN, of which the bits are not compared.
    pub nan: fn(u64) -> bool,
}

/// A case of one type for all operands: `case!(nan, "body", |a: t, b: t, c: t| result)`.
macro_rules! case {
    ($nan:ident, $body:expr, |$a:ident: $t:ty, $b:ident: $u:ty, $c:ident: $v:ty| where $cond:expr => $result:expr) => {
        Case {
            body: $body,
            reference: |x, y, z| {
                let ($a, $b, $c) = (<$t>::of(x), <$u>::of(y), <$v>::of(z));
                let _ = ($a, $b, $c);
                if $cond { Some(($result).bits()) } else { None }
            },
            nan: $nan,
        }
    };
    ($nan:ident, $body:expr, |$a:ident: $t:ty, $b:ident: $u:ty, $c:ident: $v:ty| $result:expr) => {
        Case {
            body: $body,
            reference: |x, y, z| {
                let ($a, $b, $c) = (<$t>::of(x), <$u>::of(y), <$v>::of(z));
                let _ = ($a, $b, $c);
                Some(($result).bits())
            },
            nan: $nan,
        }
    };
}

pub const CASES: &[Case] = &[
    // Whole numbers.
    case!(never, "add.s16 %h0, %h1, %h2;", |a: u16, b: u16, c: u16| a.wrapping_add(b)),
    case!(never, "add.u32 %r0, %r1, %r2;", |a: u32, b: u32, c: u32| a.wrapping_add(b)),
    case!(never, "add.s32 %r0, %r1, -5;", |a: u32, b: u32, c: u32| a.wrapping_sub(5)),
    case!(never, "add.s64 %d0, %d1, %d2;", |a: u64, b: u64, c: u64| a.wrapping_add(b)),
    case!(never, "add.sat.s32 %r0, %r1, %r2;", |a: i32, b: i32, c: i32| a.saturating_add(b)),
    case!(never, "sub.s16 %h0, %h1, %h2;", |a: u16, b: u16, c: u16| a.wrapping_sub(b)),
    case!(never, "sub.s32 %r0, %r1, %r2;", |a: u32, b: u32, c: u32| a.wrapping_sub(b)),
    case!(never, "sub.u64 %d0, %d1, %d2;", |a: u64, b: u64, c: u64| a.wrapping_sub(b)),
    case!(never, "sub.sat.s32 %r0, %r1, %r2;", |a: i32, b: i32, c: i32| a.saturating_sub(b)),
    case!(never, "mul.lo.s16 %h0, %h1, %h2;", |a: u16, b: u16, c: u16| a.wrapping_mul(b)),
    case!(never, "mul.lo.s32 %r0, %r1, %r2;", |a: u32, b: u32, c: u32| a.wrapping_mul(b)),
    case!(never, "mul.lo.s64 %d0, %d1, %d2;", |a: u64, b: u64, c: u64| a.wrapping_mul(b)),
    case!(never, "mul.hi.u16 %h0, %h1, %h2;", |a: u16, b: u16, c: u16| ((u32::from(a) * u32::from(b)) >> 16)
        as u16),
    case!(never, "mul.hi.s16 %h0, %h1, %h2;", |a: i16, b: i16, c: i16| ((i32::from(a) * i32::from(b)) >> 16)
        as i16),
    case!(never, "mul.hi.u32 %r0, %r1, %r2;", |a: u32, b: u32, c: u32| ((u64::from(a) * u64::from(b)) >> 32)
        as u32),
    case!(never, "mul.hi.s32 %r0, %r1, %r2;", |a: i32, b: i32, c: i32| ((i64::from(a) * i64::from(b)) >> 32)
        as i32),
    case!(never, "mul.hi.u64 %d0, %d1, %d2;", |a: u64, b: u64, c: u64| {
        ((u128::from(a) * u128::from(b)) >> 64) as u64
    }),
    case!(never, "mul.hi.s64 %d0, %d1, %d2;", |a: i64, b: i64, c: i64| {
        ((i128::from(a) * i128::from(b)) >> 64) as i64
    }),
    case!(never, "mul.wide.u16 %r0, %h1, %h2;", |a: u16, b: u16, c: u16| u32::from(a) * u32::from(b)),
    case!(never, "mul.wide.s16 %r0, %h1, %h2;", |a: i16, b: i16, c: i16| i32::from(a) * i32::from(b)),
    case!(never, "mul.wide.u32 %d0, %r1, %r2;", |a: u32, b: u32, c: u32| u64::from(a) * u64::from(b)),
    case!(never, "mul.wide.s32 %d0, %r1, %r2;", |a: i32, b: i32, c: i32| i64::from(a) * i64::from(b)),
    case!(never, "mul.wide.s32 %d0, %r1, -24;", |a: i32, b: i32, c: i32| i64::from(a) * -24),
    case!(never, "mad.lo.s16 %h0, %h1, %h2, %h3;", |a: u16, b: u16, c: u16| a
        .wrapping_mul(b)
        .wrapping_add(c)),
    case!(never, "mad.lo.s32 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: u32| a
        .wrapping_mul(b)
        .wrapping_add(c)),
    case!(never, "mad.lo.s64 %d0, %d1, %d2, %d3;", |a: u64, b: u64, c: u64| a
        .wrapping_mul(b)
        .wrapping_add(c)),
    case!(never, "mad.hi.u32 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: u32| {
        (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c)
    }),
    case!(never, "mad.hi.s32 %r0, %r1, %r2, %r3;", |a: i32, b: i32, c: i32| {
        (((i64::from(a) * i64::from(b)) >> 32) as i32).wrapping_add(c)
    }),
    case!(never, "mad.wide.u32 %d0, %r1, %r2, %d3;", |a: u32, b: u32, c: u64| {
        (u64::from(a) * u64::from(b)).wrapping_add(c)
    }),
    case!(never, "mad.wide.s32 %d0, %r1, %r2, %d3;", |a: i32, b: i32, c: i64| {
        (i64::from(a) * i64::from(b)).wrapping_add(c)
    }),
    case!(never, "mad.wide.s16 %r0, %h1, %h2, %r3;", |a: i16, b: i16, c: i32| {
        (i32::from(a) * i32::from(b)).wrapping_add(c)
    }),
    case!(never, "mul24.lo.s32 %r0, %r1, %r2;", |a: i32, b: i32, c: i32| (a << 8 >> 8)
        .wrapping_mul(b << 8 >> 8)),
    case!(never, "mad24.lo.u32 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: u32| {
        (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff).wrapping_add(c)
    }),
    case!(never, "sad.s32 %r0, %r1, %r2, %r3;", |a: i32, b: i32, c: u32| {
        ((i64::from(a) - i64::from(b)).unsigned_abs() as u32).wrapping_add(c)
    }),
    case!(never, "div.s16 %h0, %h1, %h2;", |a: i16, b: i16, c: i16| where b != 0 => a.wrapping_div(b)),
    case!(never, "div.u32 %r0, %r1, %r2;", |a: u32, b: u32, c: u32| where b != 0 => a / b),
    case!(never, "div.s32 %r0, %r1, %r2;", |a: i32, b: i32, c: i32| where b != 0 => a.wrapping_div(b)),
    case!(never, "div.s64 %d0, %d1, %d2;", |a: i64, b: i64, c: i64| where b != 0 => a.wrapping_div(b)),
    case!(never, "div.u64 %d0, %d1, %d2;", |a: u64, b: u64, c: u64| where b != 0 => a / b),
    case!(never, "rem.u32 %r0, %r1, %r2;", |a: u32, b: u32, c: u32| where b != 0 => a % b),
    case!(never, "rem.s32 %r0, %r1, %r2;", |a: i32, b: i32, c: i32| where b != 0 => a.wrapping_rem(b)),
    case!(never, "rem.s64 %d0, %d1, %d2;", |a: i64, b: i64, c: i64| where b != 0 => a.wrapping_rem(b)),
    case!(never, "rem.u16 %h0, %h1, %h2;", |a: u16, b: u16, c: u16| where b != 0 => a % b),
    case!(never, "min.s32 %r0, %r1, %r2;", |a: i32, b: i32, c: i32| a.min(b)),
    case!(never, "max.u32 %r0, %r1, %r2;", |a: u32, b: u32, c: u32| a.max(b)),
    case!(never, "min.u64 %d0, %d1, %d2;", |a: u64, b: u64, c: u64| a.min(b)),
    case!(never, "max.s64 %d0, %d1, %d2;", |a: i64, b: i64, c: i64| a.max(b)),
    case!(never, "max.s16 %h0, %h1, %h2;", |a: i16, b: i16, c: i16| a.max(b)),
    case!(never, "abs.s32 %r0, %r1;", |a: i32, b: i32, c: i32| a.wrapping_abs()),
    case!(never, "abs.s64 %d0, %d1;", |a: i64, b: i64, c: i64| a.wrapping_abs()),
    case!(never, "neg.s32 %r0, %r1;", |a: i32, b: i32, c: i32| a.wrapping_neg()),
    case!(never, "neg.s16 %h0, %h1;", |a: i16, b: i16, c: i16| a.wrapping_neg()),
    case!(
        never,
        "add.cc.u32 %r0, %r1, %r2; addc.u32 %r4, %r3, 0; mov.b64 %d0, {%r0, %r4}; mov.u32 %r0, 0;",
        |a: u32, b: u32, c: u32| {
            let sum = u64::from(a) + u64::from(b);
            (sum & 0xffff_ffff) | (u64::from(c.wrapping_add((sum >> 32) as u32)) << 32)
        }
    ),
    case!(
        never,
        "sub.cc.u32 %r0, %r1, %r2; subc.cc.u32 %r4, %r3, %r2; mov.b64 %d0, {%r0, %r4}; mov.u32 %r0, 0;",
        |a: u32, b: u32, c: u32| {
            (u64::from(a) | u64::from(c) << 32).wrapping_sub(u64::from(b) | u64::from(b) << 32)
        }
    ),
    case!(never, "add.cc.u64 %d0, %d1, %d2; addc.u64 %d0, %d3, %d3;", |a: u64, b: u64, c: u64| {
        c.wrapping_add(c).wrapping_add(u64::from(a.checked_add(b).is_none()))
    }),
    case!(
        never,
        "mad.lo.cc.u32 %r0, %r1, %r2, %r3; madc.hi.u32 %r4, %r1, %r2, 0; mov.b64 %d0, {%r0, %r4}; mov.u32 %r0, 0;",
        |a: u32, b: u32, c: u32| { u64::from(a) * u64::from(b) + u64::from(c) }
    ),
    // Bits.
    case!(never, "and.b32 %r0, %r1, %r2;", |a: u32, b: u32, c: u32| a & b),
    case!(never, "or.b64 %d0, %d1, %d2;", |a: u64, b: u64, c: u64| a | b),
    case!(never, "xor.b16 %h0, %h1, %h2;", |a: u16, b: u16, c: u16| a ^ b),
    case!(never, "not.b16 %h0, %h1;", |a: u16, b: u16, c: u16| !a),
    case!(never, "not.b32 %r0, %r1;", |a: u32, b: u32, c: u32| !a),
    case!(never, "not.b64 %d0, %d1;", |a: u64, b: u64, c: u64| !a),
    case!(never, "cnot.b32 %r0, %r1;", |a: u32, b: u32, c: u32| a == 0),
    case!(never, "shl.b16 %h0, %h1, %r2;", |a: u16, b: u32, c: u32| if b > 15 { 0 } else { a << b }),
    case!(never, "shl.b32 %r0, %r1, %r2;", |a: u32, b: u32, c: u32| if b > 31 { 0 } else { a << b }),
    case!(never, "shl.b64 %d0, %d1, %r2;", |a: u64, b: u32, c: u32| if b > 63 { 0 } else { a << b }),
    case!(never, "shr.u32 %r0, %r1, %r2;", |a: u32, b: u32, c: u32| if b > 31 { 0 } else { a >> b }),
    case!(never, "shr.s32 %r0, %r1, %r2;", |a: i32, b: u32, c: u32| a >> b.min(31)),
    case!(never, "shr.u64 %d0, %d1, %r2;", |a: u64, b: u32, c: u32| if b > 63 { 0 } else { a >> b }),
    case!(never, "shr.s64 %d0, %d1, %r2;", |a: i64, b: u32, c: u32| a >> b.min(63)),
    case!(never, "shr.s16 %h0, %h1, %r2;", |a: i16, b: u32, c: u32| a >> b.min(15)),
    case!(never, "shf.l.wrap.b32 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: u32| {
        if c & 31 == 0 { b } else { (b << (c & 31)) | (a >> (32 - (c & 31))) }
    }),
    case!(never, "shf.r.wrap.b32 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: u32| {
        if c & 31 == 0 { a } else { (b << (32 - (c & 31))) | (a >> (c & 31)) }
    }),
    case!(never, "shf.l.clamp.b32 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: u32| {
        match c.min(32) {
            0 => b,
            32 => a,
            n => (b << n) | (a >> (32 - n)),
        }
    }),
    case!(never, "shf.r.clamp.b32 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: u32| {
        match c.min(32) {
            0 => a,
            32 => b,
            n => (b << (32 - n)) | (a >> n),
        }
    }),
    case!(never, "prmt.b32 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: u32| {
        let bytes = [a.to_le_bytes(), b.to_le_bytes()].concat();
        let mut out = [0u8; 4];
        for (i, out) in out.iter_mut().enumerate() {
            let pick = (c >> (4 * i)) & 15;
            let byte = bytes[(pick & 7) as usize];
            *out = if pick & 8 == 0 {
                byte
            } else if byte & 128 != 0 {
                255
            } else {
                0
            };
        }
        u32::from_le_bytes(out)
    }),
    case!(never, "prmt.b32 %r0, %r1, %r2, 0x5410;", |a: u32, b: u32, c: u32| (a & 0xffff) | (b << 16)),
    case!(never, "prmt.b32.f4e %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: u32| {
        (((u64::from(b) << 32) | u64::from(a)) >> (8 * (c & 3))) as u32
    }),
    case!(never, "prmt.b32.rc8 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: u32| {
        ((a >> (8 * (c & 3))) & 255) * 0x0101_0101
    }),
    case!(never, "bfe.u32 %r0, %r1, %r2, %r3;", |a: u32, b: u8, c: u8| {
        let (start, length) = (u32::from(b), u32::from(c));
        let shifted = if start > 31 { 0 } else { a >> start };
        if length > 31 { shifted } else { shifted & ((1 << length) - 1) }
    }),
    case!(never, "bfe.s32 %r0, %r1, %r2, %r3;", |a: i32, b: u8, c: u8| {
        let (start, length) = (i32::from(b), i32::from(c));
        let mut out = 0i32;
        for i in 0..32 {
            let at = if i < length { start + i } else { start + length - 1 };
            let bit = if length == 0 {
                0
            } else if i < length && at > 31 {
                a >> 31 & 1
            } else {
                a >> at.min(31) & 1
            };
            out |= bit << i;
        }
        out
    }),
    case!(never, "bfe.u64 %d0, %d1, %r2, %r3;", |a: u64, b: u8, c: u8| {
        let (start, length) = (u32::from(b), u32::from(c));
        let shifted = if start > 63 { 0 } else { a >> start };
        if length > 63 { shifted } else { shifted & ((1 << length) - 1) }
    }),
    case!(never, "bfi.b32 %r0, %r1, %r2, %r3, 8;", |a: u32, b: u32, c: u8| {
        let start = u32::from(c);
        (0..32).fold(b, |out, i| {
            if i >= start && i < start + 8 {
                (out & !(1 << i)) | (((a >> (i - start)) & 1) << i)
            } else {
                out
            }
        })
    }),
    case!(never, "bfi.b64 %d0, %d1, %d2, 20, 33;", |a: u64, b: u64, c: u64| {
        let mask = ((1u64 << 33) - 1) << 20;
        (b & !mask) | ((a << 20) & mask)
    }),
    case!(never, "lop3.b32 %r0, %r1, %r2, %r3, 0x96;", |a: u32, b: u32, c: u32| a ^ b ^ c),
    case!(never, "lop3.b32 %r0, %r1, %r2, %r3, 0xE8;", |a: u32, b: u32, c: u32| (a & b) | (a & c) | (b & c)),
    case!(never, "lop3.b32 %r0, %r1, %r2, %r3, 0xCA;", |a: u32, b: u32, c: u32| (a & b) | (!a & c)),
    case!(never, "popc.b32 %r0, %r1;", |a: u32, b: u32, c: u32| a.count_ones()),
    case!(never, "popc.b64 %r0, %d1;", |a: u64, b: u32, c: u32| a.count_ones()),
    case!(never, "clz.b32 %r0, %r1;", |a: u32, b: u32, c: u32| a.leading_zeros()),
    case!(never, "clz.b64 %r0, %d1;", |a: u64, b: u32, c: u32| a.leading_zeros()),
    case!(never, "brev.b32 %r0, %r1;", |a: u32, b: u32, c: u32| a.reverse_bits()),
    case!(never, "brev.b64 %d0, %d1;", |a: u64, b: u32, c: u32| a.reverse_bits()),
    case!(never, "bfind.u32 %r0, %r1;", |a: u32, b: u32, c: u32| if a == 0 { u32::MAX } else { a.ilog2() }),
    case!(never, "bfind.s32 %r0, %r1;", |a: i32, b: u32, c: u32| {
        let a = if a < 0 { !a } else { a } as u32;
        if a == 0 { u32::MAX } else { a.ilog2() }
    }),
    case!(never, "bfind.shiftamt.u32 %r0, %r1;", |a: u32, b: u32, c: u32| {
        if a == 0 { u32::MAX } else { 31 - a.ilog2() }
    }),
    case!(never, "dp4a.s32.s32 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: i32| {
        let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
        (0..4).fold(c, |sum, i| sum.wrapping_add(i32::from(a[i] as i8) * i32::from(b[i] as i8)))
    }),
    case!(never, "dp4a.u32.u32 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: u32| {
        let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
        (0..4).fold(c, |sum, i| sum.wrapping_add(u32::from(a[i]) * u32::from(b[i])))
    }),
    case!(never, "dp4a.s32.u32 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: i32| {
        let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
        (0..4).fold(c, |sum, i| sum.wrapping_add(i32::from(a[i] as i8) * i32::from(b[i])))
    }),
    case!(never, "dp4a.u32.s32 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: i32| {
        let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
        (0..4).fold(c, |sum, i| sum.wrapping_add(i32::from(a[i]) * i32::from(b[i] as i8)))
    }),
    case!(never, "dp2a.lo.u32.u32 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: u32| {
        c.wrapping_add((a & 0xffff) * (b & 0xff)).wrapping_add((a >> 16) * (b >> 8 & 0xff))
    }),
    case!(never, "dp2a.hi.u32.u32 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: u32| {
        c.wrapping_add((a & 0xffff) * (b >> 16 & 0xff)).wrapping_add((a >> 16) * (b >> 24))
    }),
    case!(never, "dp2a.lo.s32.s32 %r0, %r1, %r2, %r3;", |a: i32, b: i32, c: i32| {
        c.wrapping_add((a << 16 >> 16) * (b << 24 >> 24)).wrapping_add((a >> 16) * (b << 16 >> 24))
    }),
    case!(never, "dp2a.hi.s32.s32 %r0, %r1, %r2, %r3;", |a: i32, b: i32, c: i32| {
        c.wrapping_add((a << 16 >> 16) * (b << 8 >> 24)).wrapping_add((a >> 16) * (b >> 24))
    }),
    case!(never, "dp2a.lo.s32.u32 %r0, %r1, %r2, %r3;", |a: i32, b: i32, c: i32| {
        c.wrapping_add((a << 16 >> 16) * (b & 0xff)).wrapping_add((a >> 16) * (b >> 8 & 0xff))
    }),
    case!(never, "dp2a.hi.u32.s32 %r0, %r1, %r2, %r3;", |a: u32, b: i32, c: i32| {
        let (low, high) = ((a & 0xffff) as i32, (a >> 16) as i32);
        c.wrapping_add(low * (b << 8 >> 24)).wrapping_add(high * (b >> 24))
    }),
    // Floats.
    case!(nan32, "add.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| a + b),
    case!(nan32, "add.ftz.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| flush(flush(a) + flush(b))),
    case!(nan32, "add.sat.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| saturate(a + b)),
    case!(nan32, "sub.rn.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| a - b),
    case!(nan32, "sub.ftz.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| flush(flush(a) - flush(b))),
    case!(nan32, "mul.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| a * b),
    case!(nan32, "mul.ftz.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| flush(flush(a) * flush(b))),
    case!(nan32, "mul.rz.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| toward(
        f64::from(a) * f64::from(b),
        0
    )),
    case!(nan32, "mul.rm.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| toward(
        f64::from(a) * f64::from(b),
        -1
    )),
    case!(nan32, "mul.rp.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| toward(
        f64::from(a) * f64::from(b),
        1
    )),
    case!(nan32, "fma.rn.f32 %r0, %r1, %r2, %r3;", |a: f32, b: f32, c: f32| a.mul_add(b, c)),
    case!(nan32, "fma.rn.ftz.f32 %r0, %r1, %r2, %r3;", |a: f32, b: f32, c: f32| {
        flush(flush(a).mul_add(flush(b), flush(c)))
    }),
    case!(nan32, "fma.rn.f32 %r0, %r1, 0f3F000000, %r3;", |a: f32, b: f32, c: f32| a.mul_add(0.5, c)),
    case!(nan32, "fma.rn.sat.f32 %r0, %r1, %r2, %r3;", |a: f32, b: f32, c: f32| saturate(a.mul_add(b, c))),
    case!(nan32, "div.rn.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| a / b),
    case!(nan32, "div.full.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| a / b),
    case!(nan32, "div.approx.ftz.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| flush(flush(a) / flush(b))),
    case!(nan32, "rcp.rn.f32 %r0, %r1;", |a: f32, b: f32, c: f32| 1.0 / a),
    case!(nan32, "rcp.approx.ftz.f32 %r0, %r1;", |a: f32, b: f32, c: f32| flush(1.0 / flush(a))),
    case!(nan32, "sqrt.rn.f32 %r0, %r1;", |a: f32, b: f32, c: f32| a.sqrt()),
    case!(nan32, "sqrt.approx.ftz.f32 %r0, %r1;", |a: f32, b: f32, c: f32| flush(a).sqrt()),
    case!(nan32, "rsqrt.approx.f32 %r0, %r1;", |a: f32, b: f32, c: f32| (1.0 / f64::from(a).sqrt()) as f32),
    case!(nan32, "ex2.approx.f32 %r0, %r1;", |a: f32, b: f32, c: f32| a.exp2()),
    case!(nan32, "ex2.approx.ftz.f32 %r0, %r1;", |a: f32, b: f32, c: f32| flush(flush(a).exp2())),
    case!(nan32, "lg2.approx.f32 %r0, %r1;", |a: f32, b: f32, c: f32| a.log2()),
    case!(nan32, "lg2.approx.ftz.f32 %r0, %r1;", |a: f32, b: f32, c: f32| flush(a).log2()),
    case!(nan32, "sin.approx.f32 %r0, %r1;", |a: f32, b: f32, c: f32| a.sin()),
    case!(nan32, "cos.approx.f32 %r0, %r1;", |a: f32, b: f32, c: f32| a.cos()),
    case!(nan32, "tanh.approx.f32 %r0, %r1;", |a: f32, b: f32, c: f32| a.tanh()),
    case!(nan32, "abs.f32 %r0, %r1;", |a: f32, b: f32, c: f32| a.abs()),
    case!(nan32, "neg.f32 %r0, %r1;", |a: f32, b: f32, c: f32| -a),
    case!(nan32, "neg.ftz.f32 %r0, %r1;", |a: f32, b: f32, c: f32| -flush(a)),
    case!(nan32, "min.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| min32(a, b)),
    case!(nan32, "max.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| max32(a, b)),
    case!(nan32, "max.ftz.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| max32(flush(a), flush(b))),
    case!(nan32, "min.NaN.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| {
        if a.is_nan() || b.is_nan() { f32::NAN } else { min32(a, b) }
    }),
    case!(nan32, "max.NaN.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| {
        if a.is_nan() || b.is_nan() { f32::NAN } else { max32(a, b) }
    }),
    case!(nan32, "copysign.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: f32| b.copysign(a)),
    case!(nan64, "add.f64 %d0, %d1, %d2;", |a: f64, b: f64, c: f64| a + b),
    case!(nan64, "sub.f64 %d0, %d1, %d2;", |a: f64, b: f64, c: f64| a - b),
    case!(nan64, "mul.rn.f64 %d0, %d1, %d2;", |a: f64, b: f64, c: f64| a * b),
    case!(nan64, "fma.rn.f64 %d0, %d1, %d2, %d3;", |a: f64, b: f64, c: f64| a.mul_add(b, c)),
    case!(nan64, "div.rn.f64 %d0, %d1, %d2;", |a: f64, b: f64, c: f64| a / b),
    case!(nan64, "sqrt.rn.f64 %d0, %d1;", |a: f64, b: f64, c: f64| a.sqrt()),
    case!(nan64, "rcp.rn.f64 %d0, %d1;", |a: f64, b: f64, c: f64| 1.0 / a),
    case!(nan64, "abs.f64 %d0, %d1;", |a: f64, b: f64, c: f64| a.abs()),
    case!(nan64, "neg.f64 %d0, %d1;", |a: f64, b: f64, c: f64| -a),
    case!(nan64, "min.f64 %d0, %d1, %d2;", |a: f64, b: f64, c: f64| where a != b => a.min(b)),
    case!(nan64, "max.f64 %d0, %d1, %d2;", |a: f64, b: f64, c: f64| where a != b => a.max(b)),
    // Narrow floats: an f64 holds sums and products of f16, and sums of bf16 of like sizes.
    case!(nan16, "add.f16 %h0, %h1, %h2;", |a: H, b: H, c: H| H(a.0 + b.0)),
    case!(nan16, "sub.f16 %h0, %h1, %h2;", |a: H, b: H, c: H| H(a.0 - b.0)),
    case!(nan16, "mul.f16 %h0, %h1, %h2;", |a: H, b: H, c: H| H(a.0 * b.0)),
    case!(nan16, "fma.rn.f16 %h0, %h1, %h2, %h3;", |a: H, b: H, c: H| where (a.0 * b.0).abs() > 1e-6 => H(a.0.mul_add(b.0, c.0))),
    case!(nan16, "neg.f16 %h0, %h1;", |a: H, b: H, c: H| H(-a.0)),
    case!(nan16, "abs.f16 %h0, %h1;", |a: H, b: H, c: H| H(a.0.abs())),
    case!(nan16, "max.f16 %h0, %h1, %h2;", |a: H, b: H, c: H| where a.0 != b.0 => H(a.0.max(b.0))),
    case!(nan16, "min.f16 %h0, %h1, %h2;", |a: H, b: H, c: H| where a.0 != b.0 => H(a.0.min(b.0))),
    case!(nan_brain, "add.bf16 %h0, %h1, %h2;", |a: B, b: B, c: B| B(a.0 + b.0)),
    case!(nan_brain, "mul.bf16 %h0, %h1, %h2;", |a: B, b: B, c: B| B(a.0 * b.0)),
    case!(nan_brain, "neg.bf16 %h0, %h1;", |a: B, b: B, c: B| B(-a.0)),
    case!(nan_brain, "abs.bf16 %h0, %h1;", |a: B, b: B, c: B| B(a.0.abs())),
    case!(nan_brain, "max.bf16 %h0, %h1, %h2;", |a: B, b: B, c: B| where a.0 != b.0 => B(max32(a.0, b.0))),
    Case {
        body: "mul.bf16x2 %r0, %r1, %r2;",
        reference: |a, b, _| {
            let ((a0, a1), (b0, b1)) = (parts(a), parts(b));
            let (low, high) = (a0.0 * b0.0, a1.0 * b1.0);
            if low.is_nan() || high.is_nan() { None } else { Some(join(B(low).bits(), B(high).bits())) }
        },
        nan: never,
    },
    Case {
        body: "add.f16x2 %r0, %r1, %r2;",
        reference: |a, b, _| {
            let ((a0, a1), (b0, b1)) = (halves(a), halves(b));
            let (low, high) = (a0.0 + b0.0, a1.0 + b1.0);
            if low.is_nan() || high.is_nan() { None } else { Some(join(H(low).bits(), H(high).bits())) }
        },
        nan: never,
    },
    Case {
        body: "fma.rn.relu.f16x2 %r0, %r1, %r2, %r3;",
        reference: |a, b, c| {
            let ((a0, a1), (b0, b1), (c0, c1)) = (halves(a), halves(b), halves(c));
            let (low, high) = (a0.0.mul_add(b0.0, c0.0), a1.0.mul_add(b1.0, c1.0));
            if low.is_nan() || high.is_nan() || (a0.0 * b0.0).abs() < 1e-6 || (a1.0 * b1.0).abs() < 1e-6 {
                return None;
            }
            let relu = |x: f64| if x > 0.0 { x } else { 0.0 };
            Some(join(H(relu(low)).bits(), H(relu(high)).bits()))
        },
        nan: never,
    },
    // Conversions.
    case!(never, "cvt.u16.u32 %h0, %r1;", |a: u16, b: u32, c: u32| a),
    case!(never, "cvt.s32.s16 %r0, %h1;", |a: i16, b: u32, c: u32| i32::from(a)),
    case!(never, "cvt.u32.u16 %r0, %h1;", |a: u16, b: u32, c: u32| u32::from(a)),
    case!(never, "cvt.s32.s8 %r0, %r1;", |a: i8, b: u32, c: u32| i32::from(a)),
    case!(never, "cvt.u32.u8 %r0, %r1;", |a: u8, b: u32, c: u32| u32::from(a)),
    case!(never, "cvt.s16.s8 %h0, %h1;", |a: i8, b: u32, c: u32| i16::from(a)),
    case!(never, "cvt.s8.s32 %r0, %r1;", |a: i8, b: u32, c: u32| i32::from(a)),
    case!(never, "cvt.s64.s32 %d0, %r1;", |a: i32, b: u32, c: u32| i64::from(a)),
    case!(never, "cvt.u64.u32 %d0, %r1;", |a: u32, b: u32, c: u32| u64::from(a)),
    case!(never, "cvt.u32.u64 %r0, %d1;", |a: u64, b: u32, c: u32| a as u32),
    case!(never, "cvt.s64.s16 %d0, %h1;", |a: i16, b: u32, c: u32| i64::from(a)),
    case!(never, "cvt.sat.s8.s32 %r0, %r1;", |a: i32, b: u32, c: u32| a.clamp(-128, 127)),
    case!(never, "cvt.sat.u8.s32 %r0, %r1;", |a: i32, b: u32, c: u32| a.clamp(0, 255)),
    case!(never, "cvt.sat.s16.s32 %h0, %r1;", |a: i32, b: u32, c: u32| a.clamp(-32768, 32767) as i16),
    case!(never, "cvt.sat.s32.s64 %r0, %d1;", |a: i64, b: u32, c: u32| a
        .clamp(i32::MIN.into(), i32::MAX.into())
        as i32),
    case!(nan32, "cvt.rn.f32.s32 %r0, %r1;", |a: i32, b: u32, c: u32| a as f32),
    case!(nan32, "cvt.rn.f32.u32 %r0, %r1;", |a: u32, b: u32, c: u32| a as f32),
    case!(nan32, "cvt.rn.f32.s64 %r0, %d1;", |a: i64, b: u32, c: u32| a as f32),
    case!(nan32, "cvt.rn.f32.u64 %r0, %d1;", |a: u64, b: u32, c: u32| a as f32),
    case!(nan32, "cvt.rn.f32.u8 %r0, %r1;", |a: u8, b: u32, c: u32| f32::from(a)),
    case!(nan32, "cvt.rn.f32.s16 %r0, %h1;", |a: i16, b: u32, c: u32| f32::from(a)),
    case!(nan32, "cvt.rz.f32.s32 %r0, %r1;", |a: i32, b: u32, c: u32| toward(a.into(), 0)),
    case!(nan32, "cvt.rp.f32.u32 %r0, %r1;", |a: u32, b: u32, c: u32| toward(a.into(), 1)),
    case!(nan64, "cvt.rn.f64.s32 %d0, %r1;", |a: i32, b: u32, c: u32| f64::from(a)),
    case!(nan64, "cvt.rn.f64.u64 %d0, %d1;", |a: u64, b: u32, c: u32| a as f64),
    case!(nan64, "cvt.rn.f64.s64 %d0, %d1;", |a: i64, b: u32, c: u32| a as f64),
    case!(nan16, "cvt.rn.f16.s32 %h0, %r1;", |a: i32, b: u32, c: u32| H(a.into())),
    case!(never, "cvt.rzi.s32.f32 %r0, %r1;", |a: f32, b: u32, c: u32| a as i32),
    case!(never, "cvt.rzi.u32.f32 %r0, %r1;", |a: f32, b: u32, c: u32| a as u32),
    case!(never, "cvt.rni.s32.f32 %r0, %r1;", |a: f32, b: u32, c: u32| a.round_ties_even() as i32),
    case!(never, "cvt.rmi.s32.f32 %r0, %r1;", |a: f32, b: u32, c: u32| a.floor() as i32),
    case!(never, "cvt.rpi.s32.f32 %r0, %r1;", |a: f32, b: u32, c: u32| a.ceil() as i32),
    case!(never, "cvt.rzi.ftz.s32.f32 %r0, %r1;", |a: f32, b: u32, c: u32| flush(a) as i32),
    case!(never, "cvt.rzi.s64.f32 %d0, %r1;", |a: f32, b: u32, c: u32| a as i64),
    case!(never, "cvt.rzi.u64.f64 %d0, %d1;", |a: f64, b: u32, c: u32| a as u64),
    case!(never, "cvt.rzi.s32.f64 %r0, %d1;", |a: f64, b: u32, c: u32| a as i32),
    case!(never, "cvt.rni.s64.f64 %d0, %d1;", |a: f64, b: u32, c: u32| a.round_ties_even() as i64),
    case!(never, "cvt.rzi.u8.f32 %r0, %r1;", |a: f32, b: u32, c: u32| a as u8),
    case!(never, "cvt.rzi.s8.f32 %r0, %r1;", |a: f32, b: u32, c: u32| i32::from(a as i8)),
    case!(never, "cvt.rzi.s16.f32 %h0, %r1;", |a: f32, b: u32, c: u32| a as i16),
    case!(never, "cvt.rzi.s32.f16 %r0, %h1;", |a: H, b: u32, c: u32| a.0 as i32),
    case!(nan32, "cvt.rni.f32.f32 %r0, %r1;", |a: f32, b: u32, c: u32| a.round_ties_even()),
    case!(nan32, "cvt.rmi.f32.f32 %r0, %r1;", |a: f32, b: u32, c: u32| a.floor()),
    case!(nan32, "cvt.rpi.f32.f32 %r0, %r1;", |a: f32, b: u32, c: u32| a.ceil()),
    case!(nan32, "cvt.rzi.f32.f32 %r0, %r1;", |a: f32, b: u32, c: u32| a.trunc()),
    case!(nan64, "cvt.rni.f64.f64 %d0, %d1;", |a: f64, b: u32, c: u32| a.round_ties_even()),
    case!(nan32, "cvt.sat.f32.f32 %r0, %r1;", |a: f32, b: u32, c: u32| saturate(a)),
    case!(nan32, "cvt.ftz.f32.f32 %r0, %r1;", |a: f32, b: u32, c: u32| flush(a)),
    case!(nan32, "cvt.rn.f32.f64 %r0, %d1;", |a: f64, b: u32, c: u32| a as f32),
    case!(nan32, "cvt.rz.f32.f64 %r0, %d1;", |a: f64, b: u32, c: u32| where a.abs() < 1e38 && a.abs() > 1e-37 => toward(a, 0)),
    case!(nan64, "cvt.f64.f32 %d0, %r1;", |a: f32, b: u32, c: u32| f64::from(a)),
    case!(nan32, "cvt.f32.f16 %r0, %h1;", |a: H, b: u32, c: u32| a.0 as f32),
    case!(nan32, "cvt.f32.bf16 %r0, %h1;", |a: B, b: u32, c: u32| a.0),
    case!(nan64, "cvt.f64.f16 %d0, %h1;", |a: H, b: u32, c: u32| a.0),
    case!(nan16, "cvt.rn.f16.f32 %h0, %r1;", |a: f32, b: u32, c: u32| H(a.into())),
    case!(nan16, "cvt.rn.f16.f64 %h0, %d1;", |a: f64, b: u32, c: u32| H(a)),
    case!(nan_brain, "cvt.rn.bf16.f32 %h0, %r1;", |a: f32, b: u32, c: u32| B(a)),
    case!(nan_brain, "cvt.rz.bf16.f32 %h0, %r1;", |a: f32, b: u32, c: u32| {
        if a.is_nan() { 0x7fff } else { (a.to_bits() >> 16) as u16 }
    }),
    case!(nan_brain, "cvt.rn.relu.bf16.f32 %h0, %r1;", |a: f32, b: u32, c: u32| where !a.is_nan() => B(if a > 0.0 { a } else { 0.0 })),
    Case {
        body: "cvt.rn.bf16x2.f32 %r0, %r1, %r2;",
        reference: |a, b, _| {
            let (a, b) = (f32::of(a), f32::of(b));
            if a.is_nan() || b.is_nan() { None } else { Some(join(B(b).bits(), B(a).bits())) }
        },
        nan: never,
    },
    Case {
        body: "cvt.rn.f16x2.f32 %r0, %r1, %r2;",
        reference: |a, b, _| {
            let (a, b) = (f32::of(a), f32::of(b));
            if a.is_nan() || b.is_nan() { None } else { Some(join(H(b.into()).bits(), H(a.into()).bits())) }
        },
        nan: never,
    },
    case!(nan32, "cvt.rna.tf32.f32 %r0, %r1;", |a: f32, b: u32, c: u32| where a.is_finite() => {
        (a.to_bits() + 0x1000) & 0xffff_e000
    }),
    // Moves.
    case!(never, "mov.b64 %d0, {%r1, %r2};", |a: u32, b: u32, c: u32| u64::from(a) | u64::from(b) << 32),
    case!(never, "mov.b32 %r0, {%h1, %h2};", |a: u16, b: u16, c: u32| u32::from(a) | u32::from(b) << 16),
    case!(never, "mov.b64 {%r0, %r4}, %d1;", |a: u32, b: u32, c: u32| a),
    case!(never, "mov.b64 {_, %r0}, %d1;", |a: u64, b: u32, c: u32| (a >> 32) as u32),
    case!(never, "mov.b32 {%h4, %h0}, %r1;", |a: u32, b: u32, c: u32| (a >> 16) as u16),
    case!(never, "mov.b64 %d0, {%h1, %h2, %h3, %h1};", |a: u16, b: u16, c: u16| {
        u64::from(a) | u64::from(b) << 16 | u64::from(c) << 32 | u64::from(a) << 48
    }),
    case!(never, "{ .reg .b32 %r1; mov.u32 %r1, 7; add.s32 %r0, %r1, %r2; }", |a: u32, b: u32, c: u32| b
        .wrapping_add(7)),
    // Comparisons and choices.
    case!(never, "setp.lt.s32 %p1, %r1, %r2; selp.b32 %r0, 1, 0, %p1;", |a: i32, b: i32, c: u32| a < b),
    case!(never, "setp.ge.u32 %p1, %r1, %r2; selp.b32 %r0, 1, 0, %p1;", |a: u32, b: u32, c: u32| a >= b),
    case!(never, "setp.hi.u64 %p1, %d1, %d2; selp.b32 %r0, 1, 0, %p1;", |a: u64, b: u64, c: u32| a > b),
    case!(never, "setp.le.s64 %p1, %d1, %d2; selp.b32 %r0, 1, 0, %p1;", |a: i64, b: i64, c: u32| a <= b),
    case!(never, "setp.ne.s16 %p1, %h1, %h2; selp.b32 %r0, 1, 0, %p1;", |a: i16, b: i16, c: u32| a != b),
    case!(never, "setp.eq.f32 %p1, %r1, %r2; selp.b32 %r0, 1, 0, %p1;", |a: f32, b: f32, c: u32| a == b),
    case!(never, "setp.ne.f32 %p1, %r1, %r2; selp.b32 %r0, 1, 0, %p1;", |a: f32, b: f32, c: u32| {
        a != b && !a.is_nan() && !b.is_nan()
    }),
    case!(never, "setp.gt.ftz.f32 %p1, %r1, %r2; selp.b32 %r0, 1, 0, %p1;", |a: f32, b: f32, c: u32| flush(
        a
    )
        > flush(b)),
    case!(never, "setp.neu.f32 %p1, %r1, %r2; selp.b32 %r0, 1, 0, %p1;", |a: f32, b: f32, c: u32| a != b),
    case!(never, "setp.ltu.f32 %p1, %r1, %r2; selp.b32 %r0, 1, 0, %p1;", |a: f32, b: f32, c: u32| {
        a < b || a.is_nan() || b.is_nan()
    }),
    case!(never, "setp.geu.f32 %p1, %r1, %r2; selp.b32 %r0, 1, 0, %p1;", |a: f32, b: f32, c: u32| {
        a >= b || a.is_nan() || b.is_nan()
    }),
    case!(never, "setp.equ.f32 %p1, %r1, %r2; selp.b32 %r0, 1, 0, %p1;", |a: f32, b: f32, c: u32| {
        a == b || a.is_nan() || b.is_nan()
    }),
    case!(never, "setp.nan.f32 %p1, %r1, %r2; selp.b32 %r0, 1, 0, %p1;", |a: f32, b: f32, c: u32| {
        a.is_nan() || b.is_nan()
    }),
    case!(never, "setp.num.f64 %p1, %d1, %d2; selp.b32 %r0, 1, 0, %p1;", |a: f64, b: f64, c: u32| {
        !a.is_nan() && !b.is_nan()
    }),
    case!(never, "setp.lt.f64 %p1, %d1, %d2; selp.b32 %r0, 1, 0, %p1;", |a: f64, b: f64, c: u32| a < b),
    case!(never, "setp.gt.f16 %p1, %h1, %h2; selp.b32 %r0, 1, 0, %p1;", |a: H, b: H, c: u32| a.0 > b.0),
    case!(never, "setp.le.bf16 %p1, %h1, %h2; selp.b32 %r0, 1, 0, %p1;", |a: B, b: B, c: u32| a.0 <= b.0),
    case!(never, "setp.lt.s32 %p1|%p2, %r1, %r2; selp.b32 %r0, 1, 0, %p2;", |a: i32, b: i32, c: u32| a >= b),
    case!(
        never,
        "setp.ne.s32 %p3, %r3, 0; setp.lt.and.s32 %p1, %r1, %r2, %p3; selp.b32 %r0, 1, 0, %p1;",
        |a: i32, b: i32, c: u32| a < b && c != 0
    ),
    case!(
        never,
        "setp.ne.s32 %p3, %r3, 0; setp.lt.xor.s32 %p1, %r1, %r2, !%p3; selp.b32 %r0, 1, 0, %p1;",
        |a: i32, b: i32, c: u32| (a < b) != (c == 0)
    ),
    case!(never, "set.gt.u32.s32 %r0, %r1, %r2;", |a: i32, b: i32, c: u32| if a > b { u32::MAX } else { 0 }),
    case!(never, "set.le.f32.f32 %r0, %r1, %r2;", |a: f32, b: f32, c: u32| if a <= b { 1f32 } else { 0f32 }),
    case!(never, "set.gt.f16.f16 %h0, %h1, %h2;", |a: H, b: H, c: u32| H(if a.0 > b.0 { 1.0 } else { 0.0 })),
    case!(never, "set.nan.bf16.bf16 %h0, %h1, %h2;", |a: B, b: B, c: u32| {
        B(if a.0.is_nan() || b.0.is_nan() { 1.0 } else { 0.0 })
    }),
    Case {
        body: "{.reg.b16 low, high; set.lt.bf16x2.bf16x2 %r0, %r1, %r2; mov.b32 {low, high}, %r0; mov.b32 %r0, {low, high};}",
        reference: |a, b, _| {
            let ((a0, a1), (b0, b1)) = (parts(a), parts(b));
            let one = |passed| if passed { 0x3f80 } else { 0 };
            Some(join(one(a0.0 < b0.0), one(a1.0 < b1.0)))
        },
        nan: never,
    },
    Case {
        body: "setp.ge.f16x2 %p1|%p2, %r1, %r2; selp.b32 %r0, 1, 0, %p1; selp.b32 %r4, 2, 0, %p2; or.b32 %r0, %r0, %r4;",
        reference: |a, b, _| {
            let ((a0, a1), (b0, b1)) = (halves(a), halves(b));
            Some(u64::from(a0.0 >= b0.0) | u64::from(a1.0 >= b1.0) << 1)
        },
        nan: never,
    },
    case!(never, "slct.b32.s32 %r0, %r1, %r2, %r3;", |a: u32, b: u32, c: i32| if c >= 0 { a } else { b }),
    case!(never, "testp.finite.f32 %p1, %r1; selp.b32 %r0, 1, 0, %p1;", |a: f32, b: f32, c: f32| a
        .is_finite()),
    case!(never, "testp.subnormal.f32 %p1, %r1; selp.b32 %r0, 1, 0, %p1;", |a: f32, b: f32, c: f32| a
        .is_subnormal()),
    // Predicates and guards.
    case!(
        never,
        "setp.lt.s32 %p1, %r1, %r2; setp.lt.s32 %p2, %r2, %r3; and.pred %p3, %p1, %p2; selp.b32 %r0, 1, 0, %p3;",
        |a: i32, b: i32, c: i32| a < b && b < c
    ),
    case!(
        never,
        "setp.lt.s32 %p1, %r1, %r2; not.pred %p2, %p1; @%p1 mov.u32 %r0, %r1; @%p2 mov.u32 %r0, %r3;",
        |a: i32, b: i32, c: i32| if a < b { a } else { c }
    ),
    case!(never, "setp.lt.s32 %p1, %r1, %r2; @!%p1 mov.u32 %r0, %r3;", |a: i32, b: i32, c: i32| if a < b {
        0
    } else {
        c
    }),
    case!(
        never,
        "setp.lt.s32 %p1, %r1, %r2; mov.pred %p2, %p1; selp.b32 %r0, %r1, %r2, %p2;",
        |a: i32, b: i32, c: i32| a.min(b)
    ),
    // Branches.
    case!(
        never,
        "and.b32 %r1, %r1, 15; mov.u32 %r2, 0;\nL: setp.eq.s32 %p1, %r1, 0; @%p1 bra M; add.s32 %r2, %r2, %r1; sub.s32 %r1, %r1, 1; bra.uni L;\nM: mov.u32 %r0, %r2;",
        |a: u32, b: u32, c: u32| (a & 15) * ((a & 15) + 1) / 2
    ),
    case!(
        never,
        "and.b32 %r1, %r1, 3; T: .branchtargets A, B, C, D; brx.idx %r1, T;\nA: mov.u32 %r0, 10; bra E;\nB: mov.u32 %r0, 20; bra E;\nC: mov.u32 %r0, %r2; bra E;\nD: mov.u32 %r0, %r3;\nE: add.s32 %r0, %r0, 1;",
        |a: u32, b: u32, c: u32| { [10, 20, b, c][a as usize & 3].wrapping_add(1) }
    ),
];
