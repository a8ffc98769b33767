//! What augments rows: each row draws for itself, from the distribution that is promised, and an evaluation sees no chance at all.

use std::collections::BTreeMap;
use weft_compiler::check::Options;
use weft_runtime::tensor::Tensor;
use weft_tests::device::{Device, Machine, Tensors};
use weft_tests::{cuda, specs};

const ROWS: usize = 256;
const SIDE: usize = 28;
const PIXELS: usize = SIDE * SIDE;

/// A picture without symmetry, the same for every row: bright towards the lower right, and nowhere black.
fn picture() -> Vec<u8> {
    (0..PIXELS).map(|i| 40 + (3 * (i / SIDE) + 2 * (i % SIDE)) as u8).collect()
}

fn machine(clauses: &str, device: Device) -> Machine {
    let text =
        format!("data rows = mnist() {{ image = f32(image) / 255  label = one_hot(label, 10)  {clauses} }}");
    let checked = specs::check_text(&text, &Options::default());
    let shown = specs::rendered(&checked);
    Machine::new(checked.module.unwrap_or_else(|| panic!("{shown}")), device)
}

fn inputs(rows: usize, batch: i64) -> Tensors {
    let labels: Vec<i32> = (0..rows as i32).map(|row| row % 10).collect();
    BTreeMap::from([
        ("rows.image".to_owned(), Tensor::from_u8(&[rows, SIDE, SIDE, 1], &picture().repeat(rows))),
        ("rows.label".to_owned(), Tensor::from_i32(&[rows], &labels)),
        ("random".to_owned(), Tensor::from_i64(&[2], &[3, batch])),
    ])
}

/// The images and the labels that a step of a training sees.
fn seen_on(device: Device, rows: usize, clauses: &str, batch: i64) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let mut outputs = machine(clauses, device).run("data.rows.train", &inputs(rows, batch));
    let mut field = |name: &str, width: usize| -> Vec<Vec<f64>> {
        let values = outputs.remove(name).expect("the row has the field");
        values.chunks(width).map(<[f64]>::to_vec).collect()
    };
    (field("image", PIXELS), field("label", 10))
}

/// The same, where all devices must agree; a GPU on fewer rows.
fn seen(clauses: &str, batch: i64) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let agree = |device: Device, rows: usize| {
        let [oracle, got] = [Device::Evaluator32, device].map(|device| seen_on(device, rows, clauses, batch));
        for (a, b) in oracle.0.iter().flatten().zip(got.0.iter().flatten()) {
            // A place that rounds to another pixel may differ; an image that is smooth hides it.
            assert!((a - b).abs() < 0.02, "{clauses}: {device:?} differs: {a} and {b}");
        }
        got
    };
    if cuda::is_ready() {
        agree(Device::Cuda, 12);
    }
    agree(Device::Cpu(2), ROWS)
}

fn augmented(expression: &str) -> Vec<Vec<f64>> {
    seen(&format!("augment {{ image = {expression} }}"), 7).0
}

fn plain() -> Vec<f64> {
    picture().into_iter().map(|byte| f64::from(f32::from(byte) / 255.0)).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let middle = mean(values);
    mean(&values.iter().map(|v| (v - middle).powi(2)).collect::<Vec<_>>()).sqrt()
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
}

/// The picture with each pixel from this place, 0 outside.
fn moved(from: impl Fn(i64, i64) -> (i64, i64)) -> Vec<f64> {
    let (plain, side) = (plain(), SIDE as i64);
    let pixel = |i: usize| {
        let (y, x) = from((i / SIDE) as i64, (i % SIDE) as i64);
        let inside = (0..side).contains(&y) && (0..side).contains(&x);
        if inside { plain[(y * side + x) as usize] } else { 0.0 }
    };
    (0..PIXELS).map(pixel).collect()
}

/// A share of ROWS draws lies within four deviations of what is expected.
fn likely(share: f64, expected: f64) {
    let bound = 4.0 * (expected * (1.0 - expected) / ROWS as f64).sqrt();
    assert!((share - expected).abs() < bound, "{share} is far from {expected}");
}

#[test]
fn a_flip_mirrors_its_share_of_the_rows() {
    let last = SIDE as i64 - 1;
    for (axis, p, mirror) in [(1, 0.5, moved(|y, x| (y, last - x))), (0, 0.25, moved(|y, x| (last - y, x)))] {
        let rows = augmented(&format!("random_flip(image, p = {p}, axis = {axis})"));
        let mirrored = rows.iter().filter(|row| close(row, &mirror)).count();
        assert!(rows.iter().all(|row| close(row, &mirror) || close(row, &plain())));
        likely(mirrored as f64 / ROWS as f64, p);
    }
}

#[test]
fn a_crop_moves_by_whole_pixels_in_every_direction() {
    let mut seen = BTreeMap::new();
    let shifts: Vec<(i64, i64)> = (-1..=1).flat_map(|y| (-1..=1).map(move |x| (y, x))).collect();
    let images: Vec<Vec<f64>> = shifts.iter().map(|(dy, dx)| moved(|y, x| (y + dy, x + dx))).collect();
    for row in augmented("random_crop(image, padding = 1)") {
        let shift = images.iter().position(|image| close(image, &row)).expect("a shift by one pixel");
        *seen.entry(shifts[shift]).or_insert(0usize) += 1;
    }
    assert_eq!(seen.len(), 9);
    seen.values().for_each(|count| likely(*count as f64 / ROWS as f64, 1.0 / 9.0));
}

#[test]
fn colours_change_by_as_much_as_is_said() {
    let plain = plain();
    let changes: Vec<f64> =
        augmented("random_brightness(image, amount = 0.1)").iter().map(|row| row[0] - plain[0]).collect();
    assert!(changes.iter().all(|change| change.abs() <= 0.1001));
    // Uniform between -0.1 and 0.1.
    assert!(mean(&changes).abs() < 0.015 && (deviation(&changes) - 0.0577).abs() < 0.006);
    let factors: Vec<f64> = augmented("random_contrast(image, amount = 0.2)")
        .iter()
        .map(|row| deviation(row) / deviation(&plain))
        .collect();
    assert!(factors.iter().all(|factor| (0.799..1.201).contains(factor)));
    assert!((mean(&factors) - 1.0).abs() < 0.03 && deviation(&factors) > 0.09);
    // Grey stays as it is.
    assert!(augmented("random_saturation(image)").iter().all(|row| close(row, &plain)));
}

#[test]
fn what_is_turned_stays_a_picture() {
    for expression in ["random_rotation(image, degrees = 20)", "random_affine(image)"] {
        let rows = augmented(expression);
        assert!(rows.iter().flatten().all(|v| (-1e-5..=0.7).contains(v)));
        let centre: Vec<f64> = rows.iter().map(|row| row[PIXELS / 2 + SIDE / 2]).collect();
        assert!(deviation(&centre) < 0.1 && rows.iter().any(|row| !close(row, &rows[0])), "{expression}");
    }
}

#[test]
fn what_is_erased_has_its_size() {
    let black = |row: &Vec<f64>| row.iter().filter(|v| **v == 0.0).count() as f64;
    let areas: Vec<f64> = augmented("cutout(image, size = 8)").iter().map(black).collect();
    assert!(areas.iter().all(|area| (16.0..=64.0).contains(area)), "{areas:?}");
    assert!(areas.iter().filter(|area| **area == 64.0).count() > ROWS / 3);
    let erased = augmented("random_erasing(image, p = 0.4)");
    let touched = erased.iter().filter(|row| !close(row, &plain())).count();
    likely(touched as f64 / ROWS as f64, 0.4);
    assert!(erased.iter().map(black).all(|area| area < 0.4 * PIXELS as f64));
}

#[test]
fn mixed_rows_have_mixed_labels() {
    for (mix, alpha) in [("mixup", 0.2), ("mixup", 1.0), ("cutmix", 1.0)] {
        let clauses = format!(
            "batch {{ let mixed = {mix}(image, label, alpha = {alpha})  image = mixed[0]  label = mixed[1] }}"
        );
        let (images, labels) = seen(&clauses, 7);
        // All pictures are one, so that a mix of two is again that one.
        assert!(images.iter().all(|row| close(row, &plain())), "{mix}");
        let shares: Vec<f64> = labels.iter().enumerate().map(|(row, label)| label[row % 10]).collect();
        for (row, label) in labels.iter().enumerate() {
            let next = (row + 1) % ROWS % 10;
            assert!(
                (label[row % 10] + label[next] - 1.0).abs() < 1e-5 || row % 10 == next,
                "{mix}: {label:?}"
            );
        }
        // Of Beta(α, α): the mean is a half, the variance 1 / (4 (2α + 1)). A rectangle is cut off where it leaves the image.
        if mix == "mixup" {
            let expected = (0.25f64 / (2.0 * alpha + 1.0)).sqrt();
            let (middle, spread) = (mean(&shares[..ROWS - 1]), deviation(&shares[..ROWS - 1]));
            assert!((middle - 0.5).abs() < 0.11 && (spread - expected).abs() < 0.04, "{middle} ± {spread}");
        }
    }
}

#[test]
fn draws_follow_the_seed_and_the_batch_and_evaluations_draw_nothing() {
    let clauses = "augment { image = image + 0.1 * normal(shape(image)) }";
    let rows = |batch: i64| seen(clauses, batch).0;
    assert_eq!(rows(7), rows(7));
    assert_ne!(rows(7), rows(8));
    assert!(!close(&rows(7)[0], &rows(7)[1]));
    let plain_rows =
        machine(clauses, Device::Cpu(1)).run("data.rows", &inputs(ROWS, 7)).remove("image").expect("a field");
    assert!(plain_rows.chunks(PIXELS).all(|row| close(row, &plain())));
}
