//! Whether a test set may be left before its end: the rule that the runner asks after every batch.
//!
//! Floors cost nothing and are answered first and whole. The finalists then answer in the [`looking_order`], batch after
//! batch. They are told apart once the decision rule, with intervals that hold at every number of items
//! ([`confidence_sequence`](crate::sequential::confidence_sequence)), gives an answer that no floor can overturn. The rest of the test set is then left alone, by
//! every experiment alike, and the verdict is taken with the same intervals.
//!
//! [`looking_order`]: crate::sequential::looking_order

use task::record::Decision;

use crate::contrast::Outcome;
use crate::interval::Estimate;
use crate::paired::EQUIVALENCE_ALPHA;
use crate::replication::{RunSpread, widened};
use crate::sequential::Tally;

/// Fewest items after which a test set may be left: with fewer the other rows of a report would say too little.
pub const FEWEST: usize = 100;

/// The answers so far to the first items of the looking order: the score of each, from 0 to 1 (of labels: 1 where it is right).
#[derive(Clone, Copy, Debug)]
pub struct Looked<'a> {
    /// Of the in-context finalist.
    pub in_context: &'a [f64],
    /// Of the fine-tuned finalist.
    pub fine_tune: &'a [f64],
    /// Of the floor that dev chose, if there is one.
    pub floor: Option<&'a [f64]>,
    /// How far other draws and seeds lie apart on dev: the in-context finalist's configuration, the fine-tuned one's.
    pub spreads: [RunSpread; 2],
}

/// What the items so far decide; `None` where more of them are wanted.
pub fn decided(looked: &Looked<'_>, decision: &Decision) -> Option<Outcome> {
    if looked.in_context.len() < FEWEST {
        return None;
    }
    let contrast = tally(looked.in_context, looked.fine_tune);
    let found = judged(&contrast, decision)?;
    let better = matches!(found, Outcome::FineTuneBetter | Outcome::InContextBetter);
    let holds = !better || beyond_luck(&contrast, 0.0, &looked.spreads, decision.confidence);
    let settled = holds && looked.floor.is_none_or(|floor| floor_is_settled(looked, floor, decision));
    settled.then_some(found)
}

/// Whether the interval at `confidence` leaves out `difference` with the luck of draws and seeds counted as well.
fn beyond_luck(seen: &Tally, difference: f64, spreads: &[RunSpread], confidence: f64) -> bool {
    let Ok(items) = seen.confidence_sequence(confidence) else { return false };
    let Estimate { low, high, .. } = widened(&items, spreads, confidence);
    difference < low || difference > high
}

/// The decision rule on differences that were looked at one after the other: what [`crate::contrast`] says of the same ones.
pub fn judged(seen: &Tally, decision: &Decision) -> Option<Outcome> {
    let (value, margin) = (seen.difference(), decision.margin);
    if seen.excludes(0.0, decision.confidence) && value.abs() >= margin - 1e-12 {
        return Some(if value > 0.0 { Outcome::FineTuneBetter } else { Outcome::InContextBetter });
    }
    let within = |bound: f64| seen.excludes(bound, 1.0 - EQUIVALENCE_ALPHA);
    (value.abs() < margin && within(margin) && within(-margin)).then_some(Outcome::Equivalent)
}

/// Whether more items could not change what the floor means for the verdict: it is shown to be worse than the better
/// finalist, or to win ([`crate::contrast::FloorContrast`]).
fn floor_is_settled(looked: &Looked<'_>, floor: &[f64], decision: &Decision) -> bool {
    let [prompt, tuned] = looked.spreads;
    let mut pairs = [(tally(looked.in_context, floor), prompt), (tally(looked.fine_tune, floor), tuned)];
    // The smaller difference is the one to the better finalist.
    pairs.sort_by(|left, right| left.0.difference().total_cmp(&right.0.difference()));
    let out = |(pair, spread): &(Tally, RunSpread), bound: f64, confidence: f64| {
        beyond_luck(pair, bound, std::slice::from_ref(spread), confidence)
    };
    let not_worse = |pair: &(Tally, RunSpread)| {
        pair.0.difference() > -decision.margin && out(pair, -decision.margin, 1.0 - EQUIVALENCE_ALPHA)
    };
    let ahead = pairs[0].0.difference() >= 0.0;
    if ahead { pairs.iter().all(not_worse) } else { out(&pairs[0], 0.0, decision.confidence) }
}

fn tally(first: &[f64], second: &[f64]) -> Tally {
    Tally::new(first.iter().zip(second).map(|(first, second)| second - first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paired::PairedCounts;
    use crate::resample::Resampler;

    fn right(items: usize, wrong_every: usize, shift: usize) -> Vec<f64> {
        (0..items).map(|item| if (item + shift).is_multiple_of(wrong_every) { 0.0 } else { 1.0 }).collect()
    }

    #[test]
    fn a_clear_difference_decides_and_a_close_floor_keeps_it_open() {
        let decision = Decision::default();
        let (prompt, tuned) = (right(200, 2, 0), right(200, 20, 1));
        let looked =
            Looked { in_context: &prompt, fine_tune: &tuned, floor: None, spreads: [RunSpread::NONE; 2] };
        assert_eq!(decided(&looked, &decision), Some(Outcome::FineTuneBetter));
        let near = right(200, 21, 3);
        assert_eq!(decided(&Looked { floor: Some(&near), ..looked }, &decision), None);
        let far = right(200, 3, 2);
        assert_eq!(
            decided(&Looked { floor: Some(&far), ..looked }, &decision),
            Some(Outcome::FineTuneBetter)
        );
        let few = FEWEST - 1;
        let looked = Looked { in_context: &prompt[..few], fine_tune: &tuned[..few], ..looked };
        assert_eq!(decided(&looked, &decision), None, "too few for the other rows");
    }

    #[test]
    fn a_true_hypothesis_is_decided_wrongly_at_most_at_the_level_and_a_difference_of_the_margin_is_not_called_none()
     {
        // Looked at every 25 items of 1,000, 20% discordant. At no difference "better" is wrong; at a difference of the
        // margin (here 5 points) "equivalent" and the other side are.
        let decision = Decision { margin: 0.05, ..Decision::default() };
        let mut source = Resampler::new(303);
        for (win, loss, wrong) in [
            (0.1, 0.1, [Outcome::FineTuneBetter, Outcome::InContextBetter]),
            (0.125, 0.075, [Outcome::Equivalent, Outcome::InContextBetter]),
        ] {
            let (trials, mut errors) = (300, 0);
            for _ in 0..trials {
                let mut counts = PairedCounts::default();
                let mut found = None;
                for item in 1..=1000 {
                    let draw = source.uniform();
                    counts.observe((win..win + loss).contains(&draw), draw < win);
                    if item % 25 == 0 && item >= FEWEST {
                        found = found.or_else(|| judged(&Tally::from(&counts), &decision));
                    }
                }
                errors += u32::from(found.is_some_and(|found| wrong.contains(&found)));
            }
            // 5% of 300.
            assert!(errors <= 15, "{errors} of {trials} at {win} against {loss}");
        }
    }

    #[test]
    fn graded_scores_are_told_apart_too() {
        let decision = Decision::default();
        let graded = |low: f64, shift: usize| -> Vec<f64> {
            (0..200).map(|item| low + 0.1 * ((item + shift) % 3) as f64).collect()
        };
        let (prompt, tuned, alike) = (graded(0.3, 0), graded(0.5, 1), graded(0.3, 0));
        let looked =
            Looked { in_context: &prompt, fine_tune: &tuned, floor: None, spreads: [RunSpread::NONE; 2] };
        assert_eq!(decided(&looked, &decision), Some(Outcome::FineTuneBetter));
        // Answers that are the same are not proof enough of a margin of two points in 200 items, but of ten.
        let looked = Looked { fine_tune: &alike, ..looked };
        assert_eq!(decided(&looked, &decision), None);
        let wide = Decision { margin: 0.1, ..decision };
        assert_eq!(decided(&looked, &wide), Some(Outcome::Equivalent));
    }
}
