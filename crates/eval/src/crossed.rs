//! Items crossed with runs: what a method does on average over seeds (or draws of demonstrations), with an interval that
//! speaks about new items and new seeds at once.
//!
//! Every run of an arm answers the same items. In the two-way random-effects model, score = mean + item + run + residual,
//! the mean over n items and K runs has the variance s_item^2 / n + s_run^2 / K + s_residual^2 / (n K). Miller's (2024)
//! formula for resampled answers, (w^2 + s^2 / K) / n, is the case without a run effect: seeds of a training run do have
//! one. The interval is Student's with Satterthwaite's (1946) degrees of freedom, so that three to five seeds are not taken
//! for many.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::interval::{Estimate, Method};
use crate::mean::{around, check_confidence, check_scores, clustered_variance, mean, variance};

/// A mean, or a difference of means, over items and runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crossed {
    /// The mean (or second less first) with its interval.
    pub estimate: Estimate,
    /// Standard error.
    pub standard_error: f64,
    /// Satterthwaite's degrees of freedom.
    pub degrees_of_freedom: f64,
    /// Share of the squared standard error that more items would lower.
    pub share_of_items: f64,
}

/// Mean of `runs` (`[run][item]`, the items of every run in the same order) with its interval.
///
/// `clusters` names the cluster of each item, where items share a source. Needs two runs, two items (clusters), finite scores.
pub fn crossed_mean<C: Ord>(
    runs: &[Vec<f64>],
    clusters: Option<&[C]>,
    confidence: f64,
) -> Result<Crossed, Error> {
    check_confidence(confidence)?;
    let arm = Arm::new(runs)?;
    combine(&arm.of_items, &[&arm], clusters, confidence)
}

/// Mean of the runs of `second` less that of `first`, both on the same items in the same order; the two arms' runs are
/// independent of each other and may differ in number. Errors as [`crossed_mean`].
///
/// The spread over items is that of each item's difference, so that what makes an item hard for both arms cancels.
pub fn crossed_difference<C: Ord>(
    first: &[Vec<f64>],
    second: &[Vec<f64>],
    clusters: Option<&[C]>,
    confidence: f64,
) -> Result<Crossed, Error> {
    check_confidence(confidence)?;
    let (first, second) = (Arm::new(first)?, Arm::new(second)?);
    let (have, need) = (second.of_items.len(), first.of_items.len());
    if have != need {
        return Err(Error::Length { what: "items", have, need });
    }
    let differences: Vec<f64> =
        second.of_items.iter().zip(&first.of_items).map(|(second, first)| second - first).collect();
    combine(&differences, &[&first, &second], clusters, confidence)
}

/// Standard deviation between runs that is not explained by which items they happened to answer otherwise: the square root of
/// (mean square between runs - residual mean square) / items, 0 where that is negative. Errors as [`crossed_mean`].
pub fn run_deviation(runs: &[Vec<f64>]) -> Result<f64, Error> {
    let arm = Arm::new(runs)?;
    Ok(((arm.between - arm.residual) / arm.of_items.len() as f64).max(0.0).sqrt())
}

/// Probability that a run drawn from `second` scores higher than one drawn from `first`, ties counting half (the
/// Mann-Whitney statistic over its maximum): how often one training run beats one draw of demonstrations. `None` where a
/// side is empty or a score is not a number.
pub fn superiority(first: &[f64], second: &[f64]) -> Option<f64> {
    let pairs = first.iter().flat_map(|left| second.iter().map(move |right| right.partial_cmp(left)));
    let mut sum = 0.0;
    for order in pairs {
        sum += match order? {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        };
    }
    let count = first.len() * second.len();
    (count > 0).then(|| sum / count as f64)
}

/// One arm's means and mean squares.
struct Arm {
    of_items: Vec<f64>,
    runs: f64,
    /// Mean square between runs.
    between: f64,
    /// Mean square of the residuals.
    residual: f64,
}

impl Arm {
    fn new(runs: &[Vec<f64>]) -> Result<Self, Error> {
        let count = runs.len();
        if count < 2 {
            return Err(Error::TooFew { what: "runs", have: count, need: 2 });
        }
        let items = runs[0].len();
        for run in runs {
            if run.len() != items {
                return Err(Error::Length { what: "items of a run", have: run.len(), need: items });
            }
            check_scores(run)?;
        }
        let of_items: Vec<f64> =
            (0..items).map(|item| runs.iter().map(|run| run[item]).sum::<f64>() / count as f64).collect();
        let of_runs: Vec<f64> = runs.iter().map(|run| mean(run)).collect();
        let grand = mean(&of_runs);
        let squares: f64 = runs
            .iter()
            .zip(&of_runs)
            .flat_map(|(run, of_run)| {
                run.iter().zip(&of_items).map(move |(score, item)| (score, item, of_run))
            })
            .map(|(score, item, of_run)| (score - item - of_run + grand).powi(2))
            .sum();
        let between = items as f64 * variance(&of_runs);
        let residual = squares / ((count - 1) * (items - 1)) as f64;
        Ok(Self { of_items, runs: count as f64, between, residual })
    }
}

/// `of_items` holds each item's mean (or difference of means): its variance over n counts the items and all residuals; what
/// the runs add is (MS_run - MS_residual) / (n K) for each arm, or nothing where that is negative.
fn combine<C: Ord>(
    of_items: &[f64],
    arms: &[&Arm],
    clusters: Option<&[C]>,
    confidence: f64,
) -> Result<Crossed, Error> {
    let items = of_items.len() as f64;
    let (from_items, freedom) = match clusters {
        Some(clusters) => clustered_variance(of_items, clusters)?,
        None => (variance(of_items) / items, items - 1.0),
    };
    let (mut squared, mut spread) = (from_items, from_items * from_items / freedom);
    for arm in arms.iter().filter(|arm| arm.between > arm.residual) {
        let [between, residual] = [arm.between, arm.residual].map(|square| square / (items * arm.runs));
        squared += between - residual;
        spread += between * between / (arm.runs - 1.0);
        spread += residual * residual / ((arm.runs - 1.0) * (items - 1.0));
    }
    let degrees_of_freedom = if spread > 0.0 { squared * squared / spread } else { freedom };
    Ok(Crossed {
        estimate: around(mean(of_items), squared, degrees_of_freedom, confidence, Method::CrossedStudent),
        standard_error: squared.sqrt(),
        degrees_of_freedom,
        share_of_items: if squared > 0.0 { from_items / squared } else { 1.0 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::{Bootstrap, Units};
    use crate::resample::Resampler;

    const NO_CLUSTERS: Option<&[usize]> = None;

    /// 3 runs of 5 items.
    fn first() -> Vec<Vec<f64>> {
        vec![vec![0.1, 0.5, 0.9, 0.3, 0.7], vec![0.2, 0.4, 1.0, 0.1, 0.6], vec![0.5, 0.8, 1.1, 0.6, 0.9]]
    }

    fn second() -> Vec<Vec<f64>> {
        vec![vec![0.4, 0.6, 0.8, 0.9, 0.9], vec![0.3, 0.9, 0.7, 0.6, 1.2]]
    }

    #[test]
    fn variances_are_those_of_the_analysis_of_variance() {
        // fixtures/scripts/eval_statistics.py: mean squares from statsmodels' two-way analysis of variance.
        let one = crossed_mean(&first(), NO_CLUSTERS, 0.95).expect("is a design");
        let expected = [0.58, 0.166_032_125_405_496_94, 5.757_989_882_481_453_5, 0.990_441_239_096_561_8];
        assert!((one.estimate.value - expected[0]).abs() < 1e-12, "{one:?}");
        assert!((one.standard_error - expected[1]).abs() < 1e-12, "{one:?}");
        assert!((one.degrees_of_freedom - expected[2]).abs() < 1e-9, "{one:?}");
        assert!((one.estimate.high - expected[3]).abs() < 1e-9, "{one:?}");
        let both = crossed_difference(&first(), &second(), NO_CLUSTERS, 0.95).expect("is a design");
        let expected = [0.15, 0.151_107_026_088_575_18, 5.483_215_218_656_195, 0.528_359_388_663_025_3];
        assert!((both.estimate.value - expected[0]).abs() < 1e-12, "{both:?}");
        assert!((both.standard_error - expected[1]).abs() < 1e-12, "{both:?}");
        assert!((both.degrees_of_freedom - expected[2]).abs() < 1e-9, "{both:?}");
        assert!((both.estimate.high - expected[3]).abs() < 1e-9, "{both:?}");
    }

    #[test]
    fn superiority_is_scipys_mann_whitney() {
        // scipy.stats.mannwhitneyu([0.75, 0.8, 0.9, 0.6], [0.7, 0.8, 0.85]).statistic = 5.5 of 12.
        let found = superiority(&[0.7, 0.8, 0.85], &[0.75, 0.8, 0.9, 0.6]).expect("has runs");
        assert!((found - 5.5 / 12.0).abs() < 1e-12, "{found}");
        assert_eq!(superiority(&[], &[1.0]), None);
        assert_eq!(superiority(&[f64::NAN], &[1.0]), None);
    }

    #[test]
    fn bad_designs_are_named() {
        let one = crossed_mean(&first()[..1], NO_CLUSTERS, 0.95).expect_err("has one run");
        assert_eq!(one.to_string(), "1 runs given, at least 2 needed");
        let ragged = crossed_mean(&[vec![1.0, 2.0], vec![1.0]], NO_CLUSTERS, 0.95).expect_err("is ragged");
        assert_eq!(ragged.to_string(), "1 items of a run given where 2 are expected");
        let short: Vec<Vec<f64>> = second().iter().map(|run| run[..4].to_vec()).collect();
        assert!(crossed_difference(&first(), &short, NO_CLUSTERS, 0.95).is_err());
        assert!(crossed_mean(&first(), Some(&["a"; 5]), 0.95).is_err(), "one cluster");
    }

    /// Right or wrong answers of `runs` runs on items of the given chances, the run's own skill added with deviation `spread`.
    fn answers(source: &mut Resampler, chances: &[f64], runs: usize, spread: f64) -> Vec<Vec<f64>> {
        (0..runs)
            .map(|_| {
                let skill = spread * source.normal();
                chances.iter().map(|chance| f64::from(u8::from(source.uniform() < chance + skill))).collect()
            })
            .collect()
    }

    /// Coverage of the true difference of two arms, by the t-interval and by the crossed bootstrap. An item is mostly right
    /// (0.92) or mostly wrong (0.08), evenly; for three in ten the second arm differs from the first and is mostly right
    /// with 0.7.
    fn coverage(trials: u64, runs: [usize; 2], spread: f64, bootstrap: bool) -> f64 {
        let truth = 0.3 * (0.7 - 0.5) * (0.92 - 0.08);
        let mut source = Resampler::new(41);
        let chance = |right: bool| if right { 0.92 } else { 0.08 };
        let mut covered = 0;
        for seed in 0..trials {
            let chances: Vec<f64> = (0..120).map(|_| chance(source.uniform() < 0.5)).collect();
            let mut other = |&old: &f64| match source.uniform() < 0.3 {
                true => chance(source.uniform() < 0.7),
                false => old,
            };
            let better: Vec<f64> = chances.iter().map(&mut other).collect();
            let first = answers(&mut source, &chances, runs[0], spread);
            let second = answers(&mut source, &better, runs[1], spread);
            let found = if bootstrap {
                let plan = Bootstrap { resamples: 400, confidence: 0.95, seed };
                let mean = |arm: &[Vec<f64>], runs: &[usize], items: &[usize]| {
                    let sum: f64 =
                        runs.iter().map(|&run| items.iter().map(|&item| arm[run][item]).sum::<f64>()).sum();
                    sum / (runs.len() * items.len()) as f64
                };
                plan.crossed(&Units::items(120), &runs, |items, drawn| {
                    mean(&second, &drawn[1], items) - mean(&first, &drawn[0], items)
                })
                .expect("is a design")
            } else {
                crossed_difference(&first, &second, NO_CLUSTERS, 0.95).expect("is a design").estimate
            };
            covered += u32::from((found.low..=found.high).contains(&truth));
        }
        f64::from(covered) / trials as f64
    }

    #[test]
    fn few_runs_cover_as_often_as_they_say() {
        // Seeds that matter little, as much as the items do, and more.
        for (runs, spread) in [([5, 5], 0.01), ([5, 10], 0.02), ([3, 3], 0.02), ([5, 10], 0.03)] {
            let share = coverage(2000, runs, spread, false);
            println!("crossed t {runs:?} {spread} {share}");
            assert!((0.93..=0.97).contains(&share), "{runs:?} runs, spread {spread}: {share}");
        }
    }

    #[test]
    fn the_crossed_bootstrap_covers_with_many_runs() {
        let share = coverage(600, [12, 12], 0.03, true);
        // 600 trials: standard deviation 0.9 points.
        println!("crossed bootstrap {share}");
        assert!((0.93..=0.97).contains(&share), "{share}");
    }
}
