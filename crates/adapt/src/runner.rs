//! Turns a plan into recorded experiments: dev first, then every choice, then the test set, opened once.
//!
//! Each experiment is stored the moment it ends. A run that is killed goes on at the first experiment that is not stored; because
//! the plan is stored too, and every choice is a pure function of stored dev experiments, it ends with the figures that an
//! uninterrupted run would have ended with.

mod dev;
mod hybrids;
mod label_noise;
mod ledger;
mod pace;
mod prompt_search;
mod recipe_search;
mod spending;
mod test_set;
mod top_up;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use task::dataset::Dataset;
use task::record::{Experiment, Family, Part, PartSizes, RunRecord, TaskFacts, Work};
use task::settings::{Settings, TaskKind};
use task::store::Store;

use crate::Error;
use crate::choice;
use crate::embedding::Embedder;
use crate::energy::Meter;
use crate::engine::Engine;
use crate::fine_tune::FineTune;
use crate::in_context::InContext;
use crate::measure;
use crate::observer::{Observer, Summary};
use crate::plan::{Measured, Plan, Wishes};
use crate::probes::{self, Prober};
use crate::rounding::{self, Rounding};
use crate::writer::{PromptWriter, target_index};
use pace::Unit;

/// What a run is made of.
pub struct Run<'a> {
    /// The resolved task file.
    pub settings: &'a Settings,
    /// The locked split.
    pub dataset: &'a Dataset,
    /// The model.
    pub engine: &'a dyn Engine,
    /// Where everything is kept.
    pub store: &'a mut Store,
    /// Who is told.
    pub observer: &'a mut dyn Observer,
    /// Seconds after which this session stops, at the end of the experiment that is running; `None`: when everything is done.
    pub stop_after: Option<f64>,
}

/// A run in progress.
struct Session<'a> {
    run: Run<'a>,
    writer: &'a PromptWriter,
    targets: &'a [usize],
    embedder: &'a Embedder<'a>,
    plan: Plan,
    wishes: Wishes,
    /// What the plan rests on; `None` for runs of versions that kept no measurements.
    measured: Option<Measured>,
    /// When time was last added to the store, in seconds of this session.
    lapped: f64,
    /// What is running, if its time is kept.
    unit: Option<(String, Unit)>,
    done_seconds: f64,
    /// When this session began.
    began: Instant,
    meter: Meter,
    /// What the engine had computed when it was last asked.
    worked: Work,
}

impl Run<'_> {
    /// Runs what is not stored yet and returns the whole record.
    pub fn execute(self) -> Result<RunRecord, Error> {
        let Run { settings, dataset, engine, store, observer, stop_after } = self;
        let writer = PromptWriter::new(settings, dataset, engine)?;
        store.describe(&facts(settings, dataset), &engine.base().identity(), &dataset.labels)?;
        let clusters = clusters(dataset);
        if !clusters.is_empty() {
            store.set_clusters(&clusters)?;
        }
        let targets: Vec<usize> = dataset.train.iter().map(|e| target_index(dataset, e)).collect();
        let wishes = measure::wishes(settings, dataset);
        let plan = match store.fact::<Plan>("plan")? {
            Some(plan) => plan,
            None => {
                let measured = measure::measure(settings, dataset, &writer, engine)?;
                let plan = Plan::new(&wishes, &measured);
                store.set_fact("measured", &measured)?;
                store.set_fact("plan", &plan)?;
                plan
            }
        };
        let mut rounding = store.fact::<Rounding>("rounding")?;
        if rounding.is_none() {
            rounding = rounding::measure(dataset, &writer, &plan, &targets, engine)?;
            if let Some(rounding) = &rounding {
                store.set_fact("rounding", rounding)?;
            }
        }
        if let Some(rounding) = &rounding {
            observer.noted(&rounding.message());
        }
        let embedder = Embedder::new(Some(engine), Some(store.artefacts()?));
        let measured = store.fact("measured")?;
        let run = Run { settings, dataset, engine, store, observer, stop_after };
        let mut session = Session {
            run,
            writer: &writer,
            targets: &targets,
            embedder: &embedder,
            plan,
            wishes,
            measured,
            lapped: 0.0,
            unit: None,
            done_seconds: 0.0,
            began: Instant::now(),
            meter: Meter::of_machine(),
            worked: engine.work(),
        };
        session.lapped = session.now();
        session.announce()?;
        session.dev()?;
        session.test()?;
        session.probes()?;
        session.record()
    }
}

impl Session<'_> {
    fn announce(&mut self) -> Result<(), Error> {
        let stored = self.run.store.experiments()?.len();
        let summary = Summary {
            prompts: self.plan.prompts.len(),
            trainings: self.plan.trainings(),
            seconds: self.plan.seconds(),
            done: stored,
            left_out: self.plan.left_out.clone(),
            reserve: self.plan.reserve.names(),
        };
        self.run.observer.planned(&summary);
        Ok(())
    }

    /// Weights that lost on dev are deleted once everything is measured.
    fn discard_losers(&self, chosen: &[Experiment]) -> Result<(), Error> {
        for experiment in self.run.store.experiments()? {
            let name = experiment.id.trim_end_matches("@dev");
            let lost = experiment.family == Family::FineTune
                && experiment.part == Part::Dev
                && !chosen.iter().any(|winner| winner.id == experiment.id);
            let folder = self.folder(name)?;
            if lost && folder.is_dir() {
                std::fs::remove_dir_all(&folder)
                    .map_err(|source| task::Error::Io { path: folder.clone(), source })?;
            }
        }
        Ok(())
    }

    // ---- probes

    /// Probes of the finalists; they change nothing that was measured before.
    fn probes(&mut self) -> Result<(), Error> {
        let Some(measured) = self.measured.filter(|_| self.run.settings.probes.share > 0.0) else {
            return Ok(());
        };
        let Some(finalists) = self.run.store.finalists()? else { return Ok(()) };
        let dev = |id: &str| self.run.store.get(&format!("{}@dev", id.trim_end_matches("@test")));
        let (Some(prompted), Some(tuned)) = (dev(&finalists.in_context)?, dev(&finalists.fine_tune)?) else {
            return Ok(());
        };
        let trial = self.trial(&prompted)?;
        let order = self.run.settings.in_context.order;
        let prompt_writer = self.writer.of(&prompted, self.run.dataset)?;
        let prober = Prober {
            settings: self.run.settings,
            dataset: self.run.dataset,
            engine: self.run.engine,
            writer: self.writer,
            prompt_writer: &prompt_writer,
            targets: self.targets,
            measured,
            arm: InContext::new(&prompt_writer, self.run.dataset, self.targets, order, self.embedder),
            trial,
            prompted,
            tuned,
        };
        let weights = self.folder(prober.tuned.id.trim_end_matches("@dev"))?;
        probes::run(&prober, self.run.store, &weights, self.run.observer)?;
        Ok(())
    }

    // ---- bookkeeping

    /// The in-context arm with prompts of `writer`.
    fn in_context<'b>(&'b self, writer: &'b PromptWriter) -> InContext<'b> {
        let order = self.run.settings.in_context.order;
        InContext::new(writer, self.run.dataset, self.targets, order, self.embedder)
    }

    fn fine_tune(&self) -> FineTune<'_> {
        FineTune {
            writer: self.writer,
            dataset: self.run.dataset,
            targets: self.targets,
            optimizer: self.run.settings.fine_tune.optimizer,
        }
    }

    /// Ends the session between two units of work, where that is wanted; what is stored stays.
    fn stop_if_wanted(&self) -> Result<(), Error> {
        if self.run.observer.wants_stop() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Where the weights of a training run are kept.
    fn folder(&self, name: &str) -> Result<PathBuf, Error> {
        Ok(self.run.store.artefacts()?.join(name.replace('/', "-")))
    }

    fn test_seconds(&self, experiment: &Experiment) -> f64 {
        self.plan.prompt_of(experiment).map_or(0.0, |trial| trial.test_seconds)
    }

    fn record(&mut self) -> Result<RunRecord, Error> {
        let seconds = self.lap();
        self.run.store.add_wall_seconds(seconds)?;
        Ok(self.run.store.record(&self.run.settings.decision, &self.run.settings.economics)?)
    }
}

/// What the record says of the task.
fn facts(settings: &Settings, dataset: &Dataset) -> TaskFacts {
    TaskFacts {
        name: settings.task.name.clone(),
        kind: match settings.task.kind {
            TaskKind::Classify => "classify",
            TaskKind::Extract => "extract",
            TaskKind::Generate => "generate",
        }
        .to_owned(),
        metrics: settings.task.answers.as_ref().map_or_else(Vec::new, |answers| {
            answers.metrics.iter().map(|metric| metric.name().to_owned()).collect()
        }),
        items: PartSizes { train: dataset.train.len(), dev: dataset.dev.len(), test: dataset.test.len() },
        data_sha256: dataset.sha256.clone(),
    }
}

/// The source of each test example that shares one.
fn clusters(dataset: &Dataset) -> BTreeMap<String, String> {
    let named = |example: &task::example::Example| Some((example.id.clone(), example.cluster.clone()?));
    dataset.test.iter().filter_map(named).collect()
}

/// A training without saved weights cannot answer test.
fn ready(experiment: &Experiment) -> bool {
    !matches!(experiment.family, Family::FineTune | Family::Hybrid) || experiment.artefact.is_some()
}

fn on_test(dev_id: &str) -> String {
    format!("{}@test", dev_id.trim_end_matches("@dev"))
}

fn finalist(dev: &[Experiment], family: Family, name: &'static str) -> Result<String, Error> {
    choice::finalist(dev, family).map(|e| on_test(&e.id)).ok_or(Error::NothingRan(name))
}
