//! What the runner needs of a model: it scores, it trains, and it knows its chat template.

use std::sync::Arc;

use task::predictor::{Predictor, Trainer};
use task::prompt::ChatTemplate;
use task::record::Work;

/// A model under both arms. The base stays untouched: every training starts from it.
pub trait Engine: Trainer {
    /// The untuned model.
    fn base(&self) -> Box<dyn Predictor + '_>;

    /// The untuned model in the arithmetic that training uses, where [`Engine::base`] scores in a coarser one.
    fn reference(&self) -> Option<Box<dyn Predictor + '_>> {
        None
    }

    /// What was computed since the engine was made, with the base and with what was tuned; nothing where it does not count.
    fn work(&self) -> Work {
        Work::default()
    }

    /// Seconds on a clock of its own, which counts instead of the machine's; `None`: the machine's counts.
    fn clock(&self) -> Option<f64> {
        None
    }

    /// The model's chat template; `None` where it has none.
    fn chat_template(&self) -> Option<Arc<ChatTemplate>>;
}
