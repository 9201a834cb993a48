//! How far a score moves when the same items are asked in several ways that mean the same (Sclar et al. 2024).

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::agreement::agreement;
use crate::crossed::run_deviation;
use crate::mean::{mean, variance};

/// The scores of several ways of asking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Ways of asking, the usual one not counted.
    pub variants: usize,
    /// Items asked.
    pub items: usize,
    /// Score of the usual way on these items.
    pub original: f64,
    /// Mean of the others.
    pub mean: f64,
    /// The worst of the others.
    pub lowest: f64,
    /// Its name.
    pub worst: String,
    /// The best of the others.
    pub highest: f64,
    /// Standard deviation between them.
    pub standard_deviation: f64,
    /// The same less what differs by the chance of the items alone.
    pub beyond_noise: f64,
    /// Share of items whose answer is the usual one, over all ways.
    pub unchanged: f64,
}

/// A way of asking: name, score of each item, and what was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Way<T> {
    /// Its name.
    pub name: String,
    /// Score of each item in 0..=1.
    pub scores: Vec<f64>,
    /// What was answered.
    pub answers: Vec<T>,
}

impl Spread {
    /// The spread of `variants` around `original`, all on the same items in the same order. Needs two variants and two items.
    pub fn new<T: PartialEq + Clone>(original: &Way<T>, variants: &[Way<T>]) -> Result<Self, Error> {
        let scores: Vec<Vec<f64>> = variants.iter().map(|way| way.scores.clone()).collect();
        let beyond_noise = run_deviation(&scores)?;
        let means: Vec<f64> = scores.iter().map(|run| mean(run)).collect();
        let mut unchanged = 0.0;
        for way in variants {
            unchanged += agreement(&[original.answers.clone(), way.answers.clone()])?.consistency;
        }
        let at = |better: fn(f64, f64) -> bool| {
            (1..means.len()).fold(0, |best, at| if better(means[at], means[best]) { at } else { best })
        };
        let (worst, best) = (at(|one, other| one < other), at(|one, other| one > other));
        Ok(Self {
            variants: variants.len(),
            items: original.scores.len(),
            original: mean(&original.scores),
            mean: mean(&means),
            lowest: means[worst],
            worst: variants[worst].name.clone(),
            highest: means[best],
            standard_deviation: variance(&means).sqrt(),
            beyond_noise,
            unchanged: unchanged / variants.len() as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(variant: usize) -> Way<bool> {
        let answers: Vec<bool> = (0..20).map(|item| (variant * 5 + item * item) % 7 < 4).collect();
        let scores = answers.iter().map(|right| f64::from(u8::from(*right))).collect();
        Way { name: format!("way {variant}"), scores, answers }
    }

    #[test]
    fn the_spread_is_that_of_an_analysis_of_variance() {
        // statsmodels' two-way analysis of variance: fixtures/scripts/eval_probes.py.
        let ways: Vec<Way<bool>> = (0..6).map(way).collect();
        let found = Spread::new(&way(0), &ways).expect("are ways");
        let got = [found.mean, found.lowest, found.highest, found.standard_deviation, found.beyond_noise];
        let expected = [0.6, 0.3, 0.85, 0.197_484_176_581_314_98, 0.162_221_421_130_762_54];
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-10, "{found:?}");
        }
        assert_eq!((found.variants, found.items), (6, 20));
    }

    #[test]
    fn ways_that_differ_by_nothing_have_no_spread() {
        let found = Spread::new(&way(1), &[way(1), way(1)]).expect("are ways");
        assert_eq!((found.standard_deviation, found.beyond_noise, found.unchanged), (0.0, 0.0, 1.0));
        assert!(Spread::new(&way(1), &[way(2)]).is_err());
    }
}
