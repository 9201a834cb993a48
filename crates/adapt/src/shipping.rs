//! What a run found best, as files that other programs read, checked against what was measured.
//!
//! A prompt becomes `prompt.json` and `prompt.txt`, an adapter a PEFT folder or a GGUF file, a tuned model a Hugging Face folder or
//! a GGUF file. Whatever was written is read back and answers the dev examples again; where its answers are not those of the
//! record, nothing is shipped. (Dev, because the test set is opened once.)

mod prompt_program;
mod shipment;
mod weights;

use std::path::Path;

use serde::Serialize;
use task::dataset::Dataset;
use task::example::Example;
use task::predictor::{PredictError, Predictor, PromptBatch, Wanted};
use task::prompt::Rendered;
use task::record::{Experiment, Family, Part, Prediction, RunRecord};
use task::settings::Settings;

pub use crate::demonstrations::Rule;
pub use crate::embedding::{Code, Space};
pub use prompt_program::{Demonstration, PromptProgram};
pub use shipment::{Recheck, Shipment, ShippedFile};
use shipment::{differs, files, recheck};
pub use weights::Weights;

use crate::Error;
use crate::answering::{answer, fingerprints};
use crate::embedding::Embedder;
use crate::engine::Engine as _;
use crate::fine_tune::FineTune;
use crate::hybrid;
use crate::in_context::{InContext, prediction};
use crate::local::LocalModel;
use crate::plan::Plan;
use crate::writer::{PromptWriter, examples, inputs, target_index};

/// Share of the dev answers that must stay as they were: weights may be rounded to another format, prompts must not change.
const SAME: f64 = 0.99;

/// A finished run and the model that it was made with.
pub struct Shipping<'a> {
    /// The resolved task file.
    pub settings: &'a Settings,
    /// The locked split.
    pub dataset: &'a Dataset,
    /// The model.
    pub engine: &'a LocalModel,
    /// The record.
    pub record: &'a RunRecord,
    /// The run's plan.
    pub plan: &'a Plan,
    /// Where the run keeps its weights.
    pub artefacts: &'a Path,
}

impl Shipping<'_> {
    /// Writes the prompt that was measured as `experiment` (on test) into `folder`.
    ///
    /// # Errors
    /// [`Error::Shipping`] where the record has no such prompt, or the file would not give the prompts or the answers that were measured.
    pub fn prompt(&self, experiment: &str, folder: &Path) -> Result<Shipment, Error> {
        let dev = self.dev_experiment(experiment, Family::InContext)?;
        let writer = PromptWriter::new(self.settings, self.dataset, self.engine)?.of(dev, self.dataset)?;
        let embedder = Embedder::new(Some(self.engine), Some(self.artefacts.to_path_buf()));
        let targets = self.targets();
        let arm = InContext::new(&writer, self.dataset, &targets, self.settings.in_context.order, &embedder);
        let trial = self.plan.prompt_of(dev).ok_or_else(|| Error::Shipping {
            what: dev.id.clone(),
            reason: "the run's plan does not have this prompt".to_owned(),
        })?;
        let items = examples(self.dataset, Part::Dev);
        let measured = arm.prompts(trial, &inputs(items))?;
        let retrieved = trial.selection.per_request();
        let block = arm.block(trial);
        let program = PromptProgram {
            retrieval: retrieved.then(|| arm.rule(trial)),
            space: arm.space(trial),
            demonstrations: outputs(if retrieved {
                self.dataset.train.iter().collect()
            } else {
                block.clone()
            }),
            log_prior: dev.setting("log_prior"),
            ..self.program(&writer, &block, &measured, dev, experiment)
        };
        let place = |input: &str| {
            embedder.near(input, |near| {
                near.map(|(_, code)| code.clone()).ok_or_else(crate::embedding::unembedded)
            })
        };
        let (read, prompts) = self.write_program(&program, folder, &place)?;
        let mut base = self.engine.base();
        let answers = if writer.texts().is_some() {
            answer(&writer, self.dataset, items, &prompts, base.as_mut())
                .map_err(Error::model("prompt.json"))?
                .predictions
        } else {
            self.choose(&read, &prompts, base.as_mut()).map_err(Error::model("prompt.json"))?
        };
        let recheck = recheck("prompt.json", dev, &answers);
        if recheck.same < recheck.items {
            return Err(refused(&folder.join("prompt.json"), &differs(&recheck)));
        }
        self.finish(experiment, folder, vec![recheck])
    }

    /// Writes the weights that were measured as `experiment` (on test) into `folder`.
    ///
    /// # Errors
    /// [`Error::Shipping`] where the record has no such weights, a form that they cannot take, or answers that differ.
    pub fn weights(&self, experiment: &str, weights: Weights, folder: &Path) -> Result<Shipment, Error> {
        let hybrid = self.dev_experiment(experiment, Family::Hybrid);
        let dev = hybrid.or_else(|_| self.dev_experiment(experiment, Family::FineTune))?;
        let name = dev.id.trim_end_matches("@dev").replace('/', "-");
        let source = self.artefacts.join(name);
        if !source.is_dir() {
            return Err(refused(&source, "the run kept no weights there"));
        }
        let writer = PromptWriter::new(self.settings, self.dataset, self.engine)?;
        let targets = self.targets();
        let optimizer = self.settings.fine_tune.optimizer;
        let arm = FineTune { writer: &writer, dataset: self.dataset, targets: &targets, optimizer };
        let written = weights.write(self.engine, &source, folder)?;
        let at = written.path.display().to_string();
        let mut tuned = written.open(self.engine).map_err(Error::model(&at))?;
        let shown = hybrid::demonstrations(self.dataset, &targets, dev.shots.unwrap_or(0));
        let answers = arm.answer(Part::Dev, &shown, tuned.predictor().as_mut()).map_err(Error::model(&at))?;
        if !shown.is_empty() {
            self.prompt_before(&writer, &shown, dev, experiment, folder)?;
        }
        let recheck = recheck(written.name(), dev, &answers.predictions);
        if (recheck.same as f64) < SAME * recheck.items as f64 {
            return Err(refused(&written.path, &differs(&recheck)));
        }
        self.finish(experiment, folder, vec![recheck])
    }

    /// The dev experiment behind the one on test.
    fn dev_experiment(&self, experiment: &str, family: Family) -> Result<&Experiment, Error> {
        let id = format!("{}@dev", experiment.trim_end_matches("@test"));
        let found = self.record.experiments.iter().find(|one| one.id == id && one.family == family);
        found.ok_or_else(|| Error::Shipping {
            what: experiment.to_owned(),
            reason: "no such result".to_owned(),
        })
    }

    /// The index of each training row's label.
    fn targets(&self) -> Vec<usize> {
        self.dataset.train.iter().map(|example| target_index(self.dataset, example)).collect()
    }

    /// Writes the prompt that goes before every request to weights that were tuned after demonstrations.
    fn prompt_before(
        &self,
        writer: &PromptWriter,
        shown: &[&Example],
        dev: &Experiment,
        experiment: &str,
        folder: &Path,
    ) -> Result<(), Error> {
        let items = inputs(examples(self.dataset, Part::Dev));
        let measured = writer.prompts(shown, &items)?;
        let program = self.program(writer, shown, &measured, dev, experiment);
        let place = |_: &str| Err(crate::embedding::unembedded());
        self.write_program(&program, folder, &place).map(drop)
    }

    /// Writes `prompt.json` and `prompt.txt`, and reads back the program and the prompts that it gives for the dev examples.
    fn write_program(
        &self,
        program: &PromptProgram,
        folder: &Path,
        place: &dyn Fn(&str) -> Result<Code, PredictError>,
    ) -> Result<(PromptProgram, Rendered), Error> {
        let path = folder.join("prompt.json");
        write_json(&path, program)?;
        task::atomic::write(&folder.join("prompt.txt"), self.shown(program, place)?.as_bytes())?;
        let read = PromptProgram::read(&path).map_err(Error::model("prompt.json"))?;
        let items = inputs(examples(self.dataset, Part::Dev));
        let prompts = read
            .prompts_near(&items, self.engine.chat_template(), place)
            .map_err(Error::model("prompt.json"))?;
        if fingerprints(&prompts) != program.prompts_sha256 {
            return Err(refused(&path, "it does not give the prompts that were measured, byte for byte"));
        }
        Ok((read, prompts))
    }

    /// The program of a prompt with the demonstrations `block`, which gave the prompts `measured`.
    fn program(
        &self,
        writer: &PromptWriter,
        block: &[&Example],
        measured: &Rendered,
        dev: &Experiment,
        experiment: &str,
    ) -> PromptProgram {
        let layout = writer.format().layout();
        let pairs: Vec<(&str, &str)> =
            block.iter().map(|one| (one.input.as_str(), one.target.as_str())).collect();
        // Runs of earlier versions recorded no hashes: there the prompts are rendered again.
        let recorded = Some(dev.calls.sha256.clone()).filter(|hashes| !hashes.is_empty());
        PromptProgram {
            format: PromptProgram::FORMAT,
            task: self.record.task.name.clone(),
            model: self.record.model.clone(),
            experiment: experiment.to_owned(),
            messages: writer.format().messages(&layout.instruction, &pairs),
            layout,
            retrieval: None,
            space: None,
            shared: measured.shared.clone(),
            labels: self.record.labels.clone(),
            answers: writer.answers().to_vec(),
            log_prior: None,
            schema: self.settings.task.answers.as_ref().and_then(|answers| answers.schema.clone()),
            prompts_sha256: recorded.unwrap_or_else(|| fingerprints(measured)),
            demonstrations: outputs(block.to_vec()),
        }
    }

    /// A prompt as a person reads it: the one for the first dev example.
    fn shown(
        &self,
        program: &PromptProgram,
        place: &dyn Fn(&str) -> Result<Code, PredictError>,
    ) -> Result<String, Error> {
        let first: Vec<&str> = inputs(examples(self.dataset, Part::Dev)).into_iter().take(1).collect();
        let one = program
            .prompts_near(&first, self.engine.chat_template(), place)
            .map_err(Error::model("prompt.json"))?;
        Ok(one.shared + one.requests.first().map_or("", String::as_str))
    }

    /// The labels that the program chooses for the dev examples.
    fn choose(
        &self,
        program: &PromptProgram,
        prompts: &Rendered,
        predictor: &mut dyn Predictor,
    ) -> Result<Vec<Prediction>, PredictError> {
        let batch = PromptBatch {
            shared: &prompts.shared,
            requests: &prompts.requests,
            answers: &program.answers,
            wanted: Wanted::All,
        };
        let scored = predictor.score(&batch)?;
        let items = examples(self.dataset, Part::Dev).iter().zip(&scored.log_probabilities);
        let prior = program.log_prior.as_deref();
        Ok(items
            .map(|(example, row)| prediction(example, self.dataset, &eval::calibration::apply(row, prior)))
            .collect())
    }

    /// Lists what lies in `folder` and writes `shipment.json`, last.
    fn finish(&self, experiment: &str, folder: &Path, rechecks: Vec<Recheck>) -> Result<Shipment, Error> {
        let test = self.record.experiments.iter().find(|one| one.id == experiment);
        let shipment = Shipment {
            task: self.record.task.name.clone(),
            model: self.record.model.clone(),
            experiment: experiment.to_owned(),
            test_score: test.map_or(0.0, Experiment::mean_score),
            data_sha256: self.record.task.data_sha256.clone(),
            files: files(folder)?,
            rechecks,
        };
        write_json(&folder.join("shipment.json"), &shipment)?;
        Ok(shipment)
    }
}

fn outputs(shown: Vec<&Example>) -> Vec<Demonstration> {
    let pair =
        |example: &Example| Demonstration { input: example.input.clone(), output: example.target.clone() };
    shown.into_iter().map(pair).collect()
}

fn refused(path: &Path, reason: &str) -> Error {
    Error::Shipping { what: path.display().to_string(), reason: reason.to_owned() }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::Shipping { what: path.display().to_string(), reason: error.to_string() })?;
    text.push('\n');
    Ok(task::atomic::write(path, text.as_bytes())?)
}
