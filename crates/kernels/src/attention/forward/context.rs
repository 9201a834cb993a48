//! Attention of a block of rows, for one key/value head.

use super::partition::{Block, Run, Sequence};
use crate::attention::block::{KEYS, STEP, scale, scale_into};
use crate::attention::factors::{Arithmetic, Destination, Factors, Tile};
use crate::attention::own::Own;
use crate::attention::{Heads, KeyValues, ROOT, Segment};
use crate::memory::{List, with_list, with_scratch};
use crate::product::View;
use crate::threads::Shared;

pub(super) struct Context<'a> {
    pub(super) arithmetic: Arithmetic,
    pub(super) heads: Heads,
    pub(super) qkv: &'a [f32],
    pub(super) own: Option<Own<'a>>,
    pub(super) segments: &'a [Segment<'a>],
    pub(super) sequences: &'a [Sequence],
    pub(super) depths: &'a [usize],
    pub(super) runs: &'a [Run],
    pub(super) out: Shared<f32>,
    pub(super) lse: Option<Shared<f32>>,
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

    pub(super) fn attend(&self, block: &Block, kv: usize) {
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
