//! The test that a learning curve has to pass before it is followed beyond the sizes that were measured.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::learning_curve::Point;
use crate::power_law::PowerLaw;

/// A law fitted without the last sizes, and what it said about them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backtest {
    /// The largest size that the law was shown.
    pub shown: u64,
    /// The sizes it was not shown.
    pub predictions: Vec<Prediction>,
}

/// A predicted and an observed score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Labels.
    pub labels: u64,
    /// Score that the law predicts.
    pub predicted: f64,
    /// Mean score over the runs there.
    pub observed: f64,
}

impl Backtest {
    /// Fits the first points and predicts the others: as few are shown as lets the last one lie within `farthest` times the
    /// largest shown, but three at least. `None` with fewer than four points.
    pub fn new(points: &[Point], farthest: f64) -> Result<Option<Self>, Error> {
        let Some(last) = points.last().filter(|_| points.len() > 3) else { return Ok(None) };
        let reaches = |point: &Point| last.labels as f64 <= farthest * point.labels as f64;
        let shown = (points.iter().position(reaches).unwrap_or(0) + 1).clamp(3, points.len() - 1);
        let law = PowerLaw::through(&points[..shown])?;
        let predictions = points[shown..].iter().map(|point| Prediction {
            labels: point.labels,
            predicted: 1.0 - law.error(point.labels as f64),
            observed: point.score,
        });
        Ok(Some(Self { shown: points[shown - 1].labels, predictions: predictions.collect() }))
    }

    /// Root mean square of the errors.
    pub fn error(&self) -> f64 {
        let squares: f64 = self.predictions.iter().map(|p| p.miss().powi(2)).sum();
        (squares / self.predictions.len().max(1) as f64).sqrt()
    }
}

impl Prediction {
    /// Predicted less observed.
    pub fn miss(&self) -> f64 {
        self.predicted - self.observed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(scores: &[(u64, f64)]) -> Vec<Point> {
        scores.iter().map(|&(labels, score)| Point { labels, score, variance: 1e-4 }).collect()
    }

    #[test]
    fn as_few_sizes_are_shown_as_the_ratio_allows() {
        let law = |labels: u64| 0.95 - 2.0 * (labels as f64).powf(-0.5);
        let doubling: Vec<(u64, f64)> = (4..10).map(|power| (1 << power, law(1 << power))).collect();
        let found = Backtest::new(&points(&doubling), 4.0).expect("is sound").expect("has six sizes");
        assert_eq!((found.shown, found.predictions.len()), (128, 2));
        assert!(found.error() < 1e-4, "a law predicts itself: {found:?}");
        // Wide steps: three have to be shown, whatever the ratio.
        let wide = Backtest::new(&points(&[(16, 0.5), (64, 0.7), (256, 0.8), (600, 0.9)]), 4.0);
        let wide = wide.expect("is sound").expect("has four sizes");
        assert_eq!((wide.shown, wide.predictions.len()), (256, 1));
        assert!((wide.error() - wide.predictions[0].miss().abs()).abs() < 1e-12);
        assert_eq!(Backtest::new(&points(&[(16, 0.5), (64, 0.7), (256, 0.8)]), 4.0), Ok(None));
        assert_eq!(Backtest::new(&[], 4.0), Ok(None));
    }
}
