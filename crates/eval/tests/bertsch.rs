//! The published runs of Bertsch et al. (2024) as an external check: shown only the first sizes of fine-tuning, the estimate
//! of "labels until fine-tuning wins" must be right or refuse. The accuracies come from fixtures/scripts/eval_bertsch.py.

use std::collections::BTreeMap;

use eval::backtest::Backtest;
use eval::crossing::{Crossing, LabelsUntil, Search, labels_until_fine_tuning_wins};
use eval::learning_curve::{LearningCurve, Size};

type Runs = BTreeMap<u64, Vec<f64>>;

fn tasks() -> BTreeMap<String, BTreeMap<String, Runs>> {
    let text: BTreeMap<String, BTreeMap<String, BTreeMap<String, Vec<f64>>>> =
        serde_json::from_str(include_str!("bertsch.json")).expect("is the stored file");
    let sizes = |runs: BTreeMap<String, Vec<f64>>| -> Runs {
        runs.into_iter().map(|(size, means)| (size.parse().expect("is a number"), means)).collect()
    };
    let arms = |arms: BTreeMap<String, _>| arms.into_iter().map(|(arm, runs)| (arm, sizes(runs))).collect();
    text.into_iter().map(|(task, of_task)| (task, arms(of_task))).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

/// Runs that did not collapse: a run below half of its size's median would not be shipped.
fn healthy(means: &[f64]) -> Vec<f64> {
    let median = median(means);
    means.iter().copied().filter(|mean| *mean > median / 2.0).collect()
}

fn tuned(runs: &Runs, largest: u64) -> LearningCurve {
    let shown = runs.iter().filter(|(labels, _)| **labels <= largest);
    LearningCurve::new(shown.map(|(&labels, means)| Size::of_means(labels, &healthy(means))).collect())
        .expect("is a curve")
}

/// The prompt at its best size, which needs no more labels.
fn best(runs: &Runs) -> LearningCurve {
    let best = runs.values().max_by(|a, b| median(a).total_cmp(&median(b))).expect("has sizes");
    LearningCurve::new(vec![Size::of_means(1, best)]).expect("is a curve")
}

/// The first grid size from which on fine-tuning's mean stays at or above the prompt's, and the size before it.
fn truth(runs: &Runs, prompt: f64) -> (u64, Option<u64>) {
    let behind = runs.iter().rev().find(|(_, means)| {
        let kept = healthy(means);
        kept.iter().sum::<f64>() / (kept.len() as f64) < prompt
    });
    let before = behind.map_or(0, |(labels, _)| *labels);
    (before, runs.keys().copied().find(|labels| *labels > before))
}

/// Whether the interval meets the interval of sizes in which the curves really cross.
fn is_right(found: &Crossing, (before, after): (u64, Option<u64>)) -> bool {
    let low = found.low.unwrap_or(found.horizon);
    let reaches = found.high.is_none_or(|high| high >= before);
    reaches && after.is_none_or(|after| low <= after)
}

#[test]
fn the_estimate_is_right_or_refuses() {
    let (mut right, mut refused, mut wrong) = (0, BTreeMap::<String, u32>::new(), Vec::new());
    for (task, arms) in tasks() {
        for method in ["random", "retrieval"] {
            let prompt = best(&arms[method]);
            let truth = truth(&arms["fine_tune"], prompt.points()[0].score);
            for largest in [512, 1024, 2048, 4096] {
                let tuned = tuned(&arms["fine_tune"], largest);
                let answer = labels_until_fine_tuning_wins(&prompt, &tuned, &Search::default());
                match answer.expect("are sound curves") {
                    LabelsUntil::Refused(_) => *refused.entry(task.clone()).or_default() += 1,
                    LabelsUntil::Estimated(found) if is_right(&found, truth) => right += 1,
                    LabelsUntil::Estimated(found) => wrong.push((task.clone(), method, largest, found)),
                }
            }
        }
    }
    println!("{right} right, refused {refused:?}, wrong {wrong:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(right >= 16, "{right} of 40 estimated");
    // Both have a plateau between 256 and 512 labels that no power law knows of. (From 512 labels of CLINC150 the answer is
    // "not within 2,048", which is true.)
    assert_eq!((refused["banking77"], refused["clinic150"]), (8, 6));
}

#[test]
fn laws_that_would_have_misled_fail_their_backtest() {
    // Fitted to 64 to 512 labels they predict 2,048 so badly that a number would be a guess; on NLU they are good.
    let tasks = tasks();
    let error = |task: &str| {
        let curve = tuned(&tasks[task]["fine_tune"], 2048);
        let points: Vec<_> = curve.points().into_iter().filter(|point| point.labels >= 64).collect();
        Backtest::new(&points, 4.0).expect("is a curve").expect("has points enough").error()
    };
    assert!(error("banking77") > 0.08 && error("clinic150") > 0.08);
    assert!(error("nlu") < 0.03 && error("trec") < 0.03);
}
