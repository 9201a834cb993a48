//! Which probes fit their share of the budget, decided once, from what the finalists' own requests took on dev.
//!
//! All probes of a name are taken together, both sides and the base, so that the arms are always probed alike. If all fit with
//! fewer items, all are taken with fewer, at the fewest with fewer formats, too, which ask the most; else, with the fewest of
//! both, they are taken in order of interest until the time is spent.

use task::probe::{LeftOut, PlannedProbe, ProbePlan, Side};
use task::record::Experiment;
use task::settings::Calibration;

use super::{Prober, canaries, capability, frozen, overlap, refusals, rewrite, variants};
use crate::plan::Selection;

/// Fewest items that say anything.
const FEWEST: usize = 16;
/// Fewest formats whose spread says anything.
const FEWEST_FORMATS: usize = 3;
/// Writing a token takes about as long as so many prompt tokens, in a batch.
const WRITING: f64 = 4.0;
/// Rows of the canaries' training to try, most first, where all of the finalist's do not fit.
const ROWS: [usize; 3] = [256, 64, 16];

/// Names in order of interest. The first two ask no model.
const ORDER: [&str; 15] = [
    "subgroups",
    "sensitive",
    "format",
    "paraphrase",
    "typos",
    "membership",
    "capability",
    "refusals",
    "order",
    "counterfactual",
    "repeats",
    frozen::NAME,
    "canaries",
    "label_names",
    "overlap",
];

/// How much each probe asks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Extent {
    items: usize,
    formats: usize,
}

/// What is tried, the most first, of what is `wanted` where there are so many `items`.
fn extents(wanted: Extent, items: usize) -> Vec<Extent> {
    let (most, formats) = (wanted.items.min(items), wanted.formats);
    let sizes = [most, most * 3 / 4, most / 2, most / 4].into_iter().filter(|&n| n >= FEWEST.min(most));
    let mut extents: Vec<Extent> = sizes.map(|items| Extent { items, formats }).collect();
    let items = extents.last().map_or(most, |extent| extent.items);
    let fewer = [formats / 2, FEWEST_FORMATS].into_iter().filter(|&n| (FEWEST_FORMATS..formats).contains(&n));
    extents.extend(fewer.map(|formats| Extent { items, formats }));
    extents
}

/// The plan for `budget` seconds.
pub(super) fn plan(prober: &Prober<'_>, budget: f64) -> ProbePlan {
    let settings = &prober.settings.probes;
    let wanted = Extent { items: settings.items, formats: settings.formats };
    let extents = extents(wanted, prober.dataset.dev.len());
    let whole = |extent: &&Extent| Taken::new(prober, **extent, f64::INFINITY).spent <= budget;
    let extent = extents.iter().find(whole).or(extents.last()).copied().unwrap_or(wanted);
    let Taken { planned, left_out, .. } = Taken::new(prober, extent, budget);
    let formats = Some(extent.formats).filter(|&formats| formats < wanted.formats);
    ProbePlan { seconds: budget, items: extent.items, formats, planned, left_out }
}

struct Taken {
    spent: f64,
    planned: Vec<PlannedProbe>,
    left_out: Vec<LeftOut>,
}

impl Taken {
    fn new(prober: &Prober<'_>, extent: Extent, budget: f64) -> Self {
        let mut taken = Self { spent: 0.0, planned: Vec::new(), left_out: Vec::new() };
        for name in ORDER {
            let mut probes = Vec::new();
            for side in [Side::Base, Side::InContext, Side::FineTune] {
                match cost(prober, name, side, extent, budget - taken.spent) {
                    Cost::Seconds(seconds, rows) => {
                        probes.push(PlannedProbe { name: name.to_owned(), side, rows, seconds });
                    }
                    Cost::Never(reason) => taken.leave(name, side, reason.to_owned()),
                    Cost::Nothing => {}
                }
            }
            let seconds: f64 = probes.iter().map(|probe| probe.seconds).sum();
            if taken.spent + seconds <= budget || seconds == 0.0 {
                taken.spent += seconds;
                taken.planned.extend(probes);
            } else {
                let left = (budget - taken.spent).max(0.0);
                let reason = format!(
                    "takes about {seconds:.1} s, of which {left:.1} s are left; raise budget.time or probes.share"
                );
                for probe in probes.iter().filter(|probe| probe.side != Side::Base) {
                    taken.leave(name, probe.side, reason.clone());
                }
            }
        }
        taken
    }

    fn leave(&mut self, name: &str, side: Side, reason: String) {
        self.left_out.push(LeftOut { name: name.to_owned(), side, reason });
    }
}

/// What a probe of one side takes.
enum Cost {
    /// Seconds, and rows where it trains.
    Seconds(f64, Option<usize>),
    /// It says nothing here.
    Never(&'static str),
    /// There is no such probe.
    Nothing,
}

/// Seconds of a request of the finalist, in a batch, by its own measurement.
fn request(experiment: &Experiment) -> f64 {
    experiment.seconds_per_request.max(1e-5)
}

fn cost(prober: &Prober<'_>, name: &str, side: Side, extent: Extent, left: f64) -> Cost {
    let Extent { items, formats } = extent;
    let speed = prober.measured.forward_speed.max(1.0);
    let seconds = |seconds: f64| Cost::Seconds(seconds, None);
    let labels = prober.dataset.labels.len();
    let shots = prober.trial.shots;
    let n = items as f64;
    let Some(finalist) = prober.finalist(side) else {
        return match name {
            "subgroups" if prober.settings.data.subgroup.is_some() => seconds(0.0),
            "refusals" => seconds(refusing(prober, 0.0)),
            "capability" => seconds(capability::TOKENS as f64 / speed),
            _ => Cost::Nothing,
        };
    };
    let each = request(finalist);
    let whole = each * all_scores(prober, side);
    // What all prompts begin with is processed anew by every call.
    let alone = each.max(finalist.tokens.prompt / speed);
    let prompt = if side == Side::InContext { finalist.tokens.prompt } else { 0.0 };
    let in_context = side == Side::InContext;
    match name {
        "subgroups" if prober.settings.data.subgroup.is_none() => {
            Cost::Never("data.subgroup names no column")
        }
        "subgroups" => Cost::Nothing,
        "sensitive" if prober.held(side).is_empty() => Cost::Never("the prompt holds no rows"),
        "sensitive" => seconds(0.0),
        "format" => seconds(formats as f64 * (n * each + alone)),
        "order" | "label_names" if !in_context => match name {
            "order" => Cost::Never(
                "a tuned model has no demonstrations; the order of training rows differs with the seed",
            ),
            _ => Cost::Never("a tuned model knows its labels by their names"),
        },
        "order" if shots < 2 => Cost::Never("fewer than two demonstrations have no order"),
        "order" => seconds(variants::ORDERS as f64 * (n * each + alone)),
        "label_names" if shots == 0 => {
            Cost::Never("without demonstrations nothing tells what a name stands for")
        }
        "label_names" if labels < 3 => Cost::Never("fewer than three labels cannot be exchanged twice"),
        "label_names" => seconds(prober.exchanges() as f64 * (n * each + alone)),
        "paraphrase" if prober.settings.data.paraphrase.is_some() => seconds(n * each),
        "paraphrase" => seconds(rewrite::RULES.len() as f64 * n * each),
        "typos" => seconds(variants::TYPO_RATES.len() as f64 * n * each),
        "counterfactual" if prober.settings.probes.swaps.is_empty() => {
            Cost::Never("probes.swaps names no words")
        }
        "counterfactual" => match prober.swappable(items).len() {
            0 => Cost::Never("no dev item has one of the words in probes.swaps"),
            found => seconds(found as f64 * each),
        },
        "membership" if prober.held(side).is_empty() => Cost::Never("the prompt holds no rows"),
        "membership" => seconds(2.0 * n * whole),
        "repeats" => {
            let repeated = items.min(variants::REPEATED) as f64;
            seconds(repeated * (2.0 * whole + alone) + repeated / variants::BATCH as f64 * alone)
        }
        "capability" =>
        // Calls of one request use the machine less well than batches.
        {
            seconds(1.5 * (capability::TOKENS as f64 + capability::CALLS as f64 * prompt) / speed)
        }
        "refusals" => seconds(refusing(prober, prompt)),
        "overlap" if prober.held(side).is_empty() => Cost::Never("the prompt holds no rows"),
        "overlap" => {
            let tokens = prompt + prober.measured.query + WRITING * overlap::TOKENS as f64;
            seconds(1.5 * 2.0 * overlap::ROWS as f64 * tokens / speed)
        }
        "canaries" if in_context && shots == 0 => Cost::Never("the prompt holds no rows"),
        "canaries" => canaries_cost(prober, side, prompt, left),
        frozen::NAME => seconds(n.min(frozen::ITEMS as f64) * whole + alone),
        _ => Cost::Nothing,
    }
}

/// How many times as long as on dev a request of the finalist takes where the scores of all labels are wanted.
fn all_scores(prober: &Prober<'_>, side: Side) -> f64 {
    let calibrations = &prober.settings.in_context.calibration;
    let all = side == Side::InContext && calibrations.iter().any(|&one| one != Calibration::None);
    let retrieved =
        if side == Side::InContext { prober.trial.selection.retrieved(prober.trial.shots) } else { 0 };
    let own = retrieved as f64 * prober.measured.demonstration;
    (own + prober.measured.each(true)) / (own + prober.measured.each(all)).max(1.0)
}

fn refusing(prober: &Prober<'_>, prompt: f64) -> f64 {
    let tokens = 2.0 * (prompt + prober.measured.query) + WRITING * refusals::TOKENS as f64 + 24.0;
    refusals::COUNT as f64 * tokens / prober.measured.forward_speed.max(1.0)
}

/// Ranks before and after, and for the fine-tuned side a training of its own: of as many of the finalist's rows as fit into
/// half of what is `left`.
fn canaries_cost(prober: &Prober<'_>, side: Side, prompt: f64, left: f64) -> Cost {
    let speed = prober.measured.forward_speed.max(1.0);
    let tokens = prompt + 2.0 * prober.measured.query + 2.0 * canaries::NODES as f64;
    let ranking = canaries::COUNT as f64 * tokens / speed;
    if side == Side::InContext {
        let zero_shot = prober.trial.selection == Selection::ZeroShot;
        return if zero_shot {
            Cost::Never("the prompt holds no rows")
        } else {
            Cost::Seconds(ranking, None)
        };
    }
    let all = prober.tuned.labels_used.max(1);
    let training = |rows: usize| prober.tuned.setup.seconds * rows as f64 / all as f64;
    let sizes = std::iter::once(all).chain(ROWS.into_iter().filter(|&rows| rows < all));
    let mut smallest = all;
    for rows in sizes {
        smallest = rows;
        if ranking + training(rows) <= left / 2.0 {
            break;
        }
    }
    Cost::Seconds(ranking + training(smallest), Some(smallest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_items_come_before_fewer_formats() {
        let tried = |items, formats, dev| -> Vec<(usize, usize)> {
            let extents = extents(Extent { items, formats }, dev);
            extents.into_iter().map(|extent| (extent.items, extent.formats)).collect()
        };
        let expected = [(64, 10), (48, 10), (32, 10), (16, 10), (16, 5), (16, 3)];
        assert_eq!(tried(64, 10, 200), expected);
        // Ten dev items are all there are; of three formats none is spared.
        assert_eq!(tried(64, 4, 10), [(10, 4), (10, 3)]);
        assert_eq!(tried(20, 3, 200), [(20, 3)]);
    }
}
