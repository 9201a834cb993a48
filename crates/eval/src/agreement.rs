//! Whether several runs give the same answers, right or wrong.

use serde::{Deserialize, Serialize};

use crate::Error;

/// How far runs agree, item by item.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Runs compared.
    pub runs: usize,
    /// Items that all of them answered.
    pub items: usize,
    /// Consistency: the share of pairs of runs that agree, averaged over items (Fleiss' observed agreement, 1971).
    pub consistency: f64,
    /// Churn: items on which not all runs agree.
    pub changed: usize,
}

/// Agreement of `runs`, `[run][item]`, the items of every run in the same order. Needs two runs and one item.
pub fn agreement<T: PartialEq>(runs: &[Vec<T>]) -> Result<Agreement, Error> {
    let count = runs.len();
    if count < 2 {
        return Err(Error::TooFew { what: "runs", have: count, need: 2 });
    }
    let items = runs[0].len();
    if items == 0 {
        return Err(Error::TooFew { what: "items", have: 0, need: 1 });
    }
    if let Some(run) = runs.iter().find(|run| run.len() != items) {
        return Err(Error::Length { what: "items of a run", have: run.len(), need: items });
    }
    let pairs = count * (count - 1) / 2;
    let (mut agreeing, mut changed) = (0, 0);
    for item in 0..items {
        let answers: Vec<&T> = runs.iter().map(|run| &run[item]).collect();
        let same = (0..count)
            .flat_map(|one| (0..one).map(move |other| (one, other)))
            .filter(|(one, other)| answers[*one] == answers[*other])
            .count();
        agreeing += same;
        changed += usize::from(same < pairs);
    }
    let consistency = agreeing as f64 / (pairs * items) as f64;
    Ok(Agreement { runs: count, items, consistency, changed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consistency_is_the_observed_agreement_of_fleiss() {
        // The worked example of Fleiss' kappa (14 raters, 10 subjects, 5 categories): observed agreement 0.378
        // (statsmodels aggregate: fixtures/scripts/eval_probes.py).
        let counts = [
            [0, 0, 0, 0, 14],
            [0, 2, 6, 4, 2],
            [0, 0, 3, 5, 6],
            [0, 3, 9, 2, 0],
            [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0],
            [2, 5, 3, 2, 2],
            [6, 5, 2, 1, 0],
            [0, 2, 2, 3, 7],
        ];
        let subjects: Vec<Vec<usize>> = counts
            .iter()
            .map(|row| row.iter().enumerate().flat_map(|(category, &n)| vec![category; n]).collect())
            .collect();
        let runs: Vec<Vec<usize>> =
            (0..14).map(|rater| subjects.iter().map(|subject| subject[rater]).collect()).collect();
        let found = agreement(&runs).expect("are runs");
        assert!((found.consistency - 0.378_021_978_021_978).abs() < 1e-12, "{found:?}");
        assert_eq!((found.runs, found.items, found.changed), (14, 10, 9));
    }

    #[test]
    fn what_cannot_be_compared_is_an_error() {
        assert!(agreement(&[vec![1]]).is_err());
        assert!(agreement(&[vec![1], vec![1, 2]]).is_err());
        assert!(agreement::<u8>(&[vec![], vec![]]).is_err());
    }
}
