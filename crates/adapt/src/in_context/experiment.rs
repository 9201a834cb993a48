//! What the answers to a prompt trial become in the record.

use std::collections::BTreeMap;

use eval::calibration;
use sha2::{Digest, Sha256};
use task::example::Example;
use task::predictor::Predictor;
use task::record::{Artefact, Calls, Experiment, Family, Part, Setup};
use task::settings::{Calibration, Order};

use super::{InContext, Trial, calibration_name, prediction, told};
use crate::demonstrations::DIVERSE_LAMBDA;
use crate::digest::hex;
use crate::plan::{PromptTrial, Selection};
use crate::writer::{LAYOUT, examples};

impl InContext<'_> {
    /// What had to be processed before the first request: the shared prefix once, and what the calibration reads.
    /// Hidden states that demonstrations are chosen by belong to it, too.
    pub(super) fn setup(
        &self,
        trial: &PromptTrial,
        calibration: Calibration,
        scores: &Trial,
        predictor: &dyn Predictor,
    ) -> Setup {
        let scored = &scores.usage;
        let requests = scores.requests.max(1) as f64;
        let own = (scored.processed_tokens - scored.shared_tokens) as f64 / requests;
        let own_seconds = (scored.seconds - scored.shared_seconds) / requests;
        let read = match calibration {
            Calibration::None => 0,
            Calibration::Contextual => scores.content_free.len(),
            Calibration::Batch => scores.rows.len(),
        } as f64;
        let [embedded, _] = self.effort(trial, &[]);
        let tokens = scored.shared_tokens + (own * read + embedded.tokens).round() as u64;
        Setup {
            seconds: scored.shared_seconds + own_seconds * read + embedded.seconds,
            tokens,
            flops: predictor.forward_flops(tokens),
        }
    }

    pub(super) fn experiment(
        &self,
        trial: &PromptTrial,
        calibration: Calibration,
        part: Part,
        scores: &Trial,
        prior: Option<&[f64]>,
    ) -> Experiment {
        let items = examples(self.dataset, part);
        let calibrated = |(example, (row, &complete)): (&Example, (&Vec<f64>, &bool))| {
            told(prediction(example, self.dataset, &calibration::apply(row, prior)), complete)
        };
        let predictions = match &scores.written {
            Some(written) => written.clone(),
            None => items.iter().zip(scores.rows.iter().zip(&scores.complete)).map(calibrated).collect(),
        };
        let mut configuration = BTreeMap::from([
            ("selection".to_owned(), trial.selection.name().into()),
            ("calibration".to_owned(), calibration_name(calibration).into()),
        ]);
        if trial.selection.per_request() || self.order == Order::Cycled {
            configuration.insert("order".to_owned(), serde_json::json!(self.order));
        }
        if trial.selection == Selection::Diverse {
            configuration.insert("lambda".to_owned(), DIVERSE_LAMBDA.into());
        }
        if trial.searched {
            configuration.insert(LAYOUT.to_owned(), serde_json::json!(self.writer.format().layout()));
        }
        if let Some(prior) = prior {
            configuration.insert("log_prior".to_owned(), prior.into());
        }
        let requests = scores.requests.max(1) as f64;
        let suffix = if part == Part::Test { "test" } else { "dev" };
        Experiment {
            id: format!("{}/{}@{suffix}", trial.name(), calibration_name(calibration)),
            family: Family::InContext,
            method: trial.method().to_owned(),
            labels_used: match trial.selection {
                Selection::ZeroShot => 0,
                Selection::Random => trial.shots,
                _ => self.dataset.train.len(),
            },
            shots: Some(trial.shots),
            seed: Some(trial.seed),
            configuration,
            part,
            predictions,
            tokens: scores.usage.tokens,
            setup: Setup::default(),
            seconds_per_request: (scores.usage.seconds - scores.usage.shared_seconds) / requests,
            artefact: Some(artefact(trial, scores)),
            collapse: None,
            calls: Calls { sha256: scores.sha256.clone(), timed: Vec::new() },
        }
    }
}

/// What a user keeps of a prompt: its shared text. Retrieval keeps the training set, whose size is not the prompt's.
fn artefact(trial: &PromptTrial, scores: &Trial) -> Artefact {
    Artefact {
        kind: if trial.selection.per_request() { "retrieval prompt" } else { "prompt" }.to_owned(),
        bytes: scores.shared.len() as u64,
        sha256: hex(&Sha256::digest(scores.shared.as_bytes())),
        prompt_tokens: scores.usage.shared_tokens,
        path: None,
    }
}
