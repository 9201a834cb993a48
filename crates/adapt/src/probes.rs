//! Probes of the finalists, beside the test set: how stable and how safe they are, in both arms alike.
//!
//! They run after the test set was answered and choose nothing. Items come from dev (and train, where membership is the
//! question), never from test; groups alone are looked up in the test answers that are there already. Each probe is stored the
//! moment it ends, so that a run that is killed goes on; what the share of the budget has no room for is named.

mod asking;
mod canaries;
mod capability;
mod frozen;
mod membership;
mod overlap;
mod plan;
mod refusals;
mod rewrite;
mod variants;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use sha2::{Digest, Sha256};
use task::dataset::Dataset;
use task::predictor::{Predictor, Tuned};
use task::probe::{Finding, LeftOut, PlannedProbe, Probe, ProbePlan, SensitiveText, Side};
use task::record::Experiment;
use task::settings::{ProbeSettings, Settings};
use task::store::Store;

use crate::Error;
use crate::digest::hex;
use crate::engine::Engine;
use crate::in_context::InContext;
use crate::observer::Observer;
use crate::plan::{Measured, PromptTrial, Selection};
use crate::selection;
use crate::writer::{PromptWriter, label_count};

pub use frozen::{Drift, FrozenSet, SideDrift, replay};

/// Raised where a probe's way of asking changes, so that stored ones are not taken for it.
const VERSION: u32 = 1;

/// The finalists, and all that it takes to ask them.
pub(crate) struct Prober<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) dataset: &'a Dataset,
    pub(crate) engine: &'a dyn Engine,
    pub(crate) writer: &'a PromptWriter,
    /// Writes the in-context finalist's prompts, which may have a searched instruction and format.
    pub(crate) prompt_writer: &'a PromptWriter,
    pub(crate) targets: &'a [usize],
    pub(crate) measured: Measured,
    pub(crate) arm: InContext<'a>,
    /// The in-context finalist's prompt.
    pub(crate) trial: PromptTrial,
    /// The in-context finalist on dev.
    pub(crate) prompted: Experiment,
    /// The fine-tuned finalist on dev.
    pub(crate) tuned: Experiment,
}

/// Plans the probes where that was not done under this share of the budget, and runs those that are not stored. Gives the
/// seconds that they took.
pub(crate) fn run(
    prober: &Prober<'_>,
    store: &Store,
    weights: &Path,
    observer: &mut dyn Observer,
) -> Result<f64, Error> {
    let settings = &prober.settings.probes;
    let seconds = settings.share * prober.settings.budget.seconds;
    let known = store.fact::<ProbePlan>("probe_plan")?;
    let mut plan = match known.filter(|plan| plan.seconds == seconds) {
        Some(plan) => plan,
        None => {
            let plan = plan::plan(prober, seconds);
            store.plan_probes(&plan)?;
            plan
        }
    };
    let started = Instant::now();
    announce(&plan, observer);
    let mut tuned: Option<Box<dyn Tuned + '_>> = None;
    let mut failures = Vec::new();
    for planned in &plan.planned {
        let asked = asked(prober, planned, &plan);
        let stored = match planned.name.as_str() {
            frozen::NAME => frozen::stored(store, planned.side, &asked)?,
            name => store.probe(name, planned.side)?.is_some_and(|probe| probe.asked == asked),
        };
        if stored {
            continue;
        }
        if observer.wants_stop() {
            return Err(Error::Interrupted);
        }
        observer.started(&format!("probe/{}/{}", planned.name, planned.side.name()));
        let clock = Instant::now();
        let outcome = if planned.side == Side::FineTune {
            let tuned = match &mut tuned {
                Some(tuned) => tuned,
                None => tuned.insert(prober.engine.load(weights).map_err(Error::model("probes"))?),
            };
            let mut predictor = tuned.predictor();
            prober.ask(planned, &plan, &asked, store, predictor.as_mut())
        } else {
            prober.ask(planned, &plan, &asked, store, prober.engine.base().as_mut())
        };
        let finding = match outcome {
            Ok(Some(finding)) => finding,
            Ok(None) => continue,
            Err(error) if error.is_metric() => return Err(error),
            Err(error) => {
                observer.noted(&format!("probe {} of {}: {error}", planned.name, planned.side.name()));
                let (name, reason) = (planned.name.clone(), format!("failed: {error}"));
                failures.push(LeftOut { name, side: planned.side, reason });
                continue;
            }
        };
        store.put_probe(&Probe {
            name: planned.name.clone(),
            side: planned.side,
            finalist: prober.finalist(planned.side).map_or_else(String::new, |e| e.id.clone()),
            asked,
            seconds: clock.elapsed().as_secs_f64(),
            finding,
        })?;
    }
    if !failures.is_empty() {
        plan.planned.retain(|probe| {
            !failures.iter().any(|failed| failed.name == probe.name && failed.side == probe.side)
        });
        plan.left_out.extend(failures);
        store.plan_probes(&plan)?;
    }
    Ok(started.elapsed().as_secs_f64())
}

fn announce(plan: &ProbePlan, observer: &mut dyn Observer) {
    let estimated: f64 = plan.planned.iter().map(|probe| probe.seconds).sum();
    observer.noted(&format!(
        "Probing the finalists for stability and safety, on up to {} dev items (about {estimated:.0} s of {:.0} s).",
        plan.items, plan.seconds
    ));
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for left in &plan.left_out {
        reasons.entry(&left.reason).or_default().push(format!("{} ({})", left.name, left.side.name()));
    }
    for (reason, names) in reasons {
        observer.noted(&format!("  not probed: {}: {reason}", names.join(", ")));
    }
}

/// What a probe depends on beside the code.
fn asked(prober: &Prober<'_>, planned: &PlannedProbe, plan: &ProbePlan) -> String {
    let ProbeSettings { formats, typo_rate, swaps, refusals, .. } = &prober.settings.probes;
    let formats = plan.formats.unwrap_or(*formats);
    let own = match planned.name.as_str() {
        "format" => serde_json::json!(formats),
        "typos" => serde_json::json!(typo_rate),
        "counterfactual" => serde_json::json!(swaps),
        "refusals" => {
            serde_json::json!(refusals.as_ref().and_then(|path| std::fs::read_to_string(path).ok()))
        }
        "paraphrase" => serde_json::json!(prober.settings.data.paraphrase),
        "subgroups" => serde_json::json!(prober.settings.data.subgroup),
        _ => serde_json::Value::Null,
    };
    let finalist = prober.finalist(planned.side).map(|experiment| &experiment.id);
    let all = serde_json::json!([VERSION, planned.name, planned.rows, plan.items, finalist, own]);
    hex(&Sha256::digest(all.to_string().as_bytes()))
}

impl Prober<'_> {
    /// The finalist of a side, on dev.
    pub(crate) fn finalist(&self, side: Side) -> Option<&Experiment> {
        match side {
            Side::Base => None,
            Side::InContext => Some(&self.prompted),
            Side::FineTune => Some(&self.tuned),
        }
    }

    /// Runs one probe; `None` where it keeps its result itself.
    fn ask(
        &self,
        planned: &PlannedProbe,
        plan: &ProbePlan,
        asked: &str,
        store: &Store,
        predictor: &mut dyn Predictor,
    ) -> Result<Option<Finding>, Error> {
        let (side, items) = (planned.side, plan.items);
        Ok(Some(match planned.name.as_str() {
            "format" => {
                let formats = plan.formats.unwrap_or(self.settings.probes.formats);
                self.formats(side, (items, formats), predictor)?
            }
            "order" => self.orders(items, predictor)?,
            "label_names" => self.label_names(items, predictor)?,
            "paraphrase" => self.paraphrases(side, items, predictor)?,
            "typos" => self.typos(side, items, predictor)?,
            "repeats" => self.repeats(side, items, predictor)?,
            "counterfactual" => self.counterfactual(side, items, predictor)?,
            "membership" => self.membership(side, items, predictor)?,
            "canaries" => self.canaries(side, planned.rows, predictor)?,
            "refusals" => self.refusals(side, predictor)?,
            "overlap" => self.overlap(side, predictor)?,
            "capability" => self.capability(side, predictor)?,
            "subgroups" => self.subgroups(),
            "sensitive" => self.sensitive(side),
            frozen::NAME => {
                frozen::freeze(self, side, items, asked, store, predictor)?;
                return Ok(None);
            }
            other => unreachable!("the plan knows no probe {other}"),
        }))
    }

    /// The group of each test item.
    fn subgroups(&self) -> Finding {
        let groups = self
            .dataset
            .test
            .iter()
            .filter_map(|example| Some((example.id.clone(), example.subgroup.clone()?)));
        Finding::Subgroups { groups: groups.collect() }
    }

    /// Writes a side's prompts.
    pub(crate) fn writer_of(&self, side: Side) -> &PromptWriter {
        if side == Side::InContext { self.prompt_writer } else { self.writer }
    }

    /// Indices of the training rows that a side's artefact holds.
    pub(crate) fn held(&self, side: Side) -> Vec<usize> {
        let labels = label_count(self.dataset);
        match (side, self.trial.selection) {
            (Side::Base, _) | (Side::InContext, Selection::ZeroShot) => Vec::new(),
            (Side::InContext, Selection::Random) => {
                selection::balanced_draw(self.targets, labels, self.trial.shots, self.trial.seed)
            }
            (Side::InContext, _) => (0..self.targets.len()).collect(),
            (Side::FineTune, _) => {
                let seed = self.tuned.seed.unwrap_or_default();
                selection::nested_subset(self.targets, labels, self.tuned.labels_used, seed)
            }
        }
    }

    /// Secrets and personal data in the rows that a side's artefact holds.
    fn sensitive(&self, side: Side) -> Finding {
        let held = self.held(side);
        let mut findings = Vec::new();
        for &index in &held {
            let example = &self.dataset.train[index];
            for (field, text) in [("input", &example.input), ("target", &example.target)] {
                findings.extend(task::sensitive::find(text).into_iter().map(|found| SensitiveText {
                    kind: found.kind.to_owned(),
                    example: example.id.clone(),
                    field: field.to_owned(),
                    redacted: found.redacted,
                }));
            }
        }
        Finding::Sensitive { rows: held.len(), findings }
    }
}
