//! What can go wrong while the arms run.

use task::predictor::PredictError;

/// An error of this crate; it names the experiment, the prompt or the example at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The task, its data or the run store.
    #[error(transparent)]
    Task(#[from] task::Error),
    /// The record does not make a comparison.
    #[error(transparent)]
    Eval(#[from] eval::Error),
    /// A floor could not be fitted.
    #[error(transparent)]
    Floor(#[from] crate::floor::FloorError),
    /// The user's metric failed.
    #[error("task.metric_command: {0}")]
    MetricCommand(#[from] crate::metric_command::MetricCommandError),
    /// The model could not answer or train.
    #[error("{experiment}: {source}")]
    Model {
        /// What was being run.
        experiment: String,
        /// The model's own error.
        source: PredictError,
    },
    /// Not even the smallest prompt of a kind fits the model's context.
    #[error("{what} needs {needed} tokens, but the model's context holds {limit}")]
    Context {
        /// The prompt that does not fit.
        what: String,
        /// Tokens that it needs.
        needed: usize,
        /// Tokens that the model holds.
        limit: usize,
    },
    /// What a run found cannot be shipped as asked.
    #[error("{what}: {reason}")]
    Shipping {
        /// The experiment or the file.
        what: String,
        /// Why not.
        reason: String,
    },
    /// The session was to stop after so many seconds.
    #[error(
        "stopped after {limit} seconds, as asked; what is done is stored, and the same command goes on with it"
    )]
    Stopped {
        /// The limit.
        limit: f64,
    },
    /// The person who runs it wanted it to stop ([`crate::observer::Observer::wants_stop`]); everything before is stored.
    #[error("stopped before the end; everything that ended is stored")]
    Interrupted,
    /// Nothing was left to compare.
    #[error("no {0} experiment could be run; see the reasons above")]
    NothingRan(&'static str),
}

impl Error {
    /// Whether it is the user's metric that failed: no fault of an arm, so the run stops instead of going on without a result.
    pub(crate) fn is_metric(&self) -> bool {
        matches!(self, Self::MetricCommand(_))
    }

    /// Names the experiment that a model's error belongs to.
    pub(crate) fn model(experiment: &str) -> impl FnOnce(PredictError) -> Self + '_ {
        // An error of this crate that came back through the model's own keeps its kind.
        move |source| match source.downcast::<Self>() {
            Ok(own) => *own,
            Err(source) => Self::Model { experiment: experiment.to_owned(), source },
        }
    }
}
