//! The right factor of a product, copied into the order in which the kernel reads it (see [`crate::tile`]).

use crate::instructions::vectorised;
use crate::memory::{Aligned, Plain};
use crate::product::View;
use crate::threads::{Shared, for_each};
use crate::tile::PANEL;

/// The right factor `[depth, columns]` of a product as stored: which of the two is contiguous.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// `[depth, columns]`, as in `x . w`.
    Plain(View<'a>),
    /// `[columns, depth]`, as in `x . w^T`.
    Transposed(View<'a>),
}

impl Source<'_> {
    pub(crate) fn columns(&self) -> usize {
        match self {
            Self::Plain(view) => view.columns,
            Self::Transposed(view) => view.rows,
        }
    }

    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::Plain(view) => view.rows,
            Self::Transposed(view) => view.columns,
        }
    }
}

/// What a panel is made of.
pub(crate) trait Element: Plain + Send + Sync {
    /// Values of consecutive `k` in one element.
    const VALUES: usize;
    /// The depth of a panel is a multiple of this number of values; the rest is zero.
    const MULTIPLE: usize;
    /// Row `k` of a panel from rows of the source; `second` is empty for one value an element and past the end.
    fn interleave(first: &[f32], second: &[f32], panel: &mut [Self]);
    /// Column `j` of a panel, from element `from` of the panel on.
    fn spread(column: &[f32], panel: &mut [Self], j: usize);
    /// Value `k` of this column.
    fn value(self, k: usize) -> f32;
}

impl Element for f32 {
    const VALUES: usize = 1;
    const MULTIPLE: usize = 1;
    fn interleave(first: &[f32], _second: &[f32], panel: &mut [f32]) {
        panel[..first.len()].copy_from_slice(first);
        panel[first.len()..].fill(0.0);
    }
    fn spread(column: &[f32], panel: &mut [f32], j: usize) {
        for (value, row) in column.iter().zip(panel.as_chunks_mut::<PANEL>().0) {
            row[j] = *value;
        }
    }
    fn value(self, _k: usize) -> f32 {
        self
    }
}

impl Element for u32 {
    const VALUES: usize = 2;
    /// The depth of a tile register.
    const MULTIPLE: usize = 32;
    fn interleave(first: &[f32], second: &[f32], panel: &mut [u32]) {
        interleave_pairs(first, second, panel);
    }
    fn spread(column: &[f32], panel: &mut [u32], j: usize) {
        let (pairs, last) = column.as_chunks::<2>();
        let mut rows = panel.as_chunks_mut::<PANEL>().0.iter_mut();
        for ([low, high], row) in pairs.iter().zip(rows.by_ref()) {
            row[j] = pair(*low, *high);
        }
        if let ([low], Some(row)) = (last, rows.next()) {
            row[j] = pair(*low, 0.0);
        }
    }
    fn value(self, k: usize) -> f32 {
        f32::from_bits(if k.is_multiple_of(2) { self << 16 } else { self & 0xffff_0000 })
    }
}

/// Rounds to bfloat16, to nearest and ties to even; NaN stays NaN.
#[inline(always)]
pub(crate) fn round_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    let quiet = bits | 0x0040_0000;
    ((if bits & 0x7fff_ffff > 0x7f80_0000 { quiet } else { rounded }) >> 16) as u16
}

#[inline(always)]
fn pair(low: f32, high: f32) -> u32 {
    u32::from(round_bf16(low)) | u32::from(round_bf16(high)) << 16
}

vectorised! {
    fn interleave_pairs(first: &[f32], second: &[f32], panel: &mut [u32]) {
        if second.is_empty() {
            for (element, low) in panel.iter_mut().zip(first) {
                *element = pair(*low, 0.0);
            }
        } else {
            for ((element, low), high) in panel.iter_mut().zip(first).zip(second) {
                *element = pair(*low, *high);
            }
        }
        panel[first.len()..].fill(0);
    }
}

/// Elements of depth spread at a time, so that the part of the panel written stays in the first cache.
const SPREAD: usize = 128;

/// Elements of one panel.
pub(crate) fn panel_length<E: Element>(depth: usize) -> usize {
    depth.next_multiple_of(E::MULTIPLE) / E::VALUES * PANEL
}

/// Elements of all panels of a factor.
pub(crate) fn packed_length<E: Element>(columns: usize, depth: usize) -> usize {
    columns.div_ceil(PANEL) * panel_length::<E>(depth)
}

/// Copies panel `index` of `source` to `panel`.
pub(crate) fn pack_panel<E: Element>(source: Source<'_>, index: usize, panel: &mut [E], zero: E) {
    let (columns, depth) = (source.columns(), source.depth());
    let first = index * PANEL;
    let count = PANEL.min(columns - first);
    let filled = depth.div_ceil(E::VALUES);
    panel[filled * PANEL..].fill(zero);
    match source {
        Source::Plain(view) => {
            for (k, row) in panel[..filled * PANEL].chunks_exact_mut(PANEL).enumerate() {
                let low = &view.row(k * E::VALUES)[first..][..count];
                let next = k * E::VALUES + E::VALUES - 1;
                let high =
                    if E::VALUES == 2 && next < depth { &view.row(next)[first..][..count] } else { &[] };
                E::interleave(low, high, row);
            }
        }
        Source::Transposed(view) => {
            if count < PANEL {
                panel.fill(zero);
            }
            for from in (0..filled).step_by(SPREAD) {
                let part = &mut panel[from * PANEL..];
                let end = depth.min((from + SPREAD) * E::VALUES);
                for j in 0..count {
                    E::spread(&view.row(first + j)[from * E::VALUES..end], part, j);
                }
            }
        }
    }
}

/// Copies all panels of `source`, in parallel where that is worth it.
pub(crate) fn pack<E: Element>(source: Source<'_>, panels: &mut [E], zero: E) {
    let length = panel_length::<E>(source.depth());
    let count = source.columns().div_ceil(PANEL);
    let work = source.columns() * source.depth();
    let panels = Shared::new(panels);
    for_each(count, work, |index| {
        // SAFETY: each panel belongs to one task.
        pack_panel(source, index, unsafe { panels.slice(index * length, length) }, zero);
    });
}

/// A right factor kept in panels.
#[derive(Clone, Debug)]
pub(crate) struct Panels<E> {
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    pub(crate) data: Aligned<E>,
}

impl<E: Element + Default> Panels<E> {
    pub(crate) fn new(source: Source<'_>) -> Self {
        let (columns, depth) = (source.columns(), source.depth());
        let mut panels = Self { columns, depth, data: Aligned::zeros(packed_length::<E>(columns, depth)) };
        panels.refill(source);
        panels
    }

    /// Takes new values of the same shape.
    pub(crate) fn refill(&mut self, source: Source<'_>) {
        assert_eq!((self.columns, self.depth), (source.columns(), source.depth()), "panels keep their shape");
        pack(source, &mut self.data, E::default());
    }

    /// Copies column `j` to `out[depth]`.
    pub(crate) fn column(&self, j: usize, out: &mut [f32]) {
        assert!(j < self.columns, "column {j} of {}", self.columns);
        assert_eq!(out.len(), self.depth, "a column is as long as the factor is deep");
        let length = panel_length::<E>(self.depth);
        let panel = &self.data[j / PANEL * length..][..length];
        for (k, out) in out.iter_mut().enumerate() {
            *out = panel[k / E::VALUES * PANEL + j % PANEL].value(k);
        }
    }
}
