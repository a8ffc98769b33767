use super::{Bound, Dims, Scratch, check, numbers, run};
use crate::kernels::isa::Level;
use crate::program::{Contraction, DType, Kernel, PANEL, Pack, Partition, Stride};
use proptest::prelude::*;

/// How A and B lie in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// A [batch, m, k], B [batch, k, n].
    Plain,
    /// A [batch, k, m].
    TransposedA,
    /// B [batch, n, k], which the kernel packs as it goes.
    TransposedB,
    /// B [k, n], shared by the batch, packed from [n, k].
    Packed,
    /// m and k are two axes each, that don't collapse: A [k0, m0, k1, m1], B [k0, k1, n] with gaps, C [m1, m0, n].
    Split,
}

fn case(
    form: Form,
    batch: usize,
    m: [usize; 2],
    k: [usize; 2],
    n: usize,
    partition: Partition,
    splits: u32,
    cuts: &[usize],
) {
    let mut d = Dims::default();
    let packed = form == Form::Packed;
    let (rows, depth) = (m[0] * m[1], k[0] * k[1]);
    // Strides of batch, m0, m1, k0, k1 in A; of batch, k0, k1 in B; of batch, m0, m1 in C.
    let (sa, sb, sc);
    match form {
        Form::Plain | Form::Packed => {
            sa = [rows * depth, m[1] * depth, depth, k[1], 1];
            sb = [if packed { 0 } else { depth * n }, k[1] * n, n];
            sc = [rows * n, m[1] * n, n];
        }
        Form::TransposedB => {
            sa = [rows * depth, m[1] * depth, depth, k[1], 1];
            sb = [depth * n, k[1], 1];
            sc = [rows * n, m[1] * n, n];
        }
        Form::TransposedA => {
            sa = [rows * depth, m[1], 1, k[1] * rows, rows];
            sb = [depth * n, k[1] * n, n];
            sc = [rows * n, m[1] * n, n];
        }
        Form::Split => {
            sa = [rows * depth, k[1] * m[1], 1, m[0] * k[1] * m[1], m[1]];
            sb = [(depth + k[0]) * (n + 3), (k[1] + 1) * (n + 3), n + 3];
            sc = [rows * n, n, m[0] * n];
        }
    }
    let a = numbers(batch * rows * depth, 1);
    let b = numbers(if packed { depth * n } else { batch * (depth + k[0]) * (n + 3) }, 2);
    let b_column = if form == Form::TransposedB { depth } else { 1 };
    let b_at = |p: usize, k0: usize, k1: usize, j: usize| {
        if packed { j * depth + k0 * k[1] + k1 } else { p * sb[0] + k0 * sb[1] + k1 * sb[2] + j * b_column }
    };
    let splits_from =
        |total: usize, split: usize| total * split / splits as usize..total * (split + 1) / splits as usize;
    // Where k is two axes, the outer one is cut.
    let two = form == Form::Split && k[0] > 1 && k[1] > 1;
    let mut expected = vec![0.0f64; splits as usize * batch * rows * n];
    for split in 0..splits as usize {
        for p in 0..batch {
            for i0 in 0..m[0] {
                for i1 in 0..m[1] {
                    for j in 0..n {
                        let mut sum = 0.0;
                        for k0 in 0..k[0] {
                            for k1 in 0..k[1] {
                                let inside = if two {
                                    splits_from(k[0], split).contains(&k0)
                                } else {
                                    splits_from(depth, split).contains(&(k0 * k[1] + k1))
                                };
                                if inside {
                                    let x = a[p * sa[0] + i0 * sa[1] + i1 * sa[2] + k0 * sa[3] + k1 * sa[4]];
                                    sum += f64::from(x) * f64::from(b[b_at(p, k0, k1, j)]);
                                }
                            }
                        }
                        expected[split * batch * rows * n + p * sc[0] + i0 * sc[1] + i1 * sc[2] + j] = sum;
                    }
                }
            }
        }
    }
    let mut stride = |extent: usize, a: Option<usize>, b: Option<usize>, c: Option<usize>| Stride {
        extent: d.add(extent),
        a: a.map(|x| d.add(x)),
        b: b.map(|x| d.add(x)),
        c: c.map(|x| d.add(x)),
    };
    let contraction = Contraction {
        batch: vec![stride(batch, Some(sa[0]), (!packed).then_some(sb[0]), Some(sc[0]))],
        m: vec![stride(m[0], Some(sa[1]), None, Some(sc[1])), stride(m[1], Some(sa[2]), None, Some(sc[2]))],
        k: vec![stride(k[0], Some(sa[3]), Some(sb[1]), None), stride(k[1], Some(sa[4]), Some(sb[2]), None)],
        n: stride(n, None, Some(b_column), Some(1)),
        packed,
        kept: DType::F32,
        partition,
        splits,
        adds: false,
    };
    let panels = if packed {
        let pack = Pack {
            taps: stride(1, Some(0), None, None),
            k: stride(depth, Some(1), None, None),
            n: stride(n, Some(depth), None, None),
            kept: DType::F32,
        };
        pack_naive_and_check(&pack, &d, &b, depth, n)
    } else {
        b
    };
    check(&Kernel::Contraction(contraction), &d, &[&a, &panels], &expected, None, cuts);
}

/// Packs B [n, k] by the kernel, which must equal a naive packing, and returns the panels.
fn pack_naive_and_check(pack: &Pack, dims: &Dims, b: &[f32], depth: usize, n: usize) -> Vec<f32> {
    let mut panels = vec![0.0; n.div_ceil(PANEL) * depth * PANEL];
    for j in 0..n {
        for i in 0..depth {
            panels[(j / PANEL * depth + i) * PANEL + j % PANEL] = b[j * depth + i];
        }
    }
    let expected: Vec<f64> = panels.iter().map(|&x| f64::from(x)).collect();
    check(&Kernel::Pack(pack.clone()), dims, &[b], &expected, None, &[1, 2]);
    panels
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn contractions_equal_naive_sums(
        form in prop_oneof![Just(Form::Plain), Just(Form::TransposedA), Just(Form::TransposedB), Just(Form::Packed), Just(Form::Split)],
        batch in 1usize..4,
        m in [1usize..6, 1usize..30],
        k in [1usize..4, 1usize..40],
        n in 1usize..100,
        tiles in any::<bool>(),
        splits in 1u32..4,
        cuts in proptest::collection::vec(0usize..1000, 3),
    ) {
        let partition = if tiles { Partition::Tiles } else { Partition::Rows };
        case(form, batch, m, k, n, partition, splits, &cuts);
    }
}

#[test]
fn long_sums_and_empty_extents() {
    for partition in [Partition::Rows, Partition::Tiles] {
        case(Form::Plain, 1, [1, 3], [1, 700], 40, partition, 1, &[2]);
        case(Form::Plain, 1, [1, 3], [1, 700], 40, partition, 3, &[2]);
        case(Form::TransposedA, 1, [1, 130], [1, 300], 70, partition, 1, &[1, 5]);
        case(Form::Packed, 2, [1, 50], [1, 300], 70, partition, 2, &[1, 5]);
        case(Form::Split, 1, [2, 13], [3, 300], 33, partition, 2, &[7]);
        case(Form::Split, 1, [2, 13], [100, 7], 33, partition, 1, &[7]);
        case(Form::TransposedB, 2, [1, 250], [1, 900], 70, partition, 2, &[1, 5]);
        case(Form::TransposedB, 1, [1, 5], [1, 0], 9, partition, 1, &[1]);
        // An empty sum is zero; no rows are no work.
        case(Form::Plain, 2, [1, 5], [1, 0], 9, partition, 1, &[1]);
        case(Form::Plain, 2, [1, 0], [1, 5], 9, partition, 1, &[1]);
        case(Form::Plain, 0, [1, 3], [1, 5], 9, partition, 1, &[1]);
        case(Form::Plain, 1, [1, 3], [1, 5], 0, partition, 1, &[1]);
        // Fewer elements of k than splits.
        case(Form::Plain, 1, [1, 3], [1, 2], 9, partition, 3, &[1]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Large enough that both operands are packed, and that there are several bands, groups of panels and blocks of k.
    #[test]
    fn large_contractions_pack_both_operands(
        form in prop_oneof![Just(Form::TransposedA), Just(Form::Split)],
        m in [1usize..3, 256usize..300],
        k in [1usize..3, 1usize..500],
        n in 60usize..260,
        splits in 1u32..3,
        cuts in proptest::collection::vec(0usize..1000, 3),
    ) {
        case(form, 1, m, k, n, Partition::Tiles, splits, &cuts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn few_rows_equal_naive_sums(
        form in prop_oneof![Just(Form::Plain), Just(Form::TransposedA), Just(Form::TransposedB), Just(Form::Split)],
        batch in 1usize..3,
        m in [1usize..3, 1usize..3],
        k in [1usize..3, 1usize..450],
        n in 33usize..1200,
        tiles in any::<bool>(),
        splits in 1u32..3,
        cuts in proptest::collection::vec(0usize..1000, 3),
    ) {
        let partition = if tiles { Partition::Tiles } else { Partition::Rows };
        case(form, batch, m, k, n, partition, splits, &cuts);
    }
}

/// What is read once in long stretches has the bits of what register tiles make.
#[test]
fn few_rows_and_many_have_the_same_bits() {
    let (depth, n) = (1000, 300);
    let (a, b) = (numbers(8 * depth, 1), numbers(depth * n, 2));
    let product = |rows: usize, level| {
        let mut d = Dims::default();
        let mut stride = |extent: usize, a: usize, b: usize, c: usize| Stride {
            extent: d.add(extent),
            a: Some(d.add(a)),
            b: Some(d.add(b)),
            c: Some(d.add(c)),
        };
        let contraction = Contraction {
            batch: vec![],
            m: vec![stride(rows, depth, 0, n)],
            k: vec![stride(depth, 1, n, 0)],
            n: stride(n, 0, 1, 1),
            packed: false,
            kept: DType::F32,
            partition: Partition::Tiles,
            splits: 1,
            adds: false,
        };
        run(&Kernel::Contraction(contraction), &d.0, &[&a, &b], rows * n, None, level, &[3])
    };
    for level in Level::available() {
        let many = product(8, level);
        for rows in 1..=4 {
            assert_eq!(product(rows, level), many[..rows * n], "{rows} rows, {}", level.name());
        }
    }
}

/// A [rows, depth], whose rows are `apart` elements apart, by B [depth, n]: what packs B, and what multiplies.
fn packed_rows(d: &mut Dims, [rows, depth, n]: [usize; 3], apart: usize, adds: bool) -> (Pack, Contraction) {
    let mut stride = |extent: usize, a: usize, b: usize, c: usize| Stride {
        extent: d.add(extent),
        a: Some(d.add(a)),
        b: Some(d.add(b)),
        c: Some(d.add(c)),
    };
    let taps = stride(1, 0, 0, 0);
    let pack = Pack { taps, k: stride(depth, n, 0, 0), n: stride(n, 1, 0, 0), kept: DType::F32 };
    let contraction = Contraction {
        batch: vec![],
        m: vec![stride(rows, apart, 0, n)],
        k: vec![stride(depth, 1, 0, 0)],
        n: stride(n, 0, 1, 1),
        packed: true,
        kept: DType::F32,
        partition: Partition::Rows,
        splits: 1,
        adds,
    };
    (pack, contraction)
}

/// What was there, and a product: the canaries that a test's output is full of.
#[test]
fn a_product_may_be_added_to_what_is_there() {
    let (rows, depth, n) = (29, 70, 45);
    let (a, b) = (numbers(rows * depth, 1), numbers(depth * n, 2));
    let mut d = Dims::default();
    let (pack, contraction) = packed_rows(&mut d, [rows, depth, n], depth, false);
    for level in Level::available() {
        let panels = n.div_ceil(PANEL) * depth * PANEL;
        let packed = run(&Kernel::Pack(pack.clone()), &d.0, &[&b], panels, None, level, &[]);
        let product = |adds: bool, cuts: &[usize]| {
            let kernel = Kernel::Contraction(Contraction { adds, ..contraction.clone() });
            run(&kernel, &d.0, &[&a, &packed], rows * n, None, level, cuts)
        };
        let alone = product(false, &[]);
        let sums: Vec<f32> = alone.iter().map(|x| 1234.5 + x).collect();
        assert_eq!(product(true, &[]), sums, "{}", level.name());
        assert_eq!(product(true, &[4, 17]), sums, "{}", level.name());
    }
    // Nothing else has this form.
    let loose = Kernel::Contraction(Contraction { packed: false, adds: true, ..contraction });
    assert!(super::Bound::bind_at(&loose, &d.0, Level::best()).is_err());
}

/// Two products in the same registers: their sum, whatever was in C, and the same bits in pieces.
#[test]
fn a_product_goes_on_with_the_sums_of_the_one_before() {
    for (rows, depths, n) in [(150, [70, 64], 45), (11, [10, 64], 256), (16, [1, 3], 32), (5, [64, 0], 7)] {
        let mut d = Dims::default();
        let given = depths.map(|depth| (numbers(rows * (depth + 3), 1), numbers(depth * n, 2)));
        let mut parts = Vec::new();
        for (depth, adds) in depths.into_iter().zip([false, true]) {
            let (pack, contraction) = packed_rows(&mut d, [rows, depth, n], depth + 3, adds);
            parts.push((Kernel::Pack(pack), Kernel::Contraction(contraction)));
        }
        let expected: Vec<f64> = (0..rows * n)
            .map(|at| {
                let products = given.iter().zip(depths).map(|((a, b), depth)| {
                    let term =
                        |k: usize| f64::from(a[at / n * (depth + 3) + k]) * f64::from(b[k * n + at % n]);
                    (0..depth).map(term).sum::<f64>()
                });
                products.sum()
            })
            .collect();
        for level in Level::available() {
            let panels: Vec<Vec<f32>> = (0..2)
                .map(|part| {
                    let room = n.div_ceil(PANEL) * depths[part] * PANEL;
                    run(&parts[part].0, &d.0, &[&given[part].1], room, None, level, &[])
                })
                .collect();
            let bound = [0, 1].map(|part| Bound::bind_at(&parts[part].1, &d.0, level).unwrap());
            assert!(bound[0].can_go_on(&bound[1]) && !bound[1].can_go_on(&bound[0]));
            let product = |points: &[usize]| {
                let mut c = vec![1234.5f32; rows * n];
                let mut scratch = Scratch::new(bound[0].scratch_bytes().max(bound[1].scratch_bytes()));
                let to = c.as_mut_ptr().cast::<u8>();
                let buffers = [0, 1].map(|part| {
                    [given[part].0.as_ptr().cast_mut().cast(), panels[part].as_ptr().cast_mut().cast(), to]
                });
                for range in points.windows(2) {
                    let buffers = [&buffers[0][..], &buffers[1][..]];
                    // SAFETY: buffers and scratch are as large as the kernel's doc says.
                    unsafe { bound[0].run_on(&bound[1], buffers, range[0], range[1], scratch.start()) };
                }
                scratch.check();
                c
            };
            let whole = product(&[0, rows]);
            for (got, want) in whole.iter().zip(&expected) {
                assert!((f64::from(*got) - want).abs() < 1e-4, "{got} instead of {want}, {}", level.name());
            }
            assert_eq!(whole, product(&[0, 3, 4, rows]), "{}", level.name());
        }
    }
}

/// A narrow B: its bytes, and what each element stands for.
fn narrowed(values: &[f32], kept: DType) -> (Vec<u8>, Vec<f32>) {
    match kept {
        DType::BF16 => {
            let narrow: Vec<half::bf16> = values.iter().map(|v| half::bf16::from_f32(*v)).collect();
            let bytes = narrow.iter().flat_map(|v| v.to_le_bytes()).collect();
            (bytes, narrow.iter().map(|v| v.to_f32()).collect())
        }
        _ => {
            let narrow: Vec<i8> = values.iter().map(|v| (v * 127.0).round() as i8).collect();
            (narrow.iter().map(|v| *v as u8).collect(), narrow.iter().map(|v| f32::from(*v)).collect())
        }
    }
}

/// Bytes in memory that may be read as f32.
fn aligned(bytes: &[u8]) -> Vec<f32> {
    let words = bytes.chunks(4).map(|chunk| {
        let mut word = [0xff; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        f32::from_le_bytes(word)
    });
    words.collect()
}

/// `C[rows, n]` from a narrow B, which lies as `[k, n]`, or as `[n, k]` where `turned`, and is packed first where `packed`.
fn narrow_case(
    kept: DType,
    [rows, depth, n]: [usize; 3],
    turned: bool,
    packed: bool,
    partition: Partition,
    splits: u32,
    cuts: &[usize],
) {
    let mut d = Dims::default();
    let a = numbers(rows * depth, 1);
    let (bytes, b) = narrowed(&numbers(depth * n, 2), kept);
    let scales: Vec<f32> = numbers(n, 3).iter().map(|s| (s + 1.5) / 127.0).collect();
    let (k_step, n_step) = if turned { (1, depth) } else { (n, 1) };
    let mut expected = vec![0.0f64; splits as usize * rows * n];
    for split in 0..splits as usize {
        for i in 0..rows {
            for j in 0..n {
                let ks = depth * split / splits as usize..depth * (split + 1) / splits as usize;
                let sum: f64 =
                    ks.map(|k| f64::from(a[i * depth + k]) * f64::from(b[k * k_step + j * n_step])).sum();
                let scale = if kept == DType::I8 { f64::from(scales[j]) } else { 1.0 };
                expected[(split * rows + i) * n + j] = sum * scale;
            }
        }
    }
    let mut stride = |extent: usize, a: usize, b: usize, c: usize| Stride {
        extent: d.add(extent),
        a: Some(d.add(a)),
        b: Some(d.add(b)),
        c: Some(d.add(c)),
    };
    let contraction = Contraction {
        batch: vec![],
        m: vec![stride(rows, depth, 0, n)],
        k: vec![stride(depth, 1, k_step, 0)],
        n: stride(n, 0, n_step, 1),
        packed,
        kept,
        partition,
        splits,
        adds: false,
    };
    let pack =
        Pack { taps: stride(1, 0, 0, 0), k: stride(depth, k_step, 0, 0), n: stride(n, n_step, 0, 0), kept };
    let mut kept_b = aligned(&bytes);
    if packed {
        let size = kept.size();
        let panels = run(
            &Kernel::Pack(pack),
            &d.0,
            &[&kept_b],
            n.div_ceil(PANEL) * depth * PANEL * size / 4,
            None,
            Level::best(),
            &[1, 2],
        );
        let got: Vec<u8> = panels.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut wanted = vec![0; got.len()];
        for j in 0..n {
            for k in 0..depth {
                let (from, to) = (k * k_step + j * n_step, (j / PANEL * depth + k) * PANEL + j % PANEL);
                wanted[to * size..(to + 1) * size].copy_from_slice(&bytes[from * size..(from + 1) * size]);
            }
        }
        assert_eq!(got, wanted);
        kept_b = panels;
    }
    let kernel = Kernel::Contraction(contraction);
    match kept {
        DType::I8 => check(&kernel, &d, &[&a, &kept_b, &scales], &expected, None, cuts),
        _ => check(&kernel, &d, &[&a, &kept_b], &expected, None, cuts),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn narrow_weights_equal_naive_sums(
        brain in any::<bool>(),
        rows in 1usize..40,
        depth in 1usize..500,
        n in 1usize..200,
        turned in any::<bool>(),
        packed in any::<bool>(),
        tiles in any::<bool>(),
        splits in 1u32..3,
        cuts in proptest::collection::vec(0usize..1000, 3),
    ) {
        let partition = if tiles { Partition::Tiles } else { Partition::Rows };
        let kept = if brain { DType::BF16 } else { DType::I8 };
        // What is few reads whole columns of k.
        let splits = if turned && !packed { 1 } else { splits };
        narrow_case(kept, [rows, depth, n], turned, packed, partition, splits, &cuts);
    }
}

#[test]
fn narrow_weights_of_one_row_to_many() {
    for kept in [DType::BF16, DType::I8] {
        for rows in [1, 2, 3, 4, 5, 8, 9, 60, 300] {
            for (turned, packed) in [(true, false), (false, true), (false, false), (true, true)] {
                narrow_case(kept, [rows, 777, 333], turned, packed, Partition::Tiles, 1, &[3, 5]);
            }
        }
        // Empty sums, no rows, no columns, one column.
        for shape in [[3, 0, 40], [0, 5, 40], [3, 5, 0], [3, 70, 1], [1, 1, 1]] {
            narrow_case(kept, shape, false, true, Partition::Tiles, 1, &[1]);
            narrow_case(kept, shape, true, false, Partition::Rows, 1, &[1]);
        }
    }
}
