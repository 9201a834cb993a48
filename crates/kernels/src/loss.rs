//! Cross-entropy of selected rows.

use crate::instructions::vectorised;
use crate::memory::with_scratch;
use crate::row::{exponentiate, log_sum_exp, maximum};
use crate::threads::{Shared, for_each};

/// Elementary operations for one logit, for the choice of threads.
const COST: usize = 8;

/// Sum over rows of `weights[row] * -log softmax(logits[row])[targets[row]]`; replaces the logits by the gradient of
/// that sum. `logits` is `[targets.len(), vocabulary]`.
pub fn cross_entropy(logits: &mut [f32], vocabulary: usize, targets: &[u32], weights: &[f32]) -> f64 {
    check(logits.len(), vocabulary, targets, weights);
    let work = logits.len() * COST;
    let logits = Shared::new(logits);
    sum_of_rows(targets.len(), work, |row| {
        // SAFETY: each row belongs to one task.
        let logits = unsafe { logits.slice(row * vocabulary, vocabulary) };
        loss_and_gradient(logits, targets[row] as usize, weights[row])
    })
}

/// The same sum without touching the logits.
pub fn cross_entropy_value(logits: &[f32], vocabulary: usize, targets: &[u32], weights: &[f32]) -> f64 {
    check(logits.len(), vocabulary, targets, weights);
    sum_of_rows(targets.len(), logits.len() * COST, |row| {
        let logits = &logits[row * vocabulary..][..vocabulary];
        weighted(weights[row], log_sum_exp(logits), logits[targets[row] as usize])
    })
}

/// The sum of the rows' losses, in the order of the rows.
fn sum_of_rows(rows: usize, work: usize, loss: impl Fn(usize) -> f64 + Sync + Send) -> f64 {
    with_scratch(rows, |losses: &mut [f64]| {
        let shared = Shared::new(losses);
        for_each(rows, work, |row| {
            // SAFETY: each row belongs to one task.
            let own = unsafe { shared.slice(row, 1) };
            own[0] = loss(row);
        });
        losses.iter().sum()
    })
}

fn check(logits: usize, vocabulary: usize, targets: &[u32], weights: &[f32]) {
    assert_eq!(logits, targets.len() * vocabulary, "cross_entropy: logits are [targets, vocabulary]");
    assert_eq!(targets.len(), weights.len(), "cross_entropy: one weight for each target");
    assert!(
        targets.iter().all(|&target| (target as usize) < vocabulary),
        "cross_entropy: target in vocabulary"
    );
}

/// A weight of 0 leaves the row out, whatever its logits.
fn weighted(weight: f32, log_sum: f32, logit: f32) -> f64 {
    if weight == 0.0 { 0.0 } else { f64::from(weight) * (f64::from(log_sum) - f64::from(logit)) }
}

fn loss_and_gradient(logits: &mut [f32], target: usize, weight: f32) -> f64 {
    if weight == 0.0 {
        logits.fill(0.0);
        return 0.0;
    }
    let logit = logits[target];
    let largest = maximum(logits);
    let sum = exponentials(logits, largest);
    scale(logits, weight / sum);
    logits[target] -= weight;
    weighted(weight, largest + sum.ln(), logit)
}

vectorised! {
    fn exponentials(x: &mut [f32], shift: f32) -> f32 {
        exponentiate::<FUSED>(x, 1.0, shift)
    }
}

vectorised! {
    fn scale(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }
}
