//! The usual shape of a learning curve: error = floor + gain x labels^-exponent (Cortes et al. 1993; Figueroa et al. 2012).

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::learning_curve::Point;

/// A fitted power law of an error (1 less the score), in labels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerLaw {
    /// Error that no number of labels removes, 0 or more.
    pub floor: f64,
    /// Error at one label above the floor, 0 or more.
    pub gain: f64,
    /// How fast it falls, 0.02 to 3.
    pub exponent: f64,
}

/// What a fit goes through: labels, error and weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// Labels, above 0.
    pub labels: f64,
    /// Error there.
    pub error: f64,
    /// Weight of its squared residual: one over its variance.
    pub weight: f64,
}

/// Exponents tried: the error of a curve flatter than the first falls by less than 3% for four times the labels.
const EXPONENTS: [f64; 2] = [0.02, 3.0];
/// Steps of the first search, even in the logarithm.
const STEPS: usize = 32;
/// Steps of the golden section after it.
const REFINEMENTS: usize = 20;

impl PowerLaw {
    /// Weighted least squares with floor and gain at or above 0.
    ///
    /// For a given exponent the other two have a closed form, so only the exponent is searched (variable projection, Golub
    /// and Pereyra 1973). Needs three observations at different numbers of labels, finite, with positive weights.
    pub fn fit(observations: &[Observation]) -> Result<Self, Error> {
        let mut labels: Vec<f64> = observations.iter().map(|o| o.labels).collect();
        labels.sort_by(f64::total_cmp);
        labels.dedup();
        if labels.len() < 3 {
            return Err(Error::TooFew { what: "sizes", have: labels.len(), need: 3 });
        }
        for o in observations {
            for (quantity, value) in [("a number of labels", o.labels), ("a weight", o.weight)] {
                if !(value > 0.0 && value.is_finite()) {
                    return Err(Error::Input { quantity, value, range: "above 0" });
                }
            }
            if !o.error.is_finite() {
                return Err(Error::Input { quantity: "an error", value: o.error, range: "finite" });
            }
        }
        Ok(Self::search(observations))
    }

    /// The law through the points of a learning curve, each weighted by its uncertainty; it needs three sizes.
    pub fn through(points: &[Point]) -> Result<Self, Error> {
        let observations: Vec<Observation> = points
            .iter()
            .map(|point| Observation {
                labels: point.labels as f64,
                error: 1.0 - point.score,
                weight: 1.0 / point.variance,
            })
            .collect();
        Self::fit(&observations)
    }

    fn search(observations: &[Observation]) -> Self {
        let [low, high] = EXPONENTS.map(f64::ln);
        let step = (high - low) / (STEPS - 1) as f64;
        let loss = |log: f64| Self::given(observations, log.exp()).1;
        let losses: Vec<f64> = (0..STEPS).map(|index| loss(low + step * index as f64)).collect();
        let best = (0..STEPS).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap_or(0);
        let mut left = low + step * best.saturating_sub(1) as f64;
        let mut right = low + step * (best + 1).min(STEPS - 1) as f64;
        let golden = (5f64.sqrt() - 1.0) / 2.0;
        for _ in 0..REFINEMENTS {
            let width = golden * (right - left);
            if loss(right - width) < loss(left + width) {
                right = left + width;
            } else {
                left = right - width;
            }
        }
        let refined = Self::given(observations, ((left + right) / 2.0).exp());
        let coarse = Self::given(observations, (low + step * best as f64).exp());
        if refined.1 <= coarse.1 { refined.0 } else { coarse.0 }
    }

    /// The best law of that exponent, and its weighted sum of squares.
    fn given(observations: &[Observation], exponent: f64) -> (Self, f64) {
        let mut sums = [0.0; 5];
        for o in observations {
            let power = o.labels.powf(-exponent);
            for (sum, term) in sums.iter_mut().zip([1.0, power, o.error, power * power, power * o.error]) {
                *sum += o.weight * term;
            }
        }
        let [weight, power, error, squares, products] = sums;
        let spread = squares - power * power / weight;
        let mut gain = if spread > 0.0 { (products - power * error / weight) / spread } else { 0.0 };
        let mut floor = (error - gain * power) / weight;
        if gain < 0.0 {
            (gain, floor) = (0.0, (error / weight).max(0.0));
        } else if floor < 0.0 {
            (gain, floor) = ((products / squares).max(0.0), 0.0);
        }
        let law = Self { floor, gain, exponent };
        let loss = observations.iter().map(|o| o.weight * (o.error - law.error(o.labels)).powi(2)).sum();
        (law, loss)
    }

    /// Error at so many labels.
    pub fn error(&self, labels: f64) -> f64 {
        self.floor + self.gain * labels.powf(-self.exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(values: &[(f64, f64, f64)]) -> PowerLaw {
        let observations: Vec<Observation> =
            values.iter().map(|&(labels, error, weight)| Observation { labels, error, weight }).collect();
        PowerLaw::fit(&observations).expect("can be fitted")
    }

    #[test]
    fn a_law_is_found_again() {
        for (floor, gain, exponent) in [(0.05, 2.0, 0.5), (0.0, 1.2, 0.3), (0.1, 30.0, 1.4), (0.2, 0.7, 0.1)]
        {
            let law = PowerLaw { floor, gain, exponent };
            let points: Vec<_> =
                (4..12).map(|power| f64::from(1 << power)).map(|n| (n, law.error(n), 1.0)).collect();
            let found = through(&points);
            assert!((found.exponent - exponent).abs() < 1e-4, "{found:?}");
            assert!(
                (found.floor - floor).abs() < 1e-4 && (found.gain / gain - 1.0).abs() < 1e-3,
                "{found:?}"
            );
        }
    }

    #[test]
    fn weighted_fits_are_scipys() {
        // scipy.optimize.curve_fit with sigma and bounds (fixtures/scripts/eval_statistics.py).
        let values = [
            (16.0, 0.62, 400.0),
            (32.0, 0.49, 900.0),
            (64.0, 0.41, 1600.0),
            (128.0, 0.30, 2500.0),
            (256.0, 0.27, 4000.0),
            (512.0, 0.215, 5000.0),
        ];
        let found = through(&values);
        for (found, expected) in
            [found.floor, found.gain, found.exponent].into_iter().zip([0.073_706_7, 1.607_499_9, 0.387_603_8])
        {
            assert!((found - expected).abs() < 1e-3 * expected, "{found} against {expected}");
        }
        assert!((found.error(2048.0) - 0.157_395_41).abs() < 1e-5, "{}", found.error(2048.0));
    }

    #[test]
    fn errors_that_do_not_fall_are_level_and_floors_are_not_negative() {
        let rising = through(&[(16.0, 0.3, 1.0), (64.0, 0.35, 1.0), (256.0, 0.4, 2.0)]);
        assert!(rising.gain == 0.0 && (rising.floor - 0.3625).abs() < 1e-12, "{rising:?}");
        let steep = through(&[(16.0, 0.9, 1.0), (64.0, 0.5, 1.0), (256.0, 0.05, 1.0), (512.0, 0.0, 1.0)]);
        assert!(steep.floor >= 0.0 && steep.error(1e6) >= 0.0, "{steep:?}");
    }

    #[test]
    fn bad_observations_are_named() {
        let point = |labels, error, weight| Observation { labels, error, weight };
        let twice = PowerLaw::fit(&[point(8.0, 0.5, 1.0), point(8.0, 0.4, 1.0), point(16.0, 0.3, 1.0)]);
        assert_eq!(twice.expect_err("is too little").to_string(), "2 sizes given, at least 3 needed");
        let good = [point(16.0, 0.5, 1.0), point(32.0, 0.4, 1.0)];
        for bad in
            [point(0.0, 0.5, 1.0), point(8.0, f64::NAN, 1.0), point(8.0, 0.5, 0.0), point(f64::NAN, 0.5, 1.0)]
        {
            assert!(PowerLaw::fit(&[good[0], good[1], bad]).is_err(), "{bad:?}");
        }
    }
}
