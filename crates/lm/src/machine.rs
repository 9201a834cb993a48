//! What this machine can do: instruction sets, and the speed of a product as training has them, measured in a moment.

use std::time::{Duration, Instant};

pub use kernels::instruction_sets;
use kernels::matrix::{Matrix, Precision, Use};
use kernels::product::{View, ViewMut};

/// Rows, outputs and inputs of the product that is timed: a batch of short texts through the widest layer of a 135M model.
const SHAPE: [usize; 3] = [512, 3072, 576];

/// Floating-point operations a second of a product with weights in `precision`, on all threads of the engine: the fastest of as
/// many products as fit into `time`, of which at least three are made.
pub fn product_speed(precision: Precision, time: Duration) -> f64 {
    let [rows, outputs, inputs] = SHAPE;
    let weights: Vec<f32> = (0..outputs * inputs).map(|index| (index % 17) as f32 / 17.0 - 0.5).collect();
    let matrix = Matrix::new(outputs, inputs, weights, precision, Use::Inference);
    let x: Vec<f32> = (0..rows * inputs).map(|index| (index % 13) as f32 / 13.0 - 0.5).collect();
    let mut y = vec![0.0; rows * outputs];
    let started = Instant::now();
    let mut fastest = f64::INFINITY;
    let mut made = 0;
    while made < 3 || started.elapsed() < time {
        let product = Instant::now();
        matrix.forward(View::new(&x, rows, inputs), ViewMut::new(&mut y, rows, outputs), false);
        fastest = fastest.min(product.elapsed().as_secs_f64());
        made += 1;
    }
    2.0 * (rows * outputs * inputs) as f64 / fastest.max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_has_a_speed() {
        let speed = product_speed(Precision::Bf16, Duration::ZERO);
        assert!(speed.is_finite() && speed > 1e6, "{speed}");
    }
}
