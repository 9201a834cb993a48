//! The right factor of a product, copied into the order in which the kernel reads it (see [`crate::tile`]).

use std::ops::Range;

use crate::instructions::vectorised;
#[cfg(target_arch = "x86_64")]
use crate::instructions::{Level, level};
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
    /// Row `k` of a panel, from rows of the source; `second` is empty for one value an element and past the end.
    fn interleave(first: &[f32], second: &[f32], panel: &mut [Self]);
    /// Column `j` of a panel, from element `from` of the panel on.
    fn spread(column: &[f32], panel: &mut [Self], j: usize);
    /// Columns `j .. j + 8` of a panel, from rows `row .. row + 8` of `view`, values `range` of each.
    fn spread_eight(view: View<'_>, row: usize, range: Range<usize>, panel: &mut [Self], j: usize);
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
    fn spread_eight(view: View<'_>, row: usize, range: Range<usize>, panel: &mut [f32], j: usize) {
        transpose_eight(
            &view.data[row * view.stride + range.start..],
            view.stride,
            range.len(),
            &mut panel[j..],
        );
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
    fn spread_eight(view: View<'_>, row: usize, range: Range<usize>, panel: &mut [u32], j: usize) {
        let pairs = range.len().div_ceil(2);
        let mut rounded = [0u32; 8 * SPREAD];
        for (i, to) in rounded.chunks_exact_mut(SPREAD).enumerate() {
            round_pairs(&view.row(row + i)[range.clone()], 1.0, &mut to[..pairs]);
        }
        transpose_eight(&rounded, SPREAD, pairs, &mut panel[j..]);
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

vectorised! {
    /// Pairs of `from * factor` rounded to bfloat16, the lower in the low half; the last is completed by zero.
    pub(crate) fn round_pairs(from: &[f32], factor: f32, to: &mut [u32]) {
        let (pairs, last) = from.as_chunks::<2>();
        for (to, [low, high]) in to.iter_mut().zip(pairs) {
            *to = pair(*low * factor, *high * factor);
        }
        if let ([low], Some(to)) = (last, to.last_mut()) {
            *to = pair(*low * factor, 0.0);
        }
    }
}

/// `to[k * PANEL + i] = from[i * stride + k]` for `i < 8`, `k < count`.
fn transpose_eight<E: Element>(from: &[E], stride: usize, count: usize, to: &mut [E]) {
    const { assert!(size_of::<E>() == 4, "elements of 32 bits") };
    if count == 0 {
        return;
    }
    assert!(7 * stride + count <= from.len(), "transpose: eight rows");
    assert!((count - 1) * PANEL + 8 <= to.len(), "transpose: a row of the panel for each element");
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    #[cfg(target_arch = "x86_64")]
    let done = if level() >= Level::Avx2 { count / 8 * 8 } else { 0 };
    #[cfg(target_arch = "x86_64")]
    if done > 0 {
        for k in (0..done).step_by(8) {
            let (from, to) = (from[k..].as_ptr().cast(), to[k * PANEL..].as_mut_ptr().cast());
            // SAFETY: the machine has AVX2; the assertions above cover rows `0 .. 8` and elements `k .. k + 8`, which
            // are plain 32-bit values.
            unsafe { transpose_square(from, stride, to, PANEL) };
        }
    }
    for k in done..count {
        for i in 0..8 {
            to[k * PANEL + i] = from[i * stride + k];
        }
    }
}

/// `to[i * from.rows + k] = from[k, first + i]` for `i < count`: columns of `from` as rows.
pub(crate) fn transpose_columns(from: View<'_>, first: usize, count: usize, to: &mut [f32]) {
    let rows = from.rows;
    assert!(first + count <= from.columns, "transpose: columns of the view");
    assert_eq!(to.len(), count * rows, "transpose: a row for each column");
    let (mut columns, mut depth) = (0, 0);
    #[cfg(target_arch = "x86_64")]
    if level() >= Level::Avx2 {
        (columns, depth) = (count / 8 * 8, rows / 8 * 8);
        for k in (0..depth).step_by(8) {
            for i in (0..columns).step_by(8) {
                let (corner, to) = (&from.data[k * from.stride + first + i..], &mut to[i * rows + k..]);
                assert!(
                    corner.len() >= 7 * from.stride + 8 && to.len() >= 7 * rows + 8,
                    "transpose: a square"
                );
                // SAFETY: the machine has AVX2; the assertion covers the eight rows of both.
                unsafe { transpose_square(corner.as_ptr(), from.stride, to.as_mut_ptr(), rows) };
            }
        }
    }
    for k in 0..rows {
        let skipped = if k < depth { columns } else { 0 };
        for (i, value) in from.row(k)[first..][..count].iter().enumerate().skip(skipped) {
            to[i * rows + k] = *value;
        }
    }
}

/// Eight by eight elements.
///
/// # Safety
/// `from` is valid for eight elements at each of eight rows, `stride` apart; `to` the same, `to_stride` apart.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn transpose_square(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
    use std::arch::x86_64::*;
    // SAFETY: valid addresses by the contract.
    let row = |i: usize| unsafe { _mm256_loadu_ps(from.add(i * stride)) };
    // Neighbouring rows, then pairs of them, then halves of the registers change places.
    let low = |i: usize| _mm256_unpacklo_ps(row(i), row(i + 1));
    let high = |i: usize| _mm256_unpackhi_ps(row(i), row(i + 1));
    let quads = |i: usize| {
        let (a, b, c, d) = (low(i), low(i + 2), high(i), high(i + 2));
        [
            _mm256_shuffle_ps::<0x44>(a, b),
            _mm256_shuffle_ps::<0xee>(a, b),
            _mm256_shuffle_ps::<0x44>(c, d),
            _mm256_shuffle_ps::<0xee>(c, d),
        ]
    };
    let (upper, lower) = (quads(0), quads(4));
    for i in 0..4 {
        // SAFETY: valid addresses by the contract.
        unsafe {
            _mm256_storeu_ps(to.add(i * to_stride), _mm256_permute2f128_ps::<0x20>(upper[i], lower[i]));
            _mm256_storeu_ps(to.add((i + 4) * to_stride), _mm256_permute2f128_ps::<0x31>(upper[i], lower[i]));
        }
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
                let eights = count / 8 * 8;
                for j in (0..eights).step_by(8) {
                    E::spread_eight(view, first + j, from * E::VALUES..end, part, j);
                }
                for j in eights..count {
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

/// Rows of a plain source that [`pack_rows`] takes at a time: whole elements of any kind.
pub(crate) const ROWS: usize = PANEL;

/// Copies rows `first ..` of a plain source, which are `rows`, to their place in each of its panels: `panels` are all of
/// them, of a factor `depth` deep. `first` is a multiple of [`ROWS`], and there are as many rows, or all that are left.
///
/// # Safety
/// No one else uses these rows' elements of the panels meanwhile.
pub(crate) unsafe fn pack_rows<E: Element>(
    rows: View<'_>,
    first: usize,
    depth: usize,
    panels: &Shared<E>,
    zero: E,
) {
    let length = panel_length::<E>(depth);
    let end = if first + rows.rows == depth { length / PANEL } else { (first + rows.rows) / E::VALUES };
    let begin = first / E::VALUES;
    for (index, column) in (0..rows.columns).step_by(PANEL).enumerate() {
        let count = PANEL.min(rows.columns - column);
        // SAFETY: by the contract.
        let panel = unsafe { panels.slice(index * length + begin * PANEL, (end - begin) * PANEL) };
        for (k, to) in panel.chunks_exact_mut(PANEL).enumerate() {
            let (low, high) = (k * E::VALUES, k * E::VALUES + E::VALUES - 1);
            if low >= rows.rows {
                to.fill(zero);
                continue;
            }
            let second =
                if E::VALUES == 2 && high < rows.rows { &rows.row(high)[column..][..count] } else { &[] };
            E::interleave(&rows.row(low)[column..][..count], second, to);
        }
    }
}

/// A right factor kept in panels.
#[derive(Clone, Debug)]
pub(crate) struct Panels<E: Plain> {
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    pub(crate) data: Aligned<E>,
}

impl<E: Element + Default> Panels<E> {
    /// A factor packed at once.
    #[cfg(test)]
    pub(crate) fn new(source: Source<'_>) -> Self {
        let mut panels = Self::zeros(source.columns(), source.depth());
        pack(source, &mut panels.data, E::default());
        panels
    }

    /// Room for a factor, all zeros.
    pub(crate) fn zeros(columns: usize, depth: usize) -> Self {
        Self { columns, depth, data: Aligned::zeros(packed_length::<E>(columns, depth)) }
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
