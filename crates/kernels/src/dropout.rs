//! Dropout (Srivastava et al. 2014). Whether an element is dropped is a function of a seed and of its place: the way back, a forward pass that
//! is computed again and any number of threads meet the same ones, and no mask is kept.

use crate::matrix::Matrix;
use crate::memory::with_scratch;
use crate::product::{View, ViewMut};
use crate::threads::for_each_chunk;

/// Elements given to a thread at a time.
const CHUNK: usize = 1 << 12;

/// Which elements are dropped, and what the others are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    seed: u64,
    /// An element is dropped where 32 bits drawn for it are below this.
    below: u64,
    factor: f32,
}

impl Dropout {
    /// Drops each element with probability `share` and divides the others by what is left of 1.
    ///
    /// # Panics
    /// Where `share` is not in [0, 1).
    pub fn new(share: f32, seed: u64) -> Self {
        assert!((0.0..1.0).contains(&share), "dropout: a share of {share}");
        let below = (f64::from(share) * f64::from(u32::MAX)).round() as u64;
        Self { seed, below, factor: 1.0 / (1.0 - share) }
    }

    /// What the element at `place` is multiplied by.
    fn factor(&self, place: usize) -> f32 {
        // SplitMix64 (Steele, Lea and Flood 2014) at this place of its sequence.
        let mut bits = self.seed.wrapping_add((place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        if (bits ^ (bits >> 31)) >> 32 < self.below { 0.0 } else { self.factor }
    }

    /// Calls `work` with what is left of `values`.
    pub fn with_dropped<R>(&self, values: &[f32], work: impl FnOnce(&[f32]) -> R) -> R {
        with_scratch(values.len(), |left: &mut [f32]| {
            for_each_chunk(left, CHUNK, |chunk, left| {
                let first = chunk * CHUNK;
                for (index, (left, value)) in left.iter_mut().zip(&values[first..]).enumerate() {
                    *left = self.factor(first + index) * value;
                }
            });
            work(left)
        })
    }

    /// The way back through the dropped left factor of `left . matrix^T`: adds to `to`, `[rows, inputs]`, the product of the gradient `left`,
    /// `[rows, outputs]`, with `matrix`, `[outputs, inputs]`, where nothing was dropped.
    pub fn add_backward(&self, left: View<'_>, matrix: &Matrix, to: &mut [f32]) {
        let (rows, inputs) = (left.rows, matrix.inputs());
        assert_eq!(to.len(), rows * inputs, "dropout: rows of inputs");
        with_scratch(to.len(), |product: &mut [f32]| {
            matrix.backward(left, ViewMut::new(product, rows, inputs), false);
            let product = &*product;
            for_each_chunk(to, CHUNK, |chunk, to| {
                let first = chunk * CHUNK;
                for (index, (to, value)) in to.iter_mut().zip(&product[first..]).enumerate() {
                    *to += self.factor(first + index) * value;
                }
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::{Precision, Use};

    #[test]
    fn the_share_is_dropped_and_the_mean_stays() {
        let ones = vec![1.0f32; 100_000];
        for share in [0.0, 0.1, 0.5] {
            let (zeros, sum) = Dropout::new(share, 3).with_dropped(&ones, |left| {
                (
                    left.iter().filter(|&&value| value == 0.0).count(),
                    left.iter().map(|v| f64::from(*v)).sum::<f64>(),
                )
            });
            // Four standard deviations of a binomial count of 100,000.
            let bound = 4.0 * (100_000.0 * f64::from(share) * (1.0 - f64::from(share))).sqrt();
            assert!((zeros as f64 - 100_000.0 * f64::from(share)).abs() <= bound, "{share}: {zeros}");
            assert!((sum - 100_000.0).abs() <= 1.0 + bound / (1.0 - f64::from(share)), "{share}: {sum}");
        }
        let of = |seed| Dropout::new(0.5, seed).with_dropped(&ones[..64], <[f32]>::to_vec);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    /// By hand: the product of the gradient with the matrix, at the places that are left.
    #[test]
    fn the_way_back_meets_the_same_places() {
        let dropout = Dropout::new(0.5, 9);
        let left = dropout.with_dropped(&[1.0; 6], <[f32]>::to_vec);
        let matrix = Matrix::new(1, 3, vec![1.0, 2.0, 3.0], Precision::F32, Use::Trainable);
        let mut to = vec![10.0f32; 6];
        dropout.add_backward(View::new(&[1.0, -2.0], 2, 1), &matrix, &mut to);
        let product = [1.0, 2.0, 3.0, -2.0, -4.0, -6.0];
        for place in 0..6 {
            assert_eq!(to[place], 10.0 + left[place] * product[place]);
        }
    }
}
