//! AdamW (Loshchilov and Hutter 2019) in one pass, as in PyTorch: decay first, then the step.

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

/// Updates `parameters` from `gradients * gradient_scale` (clipping), and the two moments. Does not clear the gradients.
pub fn adamw(
    rule: &AdamW,
    gradient_scale: f32,
    parameters: &mut [f32],
    gradients: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    todo!()
}

/// Sum of squares, in `f64`, in a fixed order at any number of threads.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    todo!()
}
