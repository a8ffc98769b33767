//! Scheduling, ranges, storage and errors, on small programs written by hand.

use super::testing::{Builder, COUNT_UP, allocations, code};
use super::*;
use crate::program::*;
use crate::tensor::Tensor;

pub(super) fn program(entries: Vec<Entry>) -> Program {
    Program {
        name: "test".into(),
        code: code(),
        entries,
        sources: vec![("test.weft".into(), String::new())],
        ..Program::default()
    }
}

pub(super) fn session(entry: Builder, threads: usize) -> Session {
    Session::new(Arc::new(program(vec![entry.0])), threads).unwrap()
}

/// x: f32[n, 8] → y = cumulative sum along the rows → z = the same again, where x was: z aliases x.
fn twice_summed() -> Builder {
    let mut b = Builder::new("sum", &["n"]);
    let n = b.dim(DimExpr::Symbol(0));
    let (one, width) = (b.constant(1), b.constant(8));
    let elements = b.dim(DimExpr::Mul(n, width));
    let x = b.input("x", DType::F32, &[n, width], InputSource::Caller);
    let y = b.buffer(DType::F32, elements, Storage::Arena { first: 0, last: 0 });
    let z = b.buffer(DType::F32, elements, Storage::Alias(x));
    let sum = Kernel::CumulativeSum { axis: width, inner: one, reverse: false, exclusive: false };
    let launches = vec![b.launch(sum.clone(), one, &[x, y]), b.launch(sum, one, &[y, z])];
    b.segment(n, 2, launches);
    // Something that would overwrite x, if z's use as an output did not keep it alive.
    let other = b.buffer(DType::I32, elements, Storage::Arena { first: 1, last: 1 });
    let count = b.launch(Kernel::Nest { function: COUNT_UP, dims: vec![one] }, width, &[other]);
    b.segment(n, 3, vec![count]);
    b.output("z", &[n, width], z);
    b
}

fn rows(n: usize) -> Tensor {
    Tensor::from_f32(&[n, 8], &(0..n * 8).map(|i| (i % 13) as f32).collect::<Vec<_>>())
}

fn twice_summed_by_hand(x: &Tensor) -> Vec<f32> {
    let running = |row: &[f32]| {
        let mut sum = 0.0;
        row.iter()
            .map(|v| {
                sum += v;
                sum
            })
            .collect::<Vec<f32>>()
    };
    x.view().to_f32().chunks(8).flat_map(|row| running(&running(row))).collect()
}

#[test]
fn every_extent_and_thread_count_gives_the_same() {
    for threads in [1, 2, 3] {
        let mut session = session(twice_summed(), threads);
        for n in [5, 64, 1, 200, 64, 3, 999] {
            let x = rows(n);
            let outputs = session.run(0, &[x.view()]).unwrap();
            let z = outputs.named("z").unwrap();
            assert_eq!(z.shape, [n, 8]);
            assert_eq!(z.to_f32(), twice_summed_by_hand(&x), "n = {n}, {threads} threads");
        }
    }
}

#[test]
fn reserved_dims_keep_their_plan() {
    let mut session = session(twice_summed(), 1);
    session.reserve(0, &[("n", 100)]).unwrap();
    let planned = session.planned_bytes(0);
    // x, y and the counter, of 3200 bytes each: y is dead when the counter comes.
    assert_eq!(planned, 6400);
    for n in [100, 7, 50] {
        session.run(0, &[rows(n).view()]).unwrap();
    }
    assert_eq!(session.planned_bytes(0), planned);
    session.run(0, &[rows(101).view()]).unwrap();
    assert!(session.planned_bytes(0) > planned);
}

#[test]
fn a_run_at_dims_seen_before_allocates_nothing() {
    let mut session = session(twice_summed(), 2);
    session.reserve(0, &[("n", 64)]).unwrap();
    let (full, short) = (rows(64), rows(9));
    let mut run = |x: &Tensor| session.run(0, &[x.view()]).map(|outputs| outputs.get(0).data[0]).unwrap();
    run(&full);
    run(&short);
    let before = allocations();
    for _ in 0..10 {
        run(&full);
        run(&short);
    }
    assert_eq!(allocations(), before);
    drop(std::hint::black_box(vec![0u8; 100]));
    assert_eq!(allocations(), before + 1);
}

#[test]
fn an_empty_batch_runs() {
    let mut session = session(twice_summed(), 2);
    let x = Tensor::from_f32(&[0, 8], &[]);
    assert_eq!(session.run(0, &[x.view()]).unwrap().get(0).shape, [0, 8]);
}

#[test]
fn more_bindings_than_are_kept_still_run() {
    let mut session = session(twice_summed(), 1);
    session.reserve(0, &[("n", 300)]).unwrap();
    for n in (1..200).chain(1..100) {
        let x = rows(n);
        assert_eq!(session.run(0, &[x.view()]).unwrap().get(0).to_f32(), twice_summed_by_hand(&x));
    }
    assert!(session.entries[0].bindings.len() <= MAX_BINDINGS);
}

#[test]
fn generated_code_gets_its_range_and_its_dims() {
    let mut b = Builder::new("count", &["n"]);
    let n = b.dim(DimExpr::Symbol(0));
    let (three, hundred) = (b.constant(3), b.constant(100));
    let elements = b.dim(DimExpr::Mul(n, three));
    b.input("shape", DType::U8, &[n], InputSource::Caller);
    let out = b.buffer(DType::I32, elements, Storage::Arena { first: 0, last: 0 });
    let count = b.launch(Kernel::Nest { function: COUNT_UP, dims: vec![hundred] }, three, &[out]);
    b.segment(n, 1, vec![count]);
    b.output("out", &[n, three], out);
    let mut session = session(b, 3);
    for n in [1, 2, 70] {
        let shape = Tensor::from_u8(&[n], &vec![0; n]);
        session.scribble().unwrap();
        let out = session.run(0, &[shape.view()]).unwrap().get(0).to_f64();
        assert_eq!(out, (0..n * 3).map(|i| (i + 100) as f64).collect::<Vec<_>>());
    }
}

/// table: a variable f32[3, 2]; out = table[indices].
fn look_up() -> Program {
    let mut b = Builder::new("look_up", &["n"]);
    let n = b.dim(DimExpr::Symbol(0));
    let (one, two, three, six) = (b.constant(1), b.constant(2), b.constant(3), b.constant(6));
    let elements = b.dim(DimExpr::Mul(n, two));
    let indices = b.input("indices", DType::I32, &[n], InputSource::Caller);
    let table = b.buffer(DType::F32, six, Storage::Variable(0));
    let out = b.buffer(DType::F32, elements, Storage::Arena { first: 0, last: 0 });
    let gather = b.launch(
        Kernel::Gather { dtype: DType::F32, axis: three, count: n, inner: two },
        one,
        &[table, indices, out],
    );
    b.segment(n, 1, vec![gather]);
    b.output("out", &[n, two], out);
    let mut program = program(vec![b.0]);
    program.variables.push(Variable {
        path: "table".into(),
        kind: VariableKind::Weight,
        dtype: DType::F32,
        shape: vec![3, 2],
        trainable: true,
        channels: Vec::new(),
    });
    program
}

#[test]
fn an_index_out_of_range_is_reported_by_path_and_the_next_run_is_clean() {
    let mut session = Session::new(Arc::new(look_up()), 2).unwrap();
    let table = Tensor::from_f32(&[3, 2], &[0., 1., 10., 11., 20., 21.]);
    session.variable_bytes_mut(0).copy_from_slice(&table.data);
    let good = Tensor::from_i32(&[2], &[2, 0]);
    assert_eq!(session.run(0, &[good.view()]).unwrap().get(0).to_f32(), [20., 21., 0., 1.]);
    let bad = Tensor::from_i32(&[3], &[2, 3, 0]);
    let error = session.run(0, &[bad.view()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the index 3 (number 2 of 3) is not within 0 to 2 in `look_up.0` (test.weft:7)"
    );
    assert!(session.run(0, &[good.view()]).is_ok());
    assert_eq!(session.variable(0), table.view());
}

#[test]
fn constants_and_offsets_reach_kernels() {
    let mut b = Builder::new("constant", &[]);
    let (one, two) = (b.constant(1), b.constant(2));
    let bytes = [1f32, 2., 3., 4.].iter().flat_map(|v| v.to_le_bytes()).collect();
    let four = b.constant(4);
    let constant = b.buffer(DType::F32, four, Storage::Constant(bytes));
    let out = b.buffer(DType::F32, two, Storage::Arena { first: 0, last: 0 });
    let sum = Kernel::CumulativeSum { axis: two, inner: one, reverse: false, exclusive: false };
    let mut launch = b.launch(sum, one, &[constant, out]);
    launch.buffers[0].offset = Some(two);
    b.segment(one, 1, vec![launch]);
    b.output("out", &[two], out);
    assert_eq!(session(b, 1).run(0, &[]).unwrap().get(0).to_f32(), [3., 7.]);
}

#[test]
fn a_profile_has_a_time_for_each_launch() {
    let mut session = session(twice_summed(), 2);
    let x = rows(500);
    let profile = session.run_profiled(0, &[x.view()]).unwrap();
    let paths: Vec<&str> = profile.launches.iter().map(|l| l.launch.path.as_str()).collect();
    assert_eq!(paths, ["sum.0", "sum.0", "sum.1"]);
    assert!(profile.launches.iter().map(|l| l.nanoseconds).sum::<u64>() > 0);
}

/// a: f32[n, m], b: f32[m, 2 * n], with the guard n % 2 == 0.
fn related() -> Builder {
    let mut b = Builder::new("related", &["n", "m"]);
    let (n, m) = (b.dim(DimExpr::Symbol(0)), b.dim(DimExpr::Symbol(1)));
    let two = b.constant(2);
    let double = b.dim(DimExpr::Mul(two, n));
    let odd = b.dim(DimExpr::Rem(n, two));
    b.input("a", DType::F32, &[n, m], InputSource::Caller);
    b.input("b", DType::F32, &[m, double], InputSource::Caller);
    let place = Place { line: 3, ..Place::default() };
    b.0.guards.push(Guard { value: odd, message: "`n` must be even".into(), place });
    b
}

#[test]
fn wrong_inputs_are_explained() {
    let mut session = session(related(), 1);
    let zeros = |shape: &[usize]| Tensor::from_f32(shape, &vec![0.0; shape.iter().product()]);
    let mut message = |inputs: &[Tensor]| {
        let views: Vec<_> = inputs.iter().map(Tensor::view).collect();
        let error = session.run(0, &views).map(|_| ()).unwrap_err();
        assert_eq!(error.class(), crate::error::Class::Input);
        error.to_string()
    };
    assert_eq!(message(&[zeros(&[4, 3])]), "`related` takes 2 inputs, but 1 were given");
    assert_eq!(
        message(&[zeros(&[4, 3]), Tensor::from_i32(&[3, 8], &[0; 24])]),
        "`related`: input `b` must be f32, but i32 was given"
    );
    assert_eq!(
        message(&[zeros(&[4, 3]), zeros(&[3])]),
        "`related`: input `b` must have 2 axes, but the shape [3] was given"
    );
    assert_eq!(
        message(&[zeros(&[4, 3]), zeros(&[5, 8])]),
        "`related`: axis 0 of input `b` must be 3 (`m`, from an input before it), but it is 5"
    );
    assert_eq!(
        message(&[zeros(&[4, 3]), zeros(&[3, 7])]),
        "`related`: axis 1 of input `b` must be 8 (with n = 4, m = 3), but it is 7"
    );
    assert_eq!(message(&[zeros(&[3, 3]), zeros(&[3, 6])]), "test.weft:3: `n` must be even");
    let mut short = zeros(&[4, 3]);
    short.data.pop();
    assert_eq!(
        message(&[short, zeros(&[3, 8])]),
        "`related`: input `a` holds 47 bytes, but its shape asks for 48"
    );
}

#[test]
fn inputs_are_found_by_name() {
    fn may_move_between_threads<T: Send>(_: &T) {}
    let session = session(related(), 1);
    may_move_between_threads(&session);
    let (a, b) = (Tensor::from_f32(&[2, 1], &[0.0; 2]), Tensor::from_f32(&[1, 4], &[0.0; 4]));
    assert_eq!(session.arrange(0, &[("b", b.view()), ("a", a.view())]).unwrap(), [a.view(), b.view()]);
    let message = |named: &[(&str, TensorView<'_>)]| session.arrange(0, named).unwrap_err().to_string();
    assert_eq!(message(&[("a", a.view())]), "`related`: input `b` is missing");
    assert_eq!(message(&[("x", a.view())]), "no input is named `x`; known: a, b");
}

#[test]
fn sizes_beyond_memory_are_errors() {
    let mut session = session(twice_summed(), 1);
    assert!(matches!(session.reserve(0, &[("n", usize::MAX)]), Err(Error::Dim { .. })));
    assert!(matches!(session.reserve(0, &[("n", 1 << 58)]), Err(Error::Memory { .. })));
    assert!(matches!(session.reserve(0, &[("m", 1)]), Err(Error::Dim { .. })));
    let x = rows(9);
    assert_eq!(session.run(0, &[x.view()]).unwrap().get(0).to_f32(), twice_summed_by_hand(&x));
}

#[test]
fn damaged_programs_are_refused() {
    let check = |damage: &dyn Fn(&mut Program), expected: &str| {
        let mut program = look_up();
        damage(&mut program);
        let result = Session::new(Arc::new(program), 1)
            .and_then(|mut session| session.run(0, &[Tensor::from_i32(&[1], &[0]).view()]).map(|_| ()));
        let message = result.unwrap_err().to_string();
        assert!(message.contains("not sound") && message.contains(expected), "{message}");
    };
    check(&|p| p.entries[0].dims[0] = DimExpr::Symbol(1), "dim 0");
    check(&|p| p.entries[0].dims[1] = DimExpr::Add(DimIndex(0), DimIndex(1)), "dim 1");
    check(&|p| p.entries[0].buffers[0].storage = Storage::Alias(BufferIndex(0)), "leads nowhere");
    check(&|p| p.entries[0].buffers[1].storage = Storage::Variable(1), "variable 1");
    check(&|p| p.entries[0].buffers[1].elements = DimIndex(99), "dim 99");
    let first = |p: &mut Program, change: &dyn Fn(&mut Launch)| {
        if let Step::Launch(launch) = &mut p.entries[0].segments[0].steps[0] {
            change(launch);
        }
    };
    check(&|p| first(p, &|l| l.buffers[0].buffer = BufferIndex(9)), "buffer 9");
    check(&|p| first(p, &|l| l.buffers[0].advance = vec![DimIndex(0)]), "moves with a loop");
    check(&|p| p.entries[0].inputs[0].buffer = BufferIndex(1), "no buffer of its own");
    check(&|p| p.variables[0].shape = vec![2, 2], "larger than its storage");
    check(&|p| p.variables.push(p.variables[0].clone()), "two variables");
    check(&|p| p.entries.push(p.entries[0].clone()), "two entries");
    check(&|p| first(p, &|l| l.kernel = Kernel::Nest { function: 5, dims: vec![] }), "function 5");
}

#[test]
fn sessions_that_only_read_share_their_weights() {
    let variable = Variable {
        path: "w".into(),
        kind: VariableKind::Weight,
        dtype: DType::F32,
        shape: vec![16],
        trainable: true,
        channels: Vec::new(),
    };
    let own = |entries| Program { variables: vec![variable.clone()], ..program(entries) };
    let reads = Arc::new(own(vec![]));
    let mut first = Session::new(Arc::clone(&reads), 1).unwrap();
    first.variable_bytes_mut(0).fill(7);
    let place = first.variable(0).data.as_ptr();
    let weights = first.into_weights().unwrap();
    let sessions: Vec<Session> = (1..=3)
        .map(|threads| Session::over_weights(Arc::clone(&reads), threads, &weights).unwrap())
        .collect();
    drop(weights);
    for session in &sessions {
        assert_eq!(session.variable(0).data, [7; 64]);
        assert_eq!(session.variable(0).data.as_ptr(), place);
    }
    let weights = Session::new(Arc::clone(&reads), 1).unwrap().into_weights().unwrap();
    let refused = |program: Program| {
        Session::over_weights(Arc::new(program), 1, &weights).map(|_| ()).unwrap_err().to_string()
    };
    let changes = Entry { name: "step".into(), changes: vec![0], ..Entry::default() };
    assert!(refused(own(vec![changes])).contains("`step` changes weights that others read"));
    assert!(refused(program(vec![])).contains("another size"));
}
