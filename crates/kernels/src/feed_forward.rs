//! A gated feed-forward block (Shazeer 2020) as one operation: `x += down(silu(gate(n)) * up(n))` with `n = norm(x)`.

#[cfg(target_arch = "x86_64")]
mod tiled;

use crate::matrix::Matrix;

/// The weights of a block.
#[derive(Clone, Copy, Debug)]
pub struct FeedForward<'a> {
    /// Weight of the root-mean-square norm, `[hidden]`.
    pub norm: &'a [f32],
    /// Its epsilon.
    pub epsilon: f32,
    /// Gate and up projection, `[2 * width, hidden]`.
    pub gate_up: &'a Matrix,
    /// Down projection, `[hidden, width]`.
    pub down: &'a Matrix,
}

/// Adds the block's result to the rows `x[rows, hidden]`, where this machine gains by making it in one pass over them, and says
/// whether it did; else `x` is as it was. The bits are those of the separate operations.
pub fn feed_forward(x: &mut [f32], block: &FeedForward<'_>) -> bool {
    let (hidden, width) = (block.norm.len(), block.down.inputs());
    assert!(hidden > 0 && x.len().is_multiple_of(hidden), "feed_forward: whole rows of x");
    assert_eq!(
        (block.gate_up.outputs(), block.gate_up.inputs(), block.down.outputs()),
        (2 * width, hidden, hidden),
        "feed_forward: shapes of the projections"
    );
    #[cfg(target_arch = "x86_64")]
    let done = tiled::run(x, block);
    #[cfg(not(target_arch = "x86_64"))]
    let done = false;
    done
}
