//! Rows whose label a cheap classifier, trained on the other rows, doubts: likely mistakes of labelling.
//!
//! Cross-validated confident learning (Northcutt, Jiang and Chuang 2021): every row gets its probabilities from the linear tf-idf
//! floor fitted on the other folds; t_k is the mean probability of label k over the rows that carry it; a row is suspect where another
//! label's probability reaches that label's t_k and is the largest of those that do. Only train and dev are looked at: the test set
//! stays closed.

use serde::{Deserialize, Serialize};
use task::dataset::Dataset;
use task::example::{Example, Origin};

use crate::floor::logistic_regression::DEFAULT_INVERSE_REGULARISATION;
use crate::floor::{Floor, FloorError, LogisticRegression};
use crate::writer::target_index;

/// Folds of the cross-validation.
const FOLDS: usize = 5;
/// Rows that are looked at; they stand in the order of their content's hash, so the first ones are a random sample.
const MOST_ROWS: usize = 4000;

/// What the cross-validation found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Suspects {
    /// Rows that were looked at.
    pub looked_at: usize,
    /// Share of them whose label the floor gave too.
    pub agreement: f64,
    /// The suspects, the most doubtful first.
    pub rows: Vec<Suspect>,
}

/// A row whose label is in doubt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub origin: Origin,
    /// Its input.
    pub input: String,
    /// Its label.
    pub label: String,
    /// The label that the other rows suggest.
    pub suggested: String,
    /// Probability of its own label by the other rows.
    pub own: f64,
    /// Probability of the suggested one.
    pub other: f64,
}

/// Looks for suspects among the labels of `dataset`; `None` for tasks without labels, and where rows are too few to be folded.
///
/// # Errors
/// [`FloorError`] where the floor cannot be fitted.
pub fn suspects(dataset: &Dataset) -> Result<Option<Suspects>, FloorError> {
    let rows: Vec<&Example> = dataset.train.iter().chain(&dataset.dev).take(MOST_ROWS).collect();
    let labels = dataset.labels.len();
    if labels < 2 || rows.len() < 2 * FOLDS.max(labels) {
        return Ok(None);
    }
    let golds: Vec<usize> = rows.iter().map(|row| target_index(dataset, row)).collect();
    let probabilities = cross_validated(&rows, &golds, labels)?;
    let thresholds = thresholds(&probabilities, &golds, labels);
    let mut found = Suspects { looked_at: rows.len(), ..Suspects::default() };
    let mut agreed = 0;
    for ((row, &gold), own) in rows.iter().zip(&golds).zip(&probabilities) {
        let best = (0..labels).max_by(|&a, &b| own[a].total_cmp(&own[b])).expect("there are labels");
        agreed += usize::from(best == gold);
        let confident =
            (0..labels).filter(|&label| thresholds[label].is_some_and(|least| own[label] >= least));
        let Some(suggested) = confident.max_by(|&a, &b| own[a].total_cmp(&own[b])) else { continue };
        if suggested != gold && own[suggested] > own[gold] {
            found.rows.push(Suspect {
                id: row.id.clone(),
                origin: row.origin.clone(),
                input: row.input.clone(),
                label: row.target.clone(),
                suggested: dataset.labels[suggested].clone(),
                own: own[gold],
                other: own[suggested],
            });
        }
    }
    found.agreement = agreed as f64 / rows.len() as f64;
    found.rows.sort_by(|left, right| (right.other - right.own).total_cmp(&(left.other - left.own)));
    Ok(Some(found))
}

/// `[rows][labels]`: probabilities by a floor that never saw the row's fold.
fn cross_validated(rows: &[&Example], golds: &[usize], labels: usize) -> Result<Vec<Vec<f64>>, FloorError> {
    let mut probabilities = vec![Vec::new(); rows.len()];
    for fold in 0..FOLDS {
        let others: Vec<(&str, usize)> = (0..rows.len())
            .filter(|row| row % FOLDS != fold)
            .map(|row| (rows[row].input.as_str(), golds[row]))
            .collect();
        let floor = LogisticRegression::fit(&others, labels, DEFAULT_INVERSE_REGULARISATION)?;
        for row in (fold..rows.len()).step_by(FOLDS) {
            probabilities[row] =
                floor.predict(&rows[row].input).into_iter().map(|score| f64::from(score).exp()).collect();
        }
    }
    Ok(probabilities)
}

/// Mean probability of every label over the rows that carry it; `None` where none does.
fn thresholds(probabilities: &[Vec<f64>], golds: &[usize], labels: usize) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0usize); labels];
    for (own, &gold) in probabilities.iter().zip(golds) {
        sums[gold].0 += own[gold];
        sums[gold].1 += 1;
    }
    sums.into_iter().map(|(sum, count)| (count > 0).then(|| sum / count as f64)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use task::dataset::{Source, Sources};
    use task::settings::Settings;

    use super::*;

    /// Two topics with words of their own; row 7 of the file is labelled with the other topic.
    fn dataset(wrong: &[usize]) -> Dataset {
        let mut text = String::new();
        for index in 0..120 {
            let (topic, words) =
                if index % 2 == 0 { ("cards", "card chip pin") } else { ("loans", "loan rate mortgage") };
            let label = match (wrong.contains(&index), topic) {
                (false, topic) => topic,
                (true, "cards") => "loans",
                (true, _) => "cards",
            };
            text += &format!(
                "{{\"id\": \"r{index}\", \"text\": \"{words} number {index} of many\", \"label\": \"{label}\"}}\n"
            );
        }
        let settings = Settings::from_str("[data]\nid = \"id\"\nnear_duplicates = false\n", Path::new(""))
            .expect("sound");
        let sources =
            Sources { train: vec![Source::bytes("rows.jsonl", text.as_bytes())], ..Sources::default() };
        Dataset::from_sources(&settings, sources).expect("the rows load")
    }

    #[test]
    fn planted_mistakes_are_found_and_nothing_else() {
        let clean = suspects(&dataset(&[])).expect("it is fitted").expect("there are labels");
        assert_eq!((clean.rows.len(), clean.agreement), (0, 1.0));
        let wrong = [6, 7, 40, 61];
        let data = dataset(&wrong);
        let found = suspects(&data).expect("it is fitted").expect("there are labels");
        let mut ids: Vec<&str> = found.rows.iter().map(|row| row.id.as_str()).collect();
        ids.sort_unstable();
        // Those of the four that are not in the closed test set.
        let mut open: Vec<String> = wrong.iter().map(|index| format!("r{index}")).collect();
        open.retain(|id| !data.test.iter().any(|row| row.id == *id));
        open.sort();
        assert!(open.len() >= 2, "the split leaves some to be found: {open:?}");
        assert_eq!(ids, open);
        assert!(found.rows.iter().all(|row| row.suggested != row.label));
    }
}
