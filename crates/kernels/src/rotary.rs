//! Rotary position embedding (Su et al. 2021), in the half-split layout of Llama checkpoints.

/// Cosines and sines for positions `0 .. positions`, each `[positions, head_dim / 2]`.
#[derive(Clone, Debug)]
pub struct RotaryTable {
    /// Half of the head's width.
    pub half: usize,
    /// `[positions, half]`, times the attention factor of the scaling variant.
    pub cos: Vec<f32>,
    /// `[positions, half]`.
    pub sin: Vec<f32>,
}

impl RotaryTable {
    /// Angles `position * inverse_frequencies[i]`, both multiplied by `factor` (1 but for YaRN and LongRoPE).
    pub fn new(inverse_frequencies: &[f64], positions: usize, factor: f64) -> Self {
        todo!()
    }
}

/// Rotates in place the first `heads` heads (each `2 * table.half` wide) of every row of `stride` elements.
/// `backward` rotates the other way, which is the gradient.
pub fn rotate(x: &mut [f32], stride: usize, heads: usize, positions: &[u32], table: &RotaryTable, backward: bool) {
    todo!()
}
