//! Multinomial logistic regression on tf-idf: the strongest cheap classifier of texts.

use serde::{Deserialize, Serialize};

use super::newton::{self, Problem};
use super::{
    Floor, FloorError, Inconsistent, TfIdf, best_label, check_labels, check_training, log_probability,
    tagged_json,
};

/// scikit-learn users' usual choice for short texts, and the default where there is no dev set to choose on.
pub const DEFAULT_INVERSE_REGULARISATION: f64 = 10.0;

/// The values that [`LogisticRegression::fit_choosing`] tries, ascending.
pub const INVERSE_REGULARISATIONS: [f64; 4] = [0.1, 1.0, 10.0, 100.0];

/// Logistic regression with an L2 penalty on [`TfIdf`] vectors.
///
/// Minimises `C * sum of the examples' log losses + 0.5 * ||w||^2` with the intercepts free, as scikit-learn's
/// `LogisticRegression(C=...)` does (with two classes one weight vector, with more one for each class). Only
/// labels that the training set has are modelled; the others, about which nothing is known, get probability
/// 1e-12. Weights are kept in single precision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct LogisticRegression {
    labels: usize,
    inverse_regularisation: f64,
    tf_idf: TfIdf,
    /// The labels that are modelled, ascending.
    classes: Vec<u32>,
    /// `[classes]`
    intercepts: Vec<f32>,
    /// `[features][classes]`
    weights: Vec<f32>,
}

impl LogisticRegression {
    /// Fits with the given C (`inverse_regularisation`), which must be positive and finite.
    pub fn fit(
        train: &[(&str, usize)],
        labels: usize,
        inverse_regularisation: f64,
    ) -> Result<Self, FloorError> {
        let training = Training::new(train, labels)?;
        check_inverse_regularisation(inverse_regularisation)?;
        let mut parameters = training.zeros();
        training.solve(inverse_regularisation, &mut parameters);
        Ok(training.model(inverse_regularisation, &parameters))
    }

    /// Fits with each of [`INVERSE_REGULARISATIONS`] and returns the one that does best on `dev`: most answers
    /// right, then least log loss, then least C. With an empty `dev` it is [`DEFAULT_INVERSE_REGULARISATION`].
    pub fn fit_choosing(
        train: &[(&str, usize)],
        dev: &[(&str, usize)],
        labels: usize,
    ) -> Result<Self, FloorError> {
        check_labels("dev", dev, labels)?;
        if dev.is_empty() {
            return Self::fit(train, labels, DEFAULT_INVERSE_REGULARISATION);
        }
        let training = Training::new(train, labels)?;
        let mut parameters = training.zeros();
        let mut best: Option<(DevResult, Self)> = None;
        for inverse_regularisation in INVERSE_REGULARISATIONS {
            // Each solution is the next one's start: the optimum does not depend on it, the time does.
            training.solve(inverse_regularisation, &mut parameters);
            let model = training.model(inverse_regularisation, &parameters);
            let result = model.on(dev);
            if best.as_ref().is_none_or(|(so_far, _)| result.is_better_than(so_far)) {
                best = Some((result, model));
            }
        }
        Ok(best.expect("there is at least one value to try").1)
    }

    /// The C that the model was fitted with.
    pub fn inverse_regularisation(&self) -> f64 {
        self.inverse_regularisation
    }

    /// Number of weights and intercepts.
    pub fn parameters(&self) -> usize {
        self.weights.len() + self.intercepts.len()
    }

    fn on(&self, examples: &[(&str, usize)]) -> DevResult {
        let mut result = DevResult { right: 0, log_loss: 0.0 };
        for &(input, label) in examples {
            let scores = self.predict(input);
            result.right += usize::from(best_label(&scores) == label);
            result.log_loss -= f64::from(scores[label]);
        }
        result
    }
}

/// How a model did on dev.
struct DevResult {
    right: usize,
    log_loss: f64,
}

impl DevResult {
    fn is_better_than(&self, other: &Self) -> bool {
        self.right > other.right || (self.right == other.right && self.log_loss < other.log_loss)
    }
}

fn check_inverse_regularisation(value: f64) -> Result<(), FloorError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(FloorError::Setting { name: "C", range: "positive and finite", value: value.to_string() })
}

/// The training set as vectors: made once, solved for any C.
struct Training {
    labels: usize,
    tf_idf: TfIdf,
    classes: Vec<u32>,
    problem: Problem,
}

impl Training {
    fn new(train: &[(&str, usize)], labels: usize) -> Result<Self, FloorError> {
        check_training(train, labels)?;
        let mut classes: Vec<usize> = train.iter().map(|&(_, label)| label).collect();
        classes.sort_unstable();
        classes.dedup();
        let targets = train.iter().map(|(_, label)| classes.partition_point(|class| class < label)).collect();
        let texts: Vec<&str> = train.iter().map(|&(text, _)| text).collect();
        let tf_idf = TfIdf::fit(&texts);
        let rows = tf_idf.rows(texts.iter().copied());
        let problem = Problem::new(rows, tf_idf.vocabulary().len(), targets, classes.len());
        let classes = classes.into_iter().map(|class| class as u32).collect();
        Ok(Self { labels, tf_idf, classes, problem })
    }

    fn zeros(&self) -> Vec<f64> {
        vec![0.0; self.problem.parameters()]
    }

    fn solve(&self, inverse_regularisation: f64, parameters: &mut [f64]) {
        // With two classes scikit-learn has one weight vector v where we have w and -w = v/2 and -v/2. Their
        // squared norms add up to half of v's, hence the doubled penalty.
        let penalty = if self.classes.len() == 2 { 2.0 } else { 1.0 };
        newton::minimise(&self.problem, penalty / inverse_regularisation, parameters);
    }

    fn model(&self, inverse_regularisation: f64, parameters: &[f64]) -> LogisticRegression {
        let (weights, intercepts) = self.problem.unfold(parameters);
        LogisticRegression {
            labels: self.labels,
            inverse_regularisation,
            tf_idf: self.tf_idf.clone(),
            classes: self.classes.clone(),
            intercepts: intercepts.into_iter().map(|value| value as f32).collect(),
            weights: weights.into_iter().map(|value| value as f32).collect(),
        }
    }
}

impl Floor for LogisticRegression {
    fn name(&self) -> &'static str {
        "logistic_regression"
    }

    fn predict(&self, input: &str) -> Vec<f32> {
        let classes = self.classes.len();
        let mut logits: Vec<f64> = self.intercepts.iter().map(|&value| f64::from(value)).collect();
        for (feature, value) in self.tf_idf.row(input) {
            let weights = &self.weights[feature as usize * classes..][..classes];
            for (logit, weight) in logits.iter_mut().zip(weights) {
                *logit += value * f64::from(*weight);
            }
        }
        newton::softmax(&mut logits);
        let mut scores = vec![log_probability(0.0); self.labels];
        for (class, probability) in self.classes.iter().zip(logits) {
            scores[*class as usize] = log_probability(probability);
        }
        scores
    }

    fn artefact(&self) -> Vec<u8> {
        tagged_json(self.name(), self)
    }
}

#[derive(Deserialize)]
struct Stored {
    labels: usize,
    inverse_regularisation: f64,
    tf_idf: TfIdf,
    classes: Vec<u32>,
    intercepts: Vec<f32>,
    weights: Vec<f32>,
}

impl TryFrom<Stored> for LogisticRegression {
    type Error = Inconsistent;

    fn try_from(stored: Stored) -> Result<Self, Inconsistent> {
        let Stored { labels, inverse_regularisation, tf_idf, classes, intercepts, weights } = stored;
        if classes.is_empty() || classes.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(Inconsistent("the classes are not in ascending order, or there is none"));
        }
        if classes.iter().any(|&class| class as usize >= labels) {
            return Err(Inconsistent("a class is not below the number of labels"));
        }
        if labels > super::MOST_LABELS {
            return Err(Inconsistent("there are more labels than a stored floor may have"));
        }
        if intercepts.len() != classes.len()
            || Some(weights.len()) != tf_idf.vocabulary().len().checked_mul(classes.len())
        {
            return Err(Inconsistent(
                "weights and intercepts do not fit the numbers of features and classes",
            ));
        }
        if weights.iter().chain(&intercepts).any(|weight| !weight.is_finite()) {
            return Err(Inconsistent("a weight is not finite"));
        }
        Ok(Self { labels, inverse_regularisation, tf_idf, classes, intercepts, weights })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAIN: [(&str, usize); 6] = [
        ("card lost", 3),
        ("lost my card", 3),
        ("top up failed", 1),
        ("failed to top up", 1),
        ("exchange rate", 0),
        ("what rate do you use", 0),
    ];

    #[test]
    fn labels_without_examples_are_all_but_impossible() {
        let model = LogisticRegression::fit(&TRAIN, 5, 10.0).unwrap();
        let scores = model.predict("I lost it");
        assert_eq!(best_label(&scores), 3);
        assert_eq!((scores[2], scores[4]), (log_probability(0.0), log_probability(0.0)));
        assert_eq!(model.parameters(), 3 * (model.tf_idf.vocabulary().len() + 1));
    }

    #[test]
    fn one_class_is_certain() {
        let model = LogisticRegression::fit(&[("a card", 1), ("", 1)], 2, 10.0).unwrap();
        assert_eq!(model.predict("card")[1], 0.0);
    }

    // Without a single feature only the intercepts are left, and they fit the label frequencies exactly.
    #[test]
    fn without_features_the_frequencies_are_learnt() {
        let model =
            LogisticRegression::fit(&[("a", 0), ("b", 1), ("?", 1), ("", 2), ("c", 1)], 3, 1.0).unwrap();
        for (score, share) in model.predict("card").iter().zip([0.2_f32, 0.6, 0.2]) {
            assert!((score - share.ln()).abs() < 1e-5, "{score} {share}");
        }
    }

    #[test]
    fn the_choice_of_c_is_the_best_on_dev() {
        let dev = [("my card is lost", 3), ("top up", 1), ("the rate", 0), ("card rate", 0)];
        let chosen = LogisticRegression::fit_choosing(&TRAIN, &dev, 4).unwrap();
        let of_chosen = chosen.on(&dev);
        for value in INVERSE_REGULARISATIONS {
            let other = LogisticRegression::fit(&TRAIN, 4, value).unwrap().on(&dev);
            assert!(other.right <= of_chosen.right);
            assert!(other.right < of_chosen.right || other.log_loss > of_chosen.log_loss - 1e-5);
        }
        let without_dev = LogisticRegression::fit_choosing(&TRAIN, &[], 4).unwrap();
        assert_eq!(without_dev.inverse_regularisation(), DEFAULT_INVERSE_REGULARISATION);
        assert!(LogisticRegression::fit_choosing(&TRAIN, &[("x", 4)], 4).is_err());
    }

    #[test]
    fn fitting_is_deterministic() {
        let fit = || LogisticRegression::fit(&TRAIN, 4, 10.0).unwrap();
        assert_eq!(fit(), fit());
    }
}
