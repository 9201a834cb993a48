//! One run against an earlier one.

#[expect(dead_code, reason = "the tests of the comparison use the rest")]
mod record;

use eval::Error;
use eval::regression::{Judgement, Regression};
use record::duel;
use task::record::RunRecord;

/// A run whose fine-tuned model is right but on every `wrong`-th of 400 items; the prompt is right on three in five.
fn run(wrong: usize) -> RunRecord {
    duel(400, |item| item % 5 > 1, move |item| item % wrong > 0, |item| item % 3 == 0)
}

#[test]
fn the_same_is_no_worse_a_bad_one_is_worse_and_a_close_one_is_open() {
    let judge = |before: usize, after: usize| {
        let regression = Regression::new(&run(before), &run(after), 0.02).expect("are whole");
        let change = regression.arm("fine_tune").expect("is in both").clone();
        assert_eq!((change.items, regression.arms.len()), (400, 3));
        (change.judgement, change.difference.value)
    };
    assert_eq!(judge(10, 10).0, Judgement::NoWorse);
    assert_eq!(judge(5, 10).0, Judgement::NoWorse);
    // 40 of 400 wrong against 80: ten points.
    assert_eq!(judge(10, 5), (Judgement::Worse, -0.1));
    // 40 against 45, on other items mostly: -1.3 points, and maybe more than two.
    assert_eq!(judge(10, 9).0, Judgement::Undecided);
}

#[test]
fn what_a_verdict_would_use_is_compared_with_what_the_other_would() {
    let regression = Regression::new(&run(5), &run(400), 0.02).expect("are whole");
    assert_eq!(regression.shipped.arm, "verdict");
    assert!(regression.shipped.after.starts_with("fine_tune"), "{:?}", regression.shipped);
    let mut other = run(10);
    for experiment in &mut other.experiments {
        for prediction in &mut experiment.predictions {
            prediction.example = format!("other {}", prediction.example);
        }
    }
    assert!(matches!(Regression::new(&run(10), &other, 0.02), Err(Error::TooFew { .. })));
    assert!(matches!(Regression::new(&run(10), &run(10), 0.0), Err(Error::Decision { .. })));
    let mut part = run(10);
    for experiment in &mut part.experiments {
        experiment.predictions.truncate(150);
    }
    let change = Regression::new(&run(10), &part, 0.02).expect("share items").shipped;
    assert_eq!(change.items, 150, "what both answered");
}
