//! The bootstrap for any statistic of items, of clusters of items, and of items crossed with runs.
//!
//! A statistic is a function of drawn indices, so that the caller decides what an item is (an answer, a pair of answers, a
//! document). It is called once for the sample, once for each of the resamples and, for [`Bootstrap::bca`], once for each
//! unit left out. Draws come from the seed alone.

use std::collections::BTreeMap;

use crate::Error;
use crate::interval::{Estimate, Method, normal_cdf, normal_quantile, quantile};
use crate::mean::check_confidence;
use crate::resample::Resampler;

/// How a bootstrap is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// Resamples; 2,000 leave about 0.3 points of Monte-Carlo error in the level of a 95% end.
    pub resamples: usize,
    /// Confidence of the interval, in (0, 1).
    pub confidence: f64,
    /// Seed of the draws.
    pub seed: u64,
}

/// What is drawn as one: single items, or all items of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    members: Vec<Vec<usize>>,
}

impl Units {
    /// `items` units of one item each.
    pub fn items(items: usize) -> Self {
        Self { members: (0..items).map(|item| vec![item]).collect() }
    }

    /// One unit for each distinct name in `clusters`, which has one entry an item.
    pub fn clusters<C: Ord>(clusters: &[C]) -> Self {
        let mut members: BTreeMap<&C, Vec<usize>> = BTreeMap::new();
        for (item, cluster) in clusters.iter().enumerate() {
            members.entry(cluster).or_default().push(item);
        }
        Self { members: members.into_values().collect() }
    }

    fn draw(&self, resampler: &mut Resampler, drawn: &mut Vec<usize>) {
        drawn.clear();
        for _ in 0..self.members.len() {
            drawn.extend_from_slice(&self.members[resampler.below(self.members.len())]);
        }
    }

    fn all_but(&self, left_out: Option<usize>) -> Vec<usize> {
        let kept = self.members.iter().enumerate().filter(|(unit, _)| Some(*unit) != left_out);
        kept.flat_map(|(_, members)| members.iter().copied()).collect()
    }
}

impl Bootstrap {
    /// Percentile interval of `statistic` (Efron 1979), which receives the indices of the drawn items.
    ///
    /// Errors where there are fewer than two units, no resamples, or the statistic of the sample is not finite. Resamples whose
    /// statistic is not finite are left out; it is an error where none remains.
    pub fn percentile(
        &self,
        units: &Units,
        mut statistic: impl FnMut(&[usize]) -> f64,
    ) -> Result<Estimate, Error> {
        let (value, sorted) = self.sample(units, &mut statistic)?;
        Ok(self.between(value, &sorted, self.tails(), Method::BootstrapPercentile))
    }

    /// Bias-corrected and accelerated interval of `statistic` (Efron 1987), with the jackknife's acceleration.
    ///
    /// Where bias or acceleration are not defined (all resamples agree, or all lie on one side), the percentiles stand. Errors as
    /// [`Bootstrap::percentile`].
    pub fn bca(&self, units: &Units, mut statistic: impl FnMut(&[usize]) -> f64) -> Result<Estimate, Error> {
        let (value, sorted) = self.sample(units, &mut statistic)?;
        let left_out: Vec<f64> =
            (0..units.members.len()).map(|unit| statistic(&units.all_but(Some(unit)))).collect();
        let acceleration = acceleration(left_out.iter().map(|&score| (score, 1.0)));
        match bca_levels(&sorted, value, acceleration, self.tails()[0]) {
            Some(levels) => Ok(self.between(value, &sorted, levels, Method::BootstrapBca)),
            None => Ok(self.between(value, &sorted, self.tails(), Method::BootstrapPercentile)),
        }
    }

    /// Percentile interval of a statistic of items crossed with runs: items (or clusters) and the runs of every arm are
    /// drawn independently (the pigeonhole bootstrap, Owen 2007), so that the interval speaks about new items and new seeds
    /// at once. It counts the residual three times (Owen's result), so it is a little too wide where answers of one item
    /// change much from run to run.
    ///
    /// `runs` holds the number of runs of each arm; `statistic` receives the drawn items and, for each arm, its drawn runs.
    /// With few runs a draw varies too little, by (K - 1) / K in variance, and percentiles have no t-quantile: under about
    /// ten runs an arm whose seeds matter wants [`crate::crossed`], if its statistic is a mean. Errors as
    /// [`Bootstrap::percentile`], and where an arm has no run.
    pub fn crossed(
        &self,
        units: &Units,
        runs: &[usize],
        mut statistic: impl FnMut(&[usize], &[Vec<usize>]) -> f64,
    ) -> Result<Estimate, Error> {
        if let Some(&have) = runs.iter().find(|runs| **runs == 0) {
            return Err(Error::TooFew { what: "runs", have, need: 1 });
        }
        self.check(units)?;
        let every_run: Vec<Vec<usize>> = runs.iter().map(|&count| (0..count).collect()).collect();
        let value = finite(statistic(&units.all_but(None), &every_run))?;
        let mut resampler = Resampler::new(self.seed);
        let (mut items, mut drawn_runs) = (Vec::new(), every_run);
        let draws = (0..self.resamples).map(|_| {
            units.draw(&mut resampler, &mut items);
            for arm in &mut drawn_runs {
                let count = arm.len();
                arm.fill_with(|| resampler.below(count));
            }
            statistic(&items, &drawn_runs)
        });
        let sorted = sorted(draws)?;
        Ok(self.between(value, &sorted, self.tails(), Method::CrossedBootstrap))
    }

    fn check(&self, units: &Units) -> Result<(), Error> {
        check_confidence(self.confidence)?;
        if units.members.len() < 2 {
            return Err(Error::TooFew { what: "items or clusters", have: units.members.len(), need: 2 });
        }
        if self.resamples == 0 {
            return Err(Error::TooFew { what: "resamples", have: 0, need: 1 });
        }
        Ok(())
    }

    /// The statistic of the sample, and of the resamples in ascending order.
    fn sample(
        &self,
        units: &Units,
        statistic: &mut impl FnMut(&[usize]) -> f64,
    ) -> Result<(f64, Vec<f64>), Error> {
        self.check(units)?;
        let value = finite(statistic(&units.all_but(None)))?;
        let mut resampler = Resampler::new(self.seed);
        let mut drawn = Vec::new();
        let draws = (0..self.resamples).map(|_| {
            units.draw(&mut resampler, &mut drawn);
            statistic(&drawn)
        });
        Ok((value, sorted(draws)?))
    }

    fn tails(&self) -> [f64; 2] {
        let tail = (1.0 - self.confidence) / 2.0;
        [tail, 1.0 - tail]
    }

    fn between(&self, value: f64, sorted: &[f64], levels: [f64; 2], interval: Method) -> Estimate {
        let [low, high] = levels.map(|level| quantile(sorted, level));
        Estimate { value, low, high, interval }
    }
}

fn finite(value: f64) -> Result<f64, Error> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::Input { quantity: "the statistic of the sample", value, range: "finite" })
}

fn sorted(draws: impl Iterator<Item = f64>) -> Result<Vec<f64>, Error> {
    let mut values: Vec<f64> = draws.filter(|value| value.is_finite()).collect();
    if values.is_empty() {
        return Err(Error::TooFew { what: "resamples with a finite statistic", have: 0, need: 1 });
    }
    values.sort_unstable_by(f64::total_cmp);
    Ok(values)
}

/// The levels of the bias-corrected and accelerated percentiles; `None` where they are not defined.
pub(crate) fn bca_levels(sorted: &[f64], value: f64, acceleration: f64, tail: f64) -> Option<[f64; 2]> {
    let below = sorted.partition_point(|&score| score < value) as f64;
    let equal = sorted.partition_point(|&score| score <= value) as f64 - below;
    let bias = normal_quantile((below + equal / 2.0) / sorted.len() as f64);
    let level = |probability: f64| {
        let moved = bias + normal_quantile(probability);
        let stretch = 1.0 - acceleration * moved;
        (stretch > 0.0).then(|| normal_cdf(bias + moved / stretch))
    };
    let levels = [level(tail)?, level(1.0 - tail)?];
    levels.iter().all(|level| level.is_finite()).then_some(levels)
}

/// Acceleration by the jackknife: of (statistic without a unit, number of units like it), the skewness over six. 0 without
/// spread.
pub(crate) fn acceleration(left_out: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let units: f64 = left_out.clone().map(|(_, count)| count).sum();
    let mean = left_out.clone().map(|(score, count)| score * count).sum::<f64>() / units;
    let moment =
        |power: i32| left_out.clone().map(|(score, count)| count * (mean - score).powi(power)).sum::<f64>();
    let squares = moment(2);
    if squares > 0.0 { moment(3) / (6.0 * squares.powf(1.5)) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Bootstrap = Bootstrap { resamples: 2000, confidence: 0.95, seed: 3 };

    /// Survival of the mice of the treated group in days (Efron and Tibshirani 1993, table 2.1).
    const MICE: [f64; 7] = [94.0, 197.0, 16.0, 38.0, 99.0, 141.0, 23.0];

    fn mean_of(values: &[f64]) -> impl Fn(&[usize]) -> f64 {
        move |drawn| drawn.iter().map(|&item| values[item]).sum::<f64>() / drawn.len() as f64
    }

    fn skewed() -> Vec<f64> {
        (0..40).map(|item| f64::from(item * item % 37) * f64::from(item % 5)).collect()
    }

    #[test]
    fn percentiles_and_bca_are_scipys() {
        // scipy.stats.bootstrap, 99,999 resamples of another generator (fixtures/scripts/eval_statistics.py). Of the mice's
        // mean 86.86 the bootstrap's standard error is 23.36 (Efron and Tibshirani, table 2.2).
        let plan = Bootstrap { resamples: 50_000, ..PLAN };
        for (values, percentile, bca) in [
            (MICE.to_vec(), [43.428_571, 134.428_571], [46.285_714, 138.285_714]),
            (skewed(), [22.525, 42.125], [23.175, 42.975]),
        ] {
            let units = Units::items(values.len());
            let width = percentile[1] - percentile[0];
            let found = plan.percentile(&units, mean_of(&values)).expect("is a sample");
            let corrected = plan.bca(&units, mean_of(&values)).expect("is a sample");
            for (found, [low, high]) in [(found, percentile), (corrected, bca)] {
                let close = |a: f64, b: f64| (a - b).abs() < 0.02 * width;
                assert!(close(found.low, low) && close(found.high, high), "{found:?} against {low} {high}");
            }
            assert_eq!(corrected.interval, Method::BootstrapBca);
        }
    }

    #[test]
    fn clusters_are_drawn_whole() {
        let clusters = ["b", "a", "b", "c"];
        let units = Units::clusters(&clusters);
        let mut seen = 0;
        let found = PLAN.percentile(&units, |drawn| {
            let of_b = drawn.iter().filter(|item| [0, 2].contains(*item)).count();
            assert_eq!(of_b % 2, 0, "both or none: {drawn:?}");
            seen += 1;
            drawn.len() as f64
        });
        let found = found.expect("is a sample");
        assert_eq!((found.value, found.low, found.high, seen), (4.0, 3.0, 6.0, 2001));
        assert_eq!(Units::clusters(&[0, 1, 2]), Units::items(3));
    }

    #[test]
    fn bad_samples_are_errors_and_constants_are_points() {
        let none = PLAN.bca(&Units::items(0), |_| 1.0).expect_err("is no sample");
        assert_eq!(none.to_string(), "0 items or clusters given, at least 2 needed");
        assert!(PLAN.percentile(&Units::items(5), |_| f64::NAN).is_err());
        let mut calls = 0;
        let once = PLAN.percentile(&Units::items(5), |_| {
            calls += 1;
            if calls == 1 { 1.0 } else { f64::NAN }
        });
        assert!(once.is_err(), "no resample has a value");
        assert!(PLAN.crossed(&Units::items(5), &[3, 0], |_, _| 1.0).is_err());
        assert!(Bootstrap { confidence: f64::NAN, ..PLAN }.bca(&Units::items(5), |_| 1.0).is_err());
        assert!(Bootstrap { resamples: 0, ..PLAN }.bca(&Units::items(5), |_| 1.0).is_err());
        let constant = PLAN.bca(&Units::items(5), |_| 1.0).expect("is a sample");
        assert_eq!((constant.low, constant.high), (1.0, 1.0));
    }

    #[test]
    fn bca_covers_the_mean_of_a_skewed_population() {
        // The square of a uniform number has mean 1/3; samples of 100.
        let mut source = Resampler::new(31);
        let trials = 1000;
        let covered: u32 = (0..trials)
            .map(|trial| {
                let values: Vec<f64> = (0..100).map(|_| source.uniform().powi(2)).collect();
                let plan = Bootstrap { resamples: 1000, seed: trial, ..PLAN };
                let found = plan.bca(&Units::items(100), mean_of(&values)).expect("is a sample");
                u32::from((found.low..=found.high).contains(&(1.0 / 3.0)))
            })
            .sum();
        let share = f64::from(covered) / trials as f64;
        assert!((0.93..=0.97).contains(&share), "{share}");
    }
}
