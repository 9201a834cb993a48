//! Matrix products on strided, row-major `f32` views.

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
        todo!()
    }
    /// A view of `columns` columns at offset `first` in rows of `stride` elements.
    pub fn columns_of(data: &'a [f32], rows: usize, stride: usize, first: usize, columns: usize) -> Self {
        todo!()
    }
}
impl<'a> ViewMut<'a> {
    /// A dense view: `stride == columns`.
    pub fn new(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        todo!()
    }
    /// A view of `columns` columns at offset `first` in rows of `stride` elements.
    pub fn columns_of(data: &'a mut [f32], rows: usize, stride: usize, first: usize, columns: usize) -> Self {
        todo!()
    }
}

/// `y (+)= scale * x . w^T` with x `[m, k]`, w `[n, k]`, y `[m, n]`; adds to `y` where `accumulate`.
pub fn multiply_nt(y: ViewMut<'_>, x: View<'_>, w: View<'_>, scale: f32, accumulate: bool) {
    todo!()
}
/// `y (+)= scale * x . w` with x `[m, k]`, w `[k, n]`, y `[m, n]`.
pub fn multiply_nn(y: ViewMut<'_>, x: View<'_>, w: View<'_>, scale: f32, accumulate: bool) {
    todo!()
}
/// `y (+)= scale * x^T . w` with x `[k, m]`, w `[k, n]`, y `[m, n]`.
pub fn multiply_tn(y: ViewMut<'_>, x: View<'_>, w: View<'_>, scale: f32, accumulate: bool) {
    todo!()
}
