//! Successive halving over growing parts of dev (Jamieson and Talwalkar 2016), with paired comparisons.
//!
//! All candidates answer the first items. After each rung, the better half goes on; of that half, a candidate whose mean paired difference
//! to the leader lies more than 1.96 standard errors below zero is dropped, too. The prompt that the search started from is never
//! dropped and costs nothing: it has answered all of dev. The search ends with one candidate, or with dev.

/// Items of the first rung.
const FIRST: usize = 16;
/// Standard errors that a paired difference must lie below zero for a candidate to be dropped.
const CLEARLY: f64 = 1.96;

/// Items that candidates have answered at the end of each rung: 16, then twice as many each time, at last all.
pub(crate) fn rungs(items: usize) -> Vec<usize> {
    let mut rungs: Vec<usize> =
        std::iter::successors(Some(FIRST), |size| Some(2 * size)).take_while(|&size| size < items).collect();
    rungs.push(items);
    rungs
}

/// The largest number of candidates, at most `most`, whose halving (without early drops) takes at most `seconds`; one answer of all
/// items, for a last candidate, is counted in.
pub(crate) fn affordable(most: usize, rungs: &[usize], rung: f64, item: f64, seconds: f64) -> usize {
    let cost = |candidates: usize| {
        let (mut left, mut before, mut total) = (candidates, 0, 0.0);
        for &size in rungs {
            total += left as f64 * (rung + (size - before) as f64 * item);
            before = size;
            if left == 1 {
                break;
            }
            left = left.div_ceil(2);
        }
        total + rung + before as f64 * item
    };
    (1..=most).take_while(|&candidates| cost(candidates) <= seconds).last().unwrap_or(0)
}

/// Why a candidate that broke down went no further.
pub(crate) const UNABLE: &str = "it could not answer";
/// Why a candidate went no further when the search's time was over.
pub(crate) const OUT_OF_TIME: &str = "no time was left";

/// What came of asking a candidate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    /// Its scores on the items.
    Scores(Vec<f64>),
    /// It cannot answer.
    Unable,
    /// The search's time is over: nobody else is asked.
    OutOfTime,
}

/// How far each candidate came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Halving {
    /// Scores of each candidate on the items that it answered, in their order.
    pub(crate) scores: Vec<Vec<f64>>,
    /// Why a candidate went no further.
    pub(crate) dropped: Vec<Option<&'static str>>,
}

impl Halving {
    /// Of the candidates that `wanted` names, the one that answered the most items, and of those the best; ties to the earlier one.
    pub(crate) fn best(&self, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let mut best: Option<usize> = None;
        for (index, scores) in self.scores.iter().enumerate().filter(|(index, _)| wanted(*index)) {
            let ahead = |holder: usize| {
                let held = &self.scores[holder];
                scores.len() > held.len() || (scores.len() == held.len() && mean(scores) > mean(held))
            };
            if !scores.is_empty() && best.is_none_or(ahead) {
                best = Some(index);
            }
        }
        best
    }

    /// The mean score of a candidate over that of `incumbent` on the same items.
    pub(crate) fn lead(&self, index: usize, incumbent: &[f64]) -> f64 {
        let scores = &self.scores[index];
        mean(scores) - mean(&incumbent[..scores.len()])
    }
}

/// Halves `candidates`. `ask(rung, candidate, from, to)` scores items `from..to`. Where its time is over the halving ends as it stands.
pub(crate) fn halve<E>(
    candidates: usize,
    incumbent: &[f64],
    rungs: &[usize],
    mut ask: impl FnMut(usize, usize, usize, usize) -> Result<Asked, E>,
) -> Result<Halving, E> {
    let mut found = Halving { scores: vec![Vec::new(); candidates], dropped: vec![None; candidates] };
    let mut left: Vec<usize> = (0..candidates).collect();
    let mut before = 0;
    for (rung, &size) in rungs.iter().enumerate() {
        for (place, &candidate) in left.iter().enumerate() {
            match ask(rung, candidate, before, size)? {
                Asked::Scores(scores) => found.scores[candidate].extend(scores),
                Asked::Unable => {
                    found.dropped[candidate] = Some(UNABLE);
                    found.scores[candidate].clear();
                }
                Asked::OutOfTime => {
                    left[place..].iter().for_each(|&late| found.dropped[late] = Some(OUT_OF_TIME));
                    return Ok(found);
                }
            }
        }
        left.retain(|&candidate| found.dropped[candidate].is_none());
        before = size;
        if size == *rungs.last().unwrap_or(&0) || left.len() < 2 {
            break;
        }
        left = survivors(&left, &mut found, incumbent);
    }
    Ok(found)
}

/// Who goes on to the next rung, the best first.
fn survivors(left: &[usize], found: &mut Halving, incumbent: &[f64]) -> Vec<usize> {
    let mut ranked = left.to_vec();
    ranked.sort_by(|&a, &b| mean(&found.scores[b]).total_cmp(&mean(&found.scores[a])));
    for &candidate in ranked.iter().skip(left.len().div_ceil(2)) {
        found.dropped[candidate] = Some("in the worse half");
    }
    ranked.truncate(left.len().div_ceil(2));
    let first = &found.scores[ranked[0]];
    let unsearched = &incumbent[..first.len()];
    let leader = if mean(first) > mean(unsearched) { first.clone() } else { unsearched.to_vec() };
    let (kept, clearly): (Vec<usize>, Vec<usize>) =
        ranked.into_iter().partition(|&candidate| !clearly_below(&found.scores[candidate], &leader));
    for candidate in clearly {
        found.dropped[candidate] = Some("clearly below the leader");
    }
    kept
}

/// Whether the mean of the paired differences lies more than 1.96 standard errors below zero.
fn clearly_below(scores: &[f64], leader: &[f64]) -> bool {
    let differences: Vec<f64> = scores.iter().zip(leader).map(|(own, best)| own - best).collect();
    let (count, middle) = (differences.len() as f64, mean(&differences));
    let variance =
        differences.iter().map(|d| (d - middle) * (d - middle)).sum::<f64>() / (count - 1.0).max(1.0);
    middle + CLEARLY * (variance / count.max(1.0)).sqrt() < 0.0
}

pub(crate) fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_double_and_end_with_all() {
        assert_eq!(rungs(100), [16, 32, 64, 100]);
        assert_eq!(rungs(32), [16, 32]);
        assert_eq!(rungs(9), [9]);
    }

    #[test]
    fn what_can_be_afforded_is_hand_arithmetic() {
        // Four candidates on rungs of 16, 32 and 64: 4 x 16 + 2 x 16 + 1 x 32 items, and 64 for the last one: 192 items, and
        // 4 + 2 + 1 + 1 prefixes of 1 s. At 0.5 s an item 104 s.
        assert_eq!(affordable(9, &[16, 32, 64], 1.0, 0.5, 104.0), 4);
        assert_eq!(affordable(9, &[16, 32, 64], 1.0, 0.5, 103.9), 3);
        assert_eq!(affordable(2, &[16, 32, 64], 1.0, 0.5, 1e9), 2);
        assert_eq!(affordable(9, &[16, 32, 64], 1.0, 0.5, 10.0), 0);
    }

    /// Candidate `c` is right on item `i` where `i * 7 % 10` is below its strength.
    fn scripted(strength: usize, from: usize, to: usize) -> Vec<f64> {
        (from..to).map(|item| f64::from(u8::from(item * 7 % 10 < strength))).collect()
    }

    #[test]
    fn the_known_best_wins_and_the_spending_is_that_of_halving() {
        let strengths = [5, 6, 4, 9, 5, 6, 5, 4];
        let incumbent = scripted(5, 0, 128);
        let mut asked = 0;
        let found = halve::<()>(8, &incumbent, &rungs(128), |_, candidate, from, to| {
            asked += to - from;
            Ok(Asked::Scores(scripted(strengths[candidate], from, to)))
        })
        .unwrap();
        assert_eq!(found.best(|_| true), Some(3));
        assert!((found.lead(3, &incumbent) - 0.4).abs() < 0.02);
        // At most 8 x 16 + 4 x 16 + 2 x 32 + 1 x 64; those who are clearly below go earlier.
        assert!((144..=320).contains(&asked), "{asked}");
        assert!(found.scores[2].len() == 16 && found.dropped[2] == Some("in the worse half"));
        assert!(found.dropped[3].is_none());
    }

    #[test]
    fn a_candidate_that_cannot_answer_is_left_out() {
        let ask = |_, candidate, from, to| {
            Ok::<_, ()>(match candidate {
                0 => Asked::Unable,
                _ => Asked::Scores(scripted(5 + candidate, from, to)),
            })
        };
        let found = halve(2, &scripted(5, 0, 40), &rungs(40), ask).unwrap();
        assert_eq!(found.dropped[0], Some("it could not answer"));
        assert_eq!(found.best(|_| true), Some(1));
        assert_eq!(found.best(|index| index == 0), None);
    }

    #[test]
    fn a_search_whose_time_is_over_ends_with_the_best_until_then() {
        let strengths = [5, 6, 9, 8];
        let mut asked = 0;
        // Four answer the first rung, and of the two that go on the better one the second.
        let found = halve::<()>(4, &scripted(5, 0, 64), &rungs(64), |_, candidate, from, to| {
            asked += 1;
            let scores = scripted(strengths[candidate], from, to);
            Ok(if asked <= 5 { Asked::Scores(scores) } else { Asked::OutOfTime })
        })
        .unwrap();
        assert_eq!(found.scores.iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 32, 16]);
        assert_eq!(
            (found.best(|_| true), found.dropped[2], found.dropped[3]),
            (Some(2), None, Some(OUT_OF_TIME))
        );
        let none =
            halve::<()>(2, &scripted(5, 0, 64), &rungs(64), |_, _, _, _| Ok(Asked::OutOfTime)).unwrap();
        assert_eq!(none.best(|_| true), None);
    }

    #[test]
    fn clearly_below_is_a_paired_comparison() {
        // By hand: of 16 differences four are -1: mean -0.25, variance (4 x 0.5625 + 12 x 0.0625) / 15 = 0.2, standard error
        // sqrt(0.2 / 16) = 0.1118: -0.25 + 0.219 < 0. Three: mean -0.1875, variance 0.1625, error 0.1008: -0.1875 + 0.1975 > 0.
        let leader = [1.0; 16];
        let wrong = |count: usize| (0..16).map(|i| f64::from(u8::from(i >= count))).collect::<Vec<_>>();
        assert!(clearly_below(&wrong(4), &leader));
        assert!(!clearly_below(&wrong(3), &leader));
        assert!(!clearly_below(&leader, &leader));
    }
}
