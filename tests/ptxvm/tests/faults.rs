//! Kernels that are wrong in one way each: every one must be caught, with its place.

use ptxvm::fault::{Kind, Report};
use ptxvm::gpu::{Argument, Gpu};

const FAULTS: &str = include_str!("data/faults.ptx");
const SOURCE: &str = include_str!("data/faults.cu");

/// Runs a kernel of which the fault is wanted; arguments are x of 256 floats, and y of 256 that nothing has written.
fn fault(kernel: &str, threads: u32, dynamic: u32, more: &[Argument], seed: u64) -> Report {
    let mut gpu = Gpu::default();
    gpu.limits.seed = seed;
    gpu.limits.instructions = 1 << 20;
    let module = gpu.load(FAULTS).unwrap();
    let x = gpu.upload(&(0..256).map(|i| i as f32).collect::<Vec<_>>());
    let y = gpu.allocate(1024);
    let program = &module.kernels[kernel];
    let mut arguments = match program.parameters.len() {
        1 if matches!(kernel, "for_ever" | "traps") => {
            vec![Argument::U64(gpu.upload(&[7 * i32::from(kernel == "traps")]))]
        }
        1 => vec![Argument::U64(y)],
        _ => vec![Argument::U64(x), Argument::U64(y)],
    };
    arguments.extend_from_slice(more);
    *gpu.launch(program, [1, 1, 1], [threads, 1, 1], dynamic, &arguments).unwrap_err()
}

/// The report names the kernel and the source line on which a text stands.
fn at(report: &Report, kernel: &str, text: &str) {
    assert_eq!(report.kernel, kernel);
    let start = SOURCE.find(&format!(" {kernel}(")).unwrap();
    let line = SOURCE[..start + SOURCE[start..].find(text).unwrap()].lines().count();
    assert!(report.place.contains(&format!("faults.cu:{line})")), "{report} and not line {line}");
}

fn says(report: &Report, texts: &[&str]) {
    for text in texts {
        assert!(report.message.contains(text), "`{text}` is not in: {report}");
    }
}

#[test]
fn a_missing_barrier() {
    for seed in 0..4 {
        let report = fault("no_barrier", 64, 0, &[], seed);
        assert_eq!(report.kind, Kind::Failed);
        // The race is found wherever its second access is; in a random order, the first may be unwritten.
        assert!(
            report.message.contains("a race") || report.message.contains("no thread of the block"),
            "{report}"
        );
        if seed == 0 {
            says(&report, &["reads shared memory that no thread of the block has written: byte 252"]);
        }
        at(&report, "no_barrier", "y[threadIdx.x] = s");
    }
}

#[test]
fn a_missing_barrier_between_lanes_of_a_warp() {
    let report = fault("no_warp_barrier", 32, 0, &[], 0);
    says(&report, &["a race: thread 0 reads 4 bytes at 124", "thread 31 of its own warp wrote"]);
    at(&report, "no_warp_barrier", "y[threadIdx.x] = s");
}

#[test]
fn a_buffer_that_is_written_again_too_early() {
    let report = fault("overwritten_too_early", 64, 0, &[], 0);
    // The first warp is already in its second round.
    says(&report, &["a race: thread 32 reads", "thread 31 wrote with no barrier between them"]);
    at(&report, "overwritten_too_early", "y[threadIdx.x + 64 * i]");
}

#[test]
fn one_element_too_far() {
    let report = fault("one_too_far", 288, 0, &[Argument::I32(256)], 0);
    assert_eq!((report.kind, report.thread), (Kind::IllegalAddress, [256, 0, 0]));
    says(&report, &["4 bytes past the end of an allocation of 1024 bytes"]);
    at(&report, "one_too_far", "if (i <= n)");
}

#[test]
fn shared_memory_that_nothing_has_written() {
    let report = fault("never_written", 64, 0, &[], 0);
    assert_eq!(report.thread, [63, 0, 0]);
    says(&report, &["shared memory that no thread of the block has written: byte 252"]);
    at(&report, "never_written", "y[threadIdx.x] =");
}

#[test]
fn device_memory_that_nothing_has_written() {
    let mut gpu = Gpu::default();
    let module = gpu.load(FAULTS).unwrap();
    let (x, y) = (gpu.allocate(1024), gpu.allocate(1024));
    gpu.memory.write(x, &[0; 400]).unwrap();
    let arguments = [Argument::U64(x), Argument::U64(y), Argument::I32(200)];
    let report =
        gpu.launch(&module.kernels["one_too_far"], [1, 1, 1], [128, 1, 1], 0, &arguments).unwrap_err();
    says(&report, &["device memory that nothing has written: byte 400 of an allocation of 1024 bytes"]);
    assert_eq!(report.thread, [100, 0, 0]);
}

#[test]
fn a_copy_that_is_not_waited_for() {
    let report = fault("no_wait", 32, 0, &[], 0);
    says(&report, &["an asynchronous copy is under way that has not been waited for"]);
    at(&report, "no_wait", "y[threadIdx.x] =");
}

#[test]
fn barriers_in_both_arms_of_a_branch() {
    let report = fault("parted_barrier", 64, 0, &[], 0);
    says(&report, &["divergence", "lanes 0xaaaaaaaa", "lanes 0x55555555", "a barrier of the block"]);
}

#[test]
fn a_barrier_that_a_warp_never_reaches() {
    let report = fault("missing_warp", 64, 0, &[], 0);
    says(&report, &["deadlock", "barrier 1 waits for 64 threads; warps 1 came"]);
    at(&report, "missing_warp", "if (threadIdx.x >= 32)");
}

#[test]
fn a_shuffle_that_half_of_the_lanes_never_reach() {
    let report = fault("missing_lane", 32, 0, &[], 0);
    says(&report, &["divergence", "lanes 0x0000ffff at shfl.sync", "lanes 0xffff0000 at shfl.sync"]);
}

#[test]
fn addresses_that_are_no_multiple() {
    let report = fault("misaligned", 32, 0, &[], 0);
    assert_eq!(report.kind, Kind::Misaligned);
    says(&report, &["16 bytes at", "the address is no multiple of 16"]);
    at(&report, "misaligned", "y[threadIdx.x]");
}

#[test]
fn addresses_of_nothing() {
    let report = fault("null_pointer", 32, 0, &[], 0);
    assert_eq!(report.kind, Kind::IllegalAddress);
    says(&report, &["a null pointer"]);
    let report = fault("beyond_shared", 64, 128, &[], 0);
    assert_eq!((report.kind, report.thread), (Kind::IllegalAddress, [32, 0, 0]));
    says(&report, &["4 bytes at 128 of shared memory, of which the block has 128 bytes"]);
}

#[test]
fn a_loop_without_end_and_a_trap() {
    let report = fault("for_ever", 32, 0, &[], 0);
    assert_eq!(report.kind, Kind::Timeout);
    let report = fault("traps", 1, 0, &[], 0);
    says(&report, &["the kernel executed `trap`"]);
    at(&report, "traps", "if (*x == 7)");
}

#[test]
fn what_is_not_modelled_is_refused_by_name_when_the_module_is_loaded() {
    let load = |body: &str| {
        let text = format!(
            ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k() {{\n.reg .b32 %r<4>;\n.reg .b64 \
             %rd<4>;\n.reg .f32 %f<4>;\n{body}\nret;\n}}\n"
        );
        match Gpu::default().load(&text) {
            Err(ptxvm::module::LoadError::Ptx(error)) => (error.line, error.message),
            other => panic!("{body} was loaded: {other:?}"),
        }
    };
    for (body, name) in [
        ("wgmma.fence.sync.aligned;", "`wgmma.fence.sync.aligned` is not modelled"),
        ("cp.async.bulk.commit_group;", "`cp.async.bulk.commit_group` is not modelled"),
        ("mbarrier.init.shared.b64 [%rd1], %r1;", "`mbarrier.init.shared.b64` is not modelled"),
        ("barrier.cluster.arrive;", "`barrier.cluster.arrive` is not modelled"),
        ("griddepcontrol.wait;", "`griddepcontrol.wait` is not modelled"),
        ("add.rn.nonsense.f32 %f1, %f2, %f3;", "its suffix `.nonsense`"),
        ("add.s32 %r1, %r2, %undeclared;", "`%undeclared` is neither declared nor a special register"),
        ("bra nowhere;", "the label `nowhere` is not declared"),
        ("call.uni vprintf;", "`vprintf`, which is no function of the module"),
    ] {
        let (line, message) = load(body);
        assert!(message.contains(name), "{message}");
        assert_eq!(line, 8, "{message}");
    }
}
