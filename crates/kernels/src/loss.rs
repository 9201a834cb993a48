//! Cross-entropy of selected rows.

/// Sum over rows of `weights[row] * -log softmax(logits[row])[targets[row]]`; replaces the logits by the gradient of that sum.
pub fn cross_entropy(logits: &mut [f32], vocabulary: usize, targets: &[u32], weights: &[f32]) -> f64 {
    todo!()
}

/// The same sum without touching the logits.
pub fn cross_entropy_value(logits: &[f32], vocabulary: usize, targets: &[u32], weights: &[f32]) -> f64 {
    todo!()
}
