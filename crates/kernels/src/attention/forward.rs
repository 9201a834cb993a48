//! Attention of blocks of rows.

use super::block::{KEYS, ROWS, STEP, scale, scale_into};
use super::factors::{Arithmetic, Destination, Factors, Tile};
use super::own::Own;
use super::{Heads, KeyValues, ROOT, Segment};
use crate::memory::{List, Plain, with_list, with_scratch};
use crate::product::View;
use crate::threads::{self, Shared, for_each};

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

/// What follows from a segment.
#[derive(Clone, Copy)]
#[repr(C)]
struct Sequence {
    /// Its number.
    segment: usize,
    causal: usize,
    past_len: usize,
    /// Where the depths of its tree begin.
    depths: usize,
}

// SAFETY: four words without padding.
unsafe impl Plain for Sequence {}

/// The sequences, those that share a past next to each other, and the depths of their trees.
fn take_sequences(
    segments: &[Segment<'_>],
    sequences: &mut List<'_, Sequence>,
    depths: &mut List<'_, usize>,
) {
    for (index, segment) in segments.iter().enumerate() {
        let first = depths.len();
        segment.append_depths(depths);
        sequences.push(Sequence {
            segment: index,
            causal: segment.causal,
            past_len: segment.past_len(),
            depths: first,
        });
    }
    let past = |sequence: &Sequence| {
        segments[sequence.segment].past.first().map(|&past| std::ptr::from_ref(past) as usize)
    };
    sequences.sort_unstable_by_key(|sequence| (past(sequence), sequence.segment));
}

/// Consecutive rows of one sequence in a block.
#[derive(Clone, Copy)]
#[repr(C)]
struct Run {
    sequence: usize,
    first: usize,
    rows: usize,
    /// Row of the block at which they begin.
    offset: usize,
}

impl Run {
    /// Scores of one head.
    fn work(&self, sequences: &[Sequence]) -> usize {
        self.rows * (sequences[self.sequence].past_len + self.first + self.rows)
    }
}

// SAFETY: four words without padding.
unsafe impl Plain for Run {}

/// Rows that are treated together.
#[derive(Clone, Copy)]
#[repr(C)]
struct Block {
    /// Its first run, and how many.
    first: usize,
    runs: usize,
    rows: usize,
}

// SAFETY: three words without padding.
unsafe impl Plain for Block {}

/// Rows of a block at least: with fewer, keys that several rows see are fetched once more for every few of them.
const LEAST: usize = 4;

/// Rows of a block. It follows the number of threads, which no row's result depends on.
fn block_size(heads: &Heads, total: usize) -> usize {
    let most = (ROWS / heads.group()).max(1);
    (total * heads.kv_heads).div_ceil(threads::count() * 4).clamp(LEAST.min(most), most)
}

/// Cuts the sequences into blocks of `size` rows.
fn cut(
    size: usize,
    segments: &[Segment<'_>],
    sequences: &[Sequence],
    (runs, blocks): (&mut List<'_, Run>, &mut List<'_, Block>),
) {
    let mut open = Block { first: 0, runs: 0, rows: 0 };
    for (index, sequence) in sequences.iter().enumerate() {
        let (all, mut first) = (segments[sequence.segment].rows(), 0);
        while first < all {
            let rows = (all - first).min(size - open.rows);
            runs.push(Run { sequence: index, first, rows, offset: open.rows });
            open.runs += 1;
            open.rows += rows;
            first += rows;
            if open.rows == size {
                blocks.push(open);
                open = Block { first: runs.len(), runs: 0, rows: 0 };
            }
        }
    }
    if open.rows > 0 {
        blocks.push(open);
    }
}

struct Context<'a> {
    arithmetic: Arithmetic,
    heads: Heads,
    qkv: &'a [f32],
    own: Option<Own<'a>>,
    segments: &'a [Segment<'a>],
    sequences: &'a [Sequence],
    depths: &'a [usize],
    runs: &'a [Run],
    out: Shared<f32>,
    lse: Option<Shared<f32>>,
}

/// The state of a block for one key/value head. Rows are `(row, query head)`, the head changing faster.
struct State<'a, 'f, 'l> {
    factors: &'a mut Factors<'f>,
    sums: &'a mut [f32],
    scores: &'a mut [f32],
    /// Of each row: running maximum and sum of exponentials.
    totals: &'a mut [[f32; 2]],
    /// For each row of a product the range of keys of the tile that it sees.
    limits: &'a mut List<'l, [usize; 2]>,
}

impl Context<'_> {
    fn segment(&self, run: &Run) -> &Segment<'_> {
        &self.segments[self.sequences[run.sequence].segment]
    }

    fn runs(&self, block: &Block) -> &[Run] {
        &self.runs[block.first..][..block.runs]
    }

    /// Position of row `row` of a sequence.
    fn position(&self, sequence: &Sequence, row: usize) -> usize {
        match row.checked_sub(sequence.causal) {
            None => sequence.past_len + row,
            Some(row) => {
                let node = self.segments[sequence.segment].held_len() + row;
                sequence.past_len + sequence.causal + self.depths[sequence.depths + node] - 1
            }
        }
    }

    fn attend(&self, block: &Block, kv: usize) {
        let rows = block.rows * self.heads.group();
        let dim = self.heads.head_dim;
        Factors::with(self.arithmetic, rows, dim, |factors| {
            with_scratch(rows * (dim + KEYS), |scratch: &mut [f32]| {
                let (sums, scores) = scratch.split_at_mut(rows * dim);
                sums.fill(0.0);
                with_scratch(rows, |totals: &mut [[f32; 2]]| {
                    totals.fill([f32::NEG_INFINITY, 0.0]);
                    with_list(block.rows, |limits| {
                        let mut state = State { factors, sums, scores, totals, limits };
                        self.gather_queries(block, kv, &mut state);
                        self.attend_pasts(block, kv, &mut state);
                        for run in self.runs(block) {
                            self.attend_own(run, kv, &mut state);
                            self.attend_held(run, kv, &mut state);
                            self.attend_tree(run, kv, &mut state);
                        }
                        self.write(block, kv, &state);
                    });
                });
            });
        });
    }

    fn gather_queries(&self, block: &Block, kv: usize, state: &mut State<'_, '_, '_>) {
        let (dim, group) = (self.heads.head_dim, self.heads.group());
        for run in self.runs(block) {
            for row in 0..run.rows {
                let at = self.segment(run).start + run.first + row;
                let queries = &self.qkv[at * self.heads.row() + kv * group * dim..][..group * dim];
                for (head, query) in queries.chunks_exact(dim).enumerate() {
                    state.factors.take_query((run.offset + row) * group + head, query, self.heads.scale());
                }
            }
        }
    }

    /// Pasts, each met by all consecutive runs that share it.
    fn attend_pasts(&self, block: &Block, kv: usize, state: &mut State<'_, '_, '_>) {
        let most = |run: &Run| self.segment(run).past.len();
        for index in 0..self.runs(block).iter().map(most).max().unwrap_or(0) {
            let past = |run: &Run| self.segment(run).past.get(index).copied();
            let base =
                |run: &Run| -> usize { self.segment(run).past[..index].iter().map(|past| past.len()).sum() };
            let shared = |a: &Run, b: &Run| match (past(a), past(b)) {
                (Some(a_past), Some(b_past)) => std::ptr::eq(a_past, b_past) && base(a) == base(b),
                _ => false,
            };
            for runs in self.runs(block).chunk_by(shared) {
                if let Some(past) = past(&runs[0]) {
                    self.attend_past(past, base(&runs[0]), runs, kv, state);
                }
            }
        }
    }

    fn attend_past(
        &self,
        past: &KeyValues,
        base: usize,
        runs: &[Run],
        kv: usize,
        state: &mut State<'_, '_, '_>,
    ) {
        let window = self.heads.window;
        let first = runs[0].offset;
        let rows: usize = runs.iter().map(|run| run.rows).sum();
        for start in (0..past.len()).step_by(KEYS) {
            let count = KEYS.min(past.len() - start);
            let tile = past.tile(kv, start, count);
            state.limits.clear();
            for run in runs {
                let sequence = &self.sequences[run.sequence];
                for row in 0..run.rows {
                    let hidden = hidden(window, self.position(sequence, run.first + row), base + start);
                    state.limits.push([hidden.min(count), count]);
                }
            }
            self.meet(tile, first, rows, state, |_, _| {});
        }
    }

    /// The sequence's own causal rows.
    fn attend_own(&self, run: &Run, kv: usize, state: &mut State<'_, '_, '_>) {
        let sequence = &self.sequences[run.sequence];
        let causal = sequence.causal;
        for start in (0..causal.min(run.first + run.rows)).step_by(KEYS) {
            let count = KEYS.min(causal.min(run.first + run.rows) - start);
            let skipped = start.saturating_sub(run.first);
            state.limits.clear();
            for row in run.first + skipped..run.first + run.rows {
                let visible = (row + 1 - start).min(count);
                let hidden =
                    hidden(self.heads.window, self.position(sequence, row), sequence.past_len + start);
                state.limits.push([hidden.min(visible), visible]);
            }
            let laid_out = self
                .own
                .as_ref()
                .and_then(|own| own.tile(self.segments, sequence.segment, kv, [start, count]));
            let rows = || self.own_tile(self.segment(run).start + start, count, kv);
            let tile = laid_out.unwrap_or_else(rows);
            self.meet(tile, run.offset + skipped, run.rows - skipped, state, |_, _| {});
        }
    }

    /// The nodes of the tree that were computed before.
    fn attend_held(&self, run: &Run, kv: usize, state: &mut State<'_, '_, '_>) {
        let sequence = &self.sequences[run.sequence];
        let Some(held) = self.segment(run).held else { return };
        for start in (0..held.len()).step_by(KEYS) {
            let count = KEYS.min(held.len() - start);
            state.limits.clear();
            (0..run.rows).for_each(|_| state.limits.push([0, count]));
            self.meet(held.tile(kv, start, count), run.offset, run.rows, state, |row, scores| {
                self.keep_ancestors(sequence, held.len() + run.first + row, start, scores);
            });
        }
    }

    /// The rows of the tree below the causal rows; only they see it.
    fn attend_tree(&self, run: &Run, kv: usize, state: &mut State<'_, '_, '_>) {
        let sequence = &self.sequences[run.sequence];
        let (causal, held) = (sequence.causal, self.segment(run).held_len());
        let end = run.first + run.rows;
        if end <= causal {
            return;
        }
        let nodes = end - causal;
        for start in (0..nodes).step_by(KEYS) {
            let count = KEYS.min(nodes - start);
            let skipped = (causal + start).saturating_sub(run.first);
            let first_node = run.first + skipped - causal;
            state.limits.clear();
            for node in first_node..nodes {
                state.limits.push([0, (node + 1 - start).min(count)]);
            }
            let tile = self.own_tile(self.segment(run).start + causal + start, count, kv);
            self.meet(tile, run.offset + skipped, run.rows - skipped, state, |row, scores| {
                self.keep_ancestors(sequence, held + first_node + row, held + start, scores);
            });
        }
    }

    /// Hides the scores of the nodes from `start` on that are not ancestors of `node` within its window.
    fn keep_ancestors(&self, sequence: &Sequence, node: usize, start: usize, scores: &mut [f32]) {
        let mut kept = [f32::NEG_INFINITY; KEYS];
        let depth = self.depths[sequence.depths + node];
        let mut at = node;
        loop {
            let seen =
                self.heads.window.is_none_or(|window| depth - self.depths[sequence.depths + at] < window);
            if at < start || !seen {
                break;
            }
            if let Some(score) = scores.get(at - start) {
                kept[at - start] = *score;
            }
            match self.segments[sequence.segment].tree[at] {
                ROOT => break,
                parent => at = parent as usize,
            }
        }
        scores.copy_from_slice(&kept[..scores.len()]);
    }

    fn own_tile(&self, first: usize, count: usize, kv: usize) -> Tile<'_> {
        let Heads { heads, kv_heads, head_dim: dim, .. } = self.heads;
        let stride = self.heads.row();
        let rows = &self.qkv[first * stride..];
        Tile::Rows {
            keys: View::columns_of(rows, count, stride, (heads + kv) * dim, dim),
            values: View::columns_of(rows, count, stride, (heads + kv_heads + kv) * dim, dim),
        }
    }

    /// Lets rows `first .. first + rows` of the block meet a tile. The limits of the state are those of
    /// these rows; `mask` may hide more of them, given the row (from 0) and the scores from the start of the tile.
    fn meet(
        &self,
        tile: Tile<'_>,
        first: usize,
        rows: usize,
        state: &mut State<'_, '_, '_>,
        mask: impl Fn(usize, &mut [f32]),
    ) {
        if state.limits.iter().all(|[low, high]| low == high) {
            return;
        }
        let (group, dim) = (self.heads.group(), self.heads.head_dim);
        state.factors.take_tile(&tile);
        for from in (0..tile.count()).step_by(STEP) {
            // Rows above the diagonal see none of these keys.
            let Some(skipped) = state.limits.iter().position(|limit| limit[1] > from) else { continue };
            let at = (first + skipped) * group;
            let columns = STEP.min(tile.count() - from);
            let to = Destination { y: &mut state.scores[at * KEYS + from..], stride: KEYS };
            state.factors.scores(&tile, [at, (rows - skipped) * group], [from, columns], to);
        }
        for row in 0..rows * group {
            let [low, high] = state.limits[row / group];
            let at = first * group + row;
            let scores = &mut state.scores[at * KEYS..][..tile.count()];
            mask(row / group, &mut scores[..high]);
            let [maximum, sum] = state.totals[at];
            let (maximum, factor, added) = state.factors.take_scores(at, scores, [low, high], maximum);
            state.totals[at] = [maximum, sum * factor + added];
            if factor != 1.0 {
                scale(&mut state.sums[at * dim..][..dim], factor);
            }
        }
        for from in (0..rows).step_by(STEP) {
            let count = STEP.min(rows - from);
            let depth = state.limits[from..from + count].iter().map(|limit| limit[1]).max().unwrap_or(0);
            let at = (first + from) * group;
            let to = Destination { y: &mut state.sums[at * dim..], stride: dim };
            state.factors.sums(&tile, [at, count * group], depth, &state.scores[at * KEYS..], to);
        }
    }

    fn write(&self, block: &Block, kv: usize, state: &State<'_, '_, '_>) {
        let Heads { heads, head_dim: dim, .. } = self.heads;
        let group = self.heads.group();
        for run in self.runs(block) {
            for row in 0..run.rows {
                let to = self.segment(run).start + run.first + row;
                for head in 0..group {
                    let from = (run.offset + row) * group + head;
                    let [maximum, sum] = state.totals[from];
                    // SAFETY: a row belongs to one segment, hence to one block; the head to this task.
                    let out = unsafe { self.out.slice((to * heads + kv * group + head) * dim, dim) };
                    scale_into(&state.sums[from * dim..][..dim], 1.0 / sum, out);
                    if let Some(lse) = &self.lse {
                        // SAFETY: as above.
                        let lse = unsafe { lse.slice(to * heads + kv * group + head, 1) };
                        lse[0] = maximum + sum.ln();
                    }
                }
            }
        }
    }
}

/// How many positions from `base` on are out of the window of a row at `position`.
fn hidden(window: Option<usize>, position: usize, base: usize) -> usize {
    window.map_or(0, |window| (position + 1).saturating_sub(window).saturating_sub(base))
}
