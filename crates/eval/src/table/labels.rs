//! Row 5: the main metric against what an arm was given, labels until fine-tuning wins, and what flipped labels do.

use serde_json::{Value, json};
use task::record::{Family, Part};

use super::{Cell, Sources};
use crate::curve::{Axis, Curve, first_to_reach};
use crate::evidence::Answered;
use crate::wording::{count, method_name, percent};

/// Row 5: the main metric against what the arm was given.
pub(super) fn data(sources: &Sources<'_>, family: Family) -> Cell {
    let method = &sources.finalist(family).experiment.method;
    let own = sources.curves(family).find(|curve| curve.method == *method);
    let longest = own.or_else(|| sources.curves(family).max_by_key(|curve| curve.points.len()));
    let Some(curve) = longest else {
        return Cell::missing("no experiment of this arm could be placed on a curve");
    };
    let unit = if curve.axis == Axis::Shots { "demonstrations" } else { "labels" };
    let shown: Vec<String> =
        curve.points.iter().map(|point| format!("{} with {}", percent(point.score), point.at)).collect();
    let mut text = format!("{}: {} {unit}", method_name(&curve.method), shown.join(", "));
    let mut value = json!({
        "labels_used": sources.finalist(family).experiment.labels_used,
        "curve": curve.method,
        "part": curve.part,
        "points": curve.points.iter().map(|p| json!({"at": p.at, "score": p.score, "seeds": p.seeds})).collect::<Vec<_>>(),
    });
    let requirement = sources.requirement;
    if family == Family::FineTune {
        text += &labels_to_reach(sources, curve.part, &mut value);
        text += &format!("; {}", requirement.sentence());
        value["draws_level"] = json!(requirement.draws_level);
        value["wins"] = json!(requirement.wins);
        value["available"] = json!(requirement.available);
    } else if let Some(worth) = requirement.worth() {
        text += &format!("; {worth}");
        value["data_advantage"] = json!(requirement.advantage);
    }
    text += &label_noise(sources, family, &mut value);
    Cell::measured(value, unit, text, &sources.finalist(family).experiment.id)
}

/// The smallest observed number of labels at which the mean tuned score reaches the in-context finalist's on the same part.
fn labels_to_reach(sources: &Sources<'_>, part: Part, value: &mut Value) -> String {
    let finalist = sources.evidence.in_context();
    let answered =
        if part == Part::Test { Some(finalist) } else { sources.evidence.twin(finalist.experiment, part) };
    let Some(target) = answered.and_then(Answered::score) else { return String::new() };
    let same_part: Vec<Curve> = sources.curves.iter().filter(|curve| curve.part == part).cloned().collect();
    let reached = first_to_reach(&same_part, Family::FineTune, target);
    value["target_score"] = json!(target);
    value["labels_to_reach"] = json!(reached.map(|(_, point)| point.at));
    match reached {
        Some((curve, point)) => {
            value["reached_by"] = json!(curve.method);
            format!("; reaches the prompt's {} at {}", percent(target), count(point.at as u64, "label"))
        }
        None => format!("; the prompt's {} is not reached", percent(target)),
    }
}

/// The finalist with a share of its labels flipped, against the same without.
fn label_noise(sources: &Sources<'_>, family: Family, value: &mut Value) -> String {
    let clean = sources.finalist(family);
    let runs = sources.evidence.record.label_noise.iter().filter(|run| run.experiment.family == family);
    let mut shown = Vec::new();
    let mut points_of = Vec::new();
    for run in runs {
        let Some(noisy) = sources.evidence.noisy(run) else { continue };
        let Some((score, own)) = noisy.score().zip(clean.score()) else { continue };
        let paired = crate::sample::Sample::new(sources.evidence, clean, &noisy);
        let difference =
            paired.ok().map(|sample| sample.interval(sources.evidence.record.decision.confidence));
        shown.push(format!("{} {} ({:+.1})", percent(run.rate), percent(score), 100.0 * (score - own)));
        points_of.push(json!({
            "rate": run.rate,
            "score": score,
            "difference": difference,
            "experiment": run.experiment.id,
        }));
    }
    if shown.is_empty() {
        return String::new();
    }
    value["label_noise"] = json!(points_of);
    format!("; with flipped labels: {}", shown.join(", "))
}
