//! Matrix products on strided, row-major `f32` views.

use crate::threads;

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

    fn clear(self) {
        for row in 0..self.rows {
            self.data[row * self.stride..][..self.columns].fill(0.0);
        }
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
    multiply(y, Operand::plain(x), Operand::transposed(w), scale, accumulate);
}

/// `y (+)= scale * x . w` with x `[m, k]`, w `[k, n]`, y `[m, n]`.
pub fn multiply_nn(y: ViewMut<'_>, x: View<'_>, w: View<'_>, scale: f32, accumulate: bool) {
    assert_eq!((y.rows, y.columns, x.columns), (x.rows, w.columns, w.rows), "multiply_nn: shapes");
    multiply(y, Operand::plain(x), Operand::plain(w), scale, accumulate);
}

/// `y (+)= scale * x^T . w` with x `[k, m]`, w `[k, n]`, y `[m, n]`.
pub fn multiply_tn(y: ViewMut<'_>, x: View<'_>, w: View<'_>, scale: f32, accumulate: bool) {
    assert_eq!((y.rows, y.columns, x.rows), (x.columns, w.columns, w.rows), "multiply_tn: shapes");
    multiply(y, Operand::transposed(x), Operand::plain(w), scale, accumulate);
}

/// As [`multiply_nt`], on this thread alone: for use inside parallel tasks.
pub(crate) fn serial_nt(y: ViewMut<'_>, x: View<'_>, w: View<'_>, scale: f32, accumulate: bool) {
    assert_eq!((y.rows, y.columns, x.columns), (x.rows, w.rows, w.columns), "serial_nt: shapes");
    multiply_with(y, Operand::plain(x), Operand::transposed(w), scale, accumulate, 1);
}

/// As [`multiply_nn`], on this thread alone.
pub(crate) fn serial_nn(y: ViewMut<'_>, x: View<'_>, w: View<'_>, scale: f32, accumulate: bool) {
    assert_eq!((y.rows, y.columns, x.columns), (x.rows, w.columns, w.rows), "serial_nn: shapes");
    multiply_with(y, Operand::plain(x), Operand::plain(w), scale, accumulate, 1);
}

/// As [`multiply_tn`], on this thread alone.
pub(crate) fn serial_tn(y: ViewMut<'_>, x: View<'_>, w: View<'_>, scale: f32, accumulate: bool) {
    assert_eq!((y.rows, y.columns, x.rows), (x.columns, w.columns, w.rows), "serial_tn: shapes");
    multiply_with(y, Operand::transposed(x), Operand::plain(w), scale, accumulate, 1);
}

/// Multiply-adds below which a product stays on one thread.
const PARALLEL_PRODUCTS: usize = 1 << 20;

/// A factor of a product, as rows and columns of the product see it.
#[derive(Clone, Copy)]
struct Operand<'a> {
    view: View<'a>,
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Operand<'a> {
    fn plain(view: View<'a>) -> Self {
        Self { view, rows: view.rows, columns: view.columns, row_stride: view.stride, column_stride: 1 }
    }

    fn transposed(view: View<'a>) -> Self {
        Self { view, rows: view.columns, columns: view.rows, row_stride: 1, column_stride: view.stride }
    }
}

fn multiply(y: ViewMut<'_>, a: Operand<'_>, b: Operand<'_>, scale: f32, accumulate: bool) {
    let threads = threads::count();
    let parallel = threads > 1 && a.rows * a.columns * b.columns >= PARALLEL_PRODUCTS;
    multiply_with(y, a, b, scale, accumulate, if parallel { threads } else { 1 });
}

fn multiply_with(
    y: ViewMut<'_>,
    a: Operand<'_>,
    b: Operand<'_>,
    scale: f32,
    accumulate: bool,
    threads: usize,
) {
    y.check();
    a.view.check();
    b.view.check();
    let (m, n, k) = (a.rows, b.columns, a.columns);
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !accumulate {
            y.clear();
        }
        return;
    }
    let parallelism = if threads > 1 { gemm::Parallelism::Rayon(threads) } else { gemm::Parallelism::None };
    // SAFETY: the shapes agree (asserted by the callers), and `check` has shown that every element that they name is
    // inside its slice; `y` is borrowed mutably, so it overlaps neither factor.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.data.as_mut_ptr(),
            1,
            y.stride as isize,
            accumulate,
            a.view.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.view.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0f32,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}
