//! Equal time for both arms, in worlds whose clock is scripted: what is estimated is wrong, and what is measured is even.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use adapt::observer::{Observer, Silent};
use adapt::scripted::{ScriptedClock, ScriptedModel};
use task::record::{Experiment, Part, RunRecord};
use task::search_budget::SearchBudget;

use support::run;

const PROMPTS: &str = "shots = [0, 3, 6]\nseeds = 2\nsearch = false";
const TRAININGS: &str =
    "labels = [6, 24]\nseeds = 2\nlearning_rates = [1e-3, 5e-4]\nsearch_share = 0\nhybrids = [\"none\"]";

/// A hundred and fifty messages for three queues.
fn write(folder: &Path, in_context: &str, fine_tune: &str, budget: &str) {
    let line = |row: usize| {
        let (label, text) = support::message(row);
        serde_json::json!({ "text": text, "label": label }).to_string()
    };
    let lines: Vec<String> = (0..150).map(line).collect();
    task::atomic::write(&folder.join("rows.jsonl"), lines.join("\n").as_bytes()).unwrap();
    let text = format!(
        "[data]\ntrain = \"rows.jsonl\"\nnear_duplicates = false\n\n[in_context]\n{in_context}\n\n[fine_tune]\n{fine_tune}\n\n\
         [probes]\nshare = 0\n\n[budget]\n{budget}\n"
    );
    task::atomic::write(&folder.join("weigh.toml"), text.as_bytes()).unwrap();
}

/// A model whose long prompts take longer (a power above 1), or whose trainings do (`epoch` seconds more an epoch), than is estimated.
fn world(power: f64, epoch: f64) -> ScriptedModel {
    let clock = ScriptedClock::new(1e-3, power, 1e-4, epoch);
    ScriptedModel { clock: Some(Arc::new(clock)), ..ScriptedModel::default() }
}

fn searched(record: &RunRecord) -> SearchBudget {
    record.search_budget.clone().expect("a search that ended is kept")
}

/// By how much the smaller time falls short of the larger one.
fn difference(budget: &SearchBudget) -> f64 {
    let [one, other] = [budget.in_context.seconds, budget.fine_tune.seconds];
    (one - other).abs() / one.max(other)
}

#[test]
fn arms_are_even_where_estimates_are_wrong() {
    // Prompts that take up to twenty times what is estimated; trainings that do; neither; each in a wide and in a narrow budget.
    for (power, epoch, time) in
        [(1.5, 0.0, "200s"), (1.5, 0.0, "60s"), (1.0, 1.0, "100s"), (1.0, 0.5, "60s"), (1.2, 0.2, "100s")]
    {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), PROMPTS, TRAININGS, &format!("time = \"{time}\""));
        let record = run(folder.path(), &world(power, epoch), &mut Silent).unwrap();
        let budget = searched(&record);
        let case = format!("power {power}, epoch {epoch}, {time}: {budget:?}");
        assert!(difference(&budget) <= 0.2, "{case}");
        let all = budget.in_context.seconds + budget.fine_tune.seconds;
        assert!(all <= 1.2 * budget.seconds, "{case}");
        let added = budget.in_context.added.len() + budget.fine_tune.added.len();
        assert!(added > 0 || time == "60s", "{case}");
        let comparison = eval::comparison::Comparison::from_record(&record).unwrap();
        assert_eq!(comparison.budgets.even(), Some(true), "{case}");
        assert!((comparison.budgets.difference.unwrap() - difference(&budget)).abs() < 1e-12);
    }
}

#[test]
fn an_arm_that_is_late_puts_its_plan_off() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), PROMPTS, TRAININGS, "time = \"30s\"");
    let record = run(folder.path(), &world(1.6, 0.0), &mut Silent).unwrap();
    let budget = searched(&record);
    assert!(!budget.in_context.put_off.is_empty(), "{budget:?}");
    for name in budget.in_context.put_off.iter().filter(|name| !budget.in_context.added.contains(name)) {
        let ran = record.experiments.iter().any(|one| one.id.starts_with(&format!("{name}/")));
        assert!(!ran, "{name} was put off and ran");
    }
}

#[test]
fn what_lies_beyond_the_lists_is_answered_on_test_only_if_it_wins() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), PROMPTS, TRAININGS, "time = \"10m\"");
    let record = run(folder.path(), &world(1.0, 1.0), &mut Silent).unwrap();
    let beyond = ["embedding", "hybrid", "diverse"];
    let of = |part: Part| -> Vec<&Experiment> {
        record
            .experiments
            .iter()
            .filter(|one| one.part == part && beyond.contains(&one.method.as_str()))
            .collect()
    };
    assert!(!of(Part::Dev).is_empty());
    let finalist = &record.finalists.as_ref().unwrap().in_context;
    for experiment in of(Part::Test) {
        let winner = record.experiments.iter().find(|one| one.id == *finalist).unwrap();
        assert_eq!((&experiment.method, experiment.shots), (&winner.method, winner.shots));
    }
}

#[test]
fn an_empty_reserve_and_a_single_plan_say_so() {
    let few = "shots = [0]\nselection = [\"random\"]\nsearch = false";
    let one = "labels = [6]\nseeds = 1\nlearning_rates = [1e-3]\nmethods = [\"lora\"]\nsearch_share = 0\nhybrids = [\"none\"]";
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), few, one, "time = \"10m\"");
    let record = run(folder.path(), &world(1.0, 0.0), &mut Silent).unwrap();
    let budget = searched(&record);
    assert!(budget.in_context.ended.contains("reserve is empty"), "{budget:?}");
    assert!(budget.in_context.ended.contains("in_context.selection, in_context.shots"), "{budget:?}");
    assert!(difference(&budget) > 0.2, "{budget:?}");
    let text = eval::comparison::Comparison::from_record(&record).unwrap().budgets.sentences();
    assert!(text.contains("in-context tried no more because its reserve is empty"), "{text}");

    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), PROMPTS, TRAININGS, "time = \"10m\"\ntop_up = false");
    let budget = searched(&run(folder.path(), &world(1.0, 1.0), &mut Silent).unwrap());
    assert!(budget.in_context.added.is_empty() && budget.fine_tune.added.is_empty());
    assert!(budget.in_context.ended.contains("budget.top_up is off"), "{budget:?}");
}

/// Dies after so many stored experiments.
struct Mortal(usize);

impl Observer for Mortal {
    fn stored(&mut self, _: &Experiment, _: f64) {
        assert!(self.0 > 0, "killed");
        self.0 -= 1;
    }
}

/// Dies at the start of the `n`th unit of work.
struct Starter(usize);

impl Observer for Starter {
    fn started(&mut self, _: &str) {
        assert!(self.0 > 0, "killed");
        self.0 -= 1;
    }
}

/// What must not depend on where a run was killed.
fn outcome(record: &RunRecord) -> (Vec<String>, Vec<String>, Vec<String>, Vec<String>, String) {
    let budget = searched(record);
    let mut ids: Vec<String> =
        record.experiments.iter().map(|one| format!("{} {}", one.id, one.mean_score())).collect();
    ids.sort();
    let finalists = format!("{:?}", record.finalists);
    (ids, budget.in_context.added, budget.fine_tune.added, budget.in_context.put_off, finalists)
}

#[test]
fn a_killed_run_takes_the_same_from_its_reserve() {
    let task = |folder: &Path| write(folder, PROMPTS, TRAININGS, "time = \"200s\"");
    let whole = tempfile::tempdir().unwrap();
    task(whole.path());
    let expected = run(whole.path(), &world(1.2, 0.3), &mut Silent).unwrap();
    assert!(
        !searched(&expected).fine_tune.added.is_empty() || !searched(&expected).in_context.added.is_empty()
    );
    let dev = expected.experiments.iter().filter(|one| one.part == Part::Dev).count();
    for survived in [3, 9, dev - 6, dev - 3, dev - 1, dev + 2] {
        for by_start in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            task(folder.path());
            let died = catch_unwind(AssertUnwindSafe(|| {
                let observer: &mut dyn Observer =
                    if by_start { &mut Starter(survived) } else { &mut Mortal(survived) };
                run(folder.path(), &world(1.2, 0.3), observer).map(drop)
            }));
            assert!(died.is_err() || by_start, "the run was to be killed after {survived}");
            let resumed = run(folder.path(), &world(1.2, 0.3), &mut Silent).unwrap();
            assert_eq!(outcome(&resumed), outcome(&expected), "killed after {survived}");
            let [one, other] = [&resumed, &expected].map(|record| searched(record).in_context.seconds);
            assert!((one - other).abs() < 1e-6, "{one} {other}");
        }
    }
}

#[test]
fn a_finished_run_takes_no_more_from_its_reserve() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), PROMPTS, TRAININGS, "time = \"60s\"");
    let first = run(folder.path(), &world(1.2, 0.3), &mut Silent).unwrap();
    assert!(searched(&first).in_context.left + searched(&first).fine_tune.left > 0);
    let again = run(folder.path(), &world(1.0, 0.0), &mut Mortal(0)).unwrap();
    assert_eq!(searched(&again), searched(&first));
}

/// A search gets a fifth of the time that it was planned with: long prompts take longer than is estimated.
#[test]
fn a_search_ends_when_its_time_is_over() {
    let prompts = "shots = [0, 6]\nseeds = 1\ninstructions = [\"Which queue?\"]";
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), prompts, TRAININGS, "time = \"25s\"");
    let record = run(folder.path(), &world(1.5, 0.0), &mut Silent).unwrap();
    let search = record.prompt_search.as_ref().unwrap();
    assert!(search.out_of_time || search.candidates.iter().all(|one| one.dropped.is_some() || one.items > 0));
    assert!(search.seconds <= searched(&record).seconds / 2.0, "{search:?}");
}

/// Trainings take longer than any prompt: none would leave the arms even, but there are prompts to follow with.
#[test]
fn a_long_training_begins_where_the_other_arm_can_follow() {
    let trainings = "labels = [6, 24, 90]\nseeds = 1\nlearning_rates = [1e-3]\nmethods = [\"lora\"]\nsearch_share = 0\n\
                     hybrids = [\"none\"]";
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), PROMPTS, trainings, "time = \"120s\"");
    let clock = ScriptedClock::new(1e-3, 1.0, 3e-3, -0.2);
    let model = ScriptedModel { clock: Some(Arc::new(clock)), ..ScriptedModel::default() };
    let budget = searched(&run(folder.path(), &model, &mut Silent).unwrap());
    assert!(!budget.fine_tune.added.is_empty() && budget.in_context.added.len() > 3, "{budget:?}");
    assert!(difference(&budget) <= 0.2, "{budget:?}");
    // Without it the arms stop at 19.2 and 18.3 s.
    assert!(budget.in_context.seconds + budget.fine_tune.seconds > 60.0, "{budget:?}");
}
