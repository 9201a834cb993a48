//! Attention of blocks of rows.

mod context;
mod partition;

use super::factors::Arithmetic;
use super::own::Own;
use super::{Heads, Segment};
use crate::memory::{List, with_list};
use crate::threads::{Shared, for_each};
use context::Context;
use partition::{Block, Run, Sequence, block_size, cut, take_sequences};

/// `out[n, heads * head_dim]` of attention over each segment; scores scaled by `1/sqrt(head_dim)`. The score matrix of
/// a whole sequence is never stored. Where `lse` is given (`[n, heads]`), the log-sum-exp of each row's scores is kept
/// for the backward pass. Rows that belong to no segment are left as they are; no row may belong to two.
///
/// Positions count from 0 at the start of the pasts; a tree node has the position of its depth below the last causal
/// row, and sees the pasts, the causal rows, its ancestors and itself.
pub fn attention(
    heads: Heads,
    qkv: &[f32],
    segments: &[Segment<'_>],
    out: &mut [f32],
    lse: Option<&mut [f32]>,
) {
    attend(Arithmetic::Single, heads, qkv, segments, out, lse);
}

/// As [`attention`], where queries, keys, weights and values may be rounded to bfloat16 as they enter a product: done
/// where the machine has the instruction for it (AVX512-BF16).
pub fn attention_rounded(heads: Heads, qkv: &[f32], segments: &[Segment<'_>], out: &mut [f32]) {
    attend(Arithmetic::fastest(), heads, qkv, segments, out, None);
}

fn attend(
    arithmetic: Arithmetic,
    heads: Heads,
    qkv: &[f32],
    segments: &[Segment<'_>],
    out: &mut [f32],
    lse: Option<&mut [f32]>,
) {
    heads.check();
    assert!(qkv.len().is_multiple_of(heads.row()), "attention: whole rows of qkv");
    let batch = qkv.len() / heads.row();
    assert_eq!(out.len(), batch * heads.heads * heads.head_dim, "attention: out is [n, heads * head_dim]");
    if let Some(lse) = &lse {
        assert_eq!(lse.len(), batch * heads.heads, "attention: lse is [n, heads]");
    }
    segments.iter().for_each(|segment| segment.check(&heads, batch, arithmetic));
    check_disjoint(segments);
    let (out, lse) = (Shared::new(out), lse.map(Shared::new));
    let total: usize = segments.iter().map(Segment::rows).sum();
    let size = block_size(&heads, total);
    // Every sequence begins a run, and so does every block.
    let (most_blocks, most_runs) = (total.div_ceil(size), total.div_ceil(size) + segments.len());
    with_list(segments.len(), |sequences: &mut List<'_, Sequence>| {
        with_list(segments.iter().map(|segment| segment.tree.len()).sum(), |depths| {
            take_sequences(segments, sequences, depths);
            with_list(most_runs, |runs: &mut List<'_, Run>| {
                with_list(most_blocks, |blocks: &mut List<'_, Block>| {
                    cut(size, segments, sequences, (runs, blocks));
                    let work: usize = runs.iter().map(|run| run.work(sequences)).sum();
                    Own::with(arithmetic, heads, qkv, segments, |own| {
                        let context = Context {
                            arithmetic,
                            heads,
                            qkv,
                            own,
                            segments,
                            sequences,
                            depths,
                            runs,
                            out,
                            lse,
                        };
                        let work = work * heads.heads * heads.head_dim / 8;
                        for_each(blocks.len() * heads.kv_heads, work, |index| {
                            // The last blocks of a sequence see most keys: the long tasks come first.
                            let block = &blocks[blocks.len() - 1 - index / heads.kv_heads];
                            context.attend(block, index % heads.kv_heads);
                        });
                    });
                });
            });
        });
    });
}

pub(super) fn check_disjoint(segments: &[Segment<'_>]) {
    with_list(segments.len(), |ranges: &mut List<'_, [usize; 2]>| {
        for segment in segments.iter().filter(|segment| segment.rows() > 0) {
            ranges.push([segment.start, segment.start + segment.rows()]);
        }
        ranges.sort_unstable();
        assert!(ranges.windows(2).all(|pair| pair[0][1] <= pair[1][0]), "attention: a row in two segments");
    });
}
