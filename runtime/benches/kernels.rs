//! What the kernels reach on one core, at the sizes of small models, as a share of the measured peak.
//!
//! `cargo bench --bench kernels -- [PART OF A NAME [LEVEL]]`, where a level is `portable`, `avx2` or `avx512`. The least of many runs is shown, warm in the caches as in a training step.

use std::hint::black_box;
use std::time::{Duration, Instant};
use weft_runtime::kernels::index::Stray;
use weft_runtime::kernels::math::{MathFunction, Random, Unary, table_at};
use weft_runtime::kernels::{Bound, isa::Level, peak};
use weft_runtime::program::*;

/// How long each kernel is measured.
const DURATION: Duration = Duration::from_millis(120);

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let filter = arguments.next().unwrap_or_default();
    let wanted = arguments.next();
    let level = Level::available().into_iter().find(|level| wanted.as_deref() == Some(level.name()));
    let level = level.unwrap_or(Level::best());
    let roof = peak::fma_peak_gflops(1);
    println!(
        "{}, peak {roof:.1} GFLOP/s a core, {:.1} GB/s read",
        Level::best().name(),
        peak::read_bandwidth_gbs(1)
    );
    let mut bench = Bench { filter, level, roof };
    for n in [64, 1] {
        for (input, ci, co) in [([28, 28], 1, 32), ([13, 13], 32, 64), ([5, 5], 64, 64)] {
            bench.convolutions(n, input, ci, co, 3, 0, 1);
        }
    }
    bench.convolutions(8, [32, 32], 3, 64, 3, 1, 1);
    bench.convolutions(8, [16, 16], 64, 64, 3, 1, 1);
    bench.convolutions(8, [16, 16], 64, 128, 3, 1, 2);
    bench.convolutions(8, [14, 14], 32, 3, 3, 1, 1);
    bench.depthwise(8, [16, 16], 64);
    for batch in [64, 256, 1] {
        for (input, output) in [(576, 64), (64, 10), (784, 64), (64, 32), (32, 64), (64, 784)] {
            bench.dense(batch, input, output);
        }
    }
    bench.dense(512, 512, 512);
    for (input, output) in [(384, 384), (384, 1536), (1536, 384)] {
        bench.dense(3072, input, output);
    }
    bench.dense(512, 512, 32128);
    bench.dense(1, 2048, 2048);
    bench.math();
}

/// A table of dims in the making.
#[derive(Default)]
struct Dims(Vec<i64>);

impl Dims {
    fn add(&mut self, value: usize) -> DimIndex {
        self.0.push(value as i64);
        DimIndex(self.0.len() as u32 - 1)
    }

    fn stride(&mut self, extent: usize, a: usize, b: usize, c: usize) -> Stride {
        Stride { extent: self.add(extent), a: Some(self.add(a)), b: Some(self.add(b)), c: Some(self.add(c)) }
    }
}

struct Bench {
    filter: String,
    level: Level,
    roof: f64,
}

impl Bench {
    /// The least time of a run, if the name passes the filter.
    fn time(&self, name: &str, mut work: impl FnMut()) -> Option<f64> {
        if !name.contains(&self.filter) {
            return None;
        }
        work();
        let (start, mut least) = (Instant::now(), f64::INFINITY);
        while start.elapsed() < DURATION {
            let once = Instant::now();
            work();
            least = least.min(once.elapsed().as_secs_f64());
        }
        Some(least)
    }

    /// Runs a kernel over its whole index space, in as many tasks as a segment would have.
    fn kernel(&mut self, name: &str, kernel: Kernel, dims: &Dims, sizes: [usize; 3], flops: usize) {
        let bound = Bound::bind_at(&kernel, &dims.0, self.level).expect("the kernel binds");
        let mut storage = sizes.map(|size| vec![0.5f32; size + 16]);
        let buffers = storage.each_mut().map(|buffer| {
            let address = buffer.as_mut_ptr().cast::<u8>();
            address.wrapping_add(address.align_offset(64))
        });
        let mut scratch = vec![0u8; bound.scratch_bytes() + 64];
        let scratch = scratch.as_mut_ptr().wrapping_add(scratch.as_ptr().align_offset(64));
        let stray = Stray::default();
        for tasks in [1, 8] {
            let name = format!("{name} ({tasks})");
            let seconds = self.time(&name, || {
                for task in 0..tasks {
                    let at = |task| bound.extent() * task / tasks;
                    // SAFETY: the buffers have the sizes of the kernel's doc.
                    unsafe { bound.run(&buffers, at(task), at(task + 1), scratch, &stray) };
                }
            });
            if let Some(seconds) = seconds {
                let rate = flops as f64 / seconds / 1e9;
                println!(
                    "{name:58} {:9.2} µs {rate:7.1} GFLOP/s {:4.0}%",
                    seconds * 1e6,
                    100.0 * rate / self.roof
                );
            }
        }
    }

    fn convolutions(
        &mut self,
        n: usize,
        input: [usize; 2],
        ci: usize,
        co: usize,
        k: usize,
        padding: usize,
        stride: usize,
    ) {
        let output = input.map(|size| (size + 2 * padding - k) / stride + 1);
        let sizes = [
            n * input[0] * input[1] * ci,
            k * k * ci.next_multiple_of(32) * co,
            n * output[0] * output[1] * co,
        ];
        let flops = 2 * n * output[0] * output[1] * k * k * ci * co;
        for (kind, order) in [
            (ConvolutionKind::Forward, [0, 1, 2]),
            (ConvolutionKind::Data, [2, 1, 0]),
            (ConvolutionKind::Weights, [0, 2, 1]),
        ] {
            let mut d = Dims::default();
            let convolution = convolution(&mut d, kind, n, input, output, [ci, co, 1], k, padding, stride);
            let name = format!(
                "{kind:?} n{n} {}x{}x{ci} -> {}x{}x{co} k{k}",
                input[0], input[1], output[0], output[1]
            );
            self.kernel(&name, Kernel::Convolution(convolution), &d, order.map(|i| sizes[i]), flops);
        }
    }

    fn depthwise(&mut self, n: usize, input: [usize; 2], c: usize) {
        let sizes = [n * input[0] * input[1] * c, 9 * c, n * input[0] * input[1] * c];
        for (kind, order) in [
            (ConvolutionKind::Forward, [0, 1, 2]),
            (ConvolutionKind::Data, [2, 1, 0]),
            (ConvolutionKind::Weights, [0, 2, 1]),
        ] {
            let mut d = Dims::default();
            let convolution = convolution(&mut d, kind, n, input, input, [c, c, c], 3, 1, 1);
            let name = format!("{kind:?} depthwise n{n} {}x{}x{c} k3", input[0], input[1]);
            let flops = 2 * 9 * n * input[0] * input[1] * c;
            self.kernel(&name, Kernel::Convolution(convolution), &d, order.map(|i| sizes[i]), flops);
        }
    }

    /// The three contractions of a dense layer, and its forward from packed weights.
    fn dense(&mut self, batch: usize, input: usize, output: usize) {
        let flops = 2 * batch * input * output;
        let (x, w, y) = (batch * input, input * output.next_multiple_of(32), batch * output);
        let w_packed = w.max(output * input.next_multiple_of(32));
        let shape = format!("n{batch} {input} -> {output}");
        for (what, packed) in [("Dense", false), ("Dense packed", true)] {
            let mut d = Dims::default();
            let contraction = Contraction {
                batch: vec![],
                m: vec![d.stride(batch, input, 0, output)],
                k: vec![d.stride(input, 1, output, 0)],
                n: d.stride(output, 0, 1, 1),
                packed,
                kept: DType::F32,
                partition: if batch == 1 { Partition::Tiles } else { Partition::Rows },
                splits: 1,
                adds: false,
            };
            self.kernel(&format!("{what} {shape}"), Kernel::Contraction(contraction), &d, [x, w, y], flops);
        }
        let mut d = Dims::default();
        let contraction = Contraction {
            batch: vec![],
            m: vec![d.stride(batch, output, 0, input)],
            k: vec![d.stride(output, 1, 0, 0)],
            n: d.stride(input, 0, 1, 1),
            packed: true,
            kept: DType::F32,
            partition: if batch == 1 { Partition::Tiles } else { Partition::Rows },
            splits: 1,
            adds: false,
        };
        self.kernel(
            &format!("Dense dX {shape}"),
            Kernel::Contraction(contraction),
            &d,
            [y, w_packed, x],
            flops,
        );
        let mut d = Dims::default();
        let contraction = Contraction {
            batch: vec![],
            m: vec![d.stride(input, 1, 0, output)],
            k: vec![d.stride(batch, input, output, 0)],
            n: d.stride(output, 0, 1, 1),
            packed: false,
            kept: DType::F32,
            partition: Partition::Tiles,
            splits: 1,
            adds: false,
        };
        self.kernel(&format!("Dense dW {shape}"), Kernel::Contraction(contraction), &d, [x, y, w], flops);
    }

    fn math(&mut self) {
        const N: usize = 4096;
        let src: Vec<f32> = (0..N).map(|i| 0.1 + i as f32 * 0.001).collect();
        let mut dst = vec![0.0f32; N];
        use MathFunction::*;
        for function in [Exp, Expm1, Log, Log1p, Tanh, Sigmoid, Erf, Sin, Cos] {
            // SAFETY: the table holds unary functions of f32 at these places.
            let call = unsafe {
                std::mem::transmute::<*const (), Unary<f32>>(table_at(self.level)[function as usize])
            };
            let name = format!("{function:?}");
            // SAFETY: both slices hold N elements.
            let seconds = self.time(&name, || unsafe { call(dst.as_mut_ptr(), black_box(&src).as_ptr(), N) });
            if let Some(seconds) = seconds {
                println!("{name:58} {:9.3} ns an element", seconds * 1e9 / N as f64);
            }
        }
        for function in [Uniform, Normal] {
            // SAFETY: the table holds random functions of f32 at these places.
            let call = unsafe {
                std::mem::transmute::<*const (), Random<f32>>(table_at(self.level)[function as usize])
            };
            let name = format!("{function:?}");
            // SAFETY: the slice holds N elements.
            let seconds =
                self.time(&name, || unsafe { call(dst.as_mut_ptr(), 0, N, black_box(&[1, 2]).as_ptr(), 3) });
            if let Some(seconds) = seconds {
                println!("{name:58} {:9.3} ns an element", seconds * 1e9 / N as f64);
            }
        }
    }
}

fn convolution(
    d: &mut Dims,
    kind: ConvolutionKind,
    n: usize,
    input: [usize; 2],
    output: [usize; 2],
    [ci, co, groups]: [usize; 3],
    k: usize,
    padding: usize,
    stride: usize,
) -> Convolution {
    Convolution {
        kind,
        n: d.add(n),
        input: input.map(|x| d.add(x)),
        output: output.map(|x| d.add(x)),
        input_channels: d.add(ci),
        output_channels: d.add(co),
        kernel: [d.add(k), d.add(k)],
        stride: [stride as u32; 2],
        padding: [d.add(padding), d.add(padding)],
        dilation: [1; 2],
        groups: d.add(groups),
        splits: d.add(1),
    }
}
