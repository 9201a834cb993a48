//! Root-mean-square normalisation (Zhang and Sennrich 2019): `y = x / sqrt(mean(x^2) + epsilon) * weight`.

use crate::instructions::vectorised;
use crate::memory::with_scratch;
use crate::row::{self, sum_lanes};
use crate::threads::{Shared, for_each};

/// Rows given to a thread at a time. Also the rows of one partial sum of `dweight`, so it must not follow the
/// number of threads.
const ROWS: usize = 16;

/// Normalises rows of `weight.len()` elements; `inverse[row]` keeps `1 / rms` for the backward pass.
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, y: &mut [f32], inverse: &mut [f32]) {
    let width = weight.len();
    let rows = inverse.len();
    assert_eq!(x.len(), rows * width, "rms_norm: x is [inverse.len(), weight.len()]");
    assert_eq!(y.len(), rows * width, "rms_norm: y is [inverse.len(), weight.len()]");
    let work = 4 * x.len();
    let (y, inverse) = (Shared::new(y), Shared::new(inverse));
    for_each(rows.div_ceil(ROWS), work, |chunk| {
        for row in chunk * ROWS..rows.min((chunk + 1) * ROWS) {
            // SAFETY: each row belongs to one task.
            let (y, inverse) = unsafe { (y.slice(row * width, width), inverse.slice(row, 1)) };
            inverse[0] = normalise_row(&x[row * width..][..width], weight, epsilon, y);
        }
    });
}

/// Gradient of [`rms_norm`]: writes or adds (`accumulate`) to `dx`, and adds to `dweight` where given.
/// The sum over rows into `dweight` has a fixed order at any number of threads.
pub fn rms_norm_backward(
    x: &[f32],
    weight: &[f32],
    inverse: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    accumulate: bool,
    dweight: Option<&mut [f32]>,
) {
    let width = weight.len();
    let rows = inverse.len();
    assert_eq!(x.len(), rows * width, "rms_norm_backward: x is [inverse.len(), weight.len()]");
    assert_eq!(dy.len(), rows * width, "rms_norm_backward: dy is [inverse.len(), weight.len()]");
    assert_eq!(dx.len(), rows * width, "rms_norm_backward: dx is [inverse.len(), weight.len()]");
    let chunks = rows.div_ceil(ROWS);
    let partial_width = match &dweight {
        Some(dweight) => dweight.len(),
        None => 0,
    };
    assert!(dweight.is_none() || partial_width == width, "rms_norm_backward: dweight is as long as weight");
    let dx = Shared::new(dx);
    with_scratch(chunks * partial_width, |partial: &mut [f32]| {
        partial.fill(0.0);
        let sums = Shared::new(partial);
        for_each(chunks, 8 * x.len(), |chunk| {
            // SAFETY: each partial sum, and below each row, belongs to one task.
            let sum = unsafe { sums.slice(chunk * partial_width, partial_width) };
            for row in chunk * ROWS..rows.min((chunk + 1) * ROWS) {
                let (x, dy) = (&x[row * width..][..width], &dy[row * width..][..width]);
                // SAFETY: as above.
                let dx = unsafe { dx.slice(row * width, width) };
                input_gradient(x, weight, dy, inverse[row], dx, accumulate);
                if partial_width > 0 {
                    weight_gradient(x, dy, inverse[row], sum);
                }
            }
        });
        if let Some(dweight) = dweight {
            for sum in partial.chunks(width.max(1)) {
                row::add(dweight, sum);
            }
        }
    });
}

vectorised! {
    pub(crate) fn normalise_row(x: &[f32], weight: &[f32], epsilon: f32, y: &mut [f32]) -> f32 {
        let mean = sum_lanes::<FUSED>(x, x) / x.len() as f32;
        let inverse = 1.0 / (mean + epsilon).sqrt();
        for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
            *y = x * inverse * weight;
        }
        inverse
    }
}

vectorised! {
    /// `dx = inverse * (weight * dy - x * inverse^2 * mean(weight * dy * x))`.
    fn input_gradient(x: &[f32], weight: &[f32], dy: &[f32], inverse: f32, dx: &mut [f32], accumulate: bool) {
        const LANES: usize = 32;
        let mut lanes = [0f32; LANES];
        let (x_blocks, x_rest) = x.as_chunks::<LANES>();
        let (weight_blocks, weight_rest) = weight.as_chunks::<LANES>();
        let (dy_blocks, dy_rest) = dy.as_chunks::<LANES>();
        for ((x, weight), dy) in x_blocks.iter().zip(weight_blocks).zip(dy_blocks) {
            for lane in 0..LANES {
                lanes[lane] += x[lane] * weight[lane] * dy[lane];
            }
        }
        for (((lane, x), weight), dy) in lanes.iter_mut().zip(x_rest).zip(weight_rest).zip(dy_rest) {
            *lane += x * weight * dy;
        }
        let projection = row::fold(lanes, |a, b| a + b) * inverse * inverse * inverse / x.len() as f32;
        for (((dx, x), weight), dy) in dx.iter_mut().zip(x).zip(weight).zip(dy) {
            let gradient = inverse * weight * dy - projection * x;
            *dx = if accumulate { *dx + gradient } else { gradient };
        }
    }
}

vectorised! {
    fn weight_gradient(x: &[f32], dy: &[f32], inverse: f32, sum: &mut [f32]) {
        for ((sum, x), dy) in sum.iter_mut().zip(x).zip(dy) {
            *sum += dy * x * inverse;
        }
    }
}
