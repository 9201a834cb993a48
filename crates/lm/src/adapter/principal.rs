//! The principal singular directions of a matrix, which PiSSA (Meng et al. 2024, arXiv 2404.02948) starts an adapter from.
//!
//! Randomised subspace iteration (Halko, Martinsson & Tropp 2011, algorithm 4.4) with our own products; the small symmetric
//! problem that is left is solved by Jacobi rotations in 64 bits.

use kernels::product::{View, ViewMut, multiply_nn, multiply_nt};
use rand::Rng;

use super::dot;
use crate::random::normal_pair;

/// Directions beyond twice those asked for, which make the others exact.
const MORE: usize = 8;
/// Passes of the subspace iteration, as many as PEFT's fast variant is advised to take (`pissa_niter_16`).
const PASSES: usize = 16;
/// Sweeps of Jacobi rotations; they converge quadratically.
const SWEEPS: usize = 30;

/// The largest singular values of a matrix with their directions.
pub(super) struct Principal {
    /// Descending.
    pub(super) values: Vec<f64>,
    /// `[rank, rows]`.
    pub(super) left: Vec<f32>,
    /// `[rank, columns]`.
    pub(super) right: Vec<f32>,
}

/// The `rank` largest singular values of `matrix[rows, columns]`, where the matrix has as many.
pub(super) fn principal(
    matrix: &[f32],
    (rows, columns): (usize, usize),
    rank: usize,
    random: &mut impl Rng,
) -> Principal {
    let rank = rank.min(rows).min(columns);
    let held = (2 * rank + MORE).min(rows).min(columns);
    let whole = View::new(matrix, rows, columns);
    let mut right: Vec<f32> = (0..held * columns).map(|_| normal_pair(random).0).collect();
    let mut left = vec![0.0; held * rows];
    for _ in 0..PASSES {
        let to = ViewMut::new(&mut left, held, rows);
        multiply_nt(to, View::new(&right, held, columns), whole, 1.0, false);
        orthonormalise(&mut left, rows);
        let to = ViewMut::new(&mut right, held, columns);
        multiply_nn(to, View::new(&left, held, rows), whole, 1.0, false);
        orthonormalise(&mut right, columns);
    }
    multiply_nn(ViewMut::new(&mut right, held, columns), View::new(&left, held, rows), whole, 1.0, false);
    let row = |index: usize| &right[index * columns..][..columns];
    let gram: Vec<f64> = (0..held * held).map(|place| dot(row(place / held), row(place % held))).collect();
    let (squares, vectors) = symmetric(gram, held);
    let mut order: Vec<usize> = (0..held).collect();
    order.sort_by(|&one, &other| squares[other].total_cmp(&squares[one]));
    order.truncate(rank);
    let values: Vec<f64> = order.iter().map(|&index| squares[index].max(0.0).sqrt()).collect();
    let combined = |parts: &[f32], width: usize, index: usize, scale: f64| -> Vec<f32> {
        let mut sum = vec![0.0; width];
        for (part, row) in parts.chunks_exact(width).enumerate() {
            let weight = vectors[part * held + index] * scale;
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * f64::from(*value));
        }
        sum.into_iter().map(|value: f64| value as f32).collect()
    };
    let inverse = |value: f64| if value > 0.0 { 1.0 / value } else { 0.0 };
    Principal {
        left: order.iter().flat_map(|&index| combined(&left, rows, index, 1.0)).collect(),
        right: order
            .iter()
            .zip(&values)
            .flat_map(|(&index, &value)| combined(&right, columns, index, inverse(value)))
            .collect(),
        values,
    }
}

/// Gram and Schmidt on the rows, twice ("twice is enough": Kahan, in Parlett 1980).
fn orthonormalise(rows: &mut [f32], width: usize) {
    for _ in 0..2 {
        for index in 0..rows.len() / width {
            let (before, rest) = rows.split_at_mut(index * width);
            let own = &mut rest[..width];
            for other in before.chunks_exact(width) {
                let share = dot(own, other) as f32;
                own.iter_mut().zip(other).for_each(|(value, other)| *value -= share * other);
            }
            let norm = dot(own, own).sqrt();
            let scale = if norm > 0.0 { (1.0 / norm) as f32 } else { 0.0 };
            own.iter_mut().for_each(|value| *value *= scale);
        }
    }
}

/// Eigenvalues and eigenvectors (its columns) of a symmetric matrix `[size, size]` by cyclic Jacobi rotations
/// (Golub & Van Loan, section 8.5).
fn symmetric(mut a: Vec<f64>, size: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors = vec![0.0; size * size];
    (0..size).for_each(|index| vectors[index * size + index] = 1.0);
    for _ in 0..SWEEPS {
        let off: f64 = (0..size * size).filter(|i| i / size != i % size).map(|i| a[i] * a[i]).sum();
        let all: f64 = a.iter().map(|value| value * value).sum();
        if off <= 1e-26 * all {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                let apq = a[p * size + q];
                if apq == 0.0 {
                    continue;
                }
                let tau = (a[q * size + q] - a[p * size + p]) / (2.0 * apq);
                let t = tau.signum() / (tau.abs() + (1.0 + tau * tau).sqrt());
                let c = 1.0 / (1.0 + t * t).sqrt();
                let s = t * c;
                for k in 0..size {
                    let (one, other) = (a[k * size + p], a[k * size + q]);
                    (a[k * size + p], a[k * size + q]) = (c * one - s * other, s * one + c * other);
                }
                for k in 0..size {
                    let (one, other) = (a[p * size + k], a[q * size + k]);
                    (a[p * size + k], a[q * size + k]) = (c * one - s * other, s * one + c * other);
                    let (one, other) = (vectors[k * size + p], vectors[k * size + q]);
                    (vectors[k * size + p], vectors[k * size + q]) =
                        (c * one - s * other, s * one + c * other);
                }
            }
        }
    }
    ((0..size).map(|index| a[index * size + index]).collect(), vectors)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    use super::*;

    /// Eigenvalues of `[[2, 1], [1, 2]]` are 3 and 1.
    #[test]
    fn a_small_symmetric_matrix() {
        let (mut values, _) = symmetric(vec![2.0, 1.0, 1.0, 2.0], 2);
        values.sort_by(f64::total_cmp);
        assert!((values[0] - 1.0).abs() < 1e-12 && (values[1] - 3.0).abs() < 1e-12, "{values:?}");
    }

    /// A sum of two outer products of unit vectors: 5 e1 f2' + 2 e3 f1'.
    #[test]
    fn the_directions_of_a_sum_of_outer_products() {
        let (rows, columns) = (4, 3);
        let mut matrix = vec![0.0; rows * columns];
        (matrix[1], matrix[2 * columns]) = (5.0, 2.0);
        let found = principal(&matrix, (rows, columns), 2, &mut Pcg64::seed_from_u64(1));
        assert!((found.values[0] - 5.0).abs() < 1e-5 && (found.values[1] - 2.0).abs() < 1e-5);
        assert!((found.left[0].abs() - 1.0).abs() < 1e-5 && (found.right[1].abs() - 1.0).abs() < 1e-5);
        assert!((found.left[rows + 2].abs() - 1.0).abs() < 1e-5);
        assert!(found.left[0] * found.right[1] > 0.0, "the product has the matrix's sign");
        // More than the matrix has: as many as there are.
        assert_eq!(principal(&matrix, (rows, columns), 9, &mut Pcg64::seed_from_u64(1)).values.len(), 3);
    }
}
