//! The feed-forward block in one pass against its operations one after the other.

use super::{numbers, same_at_any_number_of_threads};
use crate::activation::swiglu;
use crate::feed_forward::{FeedForward, feed_forward};
use crate::matrix::{Matrix, Precision, Use};
use crate::norm::rms_norm;
use crate::product::{View, ViewMut};

const EPSILON: f32 = 1e-5;

fn apart(x: &[f32], block: &FeedForward<'_>) -> Vec<f32> {
    let (hidden, width) = (block.norm.len(), block.down.inputs());
    let rows = x.len() / hidden;
    let (mut normed, mut inverse) = (vec![0.0; x.len()], vec![0.0; rows]);
    rms_norm(x, block.norm, block.epsilon, &mut normed, &mut inverse);
    let (mut gate_up, mut active) = (vec![0.0; rows * 2 * width], vec![0.0; rows * width]);
    let to = ViewMut::new(&mut gate_up, rows, 2 * width);
    block.gate_up.forward(View::new(&normed, rows, hidden), to, false);
    swiglu(&gate_up, width, &mut active);
    let mut y = x.to_vec();
    block.down.forward(View::new(&active, rows, width), ViewMut::new(&mut y, rows, hidden), true);
    y
}

#[test]
fn one_pass_has_the_bits_of_its_operations() {
    for (hidden, width) in [(64, 96), (70, 32), (288, 288)] {
        let scaled = |count, seed| numbers(count, seed).iter().map(|x| x * 0.3).collect::<Vec<_>>();
        let matrix = |outputs: usize, inputs: usize, seed| {
            Matrix::new(outputs, inputs, scaled(outputs * inputs, seed), Precision::Bf16, Use::Inference)
        };
        let (norm, gate_up, down) =
            (numbers(hidden, 3), matrix(2 * width, hidden, 4), matrix(hidden, width, 5));
        let block = FeedForward { norm: &norm, epsilon: EPSILON, gate_up: &gate_up, down: &down };
        for rows in [1, 129, 600, 1031] {
            let x = numbers(rows * hidden, 6);
            let expected = apart(&x, &block);
            same_at_any_number_of_threads(|| {
                let mut y = x.clone();
                if feed_forward(&mut y, &block) {
                    assert!(rows > 1, "not worth it for one row");
                    assert_eq!(y, expected, "{rows} rows of {hidden}, {width} wide");
                } else {
                    assert_eq!(y, x, "left as it was");
                    y.clone_from(&expected);
                }
                y
            });
        }
    }
}

#[test]
#[should_panic(expected = "shapes of the projections")]
fn projections_that_do_not_fit_are_refused() {
    let matrix = |outputs, inputs| {
        Matrix::new(outputs, inputs, vec![0.0; outputs * inputs], Precision::Bf16, Use::Inference)
    };
    let (norm, gate_up, down) = (vec![1.0; 8], matrix(30, 8), matrix(8, 16));
    let block = FeedForward { norm: &norm, epsilon: EPSILON, gate_up: &gate_up, down: &down };
    feed_forward(&mut [0.0; 8], &block);
}
