//! The stand-in driver through cudarc, in this process.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cudarc::driver::{CudaContext, CudaFunction, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;

/// The driver is one for the process, so tests take turns; each gets a fresh context.
fn context() -> (MutexGuard<'static, ()>, Arc<CudaContext>) {
    static LOADED: OnceLock<()> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    LOADED.get_or_init(|| ptxvm::load().unwrap());
    (turn, CudaContext::new(0).unwrap())
}

fn function(context: &Arc<CudaContext>, ptx: &str, name: &str) -> CudaFunction {
    context.load_module(Ptx::from_src(ptx)).unwrap().load_function(name).unwrap()
}

#[test]
fn an_elementwise_chain() {
    let (_turn, context) = context();
    let stream = context.default_stream();
    let chain = function(&context, include_str!("data/rows.ptx"), "chain");
    let x: Vec<f32> = (0..4000).map(|i| (i as f32 - 2000.0) / 700.0).collect();
    let x_device = stream.clone_htod(&x).unwrap();
    let mut y_device = stream.alloc_zeros::<f32>(4000).unwrap();
    let (n, s) = (1000i32, 0.5f32);
    let mut launch = stream.launch_builder(&chain);
    launch.arg(&x_device).arg(&mut y_device).arg(&n).arg(&s);
    unsafe { launch.launch(LaunchConfig::for_num_elems(1000)) }.unwrap();
    let y = stream.clone_dtoh(&y_device).unwrap();
    for (i, (x, y)) in x.chunks(4).zip(y.chunks(4)).enumerate() {
        let wanted = [
            x[0].exp() * 0.5,
            x[1].tanh(),
            x[2] / (1.0 + x[2] * x[2]),
            x[3].abs().ln() + ((i & 3) + 1) as f32,
        ];
        for (y, wanted) in y.iter().zip(wanted) {
            assert!((y - wanted).abs() <= 2e-6 * wanted.abs().max(1.0), "{i}: {y} and not {wanted}");
        }
    }
}

#[test]
fn rows_with_shuffles_and_dynamic_shared_memory() {
    let (_turn, context) = context();
    let stream = context.default_stream();
    let softmax = function(&context, include_str!("data/rows.ptx"), "softmax");
    let (rows, columns) = (5, 300i32);
    let x: Vec<f32> = (0..rows * 300).map(|i| ((i * 7919) % 1000) as f32 / 100.0).collect();
    let x_device = stream.clone_htod(&x).unwrap();
    let mut y_device = stream.alloc_zeros::<f32>(x.len()).unwrap();
    let mut launch = stream.launch_builder(&softmax);
    launch.arg(&x_device).arg(&mut y_device).arg(&columns);
    let config = LaunchConfig { grid_dim: (5, 1, 1), block_dim: (128, 1, 1), shared_mem_bytes: 1200 };
    unsafe { launch.launch(config) }.unwrap();
    let y = stream.clone_dtoh(&y_device).unwrap();
    for (x, y) in x.chunks(300).zip(y.chunks(300)) {
        let most = x.iter().copied().fold(f32::MIN, f32::max);
        let sum: f64 = x.iter().map(|x| f64::from(x - most).exp()).sum();
        for (x, y) in x.iter().zip(y) {
            let wanted = f64::from(x - most).exp() / sum;
            assert!((f64::from(*y) - wanted).abs() < 1e-6, "{y} and not {wanted}");
        }
    }
}
