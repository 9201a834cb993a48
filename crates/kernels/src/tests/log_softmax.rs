//! Log-probabilities of a few outputs against logits that are stored.

use super::{assert_close, numbers, same_at_any_number_of_threads};
use crate::log_softmax::log_softmax_at;
use crate::matrix::{Matrix, Precision, Use};
use crate::product::{View, ViewMut};

const OUTPUTS: usize = 700;
const INPUTS: usize = 96;

/// Every kind of storage but blocks, whose products are those of rounded panels.
const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::Int8];

fn head(precision: Precision) -> Matrix {
    Matrix::new(OUTPUTS, INPUTS, numbers(OUTPUTS * INPUTS, 1), precision, Use::Inference)
}

/// Some outputs of every row, those at the borders of tiles among them, in no order; one of them twice.
fn wanted(rows: usize) -> Vec<(u32, u32)> {
    let outputs = [699, 0, 255, 256, 31, 32, 511, 512, 0];
    let of_row = |row: u32| outputs.map(|output| (row, (output + 37 * row) % OUTPUTS as u32));
    (0..rows as u32).rev().flat_map(of_row).collect()
}

fn found(head: &Matrix, x: &[f32]) -> Vec<f64> {
    let rows = x.len() / INPUTS;
    let wanted = wanted(rows);
    let mut found = vec![f64::NAN; wanted.len()];
    log_softmax_at(head, View::new(x, rows, INPUTS), &wanted, &mut found);
    found
}

#[test]
fn they_are_those_of_stored_logits() {
    for precision in PRECISIONS {
        let head = head(precision);
        for rows in [1, 16, 17, 300] {
            let x = numbers(rows * INPUTS, 2);
            let mut logits = vec![f32::NAN; rows * OUTPUTS];
            let y = ViewMut::new(&mut logits, rows, OUTPUTS);
            head.forward(View::new(&x, rows, INPUTS), y, false);
            let expected: Vec<f64> = wanted(rows)
                .into_iter()
                .map(|(row, output)| {
                    let row = &logits[row as usize * OUTPUTS..][..OUTPUTS];
                    let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
                    f64::from(row[output as usize]) - sum.ln()
                })
                .collect();
            let found: Vec<f32> = found(&head, &x).into_iter().map(|value| value as f32).collect();
            assert_close(&found, &expected, 1e-6);
        }
    }
}

#[test]
fn neither_threads_nor_other_rows_change_them() {
    for precision in PRECISIONS {
        let head = head(precision);
        let x = numbers(300 * INPUTS, 3);
        let low = |found: Vec<f64>| found.into_iter().map(|value| value as f32).collect();
        same_at_any_number_of_threads(|| low(found(&head, &x)));
        let (all, one) = (found(&head, &x), found(&head, &x[..INPUTS]));
        assert_eq!(all[all.len() - one.len()..], one);
    }
}

#[test]
fn what_is_no_number_stays_none() {
    let mut x = numbers(2 * INPUTS, 4);
    x[5] = f32::NAN;
    let head = head(Precision::Bf16);
    let found = found(&head, &x);
    let (second, first) = found.split_at(found.len() / 2);
    assert!(first.iter().all(|value| value.is_nan()), "{first:?}");
    assert!(second.iter().all(|value| value.is_finite()), "{second:?}");
    log_softmax_at(&head, View::new(&[], 0, INPUTS), &[], &mut []);
}

#[test]
#[should_panic(expected = "rows and outputs that exist")]
fn an_output_that_does_not_exist_is_refused() {
    let x = numbers(INPUTS, 5);
    log_softmax_at(&head(Precision::F32), View::new(&x, 1, INPUTS), &[(0, OUTPUTS as u32)], &mut [0.0]);
}
