//! Every form of an instruction against a scalar reference, on random and on peculiar operands.

#[path = "forms/cases.rs"]
mod cases;
#[path = "forms/values.rs"]
mod values;

use cases::{CASES, Case};
use ptxvm::gpu::{Argument, Gpu};

/// A kernel that gives the body three operands in registers of each width, and stores what it leaves in `%d0`, `%r0`
/// or `%h0` (the others being zero).
fn kernel(name: &str, body: &str) -> String {
    format!(
        ".visible .entry {name}(.param .u64 in, .param .u64 out) {{
            .reg .b64 %d<8>; .reg .b64 %a<8>; .reg .b32 %r<8>; .reg .b16 %h<8>; .reg .pred %p<4>;
            ld.param.u64 %a1, [in]; ld.param.u64 %a2, [out];
            mov.u32 %r0, %ctaid.x; mov.u32 %r1, %ntid.x; mov.u32 %r2, %tid.x; mad.lo.s32 %r0, %r0, %r1, %r2;
            mul.wide.u32 %a3, %r0, 24; add.s64 %a1, %a1, %a3;
            mul.wide.u32 %a3, %r0, 8; add.s64 %a2, %a2, %a3;
            ld.global.u64 %d1, [%a1]; ld.global.u64 %d2, [%a1+8]; ld.global.u64 %d3, [%a1+16];
            cvt.u32.u64 %r1, %d1; cvt.u32.u64 %r2, %d2; cvt.u32.u64 %r3, %d3;
            cvt.u16.u64 %h1, %d1; cvt.u16.u64 %h2, %d2; cvt.u16.u64 %h3, %d3;
            mov.u64 %d0, 0; mov.u32 %r0, 0; mov.u16 %h0, 0;
            {body}
            cvt.u64.u32 %a4, %r0; cvt.u64.u16 %a5, %h0; or.b64 %d0, %d0, %a4; or.b64 %d0, %d0, %a5;
            st.global.u64 [%a2], %d0;
            ret;
        }}\n"
    )
}

/// Operands: every pair of peculiar ones, and random ones of all magnitudes.
fn operands() -> Vec<u64> {
    const PECULIAR: [u64; 22] = [
        0,
        1,
        2,
        31,
        32,
        63,
        0xff,
        0x7fff,
        0x8000,
        0xffff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0001,
        0x0000_0007,
        0x8040_0000,
        0x3f80_0000,
        0x7ff0_0000_0000_0000,
        0x8000_0000_0000_0000,
        0xffff_ffff_ffff_ffff,
    ];
    let mut out = Vec::new();
    for a in PECULIAR {
        for b in PECULIAR {
            out.extend([a, b, a.rotate_left(7) ^ b]);
        }
    }
    let mut seed = 0x1234_5678_9abc_def1u64;
    let mut draw = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    while out.len() < 3 * 2048 {
        // Floats of ordinary sizes in the lower and the upper half, shifts, whole numbers of all lengths.
        let float = |x: u64| {
            (x & 0x807f_ffff_807f_ffff)
                | (0x3d00_0000_3d00_0000 + ((x & 0x0500_0000_0700_0000) & !0x8000_0000))
        };
        let half = |x: u64| (x & 0x83ff_83ff_83ff_83ff) | 0x3800_3800_3800_3800;
        let (a, b, c) = (draw(), draw(), draw());
        match out.len() / 3 % 4 {
            0 => out.extend([float(a), float(b), float(c)]),
            1 => out.extend([a >> (b % 64), b >> (c % 64), c >> (a % 64)]),
            2 => out.extend([half(a), half(b), half(c)]),
            _ => out.extend([a, b % 70, c % 70]),
        }
    }
    out
}

#[test]
fn every_form_agrees_with_its_reference() {
    let mut gpu = Gpu::default();
    let values = operands();
    let count = values.len() / 3;
    let (input, output) = (gpu.upload(&values), gpu.allocate(count as u64 * 8));
    let mut wrong = Vec::new();
    for Case { body, reference, nan } in CASES {
        let text = format!(".version 9.0\n.target sm_80\n.address_size 64\n{}", kernel("k", body));
        let module = match gpu.load(&text) {
            Ok(module) => module,
            Err(error) => {
                wrong.push(format!("{body}\n    is refused: {error:?}"));
                continue;
            }
        };
        let arguments = [Argument::U64(input), Argument::U64(output)];
        gpu.launch(&module.kernels["k"], [count as u32 / 64, 1, 1], [64, 1, 1], 0, &arguments).unwrap();
        let found: Vec<u64> = gpu.download(output, count);
        for (operands, found) in values.chunks(3).zip(found) {
            let [a, b, c] = [operands[0], operands[1], operands[2]];
            let Some(wanted) = reference(a, b, c) else { continue };
            if found != wanted && !(nan(found) && nan(wanted)) {
                wrong.push(format!("{body}\n    of {a:#x}, {b:#x}, {c:#x}: {found:#x} and not {wanted:#x}"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} forms:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
    assert!(CASES.len() > 150);
}
