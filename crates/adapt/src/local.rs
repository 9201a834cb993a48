//! The engine of this workspace behind the traits of `task`: scoring, training and saving on the CPU.

mod embedding;
mod export;
mod scoring;
mod training;
mod writing;

use std::sync::{Arc, Mutex, PoisonError};

use lm::transformer::Transformer;
use lm::{Model, ModelSource, Precision, Use};
use task::predictor::{Embedded, PredictError, Predictor, PromptBatch, Scored, WritingBatch, Written};
use task::prompt::ChatTemplate;
use task::record::{ModelIdentity, Work};

use crate::engine::Engine;
use scoring::Weights;
pub(crate) use training::{file_sha256, is_adapter};

/// A model loaded into this process.
pub struct LocalModel {
    source: ModelSource,
    model: Model,
    /// The same weights in the arithmetic in which the base scores, where it is another one than training's.
    scoring: Option<Transformer>,
    /// What records call it.
    name: String,
    context: usize,
    /// The precision of training.
    precision: Precision,
    /// Whether training computes activations again instead of keeping them.
    recompute: bool,
    /// The constraint that was compiled last.
    constraint: writing::Compiled,
    /// What was computed so far.
    work: Mutex<Work>,
}

/// Sets the number of threads that the engine computes with; only the first call has an effect. Returns the number in force.
pub fn set_threads(threads: usize) -> usize {
    lm::threads::set(threads)
}

impl LocalModel {
    /// Loads `source`, called `name` in records. `context` lowers the number of tokens that a prompt and its answer may have.
    /// With [`Precision::Int8`] the base scores in 8 bits; training, and what is trained, stay in bf16.
    ///
    /// # Errors
    /// Those of [`Model::load`].
    pub fn load(
        source: &ModelSource,
        name: &str,
        precision: Precision,
        context: Option<usize>,
    ) -> Result<Self, lm::Error> {
        let coarse = precision == Precision::Int8;
        let precision = if coarse { Precision::Bf16 } else { precision };
        let model = Model::load(source, precision, Use::Frozen)?;
        let scoring = coarse.then(|| model.transformer.converted(Precision::Int8, Use::Inference));
        let context = model.config.context.min(context.unwrap_or(usize::MAX));
        Ok(Self {
            source: source.clone(),
            model,
            scoring,
            name: name.to_owned(),
            context,
            precision,
            recompute: false,
            constraint: Default::default(),
            work: Mutex::default(),
        })
    }

    /// The same model, whose training computes activations again where `recompute` asks for it, instead of keeping them: less
    /// memory, more time, the same results to the bit.
    #[must_use]
    pub fn recomputing(self, recompute: bool) -> Self {
        Self { recompute, ..self }
    }

    /// Counts what was computed.
    fn count(&self, tokens: u64, flops: f64) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        *work = work.plus(Work { tokens, flops });
    }

    /// Two operations for each parameter and token (Kaplan et al. 2020).
    fn forward_flops(&self, tokens: u64) -> f64 {
        2.0 * self.model.parameters() as f64 * tokens as f64
    }

    /// Counts tokens of a forward pass.
    fn count_forward(&self, tokens: u64) {
        self.count(tokens, self.forward_flops(tokens));
    }
}

impl Engine for LocalModel {
    fn work(&self) -> Work {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn base(&self) -> Box<dyn Predictor + '_> {
        let transformer = self.scoring.as_ref().unwrap_or(&self.model.transformer);
        Box::new(LocalPredictor { owner: self, weights: Weights { transformer, adapter: None } })
    }

    fn reference(&self) -> Option<Box<dyn Predictor + '_>> {
        let weights = Weights { transformer: &self.model.transformer, adapter: None };
        self.scoring
            .is_some()
            .then(|| Box::new(LocalPredictor { owner: self, weights }) as Box<dyn Predictor>)
    }

    fn chat_template(&self) -> Option<Arc<ChatTemplate>> {
        let template = lm::chat::ChatTemplate::new(self.model.chat_template.as_deref()?);
        let special = |id: Option<u32>| id.and_then(|id| self.model.tokenizer.token(id));
        let (bos, eos) = (special(self.model.tokenizer.bos()), special(self.model.tokenizer.eos()));
        Some(Arc::new(move |messages| {
            let template = template.as_ref().map_err(ToString::to_string)?;
            let turns: Vec<lm::chat::Message> = messages
                .iter()
                .map(|message| lm::chat::Message::new(message.role.as_str(), message.content.as_str()))
                .collect();
            let asks = messages.last().is_some_and(|last| last.role != task::prompt::Role::Assistant);
            let text = template.render(&turns, asks, bos.as_deref(), eos.as_deref())?;
            // The tokenizer puts the beginning-of-sequence token there itself.
            let own = bos.as_deref().and_then(|bos| text.strip_prefix(bos));
            Ok(own.map_or_else(|| text.clone(), str::to_owned))
        }))
    }
}

/// The base, or a tuned model at one moment of its training.
struct LocalPredictor<'a> {
    owner: &'a LocalModel,
    weights: Weights<'a>,
}

impl Predictor for LocalPredictor<'_> {
    fn identity(&self) -> ModelIdentity {
        let hash = self.owner.model.hash.hexadecimal();
        ModelIdentity {
            source: self.owner.name.clone(),
            parameters: self.owner.model.parameters(),
            // Weights that were read once and cannot be read again are not those of any record.
            sha256: hash.map_or_else(|error| format!("unknown: {error}"), str::to_owned),
        }
    }

    fn context(&self) -> usize {
        self.owner.context
    }

    fn count_tokens(&self, text: &str) -> Result<usize, PredictError> {
        Ok(self.owner.model.tokenizer.encode(text)?.len())
    }

    fn forward_flops(&self, tokens: u64) -> f64 {
        self.owner.forward_flops(tokens)
    }

    fn score(&mut self, batch: &PromptBatch<'_>) -> Result<Scored, PredictError> {
        let scored = scoring::score(self.owner, self.weights, batch)?;
        self.owner.count_forward(scored.usage.processed_tokens);
        Ok(scored)
    }

    fn write(&mut self, batch: &WritingBatch<'_>) -> Result<Written, PredictError> {
        let written = writing::write(self.owner, self.weights, batch)?;
        self.owner.count_forward(written.usage.processed_tokens);
        Ok(written)
    }

    fn embed(&mut self, texts: &[&str]) -> Result<Embedded, PredictError> {
        let embedded = embedding::embed(self.owner, self.weights, texts)?;
        self.owner.count_forward(embedded.tokens.iter().sum());
        Ok(embedded)
    }
}
