//! What forward and backward share: rows gathered for one key/value head, and operations on rows of scores.

use crate::instructions::vectorised;
use crate::panel::{Source, pack_panel, panel_length};
use crate::product::View;
use crate::row::{exponential, exponentiate, largest, sum_lanes};
use crate::tile::{LeftFactor, PANEL, RightFactor};

/// Keys of a tile.
pub(super) const KEYS: usize = 128;

/// Rows (times query heads of a key/value head) of a block, at most. Their scores against a tile, and their sums,
/// stay in the second cache.
pub(super) const ROWS: usize = 192;

/// Rows (or keys) that are treated alike at the diagonal: what lies above it is left out in these steps.
pub(super) const STEP: usize = PANEL;

/// A head's width in gathered rows: whole panels.
pub(super) fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(PANEL)
}

/// Elements of a tile of keys in panels.
pub(super) fn panels_length(head_dim: usize) -> usize {
    KEYS / PANEL * panel_length::<f32>(head_dim)
}

/// Copies rows of `head_dim` elements to rows of [`padded`] elements, the rest zero.
pub(super) fn gather(rows: View<'_>, to: &mut [f32]) {
    let width = padded(rows.columns);
    for (index, to) in to.chunks_exact_mut(width).take(rows.rows).enumerate() {
        to[..rows.columns].copy_from_slice(rows.row(index));
        to[rows.columns..].fill(0.0);
    }
}

/// Copies rows as the right factor of `x . rows^T`.
pub(super) fn gather_transposed(rows: View<'_>, to: &mut [f32]) {
    let length = panel_length::<f32>(rows.columns);
    for (index, panel) in to.chunks_exact_mut(length).take(rows.rows.div_ceil(PANEL)).enumerate() {
        pack_panel(Source::Transposed(rows), index, panel, 0.0);
    }
}

/// Rows made by [`gather_transposed`], as a right factor.
pub(super) fn transposed(panels: &[f32], head_dim: usize) -> RightFactor<'_> {
    RightFactor { data: panels, panel: panel_length::<f32>(head_dim), step: PANEL }
}

/// Rows made by [`gather`], as a right factor.
pub(super) fn plain(rows: &[f32], head_dim: usize) -> RightFactor<'_> {
    RightFactor { data: rows, panel: PANEL, step: padded(head_dim) }
}

/// Rows of `stride` elements as a left factor.
pub(super) fn left(rows: &[f32], stride: usize) -> LeftFactor<'_> {
    LeftFactor { data: rows, row: stride, step: 1 }
}

vectorised! {
    /// Takes scores into a running maximum: replaces them by `exp(score - maximum)` and returns the new maximum, the
    /// factor `exp(old - new)` for what was summed before, and their sum.
    pub(super) fn take_scores(scores: &mut [f32], maximum: f32) -> (f32, f32, f32) {
        let largest = largest(scores);
        let new = if largest > maximum { largest } else { maximum };
        if new == f32::NEG_INFINITY {
            scores.fill(0.0);
            return (new, 1.0, 0.0);
        }
        let factor = if new == maximum { 1.0 } else { exponential::<FUSED>(maximum - new) };
        (new, factor, exponentiate::<FUSED>(scores, 1.0, new))
    }
}

vectorised! {
    /// `to = x * factor`.
    pub(super) fn scale_into(x: &[f32], factor: f32, to: &mut [f32]) {
        for (to, x) in to.iter_mut().zip(x) {
            *to = x * factor;
        }
    }
}

vectorised! {
    /// `x *= factor`.
    pub(super) fn scale(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }
}

vectorised! {
    /// Replaces scores by weights `exp(score - lse)`, and `dweights` by `weight * (dweight - delta)`.
    pub(super) fn weights_and_gradients(scores: &mut [f32], dweights: &mut [f32], lse: f32, delta: f32) {
        for (score, dweight) in scores.iter_mut().zip(dweights) {
            *score = exponential::<FUSED>(*score - lse);
            *dweight = *score * (*dweight - delta);
        }
    }
}

vectorised! {
    pub(super) fn inner(a: &[f32], b: &[f32]) -> f32 {
        sum_lanes::<FUSED>(a, b)
    }
}
