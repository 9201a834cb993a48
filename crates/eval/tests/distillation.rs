//! The share of a prompt's gain that a distilled adapter keeps, by hand.

#[expect(dead_code, reason = "the tests of the comparison use the rest")]
mod record;

use eval::comparison::Comparison;
use record::{experiment, floor, prompt, tuned};
use task::record::{Experiment, Family, RunRecord};

const ITEMS: usize = 100;

/// Zero-shot is right on 20 items, the prompt on `prompted`, the adapter that it taught on 50.
fn taught(prompted: usize) -> RunRecord {
    let mut distilled = experiment("hybrid/distilled/n64@test", Family::Hybrid, ITEMS, |item| item < 50);
    distilled.configuration.insert("teacher".to_owned(), "in_context/random/k4/s0/none@dev".into());
    let search = |part: &str| {
        let id = format!("fine_tune/recipe_search/n16/rung0/plain-r4-all/lr0.001@{part}");
        experiment(&id, Family::FineTune, ITEMS, |item| item < 90)
    };
    let all: Vec<Experiment> = vec![
        prompt("in_context/zero_shot/k0/s0/none@test", 0, 0, ITEMS, |item| item < 20),
        prompt("in_context/random/k4/s0/none@test", 4, 0, ITEMS, |item| item < prompted),
        tuned("fine_tune/lora/n64/lr0.001/s0@test", 64, 0, ITEMS, |item| item < 70),
        floor("floor/majority@test", ITEMS, |item| item % 3 == 0),
        search("dev"),
        distilled,
    ];
    record::record(
        all,
        ["in_context/random/k4/s0/none@test", "fine_tune/lora/n64/lr0.001/s0@test", "floor/majority@test"],
    )
}

#[test]
fn half_of_the_gain_is_kept() {
    let comparison = Comparison::from_record(&taught(80)).expect("a sound record");
    let found = comparison.distillation.expect("an adapter that was taught");
    assert_eq!(found.scores, [0.2, 0.8, 0.5]);
    // (0.5 - 0.2) / (0.8 - 0.2).
    let kept = found.kept.expect("there is a gain");
    assert!((kept.value - 0.5).abs() < 1e-12 && kept.low < 0.5 && kept.high > 0.5, "{kept:?}");
    assert!(found.sentence().contains("keeps 50.0%"), "{}", found.sentence());
    let hybrid = comparison.curves.iter().find(|curve| curve.family == Family::Hybrid);
    assert!(hybrid.is_some_and(|curve| curve.method == "distilled"));
    // The search is counted as effort, but it is no curve of its own.
    assert!(comparison.curves.iter().all(|curve| curve.method != "recipe_search"));
}

#[test]
fn without_a_gain_there_is_no_share_of_it() {
    let comparison = Comparison::from_record(&taught(10)).expect("a sound record");
    let found = comparison.distillation.expect("an adapter that was taught");
    assert!(found.kept.is_none());
    assert!(found.reason.expect("says why").contains("gains nothing"), "names the reason");
}
