//! Log-probabilities of a few outputs of many: a product with an output projection whose rows are normalised tile by tile
//! while they are in a cache, and never stored (as online softmax does, Milakov and Gimelshein 2018).

use crate::matrix::Matrix;
use crate::memory::with_scratch;
use crate::plan::{TILE_COLUMNS, Tile};
use crate::product::View;
use crate::row::{maximum, sum_of_exponentials};
use crate::threads::{Shared, for_each};

/// For each `wanted` (row, output): `log softmax(x . W^T)[row, output]`, in natural logarithms, into `found`.
///
/// `x` is `[rows, inputs]`. A row's results do not depend on the other rows, nor on what else is wanted of it. NaN where the
/// row has one. Panics for a row or output that does not exist and where the lengths differ.
pub fn log_softmax_at(weights: &Matrix, x: View<'_>, wanted: &[(u32, u32)], found: &mut [f64]) {
    assert_eq!(wanted.len(), found.len(), "log_softmax_at: a place for each that is wanted");
    let (rows, outputs) = (x.rows, weights.outputs());
    let exists = |&(row, output): &(u32, u32)| (row as usize) < rows && (output as usize) < outputs;
    assert!(wanted.iter().all(exists), "log_softmax_at: rows and outputs that exist");
    let mut order: Vec<u32> = (0..wanted.len() as u32).collect();
    order.sort_unstable_by_key(|&index| place(wanted[index as usize]));
    let tiles = outputs.div_ceil(TILE_COLUMNS);
    with_scratch(2 * rows * tiles, |partial: &mut [f32]| {
        with_scratch(wanted.len(), |logits: &mut [f32]| {
            let (sums, values) = (Shared::new(&mut *partial), Shared::new(&mut *logits));
            weights.forward_read(x, &|tile| {
                let number = tile.columns.start / TILE_COLUMNS;
                for (row, logits) in tile.by_row() {
                    // SAFETY: each tile is read once, and the place of its sums is its own.
                    let own = unsafe { sums.slice(2 * (row * tiles + number), 2) };
                    (own[0], own[1]) = partial_sum(logits);
                }
                for &index in within(&order, wanted, tile) {
                    let (row, output) = wanted[index as usize];
                    // SAFETY: what is wanted lies in one tile.
                    let own = unsafe { values.slice(index as usize, 1) };
                    own[0] = tile.value(row as usize, output as usize);
                }
            });
            normalise(partial, rows, tiles);
            for ((found, logit), &(row, _)) in found.iter_mut().zip(&*logits).zip(wanted) {
                *found = f64::from(*logit) - f64::from(partial[2 * row as usize * tiles]);
            }
        });
    });
}

/// The tile's number, then the row.
fn place((row, output): (u32, u32)) -> (u32, u32) {
    (output / TILE_COLUMNS as u32, row)
}

/// What is wanted of a tile.
fn within<'a>(order: &'a [u32], wanted: &[(u32, u32)], tile: &Tile<'_>) -> &'a [u32] {
    let number = (tile.columns.start / TILE_COLUMNS) as u32;
    let before =
        |row: usize| order.partition_point(|&index| place(wanted[index as usize]) < (number, row as u32));
    &order[before(tile.rows.start)..before(tile.rows.end)]
}

/// The largest value, and the sum of the exponentials of all, divided by that of the largest.
fn partial_sum(logits: &[f32]) -> (f32, f32) {
    let largest = maximum(logits);
    (largest, sum_of_exponentials(logits, finite(largest)))
}

/// What is taken off before exponentials, where there may be nothing but impossible outputs or no number.
fn finite(largest: f32) -> f32 {
    if largest == f32::NEG_INFINITY { 0.0 } else { largest }
}

/// Puts the logarithm of the whole sum of each row in the place of the first of its partial ones.
fn normalise(partial: &mut [f32], rows: usize, tiles: usize) {
    let partial = Shared::new(partial);
    for_each(rows, 16 * rows * tiles, |row| {
        // SAFETY: each row belongs to one task.
        let own = unsafe { partial.slice(2 * row * tiles, 2 * tiles) };
        let shift = finite(own.iter().step_by(2).copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 =
            own.chunks_exact(2).map(|pair| f64::from(pair[1]) * f64::from(pair[0] - shift).exp()).sum();
        own[0] = (f64::from(shift) + sum.ln()) as f32;
    });
}
