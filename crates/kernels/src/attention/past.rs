//! Keys and values kept for later queries, in the form in which products read them.

use super::Heads;
use super::factors::Arithmetic;
#[cfg(target_arch = "x86_64")]
use super::factors::pairs;
#[cfg(target_arch = "x86_64")]
use crate::panel::{Source, pack_panel, round_bf16, round_pairs};
use crate::product::View;
#[cfg(target_arch = "x86_64")]
use crate::threads::{Shared, for_each};
use crate::tile::PANEL;

/// Keys (already rotated) and values of consecutive positions in one layer.
#[derive(Clone, Debug)]
pub struct KeyValues {
    kv_heads: usize,
    head_dim: usize,
    len: usize,
    storage: Storage,
}

#[derive(Clone, Debug)]
enum Storage {
    /// Each `[len, kv_heads * head_dim]`.
    Single { keys: Vec<f32>, values: Vec<f32> },
    /// Pairs of bfloat16 values.
    #[cfg(target_arch = "x86_64")]
    Rounded {
        /// Of each key/value head: panels of [`PANEL`] keys, `[pairs, PANEL]`; a pair is two values of one key.
        keys: Vec<Vec<u32>>,
        /// Of each key/value head, and of every [`PANEL`] columns of its values: `[pairs of positions, PANEL]`; a pair is
        /// one column of two positions. There is room for whole panels of positions, those to come being zero.
        values: Vec<Vec<u32>>,
    },
}

/// Where [`KeyValues`] in bfloat16 keep consecutive positions of one key/value head.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    /// Panels of keys.
    pub(super) keys: &'a [u32],
    /// For every [`PANEL`] columns the pairs of positions.
    pub(super) values: Columns<'a>,
    /// First element of each of `values`.
    pub(super) first: usize,
}

/// Pairs of positions for every [`PANEL`] columns.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) enum Columns<'a> {
    Apart(&'a [Vec<u32>]),
    /// One after the other, each of so many elements.
    Joined(&'a [u32], usize),
}

#[cfg(target_arch = "x86_64")]
impl<'a> Columns<'a> {
    pub(super) fn of(&self, index: usize) -> &'a [u32] {
        match self {
            Self::Apart(all) => &all[index],
            Self::Joined(all, length) => &all[index * length..][..*length],
        }
    }
}

/// Pairs of the positions of a panel.
#[cfg(target_arch = "x86_64")]
pub(super) const HALF: usize = PANEL / 2;

impl KeyValues {
    /// Nothing yet; will be kept in 32 bits.
    pub fn new(heads: &Heads) -> Self {
        let storage = Storage::Single { keys: Vec::new(), values: Vec::new() };
        Self { kv_heads: heads.kv_heads, head_dim: heads.head_dim, len: 0, storage }
    }

    /// Nothing yet; will be kept as [`super::attention_rounded`] reads it: rounded to bfloat16 where the machine
    /// multiplies such pairs, and in 32 bits elsewhere. [`super::attention`] does not read the former.
    pub fn rounded(heads: &Heads) -> Self {
        let mut kept = Self::new(heads);
        match Arithmetic::fastest() {
            Arithmetic::Single => {}
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Rounded => {
                let panels = heads.kv_heads * heads.head_dim.div_ceil(PANEL);
                let (keys, values) = (vec![Vec::new(); heads.kv_heads], vec![Vec::new(); panels]);
                kept.storage = Storage::Rounded { keys, values };
            }
        }
        kept
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        match &self.storage {
            Storage::Single { keys, values } => size_of_val(keys.as_slice()) + size_of_val(values.as_slice()),
            #[cfg(target_arch = "x86_64")]
            Storage::Rounded { keys, values } => {
                keys.iter().chain(values).map(|part| size_of_val(part.as_slice())).sum()
            }
        }
    }

    /// Makes room for `positions` more, no more than needed.
    pub fn reserve(&mut self, positions: usize) {
        let len = self.len + positions;
        match &mut self.storage {
            Storage::Single { keys, values } => {
                let width = self.kv_heads * self.head_dim;
                keys.reserve_exact(len * width - keys.len());
                values.reserve_exact(len * width - values.len());
            }
            #[cfg(target_arch = "x86_64")]
            Storage::Rounded { keys, values } => {
                let panel = pairs(self.head_dim) * PANEL;
                keys.iter_mut().for_each(|keys| keys.reserve_exact(len.div_ceil(PANEL) * panel - keys.len()));
                values.iter_mut().for_each(|values| {
                    values.reserve_exact(len.div_ceil(PANEL) * HALF * PANEL - values.len())
                });
            }
        }
    }

    /// Appends the keys and values in rows of `qkv` (see [`Heads`]), one position a row. Panics where the rows are not
    /// whole or of other heads.
    pub fn append(&mut self, heads: &Heads, qkv: &[f32]) {
        assert_eq!(
            (self.kv_heads, self.head_dim),
            (heads.kv_heads, heads.head_dim),
            "append: the same heads"
        );
        assert!(qkv.len().is_multiple_of(heads.row()), "append: whole rows of qkv");
        let width = self.kv_heads * self.head_dim;
        let rows = qkv.len() / heads.row();
        let view = |from| View::columns_of(qkv, rows, heads.row(), from, width);
        let (from_keys, from_values) =
            (view(heads.heads * heads.head_dim), view(heads.heads * heads.head_dim + width));
        match &mut self.storage {
            Storage::Single { keys, values } => {
                for row in 0..rows {
                    keys.extend_from_slice(from_keys.row(row));
                    values.extend_from_slice(from_values.row(row));
                }
            }
            #[cfg(target_arch = "x86_64")]
            Storage::Rounded { keys, values } => {
                append_rounded((keys, values), self.head_dim, self.len, [from_keys, from_values]);
            }
        }
        self.len += rows;
    }

    /// Key and value of a position and a head, as kept.
    #[cfg(test)]
    pub(crate) fn position(&self, position: usize, kv: usize) -> [Vec<f32>; 2] {
        let dim = self.head_dim;
        match &self.storage {
            Storage::Single { keys, values } => {
                let at = (position * self.kv_heads + kv) * dim;
                [keys[at..][..dim].to_vec(), values[at..][..dim].to_vec()]
            }
            #[cfg(target_arch = "x86_64")]
            Storage::Rounded { keys, values } => {
                let half = |pair: u32, half: usize| f32::from_bits(pair >> (16 * half) << 16);
                let panel = &keys[kv][position / PANEL * pairs(dim) * PANEL..];
                let key = (0..dim).map(|i| half(panel[i / 2 * PANEL + position % PANEL], i % 2));
                let panels = &values[kv * dim.div_ceil(PANEL)..];
                let row = position / 2 * PANEL;
                let value = (0..dim).map(|i| half(panels[i / PANEL][row + i % PANEL], position % 2));
                [key.collect(), value.collect()]
            }
        }
    }

    /// Whether attention in this arithmetic can read it.
    pub(super) fn suits(&self, arithmetic: Arithmetic) -> bool {
        match self.storage {
            Storage::Single { .. } => true,
            #[cfg(target_arch = "x86_64")]
            Storage::Rounded { .. } => arithmetic == Arithmetic::Rounded,
        }
    }

    /// Whether it is of these heads.
    pub(super) fn fits(&self, heads: &Heads) -> bool {
        (self.kv_heads, self.head_dim) == (heads.kv_heads, heads.head_dim)
    }

    /// Positions `start .. start + count` of head `kv`; `start` is a multiple of [`PANEL`].
    pub(super) fn tile(&self, kv: usize, start: usize, count: usize) -> super::factors::Tile<'_> {
        use super::factors::Tile;
        let dim = self.head_dim;
        match &self.storage {
            Storage::Single { keys, values } => {
                let width = self.kv_heads * dim;
                let from = start * width;
                Tile::Rows {
                    keys: View::columns_of(&keys[from..], count, width, kv * dim, dim),
                    values: View::columns_of(&values[from..], count, width, kv * dim, dim),
                }
            }
            #[cfg(target_arch = "x86_64")]
            Storage::Rounded { keys, values } => {
                let (panel, panels) = (pairs(dim) * PANEL, dim.div_ceil(PANEL));
                let stored = Stored {
                    keys: &keys[kv][start / PANEL * panel..],
                    values: Columns::Apart(&values[kv * panels..][..panels]),
                    first: start / 2 * PANEL,
                };
                Tile::Stored { stored, count }
            }
        }
    }
}

/// Appends rows of keys and values, `[rows, kv_heads * dim]`, after `len` positions; each head on a thread.
#[cfg(target_arch = "x86_64")]
fn append_rounded(
    (keys, values): (&mut [Vec<u32>], &mut [Vec<u32>]),
    dim: usize,
    len: usize,
    [from_keys, from_values]: [View<'_>; 2],
) {
    let (rows, columns) = (from_keys.rows, dim.div_ceil(PANEL));
    let panels = (len + rows).div_ceil(PANEL);
    let work = 4 * rows * from_keys.columns;
    let (heads, keys, values) = (keys.len(), Shared::new(keys), Shared::new(values));
    for_each(heads, work, |kv| {
        // SAFETY: a head belongs to one task.
        let (keys, values) = unsafe { (&mut keys.slice(kv, 1)[0], values.slice(kv * columns, columns)) };
        let panel = pairs(dim) * PANEL;
        keys.resize(panels * panel, 0);
        values.iter_mut().for_each(|values| values.resize(panels * HALF * PANEL, 0));
        let mut row = 0;
        while row < rows {
            let (index, place) = ((len + row) / PANEL, (len + row) % PANEL);
            let count = if place == 0 && rows - row >= PANEL { PANEL } else { 1 };
            let [own_keys, own_values] = [from_keys, from_values].map(|view| {
                View::columns_of(&view.data[row * view.stride..], count, view.stride, kv * dim, dim)
            });
            let to = &mut keys[index * panel..][..panel];
            if count == PANEL {
                pack_panel(Source::Transposed(own_keys), 0, to, 0);
            } else {
                put_key(to, own_keys.row(0), place);
            }
            for (column, values) in values.iter_mut().enumerate() {
                let to = &mut values[index * HALF * PANEL..][..HALF * PANEL];
                if count == PANEL {
                    pack_panel(Source::Plain(own_values), column, to, 0);
                } else {
                    let first = column * PANEL;
                    put_value(to, &own_values.row(0)[first..dim.min(first + PANEL)], place);
                }
            }
            row += count;
        }
    });
}

/// Writes a key as column `column` of a panel.
#[cfg(target_arch = "x86_64")]
fn put_key(panel: &mut [u32], key: &[f32], column: usize) {
    const MOST: usize = 128;
    let rows = panel.as_chunks_mut::<PANEL>().0;
    let mut rounded = [0u32; MOST];
    for (key, rows) in key.chunks(2 * MOST).zip(rows.chunks_mut(MOST)) {
        let rounded = &mut rounded[..key.len().div_ceil(2)];
        round_pairs(key, 1.0, rounded);
        for (row, pair) in rows.iter_mut().zip(rounded) {
            row[column] = *pair;
        }
    }
}

/// Writes at most [`PANEL`] columns of a value at place `place` of a panel of positions, where zero is.
#[cfg(target_arch = "x86_64")]
fn put_value(panel: &mut [u32], value: &[f32], place: usize) {
    for (pair, value) in panel[place / 2 * PANEL..].iter_mut().zip(value) {
        *pair |= u32::from(round_bf16(*value)) << (16 * (place % 2));
    }
}
