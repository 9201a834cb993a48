//! Rotary position embedding (Su et al. 2021), in the half-split layout of Llama checkpoints.

use crate::instructions::vectorised;
use crate::threads::{Shared, for_each};

/// Rows given to a thread at a time.
const ROWS: usize = 16;

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
        let half = inverse_frequencies.len();
        let mut cos = Vec::with_capacity(positions * half);
        let mut sin = Vec::with_capacity(positions * half);
        for position in 0..positions {
            for frequency in inverse_frequencies {
                let (s, c) = (position as f64 * frequency).sin_cos();
                cos.push((c * factor) as f32);
                sin.push((s * factor) as f32);
            }
        }
        Self { half, cos, sin }
    }

    /// Positions held.
    pub fn positions(&self) -> usize {
        self.cos.len().checked_div(self.half).unwrap_or(0)
    }
}

/// Rotates in place the first `heads` heads (each `2 * table.half` wide) of every row of `stride` elements.
/// `backward` rotates the other way, which is the gradient.
///
/// `x` holds one row for each of `positions`; every position must be below [`RotaryTable::positions`].
pub fn rotate(
    x: &mut [f32],
    stride: usize,
    heads: usize,
    positions: &[u32],
    table: &RotaryTable,
    backward: bool,
) {
    let half = table.half;
    let width = heads * 2 * half;
    let rows = positions.len();
    assert!(width <= stride, "rotate: the heads fit in a row");
    assert!(rows == 0 || x.len() >= (rows - 1) * stride + width, "rotate: a row for each position");
    if width == 0 {
        return;
    }
    let x = Shared::new(x);
    for_each(rows.div_ceil(ROWS), 2 * rows * width, |chunk| {
        let first_row = chunk * ROWS;
        for (index, position) in positions[first_row..].iter().take(ROWS).enumerate() {
            let row = first_row + index;
            let first = *position as usize * half;
            let (cos, sin) = (&table.cos[first..][..half], &table.sin[first..][..half]);
            // SAFETY: each row belongs to one task.
            rotate_row(unsafe { x.slice(row * stride, width) }, cos, sin, if backward { -1.0 } else { 1.0 });
        }
    });
}

vectorised! {
    fn rotate_row(row: &mut [f32], cos: &[f32], sin: &[f32], direction: f32) {
        for head in row.chunks_exact_mut(2 * cos.len()) {
            let (a, b) = head.split_at_mut(cos.len());
            for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                let sin = sin * direction;
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    }
}
