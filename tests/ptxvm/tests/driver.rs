//! The stand-in driver through cudarc, in this process.
//!
//! Every `unsafe` here calls the driver with values of the types that it, or the kernel, declares.
#![allow(clippy::undocumented_unsafe_blocks)]

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

#[test]
fn a_training_step_is_captured_once_and_launched_often() {
    let (_turn, context) = context();
    // Events that cudarc keeps for each slice do not belong into a capture.
    unsafe { context.disable_event_tracking() };
    let stream = context.new_stream().unwrap();
    let module = context.load_module(Ptx::from_src(include_str!("data/steps.ptx"))).unwrap();
    let (adam, count_up) = (module.load_function("adam").unwrap(), module.load_function("count_up").unwrap());
    let n = 40;
    let start: Vec<f32> = (0..n).map(|i| i as f32 / 10.0).collect();
    let mut p: Vec<_> = (0..3).map(|_| stream.clone_htod(&start).unwrap()).collect();
    let g: Vec<_> = (0..3).map(|_| stream.clone_htod(&vec![0.5f32; n]).unwrap()).collect();
    let m: Vec<_> = (0..3).map(|_| stream.alloc_zeros::<f32>(n).unwrap()).collect();
    let v: Vec<_> = (0..3).map(|_| stream.alloc_zeros::<f32>(n).unwrap()).collect();
    let mut step = stream.clone_htod(&[0i32]).unwrap();
    let mut loss = stream.alloc_zeros::<f32>(n).unwrap();

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Tensors([[u64; 3]; 4], [i32; 3]);
    unsafe impl cudarc::driver::DeviceRepr for Tensors {}
    let of = |list: &[cudarc::driver::CudaSlice<f32>]| {
        let mut out = [0; 3];
        for (out, slice) in out.iter_mut().zip(list) {
            *out = slice.device_ptr(&stream).0;
        }
        out
    };
    use cudarc::driver::DevicePtr;
    let tensors = Tensors([of(&p), of(&g), of(&m), of(&v)], [n as i32; 3]);
    let rate = 0.01f32;

    stream.begin_capture(cudarc::driver::sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
    let one = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (1, 1, 1), shared_mem_bytes: 0 };
    let all = LaunchConfig { grid_dim: (1, 3, 1), block_dim: (64, 1, 1), shared_mem_bytes: 0 };
    unsafe { stream.launch_builder(&count_up).arg(&mut step).launch(one) }.unwrap();
    unsafe { stream.launch_builder(&adam).arg(&tensors).arg(&step).arg(&rate).launch(all) }.unwrap();
    stream.memcpy_dtod(&p[0], &mut loss).unwrap();
    let graph = stream.end_capture(cudarc::driver::sys::CUgraphInstantiate_flags(0)).unwrap().unwrap();
    // Capturing did nothing.
    assert_eq!(stream.clone_dtoh(&step).unwrap(), [0]);
    for _ in 0..5 {
        graph.launch().unwrap();
    }
    stream.synchronize().unwrap();
    assert_eq!(stream.clone_dtoh(&step).unwrap(), [5]);
    let result = stream.clone_dtoh(&p[2]).unwrap();
    // A constant gradient moves by the rate in every step.
    for (start, end) in start.iter().zip(&result) {
        assert!((start - 0.05 - end).abs() < 1e-4, "{start} {end}");
    }
    assert_eq!(stream.clone_dtoh(&loss).unwrap(), stream.clone_dtoh(&p[0]).unwrap());
    p.clear();
}

#[test]
fn a_fault_fails_all_later_calls_until_the_context_is_new() {
    let code = |result: Result<(), cudarc::driver::DriverError>| result.unwrap_err().0 as u32;
    {
        let (_turn, context) = context();
        let stream = context.default_stream();
        let wrong = function(&context, include_str!("data/faults.ptx"), "one_too_far");
        let x = stream.clone_htod(&[0f32; 64]).unwrap();
        let mut y = stream.alloc_zeros::<f32>(64).unwrap();
        let n = 64i32;
        let config = LaunchConfig { grid_dim: (3, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 0 };
        // As on a GPU, the launch itself succeeds.
        unsafe { stream.launch_builder(&wrong).arg(&x).arg(&mut y).arg(&n).launch(config) }.unwrap();
        assert_eq!(code(stream.synchronize()), 700);
        assert_eq!(code(context.synchronize()), 700);
        assert_eq!(stream.clone_dtoh(&x).unwrap_err().0 as u32, 700);
    }
    let (_turn, context) = context();
    let stream = context.default_stream();
    let x = stream.clone_htod(&[3f32]).unwrap();
    assert_eq!(stream.clone_dtoh(&x).unwrap(), [3.0]);
}

/// A kernel on one stream, of what a copy on another one brings, with and without a wait between the two.
#[test]
fn streams_that_nothing_orders_must_not_touch_the_same() {
    for waits in [true, false] {
        let (_turn, context) = context();
        unsafe { context.disable_event_tracking() };
        let (copies, works) = (context.new_stream().unwrap(), context.new_stream().unwrap());
        let count_up = function(&context, include_str!("data/steps.ptx"), "count_up");
        let mut step = works.alloc_zeros::<i32>(1).unwrap();
        works.synchronize().unwrap();
        copies.memcpy_htod(&[41i32], &mut step).unwrap();
        if waits {
            works.join(&copies).unwrap();
        }
        let one = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (1, 1, 1), shared_mem_bytes: 0 };
        unsafe { works.launch_builder(&count_up).arg(&mut step).launch(one) }.unwrap();
        match works.clone_dtoh(&step) {
            Ok(step) => assert!(waits && step == [42], "nothing was told"),
            Err(error) => assert!(!waits && error.0 as u32 == 719, "{error}"),
        }
    }
}

/// A copy in one branch of a captured graph and a kernel in the other, which touch the same or not, with and without a wait between the two.
#[test]
fn branches_of_a_graph_that_nothing_orders_must_not_touch_the_same() {
    use cudarc::driver::sys::{CUgraphInstantiate_flags as Flags, CUstreamCaptureMode as Mode};
    for (same, waits) in [(true, true), (false, false), (true, false)] {
        let (_turn, context) = context();
        unsafe { context.disable_event_tracking() };
        let (first, other) = (context.new_stream().unwrap(), context.new_stream().unwrap());
        let count_up = function(&context, include_str!("data/steps.ptx"), "count_up");
        let start = first.clone_htod(&[41i32]).unwrap();
        let (mut step, mut beside) =
            (first.alloc_zeros::<i32>(1).unwrap(), first.clone_htod(&[41i32]).unwrap());
        first.begin_capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED).unwrap();
        other.join(&first).unwrap();
        first.memcpy_dtod(&start, &mut step).unwrap();
        if waits {
            other.join(&first).unwrap();
        }
        let one = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (1, 1, 1), shared_mem_bytes: 0 };
        let counted = if same { &mut step } else { &mut beside };
        unsafe { other.launch_builder(&count_up).arg(counted).launch(one) }.unwrap();
        first.join(&other).unwrap();
        let graph = first.end_capture(Flags(0)).unwrap().unwrap();
        graph.launch().unwrap();
        match first.clone_dtoh(if same { &step } else { &beside }) {
            Ok(counted) => {
                assert!(waits || !same, "nothing was told");
                assert_eq!(counted, [42]);
                // One launch comes after the other, and what the stream does after the branches.
                graph.launch().unwrap();
                first.memcpy_htod(&[7i32], &mut step).unwrap();
                assert_eq!(first.clone_dtoh(&step).unwrap(), [7]);
                let wanted = if same { 41 } else { 43 };
                assert_eq!(first.clone_dtoh(&beside).unwrap(), [wanted]);
            }
            Err(error) => assert!(same && !waits && error.0 as u32 == 719, "{error}"),
        }
    }
}

#[test]
fn what_the_device_says_of_itself() {
    let (_turn, context) = context();
    assert!(context.name().unwrap().contains("ptxvm"));
    assert_eq!(context.compute_capability().unwrap(), (8, 0));
    let (free, total) = context.mem_get_info().unwrap();
    let stream = context.default_stream();
    let slice = unsafe { stream.alloc::<u8>(1 << 20) }.unwrap();
    assert_eq!(context.mem_get_info().unwrap(), (free - (1 << 20), total));
    drop(slice);
    assert_eq!(context.mem_get_info().unwrap(), (free, total));
    // More than there is.
    let refused = unsafe { stream.alloc::<u8>(total + 1) }.unwrap_err();
    assert_eq!(refused.0 as u32, 2);
    let gemm = function(&context, include_str!("data/gemm.ptx"), "sgemm");
    use cudarc::driver::sys::CUfunction_attribute_enum as Attribute;
    let shared = gemm.get_attribute(Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES).unwrap();
    assert_eq!(shared, 2 * 32 * 33 * 4);
    let blocks = gemm.occupancy_max_active_blocks_per_multiprocessor(256, 0, None).unwrap();
    assert_eq!(blocks, 8);
    // More dynamic shared memory than a block has unasked.
    let softmax = function(&context, include_str!("data/rows.ptx"), "softmax");
    let mut y = stream.alloc_zeros::<f32>(64).unwrap();
    let x = stream.alloc_zeros::<f32>(64).unwrap();
    let columns = 64i32;
    let config = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 60 << 10 };
    let mut launch = stream.launch_builder(&softmax);
    launch.arg(&x).arg(&mut y).arg(&columns);
    assert_eq!(unsafe { launch.launch(config) }.unwrap_err().0 as u32, 1);
    softmax.set_attribute(Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 100 << 10).unwrap();
    let mut launch = stream.launch_builder(&softmax);
    launch.arg(&x).arg(&mut y).arg(&columns);
    unsafe { launch.launch(config) }.unwrap();
    stream.synchronize().unwrap();
}

#[test]
fn streams_events_and_pinned_memory() {
    let (_turn, context) = context();
    let (one, two) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let flags = Some(cudarc::driver::sys::CUevent_flags::CU_EVENT_DEFAULT);
    let start = one.record_event(flags).unwrap();
    let mut pinned = unsafe { context.alloc_pinned::<f32>(256) }.unwrap();
    pinned.as_mut_slice().unwrap().copy_from_slice(&[1.5; 256]);
    let slice = one.clone_htod(&pinned).unwrap();
    let done = one.record_event(flags).unwrap();
    two.wait(&done).unwrap();
    assert_eq!(two.clone_dtoh(&slice).unwrap(), [1.5; 256]);
    assert!(start.elapsed_ms(&done).unwrap() >= 0.0);
    let global = {
        let module = context.load_module(Ptx::from_src(include_str!("data/rows.ptx"))).unwrap();
        module.get_global("table", &one).unwrap().len()
    };
    assert_eq!(global, 16);
}

#[test]
fn machine_code_is_refused_with_the_reason() {
    let (_turn, context) = context();
    // A cubin's header, as ELF has it: 64 bytes.
    let mut header = b"\x7fELF\x02\x01\x01 and so on".to_vec();
    header.resize(64, 0);
    let refused = context.load_module(Ptx::from_binary(header)).unwrap_err();
    assert_eq!(refused.0 as u32, 209);
    let refused = context
        .load_module(Ptx::from_src(".version 9.0\n.target sm_90a\n.address_size 64\nwrong"))
        .unwrap_err();
    assert_eq!(refused.0 as u32, 218);
}

#[test]
fn launches_are_counted_when_asked_for() {
    let (_turn, context) = context();
    // The stand-in's own function, looked for as a program would: in the library that is loaded.
    let library = unsafe { cudarc::driver::sys::culib() };
    let counts: unsafe extern "C" fn(*mut u8, usize) -> usize =
        unsafe { *library.get(b"ptxvm_counts\0").unwrap() };
    let take = || {
        let bytes = unsafe { counts(std::ptr::null_mut(), 0) };
        let mut text = vec![0; bytes];
        assert_eq!(unsafe { counts(text.as_mut_ptr(), bytes) }, bytes);
        String::from_utf8(text).unwrap()
    };
    take();
    let stream = context.default_stream();
    let chain = function(&context, include_str!("data/rows.ptx"), "chain");
    let x = stream.clone_htod(&[1f32; 4096]).unwrap();
    let mut y = stream.alloc_zeros::<f32>(4096).unwrap();
    let (n, s) = (1024i32, 0.5f32);
    let mut launch = stream.launch_builder(&chain);
    launch.arg(&x).arg(&mut y).arg(&n).arg(&s);
    unsafe { launch.launch(LaunchConfig::for_num_elems(1024)) }.unwrap();
    let text = take();
    assert_eq!(text.lines().count(), 1);
    for part in [
        "\"kernel\":\"chain\"",
        "\"bytes_read\":16400,\"bytes_written\":16384",
        "\"stores\":{\"16\":1024}",
        "\"grid\":[1, 1, 1]",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(take(), "");
}

#[test]
fn a_capture_of_one_thread_leaves_others_alone() {
    use cudarc::driver::sys::{CUgraphInstantiate_flags as Flags, CUstreamCaptureMode as Mode};
    let (_turn, context) = context();
    unsafe { context.disable_event_tracking() };
    let stream = context.new_stream().unwrap();
    let mut x = stream.clone_htod(&[1u32; 4]).unwrap();
    let capture = |mode, others: bool, own: bool| {
        stream.begin_capture(mode).unwrap();
        stream.memset_zeros(&mut x).unwrap();
        if others {
            let context = context.clone();
            let allocated = std::thread::spawn(move || {
                context.bind_to_thread().unwrap();
                unsafe { cudarc::driver::result::malloc_sync(64) }
                    .and_then(|p| unsafe { cudarc::driver::result::free_sync(p) })
            });
            assert_eq!(allocated.join().unwrap().is_ok(), mode != Mode::CU_STREAM_CAPTURE_MODE_GLOBAL);
        }
        if own {
            let allocated = unsafe { cudarc::driver::result::malloc_sync(64) };
            assert_eq!(allocated.is_ok(), mode == Mode::CU_STREAM_CAPTURE_MODE_RELAXED);
        }
        stream.end_capture(Flags(0)).map(|graph| graph.is_some())
    };
    let mut capture = capture;
    assert!(capture(Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL, true, false).unwrap());
    assert_eq!(capture(Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL, true, true).unwrap_err().0 as u32, 901);
    assert_eq!(capture(Mode::CU_STREAM_CAPTURE_MODE_GLOBAL, true, false).unwrap_err().0 as u32, 901);
    assert!(capture(Mode::CU_STREAM_CAPTURE_MODE_RELAXED, true, true).unwrap());
}
