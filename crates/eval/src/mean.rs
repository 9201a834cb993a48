//! Intervals for a mean of scores: token F1, a graded answer, a paired difference; shares have sharper ones in
//! [`crate::interval`].
//!
//! - [`student`]: independent items,
//! - [`clustered`]: items that share a source (a document, a customer, a template), which are not independent.

use std::collections::BTreeMap;

use crate::Error;
use crate::interval::{Estimate, Method, student_quantile};

/// Mean of `scores` with Student's interval, x + t(n - 1) s / sqrt(n), which is exact for normal scores and close for
/// bounded ones.
///
/// Needs two scores, all of them finite, and a confidence in (0, 1). Scores that are all the same have an interval of no
/// width: an honest bound then needs the scores' range, as [`crate::interval::jeffreys`] has it for shares.
pub fn student(scores: &[f64], confidence: f64) -> Result<Estimate, Error> {
    check_confidence(confidence)?;
    check_scores(scores)?;
    let mean = mean(scores);
    let variance = variance(scores) / scores.len() as f64;
    Ok(around(mean, variance, (scores.len() - 1) as f64, confidence, Method::Student))
}

/// Mean of `scores` with the interval of cluster-robust standard errors (Miller 2024, "Adding Error Bars to Evals", after
/// Liang and Zeger 1986): the residuals of a cluster are added up before they are squared.
///
/// `clusters` names the cluster of each score. With G clusters, SE^2 = G / (G - 1) sum over clusters of (sum of residuals)^2
/// / n^2, and Student's quantile has G - 1 degrees of freedom (what statsmodels' OLS on a constant gives with
/// `cov_type="cluster"` and `use_t=True`). It claims too much below about 20 clusters of uneven size. Needs two clusters.
///
/// For a paired difference, hand in the differences of the two sides.
pub fn clustered<C: Ord>(scores: &[f64], clusters: &[C], confidence: f64) -> Result<Estimate, Error> {
    check_confidence(confidence)?;
    check_scores(scores)?;
    let (variance, freedom) = clustered_variance(scores, clusters)?;
    Ok(around(mean(scores), variance, freedom, confidence, Method::ClusteredStudent))
}

/// Squared standard error of the mean and its degrees of freedom.
pub(crate) fn clustered_variance<C: Ord>(scores: &[f64], clusters: &[C]) -> Result<(f64, f64), Error> {
    if clusters.len() != scores.len() {
        return Err(Error::Length { what: "cluster names", have: clusters.len(), need: scores.len() });
    }
    let mean = mean(scores);
    let mut sums: BTreeMap<&C, f64> = BTreeMap::new();
    for (score, cluster) in scores.iter().zip(clusters) {
        *sums.entry(cluster).or_default() += score - mean;
    }
    if sums.len() < 2 {
        return Err(Error::TooFew { what: "clusters", have: sums.len(), need: 2 });
    }
    let (count, items) = (sums.len() as f64, scores.len() as f64);
    let squares: f64 = sums.values().map(|sum| sum * sum).sum();
    Ok((count / (count - 1.0) * squares / (items * items), count - 1.0))
}

/// Student's interval around `mean`.
pub(crate) fn around(mean: f64, variance: f64, freedom: f64, confidence: f64, interval: Method) -> Estimate {
    let half = student_quantile(freedom, 0.5 + confidence / 2.0) * variance.sqrt();
    Estimate { value: mean, low: mean - half, high: mean + half, interval }
}

pub(crate) fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len() as f64
}

/// Sample variance, n - 1 in the denominator.
pub(crate) fn variance(scores: &[f64]) -> f64 {
    let mean = mean(scores);
    scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (scores.len() as f64 - 1.0)
}

pub(crate) fn check_confidence(confidence: f64) -> Result<(), Error> {
    if confidence > 0.0 && confidence < 1.0 {
        return Ok(());
    }
    Err(Error::Input { quantity: "the confidence", value: confidence, range: "in (0, 1)" })
}

/// Two scores at least, all finite.
pub(crate) fn check_scores(scores: &[f64]) -> Result<(), Error> {
    if let Some(&value) = scores.iter().find(|score| !score.is_finite()) {
        return Err(Error::Input { quantity: "a score", value, range: "finite" });
    }
    if scores.len() < 2 {
        return Err(Error::TooFew { what: "scores", have: scores.len(), need: 2 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resample::Resampler;

    /// Reaction to the two soporific drugs, extra hours of sleep, second less first (Student 1908; R's `sleep`).
    const SLEEP: [f64; 10] = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4];

    #[test]
    fn student_is_students_own_example() {
        // R's documented t.test of `sleep`, paired: 95 percent interval 0.7001142 to 2.4598858, mean 1.58.
        let found = student(&SLEEP, 0.95).expect("is a sample");
        assert!((found.value - 1.58).abs() < 1e-12, "{found:?}");
        assert!(
            (found.low - 0.700_114_2).abs() < 1e-6 && (found.high - 2.459_885_8).abs() < 1e-6,
            "{found:?}"
        );
    }

    #[test]
    fn clusters_are_statsmodels() {
        // fixtures/scripts/eval_statistics.py: OLS on a constant, cov_type="cluster", use_t=True.
        let clusters = ["a", "a", "a", "b", "b", "c", "c", "c", "c", "d"];
        let found = clustered(&SLEEP, &clusters, 0.95).expect("is a sample");
        let (low, high) = (0.604_142_048_893_247_2, 2.555_857_951_106_752);
        assert!((found.low - low).abs() < 1e-9 && (found.high - high).abs() < 1e-9, "{found:?}");
        // Clusters of one item are no clusters.
        let single: Vec<usize> = (0..10).collect();
        let (alone, plain) = (clustered(&SLEEP, &single, 0.95), student(&SLEEP, 0.95));
        let (alone, plain) = (alone.expect("is a sample"), plain.expect("is a sample"));
        assert!((alone.low - plain.low).abs() < 1e-12 && (alone.high - plain.high).abs() < 1e-12);
    }

    #[test]
    fn bad_samples_are_named() {
        let cases = [
            (student(&[1.0], 0.95), "1 scores given, at least 2 needed"),
            (student(&[1.0, f64::NAN], 0.95), "a score is NaN, but must be finite"),
            (student(&[1.0, 2.0], 1.0), "the confidence is 1, but must be in (0, 1)"),
            (clustered(&[1.0, 2.0], &[1], 0.95), "1 cluster names given where 2 are expected"),
            (clustered(&[1.0, 2.0], &[1, 1], 0.95), "1 clusters given, at least 2 needed"),
        ];
        for (found, expected) in cases {
            assert_eq!(found.expect_err("is not a sample").to_string(), expected);
        }
    }

    #[test]
    fn clustered_intervals_cover_where_plain_ones_do_not() {
        // 40 sources of 1 to 6 items each; the items of a source share a chance of being right, Beta-like around 0.5.
        let mut source = Resampler::new(17);
        let (mut covered, mut plain) = (0, 0);
        let trials = 2000;
        for _ in 0..trials {
            let (mut scores, mut clusters) = (Vec::new(), Vec::new());
            for cluster in 0..40 {
                let chance = (source.uniform() + source.uniform()) / 2.0;
                for _ in 0..=source.below(6) {
                    scores.push(f64::from(u8::from(source.uniform() < chance)));
                    clusters.push(cluster);
                }
            }
            let holds = |estimate: Estimate| u32::from((estimate.low..=estimate.high).contains(&0.5));
            covered += holds(clustered(&scores, &clusters, 0.95).expect("is a sample"));
            plain += holds(student(&scores, 0.95).expect("is a sample"));
        }
        let [covered, plain] = [covered, plain].map(|count| f64::from(count) / f64::from(trials));
        assert!((0.93..=0.97).contains(&covered), "clustered {covered}");
        assert!(plain < covered - 0.02, "plain {plain} against {covered}");
    }

    #[test]
    fn students_interval_covers_as_often_as_it_says() {
        // Token F1 of 60 answers: a fifth exact, the others spread evenly; mean 0.2 + 0.8 x 0.5.
        let mut source = Resampler::new(23);
        let trials = 3000;
        let covered: u32 = (0..trials)
            .map(|_| {
                let scores: Vec<f64> =
                    (0..60).map(|_| if source.uniform() < 0.2 { 1.0 } else { source.uniform() }).collect();
                let estimate = student(&scores, 0.95).expect("is a sample");
                u32::from((estimate.low..=estimate.high).contains(&0.6))
            })
            .sum();
        let share = f64::from(covered) / f64::from(trials);
        assert!((0.93..=0.97).contains(&share), "{share}");
    }
}
