//! Root-mean-square normalisation (Zhang and Sennrich 2019): `y = x / sqrt(mean(x^2) + epsilon) * weight`.

/// Normalises rows of `weight.len()` elements; `inverse[row]` keeps `1 / rms` for the backward pass.
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, y: &mut [f32], inverse: &mut [f32]) {
    todo!()
}

/// Gradient of [`rms_norm`]: writes or adds (`accumulate`) to `dx`, and adds to `dweight` where given.
/// The sum over rows into `dweight` has a fixed order at any number of threads.
pub fn rms_norm_backward(
    x: &[f32],
    weight: &[f32],
    inverse: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    accumulate: bool,
    dweight: Option<&mut [f32]>,
) {
    todo!()
}
