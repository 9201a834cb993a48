//! One run of the product in a world: its real pipeline, on rows drawn from the world, with so much effort and no more.

use std::path::Path;

use adapt::engine::Engine;
use adapt::local::LocalModel;
use adapt::observer::Silent;
use adapt::runner::Run;
use anyhow::{Context, Result, ensure};
use eval::comparison::Comparison;
use eval::contrast::Outcome;
use eval::verdict::Choice;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use task::dataset::{Dataset, Source, Sources};
use task::record::RunRecord;
use task::settings::Settings;
use task::store::Store;

use crate::micro::labelled::Row;

/// What a run may do. The time is not limited: a busy machine must not change a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Effort {
    /// Numbers of demonstrations.
    pub(super) shots: Vec<usize>,
    /// Draws of each.
    pub(super) draws: usize,
    /// Parts of the training rows to train on: 4 is a quarter.
    pub(super) parts: Vec<usize>,
    /// Trainings at each.
    pub(super) seeds: usize,
    /// Learning rates to choose from.
    pub(super) rates: usize,
    /// Dev rows.
    pub(super) dev: usize,
    /// Test rows.
    pub(super) test: usize,
    /// Whether the test set may be left early.
    pub(super) early_stopping: bool,
}

impl Effort {
    /// Everything: many draws and seeds, and a large test set that is answered whole.
    pub(super) fn exhaustive() -> Self {
        Self {
            shots: vec![0, 4, 8, 16, 32],
            draws: 5,
            parts: vec![4, 2, 1],
            seeds: 4,
            rates: 2,
            dev: 160,
            test: 1000,
            early_stopping: false,
        }
    }

    /// About a tenth of that.
    pub(super) fn budgeted() -> Self {
        Self {
            shots: vec![16, 32],
            draws: 2,
            parts: vec![1],
            seeds: 2,
            rates: 1,
            dev: 64,
            test: 400,
            early_stopping: true,
        }
    }

    /// The same with dev and test sets that a world with few rows can give.
    pub(super) fn scaled(&self, share: f64) -> Self {
        let part = |rows: usize| (rows as f64 * share.min(1.0)) as usize;
        Self { dev: part(self.dev).max(32), test: part(self.test), ..self.clone() }
    }
}

/// How the model is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Manner {
    /// `prompt.style`.
    pub(super) style: String,
    /// Peak learning rates of LoRA, the default first.
    pub(super) rates: [f64; 2],
}

/// The rows of a run.
pub(super) struct Sample {
    pub(super) train: Vec<Row>,
    pub(super) dev: Vec<Row>,
    pub(super) test: Vec<Row>,
    /// In which order the training rows stand: draws of demonstrations, subsets and batches follow it.
    pub(super) seed: u64,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Trial {
    /// The verdict.
    pub(super) choice: Choice,
    /// The contrast of the two arms alone.
    pub(super) outcome: Outcome,
    /// Fine-tuned less in-context on test, with the ends of its interval.
    pub(super) difference: [f64; 3],
    /// Accuracies on test of the finalists: in-context, fine-tuned, floor.
    pub(super) scores: [Option<f64>; 3],
    /// The finalists.
    pub(super) finalists: [String; 2],
    /// Test items that were asked, of so many.
    pub(super) items: [usize; 2],
    /// What was computed, in tokens of a forward pass: the operations that the engine counted, by two for each parameter. Everything
    /// counts, the measuring of speeds and waiting times too.
    pub(super) tokens: f64,
    /// Seconds, on whatever else the machine did.
    pub(super) seconds: f64,
}

impl Trial {
    /// Runs `effort` on `sample` in `folder`, which is removed afterwards; the record is kept as `kept`.
    pub(super) fn run(
        engine: &LocalModel,
        manner: &Manner,
        sample: &Sample,
        effort: &Effort,
        [folder, kept]: [&Path; 2],
    ) -> Result<Self> {
        let (clock, before) = (std::time::Instant::now(), engine.work());
        clear(folder)?;
        let settings = Settings::from_str(&task_file(manner, sample.train.len(), effort), folder)?;
        let dataset = dataset(&settings, sample)?;
        let mut store = Store::open(&folder.join("run"), &settings.fingerprint())?;
        let run = Run {
            settings: &settings,
            dataset: &dataset,
            engine,
            store: &mut store,
            observer: &mut Silent,
            stop_after: None,
        };
        let record = run.execute()?;
        let computed = engine.work().less(before).flops;
        drop(store);
        clear(folder)?;
        let per_token = 2.0 * engine.base().identity().parameters as f64;
        let trial = Self::new(&record, computed / per_token, clock.elapsed().as_secs_f64())?;
        ensure!(trial.tokens > 0.0, "the engine counted nothing");
        task::atomic::write(kept, &serde_json::to_vec(&record)?)?;
        Ok(trial)
    }

    /// What the rules of today say of the record `kept` of this run; `None` where it is not there. A test set that was left early stays
    /// left there.
    pub(super) fn judged_again(&self, kept: &Path) -> Result<Option<Self>> {
        if !kept.exists() {
            return Ok(None);
        }
        let bytes = std::fs::read(kept).with_context(|| kept.display().to_string())?;
        let record = serde_json::from_slice(&bytes).with_context(|| kept.display().to_string())?;
        Self::new(&record, self.tokens, self.seconds).map(Some)
    }

    fn new(record: &RunRecord, tokens: f64, seconds: f64) -> Result<Self> {
        let comparison = Comparison::from_record(record)?;
        let finalists = record.finalists.as_ref().context("a run without finalists")?;
        let score = |id: &String| {
            let found = record.experiments.iter().find(|experiment| experiment.id == *id);
            found.map(task::record::Experiment::mean_score)
        };
        let difference = &comparison.contrast.difference;
        let available = record.task.items.test;
        Ok(Self {
            choice: comparison.verdict.choice,
            outcome: comparison.contrast.outcome,
            difference: [difference.value, difference.low, difference.high],
            scores: [&finalists.in_context, &finalists.fine_tune, &finalists.floor].map(score),
            finalists: [finalists.in_context.clone(), finalists.fine_tune.clone()],
            items: [record.test_stop.map_or(available, |stop| stop.answered), available],
            tokens,
            seconds,
        })
    }
}

/// The task file of a run.
fn task_file(manner: &Manner, train: usize, effort: &Effort) -> String {
    let labels: Vec<usize> = effort.parts.iter().map(|part| (train / part).max(8).min(train)).collect();
    let rates = &manner.rates[..effort.rates.min(manner.rates.len())];
    format!(
        "[task]\nname = \"world\"\n[data]\nnear_duplicates = false\nlabel_underscores = \"space\"\n\
         [prompt]\nstyle = \"{}\"\n\
         [in_context]\nshots = {:?}\nseeds = {}\nselection = [\"random\"]\nsearch = false\n\
         [fine_tune]\nmethods = [\"lora\"]\nlabels = {labels:?}\nseeds = {}\nlearning_rates = {rates:?}\nsearch_share = 0\n\
         hybrids = [\"none\"]\n[budget]\ntime = \"1000d\"\ntop_up = false\n[probes]\nshare = 0\n[decision]\nearly_stopping = {}\n",
        manner.style, effort.shots, effort.draws, effort.seeds, effort.early_stopping
    )
}

/// The data of a run, with the training rows in the order of its seed.
fn dataset(settings: &Settings, sample: &Sample) -> Result<Dataset> {
    let lines = |rows: &[Row]| -> String {
        rows.iter()
            .map(|(text, label)| format!("{}\n", serde_json::json!({"text": text, "label": label})))
            .collect()
    };
    let [train, dev, test] = [&sample.train, &sample.dev, &sample.test].map(|rows| lines(rows));
    let sources = Sources {
        train: vec![Source::bytes("train.jsonl", train.as_bytes())],
        dev: Some(Source::bytes("dev.jsonl", dev.as_bytes())),
        test: Some(Source::bytes("test.jsonl", test.as_bytes())),
    };
    let mut dataset = Dataset::from_sources(settings, sources)?;
    shuffle(&mut dataset.train, sample.seed);
    Ok(dataset)
}

/// Shuffles in place (Fisher and Yates).
pub(super) fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut source = Pcg64Mcg::seed_from_u64(seed);
    for index in (1..items.len()).rev() {
        let other = ((u128::from(source.next_u64()) * (index as u128 + 1)) >> 64) as usize;
        items.swap(index, other);
    }
}

/// An empty folder.
fn clear(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}
