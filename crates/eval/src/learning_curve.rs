//! What an arm scores with so many labels, over its runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use task::record::Experiment;

use crate::Error;
use crate::mean::{mean, variance};
use crate::paired;
use crate::resample::Resampler;

/// The runs of an arm at one number of labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// Labelled examples that the arm could see, at least 1.
    pub labels: u64,
    /// `[run][item]`: the scores in \[0, 1\] of each run (seed or draw), on the same items in the same order for all runs of
    /// both arms. Where only a run's mean is known, it is the one entry.
    pub runs: Vec<Vec<f64>>,
}

impl Size {
    /// Runs of which only the means are known.
    pub fn of_means(labels: u64, means: &[f64]) -> Self {
        Self { labels, runs: means.iter().map(|&mean| vec![mean]).collect() }
    }

    fn means(&self) -> Vec<f64> {
        self.runs.iter().map(|run| mean(run)).collect()
    }
}

/// The sizes of an arm, from few labels to many.
#[derive(Clone, Debug, PartialEq)]
pub struct LearningCurve {
    sizes: Vec<Size>,
    items: usize,
}

/// A size in figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Labels.
    pub labels: u64,
    /// Mean score over the runs.
    pub score: f64,
    /// What one run's variance over seeds and the number of runs leave of uncertainty: the squared standard error of the mean.
    pub variance: f64,
}

/// How much all sizes together say about the variance over seeds at one size, in degrees of freedom.
const PRIOR_FREEDOM: f64 = 4.0;

/// A model's misfit that no number of seeds removes: one point of accuracy.
const MISFIT: f64 = 0.01;

impl LearningCurve {
    /// Takes the sizes in any order. Errors where there is none, one occurs twice or has 0 labels or no runs, runs differ in
    /// their number of items, or a score is not in \[0, 1\].
    pub fn new(mut sizes: Vec<Size>) -> Result<Self, Error> {
        sizes.sort_by_key(|size| size.labels);
        let items = sizes.first().and_then(|size| size.runs.first()).map_or(0, Vec::len);
        if items == 0 {
            return Err(Error::TooFew { what: "sizes with answered items", have: 0, need: 1 });
        }
        if let Some(pair) = sizes.windows(2).find(|pair| pair[0].labels == pair[1].labels) {
            let value = pair[0].labels as f64;
            return Err(Error::Input { quantity: "a number of labels", value, range: "given once" });
        }
        for Size { labels, runs } in &sizes {
            if *labels == 0 {
                return Err(Error::Input { quantity: "a number of labels", value: 0.0, range: "1 or more" });
            }
            if runs.is_empty() {
                return Err(Error::TooFew { what: "runs", have: 0, need: 1 });
            }
            for run in runs {
                if run.len() != items {
                    return Err(Error::Length { what: "items of a run", have: run.len(), need: items });
                }
                if let Some(&value) = run.iter().find(|score| !(0.0..=1.0).contains(*score)) {
                    return Err(Error::Input { quantity: "a score", value, range: "in [0, 1]" });
                }
            }
        }
        Ok(Self { sizes, items })
    }

    /// The curve of recorded `experiments` of one method, all answered on the same examples: each is a run at its
    /// `labels_used` (0 counts as 1: the logarithm starts there), an item's score is that of its answer. Collapsed runs and
    /// those without answers are left out: they would not be shipped.
    ///
    /// Errors as [`LearningCurve::new`], and where two experiments did not answer the same examples.
    pub fn of_experiments<'a>(experiments: impl IntoIterator<Item = &'a Experiment>) -> Result<Self, Error> {
        let mut sizes: BTreeMap<u64, Vec<Vec<f64>>> = BTreeMap::new();
        let mut reference: Option<&Experiment> = None;
        let healthy = |e: &&Experiment| e.collapse.is_none() && !e.predictions.is_empty();
        for experiment in experiments.into_iter().filter(healthy) {
            let scores = paired::scores(reference.get_or_insert(experiment), experiment)?;
            let run = scores.into_iter().map(|[_, score]| score).collect();
            sizes.entry(experiment.labels_used.max(1) as u64).or_default().push(run);
        }
        Self::new(sizes.into_iter().map(|(labels, runs)| Size { labels, runs }).collect())
    }

    /// The sizes, from few labels to many.
    pub fn sizes(&self) -> &[Size] {
        &self.sizes
    }

    /// Items of every run.
    pub fn items(&self) -> usize {
        self.items
    }

    /// The most labels of the curve.
    pub fn largest(&self) -> u64 {
        self.sizes.last().map_or(0, |size| size.labels)
    }

    /// Means and uncertainties of all sizes. The variance over seeds at a size is drawn towards the mean of all sizes (few
    /// seeds say little about it), and one point of accuracy squared is added, so that no point counts for certain.
    pub fn points(&self) -> Vec<Point> {
        let variances = self.variances_of_runs();
        let point = |(size, of_run): (&Size, f64)| Point {
            labels: size.labels,
            score: mean(&size.means()),
            variance: of_run / size.runs.len() as f64 + MISFIT * MISFIT,
        };
        self.sizes.iter().zip(variances).map(point).collect()
    }

    /// The variance of a run's mean at every size.
    fn variances_of_runs(&self) -> Vec<f64> {
        let moments = self.sizes.iter().map(|size| {
            let freedom = size.runs.len() as f64 - 1.0;
            (if freedom > 0.0 { freedom * variance(&size.means()) } else { 0.0 }, freedom)
        });
        let (squares, freedom) = moments.clone().fold((0.0, 0.0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        let pooled = if freedom > 0.0 { squares / freedom } else { 0.0 };
        moments.map(|(own, freedom)| (PRIOR_FREEDOM * pooled + own) / (PRIOR_FREEDOM + freedom)).collect()
    }

    /// What resamples are drawn from.
    pub(crate) fn resampling(&self) -> Resampling {
        let items = self.items as f64;
        let tables: Vec<Residuals> = self.sizes.iter().map(Residuals::of).collect();
        let (squares, freedom) =
            tables.iter().fold((0.0, 0.0), |sum, table| (sum.0 + table.squares, sum.1 + table.freedom));
        // Of a run's variance, its answers' own chance is in the items already.
        let chance = if freedom > 0.0 { squares / freedom / items } else { 0.0 };
        let effect =
            |(size, of_run): (&Size, f64)| ((of_run - chance).max(0.0) / size.runs.len() as f64).sqrt();
        let run_effects = self.sizes.iter().zip(self.variances_of_runs()).map(effect).collect();
        let freedom = self.sizes.iter().map(|size| size.runs.len() - 1).sum();
        Resampling {
            of_items: tables.into_iter().map(|table| table.of_items).collect(),
            run_effects,
            freedom,
        }
    }
}

/// A size's answers as a two-way table.
struct Residuals {
    /// Mean over the runs of every item.
    of_items: Vec<f64>,
    /// Sum of squared residuals, with the items' and the runs' means taken out.
    squares: f64,
    /// Its degrees of freedom.
    freedom: f64,
}

impl Residuals {
    fn of(size: &Size) -> Self {
        let runs = size.runs.len() as f64;
        let items = size.runs[0].len();
        let of_items: Vec<f64> =
            (0..items).map(|item| size.runs.iter().map(|run| run[item]).sum::<f64>() / runs).collect();
        let grand = mean(&of_items);
        let squares = size
            .runs
            .iter()
            .map(|run| {
                let of_run = mean(run);
                let residual = |(score, item): (&f64, &f64)| (score - item - of_run + grand).powi(2);
                run.iter().zip(&of_items).map(residual).sum::<f64>()
            })
            .sum();
        Self { of_items, squares, freedom: (runs - 1.0) * (items as f64 - 1.0) }
    }
}

/// New items and new runs: the items' means are drawn again, and the runs' common effect is a normal number with the
/// variance that the analysis of variance leaves it, as in [`crate::crossed`]. (Drawing runs again as well would count the
/// answers' chance three times.)
pub(crate) struct Resampling {
    of_items: Vec<Vec<f64>>,
    run_effects: Vec<f64>,
    /// Degrees of freedom of the run effects' variance.
    freedom: usize,
}

impl Resampling {
    /// One draw of this curve and of `other`, on the same drawn items.
    pub(crate) fn draw_with(&self, other: &Self, resampler: &mut Resampler) -> [Vec<f64>; 2] {
        let items = self.of_items[0].len();
        let mut times = vec![0.0; items];
        (0..items).for_each(|_| times[resampler.below(items)] += 1.0);
        [self, other].map(|curve| curve.draw(&times, || resampler.normal()))
    }

    /// The mean score of every size, where each item was drawn so many `times`, with standard normal numbers from `normal`.
    fn draw(&self, times: &[f64], mut normal: impl FnMut() -> f64) -> Vec<f64> {
        let total: f64 = times.iter().sum();
        // Few seeds do not know their variance: it is drawn too, which makes Student's t of the normal numbers.
        let squares: f64 = (0..self.freedom).map(|_| normal().powi(2)).sum();
        let unknown = if squares > 0.0 { (self.freedom as f64 / squares).sqrt() } else { 1.0 };
        let mut of_size = |(items, effect): (&Vec<f64>, &f64)| {
            let sum: f64 = items.iter().zip(times).map(|(score, times)| score * times).sum();
            sum / total + effect * unknown * normal()
        };
        self.of_items.iter().zip(&self.run_effects).map(&mut of_size).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_by_hand() {
        let curve = LearningCurve::new(vec![
            Size::of_means(64, &[0.7, 0.9]),
            Size { labels: 16, runs: vec![vec![0.4], vec![0.5], vec![0.6]] },
            Size::of_means(256, &[0.9]),
        ])
        .expect("is a curve");
        let points = curve.points();
        assert_eq!(points.iter().map(|point| point.labels).collect::<Vec<_>>(), [16, 64, 256]);
        // Sums of squares 0.02 (2 degrees) and 0.02 (1 degree): pooled 0.04 / 3.
        let pooled: f64 = 0.04 / 3.0;
        let expected = [(4.0 * pooled + 0.02) / 6.0 / 3.0, (4.0 * pooled + 0.02) / 5.0 / 2.0, pooled];
        for (point, variance) in points.iter().zip(expected) {
            assert!((point.variance - variance - 1e-4).abs() < 1e-12, "{point:?}");
        }
        assert!((points[1].score - 0.8).abs() < 1e-12 && curve.largest() == 256 && curve.items() == 1);
        // Single means have no items: a draw moves each size by its standard error.
        let drawn = curve.resampling().draw(&[1.0], || 1.0);
        for ((drawn, point), variance) in drawn.iter().zip(&points).zip(expected) {
            assert!((drawn - point.score - variance.sqrt()).abs() < 1e-12, "{drawn} at {point:?}");
        }
    }

    #[test]
    fn the_run_effect_is_that_of_the_analysis_of_variance() {
        // The table of `crossed`, halved: mean squares 0.152 / 4 of runs and 0.0078333 / 4 of residuals, 3 runs of 5 items.
        let runs = [[0.1, 0.5, 0.9, 0.3, 0.7], [0.2, 0.4, 1.0, 0.1, 0.6], [0.5, 0.8, 1.1, 0.6, 0.9]];
        let runs = runs.map(|run| run.map(|score| score / 2.0).to_vec()).to_vec();
        let curve = LearningCurve::new(vec![Size { labels: 4, runs }]).expect("is a curve");
        let resampling = curve.resampling();
        let effect = (0.152 - 0.007_833_333_333) / 4.0 / 15.0;
        assert!((resampling.run_effects[0].powi(2) - effect).abs() < 1e-9, "{}", resampling.run_effects[0]);
        let [whole, first] = [[1.0; 5], [5.0, 0.0, 0.0, 0.0, 0.0]]
            .map(|times| resampling.draw(&times, || 1.0)[0] - resampling.run_effects[0]);
        assert!((whole - 0.29).abs() < 1e-12 && (first - 0.8 / 6.0).abs() < 1e-12, "{whole} {first}");
    }

    #[test]
    fn bad_curves_are_named() {
        let cases = [
            (vec![], "0 sizes with answered items given, at least 1 needed"),
            (vec![Size::of_means(0, &[0.5])], "a number of labels is 0, but must be 1 or more"),
            (
                vec![Size::of_means(8, &[0.5]), Size::of_means(8, &[0.6])],
                "a number of labels is 8, but must be given once",
            ),
            (vec![Size::of_means(8, &[1.5])], "a score is 1.5, but must be in [0, 1]"),
            (
                vec![Size { labels: 8, runs: vec![vec![1.0, 0.0], vec![1.0]] }],
                "1 items of a run given where 2 are expected",
            ),
            (vec![Size::of_means(8, &[0.5]), Size::of_means(9, &[])], "0 runs given, at least 1 needed"),
        ];
        for (sizes, expected) in cases {
            assert_eq!(LearningCurve::new(sizes).expect_err("is no curve").to_string(), expected);
        }
    }
}
