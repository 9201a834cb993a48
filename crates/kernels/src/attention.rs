//! Causal grouped-query attention over packed sequences, with shared cached prefixes and label trees.

use crate::row;

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

/// `out[n, heads * head_dim]` of attention over each segment; scores scaled by `1/sqrt(head_dim)`. The score matrix of
/// a whole sequence is never stored. Where `lse` is given (`[n, heads]`), the log-sum-exp of each row's scores is kept
/// for the backward pass. Rows that belong to no segment are left as they are.
pub fn attention(
    heads: Heads,
    qkv: &[f32],
    segments: &[Segment<'_>],
    out: &mut [f32],
    lse: Option<&mut [f32]>,
) {
    let Heads { heads: count, kv_heads, head_dim, window } = heads;
    let stride = (count + 2 * kv_heads) * head_dim;
    let scale = 1.0 / (head_dim as f32).sqrt();
    let mut lse = lse;
    let mut scores: Vec<(f32, &[f32])> = Vec::new();
    for segment in segments {
        let past: usize = segment.past.iter().map(|past| past.len).sum();
        let depths = depths(segment.tree);
        for row in 0..segment.causal + segment.tree.len() {
            let position = |row: usize| match row.checked_sub(segment.causal) {
                None => past + row,
                Some(node) => past + segment.causal - 1 + depths[node],
            };
            let own = position(row);
            let seen = |key: usize| window.is_none_or(|window| own - key < window);
            for head in 0..count {
                let kv = head / (count / kv_heads);
                let query = &qkv[(segment.start + row) * stride + head * head_dim..][..head_dim];
                scores.clear();
                let mut base = 0;
                for past in segment.past {
                    for key in 0..past.len {
                        if seen(base + key) {
                            let at = (key * kv_heads + kv) * head_dim;
                            let score = row::dot(query, &past.keys[at..][..head_dim]) * scale;
                            scores.push((score, &past.values[at..][..head_dim]));
                        }
                    }
                    base += past.len;
                }
                for key in 0..=row {
                    let related = row < segment.causal
                        || key < segment.causal
                        || is_ancestor(segment.tree, row - segment.causal, key - segment.causal);
                    if related && seen(position(key)) {
                        let at = (segment.start + key) * stride + (count + kv) * head_dim;
                        let score = row::dot(query, &qkv[at..][..head_dim]) * scale;
                        scores.push((score, &qkv[at + kv_heads * head_dim..][..head_dim]));
                    }
                }
                let largest =
                    scores.iter().fold(f32::NEG_INFINITY, |largest, (score, _)| largest.max(*score));
                let sum: f32 = scores.iter().map(|(score, _)| (score - largest).exp()).sum();
                let out = &mut out[((segment.start + row) * count + head) * head_dim..][..head_dim];
                out.fill(0.0);
                for (score, value) in &scores {
                    let weight = (score - largest).exp() / sum;
                    out.iter_mut().zip(*value).for_each(|(out, value)| *out += weight * value);
                }
                if let Some(lse) = lse.as_deref_mut() {
                    lse[(segment.start + row) * count + head] = largest + sum.ln();
                }
            }
        }
    }
}

/// Depth of each node, 1 below the last causal row.
fn depths(tree: &[u32]) -> Vec<usize> {
    let mut depths: Vec<usize> = Vec::with_capacity(tree.len());
    for &parent in tree {
        depths.push(if parent == ROOT { 1 } else { depths[parent as usize] + 1 });
    }
    depths
}

fn is_ancestor(tree: &[u32], node: usize, candidate: usize) -> bool {
    let mut at = node;
    while at > candidate {
        match tree[at] {
            ROOT => return false,
            parent => at = parent as usize,
        }
    }
    at == candidate
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
    let Heads { heads: count, kv_heads, head_dim, window } = heads;
    let stride = (count + 2 * kv_heads) * head_dim;
    let scale = 1.0 / (head_dim as f32).sqrt();
    dqkv.fill(0.0);
    for segment in segments {
        for row in 0..segment.causal {
            for head in 0..count {
                let kv = head / (count / kv_heads);
                let at = ((segment.start + row) * count + head) * head_dim;
                let (out, dout) = (&out[at..][..head_dim], &dout[at..][..head_dim]);
                let delta = row::dot(out, dout);
                let query = (segment.start + row) * stride + head * head_dim;
                for key in 0..=row {
                    if window.is_some_and(|window| row - key >= window) {
                        continue;
                    }
                    let key = (segment.start + key) * stride + (count + kv) * head_dim;
                    let value = key + kv_heads * head_dim;
                    let score = row::dot(&qkv[query..][..head_dim], &qkv[key..][..head_dim]) * scale;
                    let weight = (score - lse[(segment.start + row) * count + head]).exp();
                    let dscore = weight * (row::dot(dout, &qkv[value..][..head_dim]) - delta) * scale;
                    for i in 0..head_dim {
                        dqkv[value + i] += weight * dout[i];
                        dqkv[query + i] += dscore * qkv[key + i];
                        dqkv[key + i] += dscore * qkv[query + i];
                    }
                }
            }
        }
    }
}
