//! Normalisation, rotation, activation, loss, optimiser and row operations.

use super::{assert_close, doubles, gradient, numbers, same_at_any_number_of_threads};
use crate::activation::{swiglu, swiglu_backward};
use crate::instructions::{PORTABLE_FUSED, vectorised};
use crate::loss::{cross_entropy, cross_entropy_value};
use crate::norm::{rms_norm, rms_norm_backward};
use crate::optimizer::{AdamW, adamw, sum_of_squares};
use crate::rotary::{RotaryTable, rotate};
use crate::row;

fn weighted_sum(values: &[f64], weights: &[f32]) -> f64 {
    values.iter().zip(weights).map(|(value, weight)| value * f64::from(*weight)).sum()
}

vectorised! {
    fn exponentials(x: &mut [f32]) {
        for x in x {
            *x = row::exponential::<FUSED>(*x);
        }
    }
}

fn check_exponentials(exponential: impl Fn(f32) -> f32) {
    for step in 0..200_000 {
        let x = -87.3 + step as f32 * (175.9 / 200_000.0);
        let (found, expected) = (f64::from(exponential(x)), f64::from(x).exp());
        assert!((found / expected - 1.0).abs() < 2.5e-7, "exp({x}) = {found}, expected {expected}");
    }
    assert_eq!(exponential(0.0), 1.0);
    assert_eq!(exponential(-0.0), 1.0);
    assert_eq!(exponential(f32::NEG_INFINITY), 0.0);
    assert_eq!(exponential(-200.0), 0.0);
    assert_eq!(exponential(200.0), f32::INFINITY);
    assert_eq!(exponential(f32::INFINITY), f32::INFINITY);
    assert!(exponential(f32::NAN).is_nan());
}

#[test]
fn exponentials_are_right_to_two_units() {
    check_exponentials(row::exponential::<PORTABLE_FUSED>);
    check_exponentials(|x| {
        let mut x = [x; 33];
        exponentials(&mut x);
        assert!(x[0].to_bits() == x[32].to_bits() || x[0].is_nan());
        x[0]
    });
}

#[test]
fn row_operations_match_the_reference() {
    for length in [0, 1, 31, 32, 33, 500] {
        let (a, b) = (numbers(length, 1), numbers(length, 2));
        let expected: f64 = weighted_sum(&doubles(&a), &b);
        assert_close(&[row::dot(&a, &b)], &[expected], 1e-5);
        let mut sum = a.clone();
        row::add(&mut sum, &b);
        assert_close(&sum, &a.iter().zip(&b).map(|(a, b)| f64::from(a + b)).collect::<Vec<_>>(), 0.0);
        let expected = a.iter().map(|&a| f64::from(a).exp()).sum::<f64>().ln();
        if length > 0 {
            assert_close(&[row::log_sum_exp(&a)], &[expected], 1e-6);
        }
    }
    assert_eq!(row::log_sum_exp(&[]), f32::NEG_INFINITY);
    assert_eq!(
        [&[2.0, 7.0, 7.0][..], &[-1.0], &[], &[f32::NAN, 3.0, f32::NAN]].map(row::largest_index),
        [1, 0, 0, 1]
    );
    assert_eq!(row::largest_index(&[f32::NAN; 50]), 0);
    assert_eq!(row::log_sum_exp(&[f32::NEG_INFINITY; 40]), f32::NEG_INFINITY);
    // Shift invariance where a plain sum of exponentials would overflow.
    assert_close(&[row::log_sum_exp(&[1000.0, 1000.0])], &[1000.0 + 2f64.ln()], 1e-6);
    let mut long = numbers(100_000, 3);
    let expected: Vec<f64> = long.iter().map(|x| f64::from(x + 1.0)).collect();
    row::add(&mut long, &vec![1.0; 100_000]);
    assert_close(&long, &expected, 0.0);
}

fn rms_norm_reference(x: &[f64], weight: &[f64], epsilon: f64) -> Vec<f64> {
    let width = weight.len();
    let normalise = |row: &[f64]| {
        let rms = (row.iter().map(|x| x * x).sum::<f64>() / width as f64 + epsilon).sqrt();
        row.iter().zip(weight).map(|(x, weight)| x / rms * weight).collect::<Vec<_>>()
    };
    x.chunks(width).flat_map(normalise).collect()
}

#[test]
fn rms_norm_and_its_gradient() {
    for (rows, width) in [(1, 1), (3, 7), (37, 40)] {
        let (x, weight, dy) = (numbers(rows * width, 1), numbers(width, 2), numbers(rows * width, 3));
        let epsilon = 1e-3;
        let (mut y, mut inverse) = (vec![0f32; rows * width], vec![0f32; rows]);
        rms_norm(&x, &weight, epsilon, &mut y, &mut inverse);
        let epsilon = f64::from(epsilon);
        assert_close(&y, &rms_norm_reference(&doubles(&x), &doubles(&weight), epsilon), 1e-6);

        let (mut dx, mut dweight) = (vec![0.5f32; rows * width], vec![0.25f32; width]);
        rms_norm_backward(&x, &weight, &inverse, &dy, &mut dx, true, Some(&mut dweight));
        let loss = |x: &[f64], weight: &[f64]| weighted_sum(&rms_norm_reference(x, weight, epsilon), &dy);
        let expected = gradient(&x, |x| loss(x, &doubles(&weight)));
        let more = |expected: &[f64], before: f64| expected.iter().map(|e| e + before).collect::<Vec<_>>();
        assert_close(&dx, &more(&expected, 0.5), 2e-5);
        let weights = gradient(&weight, |weight| loss(&doubles(&x), weight));
        assert_close(&dweight, &more(&weights, 0.25), 1e-5);
        rms_norm_backward(&x, &weight, &inverse, &dy, &mut dx, false, None);
        assert_close(&dx, &expected, 2e-5);
    }
}

#[test]
fn rotation_and_its_gradient() {
    let frequencies = [1.0, 0.1, 0.003];
    let table = RotaryTable::new(&frequencies, 50, 1.5);
    assert_eq!(table.positions(), 50);
    let (stride, heads, positions) = (15, 2, [0u32, 49, 7]);
    let reference = |x: &[f64]| {
        let mut y = x.to_vec();
        for (row, &position) in positions.iter().enumerate() {
            for head in 0..heads {
                for (i, frequency) in frequencies.iter().enumerate() {
                    let at = row * stride + head * 6 + i;
                    let angle = f64::from(position) * frequency;
                    y[at] = 1.5 * (x[at] * angle.cos() - x[at + 3] * angle.sin());
                    y[at + 3] = 1.5 * (x[at + 3] * angle.cos() + x[at] * angle.sin());
                }
            }
        }
        y
    };
    let x = numbers(3 * stride, 1);
    let mut y = x.clone();
    rotate(&mut y, stride, heads, &positions, &table, false);
    assert_close(&y, &reference(&doubles(&x)), 1e-6);
    let dy = numbers(3 * stride, 2);
    let mut dx = dy.clone();
    rotate(&mut dx, stride, heads, &positions, &table, true);
    assert_close(&dx, &gradient(&x, |x| weighted_sum(&reference(x), &dy)), 1e-6);
}

#[test]
#[should_panic(expected = "range")]
fn a_position_off_the_table_is_refused() {
    let table = RotaryTable::new(&[1.0], 4, 1.0);
    rotate(&mut [0.0; 2], 2, 1, &[4], &table, false);
}

fn swiglu_reference(gate_up: &[f64], width: usize) -> Vec<f64> {
    let row = |row: &[f64]| {
        (0..width).map(|i| row[i] / (1.0 + (-row[i]).exp()) * row[width + i]).collect::<Vec<_>>()
    };
    gate_up.chunks(2 * width).flat_map(row).collect()
}

#[test]
fn swiglu_and_its_gradient() {
    for (rows, width) in [(1, 1), (5, 37), (70, 64)] {
        let gate_up: Vec<f32> = numbers(rows * 2 * width, 1).iter().map(|x| 6.0 * x).collect();
        let dout = numbers(rows * width, 2);
        let mut out = vec![0f32; rows * width];
        swiglu(&gate_up, width, &mut out);
        assert_close(&out, &swiglu_reference(&doubles(&gate_up), width), 1e-6);
        let mut gradients = gate_up.clone();
        swiglu_backward(&mut gradients, width, &dout);
        // Rows are independent: the differences of the first five suffice.
        let part = rows.min(5) * 2 * width;
        let expected =
            gradient(&gate_up[..part], |x| weighted_sum(&swiglu_reference(x, width), &dout[..part / 2]));
        assert_close(&gradients[..part], &expected, 1e-5);
    }
    let (mut extreme, mut out) = (vec![-200.0f32, 200.0, 1.0, 1.0], vec![0f32; 2]);
    swiglu(&extreme, 2, &mut out);
    assert_eq!(out, [0.0, 200.0]);
    swiglu_backward(&mut extreme, 2, &[1.0, 1.0]);
    assert_eq!(extreme, [0.0, 1.0, 0.0, 200.0]);
}

fn cross_entropy_reference(logits: &[f64], vocabulary: usize, targets: &[u32], weights: &[f32]) -> f64 {
    let rows = logits.chunks(vocabulary).zip(targets).zip(weights);
    let loss = |((row, target), weight): ((&[f64], &u32), &f32)| {
        let sum = row.iter().map(|x| x.exp()).sum::<f64>().ln();
        f64::from(*weight) * (sum - row[*target as usize])
    };
    rows.map(loss).sum()
}

#[test]
fn cross_entropy_and_its_gradient() {
    let (vocabulary, targets, weights) = (45, [0, 44, 7, 7], [1.0, 0.25, 0.0, 2.0]);
    let logits: Vec<f32> = numbers(4 * vocabulary, 1).iter().map(|x| 5.0 * x).collect();
    let expected = cross_entropy_reference(&doubles(&logits), vocabulary, &targets, &weights);
    assert!((cross_entropy_value(&logits, vocabulary, &targets, &weights) - expected).abs() < 1e-5);
    let mut gradients = logits.clone();
    let loss = cross_entropy(&mut gradients, vocabulary, &targets, &weights);
    assert!((loss - expected).abs() < 1e-5);
    let expected = gradient(&logits, |x| cross_entropy_reference(x, vocabulary, &targets, &weights));
    assert_close(&gradients, &expected, 1e-6);
}

#[test]
fn cross_entropy_of_one_half() {
    // Two equal logits: loss ln 2, gradient (-1/2, 1/2).
    let mut logits = [800.0, 800.0];
    let loss = cross_entropy(&mut logits, 2, &[0], &[1.0]);
    assert!((loss - std::f64::consts::LN_2).abs() < 1e-4);
    assert_eq!(logits, [-0.5, 0.5]);
    assert_eq!(cross_entropy(&mut [], 2, &[], &[]), 0.0);
}

#[test]
#[should_panic(expected = "target in vocabulary")]
fn a_target_off_the_vocabulary_is_refused() {
    cross_entropy_value(&[0.0, 0.0], 2, &[2], &[1.0]);
}

/// torch.optim.AdamW's documented algorithm, in `f64`.
fn adamw_reference(rule: &AdamW, steps: u32, parameters: &mut [f64], gradient: impl Fn(usize, u32) -> f64) {
    let [rate, beta1, beta2, epsilon, decay] =
        [rule.learning_rate, rule.beta1, rule.beta2, rule.epsilon, rule.weight_decay].map(f64::from);
    let (mut first, mut second) = (vec![0.0; parameters.len()], vec![0.0; parameters.len()]);
    for step in 1..=steps {
        for (i, parameter) in parameters.iter_mut().enumerate() {
            let gradient = gradient(i, step);
            *parameter -= rate * decay * *parameter;
            first[i] = beta1 * first[i] + (1.0 - beta1) * gradient;
            second[i] = beta2 * second[i] + (1.0 - beta2) * gradient * gradient;
            let unbiased1 = first[i] / (1.0 - beta1.powi(step as i32));
            let unbiased2: f64 = second[i] / (1.0 - beta2.powi(step as i32));
            *parameter -= rate * unbiased1 / (unbiased2.sqrt() + epsilon);
        }
    }
}

#[test]
fn adamw_follows_the_documented_algorithm() {
    let rule =
        AdamW { learning_rate: 0.01, beta1: 0.9, beta2: 0.95, epsilon: 1e-3, weight_decay: 0.1, step: 1 };
    for length in [3, 20_000] {
        let gradient = |i: usize, step: u32| ((i * 7 + step as usize * 3) % 11) as f64 / 5.0 - 1.0;
        let mut parameters = numbers(length, 1);
        let mut expected = doubles(&parameters);
        let (mut first, mut second) = (vec![0f32; length], vec![0f32; length]);
        for step in 1..=3 {
            // Half of gradients twice as long: the scale is applied.
            let gradients: Vec<f32> = (0..length).map(|i| 2.0 * gradient(i, step) as f32).collect();
            adamw(&AdamW { step, ..rule }, 0.5, &mut parameters, &gradients, &mut first, &mut second);
        }
        adamw_reference(&rule, 3, &mut expected, gradient);
        assert_close(&parameters, &expected, 1e-6);
    }
}

#[test]
fn the_first_step_of_adamw_by_hand() {
    // Unbiased moments of the first step are g and g^2: p (1 - 0.1 * 0.5) - 0.1 * g / (|g| + 0).
    let rule =
        AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 0.0, weight_decay: 0.5, step: 1 };
    let (mut parameters, mut first, mut second) = ([2.0, 2.0], [0.0; 2], [0.0; 2]);
    adamw(&rule, 1.0, &mut parameters, &[3.0, -0.25], &mut first, &mut second);
    assert_close(&parameters, &[1.8, 2.0], 1e-6);
    assert_close(&first, &[0.3, -0.025], 1e-6);
    assert_close(&second, &[0.009, 0.0000625], 1e-6);
}

#[test]
fn sums_of_squares() {
    assert_eq!(sum_of_squares(&[]), 0.0);
    assert_eq!(sum_of_squares(&[3.0, -4.0]), 25.0);
    let x = numbers(100_001, 1);
    let expected: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    assert!((sum_of_squares(&x) / expected - 1.0).abs() < 1e-12);
}

#[test]
fn threads_do_not_change_operations() {
    let (rows, width) = (200, 400);
    let (x, weight, dy) = (numbers(rows * width, 1), numbers(width, 2), numbers(rows * width, 3));
    same_at_any_number_of_threads(|| {
        let (mut y, mut inverse) = (vec![0f32; rows * width], vec![0f32; rows]);
        rms_norm(&x, &weight, 1e-5, &mut y, &mut inverse);
        let (mut dx, mut dweight) = (vec![0f32; rows * width], vec![0f32; width]);
        rms_norm_backward(&x, &weight, &inverse, &dy, &mut dx, false, Some(&mut dweight));
        let mut activated = vec![0f32; rows * width / 2];
        swiglu(&y, width / 2, &mut activated);
        let targets: Vec<u32> = (0..rows as u32).collect();
        let loss = cross_entropy(&mut y, width, &targets, &vec![1.0; rows]) as f32;
        let sums = vec![loss, sum_of_squares(&dx) as f32];
        [inverse, dx, dweight, activated, y, sums].concat()
    });
}
