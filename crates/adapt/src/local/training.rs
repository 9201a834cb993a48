//! Training with the local engine, and the weights that come out of it.

use std::path::Path;

use lm::adapter::{Lora, LoraConfig, LoraStart, LoraTarget};
use lm::train::{self, Decay, Trained, TrainingConfig, TrainingExample};
use lm::weights::Dtype;
use lm::{Model, ModelSource, Use, threads};
use sha2::{Digest, Sha256};
use task::predictor::{
    Control, EpochReport, LoraTargets, LoraVariant, OnEpoch, OptimizerSettings, PredictError, Predictor,
    RateSchedule, Trainer, TrainingJob, TrainingMethod, TrainingRow, Tuned,
};
use task::record::Artefact;

use super::scoring::{Weights, completion_tokens};
use super::{LocalModel, LocalPredictor};
use crate::digest::hex;
use crate::supervision::RowToken;

/// The file that tells an adapter folder from a model folder.
const ADAPTER_CONFIG: &str = "adapter_config.json";
/// How much faster B learns than A in LoRA+ (Hayou et al. 2024, section 5).
const FASTER_B: f32 = 16.0;

impl Trainer for LocalModel {
    fn train(
        &self,
        job: &TrainingJob,
        on_epoch: &mut OnEpoch<'_>,
    ) -> Result<Box<dyn Tuned + '_>, PredictError> {
        let examples: Result<Vec<TrainingExample>, PredictError> =
            job.rows.iter().map(|row| self.training_example(row)).collect();
        let mut examples = examples?;
        let mut config = self.training_config(job);
        if let (TrainingMethod::VirtualTokens { tokens }, train::Method::Lora(own)) =
            (job.method, &mut config.method)
        {
            // They begin as the first rows: demonstrations, which training then improves.
            own.virtual_start = examples.iter().flat_map(|one| &one.tokens).copied().take(tokens).collect();
            self.put_virtual_tokens(&mut examples, tokens)?;
        }
        let mut trainer = train::Trainer::new(&self.model.transformer, config, &examples)?;
        if !job.weights.is_empty() {
            trainer = trainer.weighted(job.weights.clone())?;
        }
        let mut best = None;
        let (mut tokens, mut flops) = (0, 0.0);
        for epoch in 1..=job.epochs {
            let (mut loss, mut supervised, mut steps) = (0.0, 0, 0);
            for _ in 0..trainer.steps_per_epoch() {
                let step = threads::within(|| trainer.step())?;
                loss += step.loss * step.supervised as f64;
                supervised += step.supervised;
                tokens += step.tokens as u64;
                flops += step.flops.total();
                self.count(step.tokens as u64, step.flops.total());
                steps = step.step;
            }
            let report = EpochReport { epoch, loss: loss / supervised.max(1) as f64, tokens, steps };
            let (transformer, adapter) = trainer.model();
            let mut predictor = LocalPredictor { owner: self, weights: Weights { transformer, adapter } };
            let control = on_epoch(report, &mut predictor)?;
            if matches!(control, Control::Keep | Control::KeepAndStop) {
                best = (epoch < job.epochs).then(|| trainer.snapshot());
            }
            if matches!(control, Control::Stop | Control::KeepAndStop) {
                break;
            }
        }
        if let Some(best) = &best {
            trainer.restore(best);
        }
        Ok(Box::new(LocalTuned { owner: self, trained: trainer.into_trained(), tokens, flops }))
    }

    fn load(&self, folder: &Path) -> Result<Box<dyn Tuned + '_>, PredictError> {
        let trained = if is_adapter(folder) {
            let mut adapter = Lora::load(folder, &self.model.config)?;
            adapter.attach(&self.model.transformer);
            Trained::Lora(Box::new(adapter))
        } else {
            let source = ModelSource::Folder(folder.to_path_buf());
            Trained::Full(Box::new(Model::load(&source, self.precision, Use::Inference)?.transformer))
        };
        Ok(Box::new(LocalTuned { owner: self, trained, tokens: 0, flops: 0.0 }))
    }
}

impl LocalModel {
    fn training_config(&self, job: &TrainingJob) -> TrainingConfig {
        let mut config = match job.method {
            TrainingMethod::Lora { rank, alpha, variant, targets } => {
                let targets = match targets {
                    LoraTargets::All => LoraTarget::ALL.to_vec(),
                    LoraTargets::Attention => LoraTarget::ATTENTION.to_vec(),
                    LoraTargets::Mlp => LoraTarget::FEED_FORWARD.to_vec(),
                };
                TrainingConfig::lora(LoraConfig {
                    alpha,
                    seed: job.seed,
                    targets,
                    rank_stabilized: variant == LoraVariant::RankStabilized,
                    magnitudes: variant == LoraVariant::Dora,
                    start: match variant {
                        LoraVariant::Pissa => LoraStart::Principal,
                        _ => LoraStart::Uniform,
                    },
                    ..LoraConfig::with_rank(rank)
                })
            }
            TrainingMethod::Full => TrainingConfig::full(),
            TrainingMethod::VirtualTokens { tokens } => {
                TrainingConfig::lora(LoraConfig { seed: job.seed, ..LoraConfig::prefix(tokens) })
            }
        };
        config.learning_rate = job.learning_rate;
        if matches!(job.method, TrainingMethod::Lora { variant: LoraVariant::LoraPlus, .. }) {
            // Around the stated rate, so that the same candidates serve.
            config.b_rate = FASTER_B;
            config.learning_rate /= f64::from(FASTER_B).sqrt();
        }
        config.epochs = u32::try_from(job.epochs).unwrap_or(u32::MAX);
        step_as(&mut config, &job.optimizer);
        config.seed = job.seed;
        config.precision = self.precision;
        config.recompute = self.recompute;
        config
    }

    /// Puts virtual tokens before every example.
    fn put_virtual_tokens(
        &self,
        examples: &mut [TrainingExample],
        tokens: usize,
    ) -> Result<(), PredictError> {
        let config = LoraConfig::virtual_tokens(tokens);
        for example in examples {
            example.tokens.splice(0..0, config.virtual_ids(self.model.config.vocabulary));
            example.supervised_from += tokens;
            if example.tokens.len() > self.context {
                return Err(lm::Error::Context { needed: example.tokens.len(), limit: self.context }.into());
            }
        }
        Ok(())
    }

    /// The tokens of a row. Refuses rows from which nothing, or the wrong thing, would be learned: without a supervised token,
    /// without the end of the answer, with the beginning-of-sequence token twice, or cut off by the context.
    fn training_example(&self, row: &TrainingRow) -> Result<TrainingExample, PredictError> {
        let tokenizer = &self.model.tokenizer;
        let mut tokens = tokenizer.encode(&row.prompt)?;
        let completion = completion_tokens(self, &row.prompt, &tokens, &row.completion)?;
        if completion.is_empty() {
            return Err(format!("nothing is supervised in the row {:?}", short(&row.prompt)).into());
        }
        let ends = row.completion.ends_with('\n')
            || completion.last().is_some_and(|last| self.model.config.eos.contains(last));
        if !ends {
            return Err(
                format!("no end after the answer {:?}: it would never stop", short(&row.completion)).into()
            );
        }
        let twice = |bos: u32| tokens.len() > 1 && tokens[..2] == [bos, bos];
        if tokenizer.bos().is_some_and(twice) {
            return Err(
                "the beginning-of-sequence token stands twice: the template has one of its own".into()
            );
        }
        let supervised_from = tokens.len();
        tokens.extend(completion);
        if tokens.len() > self.context {
            let (needed, held) = (tokens.len(), self.context);
            let text = short(&row.prompt);
            return Err(format!(
                "the row {text:?} has {needed} tokens, the context holds {held}: its answer would be cut off"
            )
            .into());
        }
        Ok(TrainingExample { tokens, supervised_from })
    }

    /// The tokens of a row with their texts, as [`Trainer::train`] has them.
    pub(crate) fn row_tokens(&self, row: &TrainingRow) -> Result<Vec<RowToken>, PredictError> {
        let example = self.training_example(row)?;
        let text = |id: u32| self.model.tokenizer.decode(&[id], false);
        let tokens = example.tokens.iter().enumerate().map(|(place, &id)| {
            Ok(RowToken { id, text: text(id)?, supervised: place >= example.supervised_from })
        });
        tokens.collect()
    }
}

/// Sets how the optimiser steps, as far as the kind of training allows.
fn step_as(config: &mut TrainingConfig, optimizer: &OptimizerSettings) {
    config.batch_examples = optimizer.batch_rows;
    config.pass_examples = optimizer.pass_rows;
    config.warmup_share = optimizer.warmup_share;
    config.decay = match optimizer.schedule {
        RateSchedule::Linear => Decay::Linear,
        RateSchedule::Cosine => Decay::Cosine { floor: 0.0 },
        RateSchedule::Constant => Decay::Constant,
    };
    config.clip_norm = Some(optimizer.clip_norm as f32).filter(|&norm| norm > 0.0);
    config.weight_decay = optimizer.weight_decay as f32;
    if let train::Method::Lora(lora) = &mut config.method {
        // The frozen directions would decay, too; magnitudes are divided by norms of all inputs.
        if lora.start == LoraStart::Principal {
            config.weight_decay = 0.0;
        }
        lora.dropout = if lora.magnitudes { 0.0 } else { optimizer.dropout };
    }
}

/// The beginning of a text, for messages.
fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Whether a folder holds an adapter, not a model.
pub(crate) fn is_adapter(folder: &Path) -> bool {
    folder.join(ADAPTER_CONFIG).is_file()
}

/// Tuned weights on the model they came from.
pub(super) struct LocalTuned<'a> {
    pub(super) owner: &'a LocalModel,
    pub(super) trained: Trained,
    pub(super) tokens: u64,
    pub(super) flops: f64,
}

impl LocalTuned<'_> {
    fn weights(&self) -> Weights<'_> {
        match &self.trained {
            Trained::Lora(adapter) => {
                Weights { transformer: &self.owner.model.transformer, adapter: Some(adapter) }
            }
            Trained::Full(transformer) => Weights { transformer, adapter: None },
        }
    }
}

impl Tuned for LocalTuned<'_> {
    fn predictor(&mut self) -> Box<dyn Predictor + '_> {
        Box::new(LocalPredictor { owner: self.owner, weights: self.weights() })
    }

    fn save(&self, folder: &Path) -> Result<Artefact, PredictError> {
        // What a killed run left half written is no part of the artefact.
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        let (kind, weights) = match &self.trained {
            Trained::Lora(adapter) => {
                adapter.save(folder, &self.owner.name)?;
                let kind = if adapter.config().virtual_tokens > 0 { "virtual_tokens" } else { "adapter" };
                (kind, "adapter_model.safetensors")
            }
            Trained::Full(transformer) => {
                transformer.save(folder, Dtype::Bf16)?;
                let tokenizer = self.owner.model.tokenizer.to_json()?;
                task::atomic::write(&folder.join("tokenizer.json"), tokenizer.as_bytes())?;
                ("model", "model.safetensors")
            }
        };
        let mut bytes = 0;
        for entry in std::fs::read_dir(folder)? {
            bytes += entry?.metadata()?.len();
        }
        Ok(Artefact {
            kind: kind.to_owned(),
            bytes,
            sha256: file_sha256(&folder.join(weights))?,
            prompt_tokens: match &self.trained {
                Trained::Lora(adapter) => adapter.config().virtual_tokens as u64,
                Trained::Full(_) => 0,
            },
            path: folder.file_name().map(|name| format!("artefacts/{}", name.to_string_lossy())),
        })
    }

    fn cost(&self) -> (u64, f64) {
        (self.tokens, self.flops)
    }
}

/// SHA-256 of a file, hexadecimal.
pub(crate) fn file_sha256(path: &Path) -> Result<String, PredictError> {
    let mut hasher = Sha256::new();
    let mut file = std::fs::File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}
