//! Causal grouped-query attention over packed sequences, with shared cached prefixes and label trees.

/// Heads of one layer. A row of `qkv` holds the queries of all `heads`, then the keys, then the values of all
/// `kv_heads`, each `head_dim` wide: `row = (heads + 2 * kv_heads) * head_dim`.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Sliding window: a query sees keys whose position is less than `window` behind its own.
    pub window: Option<usize>,
}

/// Keys and values (keys already rotated) of `len` consecutive positions: each `[len, kv_heads * head_dim]`.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    /// Keys.
    pub keys: &'a [f32],
    /// Values.
    pub values: &'a [f32],
    /// Positions held.
    pub len: usize,
}

/// One sequence in a packed batch: rows `start .. start + causal` are consecutive positions after the pasts; then
/// `tree.len()` rows are nodes of a tree hanging from the last causal row, `tree[i]` being the parent of node `i`
/// among the nodes (smaller than `i`), or [`ROOT`].
#[derive(Clone, Debug)]
pub struct Segment<'a> {
    /// First row in the batch.
    pub start: usize,
    /// Rows that attend causally.
    pub causal: usize,
    /// Parents of the tree rows that follow; empty where there is no tree.
    pub tree: &'a [u32],
    /// Cached positions before the first row, in order (a shared prefix, then the sequence's own past). May be empty.
    pub past: &'a [Past<'a>],
}

/// The parent of a tree node that hangs from the last causal row.
pub const ROOT: u32 = u32::MAX;

/// `out[n, heads * head_dim]` of attention over each segment; scores scaled by `1/sqrt(head_dim)`. The score matrix of a whole sequence
/// is never stored. Where `lse` is given (`[n, heads]`), the log-sum-exp of each row's scores is kept for the backward pass.
pub fn attention(heads: Heads, qkv: &[f32], segments: &[Segment<'_>], out: &mut [f32], lse: Option<&mut [f32]>) {
    todo!()
}

/// Gradients of [`attention`] for segments without past and without tree: writes (does not add) `dqkv` for every row.
pub fn attention_backward(
    heads: Heads,
    qkv: &[f32],
    out: &[f32],
    dout: &[f32],
    lse: &[f32],
    segments: &[Segment<'_>],
    dqkv: &mut [f32],
) {
    todo!()
}
