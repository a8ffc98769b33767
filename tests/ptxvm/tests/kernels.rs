//! Kernels as NVRTC 13.0 compiled them (`data/*.cu` beside the PTX) against plain Rust.

use ptxvm::gpu::{Argument, Gpu};
use ptxvm::module::Module;

const ROWS: &str = include_str!("data/rows.ptx");
const GEMM: &str = include_str!("data/gemm.ptx");
const TENSOR: &str = include_str!("data/tensor.ptx");
const STEPS: &str = include_str!("data/steps.ptx");

fn gpu(ptx: &str, seed: u64) -> (Gpu, Module) {
    let mut gpu = Gpu::default();
    gpu.limits.seed = seed;
    let module = gpu.load(ptx).unwrap();
    (gpu, module)
}

/// Numbers in [-1, 1) that a hash draws.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let draw = |i: u32| {
        let mut x = (i ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
        x ^= x >> 13;
        x = x.wrapping_mul(0xc2b2_ae35);
        ((x >> 8) as f32) / (1 << 23) as f32 - 1.0
    };
    (0..count as u32).map(draw).collect()
}

fn to_brain(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

fn of_brain(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[test]
fn tiles_of_a_product_in_shared_memory() {
    let (m, n, k) = (45, 70, 50);
    let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
    for seed in [0, 1, 2] {
        let (mut gpu, module) = gpu(GEMM, seed);
        let (at, bt, ct) = (gpu.upload(&a), gpu.upload(&b), gpu.allocate((m * n * 4) as u64));
        let arguments = [
            Argument::U64(at),
            Argument::U64(bt),
            Argument::U64(ct),
            Argument::I32(m as i32),
            Argument::I32(n as i32),
            Argument::I32(k as i32),
        ];
        gpu.limits.counting = true;
        let counts = gpu.launch(&module.kernels["sgemm"], [3, 2, 1], [32, 8, 1], 0, &arguments).unwrap();
        let c: Vec<f32> = gpu.download(ct, m * n);
        for i in 0..m {
            for j in 0..n {
                // The kernel sums in this order, each product fused.
                let wanted = (0..k).fold(0f32, |sum, x| a[i * k + x].mul_add(b[x * n + j], sum));
                assert_eq!(c[i * n + j], wanted, "{i}, {j}");
            }
        }
        // Every thread fuses 4 · 32 products for each of two tiles, of 6 blocks of 256 threads.
        assert_eq!(counts.flops, 2 * 4 * 32 * 2 * 6 * 256);
        assert_eq!(counts.bytes, [(m * k + k * n) as u64 * 4, (m * n) as u64 * 4]);
        assert!(counts.sectors[0] * 32 >= counts.bytes[0] && counts.loads.keys().eq([4u32].iter()));
    }
}

#[test]
fn a_product_of_bf16_through_asynchronous_copies_and_tensor_cores() {
    for (m, n, k) in [(64, 64, 64), (70, 72, 104), (16, 8, 16)] {
        let a: Vec<u16> = numbers(m * k, 3).into_iter().map(to_brain).collect();
        let b: Vec<u16> = numbers(k * n, 4).into_iter().map(to_brain).collect();
        let (mut gpu, module) = gpu(TENSOR, 5);
        let (at, bt, ct) = (gpu.upload(&a), gpu.upload(&b), gpu.allocate((m * n * 4) as u64));
        let arguments = [
            Argument::U64(at),
            Argument::U64(bt),
            Argument::U64(ct),
            Argument::I32(m as i32),
            Argument::I32(n as i32),
            Argument::I32(k as i32),
        ];
        let grid = [n.div_ceil(64) as u32, m.div_ceil(64) as u32, 1];
        gpu.launch(&module.kernels["bf16_gemm"], grid, [128, 1, 1], 0, &arguments).unwrap();
        let c: Vec<f32> = gpu.download(ct, m * n);
        for i in 0..m {
            for j in 0..n {
                let product =
                    |x: usize| f64::from(of_brain(a[i * k + x])) * f64::from(of_brain(b[x * n + j]));
                let wanted: f64 = (0..k).map(product).sum();
                assert!(
                    (f64::from(c[i * n + j]) - wanted).abs() < 1e-5,
                    "{i}, {j}: {}, {wanted}",
                    c[i * n + j]
                );
            }
        }
    }
}

#[test]
fn tiles_of_tf32() {
    let (a, b, c) = (numbers(128, 5), numbers(64, 6), numbers(128, 7));
    let (mut gpu, module) = gpu(TENSOR, 0);
    let arguments = [gpu.upload(&a), gpu.upload(&b), gpu.upload(&c), gpu.allocate(512)];
    let d = arguments[3];
    let arguments = arguments.map(Argument::U64);
    let counts = gpu.launch(&module.kernels["tf32_tile"], [1, 1, 1], [32, 1, 1], 0, &arguments).unwrap();
    assert_eq!(counts.flops, 2 * 16 * 8 * 8);
    let d: Vec<f32> = gpu.download(d, 128);
    // Ten bits of mantissa, ties away from zero.
    let tf32 = |x: f32| f64::from(f32::from_bits((x.to_bits() + 0x1000) & 0xffff_e000));
    for i in 0..16 {
        for j in 0..8 {
            let sum: f64 = (0..8).map(|k| tf32(a[i * 8 + k]) * tf32(b[k * 8 + j])).sum();
            assert_eq!(d[i * 8 + j], (sum + f64::from(c[i * 8 + j])) as f32, "{i}, {j}");
        }
    }
}

#[test]
fn tiles_of_bytes_and_of_f16_sums() {
    let (mut gpu, module) = gpu(TENSOR, 0);
    let bytes = |count, seed| numbers(count, seed).into_iter().map(|x| (x * 127.0) as i8).collect::<Vec<_>>();
    let (a, b) = (bytes(16 * 32, 8), bytes(8 * 32, 9));
    let c: Vec<i32> = (0..128).map(|i| i * 1000 - 7).collect();
    let arguments = [gpu.upload(&a), gpu.upload(&b), gpu.upload(&c), gpu.allocate(512)];
    let d = arguments[3];
    gpu.launch(&module.kernels["s8_tile"], [1, 1, 1], [32, 1, 1], 0, &arguments.map(Argument::U64)).unwrap();
    let d: Vec<i32> = gpu.download(d, 128);
    for i in 0..16 {
        for j in 0..8 {
            let sum: i32 = (0..32).map(|k| i32::from(a[i * 32 + k]) * i32::from(b[j * 32 + k])).sum();
            assert_eq!(d[i * 8 + j], sum + c[i * 8 + j], "{i}, {j}");
        }
    }
    // Small whole numbers are exact in f16: 0x3c00 is 1, 0x4000 is 2, 0x4200 is 3.
    let halves = [0u16, 0x3c00, 0x4000, 0x4200];
    let a: Vec<u16> = (0..128).map(|i| halves[(i * 7 + i / 8) % 4]).collect();
    let b: Vec<u16> = (0..64).map(|i| halves[(i * 5 + i / 3) % 4]).collect();
    let arguments = [gpu.upload(&a), gpu.upload(&b), gpu.allocate(256)];
    let d = arguments[2];
    gpu.launch(&module.kernels["f16_tile"], [1, 1, 1], [32, 1, 1], 0, &arguments.map(Argument::U64)).unwrap();
    let d: Vec<u16> = gpu.download(d, 128);
    let value = |bits: u16| halves.iter().position(|h| *h == bits).unwrap() as u32;
    for i in 0..16 {
        for j in 0..8 {
            let sum: u32 = (0..8).map(|k| value(a[i * 8 + k]) * value(b[j * 8 + k])).sum();
            // The bits of a whole number below 2048.
            let wanted = if sum == 0 {
                0
            } else {
                let top = sum.ilog2();
                ((15 + top) << 10) | ((sum << (10 - top)) & 0x3ff)
            };
            assert_eq!(u32::from(d[i * 8 + j]), wanted, "{i}, {j}: {sum}");
        }
    }
}

#[test]
fn pairs_of_narrow_floats() {
    let (mut gpu, module) = gpu(TENSOR, 0);
    let x: Vec<u16> = numbers(100, 10).into_iter().map(to_brain).collect();
    // f16's bits of k / 64 for small k.
    let u: Vec<u16> = (0..100u16).map(|i| if i == 0 { 0 } else { 0x2400 + 37 * i }).collect();
    let of_half = |bits: u16| {
        let (exponent, mantissa) = ((bits >> 10) & 31, bits & 0x3ff);
        if exponent == 0 {
            f64::from(mantissa) / 16777216.0
        } else {
            (1.0 + f64::from(mantissa) / 1024.0) * 2f64.powi(i32::from(exponent) - 15)
        }
    };
    let (xt, ut) = (gpu.upload(&x), gpu.upload(&u));
    let (yt, vt) = (gpu.allocate(200), gpu.allocate(200));
    let arguments =
        [Argument::U64(xt), Argument::U64(yt), Argument::U64(ut), Argument::U64(vt), Argument::I32(50)];
    gpu.launch(&module.kernels["halves"], [1, 1, 1], [64, 1, 1], 0, &arguments).unwrap();
    let (y, v): (Vec<u16>, Vec<u16>) = (gpu.download(yt, 100), gpu.download(vt, 100));
    for i in 0..100 {
        // One rounding; the sum of the product and 1 is exact in f64.
        assert_eq!(y[i], to_brain(of_brain(x[i]).mul_add(0.75, 1.0)), "bf16 {i}");
        // The result's distance from the exact one is at most half a step of each of the two roundings.
        let wanted = of_half(u[i]) * 0.75 + 1.0;
        assert!((of_half(v[i]) - wanted).abs() <= wanted / 1024.0, "f16 {i}: {} {wanted}", of_half(v[i]));
    }
}

#[test]
fn norms_of_rows() {
    let x = numbers(7 * 200, 11);
    for seed in [0, 9] {
        let (mut gpu, module) = gpu(STEPS, seed);
        let (xt, yt) = (gpu.upload(&x), gpu.allocate(7 * 800));
        let arguments = [Argument::U64(xt), Argument::U64(yt), Argument::I32(200)];
        gpu.launch(&module.kernels["layer_norm"], [7, 1, 1], [96, 1, 1], 0, &arguments).unwrap();
        let y: Vec<f32> = gpu.download(yt, 7 * 200);
        for (x, y) in x.chunks(200).zip(y.chunks(200)) {
            let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / 200.0;
            let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / 200.0;
            for (x, y) in x.iter().zip(y) {
                let wanted = (f64::from(*x) - mean) / (variance + 1e-5).sqrt();
                assert!((f64::from(*y) - wanted).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn atomic_operations_in_both_memories() {
    let x: Vec<i32> = (0..1000).map(|i| (i * 7919) % 1013).collect();
    for seed in [0, 3] {
        let (mut gpu, module) = gpu(STEPS, seed);
        let xt = gpu.upload(&x);
        let (counts, most, warps, sum) =
            (gpu.upload(&[0i32; 16]), gpu.upload(&[0i32]), gpu.upload(&[0u32]), gpu.upload(&[0f64]));
        let arguments = [
            Argument::U64(xt),
            Argument::I32(1000),
            Argument::U64(counts),
            Argument::U64(most),
            Argument::U64(warps),
            Argument::U64(sum),
        ];
        gpu.launch(&module.kernels["histogram"], [4, 1, 1], [256, 1, 1], 0, &arguments).unwrap();
        let wanted: Vec<i32> = (0..16).map(|b| x.iter().filter(|x| **x & 15 == b).count() as i32).collect();
        assert_eq!(gpu.download::<i32>(counts, 16), wanted);
        assert_eq!(gpu.download::<i32>(most, 1), [*x.iter().max().unwrap()]);
        assert_eq!(gpu.download::<f64>(sum, 1), [x.iter().map(|x| f64::from(*x)).sum::<f64>()]);
        let odd = x.chunks(32).filter(|w| w.iter().any(|x| x & 1 == 1)).count();
        assert_eq!(gpu.download::<u32>(warps, 1), [odd as u32]);
    }
}

#[test]
fn a_struct_of_parameters_that_is_read_by_index() {
    let (mut gpu, module) = gpu(STEPS, 0);
    let lengths = [5usize, 300, 64];
    let mut bytes = Vec::new();
    let p: Vec<Vec<f32>> = lengths.iter().map(|n| numbers(*n, 20 + *n as u32)).collect();
    let g: Vec<Vec<f32>> = lengths.iter().map(|n| numbers(*n, 40 + *n as u32)).collect();
    let pt: Vec<u64> = p.iter().map(|p| gpu.upload(p)).collect();
    let gt: Vec<u64> = g.iter().map(|g| gpu.upload(g)).collect();
    let mt: Vec<u64> = lengths.iter().map(|n| gpu.upload(&vec![0f32; *n])).collect();
    let vt: Vec<u64> = lengths.iter().map(|n| gpu.upload(&vec![0f32; *n])).collect();
    for address in [&pt, &gt, &mt, &vt].into_iter().flatten() {
        bytes.extend_from_slice(&address.to_le_bytes());
    }
    lengths.iter().for_each(|n| bytes.extend_from_slice(&(*n as i32).to_le_bytes()));
    bytes.extend_from_slice(&[0; 4]);
    let step = gpu.upload(&[1i32]);
    let arguments = [Argument::Bytes(bytes), Argument::U64(step), Argument::F32(0.01)];
    gpu.launch(&module.kernels["adam"], [3, 3, 1], [128, 1, 1], 0, &arguments).unwrap();
    for (which, n) in lengths.iter().enumerate() {
        let updated: Vec<f32> = gpu.download(pt[which], *n);
        for i in 0..*n {
            // After one step from zero, the moments' ratio is the gradient's sign.
            let wanted = p[which][i] - 0.01 * g[which][i].signum();
            assert!((updated[i] - wanted).abs() < 1e-5, "{which}, {i}: {} and not {wanted}", updated[i]);
        }
    }
}

#[test]
fn blocks_that_wait_for_each_other() {
    for seed in [0, 4] {
        let (mut gpu, module) = gpu(STEPS, seed);
        let (arrived, out) = (gpu.upload(&[0u32]), gpu.allocate(4 * 12));
        let arguments = [Argument::U64(arrived), Argument::U64(out)];
        gpu.launch(&module.kernels["all_blocks"], [12, 1, 1], [32, 1, 1], 0, &arguments).unwrap();
        assert_eq!(gpu.download::<u32>(out, 12), [12; 12]);
    }
}

#[test]
fn lanes_that_take_a_lock_in_turn() {
    let (mut gpu, module) = gpu(STEPS, 0);
    let (taken, sum) = (gpu.upload(&[0i32]), gpu.upload(&[0i32]));
    let arguments = [Argument::U64(taken), Argument::U64(sum)];
    gpu.launch(&module.kernels["lock"], [1, 1, 1], [64, 1, 1], 0, &arguments).unwrap();
    assert_eq!(gpu.download::<i32>(sum, 1), [63 * 32]);
}

#[test]
fn calls_from_lanes_that_have_parted() {
    let collatz = |mut n: i32| {
        let mut steps = 0;
        while n != 1 {
            n = if n & 1 == 1 { 3 * n + 1 } else { n / 2 };
            steps += 1;
        }
        steps
    };
    let (n, x): (Vec<i32>, Vec<f32>) = ((1..=64).collect(), numbers(64, 30));
    let x: Vec<f32> = x.into_iter().map(f32::abs).collect();
    let (mut gpu, module) = gpu(STEPS, 0);
    let (nt, xt, yt) = (gpu.upload(&n), gpu.upload(&x), gpu.allocate(256));
    let arguments = [Argument::U64(nt), Argument::U64(xt), Argument::U64(yt)];
    gpu.launch(&module.kernels["calls"], [1, 1, 1], [64, 1, 1], 0, &arguments).unwrap();
    let y: Vec<f32> = gpu.download(yt, 64);
    for i in 0..64 {
        let (steps, one) = if n[i] % 3 != 0 { (collatz(n[i]), 1) } else { (collatz(n[i] + 5), 2) };
        let chosen = match n[i] % 7 {
            0 => x[i] + 1.0,
            1 => x[i] * 2.0,
            2 => x[i].sin(),
            3 => (-x[i]).exp(),
            4 => x[i].sqrt(),
            5 => x[i] * x[i] - 1.0,
            _ => 0.0,
        };
        let wanted = chosen + (steps + one * 1000) as f32 + x[i] * (n[i] & 7) as f32;
        assert!((y[i] - wanted).abs() < 1e-3, "{i}: {} and not {wanted}", y[i]);
    }
}

#[test]
fn the_same_seed_gives_the_same_order() {
    // The order in which floats are added to one place shows in the last bits of the sum.
    let text = ROWS;
    let run = |seed| {
        let (mut gpu, module) = gpu(text, seed);
        let x = gpu.upload(&numbers(5 * 300, 50));
        let y = gpu.allocate(5 * 1200);
        let arguments = [Argument::U64(x), Argument::U64(y), Argument::I32(300)];
        let counts =
            gpu.launch(&module.kernels["softmax"], [5, 1, 1], [128, 1, 1], 1200, &arguments).unwrap();
        (gpu.download::<u32>(y, 5 * 300), counts)
    };
    assert_eq!(run(7), run(7));
    assert_eq!(run(0).0, run(7).0);
}
