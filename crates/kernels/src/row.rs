//! Operations on one row, vectorised.

/// Inner product.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    todo!()
}
/// `a += b`, in parallel for long slices.
pub fn add(a: &mut [f32], b: &[f32]) {
    todo!()
}
/// `log(sum(exp(x)))`, stable.
pub fn log_sum_exp(x: &[f32]) -> f32 {
    todo!()
}
