//! Narrow products beside a wide one, against sums in 64 bits over the factors as the wide product rounds them.

use super::numbers;
use crate::matrix::{Matrix, Precision, Use};
use crate::narrow::{Narrow, Placed, Right};
use crate::product::{View, ViewMut};

fn single(outputs: usize, inputs: usize, seed: u64) -> (Matrix, Vec<f32>) {
    let values = numbers(outputs * inputs, seed);
    (Matrix::new(outputs, inputs, values.clone(), Precision::F32, Use::Trainable), values)
}

/// `sum over d of left[row, from + d] * right(d)`.
fn narrow_sum(
    left: &[f32],
    width: usize,
    row: usize,
    from: usize,
    right: impl Fn(usize) -> f32,
    depth: usize,
) -> f64 {
    (0..depth).map(|d| f64::from(left[row * width + from + d]) * f64::from(right(d))).sum()
}

#[test]
fn narrow_products_are_added_in_every_precision_and_shape() {
    // Two parts of whole panels, and parts that begin in the middle of one.
    for (rows, inputs, parts, rank) in
        [(1, 64, [32, 64], 4), (70, 96, [64, 32], 16), (33, 40, [20, 30], 3), (500, 64, [96, 96], 8)]
    {
        let outputs = parts[0] + parts[1];
        for precision in [Precision::F32, Precision::Bf16] {
            let wide = Matrix::new(outputs, inputs, numbers(outputs * inputs, 1), precision, Use::Frozen);
            let (x, left) = (numbers(rows * inputs, 2), numbers(rows * 2 * rank, 3));
            let (first, first_values) = single(parts[0], rank, 4);
            let (second, second_values) = single(parts[1], rank, 5);
            let placed = [Placed { matrix: first, start: 0 }, Placed { matrix: second, start: parts[0] }];
            let mut plain = vec![0.0; rows * outputs];
            let mut with = plain.clone();
            let x = View::new(&x, rows, inputs);
            wide.forward(x, ViewMut::new(&mut plain, rows, outputs), false);
            let narrow = Narrow { left: View::new(&left, rows, 2 * rank), right: Right::Forward(&placed) };
            wide.forward_with(x, ViewMut::new(&mut with, rows, outputs), false, Some(narrow));
            for row in 0..rows {
                for column in 0..outputs {
                    let (values, from, own) = match column.checked_sub(parts[0]) {
                        None => (&first_values, 0, column),
                        Some(own) => (&second_values, rank, own),
                    };
                    let sum = narrow_sum(&left, 2 * rank, row, from, |d| values[own * rank + d], rank);
                    let at = row * outputs + column;
                    let expected = f64::from(plain[at]) + sum;
                    assert!((f64::from(with[at]) - expected).abs() < 1e-4, "{row} {column} {precision:?}");
                }
            }
            let (down, down_values) = single(2 * rank, inputs, 6);
            let dy = numbers(rows * outputs, 7);
            let dy = View::new(&dy, rows, outputs);
            let mut plain = vec![0.0; rows * inputs];
            let mut with = plain.clone();
            wide.backward(dy, ViewMut::new(&mut plain, rows, inputs), false);
            let narrow = Narrow { left: View::new(&left, rows, 2 * rank), right: Right::Backward(&down) };
            wide.backward_with(dy, ViewMut::new(&mut with, rows, inputs), false, Some(narrow));
            for row in 0..rows {
                for column in 0..inputs {
                    let right = |d: usize| down_values[d * inputs + column];
                    let sum = narrow_sum(&left, 2 * rank, row, 0, right, 2 * rank);
                    let at = row * inputs + column;
                    let expected = f64::from(plain[at]) + sum;
                    assert!((f64::from(with[at]) - expected).abs() < 1e-4, "{row} {column} {precision:?}");
                }
            }
        }
    }
}
