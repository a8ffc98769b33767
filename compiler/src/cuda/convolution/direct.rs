//! Depthwise convolutions: each input channel has outputs of its own (`co / groups` of them), so there is no product of matrices, and all that
//! counts is that neighbouring threads read neighbouring channels.

use super::Shape;
use crate::cuda::Printed;
use crate::cuda::print::{Lines, Subject, Symbols};
use crate::cuda::product::{constant, constants};
use crate::graph::Dim;
use weft_runtime::program::ConvolutionKind;

/// Threads of a block.
const THREADS: i64 = 256;
/// Channels of a weight gradient's block: as many as make a line of memory. And taps of it, which a thread keeps a sum for each of.
const CHANNELS: i64 = 32;
const TAPS: i64 = 32;

pub fn lower(subject: &Subject<'_>, kind: ConvolutionKind, shape: &Shape<'_>) -> Printed {
    let mut symbols = Symbols::default();
    let mut out = Lines::new();
    let (x, w, y) = (subject.name(0), subject.name(1), subject.name(2));
    let [oh, ow] = shape.output;
    let [ih, iw] = shape.input;
    let mut grid = |size: Dim, out: &mut Lines| {
        out.line(format!("const int at = blockIdx.x * {THREADS} + threadIdx.x;"));
        out.line(format!("if (at >= {}) return;", symbols.dim(&size)));
        [size.ceil_div(&Dim::constant(THREADS)), Dim::constant(1), Dim::constant(1)]
    };
    let grid = match kind {
        ConvolutionKind::Forward => {
            out.line(
                "// y[pixel, co] = sum over taps of x[its pixel, ci] * w[tap, co], an element a thread.",
            );
            let grid = grid(shape.n.clone() * oh.clone() * ow.clone() * shape.co.clone(), &mut out);
            out.line("const int co = at % CO, ox = at / CO % OW, oy = at / (CO * OW) % OH, image = at / (CO * OW * OH);");
            out.line("float sum = 0.0f;");
            out.open("for (int ky = 0; ky < KH; ++ky)");
            out.line("const int iy = oy * SH + ky * DH - PH;");
            out.line("if (iy < 0 || iy >= IH) continue;");
            out.open("for (int kx = 0; kx < KW; ++kx)");
            out.line("const int ix = ox * SW + kx * DW - PW;");
            out.line("if (ix < 0 || ix >= IW) continue;");
            out.line(format!(
                "sum = fmaf({x}[((image * IH + iy) * IW + ix) * CI + co / EACH], {w}[(ky * KW + kx) * CO + co], sum);"
            ));
            out.close();
            out.close();
            out.line(format!("{y}[at] = sum;"));
            grid
        }
        ConvolutionKind::Data => {
            out.line("// dx[pixel, ci] = sum over taps and co of dy[its pixel, co] * w[tap, co], an element a thread.");
            let grid = grid(shape.n.clone() * ih.clone() * iw.clone() * shape.ci.clone(), &mut out);
            out.line("const int ci = at % CI, ix = at / CI % IW, iy = at / (CI * IW) % IH, image = at / (CI * IW * IH);");
            out.line("float sum = 0.0f;");
            out.open("for (int ky = 0; ky < KH; ++ky)");
            out.line("const int oy = (iy + PH - ky * DH) / SH;");
            out.line("if (iy + PH - ky * DH != oy * SH || oy < 0 || oy >= OH) continue;");
            out.open("for (int kx = 0; kx < KW; ++kx)");
            out.line("const int ox = (ix + PW - kx * DW) / SW;");
            out.line("if (ix + PW - kx * DW != ox * SW || ox < 0 || ox >= OW) continue;");
            out.open("for (int co = ci * EACH; co < ci * EACH + EACH; ++co)");
            out.line(format!(
                "sum = fmaf({x}[((image * OH + oy) * OW + ox) * CO + co], {w}[(ky * KW + kx) * CO + co], sum);"
            ));
            out.close();
            out.close();
            out.close();
            out.line(format!("{y}[at] = sum;"));
            grid
        }
        ConvolutionKind::Weights => {
            let dy = w;
            let size = shape.kernel[0].clone() * shape.kernel[1].clone();
            let taps = size.as_constant().map_or(TAPS, |taps| taps.clamp(1, TAPS));
            // Few channels leave room for more lines side by side.
            let wanted = shape.co.as_constant().unwrap_or(CHANNELS).clamp(1, CHANNELS);
            let channels = wanted.unsigned_abs().next_power_of_two().cast_signed();
            let groups = THREADS / channels;
            out.line(format!(
                "// dw[tap, co] = sum over pixels of y of x[its pixel, ci] * dy[pixel, co]: {channels} channels of up to {taps} taps a block,"
            ));
            out.line("// whose groups of threads take neighbouring lines of pixels; their sums are added up in order.");
            let lines = symbols.dim(&(shape.n.clone() * oh.clone()));
            if shape.splits.is(1) {
                out.line(format!("const int first = 0, last = {lines};"));
            } else {
                out.line(constant("PARTS", shape.splits, &mut symbols));
                out.line(format!("const int lines = {lines}, part = (lines + PARTS - 1) / PARTS;"));
                out.line("const int first = blockIdx.z * part, last = min(first + part, lines);");
            }
            out.line(format!(
                "const int co = blockIdx.x * {channels} + threadIdx.x % {channels}, group = threadIdx.x / {channels};"
            ));
            out.line(format!(
                "const int each = (last - first + {}) / {groups}, from = first + group * each;",
                groups - 1
            ));
            let tap = if size.as_constant() == Some(taps) { "t" } else { "tap + t" };
            if tap != "t" {
                out.line(format!("const int tap = blockIdx.y * {taps};"));
            }
            out.line(format!("float sums[{taps}] = {{}};"));
            out.open("for (int line = from; co < CO && line < min(from + each, last); ++line)");
            out.line("const int image = line / OH, oy = line % OH;");
            out.open("for (int ox = 0; ox < OW; ++ox)");
            out.line(format!("const float value = {dy}[(line * OW + ox) * CO + co];"));
            out.line("#pragma unroll");
            out.open(format!("for (int t = 0; t < {taps}; ++t)"));
            out.line(format!(
                "const int iy = oy * SH + ({tap}) / KW * DH - PH, ix = ox * SW + ({tap}) % KW * DW - PW;"
            ));
            out.line("if (iy < 0 || iy >= IH || ix < 0 || ix >= IW) continue;");
            out.line(format!(
                "sums[t] = fmaf({x}[((image * IH + iy) * IW + ix) * CI + co / EACH], value, sums[t]);"
            ));
            out.close();
            out.close();
            out.close();
            out.line("#pragma unroll");
            out.open(format!("for (int t = 0; t < {taps}; ++t)"));
            out.line(format!("const float sum = fold_columns<Sum, {channels}, {groups}>(sums[t]);"));
            let there = if tap == "t" { "" } else { " && tap + t < KH * KW" };
            out.line(format!(
                "if (group == 0 && co < CO{there}) {y}[(blockIdx.z * KH * KW + {tap}) * CO + co] = sum;"
            ));
            out.close();
            let rest = size.ceil_div(&Dim::constant(taps));
            [shape.co.ceil_div(&Dim::constant(channels)), rest, shape.splits.clone()]
        }
    };
    let body = out.finish();
    // Of each input channel.
    let names: Vec<_> = shape.names().into_iter().chain([("EACH", shape.of_group(shape.co))]).collect();
    let mut head = Lines::new();
    for line in constants(&names, std::slice::from_ref(&body), &mut symbols) {
        head.line(line);
    }
    Printed {
        body: head.finish() + &body,
        parameters: subject.parameters(),
        symbols: symbols.list,
        threads: THREADS as u32,
        shared: 0,
        grid,
        indexed: None,
        libraries: Vec::new(),
    }
}
