//! Keys and values of long sequences of a batch, rounded and laid out once: every block of their queries meets them again.

#[cfg(target_arch = "x86_64")]
use super::factors::pairs;
use super::factors::{Arithmetic, Tile};
#[cfg(target_arch = "x86_64")]
use super::past::{Columns, HALF, Stored};
use super::{Heads, Segment};
use crate::memory::with_scratch;
use crate::panel::{Source, pack_panel};
use crate::product::View;
use crate::threads::{Shared, for_each};
use crate::tile::PANEL;

/// Causal rows of a sequence that is long: those of more than one block.
const LONG: usize = 128;

/// The causal rows of long sequences, as products read them.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    data: &'a [u32],
    shape: Shape,
}

#[derive(Clone, Copy)]
struct Shape {
    heads: Heads,
    /// Elements of the keys, and of the values, that a panel of positions has in one head.
    keys: usize,
    values: usize,
}

impl Shape {
    fn new(heads: Heads) -> Self {
        let keys = pairs(heads.head_dim) * PANEL;
        Self { heads, keys, values: heads.head_dim.div_ceil(PANEL) * HALF * PANEL }
    }

    /// Elements of a sequence: of each head the keys and then the values.
    fn length(&self, segment: &Segment<'_>) -> usize {
        panels(segment) * self.heads.kv_heads * (self.keys + self.values)
    }
}

/// Panels of positions that a sequence has here.
fn panels(segment: &Segment<'_>) -> usize {
    if segment.causal >= LONG { segment.causal.div_ceil(PANEL) } else { 0 }
}

impl Own<'_> {
    /// Calls `work` with what `segments` have here; with nothing, where products are made in 32 bits.
    pub(super) fn with<R>(
        arithmetic: Arithmetic,
        heads: Heads,
        qkv: &[f32],
        segments: &[Segment<'_>],
        work: impl FnOnce(Option<Own<'_>>) -> R,
    ) -> R {
        let shape = Shape::new(heads);
        let length: usize = segments.iter().map(|segment| shape.length(segment)).sum();
        if arithmetic == Arithmetic::Single || length == 0 {
            return work(None);
        }
        with_scratch(length, |data: &mut [u32]| {
            let mut rest = &mut *data;
            for segment in segments {
                let (own, others) = rest.split_at_mut(shape.length(segment));
                shape.lay_out(qkv, segment, own);
                rest = others;
            }
            work(Some(Own { data, shape }))
        })
    }

    /// Positions `start .. start + count` of head `kv` of the segment `index`, where it is a long one; `start` is a
    /// multiple of [`PANEL`].
    pub(super) fn tile(
        &self,
        segments: &[Segment<'_>],
        index: usize,
        kv: usize,
        [start, count]: [usize; 2],
    ) -> Option<Tile<'_>> {
        let panels = panels(&segments[index]);
        if panels == 0 {
            return None;
        }
        let Shape { keys, values, .. } = self.shape;
        let before: usize = segments[..index].iter().map(|segment| self.shape.length(segment)).sum();
        let head = &self.data[before + kv * panels * (keys + values)..][..panels * (keys + values)];
        let (own_keys, own_values) = head.split_at(panels * keys);
        let stored = Stored {
            keys: &own_keys[start / PANEL * keys..],
            values: Columns::Joined(own_values, panels * HALF * PANEL),
            first: start / 2 * PANEL,
        };
        Some(Tile::Stored { stored, count })
    }
}

impl Shape {
    fn lay_out(&self, qkv: &[f32], segment: &Segment<'_>, to: &mut [u32]) {
        let Heads { heads, kv_heads, head_dim: dim, .. } = self.heads;
        let (panels, stride) = (panels(segment), self.heads.row());
        let (keys_length, values_length) = (panels * self.keys, panels * HALF * PANEL);
        let work = to.len();
        let to = Shared::new(to);
        for_each(panels * kv_heads, work, |index| {
            let (kv, panel) = (index / panels, index % panels);
            let count = PANEL.min(segment.causal - panel * PANEL);
            let rows = &qkv[(segment.start + panel * PANEL) * stride..];
            let keys = View::columns_of(rows, count, stride, (heads + kv) * dim, dim);
            let values = View::columns_of(rows, count, stride, (heads + kv_heads + kv) * dim, dim);
            let first = kv * panels * (self.keys + self.values);
            // SAFETY: a panel of a head belongs to one task; so below.
            let own = unsafe { to.slice(first + panel * self.keys, self.keys) };
            pack_panel(Source::Transposed(keys), 0, own, 0);
            for column in 0..dim.div_ceil(PANEL) {
                let at = first + keys_length + column * values_length + panel * HALF * PANEL;
                // SAFETY: as above.
                let own = unsafe { to.slice(at, HALF * PANEL) };
                pack_panel(Source::Plain(values), column, own, 0);
            }
        });
    }
}
