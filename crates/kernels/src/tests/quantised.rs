//! Products of 8-bit integers.

use super::{assert_close, numbers, same_at_any_number_of_threads};
use crate::matrix::{Matrix, Precision, Use};
use crate::product::{View, ViewMut};
use crate::quantised::{self, Quantised};

/// Values in groups of 64 along a row, each rounded to a whole multiple of the group's largest magnitude over 127:
/// symmetric quantisation as in Jacob et al. 2018, in 64 bits.
fn quantised(values: &[f32], width: usize) -> Vec<f64> {
    let group = |values: &[f32]| {
        let scale = f64::from(values.iter().fold(0f32, |most, value| most.max(value.abs())) / 127.0);
        values.iter().map(|&value| (f64::from(value) / scale).round_ties_even() * scale).collect::<Vec<f64>>()
    };
    values.chunks(width).flat_map(|row| row.chunks(64).flat_map(group)).collect()
}

fn multiply(
    method: quantised::Method,
    x: &[f32],
    right: &Quantised,
    shape: (usize, usize, usize),
) -> Vec<f32> {
    let (m, n, k) = shape;
    let mut y = vec![1f32; m * n];
    quantised::multiply_by(method, View::new(x, m, k), right, ViewMut::new(&mut y, m, n).into(), true);
    y
}

#[test]
fn every_method_gives_the_product_of_quantised_factors() {
    for shape @ (m, n, k) in [(1, 1, 1), (3, 33, 64), (4, 32, 65), (9, 70, 200), (250, 40, 128)] {
        let (x, w) = (numbers(m * k, 1), numbers(n * k, 2));
        let right = Quantised::new(View::new(&w, n, k));
        let (left, own) = (quantised(&x, k), quantised(&w, k));
        let mut expected = Vec::new();
        for row in left.chunks(k) {
            expected
                .extend(own.chunks(k).map(|own| 1.0 + row.iter().zip(own).map(|(a, b)| a * b).sum::<f64>()));
        }
        for method in quantised::available() {
            assert_close(&multiply(method, &x, &right, shape), &expected, 1e-5);
        }
    }
}

#[test]
fn every_method_has_the_same_integers() {
    // With scales that are powers of two and codes that reach the limits, nothing is rounded: any difference would be
    // one of integers.
    let (m, n, k) = (5, 37, 192);
    let whole = |values: Vec<f32>| -> Vec<f32> {
        let codes = values.into_iter().map(|value| (value * 127.0).round() / 8.0);
        codes.enumerate().map(|(i, value)| if i % 64 == 0 { 127.0 / 8.0 } else { value }).collect()
    };
    let (x, w) = (whole(numbers(m * k, 3)), whole(numbers(n * k, 4)));
    let right = Quantised::new(View::new(&w, n, k));
    for method in quantised::available() {
        let y = multiply(method, &x, &right, (m, n, k));
        for (index, y) in y.iter().enumerate() {
            let (row, own) = (&x[index / n * k..][..k], &w[index % n * k..][..k]);
            let expected = 1.0 + row.iter().zip(own).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            assert_eq!(f64::from(*y), expected, "{method:?}, element {index}");
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch_and_nothing_on_threads() {
    let (m, n, k) = (67, 70, 130);
    let (x, w) = (numbers(m * k, 5), numbers(n * k, 6));
    let matrix = Matrix::new(n, k, w, Precision::Int8, Use::Inference);
    let product = |x: &[f32]| {
        let rows = x.len() / k;
        let mut y = vec![0f32; rows * n];
        matrix.forward(View::new(x, rows, k), ViewMut::new(&mut y, rows, n), false);
        y
    };
    let whole = product(&x);
    for row in [0, 5, 31, 66] {
        assert_eq!(whole[row * n..][..n], product(&x[row * k..][..k]), "row {row}");
    }
    let long = numbers(300 * k, 7);
    same_at_any_number_of_threads(|| product(&long));
}

#[test]
fn rows_are_the_quantised_weights_and_numbers_that_are_none_are_zero() {
    let w = numbers(40 * 100, 8);
    let matrix = Matrix::new(40, 100, w.clone(), Precision::Int8, Use::Inference);
    assert_close(&matrix.to_f32(), &quantised(&w, 100), 1e-6);
    // 40 rows are two panels, 100 inputs two groups: a code a weight, and 8 bytes for each column and group.
    assert_eq!(matrix.bytes(), 64 * 128 + 64 * 2 * 8);
    let zero = Matrix::new(1, 64, vec![0.0; 64], Precision::Int8, Use::Inference);
    let mut y = [f32::NAN];
    zero.forward(View::new(&[3.0; 64], 1, 64), ViewMut::new(&mut y, 1, 1), false);
    assert_eq!(y, [0.0]);
}

#[test]
fn only_inference_is_quantised() {
    for usage in [Use::Frozen, Use::Trainable] {
        let matrix = Matrix::new(2, 2, vec![1.0; 4], Precision::Int8, usage);
        assert_eq!(matrix.precision(), Precision::Bf16);
    }
}
