//! Gradients of attention: the weights are computed again from the scores and their log-sum-exp.

use super::block::{
    KEYS, ROWS, STEP, gather, gather_transposed, inner, left, padded, panels_length, plain, scale_into,
    transposed, weights_and_gradients,
};
use super::forward::check_disjoint;
use super::{Heads, Segment};
use crate::memory::{List, with_list, with_scratch};
use crate::product::View;
use crate::threads::{Shared, for_each};
use crate::tile::{LeftFactor, Product};

/// Gradients of [`attention`](super::attention) for segments without past and without tree: writes (does not add)
/// `dqkv` for every row; rows of no segment get zero. `out` and `lse` are what `attention` wrote.
pub fn attention_backward(
    heads: Heads,
    qkv: &[f32],
    out: &[f32],
    dout: &[f32],
    lse: &[f32],
    segments: &[Segment<'_>],
    dqkv: &mut [f32],
) {
    heads.check();
    assert!(qkv.len().is_multiple_of(heads.row()), "attention_backward: whole rows of qkv");
    let batch = qkv.len() / heads.row();
    assert_eq!(
        out.len(),
        batch * heads.heads * heads.head_dim,
        "attention_backward: out is [n, heads * head_dim]"
    );
    assert_eq!(dout.len(), out.len(), "attention_backward: dout is as long as out");
    assert_eq!(lse.len(), batch * heads.heads, "attention_backward: lse is [n, heads]");
    assert_eq!(dqkv.len(), qkv.len(), "attention_backward: dqkv is as long as qkv");
    for segment in segments {
        segment.check(&heads, batch, super::factors::Arithmetic::Single);
        assert!(segment.past.is_empty() && segment.tree.is_empty(), "attention_backward: no past, no tree");
    }
    check_disjoint(segments);
    if segments.iter().map(|segment| segment.causal).sum::<usize>() < batch {
        dqkv.fill(0.0);
    }
    let scores: usize = segments.iter().map(|segment| segment.causal * segment.causal / 2).sum();
    let context = Context { heads, qkv, out, dout, lse, dqkv: Shared::new(dqkv) };
    with_list(segments.len(), |order: &mut List<'_, usize>| {
        (0..segments.len()).filter(|&index| segments[index].causal > 0).for_each(|index| order.push(index));
        // Long tasks first.
        order.sort_unstable_by_key(|&index| (std::cmp::Reverse(segments[index].causal), index));
        for_each(order.len() * heads.kv_heads, scores * heads.heads * heads.head_dim / 4, |index| {
            context.differentiate(&segments[order[index / heads.kv_heads]], index % heads.kv_heads);
        });
    });
}

struct Context<'a> {
    heads: Heads,
    qkv: &'a [f32],
    out: &'a [f32],
    dout: &'a [f32],
    lse: &'a [f32],
    dqkv: Shared<f32>,
}

/// What one segment's rows bring for one key/value head: rows are `(row, query head)`, the head changing faster.
struct Rows<'a> {
    queries: &'a mut [f32],
    gradients: &'a mut [f32],
    dqueries: &'a mut [f32],
    delta: &'a mut [f32],
}

/// A tile of keys and what it gathers.
struct Tile<'a> {
    keys_transposed: &'a mut [f32],
    values_transposed: &'a mut [f32],
    keys: &'a mut [f32],
    dkeys: &'a mut [f32],
    dvalues: &'a mut [f32],
}

/// Scores of a block against a tile, and their gradients.
struct Scores<'a> {
    weights: &'a mut [f32],
    gradients: &'a mut [f32],
}

impl Context<'_> {
    fn differentiate(&self, segment: &Segment<'_>, kv: usize) {
        let group = self.heads.group();
        let (dim, width) = (self.heads.head_dim, padded(self.heads.head_dim));
        let rows = segment.causal * group;
        let block = self.block() * group;
        let lengths = [
            rows * width,
            rows * width,
            rows * dim,
            rows,
            panels_length(dim),
            panels_length(dim),
            KEYS * width,
            KEYS * dim,
            KEYS * dim,
            block * KEYS,
            block * KEYS,
        ];
        with_scratch(lengths.iter().sum(), |mut scratch: &mut [f32]| {
            let mut parts =
                lengths.map(|length| scratch.split_off_mut(..length).expect("the sum of the lengths"));
            let [
                queries,
                gradients,
                dqueries,
                delta,
                keys_transposed,
                values_transposed,
                keys,
                dkeys,
                dvalues,
                weights,
                dweights,
            ] = parts.each_mut();
            let mut rows = Rows { queries, gradients, dqueries, delta };
            let mut tile = Tile { keys_transposed, values_transposed, keys, dkeys, dvalues };
            let mut scores = Scores { weights, gradients: dweights };
            self.gather_rows(segment, kv, &mut rows);
            for start in (0..segment.causal).step_by(KEYS) {
                let count = KEYS.min(segment.causal - start);
                self.gather_tile(segment.start + start, count, kv, &mut tile);
                let last = self.heads.window.map_or(segment.causal, |window| start + count - 1 + window);
                let mut first = start;
                while first < segment.causal.min(last) {
                    let end = segment.causal.min(last).min(first + self.block());
                    self.meet(segment, kv, (start, count), (first, end), &mut rows, &mut tile, &mut scores);
                    first = end;
                }
                self.write_tile(segment.start + start, count, kv, &tile);
            }
            self.write_queries(segment, kv, &rows);
        });
    }

    /// Rows of a block: a fixed number, since it decides the order of sums over rows.
    fn block(&self) -> usize {
        (ROWS / self.heads.group()).max(1)
    }

    fn gather_rows(&self, segment: &Segment<'_>, kv: usize, rows: &mut Rows<'_>) {
        let Heads { heads, head_dim: dim, .. } = self.heads;
        let (group, width) = (self.heads.group(), padded(dim));
        rows.dqueries.fill(0.0);
        for row in 0..segment.causal {
            for head in 0..group {
                let to = row * group + head;
                let from = segment.start + row;
                let query = &self.qkv[from * self.heads.row() + (kv * group + head) * dim..][..dim];
                let (filled, rest) = rows.queries[to * width..][..width].split_at_mut(dim);
                scale_into(query, self.heads.scale(), filled);
                rest.fill(0.0);
                let at = (from * heads + kv * group + head) * dim;
                let gradient = &self.dout[at..][..dim];
                let (filled, rest) = rows.gradients[to * width..][..width].split_at_mut(dim);
                filled.copy_from_slice(gradient);
                rest.fill(0.0);
                rows.delta[to] = inner(gradient, &self.out[at..][..dim]);
            }
        }
    }

    fn gather_tile(&self, first: usize, count: usize, kv: usize, tile: &mut Tile<'_>) {
        let Heads { heads, kv_heads, head_dim: dim, .. } = self.heads;
        let stride = self.heads.row();
        let rows = &self.qkv[first * stride..];
        let keys = View::columns_of(rows, count, stride, (heads + kv) * dim, dim);
        gather_transposed(keys, tile.keys_transposed);
        gather(keys, tile.keys);
        let values = View::columns_of(rows, count, stride, (heads + kv_heads + kv) * dim, dim);
        gather_transposed(values, tile.values_transposed);
        tile.dkeys.fill(0.0);
        tile.dvalues.fill(0.0);
    }

    /// Adds what rows `first .. end` and keys `start .. start + count` of the segment give to each other.
    #[expect(clippy::too_many_arguments, reason = "the three states are borrowed apart")]
    fn meet(
        &self,
        segment: &Segment<'_>,
        kv: usize,
        (start, count): (usize, usize),
        (first, end): (usize, usize),
        rows: &mut Rows<'_>,
        tile: &mut Tile<'_>,
        scores: &mut Scores<'_>,
    ) {
        let dim = self.heads.head_dim;
        let (group, width) = (self.heads.group(), padded(dim));
        let steps = || (0..count).step_by(STEP).map(|from| (from, (start + from).saturating_sub(first)));
        for (from, skipped) in steps().filter(|(_, skipped)| *skipped < end - first) {
            let at = (first + skipped) * group;
            let product = Product {
                left: left(&rows.queries[at * width..], width),
                right: transposed(&tile.keys_transposed[from * dim..], dim),
                rows: (end - first - skipped) * group,
                columns: STEP.min(count - from),
                depth: dim,
            };
            let to = skipped * group * KEYS + from;
            product.store(&mut scores.weights[to..], KEYS, false);
            let product = Product {
                left: left(&rows.gradients[at * width..], width),
                right: transposed(&tile.values_transposed[from * dim..], dim),
                ..product
            };
            product.store(&mut scores.gradients[to..], KEYS, false);
        }
        self.weigh(segment, kv, (start, count), (first, end), rows.delta, scores);
        for (from, skipped) in steps().filter(|(_, skipped)| *skipped < end - first) {
            let (at, columns) = ((first + skipped) * group * width, STEP.min(count - from));
            let column = |data| LeftFactor { data, row: 1, step: KEYS };
            let product = Product {
                left: column(&scores.weights[skipped * group * KEYS + from..]),
                right: plain(&rows.gradients[at..], dim),
                rows: columns,
                columns: dim,
                depth: (end - first - skipped) * group,
            };
            product.store(&mut tile.dvalues[from * dim..], dim, true);
            let product = Product {
                left: column(&scores.gradients[skipped * group * KEYS + from..]),
                right: plain(&rows.queries[at..], dim),
                ..product
            };
            product.store(&mut tile.dkeys[from * dim..], dim, true);
        }
        for from in (first..end).step_by(STEP) {
            let until = end.min(from + STEP);
            let product = Product {
                left: left(&scores.gradients[(from - first) * group * KEYS..], KEYS),
                right: plain(tile.keys, dim),
                rows: (until - from) * group,
                columns: dim,
                depth: (until - start).min(count),
            };
            product.store(&mut rows.dqueries[from * group * dim..], dim, true);
        }
    }

    /// Scores to weights, and the weights' gradients to the scores' gradients; zero where a row does not see a key.
    fn weigh(
        &self,
        segment: &Segment<'_>,
        kv: usize,
        (start, count): (usize, usize),
        (first, end): (usize, usize),
        delta: &[f32],
        scores: &mut Scores<'_>,
    ) {
        let group = self.heads.group();
        for row in first..end {
            let high = (row + 1 - start).min(count);
            let hidden = self.heads.window.map_or(0, |window| (row + 1).saturating_sub(window + start));
            let low = hidden.min(high);
            for head in 0..group {
                let at = ((row - first) * group + head) * KEYS;
                let weights = &mut scores.weights[at..][..count];
                let gradients = &mut scores.gradients[at..][..count];
                for part in [&mut *weights, &mut *gradients] {
                    part[..low].fill(0.0);
                    part[high..].fill(0.0);
                }
                let lse = self.lse[(segment.start + row) * self.heads.heads + kv * group + head];
                let delta = delta[row * group + head];
                weights_and_gradients(&mut weights[low..high], &mut gradients[low..high], lse, delta);
            }
        }
    }

    fn write_tile(&self, first: usize, count: usize, kv: usize, tile: &Tile<'_>) {
        let Heads { heads, kv_heads, head_dim: dim, .. } = self.heads;
        for row in 0..count {
            let at = (first + row) * self.heads.row();
            // SAFETY: a row belongs to one segment, the key/value head to this task; the slices are dropped at once.
            unsafe {
                let keys = &tile.dkeys[row * dim..][..dim];
                self.dqkv.slice(at + (heads + kv) * dim, dim).copy_from_slice(keys);
                let values = &tile.dvalues[row * dim..][..dim];
                self.dqkv.slice(at + (heads + kv_heads + kv) * dim, dim).copy_from_slice(values);
            }
        }
    }

    fn write_queries(&self, segment: &Segment<'_>, kv: usize, rows: &Rows<'_>) {
        let per_row = self.heads.group() * self.heads.head_dim;
        for row in 0..segment.causal {
            let at = (segment.start + row) * self.heads.row() + kv * per_row;
            // SAFETY: a row belongs to one segment, the query heads to this task.
            let to = unsafe { self.dqkv.slice(at, per_row) };
            scale_into(&rows.dqueries[row * per_row..][..per_row], self.heads.scale(), to);
        }
    }
}
