//! The two curves, followed with the scores of all runs or of a resample to where they cross.

use super::{Crossing, LabelsUntil, Search};
use crate::backtest::Backtest;
use crate::learning_curve::{LearningCurve, Point};
use crate::mean::variance;
use crate::power_law::PowerLaw;
use crate::resample::Resampler;

/// Mean scores at the sizes of both arms.
pub(super) struct Scores {
    pub(super) prompt: Vec<f64>,
    pub(super) tuned: Vec<f64>,
}

/// A resample: its scores, and by how many of the backtest's errors its law is off.
pub(super) struct Draw {
    pub(super) scores: Scores,
    shift: f64,
}

/// The two curves, to be followed with any scores at their sizes.
pub(super) struct Paths<'a> {
    pub(super) prompt: &'a [Point],
    pub(super) tuned: &'a [Point],
    pub(super) lead: f64,
    pub(super) confidence: f64,
    pub(super) horizon: f64,
    /// Error of the law at the horizon.
    pub(super) error: f64,
}

impl Paths<'_> {
    pub(super) fn resample(
        &self,
        in_context: &LearningCurve,
        fine_tune: &LearningCurve,
        search: &Search,
    ) -> Vec<Draw> {
        let mut resampler = Resampler::new(search.seed);
        let (in_context, fine_tune) = (in_context.resampling(), fine_tune.resampling());
        (0..search.resamples)
            .map(|_| {
                let [prompt, tuned] = in_context.draw_with(&fine_tune, &mut resampler);
                Draw { scores: Scores { prompt, tuned }, shift: resampler.normal() }
            })
            .collect()
    }

    /// Fine-tuning less the prompt and the lead, at measured numbers of labels.
    fn gap(&self, scores: &Scores, labels: f64) -> f64 {
        joined(self.tuned, &scores.tuned, labels) - joined(self.prompt, &scores.prompt, labels) - self.lead
    }

    /// The crossing within the measured sizes of fine-tuning; `None` where it is behind at the largest.
    pub(super) fn measured(&self, scores: &Scores) -> Option<f64> {
        let (first, last) = (self.tuned[0].labels, self.tuned[self.tuned.len() - 1].labels);
        let mut nodes: Vec<u64> = self.tuned.iter().chain(self.prompt).map(|point| point.labels).collect();
        nodes.retain(|labels| (first..=last).contains(labels));
        nodes.sort_unstable();
        let gaps: Vec<(f64, f64)> =
            nodes.iter().map(|&labels| (labels as f64, self.gap(scores, labels as f64))).collect();
        match gaps.iter().rposition(|(_, gap)| *gap < 0.0) {
            None => Some(first as f64),
            Some(behind) => gaps.get(behind + 1).map(|&ahead| root(gaps[behind], ahead)),
        }
    }

    /// Standard error of each miss of the backtest: its deviation over the resamples.
    pub(super) fn noise(&self, backtest: &Backtest, draws: &[Draw]) -> Vec<f64> {
        let shown = self.tuned.len() - backtest.predictions.len();
        let mut misses = vec![Vec::with_capacity(draws.len()); backtest.predictions.len()];
        for draw in draws {
            let points = self.observed(&draw.scores);
            let Ok(law) = PowerLaw::through(&points[..shown]) else { continue };
            for (misses, point) in misses.iter_mut().zip(&points[shown..]) {
                misses.push(1.0 - law.error(point.labels as f64) - point.score);
            }
        }
        misses.iter().map(|misses| if misses.len() > 1 { variance(misses).sqrt() } else { 0.0 }).collect()
    }

    /// The points of fine-tuning with the scores of a resample.
    fn observed(&self, scores: &Scores) -> Vec<Point> {
        let observed = |(point, &score): (&Point, &f64)| Point { score, ..*point };
        self.tuned.iter().zip(&scores.tuned).map(observed).collect()
    }

    /// The crossing on the law beyond the measured sizes; infinite where there is none up to the horizon.
    fn extrapolated(&self, scores: &Scores, shift: f64) -> f64 {
        const STEPS: u32 = 64;
        let Ok(law) = PowerLaw::through(&self.observed(scores)) else { return f64::INFINITY };
        let last = self.tuned[self.tuned.len() - 1].labels as f64;
        let reach = (self.horizon / last).ln();
        let at = |step: u32| {
            let way = f64::from(step) / f64::from(STEPS);
            let labels = last * (way * reach).exp();
            let tuned = 1.0 - law.error(labels) + shift * self.error * way;
            (labels, tuned - joined(self.prompt, &scores.prompt, labels) - self.lead)
        };
        let Some(ahead) = (0..=STEPS).find(|&step| at(step).1 >= 0.0) else { return f64::INFINITY };
        if ahead == 0 { last } else { root(at(ahead - 1), at(ahead)) }
    }

    pub(super) fn crossing(&self, own: &Scores, draws: &[Draw], backtest: Option<Backtest>) -> LabelsUntil {
        let beyond = |scores: &Scores, shift: f64| match &backtest {
            Some(_) => self.extrapolated(scores, shift),
            None => f64::INFINITY,
        };
        let at = |scores: &Scores, shift: f64| self.measured(scores).unwrap_or_else(|| beyond(scores, shift));
        let mut crossings: Vec<f64> = draws.iter().map(|draw| at(&draw.scores, draw.shift)).collect();
        crossings.sort_unstable_by(f64::total_cmp);
        let whole = |labels: f64| labels.is_finite().then(|| labels.round() as u64);
        let last = crossings.len() - 1;
        let tail = (1.0 - self.confidence) / 2.0;
        let [low, high] = [tail, 1.0 - tail].map(|level| crossings[(level * last as f64).round() as usize]);
        let found = crossings.iter().filter(|labels| labels.is_finite()).count();
        LabelsUntil::Estimated(Crossing {
            labels: whole(at(own, 0.0)),
            low: whole(low),
            high: whole(high),
            share: found as f64 / crossings.len() as f64,
            horizon: self.horizon as u64,
            backtest,
        })
    }
}

pub(super) fn scores(points: &[Point]) -> Vec<f64> {
    points.iter().map(|point| point.score).collect()
}

/// Where the straight line (over the logarithm of labels) from `behind` to `ahead` crosses 0.
fn root(behind: (f64, f64), ahead: (f64, f64)) -> f64 {
    let way = behind.1 / (behind.1 - ahead.1);
    (behind.0.ln() + way * (ahead.0.ln() - behind.0.ln())).exp()
}

/// The scores joined by straight lines over the logarithm of labels, level before the first and behind the last.
fn joined(points: &[Point], scores: &[f64], labels: f64) -> f64 {
    let after = points.partition_point(|point| (point.labels as f64) < labels);
    if after == 0 {
        return scores[0];
    }
    if after == points.len() {
        return scores[after - 1];
    }
    let [left, right] = [after - 1, after].map(|index| (points[index].labels as f64).ln());
    let way = (labels.ln() - left) / (right - left);
    scores[after - 1] + way * (scores[after] - scores[after - 1])
}
