//! Narrow products (an adapter's) that are added to a wide one while its result is in the caches: on their own they would
//! read and write the whole result once more for a handful of multiply-adds an element.

use crate::instructions::level;
use crate::matrix::Matrix;
use crate::panel::panel_length;
use crate::plan::Part;
use crate::product::{View, ViewMut};
use crate::tile::{self, Block, PANEL};

/// A narrow matrix `[outputs, depth]` and the column of the wide result at which its outputs begin.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The matrix, in 32 bits.
    pub matrix: Matrix,
    /// The first of its columns in the wide result.
    pub start: usize,
}

/// The right factors of narrow products.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    /// `y[.., start ..] += left_i . B_i^T` for each `B_i`, whose left factors lie side by side.
    Forward(&'a [Placed]),
    /// `dx += left . A`, with A `[depth, columns of dx]`, which must be trainable.
    Backward(&'a Matrix),
}

/// Narrow products for one wide result, in 32 bits.
#[derive(Clone, Copy)]
pub struct Narrow<'a> {
    /// `[rows, sum of the depths]`.
    pub left: View<'a>,
    /// What it is multiplied with.
    pub right: Right<'a>,
}

/// The right factor of one panel of the result: `[depth, PANEL]`, a row every `step` elements.
struct Panel<'a> {
    data: &'a [f32],
    step: usize,
    /// The column of the left factor at which its depth begins.
    column: usize,
    depth: usize,
}

impl<'a> Narrow<'a> {
    /// Adds the products to the whole result on their own.
    pub(crate) fn add_to(&self, y: ViewMut<'_>) {
        let View { data, rows, stride, .. } = self.left;
        match self.right {
            Right::Forward(placed) => {
                let mut column = 0;
                for Placed { matrix, start } in placed {
                    let left = View::columns_of(data, rows, stride, column, matrix.inputs());
                    let to = ViewMut::columns_of(y.data, rows, y.stride, *start, matrix.outputs());
                    matrix.forward(left, to, true);
                    column += matrix.inputs();
                }
            }
            Right::Backward(matrix) => matrix.backward(self.left, y, true),
        }
    }

    /// Whether every panel of the result has whole panels of right factors, so that [`Narrow::finish`] can add them.
    pub(crate) fn fits(&self, columns: usize) -> bool {
        match self.right {
            Right::Forward(placed) => placed.iter().all(|Placed { matrix, start }| {
                let whole = |columns: usize| columns.is_multiple_of(PANEL);
                whole(*start) && whole(matrix.outputs()) && matrix.single_panels().is_some()
            }),
            Right::Backward(matrix) => columns.is_multiple_of(PANEL) && matrix.values().is_some(),
        }
    }

    fn panel(&self, panel: usize) -> Option<Panel<'a>> {
        let first = panel * PANEL;
        match self.right {
            Right::Forward(placed) => {
                let mut column = 0;
                for Placed { matrix, start } in placed {
                    let depth = matrix.inputs();
                    if (*start..start + matrix.outputs()).contains(&first) {
                        let length = panel_length::<f32>(depth);
                        let data = &matrix.single_panels()?[(first - start) / PANEL * length..][..length];
                        return Some(Panel { data, step: PANEL, column, depth });
                    }
                    column += depth;
                }
                None
            }
            Right::Backward(matrix) => {
                let (depth, step) = (matrix.outputs(), matrix.inputs());
                Some(Panel { data: &matrix.values()?[first..], step, column: 0, depth })
            }
        }
    }

    /// Adds the products to rows and columns of one part and panel, whose own sums are there.
    pub(crate) fn finish(&self, part: &Part<'_>, panel: usize) {
        let Some(right) = self.panel(panel) else { return };
        let (rows, View { data, stride, .. }) = (part.rows.len(), self.left);
        if rows == 0 || right.depth == 0 {
            return;
        }
        let left = &data[part.rows.start * stride + right.column..][..(rows - 1) * stride + right.depth];
        assert!((right.depth - 1) * right.step + PANEL <= right.data.len(), "narrow product: a whole panel");
        let block = Block {
            a: left.as_ptr(),
            a_row: stride,
            a_step: 1,
            b: right.data.as_ptr(),
            b_step: right.step,
            y: part.address(part.rows.start, rows, panel),
            y_row: part.stride(),
            rows,
            columns: part.columns(panel),
            depth: right.depth,
            scale: 1.0,
            accumulate: true,
            resume: false,
        };
        // SAFETY: the machine has its own level; the slices hold every element of the factors, `address` has checked
        // those of the result, and no two parts have a row of a panel in common.
        unsafe { tile::single(level(), &block) };
    }
}
