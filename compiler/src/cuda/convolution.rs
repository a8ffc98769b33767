//! Convolutions as kernels: products of matrices whose operands are read where they lie (implicit GEMM), group by group; or, where each
//! input channel has outputs of its own, a thread for each element.
//!
//! | kind | rows | columns | steps |
//! |---|---|---|---|
//! | forward | output pixels | output channels | taps × input channels |
//! | data gradient | input pixels of one phase of the stride | input channels | taps that reach them × output channels |
//! | weight gradient | taps × input channels | output channels | output pixels |

mod direct;

use super::Printed;
use super::print::{Subject, Symbols};
use super::product::{Lie, Operand, Product, by_four, constant, is_multiple, starts_by_four, together};
use crate::graph::Dim;
use crate::plan::Kernel;
use weft_runtime::program::ConvolutionKind;

/// A convolution's dims; see `weft_runtime::program::Convolution`.
#[derive(Clone, Copy, Debug)]
struct Shape<'a> {
    n: &'a Dim,
    input: &'a [Dim; 2],
    output: &'a [Dim; 2],
    ci: &'a Dim,
    co: &'a Dim,
    kernel: &'a [Dim; 2],
    stride: [u32; 2],
    padding: &'a [Dim; 2],
    dilation: [u32; 2],
    groups: &'a Dim,
    splits: &'a Dim,
}

pub fn lower(subject: &Subject<'_>) -> Result<Printed, String> {
    let Kernel::Convolution {
        kind,
        n,
        input,
        output,
        input_channels: ci,
        output_channels: co,
        kernel,
        stride,
        padding,
        dilation,
        groups,
        splits,
    } = &subject.launch.kernel
    else {
        return Err("no convolution".into());
    };
    let (stride, dilation) = (*stride, *dilation);
    let shape = Shape { n, input, output, ci, co, kernel, stride, padding, dilation, groups, splits };
    if !groups.is(1) && groups == ci {
        return Ok(direct::lower(subject, *kind, &shape));
    }
    match kind {
        ConvolutionKind::Forward => shape.forward(subject),
        ConvolutionKind::Data => shape.data(subject),
        ConvolutionKind::Weights => shape.weights(subject),
    }
}

impl Shape<'_> {
    /// Channels of a group.
    fn of_group(&self, channels: &Dim) -> Dim {
        channels.exact_div(self.groups).unwrap_or_else(|| channels.floor_div(self.groups))
    }

    /// The names that texts of all three kinds use. `DEEP` and `WIDE` are the channels of a group.
    fn names(&self) -> Vec<(&'static str, Dim)> {
        let [ih, iw] = self.input;
        let [oh, ow] = self.output;
        let [kh, kw] = self.kernel;
        let [ph, pw] = self.padding;
        let fixed = |value: u32| Dim::from(i64::from(value));
        let [sh, sw] = self.stride.map(fixed);
        let [dh, dw] = self.dilation.map(fixed);
        let mut names: Vec<(&'static str, Dim)> = [
            ("IH", ih),
            ("IW", iw),
            ("CI", self.ci),
            ("OH", oh),
            ("OW", ow),
            ("CO", self.co),
            ("KH", kh),
            ("KW", kw),
        ]
        .map(|(name, dim)| (name, dim.clone()))
        .to_vec();
        names.extend([
            ("SH", sh),
            ("SW", sw),
            ("PH", ph.clone()),
            ("PW", pw.clone()),
            ("DH", dh),
            ("DW", dw),
        ]);
        names.extend([("DEEP", self.of_group(self.ci)), ("WIDE", self.of_group(self.co))]);
        names
    }

    /// A product with what all kinds have in common; one item for each group.
    fn product(&self, about: &str, lines: Vec<String>) -> Product {
        let none = Lie { along: false, near: false, together: 1 };
        let operand = || Operand { begins: String::new(), at: Vec::new(), lie: none };
        Product {
            about: about.into(),
            names: self.names(),
            rows: Dim::constant(0),
            cols: Dim::constant(0),
            steps: Dim::constant(0),
            items: self.groups.clone(),
            of_item: lines,
            own: None,
            a: operand(),
            b: operand(),
            c: String::new(),
            c_item: "0".into(),
            c_size: Dim::constant(0),
            parts: Dim::constant(1),
            c_row: Vec::new(),
            c_fours: false,
            scales: None,
        }
    }

    /// Where the channels of the item's group begin.
    fn group_of(&self, channels: &Dim, symbols: &mut Symbols) -> String {
        if self.groups.is(1) {
            return "0".into();
        }
        format!("group * {}", symbols.factor(&self.of_group(channels)))
    }

    /// How many channels of a slot lie together, within a group.
    fn together(&self, subject: &Subject<'_>, slot: usize, channels: &Dim) -> i64 {
        together(subject, slot, |number| {
            is_multiple(&self.of_group(channels), number) && is_multiple(channels, number)
        })
    }

    /// Where the result goes, which has so many channels.
    fn result(&self, product: &mut Product, subject: &Subject<'_>, channels: &Dim, symbols: &mut Symbols) {
        let stored = subject.launch.epilogue.is_none();
        // Results come last.
        let out = subject.launch.buffers.len() - 1;
        if stored {
            product.c = subject.name(out).into();
        }
        if !self.groups.is(1) {
            product.c_item = format!("group * {}", symbols.factor(&self.of_group(channels)));
        }
        product.c_fours = by_four(&self.of_group(channels))
            && by_four(channels)
            && (!stored || starts_by_four(subject, out));
    }

    fn forward(&self, subject: &Subject<'_>) -> Result<Printed, String> {
        let mut symbols = Symbols::default();
        let mut lines = Vec::new();
        let (deep, wide) = (self.of_group(self.ci), self.of_group(self.co));
        if !self.groups.is(1) {
            lines.push("const int group = item;".into());
        }
        let mut product =
            self.product("y[pixel, co] = sum over taps and ci of x[its pixel, ci] * w[tap, ci, co].", lines);
        product.rows = self.n.clone() * self.output[0].clone() * self.output[1].clone();
        product.cols = wide;
        product.steps = self.kernel[0].clone() * self.kernel[1].clone() * deep;
        product.a = Operand {
            begins: self.group_of(self.ci, &mut symbols),
            at: [
                "const int image = row / OW / OH, oy = row / OW % OH, ox = row % OW;",
                "const int tap = step / DEEP, ci = step % DEEP;",
                "const int iy = oy * SH + tap / KW * DH - PH, ix = ox * SW + tap % KW * DW - PW;",
                "return Place{((image * IH + iy) * IW + ix) * CI + ci, 0 <= iy && iy < IH && 0 <= ix && ix < IW};",
            ]
            .map(String::from)
            .to_vec(),
            lie: Lie { along: true, near: true, together: self.together(subject, 0, self.ci) },
        };
        product.b = Operand {
            begins: self.group_of(self.co, &mut symbols),
            at: vec!["return Place{step * CO + col, true};".into()],
            lie: Lie { along: false, near: true, together: self.together(subject, 1, self.co) },
        };
        self.result(&mut product, subject, self.co, &mut symbols);
        product.c_row = vec!["row * CO".into()];
        product.print(subject, symbols)
    }

    /// The pixels of dx whose place has the same remainder by the stride are reached by the same taps: they are a product of their own, so that
    /// only taps that can reach a pixel are run.
    fn data(&self, subject: &Subject<'_>) -> Result<Printed, String> {
        let mut symbols = Symbols::default();
        let mut lines = Vec::new();
        let (deep, wide) = (self.of_group(self.ci), self.of_group(self.co));
        let [sh, sw] = self.stride;
        let strided = sh * sw > 1;
        let phases = Dim::from(i64::from(sh) * i64::from(sw));
        if !self.groups.is(1) {
            let group = if strided { "item / (SH * SW)" } else { "item" };
            lines.push(format!("const int group = {group};"));
        }
        let text = if strided {
            let phase = if self.groups.is(1) { "item" } else { "item % (SH * SW)" };
            lines.push(format!("const int py = {phase} / SW, px = {phase} % SW;"));
            // Each phase has as many pixels, or it has those that are left to it.
            for (name, extent, stride, of) in [
                ("high", &self.input[0], sh, "(IH - py + SH - 1) / SH"),
                ("wide", &self.input[1], sw, "(IW - px + SW - 1) / SW"),
            ] {
                let even = extent.exact_div(&Dim::from(i64::from(stride)));
                lines.push(match even.filter(|even| even.as_constant().is_some()) {
                    Some(even) => constant(name, &even, &mut symbols),
                    None => format!("const Divisor {name}({of});"),
                });
            }
            lines.extend([
                "// Every so many taps reach a pixel, from the first one on.".into(),
                format!(
                    "constexpr int EY = {}, EX = {}, FY = {}, FX = {};",
                    sh / gcd(sh, self.dilation[0]),
                    sw / gcd(sw, self.dilation[1]),
                    self.dilation[0] / gcd(sh, self.dilation[0]),
                    self.dilation[1] / gcd(sw, self.dilation[1])
                ),
                "const int ty = first_tap(py + PH, SH, DH, KH), tx = first_tap(px + PW, SW, DW, KW);".into(),
                "const int taps_y = (KH - ty + EY - 1) / EY, taps_x = (KW - tx + EX - 1) / EX;".into(),
                "const Divisor across(taps_x);".into(),
                "const int by = (py + PH - ty * DH) / SH, bx = (px + PW - tx * DW) / SW;".into(),
            ]);
            [
                "const int image = row / wide / high, qy = row / wide % high, qx = row % wide;",
                "const int tap = step / WIDE, co = step % WIDE;",
                "const int oy = by + qy - tap / across * FY, ox = bx + qx - tap % across * FX;",
            ]
        } else {
            [
                "const int image = row / IW / IH, iy = row / IW % IH, ix = row % IW;",
                "const int tap = step / WIDE, co = step % WIDE;",
                "const int oy = iy + PH - tap / KW * DH, ox = ix + PW - tap % KW * DW;",
            ]
        };
        let inside = "return Place{((image * OH + oy) * OW + ox) * CO + co, 0 <= oy && oy < OH && 0 <= ox && ox < OW};";
        let mut product = self
            .product("dx[pixel, ci] = sum over taps and co of dy[its pixel, co] * w[tap, ci, co].", lines);
        let most = |extent: &Dim, stride: u32| extent.ceil_div(&Dim::from(i64::from(stride)));
        product.items = self.groups.clone() * phases;
        product.rows = self.n.clone() * most(&self.input[0], sh) * most(&self.input[1], sw);
        product.cols = deep;
        product.steps = self.kernel[0].clone() * self.kernel[1].clone() * wide;
        product.own = strided.then(|| {
            (format!("{} * high * wide", symbols.factor(self.n)), "taps_y * taps_x * WIDE".to_string())
        });
        product.a = Operand {
            begins: self.group_of(self.co, &mut symbols),
            at: text.into_iter().chain([inside]).map(String::from).collect(),
            lie: Lie { along: true, near: true, together: self.together(subject, 0, self.co) },
        };
        let tap = if strided { "((ty + tap / across * EY) * KW + tx + tap % across * EX)" } else { "tap" };
        product.b = Operand {
            begins: self.group_of(self.co, &mut symbols),
            at: vec![
                "const int tap = step / WIDE, co = step % WIDE;".into(),
                format!("return Place{{({tap} * DEEP + col) * CO + co, true}};"),
            ],
            lie: Lie { along: true, near: true, together: self.together(subject, 1, self.co) },
        };
        self.result(&mut product, subject, self.ci, &mut symbols);
        product.c_row = if strided {
            vec![
                "const int image = row / wide / high, qy = row / wide % high, qx = row % wide;".into(),
                "((image * IH + qy * SH + py) * IW + qx * SW + px) * CI".into(),
            ]
        } else {
            vec!["row * CI".into()]
        };
        product.print(subject, symbols)
    }

    fn weights(&self, subject: &Subject<'_>) -> Result<Printed, String> {
        let mut symbols = Symbols::default();
        let mut lines = Vec::new();
        let (deep, wide) = (self.of_group(self.ci), self.of_group(self.co));
        if !self.groups.is(1) {
            lines.push("const int group = item;".into());
        }
        let mut product = self
            .product("dw[tap, ci, co] = sum over pixels of y of x[its pixel, ci] * dy[pixel, co].", lines);
        product.rows = self.kernel[0].clone() * self.kernel[1].clone() * deep;
        product.cols = wide;
        product.steps = self.n.clone() * self.output[0].clone() * self.output[1].clone();
        product.a = Operand {
            begins: self.group_of(self.ci, &mut symbols),
            at: [
                "const int tap = row / DEEP, ci = row % DEEP;",
                "const int image = step / OW / OH, oy = step / OW % OH, ox = step % OW;",
                "const int iy = oy * SH + tap / KW * DH - PH, ix = ox * SW + tap % KW * DW - PW;",
                "return Place{((image * IH + iy) * IW + ix) * CI + ci, 0 <= iy && iy < IH && 0 <= ix && ix < IW};",
            ]
            .map(String::from)
            .to_vec(),
            lie: Lie { along: false, near: true, together: self.together(subject, 0, self.ci) },
        };
        product.b = Operand {
            begins: self.group_of(self.co, &mut symbols),
            at: vec!["return Place{step * CO + col, true};".into()],
            lie: Lie { along: false, near: true, together: self.together(subject, 1, self.co) },
        };
        self.result(&mut product, subject, self.co, &mut symbols);
        product.c_size = product.rows.clone() * self.co.clone();
        product.c_row = vec!["row * CO".into()];
        product.parts = self.splits.clone();
        product.print(subject, symbols)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
