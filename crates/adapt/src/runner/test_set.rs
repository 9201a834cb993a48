//! The test set: opened once, looked at in batches by the finalists, and left alone once they are told apart.
//!
//! Both finalists answer the first items of the looking order, then a quarter more each time, until [`looking::decided`] gives an
//! answer. Where it does, every other experiment answers the same items, and the rest of the test set is never asked. A run
//! that is killed on the way looks again from the beginning and stops at the same item.

use std::time::{Duration, Instant};

use eval::looking::{self, Looked};
use eval::replication::RunSpread;
use eval::sequential::looking_order;
use task::dataset::Dataset;
use task::predictor::{Tuned, Wanted};
use task::record::{Experiment, Family, Finalists, Part, Prediction, Terms, TestStop, TimedRequest};

use super::spending::Spending;
use super::{Session, finalist, on_test, ready};
use crate::Error;
use crate::choice;
use crate::fine_tune::FineTune;
use crate::floor_arm::FloorArm;
use crate::in_context::InContext;
use crate::plan::PromptTrial;
use crate::writer::inputs;

/// Requests of each finalist that are sent one by one, to be timed.
const TIMED: usize = 24;
/// Share of the budget that this may take for each finalist, once a few requests are timed.
const TIMED_SHARE: f64 = 0.02;

/// A finalist's answers so far.
#[derive(Default)]
struct Answering {
    experiment: Option<Experiment>,
    seconds: f64,
    spending: Spending,
}

impl<'a> Session<'a> {
    pub(super) fn test(&mut self) -> Result<(), Error> {
        let experiments = self.run.store.experiments()?;
        let dev: Vec<Experiment> = experiments.into_iter().filter(|e| e.part == Part::Dev).collect();
        let chosen: Vec<Experiment> =
            choice::semifinalists(&dev).into_iter().filter(|e| ready(e)).cloned().collect();
        let finalists = Finalists {
            in_context: finalist(&dev, Family::InContext, "in-context")?,
            fine_tune: finalist(&dev, Family::FineTune, "fine-tuning")?,
            floor: finalist(&dev, Family::Floor, "floor")?,
        };
        if chosen.iter().any(|one| on_test(&one.id) == finalists.fine_tune && one.collapse.is_some()) {
            self.run
                .observer
                .noted("every training collapsed: the best of them on dev stands for fine-tuning");
        }
        self.stop_if_wanted()?;
        let settings = &self.run.settings;
        let terms = Terms { decision: settings.decision.clone(), economics: settings.economics.clone() };
        self.run.store.open_test(&finalists, &terms)?;
        self.run.observer.opened_test(&chosen.iter().map(|e| on_test(&e.id)).collect::<Vec<_>>());
        self.look(&chosen, &finalists)?;
        let seen = self.seen()?;
        for experiment in &chosen {
            let id = on_test(&experiment.id);
            if !self.run.store.contains(&id)? {
                self.stop_if_wanted()?;
                self.run.observer.started(&id);
                let mut tuned = self.open(experiment)?;
                let mut answered = self.answer(experiment, &seen, tuned.as_deref_mut())?;
                if id == finalists.in_context || id == finalists.fine_tune {
                    answered.calls.timed = self.timed(experiment, tuned.as_deref_mut())?;
                }
                self.put(answered, self.test_seconds(experiment))?;
            }
        }
        self.label_noise(&chosen, &finalists, &seen)?;
        self.discard_losers(&chosen)
    }

    /// The data with the part of the test set that is answered: all of it, unless it was left early.
    fn seen(&self) -> Result<Dataset, Error> {
        let mut seen = self.run.dataset.clone();
        if let Some(stop) = self.run.store.test_stop()? {
            seen.test = self.first(stop.answered);
        }
        Ok(seen)
    }

    /// The first `count` test examples of the looking order.
    fn first(&self, count: usize) -> Vec<task::example::Example> {
        self.order().into_iter().take(count).map(|index| self.run.dataset.test[index].clone()).collect()
    }

    fn order(&self) -> Vec<usize> {
        let ids: Vec<&str> = self.run.dataset.test.iter().map(|example| example.id.as_str()).collect();
        looking_order(&ids, &self.run.dataset.sha256)
    }

    /// Whether items may be looked at one after the other: independent ones, and enough of them.
    fn may_look(&self) -> bool {
        let dataset = self.run.dataset;
        self.run.settings.decision.early_stopping
            && dataset.test.iter().all(|example| example.cluster.is_none())
            && dataset.test.len() > looking::FEWEST
    }

    /// Lets the finalists answer batch after batch until they are told apart; stores what they answered.
    fn look(&mut self, chosen: &[Experiment], finalists: &Finalists) -> Result<(), Error> {
        let done = self.run.store.test_stop()?.is_some()
            || self.run.store.contains(&finalists.in_context)?
            || self.run.store.contains(&finalists.fine_tune)?;
        let find = |id: &str| chosen.iter().find(|experiment| on_test(&experiment.id) == id);
        let (Some(prompt), Some(tuned), false) =
            (find(&finalists.in_context), find(&finalists.fine_tune), done || !self.may_look())
        else {
            return Ok(());
        };
        let total = self.run.dataset.test.len();
        let floor = match find(&finalists.floor) {
            Some(floor) => {
                Some(scores(&self.answer(floor, self.run.dataset, None)?.predictions, &self.order_ids()))
            }
            None => None,
        };
        let spreads = [prompt, tuned].map(|finalist| RunSpread::of(chosen, finalist));
        // Read once, however many batches follow.
        let mut weights = self.open(tuned)?;
        let mut sides = [Answering::default(), Answering::default()];
        let (mut answered, mut stop) = (0, None);
        while answered < total && stop.is_none() {
            let next = if answered == 0 { looking::FEWEST } else { answered + (answered / 4).max(25) };
            let next = next.min(total);
            let mut batch = self.run.dataset.clone();
            batch.test = self.first(next).split_off(answered);
            for (side, experiment) in sides.iter_mut().zip([prompt, tuned]) {
                self.run.observer.started(&format!("{} ({next} of {total})", on_test(&experiment.id)));
                self.spending();
                self.lap();
                let more = self.answer(experiment, &batch, weights.as_deref_mut())?;
                side.seconds += self.lap();
                side.spending.add(self.spending());
                side.experiment = Some(match side.experiment.take() {
                    Some(before) => joined(before, more),
                    None => more,
                });
            }
            answered = next;
            let outcomes = |side: &Answering| -> Vec<f64> {
                side.experiment.iter().flat_map(|e| &e.predictions).map(Prediction::score).collect()
            };
            let looked = [outcomes(&sides[0]), outcomes(&sides[1])];
            let looked = Looked {
                in_context: &looked[0],
                fine_tune: &looked[1],
                floor: floor.as_ref().map(|floor| &floor[..answered]),
                spreads,
            };
            let decided = looking::decided(&looked, &self.run.settings.decision).is_some();
            stop = (decided && answered < total).then_some(TestStop { answered, available: total });
        }
        if let Some(stop) = stop {
            self.run.observer.noted(&format!(
                "the finalists are told apart after {} of {total} test items: the other {} are not asked",
                stop.answered,
                total - stop.answered
            ));
            self.run.store.stop_test(&stop)?;
        }
        for (side, chosen) in sides.into_iter().zip([prompt, tuned]) {
            let Some(mut experiment) = side.experiment else { continue };
            experiment.calls.timed = self.timed(chosen, weights.as_deref_mut())?;
            self.put_spending(experiment.family, side.spending)?;
            // Timed requests measure how long a user waits: they are no part of what the arm took.
            let (timing, _) = (self.lap(), self.spending());
            self.run.store.put_timed(&experiment, side.seconds)?;
            self.run.store.add_wall_seconds(side.seconds + timing)?;
            self.done_seconds += self.test_seconds(chosen);
            self.run.observer.stored(&experiment, self.share());
        }
        Ok(())
    }

    fn order_ids(&self) -> Vec<String> {
        self.order().into_iter().map(|index| self.run.dataset.test[index].id.clone()).collect()
    }

    /// The weights of a training run, read back; `None` for what has none.
    fn open(&self, chosen: &Experiment) -> Result<Option<Box<dyn Tuned + 'a>>, Error> {
        if !matches!(chosen.family, Family::FineTune | Family::Hybrid) {
            return Ok(None);
        }
        let folder = self.folder(chosen.id.trim_end_matches("@dev"))?;
        self.run.engine.load(&folder).map(Some).map_err(Error::model(&on_test(&chosen.id)))
    }

    /// What `chosen` answers to the test part of `data`, with the weights that [`Session::open`] gave for it.
    fn answer(
        &self,
        chosen: &Experiment,
        data: &Dataset,
        tuned: Option<&mut (dyn Tuned + 'a)>,
    ) -> Result<Experiment, Error> {
        match chosen.family {
            Family::Floor => FloorArm::new(data, self.targets, self.writer).on_test(chosen),
            Family::FineTune | Family::Hybrid => {
                let arm = FineTune { dataset: data, ..self.fine_tune() };
                arm.on_test(chosen, tuned.ok_or(Error::NothingRan("fine-tuning"))?)
            }
            Family::InContext => {
                let trial = self.trial(chosen)?;
                let (order, writer) = (self.run.settings.in_context.order, self.writer.of(chosen, data)?);
                let arm = InContext::new(&writer, data, self.targets, order, self.embedder);
                arm.on_test(&trial, chosen, self.run.engine.base().as_mut())
            }
        }
    }

    pub(super) fn trial(&self, chosen: &Experiment) -> Result<PromptTrial, Error> {
        self.plan.prompt_of(chosen).copied().ok_or(Error::NothingRan("in-context"))
    }

    /// Some requests of a finalist one by one: how long a user waits.
    fn timed(
        &self,
        chosen: &Experiment,
        tuned: Option<&mut (dyn Tuned + 'a)>,
    ) -> Result<Vec<TimedRequest>, Error> {
        let items = self.first(TIMED);
        let inputs = inputs(&items);
        let until = Instant::now() + Duration::from_secs_f64(TIMED_SHARE * self.run.settings.budget.seconds);
        match chosen.family {
            Family::InContext => {
                let base = &mut self.run.engine.base();
                let writer = self.writer.of(chosen, self.run.dataset)?;
                let prior: Option<Vec<f64>> = chosen.setting("log_prior");
                let wanted = Wanted::Best { log_prior: prior.as_deref() };
                self.in_context(&writer).timed(&self.trial(chosen)?, &inputs, wanted, base.as_mut(), until)
            }
            Family::FineTune => {
                let tuned = tuned.ok_or(Error::NothingRan("fine-tuning"))?;
                self.fine_tune().timed(&chosen.id, &inputs, tuned, until)
            }
            Family::Floor | Family::Hybrid => Ok(Vec::new()),
        }
    }
}

/// The score of each of `ids`.
fn scores(predictions: &[Prediction], ids: &[String]) -> Vec<f64> {
    let of: std::collections::BTreeMap<&str, f64> =
        predictions.iter().map(|p| (p.example.as_str(), p.score())).collect();
    ids.iter().map(|id| of.get(id.as_str()).copied().unwrap_or(0.0)).collect()
}

/// Two parts of one experiment's answers as one. Means are weighted by the items; a run is collapsed where both parts are.
fn joined(mut first: Experiment, second: Experiment) -> Experiment {
    let [one, other] = [first.predictions.len(), second.predictions.len()].map(|items| items as f64);
    let mean = |a: f64, b: f64| (a * one + b * other) / (one + other).max(1.0);
    first.tokens.prompt = mean(first.tokens.prompt, second.tokens.prompt);
    first.tokens.cached = mean(first.tokens.cached, second.tokens.cached);
    first.tokens.completion = mean(first.tokens.completion, second.tokens.completion);
    first.seconds_per_request = mean(first.seconds_per_request, second.seconds_per_request);
    first.collapse = first.collapse.filter(|_| second.collapse.is_some());
    first.predictions.extend(second.predictions);
    first.calls.sha256.extend(second.calls.sha256);
    first
}
