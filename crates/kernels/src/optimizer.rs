//! AdamW (Loshchilov and Hutter 2019) in one pass, as in PyTorch: decay first, then the step.

use crate::instructions::vectorised;
use crate::matrix::Matrix;
use crate::memory::with_scratch;
use crate::threads::{Shared, for_each};

/// Elements given to a thread at a time; also the elements of one partial sum of [`sum_of_squares`].
const CHUNK: usize = 1 << 14;

/// Constants of one step.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Number of this step, from 1 (bias correction).
    pub step: u32,
}

/// The factors of one step, computed once in `f64`.
#[derive(Clone, Copy)]
struct Factors {
    gradient: f32,
    keep: f32,
    rate: f32,
    root_correction: f32,
    beta1: f32,
    complement1: f32,
    beta2: f32,
    complement2: f32,
    epsilon: f32,
}

impl Factors {
    fn new(rule: &AdamW, gradient_scale: f32) -> Self {
        let (beta1, beta2) = (f64::from(rule.beta1), f64::from(rule.beta2));
        let rate = f64::from(rule.learning_rate);
        let correction = |beta: f64| 1.0 - beta.powf(f64::from(rule.step));
        Self {
            gradient: gradient_scale,
            keep: (1.0 - rate * f64::from(rule.weight_decay)) as f32,
            rate: (rate / correction(beta1)) as f32,
            root_correction: (1.0 / correction(beta2).sqrt()) as f32,
            beta1: rule.beta1,
            complement1: (1.0 - beta1) as f32,
            beta2: rule.beta2,
            complement2: (1.0 - beta2) as f32,
            epsilon: rule.epsilon,
        }
    }
}

/// Updates `parameters` from `gradients * gradient_scale` (clipping), and the two moments. Does not clear the gradients.
pub fn adamw(
    rule: &AdamW,
    gradient_scale: f32,
    parameters: &mut [f32],
    gradients: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let length = parameters.len();
    check(rule, length, [gradients, first, second]);
    let factors = Factors::new(rule, gradient_scale);
    let (parameters, first, second) = (Shared::new(parameters), Shared::new(first), Shared::new(second));
    for_each(length.div_ceil(CHUNK), length * 4, |chunk| {
        let start = chunk * CHUNK;
        let count = CHUNK.min(length - start);
        // SAFETY: each chunk belongs to one task.
        let (parameters, first, second) = unsafe {
            (parameters.slice(start, count), first.slice(start, count), second.slice(start, count))
        };
        step(&factors, parameters, &gradients[start..start + count], first, second);
    });
}

/// [`adamw`] of a trainable matrix, whose packed copies follow in the same pass.
pub fn adamw_matrix(
    rule: &AdamW,
    gradient_scale: f32,
    matrix: &mut Matrix,
    gradients: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let length = matrix.outputs() * matrix.inputs();
    check(rule, length, [gradients, first, second]);
    let factors = Factors::new(rule, gradient_scale);
    let (first, second) = (Shared::new(first), Shared::new(second));
    matrix.update_in_parts(|range, parameters| {
        // SAFETY: the parts are disjoint, each the work of one task.
        let (first, second) =
            unsafe { (first.slice(range.start, range.len()), second.slice(range.start, range.len())) };
        step(&factors, parameters, &gradients[range], first, second);
    });
}

fn check(rule: &AdamW, length: usize, [gradients, first, second]: [&[f32]; 3]) {
    assert_eq!(gradients.len(), length, "adamw: one gradient for each parameter");
    assert_eq!(first.len(), length, "adamw: one first moment for each parameter");
    assert_eq!(second.len(), length, "adamw: one second moment for each parameter");
    assert!(rule.step >= 1, "adamw: steps count from 1");
}

vectorised! {
    fn step(factors: &Factors, parameters: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32]) {
        let f = *factors;
        for (((parameter, gradient), first), second) in parameters.iter_mut().zip(gradients).zip(first).zip(second) {
            let gradient = gradient * f.gradient;
            *first = f.beta1 * *first + f.complement1 * gradient;
            *second = f.beta2 * *second + f.complement2 * gradient * gradient;
            let root = second.sqrt() * f.root_correction + f.epsilon;
            *parameter = *parameter * f.keep - f.rate * *first / root;
        }
    }
}

/// Sum of squares, in `f64`, in a fixed order at any number of threads.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let chunks = x.len().div_ceil(CHUNK);
    with_scratch(chunks, |partial: &mut [f64]| {
        let shared = Shared::new(partial);
        for_each(chunks, x.len(), |chunk| {
            let start = chunk * CHUNK;
            // SAFETY: each partial sum belongs to one task.
            let sum = unsafe { shared.slice(chunk, 1) };
            sum[0] = squares(&x[start..x.len().min(start + CHUNK)]);
        });
        partial.iter().sum()
    })
}

vectorised! {
    fn squares(x: &[f32]) -> f64 {
        const LANES: usize = 16;
        let mut lanes = [0f64; LANES];
        let (blocks, rest) = x.as_chunks::<LANES>();
        for block in blocks {
            for lane in 0..LANES {
                let value = f64::from(block[lane]);
                lanes[lane] += value * value;
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane += f64::from(*x) * f64::from(*x);
        }
        lanes.iter().sum()
    }
}
