//! The search for a better instruction and format of the prompting arm: candidates around the best prompt so far, successive halving
//! over growing parts of dev, and at the end the best instruction and the best format together.
//!
//! Pure but for the question that it is given: what was stored answers again, so that a killed search ends as it would have.

pub(crate) mod candidates;
pub(crate) mod halving;
pub(crate) mod proposals;

pub(crate) use candidates::{Candidate, Kind, together};
pub(crate) use halving::{Asked, Halving, OUT_OF_TIME, UNABLE, affordable, halve, rungs};

use crate::plan::{Measured, PromptTrial};

/// Seconds that a candidate takes: for each rung, and for each dev item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Price {
    pub(crate) rung: f64,
    pub(crate) item: f64,
}

impl Price {
    /// Of candidates around `trial`, whose requests took so many seconds each with the scores of `all` labels or not, and which are asked
    /// for those of all where `calibrated`.
    pub(crate) fn new(
        measured: &Measured,
        trial: &PromptTrial,
        seconds_per_request: f64,
        [all, calibrated]: [bool; 2],
    ) -> Self {
        let shared = trial.shots - trial.selection.retrieved(trial.shots);
        let tokens = measured.instruction + shared as f64 * measured.demonstration;
        let own = trial.selection.retrieved(trial.shots) as f64 * measured.demonstration;
        let [took, takes] = [all, calibrated].map(|all| own + measured.each(all));
        let item = seconds_per_request * takes / took.max(1.0);
        Self { rung: tokens / measured.forward_speed.max(1.0), item: item.max(1e-5) }
    }
}

/// The best of the halving, the candidate of each kind that came furthest, and how they may be joined.
pub(crate) struct Ending {
    /// The leading candidate.
    pub(crate) leader: usize,
    /// The best instruction and the best format, where each is at least as good as the prompt that the search started from.
    pub(crate) pair: Option<[usize; 2]>,
}

/// What a halving of `candidates` ends in; `None` where none of them could answer.
pub(crate) fn ending(candidates: &[Candidate], halving: &Halving, incumbent: &[f64]) -> Option<Ending> {
    let leader = halving.best(|_| true)?;
    let held = |index: &usize| halving.lead(*index, incumbent) >= 0.0;
    let of = |kind: Kind| halving.best(|index| candidates[index].kind == kind).filter(held);
    let pair = of(Kind::Instruction).zip(of(Kind::Format)).map(|(one, other)| [one, other]);
    Some(Ending { leader, pair })
}
