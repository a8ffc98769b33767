//! How many instructions of threads a second the machine runs: `cargo run --release -p ptxvm --example speed`.

use std::time::Instant;

use ptxvm::gpu::{Argument, Gpu};

fn main() {
    let mut gpu = Gpu::default();
    let gemm = gpu.load(include_str!("../tests/data/gemm.ptx")).expect("PTX that the tests load");
    let rows = gpu.load(include_str!("../tests/data/rows.ptx")).expect("PTX that the tests load");
    let tensor = gpu.load(include_str!("../tests/data/tensor.ptx")).expect("PTX that the tests load");
    let n = 256;
    let (a, b) = (gpu.upload(&vec![0.5f32; n * n]), gpu.upload(&vec![0.25f32; n * n]));
    let c = gpu.allocate((n * n * 4) as u64);
    let sizes = [Argument::I32(n as i32), Argument::I32(n as i32), Argument::I32(n as i32)];
    let product = [&[Argument::U64(a), Argument::U64(b), Argument::U64(c)][..], &sizes].concat();
    let elements =
        [Argument::U64(a), Argument::U64(c), Argument::I32((n * n / 4) as i32), Argument::F32(2.0)];
    let softmax = [Argument::U64(a), Argument::U64(c), Argument::I32(n as i32)];
    let blocks = n as u32 / 32;
    let launches = [
        (&gemm.kernels["sgemm"], [blocks, blocks, 1], [32, 8, 1], 0, &product[..]),
        (&rows.kernels["chain"], [n as u32 * n as u32 / 1024, 1, 1], [256, 1, 1], 0, &elements[..]),
        (&rows.kernels["softmax"], [n as u32, 1, 1], [128, 1, 1], 4 * n as u32, &softmax[..]),
        (&tensor.kernels["bf16_gemm"], [n as u32 / 64, n as u32 / 64, 1], [128, 1, 1], 0, &product[..]),
    ];
    for (program, grid, block, dynamic, arguments) in launches {
        let start = Instant::now();
        let (mut instructions, mut flops, mut runs) = (0, 0, 0);
        while start.elapsed().as_millis() < 500 {
            let counts =
                gpu.launch(program, grid, block, dynamic, arguments).expect("a kernel without faults");
            instructions += counts.total();
            flops += counts.flops;
            runs += 1;
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{:10} {:6.1} ms, {:6.1} million instructions of threads a second, {:6.2} GFLOP/s",
            program.name,
            seconds * 1e3 / f64::from(runs),
            instructions as f64 / seconds / 1e6,
            flops as f64 / seconds / 1e9
        );
    }
}
