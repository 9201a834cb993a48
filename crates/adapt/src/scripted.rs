//! A model without weights: it answers as the most similar example in its prompt, or in what it was "trained" on, would.
//!
//! Deterministic and instant, so that the runner, the store and the command line can be tested as a whole. Its prompts and its
//! training have the effects that the real thing has: more demonstrations and more rows give better answers.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use task::predictor::{
    Control, Embedded, EpochReport, OnEpoch, PredictError, Predictor, PromptBatch, Scored, Trainer,
    TrainingJob, Tuned, Usage, WritingBatch, Written,
};
use task::prompt::ChatTemplate;
use task::record::{Artefact, ModelIdentity, TokensPerRequest};

use crate::digest::{hashed, hex};
use crate::engine::Engine;

/// The scripted model. A token is a word.
#[derive(Clone, Debug)]
pub struct ScriptedModel {
    /// Words that fit a prompt and an answer.
    pub context: usize,
    /// A learning rate at or above which training "diverges"; for tests of collapse.
    pub diverges_at: f64,
    /// A clock on which work takes as long as it says; `None`: the machine's clock counts.
    pub clock: Option<Arc<ScriptedClock>>,
}

/// Time that passes by work alone, the same on every machine. Estimates are taken from short prompts and one short training: with
/// a power other than 1, or trainings that take long to begin, they are wrong.
#[derive(Debug)]
pub struct ScriptedClock {
    /// Seconds of a prompt of one token.
    pub each: f64,
    /// A prompt of `n` tokens takes `each * n^power`.
    pub power: f64,
    /// Seconds of a trained token.
    pub trained: f64,
    /// Seconds of an epoch of more rows than the measurement has, beside its tokens.
    pub epoch: f64,
    seconds: Mutex<f64>,
}

/// Rows of an epoch that the measurement of speed has at most.
const MEASURED_ROWS: usize = 16;

impl ScriptedClock {
    /// A clock at zero.
    pub fn new(each: f64, power: f64, trained: f64, epoch: f64) -> Self {
        Self { each, power, trained, epoch, seconds: Mutex::new(0.0) }
    }

    fn pass(&self, seconds: f64) {
        *self.seconds.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += seconds;
    }

    fn now(&self) -> f64 {
        *self.seconds.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl ScriptedModel {
    /// Lets requests take their time; returns the seconds.
    fn ask(&self, prompts: impl Iterator<Item = usize>) -> f64 {
        match &self.clock {
            Some(clock) => {
                let seconds = prompts.map(|tokens| clock.each * (tokens as f64).powf(clock.power)).sum();
                clock.pass(seconds);
                seconds
            }
            None => 1e-3 * prompts.count().max(1) as f64,
        }
    }
}

impl Default for ScriptedModel {
    fn default() -> Self {
        Self { context: 100_000, diverges_at: f64::INFINITY, clock: None }
    }
}

/// What a scripted training leaves: the rows it saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Memory {
    rows: Vec<(String, String)>,
    seed: u64,
}

#[derive(Clone)]
struct ScriptedPredictor<'a> {
    model: &'a ScriptedModel,
    memory: Memory,
}

struct ScriptedTuned<'a> {
    predictor: ScriptedPredictor<'a>,
    tokens: u64,
}

fn words(text: &str) -> HashSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

fn length(text: &str) -> usize {
    text.split_whitespace().count()
}

/// A number in [0, 1) that depends on nothing but its arguments.
fn noise(seed: u64, text: &str) -> f64 {
    f64::from(hashed(text, seed) as u32) / f64::from(u32::MAX)
}

/// What requests took: a word is a token, and each prompt takes a millisecond. Written answers are processed, given ones are not.
fn usage(
    model: &ScriptedModel,
    shared: &str,
    prompts: &[String],
    answers: &[String],
    written: bool,
) -> Usage {
    let shared = length(shared);
    let total = |texts: &[String]| texts.iter().map(|text| length(text)).sum::<usize>();
    let (prompt, answer) = (total(prompts), total(answers));
    let requests = prompts.len().max(1) as f64;
    let own = prompt - shared * prompts.len() + if written { answer } else { 0 };
    Usage {
        tokens: TokensPerRequest {
            prompt: prompt as f64 / requests,
            cached: shared as f64,
            completion: answer as f64 / answers.len().max(1) as f64,
        },
        processed_tokens: (own + shared) as u64,
        shared_tokens: shared as u64,
        answer_tokens: 0,
        seconds: model.ask(prompts.iter().map(|text| length(text))),
        shared_seconds: if model.clock.is_some() { 0.0 } else { 1e-3 },
    }
}

/// Arrow prompts have an example on a line, the other styles an empty line between examples.
fn separator(prompt: &str) -> &'static str {
    if prompt.ends_with("->") { "\n" } else { "\n\n" }
}

/// How alike a known example and the `asked` words are.
fn overlap(known: &str, asked: &HashSet<String>) -> f64 {
    words(known).intersection(asked).count() as f64 / (words(known).len() + 1) as f64
}

impl ScriptedPredictor<'_> {
    /// The whole prompts.
    fn prompts(&self, shared: &str, requests: &[String]) -> Result<Vec<String>, PredictError> {
        let whole = |request: &String| {
            let text = format!("{shared}{request}");
            match length(&text) {
                tokens if tokens > self.model.context => {
                    Err(format!("{tokens} tokens do not fit the context of {}", self.model.context).into())
                }
                _ => Ok(text),
            }
        };
        requests.iter().map(whole).collect()
    }

    /// The answer of the example in the prompt or in memory that has most words in common with the query.
    fn most_similar(&self, prompt: &str) -> Option<String> {
        let mut blocks: Vec<&str> = prompt.split(separator(prompt)).collect();
        let asked = words(blocks.pop().unwrap_or_default());
        let shown =
            blocks.iter().filter_map(|block| block.rsplit_once("\nOutput: ").or(block.rsplit_once(" -> ")));
        let learnt =
            self.memory.rows.iter().map(|(prompt, completion)| (prompt.as_str(), completion.as_str()));
        let mut best: Option<(f64, &str)> = None;
        for (input, answer) in shown.chain(learnt) {
            let likeness = overlap(input, &asked);
            if best.is_none_or(|(highest, _)| likeness > highest) {
                best = Some((likeness, answer));
            }
        }
        Some(best?.1.trim().to_owned())
    }

    /// Overlap in words with the most similar known example of each answer, plus a little noise.
    fn log_probabilities(&self, prompt: &str, answers: &[String]) -> Vec<f64> {
        let mut blocks: Vec<&str> = prompt.split(separator(prompt)).collect();
        let query = blocks.pop().unwrap_or_default();
        let asked = words(query);
        let logits: Vec<f64> = answers
            .iter()
            .map(|answer| {
                let shown = blocks.iter().filter(|block| block.trim_end().ends_with(answer.trim_end()));
                let learnt = self.memory.rows.iter().filter(|(_, completion)| completion == answer);
                let best = shown
                    .map(|block| overlap(block, &asked))
                    .chain(learnt.map(|(prompt, _)| overlap(prompt, &asked)));
                8.0 * best.fold(0.0, f64::max) + 0.1 * noise(self.memory.seed, &format!("{query}|{answer}"))
            })
            .collect();
        let total = logits.iter().map(|logit| logit.exp()).sum::<f64>().ln();
        logits.into_iter().map(|logit| logit - total).collect()
    }
}

impl Predictor for ScriptedPredictor<'_> {
    fn identity(&self) -> ModelIdentity {
        ModelIdentity {
            source: "scripted".to_owned(),
            parameters: 1,
            sha256: hex(&Sha256::digest(b"scripted")),
        }
    }

    fn context(&self) -> usize {
        self.model.context
    }

    fn count_tokens(&self, text: &str) -> Result<usize, PredictError> {
        Ok(length(text))
    }

    fn forward_flops(&self, tokens: u64) -> f64 {
        2.0 * tokens as f64
    }

    fn score(&mut self, batch: &PromptBatch<'_>) -> Result<Scored, PredictError> {
        let prompts = self.prompts(batch.shared, batch.requests)?;
        let log_probabilities =
            prompts.iter().map(|text| self.log_probabilities(text, batch.answers)).collect();
        Ok(Scored {
            log_probabilities,
            complete: vec![true; prompts.len()],
            usage: usage(self.model, batch.shared, &prompts, batch.answers, false),
        })
    }

    /// Words counted in 32 places by their hash.
    fn embed(&mut self, texts: &[&str]) -> Result<Embedded, PredictError> {
        let vector = |text: &&str| {
            let mut counts = vec![0.0_f32; 32];
            words(text).iter().for_each(|word| counts[hashed(word, 0) as usize % 32] += 1.0);
            counts
        };
        Ok(Embedded {
            vectors: texts.iter().map(vector).collect(),
            tokens: texts.iter().map(|text| length(text) as u64).collect(),
            seconds: self.model.ask(texts.iter().map(|text| length(text))),
        })
    }

    /// The answer of the most similar known example; `{}` or nothing where none is known.
    fn write(&mut self, batch: &WritingBatch<'_>) -> Result<Written, PredictError> {
        let prompts = self.prompts(batch.shared, batch.requests)?;
        let texts: Vec<String> = prompts
            .iter()
            .map(|text| {
                let known = self.most_similar(text).unwrap_or_default();
                if batch.schema.is_some() && known.is_empty() { "{}".to_owned() } else { known }
            })
            .collect();
        let usage = usage(self.model, batch.shared, &prompts, &texts, true);
        Ok(Written { texts, usage })
    }
}

impl Tuned for ScriptedTuned<'_> {
    fn predictor(&mut self) -> Box<dyn Predictor + '_> {
        Box::new(self.predictor.clone())
    }

    fn save(&self, folder: &Path) -> Result<Artefact, PredictError> {
        std::fs::create_dir_all(folder)?;
        let bytes = serde_json::to_vec(&self.predictor.memory)?;
        task::atomic::write(&folder.join("memory.json"), &bytes)?;
        Ok(Artefact {
            kind: "memory".to_owned(),
            bytes: bytes.len() as u64,
            sha256: hex(&Sha256::digest(&bytes)),
            prompt_tokens: 0,
            path: Some(folder.display().to_string()),
        })
    }

    fn cost(&self) -> (u64, f64) {
        (self.tokens, 6.0 * self.tokens as f64)
    }
}

impl Trainer for ScriptedModel {
    fn train(
        &self,
        job: &TrainingJob,
        on_epoch: &mut OnEpoch<'_>,
    ) -> Result<Box<dyn Tuned + '_>, PredictError> {
        if job.learning_rate >= self.diverges_at {
            return Err(format!("training diverged at learning rate {}", job.learning_rate).into());
        }
        let rows: Vec<(String, String)> =
            job.rows.iter().map(|row| (row.prompt.clone(), row.completion.clone())).collect();
        let each: u64 =
            rows.iter().map(|(prompt, completion)| (length(prompt) + length(completion)) as u64).sum();
        let mut predictor = ScriptedPredictor { model: self, memory: Memory::default() };
        let mut best = Memory::default();
        let mut tokens = 0;
        for epoch in 1..=job.epochs {
            // Each epoch remembers a larger share of the rows; the last one all of them.
            let seen = (rows.len() * epoch).div_ceil(job.epochs);
            predictor.memory = Memory { rows: rows[..seen].to_vec(), seed: job.seed };
            tokens += each;
            if let Some(clock) = &self.clock {
                let more = if rows.len() > MEASURED_ROWS { clock.epoch } else { 0.0 };
                clock.pass(each as f64 * clock.trained + more);
            }
            let steps = (epoch * rows.len().div_ceil(job.optimizer.batch_rows.max(1))) as u32;
            let report = EpochReport { epoch, loss: 1.0 / epoch as f64, tokens, steps };
            let control = on_epoch(report, &mut predictor)?;
            if matches!(control, Control::Keep | Control::KeepAndStop) {
                best = predictor.memory.clone();
            }
            if matches!(control, Control::Stop | Control::KeepAndStop) {
                break;
            }
        }
        Ok(Box::new(ScriptedTuned { predictor: ScriptedPredictor { model: self, memory: best }, tokens }))
    }

    fn load(&self, folder: &Path) -> Result<Box<dyn Tuned + '_>, PredictError> {
        let memory = serde_json::from_slice(&std::fs::read(folder.join("memory.json"))?)?;
        Ok(Box::new(ScriptedTuned { predictor: ScriptedPredictor { model: self, memory }, tokens: 0 }))
    }
}

impl Engine for ScriptedModel {
    fn base(&self) -> Box<dyn Predictor + '_> {
        Box::new(ScriptedPredictor { model: self, memory: Memory::default() })
    }

    fn clock(&self) -> Option<f64> {
        self.clock.as_ref().map(|clock| clock.now())
    }

    fn chat_template(&self) -> Option<Arc<ChatTemplate>> {
        Some(Arc::new(|messages| {
            Ok(messages
                .iter()
                .map(|message| format!("{}: {}\n\n", message.role.as_str(), message.content))
                .collect())
        }))
    }
}
