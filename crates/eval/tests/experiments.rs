//! Statistics of recorded experiments: what is stored in any order must give the same answer.

#[expect(dead_code, reason = "the tests of the comparison use the rest")]
mod record;

use eval::crossing::{LabelsUntil, Search, labels_until_fine_tuning_wins};
use eval::learning_curve::LearningCurve;
use eval::paired;
use eval::sequential::{Side, replay};
use task::record::Experiment;

const ITEMS: usize = 120;

/// Right on this share of the items, in a pattern that differs from seed to seed.
fn share(percent: usize, seed: u64) -> impl Fn(usize) -> bool {
    move |item| (item * 37 + seed as usize * 11) % 100 < percent
}

fn prompts() -> Vec<Experiment> {
    (0..4)
        .map(|seed| {
            record::prompt(&format!("in_context/random/k8/s{seed}@test"), 8, seed, ITEMS, share(60, seed))
        })
        .collect()
}

fn tuned() -> Vec<Experiment> {
    let sizes = [(16, 30), (64, 50), (256, 80)];
    let run = |labels: usize, percent: usize, seed: u64| {
        record::tuned(
            &format!("fine_tune/lora/n{labels}/s{seed}@test"),
            labels,
            seed,
            ITEMS,
            share(percent, seed),
        )
    };
    sizes
        .into_iter()
        .flat_map(|(labels, percent)| (0..3).map(move |seed| run(labels, percent, seed)))
        .collect()
}

#[test]
fn the_crossing_is_read_from_experiments_in_any_order() {
    let answer = |prompts: &[Experiment], tuned: &[Experiment]| {
        let prompt = LearningCurve::of_experiments(prompts).expect("is a curve");
        let tuned = LearningCurve::of_experiments(tuned).expect("is a curve");
        labels_until_fine_tuning_wins(&prompt, &tuned, &Search::default()).expect("are on the same items")
    };
    let (prompts, mut tuned) = (prompts(), tuned());
    let stored = answer(&prompts, &tuned);
    let LabelsUntil::Estimated(found) = &stored else { panic!("{stored:?}") };
    // 50% at 64 and 80% at 256: 60% at about 64 x 4^(1/3).
    let labels = found.labels.expect("cross");
    assert!((90..=115).contains(&labels), "{found:?}");
    for experiment in &mut tuned {
        experiment.predictions.reverse();
    }
    assert_eq!(answer(&prompts, &tuned), stored);
}

#[test]
fn collapsed_runs_are_left_out_and_missing_examples_are_errors() {
    let mut tuned = tuned();
    let runs =
        |tuned: &[Experiment]| LearningCurve::of_experiments(tuned).map(|curve| curve.sizes()[0].runs.len());
    tuned[0].collapse = Some("diverged".to_owned());
    assert_eq!(runs(&tuned), Ok(2));
    tuned[1].predictions.pop();
    assert!(runs(&tuned).expect_err("lack an example").to_string().contains("`example-0119`"));
    assert!(LearningCurve::of_experiments(&[]).is_err());
}

#[test]
fn an_evidence_process_replays_two_experiments() {
    let (prompts, tuned) = (prompts(), tuned());
    let outcomes = paired::outcomes(&prompts[0], &tuned[6]).expect("are on the same items");
    let process = replay(outcomes, 0.05).expect("is a level");
    let pairing = paired::pair(&prompts[0], &tuned[6], "split").expect("are on the same items");
    assert_eq!(paired::Pairing::Counts(process.counts()), pairing);
    let stop = process.stop().expect("80% against 60% on nested items is clear");
    assert_eq!(stop.better, Side::Second);
    assert!(stop.items < ITEMS as u64 && stop.losses == 0, "{stop:?}");
}
