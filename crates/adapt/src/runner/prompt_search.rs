//! The search of the prompting arm's instruction and format, on dev alone: after every planned prompt, before the first training.
//!
//! Each candidate's answers to a rung are stored as they end. What is found becomes a prompt of the plan like any other, measured on
//! all of dev with every draw that the prompt before it had; which of the two is better, dev says as ever.

use eval::sequential::looking_order;
use serde::{Deserialize, Serialize};
use task::example::Example;
use task::predictor::Usage;
use task::prompt::Layout;
use task::prompt_search::{PromptSearch, SearchedPrompt};
use task::record::{Experiment, Family, Part, Prediction};
use task::settings::Calibration;

use super::Session;
use crate::Error;
use crate::choice;
use crate::plan::PromptTrial;
use crate::prompt_search::{self, Asked, Candidate, Halving, Price, candidates, proposals};
use crate::writer::PromptWriter;

const PLAN: &str = "prompt_search/plan";
const LAYOUT: &str = "prompt_search/layout";
/// What its time is told by.
pub(super) const KIND: &str = "prompt_search";
const DONE: &str = task::store::PROMPT_SEARCH;

/// What is searched, decided once.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Planned {
    /// The dev experiment that it starts from.
    base: String,
    candidates: Vec<Candidate>,
    /// What the model's own proposals took.
    tokens: u64,
    seconds: f64,
}

/// One candidate's answers to the items of one rung.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answered {
    /// None where it could not answer.
    scores: Option<Vec<f64>>,
    tokens: u64,
    seconds: f64,
}

/// The time of a search.
struct Clock {
    spent: f64,
    limit: f64,
    /// Whether a candidate had to be left for want of time.
    over: bool,
}

/// The prompt that a search starts from.
struct Base {
    experiment: Experiment,
    trial: PromptTrial,
    calibration: Calibration,
    /// Dev in the order in which candidates answer it, and the scores of this prompt.
    items: Vec<Example>,
    scores: Vec<f64>,
}

impl Session<'_> {
    /// Searches where the plan has room for it, and measures what was found on dev.
    pub(super) fn search_prompt(&mut self) -> Result<(), Error> {
        let Some(budget) = self.plan.prompt_search else { return Ok(()) };
        if self.run.store.fact::<PromptSearch>(DONE)?.is_none()
            && let Some(base) = self.base()?
        {
            let found = self.find(&base, budget)?;
            self.run.store.set_fact(DONE, &found)?;
            self.run.observer.noted(&said(&found));
        }
        self.done_seconds += budget;
        for trial in self.plan.prompts.clone().iter().filter(|trial| trial.searched) {
            self.prompt_on_dev(trial)?;
        }
        Ok(())
    }

    /// Writes the prompts of a planned trial.
    pub(super) fn writer_of(&self, trial: &PromptTrial) -> Result<PromptWriter, Error> {
        match self.run.store.fact::<Layout>(LAYOUT)?.filter(|_| trial.searched) {
            Some(layout) => self.writer.with_layout(&layout, self.run.dataset),
            None => Ok(self.writer.clone()),
        }
    }

    /// The best prompt so far.
    fn base(&self) -> Result<Option<Base>, Error> {
        let experiments = self.run.store.experiments()?;
        let unsearched: Vec<Experiment> = experiments
            .into_iter()
            .filter(|e| e.part == Part::Dev && self.plan.prompt_of(e).is_some_and(|trial| !trial.searched))
            .collect();
        let Some(experiment) = choice::finalist(&unsearched, Family::InContext).cloned() else {
            return Ok(None);
        };
        let trial = self.trial(&experiment)?;
        let calibration = experiment.setting("calibration").unwrap_or(Calibration::None);
        let dev = &self.run.dataset.dev;
        let ids: Vec<&str> = dev.iter().map(|example| example.id.as_str()).collect();
        let order = looking_order(&ids, "prompt search");
        let scores = experiment.predictions.iter().map(Prediction::score).collect::<Vec<_>>();
        Ok(Some(Base {
            items: order.iter().map(|&index| dev[index].clone()).collect(),
            scores: order.iter().map(|&index| scores[index]).collect(),
            experiment,
            trial,
            calibration,
        }))
    }

    fn find(&mut self, base: &Base, budget: f64) -> Result<PromptSearch, Error> {
        let planned = self.planned(base, budget)?;
        let mut candidates = planned.candidates.clone();
        let rungs = prompt_search::rungs(base.items.len());
        let mut clock = Clock { spent: planned.seconds, limit: self.search_time(base, budget), over: false };
        let mut halving =
            prompt_search::halve(candidates.len(), &base.scores, &rungs, |rung, candidate, from, to| {
                let key = format!("prompt_search/{rung}/{candidate}");
                self.ask(base, &candidates[candidate], &key, &base.items[from..to], &mut clock)
            })?;
        let ending = prompt_search::ending(&candidates, &halving, &base.scores);
        if let Some(ending) = &ending
            && let Some([one, other]) = ending.pair
            && let Some(both) = prompt_search::together(&candidates[one], &candidates[other])
        {
            let items = &base.items[..halving.scores[ending.leader].len()];
            let (scores, dropped) = match self.ask(base, &both, "prompt_search/both", items, &mut clock)? {
                Asked::Scores(scores) => (scores, None),
                Asked::Unable => (Vec::new(), Some(prompt_search::UNABLE)),
                Asked::OutOfTime => (Vec::new(), Some(prompt_search::OUT_OF_TIME)),
            };
            halving.dropped.push(dropped);
            halving.scores.push(scores);
            candidates.push(both);
        }
        let best = halving.best(|_| true).filter(|&index| halving.lead(index, &base.scores) > 0.0);
        if let Some(best) = best {
            self.run.store.set_fact(LAYOUT, &candidates[best].layout)?;
            self.plan_found(base)?;
        }
        self.summary(base, &planned, &candidates, &halving, (best, clock.over))
    }

    /// What is searched: as stored, or candidates as far as there is time for them.
    fn planned(&mut self, base: &Base, budget: f64) -> Result<Planned, Error> {
        if let Some(planned) = self.run.store.fact::<Planned>(PLAN)?.filter(|p| p.base == base.experiment.id)
        {
            return Ok(planned);
        }
        let (settings, dataset, engine) = (self.run.settings, self.run.dataset, self.run.engine);
        let mut planned =
            Planned { base: base.experiment.id.clone(), candidates: Vec::new(), tokens: 0, seconds: 0.0 };
        let left = self.search_time(base, budget);
        if let Some(measured) = self.measured.filter(|_| left > 0.0) {
            let scored = [self.wishes.calibrated, base.calibration != Calibration::None];
            let price = Price::new(&measured, &base.trial, base.experiment.seconds_per_request, scored);
            let rungs = prompt_search::rungs(base.items.len());
            let affordable = |seconds| prompt_search::affordable(64, &rungs, price.rung, price.item, seconds);
            let chat = engine.chat_template().is_some();
            let mut written = Vec::new();
            if affordable(left) > 1 {
                self.run.observer.started("in_context/searched: the model's own instructions");
                let format = self.writer.format();
                let wrote = proposals::write(format, dataset, self.targets, chat, engine.base().as_mut());
                // A model that only scores writes none.
                if let Ok((texts, usage)) = wrote {
                    (written, planned.tokens) = (texts, usage.processed_tokens);
                }
            }
            planned.seconds = self.spent(Family::InContext)?;
            let all = candidates::candidates(settings, dataset, self.writer.format(), &written, chat);
            let fit = affordable(left - planned.seconds);
            planned.candidates = all.into_iter().take(fit).collect();
        }
        self.run.store.set_fact(PLAN, &planned)?;
        self.spent(Family::InContext)?;
        self.stop_if_over()?;
        Ok(planned)
    }

    /// Seconds of `budget` for the search itself: what is found is measured on all of dev, with every draw.
    fn search_time(&self, base: &Base, budget: f64) -> f64 {
        budget - self.alike(base).map(|trial| trial.dev_seconds).sum::<f64>()
    }

    /// The planned trials that differ from the base in their draw alone.
    fn alike(&self, base: &Base) -> impl Iterator<Item = &PromptTrial> {
        let (selection, shots) = (base.trial.selection, base.trial.shots);
        let same = move |trial: &&PromptTrial| {
            !trial.searched && trial.selection == selection && trial.shots == shots
        };
        self.plan.prompts.iter().filter(same)
    }

    /// What one candidate answers to `items`: as stored under `key`, or asked now, where the search has time for it.
    fn ask(
        &mut self,
        base: &Base,
        candidate: &Candidate,
        key: &str,
        items: &[Example],
        clock: &mut Clock,
    ) -> Result<Asked, Error> {
        if let Some(answered) = self.run.store.fact::<Answered>(key)? {
            clock.spent += answered.seconds;
            return Ok(answered.scores.map_or(Asked::Unable, Asked::Scores));
        }
        if clock.spent >= clock.limit {
            clock.over = true;
            return Ok(Asked::OutOfTime);
        }
        self.stop_if_wanted()?;
        self.run.observer.started(&format!(
            "in_context/searched: {} on {} items",
            candidate.name,
            items.len()
        ));
        let asked = |session: &Self| -> Result<(Vec<f64>, Usage), Error> {
            let writer = session.writer.with_layout(&candidate.layout, session.run.dataset)?;
            let arm = session.in_context(&writer);
            arm.scores(&base.trial, base.calibration, items, session.run.engine.base().as_mut())
        };
        let (scores, tokens) = match asked(self) {
            Ok((scores, usage)) => (Some(scores), usage.processed_tokens),
            Err(error) if error.is_metric() => return Err(error),
            Err(error) => {
                self.run.observer.noted(&format!("left out of the search: {}: {error}", candidate.name));
                (None, 0)
            }
        };
        let seconds = self.spent(Family::InContext)?;
        clock.spent += seconds;
        let answered = Answered { scores, tokens, seconds };
        self.run.store.set_fact(key, &answered)?;
        self.stop_if_over()?;
        Ok(answered.scores.map_or(Asked::Unable, Asked::Scores))
    }

    /// Puts what was found into the plan, with every draw that the prompt before it had.
    fn plan_found(&mut self, base: &Base) -> Result<(), Error> {
        let found: Vec<PromptTrial> =
            self.alike(base).map(|trial| PromptTrial { searched: true, ..*trial }).collect();
        self.plan.prompts.retain(|trial| !trial.searched);
        self.plan.prompts.extend(found);
        Ok(self.run.store.set_fact("plan", &self.plan)?)
    }

    fn summary(
        &self,
        base: &Base,
        planned: &Planned,
        candidates: &[Candidate],
        halving: &Halving,
        (best, out_of_time): (Option<usize>, bool),
    ) -> Result<PromptSearch, Error> {
        let (mut tokens, mut seconds, mut answers) = (planned.tokens, planned.seconds, 0);
        let rungs = prompt_search::rungs(base.items.len()).len();
        let keys = (0..rungs)
            .flat_map(|rung| (0..candidates.len()).map(move |c| format!("prompt_search/{rung}/{c}")));
        for key in keys.chain(["prompt_search/both".to_owned()]) {
            if let Some(answered) = self.run.store.fact::<Answered>(&key)? {
                tokens += answered.tokens;
                seconds += answered.seconds;
                answers += answered.scores.map_or(0, |scores| scores.len() as u64);
            }
        }
        let mean = prompt_search::halving::mean;
        let tried = candidates.iter().zip(&halving.scores).zip(&halving.dropped);
        let tried = tried.map(|((candidate, scores), dropped)| SearchedPrompt {
            name: candidate.name.clone(),
            text: candidate.text.clone(),
            items: scores.len(),
            score: mean(scores),
            unsearched: mean(&base.scores[..scores.len()]),
            dropped: dropped.map(str::to_owned),
        });
        Ok(PromptSearch {
            base: base.experiment.id.clone(),
            candidates: tried.collect(),
            answers,
            tokens,
            seconds,
            out_of_time,
            found: best.map(|best| candidates[best].name.clone()),
        })
    }
}

/// The search in a sentence.
fn said(search: &PromptSearch) -> String {
    let tried = format!(
        "Searched {} instructions and formats around {} ({} answers, {:.0} s)",
        search.candidates.len(),
        search.base.trim_end_matches("@dev"),
        search.answers,
        search.seconds
    );
    let over = if search.out_of_time { " until its time was over" } else { "" };
    match &search.found {
        None if search.candidates.is_empty() => {
            "No time to search for another instruction or format.".to_owned()
        }
        Some(found) => format!("{tried}{over}: \"{found}\" is measured on all of dev."),
        None => format!("{tried}{over}: none is better."),
    }
}
