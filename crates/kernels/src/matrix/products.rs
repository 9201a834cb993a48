//! The products of a matrix: forward, backward, and the gradient of its weights.

use super::directions::Directions;
use super::{Matrix, Precision, Storage, Use};
use crate::blocks::Direction;
use crate::narrow::Narrow;
use crate::panel::Source;
use crate::plan::{Reader, Target};
use crate::product::{Factor, View, ViewMut, multiply_nn, multiply_panels, multiply_tn};
use crate::quantised;
use crate::rounded::{self, Left, Right};

/// A product of rounded factors, with the narrow ones at its end where they fit.
fn multiply_with(
    left: View<'_>,
    right: Right<'_>,
    y: ViewMut<'_>,
    accumulate: bool,
    narrow: Option<Narrow<'_>>,
) {
    match narrow {
        Some(narrow) if !narrow.fits(y.columns) => apart(y, Some(narrow), |y| {
            rounded::multiply(Left::Plain(left), right, y.into(), accumulate, None);
        }),
        _ => rounded::multiply(Left::Plain(left), right, y.into(), accumulate, narrow.as_ref()),
    }
}

/// A product, and then the narrow ones on their own.
fn apart(y: ViewMut<'_>, narrow: Option<Narrow<'_>>, multiply: impl FnOnce(ViewMut<'_>)) {
    let ViewMut { data, rows, columns, stride } = y;
    multiply(ViewMut { data: &mut *data, rows, columns, stride });
    if let Some(narrow) = narrow {
        narrow.add_to(ViewMut { data, rows, columns, stride });
    }
}

impl Matrix {
    /// `y[rows, outputs] (+)= x[rows, inputs] . W^T`. Fast for one row (decoding) and for many.
    pub fn forward(&self, x: View<'_>, y: ViewMut<'_>, accumulate: bool) {
        self.forward_with(x, y, accumulate, None);
    }

    /// As [`Matrix::forward`], and adds the narrow products.
    pub fn forward_with(&self, x: View<'_>, y: ViewMut<'_>, accumulate: bool, narrow: Option<Narrow<'_>>) {
        assert_eq!((x.columns, y.columns), (self.inputs, self.outputs), "forward: columns of x and y");
        match self.rounded_right() {
            Some(right) => multiply_with(x, right, y, accumulate, narrow),
            None => apart(y, narrow, |y| self.multiply(x, y.into(), accumulate)),
        }
    }

    /// Shows `reader` the tiles of `x[rows, inputs] . W^T`, which are kept nowhere.
    pub(crate) fn forward_read(&self, x: View<'_>, reader: Reader<'_>) {
        assert_eq!(x.columns, self.inputs, "forward: columns of x");
        self.multiply(x, Target::Read { rows: x.rows, columns: self.outputs, reader }, false);
    }

    /// The forward product alone.
    fn multiply(&self, x: View<'_>, y: Target<'_>, accumulate: bool) {
        let right = match &self.panels {
            Storage::Rounded(panels) => (&panels.forward).into(),
            Storage::Blocks(blocks) => Right::blocks(blocks, Direction::Forward),
            Storage::Single(panels) => {
                return multiply_panels(Factor::plain(x), &panels.forward.data, y, 1.0, accumulate);
            }
            Storage::Quantised(weights) => return quantised::multiply(x, weights, y, accumulate),
        };
        rounded::multiply(Left::Plain(x), right, y, accumulate, None);
    }

    /// `dx[rows, inputs] (+)= dy[rows, outputs] . W`. Panics on [`Use::Inference`].
    pub fn backward(&self, dy: View<'_>, dx: ViewMut<'_>, accumulate: bool) {
        self.backward_with(dy, dx, accumulate, None);
    }

    /// As [`Matrix::backward`], and adds the narrow products.
    pub fn backward_with(&self, dy: View<'_>, dx: ViewMut<'_>, accumulate: bool, narrow: Option<Narrow<'_>>) {
        assert_eq!((dy.columns, dx.columns), (self.outputs, self.inputs), "backward: columns of dy and dx");
        let right = match &self.panels {
            Storage::Rounded(Directions { backward: Some(panels), .. }) => panels.into(),
            Storage::Blocks(blocks) if self.usage == Use::Frozen => {
                Right::blocks(blocks, Direction::Backward)
            }
            Storage::Single(Directions { backward: Some(panels), .. }) => {
                return apart(dx, narrow, |dx| {
                    multiply_panels(Factor::plain(dy), &panels.data, dx.into(), 1.0, accumulate);
                });
            }
            // Packed for every use, which takes less time than a second copy takes memory.
            Storage::Single(_) | Storage::Rounded(_) if self.usage == Use::Trainable => {
                let weights = View::new(&self.values, self.outputs, self.inputs);
                return apart(dx, narrow, |dx| match self.precision() {
                    Precision::F32 => multiply_nn(dx, dy, weights, 1.0, accumulate),
                    _ => rounded::multiply_sources(Left::Plain(dy), Source::Plain(weights), dx, accumulate),
                });
            }
            _ => panic!("backward product with a matrix kept for inference"),
        };
        multiply_with(dy, right, dx, accumulate, narrow);
    }

    /// `dw[outputs, inputs] (+)= dy^T . x`: the gradient of the weights, in this matrix's precision.
    pub fn gradient(&self, dy: View<'_>, x: View<'_>, dw: &mut [f32], accumulate: bool) {
        assert_eq!((dy.columns, x.columns), (self.outputs, self.inputs), "gradient: columns of dy and x");
        assert_eq!(dw.len(), self.outputs * self.inputs, "gradient: as many as weights");
        let dw = ViewMut::new(dw, self.outputs, self.inputs);
        match self.precision() {
            Precision::F32 => multiply_tn(dw, dy, x, 1.0, accumulate),
            _ => rounded::multiply_sources(Left::Transposed(dy), Source::Plain(x), dw, accumulate),
        }
    }
}
