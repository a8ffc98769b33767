//! Loops: what moves with them, what stays with a task, and what is refused.

use super::testing::{ADD_SQUARE, Builder, COUNT_UP, DIVIDE, allocations};
use super::tests::session;
use crate::program::*;
use crate::tensor::Tensor;

/// x: f32[t, s] → y[i, j] = x[i, j] / the sum of the squares of all x up to there, in the order of the loops.
fn shares(outer_reversed: bool, inner_reversed: bool) -> Builder {
    let mut b = Builder::new("shares", &["t", "s"]);
    let (t, s) = (b.dim(DimExpr::Symbol(0)), b.dim(DimExpr::Symbol(1)));
    let (zero, one) = (b.constant(0), b.constant(1));
    let elements = b.dim(DimExpr::Mul(t, s));
    let x = b.input("x", DType::F32, &[t, s], InputSource::Caller);
    let y = b.buffer(DType::F32, elements, Storage::Arena { first: 0, last: 0 });
    let sum = b.buffer(DType::F32, one, Storage::Arena { first: 0, last: 0 });
    let clear = b.launch(Kernel::Nest { function: COUNT_UP, dims: vec![zero] }, one, &[sum]);
    let mut add = b.launch(Kernel::Nest { function: ADD_SQUARE, dims: vec![] }, one, &[sum, x]);
    let mut divide = b.launch(Kernel::Nest { function: DIVIDE, dims: vec![] }, one, &[x, sum, y]);
    let along = vec![s, one];
    add.buffers[1].advance = along.clone();
    divide.buffers[0].advance = along.clone();
    divide.buffers[2].advance = along;
    let steps = vec![Step::Launch(add), Step::Launch(divide)];
    let inner = Step::Loop(Loop { trip: s, reversed: inner_reversed, block: one, steps });
    let outer = Step::Loop(Loop { trip: t, reversed: outer_reversed, block: one, steps: vec![inner] });
    let steps = vec![Step::Launch(clear), outer];
    b.0.segments.push(Segment { units: one, grain: one, steps, follows: false });
    b.output("y", &[t, s], y);
    b
}

#[test]
fn nested_loops_move_forwards_and_backwards() {
    for (outer, inner) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut session = session(shares(outer, inner), 1);
        for (t, s) in [(3, 4), (1, 1), (1, 5), (5, 1), (0, 3), (3, 0), (2, 7)] {
            let values: Vec<f32> = (0..t * s).map(|i| 1.0 + i as f32).collect();
            let mut expected = vec![0.0; t * s];
            let mut sum = 0.0;
            for i in 0..t {
                for j in 0..s {
                    let i = if outer { t - 1 - i } else { i };
                    let j = if inner { s - 1 - j } else { j };
                    sum += values[i * s + j] * values[i * s + j];
                    expected[i * s + j] = values[i * s + j] / sum;
                }
            }
            let x = Tensor::from_f32(&[t, s], &values);
            let got = session.run(0, &[x.view()]).unwrap().get(0).to_f32();
            assert_eq!(got, expected, "{t} x {s}, reversed: {outer}, {inner}");
        }
    }
}

/// x: f32[n, 8] → its running sums again and again, two for each of `t` steps, in the memory of each task; y[i] is what there
/// is at step i.
fn summed_again() -> Builder {
    let mut b = Builder::new("again", &["n", "t"]);
    let (n, t) = (b.dim(DimExpr::Symbol(0)), b.dim(DimExpr::Symbol(1)));
    let (one, width) = (b.constant(1), b.constant(8));
    let row = b.dim(DimExpr::Mul(n, width));
    let all = b.dim(DimExpr::Mul(row, t));
    let x = b.input("x", DType::F32, &[n, width], InputSource::Caller);
    let turns = b.input("turns", DType::F32, &[t], InputSource::Caller);
    let y = b.buffer(DType::F32, all, Storage::Arena { first: 0, last: 0 });
    let (here, there) =
        (b.buffer(DType::F32, row, Storage::Local), b.buffer(DType::F32, row, Storage::Local));
    let sum = |b: &mut Builder, buffers: [BufferIndex; 2]| {
        let kernel = Kernel::CumulativeSum { axis: width, inner: one, reverse: false, exclusive: false };
        b.launch(kernel, one, &buffers)
    };
    let first = sum(&mut b, [x, here]);
    let (forth, back, mut out) =
        (sum(&mut b, [here, there]), sum(&mut b, [there, here]), sum(&mut b, [there, y]));
    out.buffers[1].advance = vec![row];
    let steps = [forth, back, out].map(Step::Launch).to_vec();
    let steps = vec![Step::Launch(first), Step::Loop(Loop { trip: t, reversed: true, block: one, steps })];
    let grain = b.constant(3);
    b.0.segments.push(Segment { units: n, grain, steps, follows: false });
    b.output("y", &[t, n, width], y);
    let _ = turns;
    b
}

#[test]
fn tasks_loop_in_memory_of_their_own_and_allocate_nothing() {
    for threads in [1, 2, 3, 7] {
        let mut session = session(summed_again(), threads);
        for (n, t) in [(1, 3), (64, 1), (70, 4), (5, 0), (64, 4)] {
            let x: Vec<f32> = (0..n * 8).map(|i| (i % 5) as f32).collect();
            let summed = |values: &[f32]| -> Vec<f32> {
                let mut values = values.to_vec();
                for i in (0..values.len()).filter(|i| i % 8 != 0) {
                    values[i] += values[i - 1];
                }
                values
            };
            let mut expected = vec![0.0; t * n * 8];
            let mut here = summed(&x);
            for i in (0..t).rev() {
                here = summed(&summed(&here));
                expected[i * n * 8..(i + 1) * n * 8].copy_from_slice(&here);
            }
            let (x, turns) = (Tensor::from_f32(&[n, 8], &x), Tensor::from_f32(&[t], &vec![0.0; t]));
            let got = session.run(0, &[x.view(), turns.view()]).unwrap().get(0).to_f32();
            assert_eq!(got, expected, "{n} rows, {t} turns, {threads} threads");
            let before = allocations();
            session.run(0, &[x.view(), turns.view()]).unwrap();
            assert_eq!(allocations(), before);
        }
    }
}

#[test]
fn a_slice_that_leaves_its_buffer_is_refused() {
    for forwards in [true, false] {
        let mut b = shares(false, false);
        // One row too far at the last turn, or one before the first.
        let step = b.constant(if forwards { 1000 } else { -1 });
        if let Step::Loop(outer) = &mut b.0.segments[0].steps[1]
            && let Step::Loop(inner) = &mut outer.steps[0]
            && let Step::Launch(launch) = &mut inner.steps[0]
        {
            launch.buffers[1].advance[0] = step;
        }
        let mut session = session(b, 1);
        let x = Tensor::from_f32(&[3, 4], &[1.0; 12]);
        let error = session.run(0, &[x.view()]).unwrap_err().to_string();
        assert!(error.contains("starts outside"), "{error}");
    }
}

#[test]
fn blocks_and_segments_that_follow_need_their_loops() {
    type Change = fn(&mut Builder);
    let wrong: [(Change, &str); 3] = [
        (|b| b.0.segments[0].follows = true, "follows"),
        (
            |b| {
                if let Step::Launch(clear) = &mut b.0.segments[0].steps[0] {
                    clear.ahead = true;
                }
            },
            "that it is not in",
        ),
        (
            |b| {
                if let Step::Loop(outer) = &mut b.0.segments[0].steps[1]
                    && let Step::Loop(inner) = &mut outer.steps[0]
                    && let Step::Launch(divide) = &mut inner.steps[1]
                {
                    divide.ahead = true;
                }
            },
            "does not come first",
        ),
    ];
    for (change, message) in wrong {
        let mut b = shares(false, false);
        change(&mut b);
        let error = super::sound::check(&super::tests::program(vec![b.0])).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn profiles_and_errors_find_the_launch_in_a_loop() {
    let mut b = Builder::new("look", &["t"]);
    let t = b.dim(DimExpr::Symbol(0));
    let (one, two) = (b.constant(1), b.constant(2));
    let table = b.input("table", DType::F32, &[two], InputSource::Caller);
    let places = b.input("places", DType::I32, &[t], InputSource::Caller);
    let out = b.buffer(DType::F32, t, Storage::Arena { first: 0, last: 0 });
    let gather = Kernel::Gather { dtype: DType::F32, axis: two, count: one, inner: one };
    let mut launch = b.launch(gather, one, &[table, places, out]);
    launch.path = "in.the.loop".into();
    launch.buffers[1].advance = vec![one];
    launch.buffers[2].advance = vec![one];
    let steps = vec![Step::Launch(launch)];
    let steps = vec![Step::Loop(Loop { trip: t, reversed: false, block: one, steps })];
    b.0.segments.push(Segment { units: one, grain: one, steps, follows: false });
    b.output("out", &[t], out);
    let mut session = session(b, 1);
    let table = Tensor::from_f32(&[2], &[5.0, 6.0]);
    let good = Tensor::from_i32(&[3], &[1, 0, 1]);
    assert_eq!(session.run(0, &[table.view(), good.view()]).unwrap().get(0).to_f32(), [6.0, 5.0, 6.0]);
    let profile = session.run_profiled(0, &[table.view(), good.view()]).unwrap();
    assert_eq!(profile.launches.len(), 1);
    assert_eq!(profile.launches[0].launch.path, "in.the.loop");
    let bad = Tensor::from_i32(&[3], &[1, 2, 0]);
    let error = session.run(0, &[table.view(), bad.view()]).unwrap_err().to_string();
    assert!(error.contains("in.the.loop"), "{error}");
}
