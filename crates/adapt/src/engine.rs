//! What the runner needs of a model: it scores, it trains, and it knows its chat template.

use std::sync::Arc;

use task::predictor::{Predictor, Trainer};
use task::prompt::ChatTemplate;

/// A model under both arms. The base stays untouched: every training starts from it.
pub trait Engine: Trainer {
    /// The untuned model.
    fn base(&self) -> Box<dyn Predictor + '_>;

    /// The model's chat template; `None` where it has none.
    fn chat_template(&self) -> Option<Arc<ChatTemplate>>;
}
