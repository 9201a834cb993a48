//! Which adaptation to use, why, and what would change the answer.
//!
//! The rules, in this order (docs/verdict.md explains them):
//! 1. **floor**: the floor wins its contrast ([`FloorContrast::wins`]): no language model is needed.
//! 2. **undecided**, where the floor is not shown to be worse either ([`FloorContrast::loses`]).
//! 3. **fine_tune**: fine-tuned is better (interval above 0, estimate at least the margin, and borne out by the other draws and seeds)
//!    and no gate says no.
//! 4. **in_context**: in-context is better; or fine-tuned is better and a gate says no, which is then the reason.
//! 5. **equivalent**: the 90% interval of the difference lies within the margin. The default advice applies: start with the prompt.
//! 6. **undecided**: none of these; the reasons name the test items or the runs that would decide. The default advice applies.

use serde::{Deserialize, Serialize};

use crate::contrast::{Contrast, FloorContrast, Outcome};
use crate::economics::{Economics, Payback};
use crate::gates::{Gate, Gates, State, comparison, expected_requests};
use crate::requirement::Requirement;
use crate::wording::{count, experiment_name, number, percent, points, range};

/// What to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The prompt.
    InContext,
    /// The fine-tuned weights.
    FineTune,
    /// Either; they are the same within the margin.
    Equivalent,
    /// The record cannot tell.
    Undecided,
    /// Neither: the floor.
    Floor,
}

/// The decision with its grounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What to use.
    pub choice: Choice,
    /// The three conditions of fine-tuning.
    pub gates: Gates,
    /// Why, in plain sentences with their numbers; the deciding one first.
    pub reasons: Vec<String>,
    /// What would change the choice, in plain sentences with their numbers.
    pub flips_if: Vec<String>,
}

/// What a verdict is made of.
pub(crate) struct Grounds<'a> {
    pub(crate) contrast: &'a Contrast,
    pub(crate) floor: Option<&'a FloorContrast>,
    pub(crate) economics: &'a Economics,
    pub(crate) requirement: &'a Requirement,
    pub(crate) margin: f64,
    /// Mean scores on test: in-context, fine-tuned.
    pub(crate) scores: [f64; 2],
    /// What the scores are, in a sentence: `accuracy`, `token F1`, ...
    pub(crate) metric: &'a str,
}

const FLOOR_ADVICE: &str =
    "until the data say otherwise, take what costs least of those that are not told apart: the floor";
const DEFAULT_ADVICE: &str = "until the data say otherwise, start with in-context learning and keep evaluating: fine-tuning is an optimisation, not a default";

impl Verdict {
    /// Decides.
    pub(crate) fn new(grounds: &Grounds<'_>) -> Self {
        let gates = Gates::new(
            grounds.economics,
            grounds.contrast,
            grounds.requirement,
            grounds.margin,
            grounds.metric,
        );
        let closed: Vec<&Gate> =
            gates.named().into_iter().map(|(_, gate)| gate).filter(|g| g.state == State::No).collect();
        let choice = match (grounds.floor, grounds.contrast.outcome) {
            (Some(floor), _) if floor.wins => Choice::Floor,
            (Some(floor), _) if floor.is_open() => Choice::Undecided,
            (_, Outcome::FineTuneBetter) if closed.is_empty() => Choice::FineTune,
            (_, Outcome::FineTuneBetter | Outcome::InContextBetter) => Choice::InContext,
            (_, Outcome::Equivalent) => Choice::Equivalent,
            (_, Outcome::Undecided) => Choice::Undecided,
        };
        let reasons = grounds.reasons(choice, &gates, &closed);
        let flips_if = grounds.flips(choice, &gates);
        Self { choice, gates, reasons, flips_if }
    }
}

impl Grounds<'_> {
    fn reasons(&self, choice: Choice, gates: &Gates, closed: &[&Gate]) -> Vec<String> {
        let measured = comparison(self.scores, &self.contrast.difference);
        let mut reasons = Vec::new();
        match (choice, self.floor) {
            (Choice::Floor, Some(floor)) => reasons.push(format!(
                "a floor needs no language model and is {} better than the best arm on test: {}; with 95% confidence it is {} \
                 (one that falls short by less than {} would do)",
                points(floor.difference.value),
                experiment_name(&floor.floor),
                match floor.low >= 0.0 {
                    true => format!("better by more than {}", points(floor.low)),
                    false => format!("worse by less than {}", points(-floor.low)),
                },
                points(self.margin)
            )),
            (Choice::Equivalent, _) => reasons.push(format!(
                "the two are equivalent within {}: the 90% interval of the difference is {}",
 points(self.margin),
 range(self.contrast.equivalence.low, self.contrast.equivalence.high)
            )),
            (Choice::Undecided, _) => reasons.extend(self.why_undecided(measured)),
            _ => reasons.push(measured),
        }
        match choice {
            Choice::FineTune => {
                reasons.extend(gates.named().into_iter().filter(|(name, _)| *name != "enough_data").map(
                    |(name, gate)| match gate.state {
                        State::Undecided => {
                            format!("not known to be {}: {}", name.replace('_', " "), gate.reason)
                        }
                        _ => gate.reason.clone(),
                    },
                ));
            }
            Choice::InContext if self.contrast.outcome == Outcome::FineTuneBetter => {
                reasons.extend(closed.iter().map(|gate| gate.reason.clone()));
                reasons.push(
                    "a better fine-tuned model is not worth it while a condition of fine-tuning fails"
                        .to_owned(),
                );
            }
            Choice::Undecided if self.open_floor().is_some() => reasons.push(FLOOR_ADVICE.to_owned()),
            Choice::Equivalent | Choice::Undecided => reasons.push(DEFAULT_ADVICE.to_owned()),
            _ => {}
        }
        if choice != Choice::Undecided {
            reasons.extend(self.near_floor(choice));
        }
        reasons
    }

    /// Why nothing is decided, and what would decide it.
    fn why_undecided(&self, measured: String) -> Vec<String> {
        let contrast = self.contrast;
        let mut reasons = Vec::new();
        if contrast.of_finalists == Outcome::Undecided {
            let items = count(contrast.test.items, "item");
            reasons.push(format!("the test set of {items} cannot tell: {measured}"));
            let more = self
                .more()
                .map(|more| format!("undecided: {}", more.replace("show the difference", "would decide")));
            reasons.extend(more);
            reasons.extend(self.needed());
        } else {
            reasons.push(measured);
            reasons.extend(self.other_runs());
        }
        reasons.extend(self.near_floor(Choice::Undecided));
        reasons
    }

    /// What the runs beside the finalists leave of a difference that their items show.
    fn other_runs(&self) -> Option<String> {
        let replication = self.contrast.left_open_by_runs().then_some(&self.contrast.replication)?;
        Some(format!(
            "that is this prompt and these weights; over {} the difference is {} (interval {}), so that others may turn it round",
            replication.runs(),
            points(replication.difference.value),
            range(replication.difference.low, replication.difference.high)
        ))
    }

    /// The floor, if it neither wins nor loses.
    fn open_floor(&self) -> Option<&FloorContrast> {
        self.floor.filter(|floor| floor.is_open())
    }

    /// A floor that did not win, but may do as well.
    fn near_floor(&self, choice: Choice) -> Option<String> {
        let close = |floor: &&FloorContrast| !floor.loses || floor.difference.high > -self.margin;
        let floor = self.floor.filter(|floor| choice != Choice::Floor && close(floor))?;
        let seen = floor.difference.value;
        Some(format!(
            "not shown to be better than a floor that needs no language model: {} is {} {} than the best arm on test (interval {})",
            experiment_name(&floor.floor),
            points(seen.abs()),
            if seen < 0.0 { "worse" } else { "better" },
            range(floor.difference.low, floor.difference.high)
        ))
    }

    /// What would decide an undecided contrast.
    fn needed(&self) -> Option<String> {
        let needed = self.contrast.items_needed?;
        let discordant = percent(self.contrast.test.disagreement());
        let for_margin = needed.for_margin.map(|items| {
            format!("{} would show a true difference of {}", count(items, "test item"), points(self.margin))
        });
        let seen = self.contrast.difference.value;
        let as_observed = needed.as_observed.map(|items| match seen.abs() >= self.margin {
            true => format!("{} would do if it is the {} seen", number(items as f64), points(seen.abs())),
            false => format!(
                "{} would establish equivalence if it is the {} seen",
                number(items as f64),
                points(seen.abs())
            ),
        });
        let all: Vec<String> = [for_margin, as_observed].into_iter().flatten().collect();
        let all = all.join("; ");
        (!all.is_empty())
            .then(|| format!("in all, {all} (80% power; the two disagree on {discordant} of the items)"))
    }

    fn flips(&self, choice: Choice, gates: &Gates) -> Vec<String> {
        let difference = self.contrast.difference.value;
        let mut flips = Vec::new();
        match choice {
            Choice::FineTune => {
                flips.extend(self.too_few_requests());
                flips.extend(self.too_short_a_life());
                flips.push(format!(
                    "a better prompt closes the gap: it needs {} more {} on test",
                    points(difference - self.margin),
                    self.metric
                ));
            }
            Choice::InContext if self.contrast.outcome == Outcome::FineTuneBetter => {
                flips.extend(self.what_opens(gates));
                flips.push(format!(
                    "{} counts for more than cost: fine-tuned is {} better",
                    self.metric,
                    points(difference)
                ));
            }
            Choice::InContext => flips.push(match self.requirement.more_labels() {
                Some(more) => format!(
                    "about {} lift the fine-tuned model by more than {}, as its learning curve has it",
                    count(more, "more label"),
                    points(self.margin - difference)
                ),
                None => format!(
                    "more labels or a better recipe lift the fine-tuned model by more than {}",
                    points(self.margin - difference)
                ),
            }),
            Choice::Equivalent => {
                flips.push(format!(
                    "differences smaller than {} matter: set decision.margin lower",
                    points(self.margin)
                ));
                flips.extend(self.cheaper());
            }
            Choice::Undecided => {
                flips.extend(self.more());
                flips.push(format!(
                    "only differences larger than {} matter: set decision.margin higher",
                    points(self.margin)
                ));
            }
            Choice::Floor => flips.push(format!(
                "an arm gains more than {} over the floor",
                points(self.floor.map_or(0.0, |floor| floor.difference.value) + self.margin)
            )),
        }
        flips
    }

    /// About how many more test items, runs or labels would decide.
    fn more(&self) -> Option<String> {
        let items = self.contrast.items_needed.and_then(|needed| needed.more);
        let items = items.map(|more| format!("about {}", count(more, "more test item")));
        let runs = self.contrast.replication.runs_needed.filter(|_| self.contrast.left_open_by_runs());
        let runs = runs.map(|runs| format!("about {runs} draws and as many seeds"));
        let labels = self.requirement.more_labels();
        let labels = labels.map(|more| format!("about {} to train on", count(more, "more label")));
        let all: Vec<String> = [items, runs, labels].into_iter().flatten().collect();
        (!all.is_empty()).then(|| format!("{} show the difference", all.join(" or ")))
    }

    fn too_few_requests(&self) -> Option<String> {
        let requests = self.economics.main()?.requests.filter(|requests| *requests > 0.0)?;
        Some(match expected_requests(self.economics) {
            Some(expected) => {
                format!(
                    "fewer than {} requests come in all ({} are expected)",
                    number(requests),
                    number(expected)
                )
            }
            None => format!("fewer than {} requests come in all", number(requests)),
        })
    }

    fn too_short_a_life(&self) -> Option<String> {
        let months = self.economics.main()?.months.filter(|months| *months > 0.0)?;
        Some(format!("the labels or the input change within {} months", number(months)))
    }

    /// What would open the closed gates.
    fn what_opens(&self, gates: &Gates) -> Option<String> {
        let case = self.economics.main()?;
        if case.payback == Payback::Never {
            return Some(match case.never_up_to_prefix {
                Some(tokens) => format!(
                    "the prompt grows beyond {} tokens of instruction and demonstrations",
                    number(tokens)
                ),
                None => "a request with the prompt costs more than a fine-tuned one".to_owned(),
            });
        }
        let requests = case.requests?;
        let closed = [&gates.stable, &gates.long_and_expensive].iter().any(|gate| gate.state == State::No);
        closed.then(|| format!("more than {} requests come before the task changes", number(requests)))
    }

    /// The side that costs less, for an equivalent pair.
    fn cheaper(&self) -> Option<String> {
        let case = self.economics.main()?;
        let requests = case.requests?;
        Some(match case.payback {
            Payback::AtOnce => "cost decides: a fine-tuned request is cheaper from the first one".to_owned(),
            _ => format!(
                "cost decides and more than {} requests come: fine-tuning is then cheaper",
                number(requests)
            ),
        })
    }
}
