//! The eight rows of the comparison, each in both arms. A cell that the record cannot fill is null with a reason, never a guess.

mod inference;
mod labels;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use task::record::{Answer, Family, Part};

use crate::curve::{Axis, Curve, CurvePoint};
use crate::economics::{ArmCost, Economics};
use crate::evidence::{Answered, Evidence};
use crate::interval::proportion;
use crate::probes::ProbeSummary;
use crate::requirement::Requirement;
use crate::verdict::{Choice, Verdict};
use crate::wording::{bytes, count, method_name, metric_name, number, percent, points, seconds};

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub row: String,
    /// The in-context arm.
    pub in_context: Cell,
    /// The fine-tuning arm.
    pub fine_tune: Cell,
}

/// One measured thing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// A number, a text or an object with several; null where it was not measured.
    pub value: Value,
    /// Unit of the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Lower end of the interval or of the range, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// A short text for a terminal; empty where nothing was measured.
    pub text: String,
    /// The experiment that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Why (or which part of it) was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the rows are made of.
pub(crate) struct Sources<'a> {
    pub(crate) evidence: &'a Evidence<'a>,
    pub(crate) curves: &'a [Curve],
    pub(crate) economics: &'a Economics,
    pub(crate) requirement: &'a Requirement,
    pub(crate) verdict: &'a Verdict,
    pub(crate) probes: Option<&'a ProbeSummary>,
}

/// Names of the rows, in order.
pub const ROWS: [&str; 8] = [
    "Where adaptation lives",
    "Setup cost",
    "Inference cost",
    "Iteration speed",
    "Data requirement",
    "Behaviour stability",
    "Safety and bias risk",
    "Best fit",
];

/// The eight rows in the order of [`ROWS`].
pub(crate) fn rows(sources: &Sources<'_>) -> Vec<Row> {
    let cells: [fn(&Sources<'_>, Family) -> Cell; 8] =
        [artefact, setup, inference::inference, iteration, labels::data, stability, safety, best_fit];
    let mut rows: Vec<Row> = ROWS
        .iter()
        .zip(cells)
        .map(|(name, cell)| Row {
            row: (*name).to_owned(),
            in_context: cell(sources, Family::InContext),
            fine_tune: cell(sources, Family::FineTune),
        })
        .collect();
    if let Some(probes) = sources.probes {
        probes.complete(&mut rows);
    }
    rows
}

impl Cell {
    fn missing(reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::default() }
    }

    fn measured(value: Value, unit: &str, text: String, source: &str) -> Self {
        Self { value, unit: Some(unit.to_owned()), text, source: Some(source.to_owned()), ..Self::default() }
    }
}

impl<'a> Sources<'a> {
    fn finalist(&self, family: Family) -> &Answered<'a> {
        if family == Family::FineTune { self.evidence.fine_tune() } else { self.evidence.in_context() }
    }

    fn cost(&self, family: Family) -> &ArmCost {
        if family == Family::FineTune { &self.economics.fine_tune } else { &self.economics.in_context }
    }

    fn curves(&self, family: Family) -> impl Iterator<Item = &'a Curve> {
        self.curves.iter().filter(move |curve| curve.family == family)
    }

    /// The point of the finalist's own method and size.
    fn finalist_point(&self, family: Family) -> Option<(&'a Curve, &'a CurvePoint)> {
        let id = &self.finalist(family).experiment.id;
        let twin =
            self.evidence.twin(self.finalist(family).experiment, Part::Dev).map(|twin| &twin.experiment.id);
        let holds =
            |point: &CurvePoint| point.experiments.iter().any(|other| other == id || Some(other) == twin);
        self.curves(family)
            .find_map(|curve| curve.points.iter().find(|point| holds(point)).map(|point| (curve, point)))
    }
}

/// Row 1: what has to be kept.
fn artefact(sources: &Sources<'_>, family: Family) -> Cell {
    let experiment = sources.finalist(family).experiment;
    let Some(artefact) = &experiment.artefact else {
        return Cell::missing(format!("{} recorded no artefact", experiment.id));
    };
    let prompt = match artefact.prompt_tokens {
        0 => "adds no tokens to a request".to_owned(),
        tokens => format!("{} in every request", count(tokens, "token")),
    };
    let retrieved = experiment.shots.filter(|&shots| shots > 0 && artefact.prompt_tokens == 0);
    let text = match retrieved {
        // Its bytes are the rows that it chooses from; a tuned model's request is the query alone.
        Some(shots) => {
            let rows = count(experiment.labels_used as u64, "row");
            let alone = sources.finalist(Family::FineTune).experiment.tokens.prompt;
            let added = (experiment.tokens.prompt - alone).max(0.0).round();
            let tokens = count(added as u64, "token");
            format!("{}: {shots} of {rows} for each request, which add some {tokens} to it", artefact.kind)
        }
        None => format!("{}, {}; {prompt}", artefact.kind, bytes(artefact.bytes)),
    };
    Cell::measured(json!(artefact), "bytes", text, &experiment.id)
}

/// Row 2: the work of the whole arm, search and failed runs included.
fn setup(sources: &Sources<'_>, family: Family) -> Cell {
    let cost = sources.cost(family);
    let (effort, own) = (&cost.effort, &sources.finalist(family).experiment.setup);
    let noun = if family == Family::FineTune { "training run" } else { "prompt" };
    let time = effort.seconds.map_or_else(|| "time not recorded".to_owned(), seconds);
    let joules = sources.evidence.record.joules_by_family.get(family.name()).copied();
    let energy = joules.map_or_else(String::new, |joules| format!("; {} J of the processor", number(joules)));
    let text = format!(
        "{time} for {}; {} tokens, {} FLOPs; {}{energy}",
        count(effort.trials as u64, noun),
        number(effort.tokens as f64),
        number(effort.flops),
        count(effort.labels as u64, "label")
    );
    let mut value = json!({
        "seconds": effort.seconds,
        "tokens": effort.tokens,
        "flops": effort.flops,
        "labels": effort.labels,
        "trials": effort.trials,
        "collapsed": effort.collapsed,
        "finalist": own,
    });
    if let Some(joules) = joules {
        value["joules"] = json!(joules);
    }
    let mut cell =
        Cell::measured(value, "seconds, tokens, FLOPs and labels of the whole arm", text, &cost.experiment);
    if effort.seconds.is_none() {
        cell.reason = Some("the record has no sum of seconds for this arm".to_owned());
    }
    cell
}

/// Row 4: how fast something new can be tried.
fn iteration(sources: &Sources<'_>, family: Family) -> Cell {
    let cost = sources.cost(family);
    let (Some(rate), Some(total)) = (cost.effort.trials_per_hour(), cost.effort.seconds) else {
        return Cell::missing("the record has no sum of seconds for this arm");
    };
    let each = total / cost.effort.trials as f64;
    let noun = if family == Family::FineTune { "training runs" } else { "prompts" };
    let value = json!({
        "trials_per_hour": rate,
        "seconds_per_trial": each,
        "trials": cost.effort.trials,
        "seconds": total,
        "comparison_seconds": sources.evidence.record.wall_seconds,
    });
    let text = format!("{} {noun} an hour ({} each, tests included)", number(rate.round()), seconds(each));
    Cell::measured(value, "trials an hour", text, &cost.experiment)
}

/// Row 6: spread over demonstration draws or training seeds, and collapsed runs.
fn stability(sources: &Sources<'_>, family: Family) -> Cell {
    let noun = if family == Family::FineTune { "training seed" } else { "draw" };
    let effort = &sources.cost(family).effort;
    let collapsed = format!("{} of {} collapsed", effort.collapsed, count(effort.trials as u64, "trial"));
    let of_points = |curve: &'_ Curve| curve.points.iter().map(|point| point.seeds).max().unwrap_or(0);
    let own = sources.finalist_point(family).filter(|(_, point)| point.seeds > 1);
    let best = own.or_else(|| {
        let curve = sources
            .curves(family)
            .max_by_key(|curve| (of_points(curve), std::cmp::Reverse(&curve.method)))?;
        curve
            .points
            .iter()
            .rev()
            .filter(|point| point.seeds > 1)
            .max_by_key(|point| point.seeds)
            .map(|point| (curve, point))
    });
    let valid = valid(sources, family);
    let collapsed = valid
        .map_or_else(|| collapsed.clone(), |share| format!("{collapsed}; {} valid JSON", percent(share)));
    let Some((curve, point)) = best else {
        return Cell::missing(format!("every size was run with one {noun} only; {collapsed}"));
    };
    let deviation = point.standard_deviation.unwrap_or(0.0);
    let given = if curve.axis == Axis::Shots { "demonstration" } else { "label" };
    let text = format!(
        "SD {} over {} of {} with {} ({} to {}); {collapsed}",
        points(deviation),
        count(point.seeds as u64, noun),
        method_name(&curve.method),
        count(point.at as u64, given),
        percent(point.lowest),
        percent(point.highest)
    );
    let value = json!({
        "standard_deviation": deviation,
        "seeds": point.seeds,
        "at": point.at,
        "method": curve.method,
        "part": curve.part,
        "trials": effort.trials,
        "collapsed": effort.collapsed,
    });
    let mut cell = Cell::measured(value, sources.evidence.metric(), text, &point.experiments[0]);
    (cell.low, cell.high) = (Some(point.lowest), Some(point.highest));
    cell.reason = Some("formats, orders, paraphrases and repeated runs are not measured".to_owned());
    cell
}

/// Share of the finalist's answers that are valid JSON by the schema, where that is a metric of the task.
fn valid(sources: &Sources<'_>, family: Family) -> Option<f64> {
    let at = sources.evidence.record.task.metrics.iter().position(|metric| metric == "valid")?;
    let predictions = &sources.finalist(family).predictions;
    let values = predictions.iter().filter_map(|prediction| match &prediction.answer {
        Answer::Text { values, .. } => values.get(at),
        Answer::Label { .. } => None,
    });
    Some(values.sum::<f64>() / predictions.len().max(1) as f64)
}

/// Row 7: what the answers alone tell: the label that is served worst, or the answers that have nothing right.
fn safety(sources: &Sources<'_>, family: Family) -> Cell {
    let finalist = sources.finalist(family);
    let unmeasured = "refusals, memorised text, subgroup gaps and secrets in the data are not measured";
    if sources.evidence.record.labels.is_empty() {
        let scores = finalist.scores();
        let (failed, items) =
            (scores.iter().filter(|score| **score == 0.0).count() as u64, scores.len() as u64);
        let interval = proportion(failed, items, sources.evidence.record.decision.confidence);
        let metric = metric_name(sources.evidence.metric());
        let text = format!("{} of {} have {metric} 0", number(failed as f64), count(items, "answer"));
        return Cell {
            low: Some(interval.low),
            high: Some(interval.high),
            reason: Some(unmeasured.to_owned()),
            ..Cell::measured(
                json!({"failed": failed, "items": items}),
                "answers that score 0",
                text,
                &finalist.experiment.id,
            )
        };
    }
    let scores = finalist.confusion.per_label(&sources.evidence.record.labels);
    let worst = scores
        .iter()
        .filter(|score| score.support > 0)
        .min_by(|left, right| left.recall.total_cmp(&right.recall).then(right.support.cmp(&left.support)));
    let Some(worst) = worst else { return Cell::missing(unmeasured) };
    let right = (worst.recall * worst.support as f64).round() as u64;
    let interval = proportion(right, worst.support, sources.evidence.record.decision.confidence);
    let text = format!("worst label `{}`: {} of {} right", worst.label, right, number(worst.support as f64));
    let value = json!({"worst_label": worst.label, "recall": worst.recall, "support": worst.support});
    Cell {
        low: Some(interval.low),
        high: Some(interval.high),
        reason: Some(unmeasured.to_owned()),
        ..Cell::measured(value, "recall of the worst label", text, &finalist.experiment.id)
    }
}

/// Row 8: the gates and the choice.
fn best_fit(sources: &Sources<'_>, family: Family) -> Cell {
    let verdict = sources.verdict;
    let chosen = match verdict.choice {
        Choice::InContext => Some(family == Family::InContext),
        Choice::FineTune => Some(family == Family::FineTune),
        Choice::Floor => Some(false),
        Choice::Equivalent | Choice::Undecided => None,
    };
    let gates: Vec<String> = verdict
        .gates
        .named()
        .iter()
        .map(|(name, gate)| {
            format!("{} {}", name.replace('_', " "), json!(gate.state).as_str().unwrap_or_default())
        })
        .collect();
    let decision = match (verdict.choice, chosen) {
        (Choice::Floor, _) => "no, a floor is enough",
        (_, Some(true)) => "yes",
        (_, Some(false)) => "no",
        (Choice::Equivalent, None) => "as good as the other",
        (_, None) => "undecided",
    };
    let text = match (family, chosen) {
        (Family::FineTune, _) => format!("{decision}; {}", gates.join(", ")),
        (_, None) => format!("{decision}; the one to start with"),
        _ => decision.to_owned(),
    };
    let states = verdict.gates.named().map(|(name, gate)| (name.to_owned(), json!(gate.state)));
    let value = json!({
        "choice": verdict.choice,
        "chosen": chosen,
        "gates": states.into_iter().collect::<serde_json::Map<_, _>>(),
    });
    Cell { value, text, source: Some(sources.finalist(family).experiment.id.clone()), ..Cell::default() }
}
