//! What one arm is worth in labels: the "data advantage" of Le Scao and Rush (2021), "How Many Data Points is a Prompt Worth?".
//!
//! Two learning curves are compared not up and down (how much better at so many labels) but from left to right: how many
//! more labels the one needs for the same score, averaged over all scores that both reach. Each curve is its best score so
//! far, joined by straight lines over the logarithm of the labels; nothing is extrapolated.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::learning_curve::{LearningCurve, Point};
use crate::mean::check_confidence;
use crate::resample::Resampler;

/// How many labels an arm saves, on average over the scores that both reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataAdvantage {
    /// Labels of the second arm less labels of the first, for the same score; negative where the first needs more.
    pub labels: f64,
    /// Lower end of the interval over resamples of items and runs; `None` where fewer than half of the resamples have a
    /// common score.
    pub low: Option<f64>,
    /// Upper end of it.
    pub high: Option<f64>,
    /// The lowest score that both reach.
    pub from: f64,
    /// The highest score that both reach. A first arm of one size has one score, and the advantage is that there.
    pub to: f64,
}

/// The advantage in labels of `first` over `second`, with its interval at `confidence` from so many `resamples` drawn from
/// `seed`.
///
/// `None` where the curves have no score in common: one of them is better at its worst than the other at its best. Errors
/// where the curves' items differ in number or the confidence is not in (0, 1).
pub fn data_advantage(
    first: &LearningCurve,
    second: &LearningCurve,
    confidence: f64,
    resamples: usize,
    seed: u64,
) -> Result<Option<DataAdvantage>, Error> {
    check_confidence(confidence)?;
    if first.items() != second.items() {
        return Err(Error::Length { what: "items of a run", have: second.items(), need: first.items() });
    }
    let labels =
        [first, second].map(|curve| curve.points().iter().map(|p: &Point| p.labels).collect::<Vec<_>>());
    let own = [first, second].map(|curve| curve.points().iter().map(|p: &Point| p.score).collect::<Vec<_>>());
    let advantage = |scores: &[Vec<f64>; 2]| {
        let [one, other] = [0, 1].map(|arm| Best::new(&labels[arm], &scores[arm]));
        advantage(&one, &other)
    };
    let Some((value, from, to)) = advantage(&own) else { return Ok(None) };
    let mut resampler = Resampler::new(seed);
    let (one, other) = (first.resampling(), second.resampling());
    let draws = (0..resamples).filter_map(|_| advantage(&one.draw_with(&other, &mut resampler)));
    let mut drawn: Vec<f64> = draws.map(|(labels, ..)| labels).collect();
    drawn.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0;
    let [low, high] = [tail, 1.0 - tail].map(|level| {
        let enough = !drawn.is_empty() && 2 * drawn.len() >= resamples;
        enough.then(|| crate::interval::quantile(&drawn, level))
    });
    Ok(Some(DataAdvantage { labels: value, low, high, from, to }))
}

/// The best score so far, as points of (logarithm of labels, score) with rising scores.
struct Best {
    points: Vec<(f64, f64)>,
}

impl Best {
    fn new(labels: &[u64], scores: &[f64]) -> Self {
        let mut points: Vec<(f64, f64)> = Vec::with_capacity(scores.len());
        for (&labels, &score) in labels.iter().zip(scores) {
            match points.last() {
                Some((_, best)) if *best >= score => {
                    // A level stretch: a later rise starts where it ends.
                    if let Some(last) = points.last().copied() {
                        points.push(((labels as f64).ln(), last.1));
                    }
                }
                _ => points.push(((labels as f64).ln(), score)),
            }
        }
        Self { points }
    }

    fn lowest(&self) -> f64 {
        self.points.first().map_or(f64::NAN, |point| point.1)
    }

    fn highest(&self) -> f64 {
        self.points.last().map_or(f64::NAN, |point| point.1)
    }

    /// Fewest labels that reach `score`, which lies between the lowest and the highest.
    fn labels(&self, score: f64) -> f64 {
        self.along(score, score)
    }

    /// Labels at `score` on the stretch on which `within` is reached first.
    fn along(&self, score: f64, within: f64) -> f64 {
        let after = self.points.partition_point(|point| point.1 < within).min(self.points.len() - 1);
        let right = self.points[after];
        if after == 0 {
            return right.0.exp();
        }
        let left = self.points[after - 1];
        let way = if right.1 > left.1 { (score - left.1) / (right.1 - left.1) } else { 1.0 };
        (left.0 + way * (right.0 - left.0)).exp()
    }

    /// Integral of the labels over the scores from `low` to `high`, between which there is no point: on a straight line over
    /// the logarithm the mean of the labels is their logarithmic mean.
    fn area(&self, low: f64, high: f64) -> f64 {
        let middle = (low + high) / 2.0;
        let [from, to] = [low, high].map(|score| self.along(score, middle));
        let ratio = (to / from).ln();
        let mean = if ratio.abs() < 1e-9 { from } else { (to - from) / ratio };
        (high - low) * mean
    }
}

/// Mean labels that `second` needs beyond `first`, and the scores that both reach.
fn advantage(first: &Best, second: &Best) -> Option<(f64, f64, f64)> {
    let (low, high) = (first.lowest().max(second.lowest()), first.highest().min(second.highest()));
    if low > high || !low.is_finite() {
        return None;
    }
    if high - low < 1e-12 {
        return Some((second.labels(low) - first.labels(low), low, high));
    }
    let mut scores: Vec<f64> = first.points.iter().chain(&second.points).map(|point| point.1).collect();
    scores.retain(|score| (low..=high).contains(score));
    scores.sort_unstable_by(f64::total_cmp);
    scores.dedup();
    let gap = |pair: &[f64]| second.area(pair[0], pair[1]) - first.area(pair[0], pair[1]);
    Some((scores.windows(2).map(gap).sum::<f64>() / (high - low), low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning_curve::Size;

    fn curve(sizes: &[(u64, &[f64])]) -> LearningCurve {
        LearningCurve::new(sizes.iter().map(|(labels, means)| Size::of_means(*labels, means)).collect())
            .expect("is a curve")
    }

    fn worth(first: &LearningCurve, second: &LearningCurve) -> DataAdvantage {
        data_advantage(first, second, 0.95, 500, 1).expect("is sound").expect("have scores in common")
    }

    #[test]
    fn the_same_curve_a_few_times_farther_right_is_by_hand() {
        // The second needs four times the labels for every score: 3 n on average, n's mean over the scores from 10 to 160
        // labels being the logarithmic mean 150 / ln 16.
        let first = curve(&[(10, &[0.5]), (40, &[0.7]), (160, &[0.9])]);
        let second = curve(&[(40, &[0.5]), (160, &[0.7]), (640, &[0.9])]);
        let found = worth(&first, &second);
        let expected = 3.0 * 150.0 / 16f64.ln();
        assert!((found.labels - expected).abs() < 1e-9, "{found:?} against {expected}");
        assert_eq!((found.from, found.to), (0.5, 0.9));
        assert!((worth(&second, &first).labels + expected).abs() < 1e-9, "it has a sign");
        assert!(worth(&first, &first).labels.abs() < 1e-9);
    }

    #[test]
    fn a_prompt_of_one_size_is_worth_what_its_score_needs() {
        // 0.8 is reached half-way between 64 and 256 on the logarithm; the prompt has 8 labels.
        let tuned = curve(&[(16, &[0.5]), (64, &[0.7]), (256, &[0.9])]);
        let found = worth(&curve(&[(8, &[0.8])]), &tuned);
        assert!((found.labels - 120.0).abs() < 1e-9 && found.from == found.to, "{found:?}");
        // A curve that falls again is its best so far, and the rise starts where the level stretch ends.
        let bent = curve(&[(16, &[0.7]), (64, &[0.6]), (256, &[0.9])]);
        let found = worth(&curve(&[(8, &[0.8])]), &bent);
        assert!((found.labels - 120.0).abs() < 1e-9, "{found:?}");
        let level = worth(&curve(&[(8, &[0.7])]), &bent);
        assert!((level.labels - 8.0).abs() < 1e-9, "0.7 is reached at 16: {level:?}");
    }

    #[test]
    fn curves_apart_have_no_advantage_in_labels() {
        let tuned = curve(&[(16, &[0.5]), (64, &[0.7])]);
        assert_eq!(data_advantage(&curve(&[(8, &[0.9])]), &tuned, 0.95, 100, 1), Ok(None));
        assert_eq!(data_advantage(&curve(&[(8, &[0.4])]), &tuned, 0.95, 100, 1), Ok(None));
        assert!(data_advantage(&tuned, &tuned, 1.0, 100, 1).is_err());
        let itemised =
            LearningCurve::new(vec![Size { labels: 1, runs: vec![vec![1.0, 0.0]] }]).expect("is a curve");
        assert!(data_advantage(&tuned, &itemised, 0.95, 100, 1).is_err());
    }

    #[test]
    fn intervals_hold_the_true_advantage() {
        // Curves with seeds: 0.5 to 0.9 on the logarithm of 16 to 256 labels; the prompt's score of 0.7 is worth 64 labels
        // less its own 8.
        let mut source = Resampler::new(97);
        let trials = 1000;
        let covered: u32 = (0..trials)
            .map(|seed| {
                let mut runs = |mean: f64, count: usize| -> Vec<f64> {
                    (0..count).map(|_| mean + 0.02 * source.normal()).collect()
                };
                let prompt = curve(&[(8, &runs(0.7, 10))]);
                let means = [0.5, 0.6, 0.7, 0.8, 0.9].map(|mean| runs(mean, 5));
                let labels = [16, 32, 64, 128, 256];
                let sizes: Vec<(u64, &[f64])> = labels
                    .into_iter()
                    .zip(&means)
                    .map(|(labels, means)| (labels, means.as_slice()))
                    .collect();
                let found = data_advantage(&prompt, &curve(&sizes), 0.95, 300, seed);
                let found = found.expect("is sound").expect("have scores in common");
                let (low, high) = (found.low.expect("is enough"), found.high.expect("is enough"));
                u32::from((low..=high).contains(&56.0))
            })
            .sum();
        let share = f64::from(covered) / trials as f64;
        println!("data advantage coverage {share}");
        assert!((0.93..=0.97).contains(&share), "{share}");
    }
}
