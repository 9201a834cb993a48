//! Each operation against a plain `f64` reference, and what holds for all of them.

mod attention;
mod blocks;
mod feed_forward;
mod log_softmax;
mod narrow;
mod operations;
mod products;
mod quantised;

/// `count` numbers in -1 .. 1, the same for the same seed (the multiplicative generator of Lewis, Goodman and Miller
/// 1969).
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed * 7919 + 1;
    let mut next = || {
        state = state * 16807 % 2_147_483_647;
        state as f64 / 2_147_483_647.0
    };
    for _ in 0..8 {
        next();
    }
    (0..count).map(|_| (2.0 * next() - 1.0) as f32).collect()
}

/// Asserts that every element of `found` is within `tolerance` of `expected`, relative to the larger of 1 and the
/// element.
#[track_caller]
pub(crate) fn assert_close(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(
            error <= tolerance * expected.abs().max(1.0),
            "element {index}: {found}, expected {expected}"
        );
    }
}

/// Runs `work` in pools of one, two and three threads and asserts that the results are the same bits.
#[track_caller]
pub(crate) fn same_at_any_number_of_threads(work: impl Fn() -> Vec<f32> + Sync + Send) {
    let results: Vec<Vec<u32>> = [1, 2, 3]
        .iter()
        .map(|&threads| crate::threads::within_pool(threads, &work).into_iter().map(f32::to_bits).collect())
        .collect();
    assert!(results[0] == results[1], "two threads differ from one");
    assert!(results[0] == results[2], "three threads differ from one");
}

pub(crate) fn doubles(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// Central differences of `f` at `x`, in `f64`.
pub(crate) fn gradient(x: &[f32], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut x = doubles(x);
    (0..x.len())
        .map(|i| {
            let middle = x[i];
            x[i] = middle + STEP;
            let above = f(&x);
            x[i] = middle - STEP;
            let below = f(&x);
            x[i] = middle;
            (above - below) / (2.0 * STEP)
        })
        .collect()
}
