use crate::kernels::isa::Level;
use crate::kernels::math::{Binary, Lines, MathFunction, OfSum, Unary, functions, table_at};

/// The same function in f64.
type Reference = fn(f64) -> f64;

fn unary<T: Copy>(function: MathFunction, level: Level, values: &mut [T]) {
    // SAFETY: the table holds unary functions of this type at such places.
    let call = unsafe { std::mem::transmute::<*const (), Unary<T>>(table_at(level)[function as usize]) };
    // SAFETY: in place, over the whole slice.
    unsafe { call(values.as_mut_ptr(), values.as_ptr(), values.len()) };
}

fn binary<T: Copy>(function: MathFunction, level: Level, a: &mut [T], b: &[T]) {
    // SAFETY: the table holds binary functions of this type at such places.
    let call = unsafe { std::mem::transmute::<*const (), Binary<T>>(table_at(level)[function as usize]) };
    // SAFETY: in place, over the whole slice.
    unsafe { call(a.as_mut_ptr(), a.as_ptr(), b.as_ptr(), a.len()) };
}

/// How many units in the last place of the right f32 lie between two numbers.
fn ulps(got: f32, want: f64) -> f64 {
    let near = want as f32;
    if got == near || (got.is_nan() && near.is_nan()) {
        return 0.0;
    }
    if !got.is_finite() || !near.is_finite() {
        return f64::INFINITY;
    }
    let unit = (f64::from(f32::from_bits(near.abs().to_bits() + 1)) - f64::from(near.abs()))
        .max(f64::from(f32::from_bits(1)));
    (f64::from(got) - want).abs() / unit
}

/// Numbers of every size and sign, and the special ones.
fn arguments() -> Vec<f32> {
    let mut arguments: Vec<f32> = (0..=u32::MAX).step_by(9_973).map(f32::from_bits).collect();
    for i in 0..40_000 {
        arguments.push((i as f32 - 20_000.0) * 0.000_713);
        arguments.push((i as f32 - 20_000.0) * 0.005_13);
    }
    arguments.extend([
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
        f32::MIN_POSITIVE,
    ]);
    arguments.extend([
        88.72,
        88.73,
        -87.4,
        -103.9,
        -104.1,
        0.5,
        2.0,
        f32::EPSILON,
        -f32::EPSILON,
        1e-40,
        -1e-40,
    ]);
    arguments
}

#[test]
fn unary_functions_are_accurate_and_alike_at_every_level() {
    let cases: [(MathFunction, Reference, f64); 9] = [
        (MathFunction::Exp, f64::exp, 1.5),
        (MathFunction::Expm1, f64::exp_m1, 2.0),
        (MathFunction::Log, f64::ln, 1.5),
        (MathFunction::Log1p, f64::ln_1p, 2.5),
        (MathFunction::Tanh, f64::tanh, 3.0),
        (MathFunction::Sigmoid, functions::sigmoid64, 3.0),
        (MathFunction::Erf, functions::erf64, 2.0),
        (MathFunction::Sin, f64::sin, 1.5),
        (MathFunction::Cos, f64::cos, 1.5),
    ];
    let arguments = arguments();
    for (function, reference, limit) in cases {
        let mut first: Option<Vec<f32>> = None;
        for level in Level::available() {
            let mut values = arguments.clone();
            unary(function, level, &mut values);
            let (mut worst, mut at) = (0.0, 0.0);
            for (&x, &got) in arguments.iter().zip(&values) {
                let error = ulps(got, reference(f64::from(x)));
                // What is as small as 10⁻⁹ and smaller has fewer digits.
                let limit = if function == MathFunction::Sigmoid && x < -20.0 { 5.5 } else { limit };
                assert!(error <= limit, "{function:?} {}: {error} ulp at {x:e}", level.name());
                if error > worst {
                    (worst, at) = (error, x);
                }
            }
            println!("{function:?} {} {worst:.2} ulp at {at:e}", level.name());
            let bits = |values: &[f32]| -> Vec<u32> {
                values.iter().map(|x| if x.is_nan() { 0x7FC0_0000 } else { x.to_bits() }).collect()
            };
            match &first {
                None => first = Some(values),
                Some(first) => {
                    assert!(bits(first) == bits(&values), "{function:?} differs at {}", level.name())
                }
            }
        }
    }
}

#[test]
fn powers_are_accurate_and_follow_c() {
    let bases = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        2.0,
        -2.0,
        0.5,
        10.0,
        0.9999,
        1.0001,
        3.7,
        -3.0,
        1e-40,
        1e-10,
        1e10,
        1e38,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
        -0.3,
    ];
    let powers = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        2.0,
        3.0,
        -2.0,
        -3.0,
        0.5,
        -0.5,
        0.333,
        10.0,
        1e5,
        -1e5,
        16_777_215.0,
        1e30,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        0.999,
        -0.001,
        37.7,
    ];
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for &base in &bases {
        for &power in &powers {
            a.push(base);
            b.push(power);
        }
    }
    for i in 0..20_000 {
        a.push(0.01 + i as f32 * 0.003);
        b.push((i as f32 * 0.37).rem_euclid(19.0) - 9.0);
    }
    for level in Level::available() {
        let mut values = a.clone();
        binary(MathFunction::Pow, level, &mut values, &b);
        for i in 0..a.len() {
            let want = f64::from(a[i]).powf(f64::from(b[i]));
            let error = ulps(values[i], want);
            assert!(error <= 1.0, "{}: {}^{} = {} instead of {want}", level.name(), a[i], b[i], values[i]);
            assert_eq!(
                values[i].is_sign_negative() && !want.is_nan(),
                want.is_sign_negative() && !want.is_nan()
            );
        }
    }
}

#[test]
fn doubles_follow_the_standard_library() {
    let xs: Vec<f64> = (-400..400).map(|i| f64::from(i) * 0.037).collect();
    let cases: [(MathFunction, Reference); 7] = [
        (MathFunction::Exp64, f64::exp),
        (MathFunction::Expm164, f64::exp_m1),
        (MathFunction::Log64, f64::ln),
        (MathFunction::Log1p64, f64::ln_1p),
        (MathFunction::Tanh64, f64::tanh),
        (MathFunction::Sin64, f64::sin),
        (MathFunction::Cos64, f64::cos),
    ];
    for (function, reference) in cases {
        let mut values = xs.clone();
        unary(function, Level::best(), &mut values);
        for (x, got) in xs.iter().zip(values) {
            assert!(got.to_bits() == reference(*x).to_bits() || got.is_nan(), "{function:?}({x})");
        }
    }
    let mut values = [2.0f64, 9.0];
    binary(MathFunction::Pow64, Level::best(), &mut values, &[0.5, -0.5]);
    assert_eq!(values, [2.0f64.sqrt(), 1.0 / 3.0]);
    let mut values = [0.0f64, 1000.0, -1000.0];
    unary(MathFunction::Sigmoid64, Level::best(), &mut values);
    assert_eq!(values, [0.5, 1.0, 0.0]);
}

#[test]
fn the_error_function_in_f64_equals_its_tables() {
    let mut values = [0.0f64, 0.1, 0.5, 1.0, 2.0, 2.4, 2.6, 3.0, 5.0, -1.0, 30.0];
    unary(MathFunction::Erf64, Level::best(), &mut values);
    let tables = [
        0.0,
        0.112_462_916_018_284_89,
        0.520_499_877_813_046_5,
        0.842_700_792_949_714_9,
        0.995_322_265_018_952_7,
        0.999_311_486_103_355,
        0.999_763_965_583_470_7,
        0.999_977_909_503_001_4,
        0.999_999_999_998_462_5,
        -0.842_700_792_949_714_9,
        1.0,
    ];
    for (got, want) in values.iter().zip(tables) {
        assert!((got - want).abs() <= 4e-16, "{got} instead of {want}");
    }
}

#[test]
fn a_strip_ends_anywhere() {
    let xs: Vec<f32> = (0..200).map(|i| (i as f32 - 100.0) * 0.11).collect();
    for level in Level::available() {
        for function in [MathFunction::Exp, MathFunction::Tanh, MathFunction::Sin] {
            let mut whole = xs.clone();
            unary(function, level, &mut whole);
            for start in [0, 1, 63, 64, 65, 130] {
                for n in [0, 1, 7, 16, 64, 65] {
                    let mut part = xs.clone();
                    unary(function, level, &mut part[start..start + n]);
                    for i in 0..xs.len() {
                        let want = if (start..start + n).contains(&i) { whole[i] } else { xs[i] };
                        assert_eq!(part[i].to_bits(), want.to_bits());
                    }
                }
            }
        }
    }
}

#[test]
fn functions_of_sums_are_those_of_what_was_added_before() {
    let a: Vec<f32> = (0..400).map(|i| (i as f32 - 200.0) * 0.043).collect();
    let b: Vec<f32> = (0..400).map(|i| (i as f32 * 0.7).sin()).collect();
    for level in Level::available() {
        for (of_sum, plain) in [
            (MathFunction::TanhOfSum, MathFunction::Tanh),
            (MathFunction::SigmoidOfSum, MathFunction::Sigmoid),
        ] {
            // SAFETY: the table holds functions of sums of f32 at these places.
            let call =
                unsafe { std::mem::transmute::<*const (), OfSum<f32>>(table_at(level)[of_sum as usize]) };
            for (rows, n, a_step, b_step) in [(1, 7, 0, 0), (3, 64, 90, 0), (5, 19, -19, 70), (0, 16, 1, 1)] {
                let place = |row: usize, step: isize| (100 + row as isize * step) as usize;
                for (has_factor, has_addend) in [(false, false), (true, false), (true, true)] {
                    // The factor is one of the summands, and the addend the other one, each by the other one's step.
                    let (mut got, mut want) = (vec![9.0; rows * n + 1], Vec::new());
                    for row in 0..rows {
                        let [x, factor] = [a_step, b_step].map(|step| &a[place(row, step)..]);
                        let [y, addend] = [b_step, a_step].map(|step| &b[place(row, step)..]);
                        let mut values: Vec<f32> = x.iter().zip(y).take(n).map(|(x, y)| x + y).collect();
                        unary(plain, level, &mut values);
                        want.extend(values.iter().enumerate().map(|(i, value)| {
                            match (has_factor, has_addend) {
                                (true, true) => value.mul_add(factor[i], addend[i]),
                                (true, false) => value * factor[i],
                                _ => *value,
                            }
                        }));
                    }
                    // What lies behind the last row stays.
                    want.push(9.0);
                    let start =
                        |there: bool, of: &[f32]| if there { of[100..].as_ptr() } else { std::ptr::null() };
                    let (factor, addend) = (start(has_factor, &a), start(has_addend, &b));
                    let (x, y, to) = (start(true, &a), start(true, &b), got.as_mut_ptr());
                    // SAFETY: `got` holds the rows, and the operands what the steps reach.
                    unsafe { call(to, x, a_step, y, b_step, factor, b_step, addend, a_step, rows, n) };
                    assert_eq!(got, want, "{of_sum:?} {} {rows} rows of {n}", level.name());
                }
            }
        }
    }
}

#[test]
fn lines_are_asked_for_at_any_address() {
    for level in Level::available() {
        // SAFETY: the table holds a function of lines at this place.
        let call =
            unsafe { std::mem::transmute::<*const (), Lines>(table_at(level)[MathFunction::Fetch as usize]) };
        call(std::ptr::null(), -4096, 3, 1000);
        call(std::ptr::without_provenance(usize::MAX - 10), 64, 2, 640);
    }
}
