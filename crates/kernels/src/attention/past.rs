//! Keys and values kept for later queries, in the form in which products read them.

use super::Heads;
use super::factors::Arithmetic;
#[cfg(target_arch = "x86_64")]
use super::factors::pairs;
use crate::panel::{round_bf16, round_pairs};
use crate::product::View;
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
        let (width, from) = (self.kv_heads * self.head_dim, heads.heads * heads.head_dim);
        for row in qkv.chunks_exact(heads.row()) {
            self.push(&row[from..from + width], &row[from + width..from + 2 * width]);
        }
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

    fn push(&mut self, key: &[f32], value: &[f32]) {
        let dim = self.head_dim;
        match &mut self.storage {
            Storage::Single { keys, values } => {
                keys.extend_from_slice(key);
                values.extend_from_slice(value);
            }
            #[cfg(target_arch = "x86_64")]
            Storage::Rounded { keys, values } => {
                for (keys, key) in keys.iter_mut().zip(key.chunks_exact(dim)) {
                    push_key(keys, key, self.len % PANEL);
                }
                let panels = dim.div_ceil(PANEL);
                for (values, value) in values.chunks_exact_mut(panels).zip(value.chunks_exact(dim)) {
                    for (values, value) in values.iter_mut().zip(value.chunks(PANEL)) {
                        push_value(values, value, self.len % PANEL);
                    }
                }
            }
        }
        self.len += 1;
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

/// Writes a key as column `column` of the last panel, or of a new one where it is the first column.
#[cfg(target_arch = "x86_64")]
fn push_key(keys: &mut Vec<u32>, key: &[f32], column: usize) {
    const MOST: usize = 128;
    let panel = pairs(key.len()) * PANEL;
    if column == 0 {
        keys.resize(keys.len() + panel, 0);
    }
    let start = keys.len() - panel;
    let rows = keys[start..].as_chunks_mut::<PANEL>().0;
    let mut rounded = [0u32; MOST];
    for (key, rows) in key.chunks(2 * MOST).zip(rows.chunks_mut(MOST)) {
        let rounded = &mut rounded[..key.len().div_ceil(2)];
        round_pairs(key, 1.0, rounded);
        for (row, pair) in rows.iter_mut().zip(rounded) {
            row[column] = *pair;
        }
    }
}

/// Writes at most [`PANEL`] columns of a value at place `place` of the last [`PANEL`] positions, or of new ones where it is
/// the first.
#[cfg(target_arch = "x86_64")]
fn push_value(values: &mut Vec<u32>, value: &[f32], place: usize) {
    if place == 0 {
        values.resize(values.len() + HALF * PANEL, 0);
    }
    let start = values.len() - (HALF - place / 2) * PANEL;
    for (pair, value) in values[start..].iter_mut().zip(value) {
        *pair |= u32::from(round_bf16(*value)) << (16 * (place % 2));
    }
}
