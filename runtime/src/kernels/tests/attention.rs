use super::{Dims, Scratch, numbers};
use crate::kernels::Bound;
use crate::kernels::index::Stray;
use crate::kernels::isa::Level;
use crate::program::{Attention, Kernel};
use proptest::prelude::*;

/// The sizes and options of one case.
#[derive(Clone, Debug)]
struct Case {
    n: usize,
    queries: usize,
    keys: usize,
    groups: usize,
    each: usize,
    width: usize,
    depth: usize,
    causal: bool,
    /// Keys before the place of the first query.
    before: usize,
    bias: bool,
    mask: bool,
    /// Queries, keys and values are parts of one tensor, `[n, steps, all heads, width]`; else each is `[n, heads, steps, width]`.
    side_by_side: bool,
}

/// A tensor `[n, steps, heads, width]` somewhere in memory.
struct Operand {
    data: Vec<f32>,
    strides: [usize; 3],
}

impl Operand {
    fn new(n: usize, steps: usize, heads: usize, width: usize, gaps: bool, seed: u64) -> Operand {
        let row = if gaps { heads * width + 5 } else { width };
        let strides =
            if gaps { [steps * row, row, width] } else { [heads * steps * width, width, steps * width] };
        Operand { data: numbers(n * steps * heads.max(1) * (width + 5) + 64, seed), strides }
    }

    fn at(&self, n: usize, step: usize, head: usize, i: usize) -> f64 {
        f64::from(self.data[n * self.strides[0] + step * self.strides[1] + head * self.strides[2] + i])
    }
}

/// What attention gives, computed element by element.
struct Naive {
    result: Vec<f64>,
    sums: Vec<f64>,
    dq: Vec<f64>,
    dk: Vec<f64>,
    dv: Vec<f64>,
    bias: Vec<f64>,
}

fn naive(case: &Case, [q, k, v, g]: [&Operand; 4], bias: &[f32], mask: &[u8], scale: f64) -> Naive {
    let Case { n, queries, keys, groups, each, width, depth, .. } = *case;
    let heads = groups * each;
    let mut out = Naive {
        result: vec![0.0; n * queries * heads * depth],
        sums: vec![0.0; n * heads * queries],
        dq: vec![0.0; n * queries * heads * width],
        dk: vec![0.0; n * keys * groups * width],
        dv: vec![0.0; n * keys * groups * depth],
        bias: vec![0.0; n * heads * queries * keys],
    };
    for (b, h, t) in (0..n).flat_map(|b| (0..heads).flat_map(move |h| (0..queries).map(move |t| (b, h, t)))) {
        let group = h / each;
        let seen = |s: usize| {
            (!case.causal || s <= t + case.before)
                && (!case.mask || mask[b * queries * keys + t * keys + s] != 0)
        };
        let score = |s: usize| {
            let product: f64 = (0..width).map(|i| q.at(b, t, h, i) * k.at(b, s, group, i)).sum();
            let more = if case.bias { f64::from(bias[(h * queries + t) * keys + s]) } else { 0.0 };
            product * scale + more
        };
        let total: f64 = (0..keys).filter(|s| seen(*s)).map(|s| score(s).exp()).sum();
        let weight = |s: usize| if seen(s) { score(s).exp() / total } else { 0.0 };
        out.sums[(b * heads + h) * queries + t] = if total == 0.0 { f64::INFINITY } else { total.ln() };
        let row = (b * queries + t) * heads + h;
        let slopes: Vec<f64> =
            (0..keys).map(|s| (0..depth).map(|i| g.at(b, t, h, i) * v.at(b, s, group, i)).sum()).collect();
        let mean: f64 = (0..keys).map(|s| weight(s) * slopes[s]).sum();
        for s in 0..keys {
            let p = weight(s);
            let slope = p * (slopes[s] - mean);
            out.bias[((b * heads + h) * queries + t) * keys + s] = slope;
            let of_keys = (b * keys + s) * groups + group;
            for i in 0..depth {
                out.result[row * depth + i] += p * v.at(b, s, group, i);
                out.dv[of_keys * depth + i] += p * g.at(b, t, h, i);
            }
            for i in 0..width {
                out.dq[row * width + i] += scale * slope * k.at(b, s, group, i);
                out.dk[of_keys * width + i] += scale * slope * q.at(b, t, h, i);
            }
        }
    }
    out
}

fn close(what: &str, got: &[f32], expected: &[f64], case: &Case, level: Level) {
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let near = (f64::from(*got) - expected).abs() <= 2e-5 * expected.abs().max(1.0);
        assert!(
            near || f64::from(*got) == *expected,
            "{what}[{at}] is {got}, not {expected} ({case:?}, {level:?})"
        );
    }
}

/// Runs the whole index space in pieces, the last first.
fn run(kernel: &Kernel, dims: &[i64], buffers: &[*mut u8], level: Level) {
    let bound = Bound::bind_at(kernel, dims, level).expect("the kernel binds");
    let mut scratch = Scratch::new(bound.scratch_bytes());
    let stray = Stray::default();
    let middle = bound.extent() / 3;
    for range in [middle..bound.extent(), 0..middle] {
        // SAFETY: buffers and scratch are as large as the kernel's doc says.
        unsafe { bound.run(buffers, range.start, range.end, scratch.start(), &stray) };
    }
    scratch.check();
}

fn check(case: &Case) {
    let Case { n, queries, keys, groups, each, width, depth, .. } = *case;
    let heads = groups * each;
    let gaps = case.side_by_side;
    let q = Operand::new(n, queries, heads, width, gaps, 1);
    let k = Operand::new(n, keys, groups, width, gaps, 2);
    let v = Operand::new(n, keys, groups, depth, gaps, 3);
    let g = Operand::new(n, queries, heads, depth, gaps, 4);
    let bias = numbers(heads * queries * keys, 5);
    let mut mask: Vec<u8> = numbers(n * queries * keys, 6).iter().map(|x| u8::from(*x > -0.4)).collect();
    // A query that sees nothing.
    mask.iter_mut().take(keys).for_each(|m| *m = 0);
    let scale = (width as f32).powf(-0.5);
    let expected = naive(case, [&q, &k, &v, &g], &bias, &mask, f64::from(scale));

    let mut d = Dims::default();
    let mut three = |operand: &Operand| operand.strides.map(|s| d.add(s));
    let (sq, sk, sv, sg) = (three(&q), three(&k), three(&v), three(&g));
    let forward = Attention {
        backward: false,
        n: d.add(n),
        queries: d.add(queries),
        keys: d.add(keys),
        heads: d.add(heads),
        groups: d.add(groups),
        width: d.add(width),
        depth: d.add(depth),
        scale: scale.to_bits(),
        causal: case.causal.then(|| d.add(case.before)),
        q: sq,
        k: sk,
        v: sv,
        gradient: sg,
        bias: case.bias.then(|| [0, queries * keys, keys, 1].map(|s| d.add(s))),
        mask: case.mask.then(|| [queries * keys, 0, keys, 1].map(|s| d.add(s))),
        bias_gradient: false,
    };
    let backward = Attention { backward: true, bias_gradient: case.bias, ..forward.clone() };
    for level in Level::available() {
        let mut result = vec![f32::NAN; expected.result.len()];
        let mut sums = vec![f32::NAN; expected.sums.len()];
        let pointer = |list: &[f32]| list.as_ptr().cast_mut().cast::<u8>();
        let mut inputs = vec![pointer(&q.data), pointer(&k.data), pointer(&v.data)];
        inputs.extend(case.bias.then(|| pointer(&bias)));
        inputs.extend(case.mask.then(|| mask.as_ptr().cast_mut()));
        let mut buffers = inputs.clone();
        buffers.extend([result.as_mut_ptr().cast(), sums.as_mut_ptr().cast()]);
        run(&Kernel::Attention(forward.clone()), &d.0, &buffers, level);
        close("result", &result, &expected.result, case, level);
        close("sums", &sums, &expected.sums, case, level);

        let mut outs =
            [&expected.dq, &expected.dk, &expected.dv, &expected.bias].map(|e| vec![f32::NAN; e.len()]);
        let mut buffers = inputs;
        buffers.extend([result.as_mut_ptr().cast(), sums.as_mut_ptr().cast(), pointer(&g.data)]);
        let count = if case.bias { 4 } else { 3 };
        buffers.extend(outs.iter_mut().take(count).map(|out| out.as_mut_ptr().cast::<u8>()));
        run(&Kernel::Attention(backward.clone()), &d.0, &buffers, level);
        let [dq, dk, dv, dbias] = &outs;
        close("dq", dq, &expected.dq, case, level);
        close("dk", dk, &expected.dk, case, level);
        close("dv", dv, &expected.dv, case, level);
        if case.bias {
            close("bias", dbias, &expected.bias, case, level);
        }
    }
}

fn plain(queries: usize, keys: usize) -> Case {
    Case {
        n: 2,
        queries,
        keys,
        groups: 2,
        each: 1,
        width: 8,
        depth: 8,
        causal: false,
        before: 0,
        bias: false,
        mask: false,
        side_by_side: true,
    }
}

#[test]
fn attention_agrees_with_its_definition() {
    check(&plain(5, 7));
    check(&Case { causal: true, ..plain(130, 130) });
    // More keys than one block holds, so that results are rescaled as the highest score grows.
    check(&Case { n: 1, groups: 1, bias: true, mask: true, ..plain(3, 1100) });
    check(&Case { n: 1, groups: 1, causal: true, ..plain(1100, 1100) });
    // Grouped heads, other widths for keys and values, and heads that lie one after another.
    check(&Case { each: 3, width: 5, depth: 33, side_by_side: false, ..plain(50, 31) });
    // Causal with more keys than queries, and fewer.
    check(&Case { causal: true, ..plain(4, 9) });
    check(&Case { causal: true, ..plain(60, 9) });
    // The newest steps of a sequence: one, a few, more than a block of them.
    check(&Case { causal: true, before: 8, ..plain(1, 9) });
    check(&Case { causal: true, before: 600, ..plain(3, 603) });
    check(&Case { causal: true, before: 530, ..plain(100, 630) });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn attention_at_odd_sizes(
        (n, (queries, keys)) in (1usize..3, prop_oneof![(1usize..100, 1usize..100), (1usize..6, 1usize..700)]),
        (groups, each, width, depth) in (1usize..3, 1usize..3, 1usize..40, 1usize..40),
        (causal, newest, bias, mask, side_by_side) in (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
    ) {
        let before = if newest { keys.saturating_sub(queries) } else { 0 };
        check(&Case { n, queries, keys, groups, each, width, depth, causal, before, bias, mask, side_by_side });
    }
}
