//! The solver of multinomial logistic regression: Newton's method with conjugate gradients.
//!
//! A Newton step solves `H d = -g` approximately by preconditioned conjugate gradients, which need only products of
//! the Hessian with vectors (Nash 2000, "A survey of truncated-Newton methods"). The penalty makes the problem
//! strongly convex, so a backtracking line search is all that it takes to converge from anywhere; near the optimum
//! every step squares the error.

use super::tf_idf::SparseRows;

/// Solved when no entry of the gradient of (mean log loss + penalty / examples) is larger than this. scikit-learn
/// stops at 1e-4 on the same scale.
const TOLERANCE: f64 = 1e-8;
/// Newton steps at most; ten are usual.
const STEPS: usize = 100;
/// Conjugate-gradient iterations at most in a step.
const INNER_STEPS: usize = 500;

/// A training set: rows of features, and the class of each.
///
/// Parameters are `[columns + 1][classes]`, the last row being the intercepts. Columns are features, but features
/// that occur in a single example only are folded into one column an example: the penalised optimum lies in the
/// span of the examples, so their weights are proportional to their values there, and most word pairs are such
/// features.
pub(crate) struct Problem {
    rows: SparseRows,
    columns: usize,
    targets: Vec<usize>,
    classes: usize,
    /// For each feature its column, and its value relative to the column's.
    folding: Vec<(usize, f64)>,
}

impl Problem {
    /// `rows` has one row for each of `targets`, with entries below `features`; targets are below `classes`.
    pub(crate) fn new(rows: SparseRows, features: usize, targets: Vec<usize>, classes: usize) -> Self {
        let mut occurrences = vec![0_u32; features];
        rows.iter().flatten().for_each(|&(feature, _)| occurrences[feature as usize] += 1);
        let mut folding = vec![(0, 0.0); features];
        let mut columns = 0;
        for (feature, _) in occurrences.iter().enumerate().filter(|(_, count)| **count > 1) {
            folding[feature] = (columns, 1.0);
            columns += 1;
        }
        let mut folded = SparseRows::new();
        for row in rows.iter() {
            let lonely = |entry: &&(u32, f64)| occurrences[entry.0 as usize] == 1;
            let length = row.iter().filter(lonely).map(|(_, value)| value * value).sum::<f64>().sqrt();
            let shared = row.iter().filter(|entry| !lonely(entry));
            let kept: Vec<(u32, f64)> =
                shared.map(|&(feature, value)| (folding[feature as usize].0 as u32, value)).collect();
            if length > 0.0 {
                for &(feature, value) in row.iter().filter(lonely) {
                    folding[feature as usize] = (columns, value / length);
                }
                folded.push(kept.into_iter().chain([(columns as u32, length)]));
                columns += 1;
            } else {
                folded.push(kept);
            }
        }
        Self { rows: folded, columns, targets, classes, folding }
    }

    /// Length of a parameter vector.
    pub(crate) fn parameters(&self) -> usize {
        (self.columns + 1) * self.classes
    }

    /// Weights `[features][classes]` and intercepts `[classes]` of folded parameters.
    pub(crate) fn unfold(&self, parameters: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (weights, intercepts) = parameters.split_at(self.columns * self.classes);
        let mut unfolded = Vec::with_capacity(self.folding.len() * self.classes);
        for &(column, share) in &self.folding {
            unfolded
                .extend(weights[column * self.classes..][..self.classes].iter().map(|weight| weight * share));
        }
        (unfolded, intercepts.to_vec())
    }

    /// `[rows][classes]`: the rows times `parameters`.
    fn logits(&self, parameters: &[f64], logits: &mut [f64]) {
        let (weights, intercepts) = parameters.split_at(self.columns * self.classes);
        for (row, logits) in self.rows.iter().zip(logits.chunks_exact_mut(self.classes)) {
            logits.copy_from_slice(intercepts);
            for &(column, value) in row {
                add_scaled(logits, value, &weights[column as usize * self.classes..][..self.classes]);
            }
        }
    }

    /// The transposed product: `gradient` becomes the sum over rows of row (outer) `residuals`, plus
    /// `penalty * parameters` without the intercepts.
    fn gather(&self, residuals: &[f64], penalty: f64, parameters: &[f64], gradient: &mut [f64]) {
        let penalised = self.columns * self.classes;
        for (entry, parameter) in gradient[..penalised].iter_mut().zip(parameters) {
            *entry = penalty * parameter;
        }
        let (weights, intercepts) = gradient.split_at_mut(penalised);
        intercepts.fill(0.0);
        for (row, residuals) in self.rows.iter().zip(residuals.chunks_exact(self.classes)) {
            add_scaled(intercepts, 1.0, residuals);
            for &(column, value) in row {
                add_scaled(&mut weights[column as usize * self.classes..][..self.classes], value, residuals);
            }
        }
    }

    /// Sum of the log losses.
    fn loss(&self, logits: &[f64]) -> f64 {
        let losses = logits.chunks_exact(self.classes).zip(&self.targets).map(|(row, &target)| {
            let greatest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row.iter().map(|logit| (logit - greatest).exp()).sum::<f64>().ln() + greatest - row[target]
        });
        losses.sum()
    }

    /// The diagonal of the Hessian, by which conjugate gradients are preconditioned.
    fn curvature(&self, probabilities: &[f64], penalty: f64) -> Vec<f64> {
        let penalised = self.columns * self.classes;
        let mut diagonal = vec![penalty; self.parameters()];
        // The intercepts have no penalty; a trace of one keeps a certain class from dividing by zero.
        diagonal[penalised..].fill(f64::EPSILON);
        let mut variances = vec![0.0; self.classes];
        for (row, probabilities) in self.rows.iter().zip(probabilities.chunks_exact(self.classes)) {
            for (variance, probability) in variances.iter_mut().zip(probabilities) {
                *variance = probability * (1.0 - probability);
            }
            add_scaled(&mut diagonal[penalised..], 1.0, &variances);
            for &(column, value) in row {
                let place = column as usize * self.classes;
                add_scaled(&mut diagonal[place..][..self.classes], value * value, &variances);
            }
        }
        diagonal
    }
}

/// Minimises the sum of log losses + `penalty / 2` times the squared weights, starting at `parameters`.
pub(crate) fn minimise(problem: &Problem, penalty: f64, parameters: &mut [f64]) {
    let count = problem.targets.len() * problem.classes;
    let (mut logits, mut change) = (vec![0.0; count], vec![0.0; count]);
    let mut gradient = vec![0.0; parameters.len()];
    problem.logits(parameters, &mut logits);
    let mut first_norm = None;
    for _ in 0..STEPS {
        let mut probabilities = logits.clone();
        probabilities.chunks_exact_mut(problem.classes).for_each(softmax);
        let mut residuals = probabilities.clone();
        for (row, &target) in residuals.chunks_exact_mut(problem.classes).zip(&problem.targets) {
            row[target] -= 1.0;
        }
        problem.gather(&residuals, penalty, parameters, &mut gradient);
        let largest = gradient.iter().fold(0.0_f64, |largest, entry| largest.max(entry.abs()));
        if largest <= TOLERANCE * problem.targets.len() as f64 {
            return;
        }
        let norm = inner(&gradient, &gradient).sqrt();
        let start = *first_norm.get_or_insert(norm);
        // Rough steps far away, exact ones near the optimum: superlinear convergence (Dembo et al. 1982).
        let accuracy = (norm / start).sqrt().min(0.25) * norm;
        let direction = newton_direction(problem, &probabilities, penalty, &gradient, accuracy);
        problem.logits(&direction, &mut change);
        let Some(step) = step_length(problem, penalty, parameters, &direction, &gradient, (&logits, &change))
        else {
            return; // No descent left that double precision could see.
        };
        add_scaled(parameters, step, &direction);
        problem.logits(parameters, &mut logits);
    }
}

/// Solves Hessian times direction = -gradient until the residual's norm is at most `accuracy`.
fn newton_direction(
    problem: &Problem,
    probabilities: &[f64],
    penalty: f64,
    gradient: &[f64],
    accuracy: f64,
) -> Vec<f64> {
    let diagonal = problem.curvature(probabilities, penalty);
    let mut direction = vec![0.0; gradient.len()];
    let mut residual: Vec<f64> = gradient.iter().map(|entry| -entry).collect();
    let mut scaled: Vec<f64> =
        residual.iter().zip(&diagonal).map(|(entry, curvature)| entry / curvature).collect();
    let mut search = scaled.clone();
    let mut product = vec![0.0; gradient.len()];
    let mut rows = vec![0.0; probabilities.len()];
    let mut energy = inner(&residual, &scaled);
    for _ in 0..INNER_STEPS {
        problem.logits(&search, &mut rows);
        for (row, probabilities) in
            rows.chunks_exact_mut(problem.classes).zip(probabilities.chunks_exact(problem.classes))
        {
            let mean = inner(row, probabilities);
            row.iter_mut()
                .zip(probabilities)
                .for_each(|(entry, probability)| *entry = probability * (*entry - mean));
        }
        problem.gather(&rows, penalty, &search, &mut product);
        let bend = inner(&search, &product);
        if bend.is_nan() || bend <= 0.0 {
            break; // Only the common shift of all intercepts is flat, and it changes nothing.
        }
        let step = energy / bend;
        add_scaled(&mut direction, step, &search);
        add_scaled(&mut residual, -step, &product);
        if inner(&residual, &residual).sqrt() <= accuracy {
            break;
        }
        scaled
            .iter_mut()
            .zip(&residual)
            .zip(&diagonal)
            .for_each(|((entry, r), curvature)| *entry = r / curvature);
        let next = inner(&residual, &scaled);
        search.iter_mut().zip(&scaled).for_each(|(entry, s)| *entry = s + next / energy * *entry);
        energy = next;
    }
    direction
}

/// The first of 1, 1/2, 1/4, ... that lowers the objective as much as its slope promises (Armijo), if any does.
fn step_length(
    problem: &Problem,
    penalty: f64,
    parameters: &[f64],
    direction: &[f64],
    gradient: &[f64],
    (logits, change): (&[f64], &[f64]),
) -> Option<f64> {
    let penalised = problem.columns * problem.classes;
    let (weights, along) = (&parameters[..penalised], &direction[..penalised]);
    let (linear, square) = (penalty * inner(weights, along), 0.5 * penalty * inner(along, along));
    let slope = inner(gradient, direction);
    let now = problem.loss(logits);
    let mut moved = vec![0.0; logits.len()];
    let mut step = 1.0;
    for _ in 0..40 {
        moved.copy_from_slice(logits);
        add_scaled(&mut moved, step, change);
        let difference = problem.loss(&moved) - now + step * linear + step * step * square;
        // Near the optimum the difference drowns in rounding; there the full Newton step is right.
        let rounding = 1e-13 * now.abs();
        if difference <= 1e-4 * step * slope + rounding {
            return (slope < 0.0).then_some(step);
        }
        step *= 0.5;
    }
    None
}

/// Turns logits into probabilities.
pub(crate) fn softmax(logits: &mut [f64]) {
    let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logits.iter_mut().for_each(|logit| *logit = (*logit - greatest).exp());
    let total: f64 = logits.iter().sum();
    logits.iter_mut().for_each(|probability| *probability /= total);
}

fn add_scaled(to: &mut [f64], factor: f64, from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(entry, other)| *entry += factor * other);
}

/// Inner product, in four partial sums so that the processor need not wait for each addition.
fn inner(left: &[f64], right: &[f64]) -> f64 {
    let (left_blocks, left_rest) = left.as_chunks::<4>();
    let (right_blocks, right_rest) = right.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (a, b) in left_blocks.iter().zip(right_blocks) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = left_rest.iter().zip(right_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}
