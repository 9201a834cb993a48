//! Sums of outer products: the gradients of an adapter's narrow matrices, from factors that are read where they lie.

use crate::instructions::level;
use crate::memory::with_scratch;
use crate::product::{View, ViewMut};
use crate::threads::{self, Shared, for_each};
use crate::tile::{self, Block, PANEL};

/// Rows of both factors that are summed over before the next columns: their pages stay in the translation buffers.
/// A constant: it decides the order of the sums.
const ROWS: usize = 64;

/// Multiply-adds in the time of one elementary operation (see [`threads::SERIAL_WORK`]).
const RATE: usize = 16;

/// `dw[m, n] += x^T . y` with x `[rows, m]` and y `[rows, n]`, for small m. Nothing is packed but the last columns of
/// y where n is no multiple of a panel.
pub fn add_outer(dw: ViewMut<'_>, x: View<'_>, y: View<'_>) {
    assert_eq!((dw.rows, dw.columns, x.rows), (x.columns, y.columns, y.rows), "add_outer: shapes");
    x.check();
    y.check();
    dw.check();
    let (rows, small, wide) = (x.rows, x.columns, y.columns);
    if rows == 0 || small == 0 || wide == 0 {
        return;
    }
    let panels = wide.div_ceil(PANEL);
    let group = panels.div_ceil(4 * threads::count());
    let stride = dw.stride;
    let shared = Shared::new(dw.data);
    for_each(panels.div_ceil(group), rows * small * wide / RATE, |task| {
        let own = task * group..panels.min((task + 1) * group);
        for first in (0..rows).step_by(ROWS) {
            let depth = ROWS.min(rows - first);
            for panel in own.clone() {
                let columns = PANEL.min(wide - panel * PANEL);
                let to = shared.address(panel * PANEL, (small - 1) * stride + columns);
                let left = &x.data[first * x.stride..][..(depth - 1) * x.stride + small];
                let block = |b: *const f32, b_step: usize| Block {
                    a: left.as_ptr(),
                    a_row: 1,
                    a_step: x.stride,
                    b,
                    b_step,
                    y: to,
                    y_row: stride,
                    rows: small,
                    columns,
                    depth,
                    scale: 1.0,
                    accumulate: true,
                    resume: false,
                };
                let from = first * y.stride + panel * PANEL;
                if columns == PANEL {
                    let right = &y.data[from..][..(depth - 1) * y.stride + PANEL];
                    // SAFETY: the machine has its own level; the slices hold every element of the factors, `address`
                    // has checked those of the result, and no two tasks have a panel in common.
                    unsafe { tile::single(level(), &block(right.as_ptr(), y.stride)) };
                } else {
                    with_scratch(depth * PANEL, |held: &mut [f32]| {
                        for (row, to) in held.chunks_exact_mut(PANEL).enumerate() {
                            let (filled, rest) = to.split_at_mut(columns);
                            filled.copy_from_slice(&y.data[from + row * y.stride..][..columns]);
                            rest.fill(0.0);
                        }
                        // SAFETY: as above; the copy holds whole panels.
                        unsafe { tile::single(level(), &block(held.as_ptr(), PANEL)) };
                    });
                }
            }
        }
    });
}

/// `dw[n, m] += y^T . x`: as [`add_outer`], into the transposed matrix.
pub fn add_outer_transposed(dw: ViewMut<'_>, y: View<'_>, x: View<'_>) {
    assert_eq!((dw.rows, dw.columns, x.rows), (y.columns, x.columns, y.rows), "add_outer_transposed: shapes");
    dw.check();
    let (small, wide) = (x.columns, y.columns);
    with_scratch(small * wide, |transposed: &mut [f32]| {
        transposed.fill(0.0);
        add_outer(ViewMut::new(transposed, small, wide), x, y);
        for (j, own) in dw.data.chunks_mut(dw.stride).take(wide).enumerate() {
            for (i, sum) in own[..small].iter_mut().enumerate() {
                *sum += transposed[i * wide + j];
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0).collect()
    }

    /// Against sums in 64 bits.
    #[test]
    fn sums_of_outer_products() {
        for (rows, small, wide, gap) in
            [(0, 3, 5, 0), (1, 1, 1, 0), (7, 16, 32, 3), (64, 48, 96, 0), (150, 5, 70, 2), (130, 16, 33, 1)]
        {
            let (x, y) = (values(rows * (small + gap), 1), values(rows * (wide + gap), 2));
            let start = values(small * wide, 3);
            let mut expected: Vec<f64> = start.iter().map(|value| f64::from(*value)).collect();
            for row in 0..rows {
                for i in 0..small {
                    for j in 0..wide {
                        let (a, b) = (x[row * (small + gap) + i], y[row * (wide + gap) + j]);
                        expected[i * wide + j] += f64::from(a) * f64::from(b);
                    }
                }
            }
            let x = View::columns_of(&x, rows, small + gap, 0, small);
            let y = View::columns_of(&y, rows, wide + gap, 0, wide);
            let mut plain = start.clone();
            add_outer(ViewMut::new(&mut plain, small, wide), x, y);
            let mut turned = vec![0f32; wide * small];
            for (index, value) in start.iter().enumerate() {
                turned[index % wide * small + index / wide] = *value;
            }
            add_outer_transposed(ViewMut::new(&mut turned, wide, small), y, x);
            for (index, expected) in expected.iter().enumerate() {
                let close = |value: f32| (f64::from(value) - expected).abs() < 1e-5 * (1.0 + rows as f64);
                assert!(close(plain[index]), "{} and {expected}", plain[index]);
                assert!(close(turned[index % wide * small + index / wide]));
            }
        }
    }
}
