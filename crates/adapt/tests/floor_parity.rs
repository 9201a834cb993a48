//! The floors against scikit-learn, on a small corpus of our own. The reference says what made it:
//! `fixtures/scripts/floor_reference.py`.

use std::collections::BTreeMap;

use adapt::floor::{Floor, LogisticRegression, NearestNeighbour, TfIdf, best_label};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    labels: Vec<String>,
    queries: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    train: Vec<(String, usize)>,
    terms: Vec<String>,
    train_rows: Vec<BTreeMap<String, f64>>,
    query_rows: Vec<BTreeMap<String, f64>>,
    cosines: Vec<Vec<f64>>,
    nearest: Vec<Option<usize>>,
    logistic_regression: Vec<Solution>,
}

#[derive(Deserialize)]
struct Solution {
    inverse_regularisation: f64,
    classes: Vec<usize>,
    probabilities: Vec<Vec<f64>>,
    decisions: Vec<usize>,
}

impl Case {
    fn examples(&self) -> Vec<(&str, usize)> {
        self.train.iter().map(|(text, label)| (text.as_str(), *label)).collect()
    }

    fn tf_idf(&self) -> TfIdf {
        TfIdf::fit(&self.train.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>())
    }
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("fixtures/floor_reference.json"))
        .expect("the stored reference is valid JSON")
}

fn assert_rows_agree(model: &TfIdf, texts: &[&str], expected: &[BTreeMap<String, f64>]) {
    assert_eq!(texts.len(), expected.len());
    for (text, expected) in texts.iter().zip(expected) {
        let row = model.row(text);
        assert_eq!(row.len(), expected.len(), "{text:?}");
        for (feature, weight) in row {
            let term = &model.vocabulary().terms()[feature as usize];
            assert!(
                (weight - expected[term]).abs() < 1e-12,
                "{text:?} {term:?}: {weight} {}",
                expected[term]
            );
        }
    }
}

#[test]
fn tf_idf_is_that_of_scikit_learn() {
    let reference = reference();
    let queries: Vec<&str> = reference.queries.iter().map(String::as_str).collect();
    for case in &reference.cases {
        let model = case.tf_idf();
        assert_eq!(model.vocabulary().terms(), case.terms);
        let texts: Vec<&str> = case.train.iter().map(|(text, _)| text.as_str()).collect();
        assert_rows_agree(&model, &texts, &case.train_rows);
        assert_rows_agree(&model, &queries, &case.query_rows);
    }
}

#[test]
fn nearest_neighbours_are_those_of_scikit_learn() {
    let reference = reference();
    for case in &reference.cases {
        let floor = NearestNeighbour::fit(&case.examples(), reference.labels.len()).unwrap();
        for (query, (cosines, nearest)) in
            reference.queries.iter().zip(case.cosines.iter().zip(&case.nearest))
        {
            let found = floor.nearest(query, usize::MAX);
            assert_eq!(found.first().map(|hit| hit.0), *nearest, "{query:?}");
            assert_eq!(found.len(), cosines.iter().filter(|cosine| **cosine > 0.0).count());
            for (example, cosine) in found {
                assert!((cosine - cosines[example]).abs() < 1e-6, "{query:?} {example}");
            }
            if let Some(nearest) = nearest {
                assert_eq!(best_label(&floor.predict(query)), case.train[*nearest].1, "{query:?}");
            }
        }
    }
}

#[test]
fn logistic_regression_is_that_of_scikit_learn() {
    let reference = reference();
    for case in &reference.cases {
        for solution in &case.logistic_regression {
            let value = solution.inverse_regularisation;
            let floor = LogisticRegression::fit(&case.examples(), reference.labels.len(), value).unwrap();
            for (row, query) in reference.queries.iter().enumerate() {
                let scores = floor.predict(query);
                assert_eq!(best_label(&scores), solution.decisions[row], "C {value}, {query:?}");
                for (class, expected) in solution.classes.iter().zip(&solution.probabilities[row]) {
                    let probability = f64::from(scores[*class]).exp();
                    assert!(
                        (probability - expected).abs() < 1e-6,
                        "C {value}, {query:?}: {probability} {expected}"
                    );
                }
            }
        }
    }
}
