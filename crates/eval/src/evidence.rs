//! The record, checked and put into an order that does not depend on how it was stored.

use std::collections::{BTreeMap, BTreeSet};

use task::record::{Answer, Experiment, Family, NoisyRun, Part, Prediction, RunRecord};

use crate::Error;
use crate::metrics::{Confusion, confusion, label_pair};

/// A checked record. Everything else in this crate reads the record through it.
pub(crate) struct Evidence<'a> {
    pub(crate) record: &'a RunRecord,
    /// All experiments: test before dev before train, then by family and id.
    pub(crate) answered: Vec<Answered<'a>>,
    in_context: usize,
    fine_tune: usize,
    floor: Option<usize>,
    on_test: BTreeSet<&'a str>,
}

/// An experiment with its answers in the order of the examples' ids.
pub(crate) struct Answered<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) predictions: Vec<&'a Prediction>,
    pub(crate) confusion: Confusion,
}

impl Answered<'_> {
    /// The score of each answer by the task's main metric.
    pub(crate) fn scores(&self) -> Vec<f64> {
        self.predictions.iter().map(|prediction| prediction.score()).collect()
    }

    /// Mean of the scores: of labels the share of right ones. `None` without answers.
    pub(crate) fn score(&self) -> Option<f64> {
        (!self.predictions.is_empty())
            .then(|| self.scores().iter().sum::<f64>() / self.predictions.len() as f64)
    }
}

impl<'a> Evidence<'a> {
    /// Checks `record`; see [`Error`] for what may be wrong.
    pub(crate) fn new(record: &'a RunRecord) -> Result<Self, Error> {
        check_settings(record)?;
        let mut ids = BTreeSet::new();
        let mut answered = Vec::new();
        for experiment in &record.experiments {
            if !ids.insert(experiment.id.as_str()) {
                return Err(Error::DuplicateExperiment { experiment: experiment.id.clone() });
            }
            answered.push(check(experiment, record)?);
        }
        answered.sort_by_key(|a| (order(a.experiment.part), a.experiment.family, a.experiment.id.as_str()));
        check_gold(&answered)?;
        let finalists = record.finalists.as_ref().ok_or(Error::TestNotOpened)?;
        let find = |role, family, id: &str| finalist(&answered, role, family, id);
        let in_context = find("in-context", Family::InContext, &finalists.in_context)?;
        let fine_tune = find("fine-tuned", Family::FineTune, &finalists.fine_tune)?;
        let floor = match finalists.floor.as_str() {
            "" => None,
            id => Some(find("floor", Family::Floor, id)?),
        };
        let tested = answered.iter().filter(|a| a.experiment.part == Part::Test);
        let on_test = tested.map(|a| stem(&a.experiment.id)).collect();
        Ok(Self { record, in_context, fine_tune, floor, on_test, answered })
    }

    /// What answers are scored by: `accuracy` for labels, else the task's main metric.
    pub(crate) fn metric(&self) -> &'a str {
        self.record.task.metrics.first().map_or("accuracy", String::as_str)
    }

    /// The in-context finalist on test.
    pub(crate) fn in_context(&self) -> &Answered<'a> {
        &self.answered[self.in_context]
    }

    /// The fine-tuned finalist on test.
    pub(crate) fn fine_tune(&self) -> &Answered<'a> {
        &self.answered[self.fine_tune]
    }

    /// The floor on test, if the record has one.
    pub(crate) fn floor(&self) -> Option<&Answered<'a>> {
        self.floor.map(|index| &self.answered[index])
    }

    /// Whether the configuration of `experiment` was answered on test too (or is the one that was).
    pub(crate) fn is_on_test(&self, experiment: &Experiment) -> bool {
        self.on_test.contains(stem(&experiment.id))
    }

    /// A finalist's run with flipped labels, with its answers in order; `None` where they do not fit the record.
    pub(crate) fn noisy(&self, run: &'a NoisyRun) -> Option<Answered<'a>> {
        check(&run.experiment, self.record).ok()
    }

    /// The same configuration as `experiment` on another part.
    pub(crate) fn twin(&self, experiment: &Experiment, part: Part) -> Option<&Answered<'a>> {
        let name = stem(&experiment.id);
        self.answered.iter().find(|a| a.experiment.part == part && stem(&a.experiment.id) == name)
    }
}

/// An experiment's id without the part behind `@`: the name of its configuration.
pub(crate) fn stem(id: &str) -> &str {
    ["@test", "@dev", "@train"].iter().find_map(|part| id.strip_suffix(part)).unwrap_or(id)
}

/// Where a part stands in the comparison.
pub(crate) fn order(part: Part) -> u8 {
    match part {
        Part::Test => 0,
        Part::Dev => 1,
        Part::Train => 2,
    }
}

fn check_settings(record: &RunRecord) -> Result<(), Error> {
    let decision = &record.decision;
    if !(decision.margin > 0.0 && decision.margin < 1.0) {
        return Err(Error::Decision { key: "margin", value: decision.margin, range: "(0, 1)" });
    }
    if !(decision.confidence > 0.5 && decision.confidence < 1.0) {
        return Err(Error::Decision { key: "confidence", value: decision.confidence, range: "(0.5, 1)" });
    }
    let economics = &record.economics;
    let positive = [
        ("requests_per_month", economics.requests_per_month),
        ("task_life_months", economics.task_life_months),
        ("tuned_multiplier", economics.tuned_multiplier),
        ("batch_multiplier", economics.batch_multiplier),
    ];
    for (key, value) in positive {
        if let Some(value) = value.filter(|value| !(value.is_finite() && *value > 0.0)) {
            return Err(Error::Economics { key, value, range: "above 0" });
        }
    }
    let prices = [
        ("input_price", economics.input_price),
        ("cached_input_price", economics.cached_input_price),
        ("output_price", economics.output_price),
        ("training_price", economics.training_price),
        ("hosting_per_month", economics.hosting_per_month),
        ("price_per_label", economics.price_per_label),
        ("cache_write_price", economics.cache_write_price),
        ("cache_minimum_tokens", economics.cache_minimum_tokens),
    ];
    for (key, value) in prices {
        if let Some(value) = value.filter(|value| !(value.is_finite() && *value >= 0.0)) {
            return Err(Error::Economics { key, value, range: "0 or above" });
        }
    }
    Ok(())
}

fn check<'a>(experiment: &'a Experiment, record: &RunRecord) -> Result<Answered<'a>, Error> {
    let id = &experiment.id;
    let quantities = [
        ("tokens.prompt", experiment.tokens.prompt),
        ("tokens.cached", experiment.tokens.cached),
        ("tokens.completion", experiment.tokens.completion),
        ("setup.seconds", experiment.setup.seconds),
        ("setup.flops", experiment.setup.flops),
        ("seconds_per_request", experiment.seconds_per_request),
    ];
    for (quantity, value) in quantities {
        if !(value.is_finite() && value >= 0.0) {
            return Err(Error::Quantity { experiment: id.clone(), quantity, value });
        }
    }
    if experiment.part == Part::Test && experiment.predictions.is_empty() {
        return Err(Error::NoPredictions { experiment: id.clone() });
    }
    let mut predictions: Vec<&Prediction> = experiment.predictions.iter().collect();
    predictions.sort_by(|left, right| left.example.cmp(&right.example));
    if let Some(pair) = predictions.windows(2).find(|pair| pair[0].example == pair[1].example) {
        return Err(Error::DuplicateExample { experiment: id.clone(), example: pair[0].example.clone() });
    }
    predictions.iter().try_for_each(|prediction| check_answer(id, prediction, record))?;
    let confusion = confusion(&experiment.predictions, record.labels.len());
    Ok(Answered { experiment, predictions, confusion })
}

/// A label must be one of the record's, a text must have a value in 0..=1 for each of its metrics.
fn check_answer(id: &str, prediction: &Prediction, record: &RunRecord) -> Result<(), Error> {
    let (experiment, example) = (id.to_owned(), prediction.example.clone());
    match &prediction.answer {
        Answer::Label { gold, predicted, .. } => {
            let labels = record.labels.len();
            match [*gold, *predicted].into_iter().find(|index| *index >= labels) {
                Some(index) => Err(Error::LabelOutOfRange { experiment, example, index, labels }),
                None => Ok(()),
            }
        }
        Answer::Text { values, .. } => {
            let metrics = &record.task.metrics;
            if values.len() != metrics.len() || metrics.is_empty() {
                let (values, metrics) = (values.len(), metrics.len());
                return Err(Error::MetricCount { experiment, example, values, metrics });
            }
            let bad = values.iter().zip(metrics).find(|(value, _)| !(0.0..=1.0).contains(*value));
            match bad {
                Some((&value, metric)) => {
                    Err(Error::MetricValue { experiment, example, metric: metric.clone(), value })
                }
                None => Ok(()),
            }
        }
    }
}

/// The same example must have the same true label in all experiments.
fn check_gold(answered: &[Answered<'_>]) -> Result<(), Error> {
    let mut known: BTreeMap<(u8, &str), (usize, &str)> = BTreeMap::new();
    for Answered { experiment, predictions, .. } in answered {
        for answer in predictions {
            let Some((own, _)) = label_pair(answer) else { continue };
            let key = (order(experiment.part), answer.example.as_str());
            let (gold, first) = *known.entry(key).or_insert((own, experiment.id.as_str()));
            if gold != own {
                let example = answer.example.clone();
                return Err(Error::GoldDiffers {
                    left: first.to_owned(),
                    right: experiment.id.clone(),
                    example,
                });
            }
        }
    }
    Ok(())
}

fn finalist(answered: &[Answered<'_>], role: &'static str, family: Family, id: &str) -> Result<usize, Error> {
    let position = answered.iter().position(|a| a.experiment.id == id);
    let index = position.ok_or_else(|| Error::UnknownFinalist { role, experiment: id.to_owned() })?;
    let experiment = answered[index].experiment;
    if experiment.family != family {
        return Err(Error::WrongFamily { role, experiment: id.to_owned() });
    }
    if experiment.part != Part::Test {
        return Err(Error::NotOnTest { experiment: id.to_owned() });
    }
    Ok(index)
}
