//! What can be wrong with a record, or with the numbers given to a statistical function.

/// Why a record does not make a comparison (it names the experiment, and the example where there is one), or numbers no statistic.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The finalists are not chosen yet: the test set is still closed.
    #[error("the test set has not been opened: the record names no finalists")]
    TestNotOpened,
    /// A finalist is not among the experiments.
    #[error("the {role} finalist `{experiment}` is not in the record")]
    UnknownFinalist {
        /// `in-context`, `fine-tuned` or `floor`.
        role: &'static str,
        /// The id that the record names.
        experiment: String,
    },
    /// A finalist is of another family than its role asks for.
    #[error("the {role} finalist `{experiment}` is of another family")]
    WrongFamily {
        /// `in-context`, `fine-tuned` or `floor`.
        role: &'static str,
        /// Its id.
        experiment: String,
    },
    /// A finalist was answered on another part than test.
    #[error("the finalist `{experiment}` was not answered on the test set")]
    NotOnTest {
        /// Its id.
        experiment: String,
    },
    /// Two experiments share one id.
    #[error("experiment `{experiment}` is in the record twice")]
    DuplicateExperiment {
        /// The id.
        experiment: String,
    },
    /// One example was answered twice in an experiment.
    #[error("experiment `{experiment}` answers example `{example}` twice")]
    DuplicateExample {
        /// The experiment's id.
        experiment: String,
        /// The example's id.
        example: String,
    },
    /// An experiment on test has no answers.
    #[error("experiment `{experiment}` has no predictions")]
    NoPredictions {
        /// Its id.
        experiment: String,
    },
    /// A label index is beyond the record's labels.
    #[error("experiment `{experiment}`, example `{example}`: label {index} of {labels}")]
    LabelOutOfRange {
        /// The experiment's id.
        experiment: String,
        /// The example's id.
        example: String,
        /// The index that is out of range, from 0.
        index: usize,
        /// How many labels the record has.
        labels: usize,
    },
    /// A text has another number of values than the task has metrics.
    #[error("experiment `{experiment}`, example `{example}`: {values} values for {metrics} metrics")]
    MetricCount {
        /// The experiment's id.
        experiment: String,
        /// The example's id.
        example: String,
        /// How many values it has.
        values: usize,
        /// How many metrics the task has.
        metrics: usize,
    },
    /// A text's value is outside 0..=1, or not a number.
    #[error("experiment `{experiment}`, example `{example}`: {metric} is {value}, but must lie in 0..=1")]
    MetricValue {
        /// The experiment's id.
        experiment: String,
        /// The example's id.
        example: String,
        /// The metric.
        metric: String,
        /// What it is.
        value: f64,
    },
    /// Two experiments that are to be paired did not answer the same examples.
    #[error("`{present}` answers example `{example}`, `{missing}` does not: they cannot be paired")]
    UnequalExamples {
        /// The experiment that has the example.
        present: String,
        /// The one that lacks it.
        missing: String,
        /// The example's id.
        example: String,
    },
    /// Two experiments disagree about the true label of an example.
    #[error("`{left}` and `{right}` disagree about the true label of example `{example}`")]
    GoldDiffers {
        /// One experiment.
        left: String,
        /// The other.
        right: String,
        /// The example's id.
        example: String,
    },
    /// A measured quantity of an experiment is negative, infinite or not a number.
    #[error("experiment `{experiment}`: {quantity} is {value}")]
    Quantity {
        /// The experiment's id.
        experiment: String,
        /// Which one.
        quantity: &'static str,
        /// What it is.
        value: f64,
    },
    /// The margin or the confidence makes no sense.
    #[error("decision: {key} is {value}, but must lie in {range}")]
    Decision {
        /// `margin` or `confidence`.
        key: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// A price, a volume or a life makes no sense.
    #[error("economics: {key} is {value}, but must be {range}")]
    Economics {
        /// The key of the task file.
        key: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// A number given to a statistical function makes no sense.
    #[error("{quantity} is {value}, but must be {range}")]
    Input {
        /// Which number.
        quantity: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// A sample is too small for what is asked of it.
    #[error("{have} {what} given, at least {need} needed")]
    TooFew {
        /// What there is too little of, in the plural.
        what: &'static str,
        /// How many there are.
        have: usize,
        /// How many are needed.
        need: usize,
    },
    /// Two lists that belong together differ in length.
    #[error("{have} {what} given where {need} are expected")]
    Length {
        /// What the list holds, in the plural.
        what: &'static str,
        /// Its length.
        have: usize,
        /// The length of what it belongs to.
        need: usize,
    },
}
