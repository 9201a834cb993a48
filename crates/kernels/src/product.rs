//! Matrix products on strided, row-major `f32` views.

use crate::instructions::{Level, level};
use crate::memory::with_scratch;
use crate::panel::{Source, pack, packed_length, panel_length};
use crate::plan::{Grain, Plan, Target};
use crate::tile::{self, Block, PANEL};

/// A read-only matrix: `rows` x `columns`, row `i` starting at `data[i * stride]`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The backing slice; at least `(rows - 1) * stride + columns` long.
    pub data: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Distance between the starts of two rows, in elements; at least `columns`.
    pub stride: usize,
}

/// A matrix that is written to; fields as in [`View`].
#[derive(Debug)]
pub struct ViewMut<'a> {
    /// The backing slice.
    pub data: &'a mut [f32],
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Distance between the starts of two rows, in elements.
    pub stride: usize,
}

impl<'a> View<'a> {
    /// A dense view: `stride == columns`. Panics where `data` is too short.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        let view = Self { data, rows, columns, stride: columns };
        view.check();
        view
    }

    /// A view of `columns` columns at offset `first` in rows of `stride` elements. `data` holds whole rows.
    pub fn columns_of(data: &'a [f32], rows: usize, stride: usize, first: usize, columns: usize) -> Self {
        let view = Self { data: data.get(first..).unwrap_or(&[]), rows, columns, stride };
        view.check();
        view
    }

    /// Row `index`.
    pub(crate) fn row(&self, index: usize) -> &'a [f32] {
        &self.data[index * self.stride..][..self.columns]
    }

    pub(crate) fn check(&self) {
        check_shape(self.data.len(), self.rows, self.columns, self.stride);
    }
}

impl<'a> ViewMut<'a> {
    /// A dense view: `stride == columns`. Panics where `data` is too short.
    pub fn new(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        let view = Self { data, rows, columns, stride: columns };
        view.check();
        view
    }

    /// A view of `columns` columns at offset `first` in rows of `stride` elements. `data` holds whole rows.
    pub fn columns_of(data: &'a mut [f32], rows: usize, stride: usize, first: usize, columns: usize) -> Self {
        let view = Self { data: data.get_mut(first..).unwrap_or(&mut []), rows, columns, stride };
        view.check();
        view
    }

    pub(crate) fn check(&self) {
        check_shape(self.data.len(), self.rows, self.columns, self.stride);
    }
}

fn check_shape(length: usize, rows: usize, columns: usize, stride: usize) {
    assert!(rows <= 1 || columns <= stride, "view: rows of {columns} columns overlap at stride {stride}");
    if rows > 0 && columns > 0 {
        let end = (rows - 1).checked_mul(stride).and_then(|start| start.checked_add(columns));
        assert!(
            end.is_some_and(|end| end <= length),
            "view: {rows} rows of {columns} columns, stride {stride}, in {length} elements"
        );
    }
}

/// `y (+)= scale * x . w^T` with x `[m, k]`, w `[n, k]`, y `[m, n]`; adds to `y` where `accumulate`.
pub fn multiply_nt(y: ViewMut<'_>, x: View<'_>, w: View<'_>, scale: f32, accumulate: bool) {
    assert_eq!((y.rows, y.columns, x.columns), (x.rows, w.rows, w.columns), "multiply_nt: shapes");
    multiply(Factor::plain(x), Source::Transposed(w), y, scale, accumulate);
}

/// `y (+)= scale * x . w` with x `[m, k]`, w `[k, n]`, y `[m, n]`.
pub fn multiply_nn(y: ViewMut<'_>, x: View<'_>, w: View<'_>, scale: f32, accumulate: bool) {
    assert_eq!((y.rows, y.columns, x.columns), (x.rows, w.columns, w.rows), "multiply_nn: shapes");
    multiply(Factor::plain(x), Source::Plain(w), y, scale, accumulate);
}

/// `y (+)= scale * x^T . w` with x `[k, m]`, w `[k, n]`, y `[m, n]`.
pub fn multiply_tn(y: ViewMut<'_>, x: View<'_>, w: View<'_>, scale: f32, accumulate: bool) {
    assert_eq!((y.rows, y.columns, x.rows), (x.columns, w.columns, w.rows), "multiply_tn: shapes");
    multiply(Factor::transposed(x), Source::Plain(w), y, scale, accumulate);
}

/// Multiply-adds in the time of one elementary operation (see [`Plan::new`]).
const RATE: usize = 16;

/// The left factor `[rows, depth]`: element `(i, k)` at `i * row + k * step`.
#[derive(Clone, Copy)]
pub(crate) struct Factor<'a> {
    view: View<'a>,
    rows: usize,
    depth: usize,
    row: usize,
    step: usize,
}

impl<'a> Factor<'a> {
    pub(crate) fn plain(view: View<'a>) -> Self {
        view.check();
        Self { view, rows: view.rows, depth: view.columns, row: view.stride, step: 1 }
    }

    fn transposed(view: View<'a>) -> Self {
        view.check();
        Self { view, rows: view.columns, depth: view.rows, row: 1, step: view.stride }
    }
}

fn multiply(left: Factor<'_>, right: Source<'_>, y: ViewMut<'_>, scale: f32, accumulate: bool) {
    let (columns, depth) = (right.columns(), right.depth());
    with_scratch(packed_length::<f32>(columns, depth), |panels: &mut [f32]| {
        pack(right, panels, 0.0);
        multiply_panels(left, panels, y.into(), scale, accumulate);
    });
}

/// `y (+)= scale * left . right` where `right` is in panels already.
pub(crate) fn multiply_panels(left: Factor<'_>, panels: &[f32], y: Target<'_>, scale: f32, accumulate: bool) {
    multiply_panels_by(level(), left, panels, y, scale, accumulate);
}

/// [`multiply_panels`] at the given level, which the machine must have.
pub(crate) fn multiply_panels_by(
    level: Level,
    left: Factor<'_>,
    panels: &[f32],
    y: Target<'_>,
    scale: f32,
    accumulate: bool,
) {
    let length = panel_length::<f32>(left.depth);
    let (rows, columns) = y.shape();
    assert_eq!(rows, left.rows, "product: rows of the result");
    assert_eq!(
        panels.len(),
        packed_length::<f32>(columns, left.depth),
        "product: panels of the right factor"
    );
    Plan::new(y, left.depth, (RATE, Grain::FINE), true).run(|part| {
        let (first, rows) = (part.rows.start, part.rows.len());
        for panel in part.panels.clone() {
            let block = Block {
                a: left.view.data.as_ptr().wrapping_add(first * left.row),
                a_row: left.row,
                a_step: left.step,
                b: panels[panel * length..][..length].as_ptr(),
                b_step: PANEL,
                y: part.address(first, rows, panel),
                y_row: part.stride(),
                rows,
                columns: part.columns(panel),
                depth: left.depth,
                scale,
                accumulate,
                resume: false,
            };
            // SAFETY: the machine has `level`; `Factor` has checked the left factor, and rows `first ..` are in it;
            // the panel is whole; `part.address` has checked the result, and parts do not overlap.
            unsafe { tile::single(level, &block) };
        }
    });
}
