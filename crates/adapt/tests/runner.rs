//! The runner as a whole, on a scripted model: what is stored, in what order, and what a killed run comes back with.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

mod support;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use adapt::Error;
use adapt::observer::{Observer, Silent, Summary};
use adapt::runner::Run;
use adapt::scripted::ScriptedModel;
use task::dataset::Dataset;
use task::prompt_search::PromptSearch;
use task::record::{Experiment, Family, Part, RunRecord, TestStop};
use task::settings::Settings;
use task::store::Store;

use support::run;

/// Three queues with words of their own and words in common.
fn write_task(folder: &Path, extra: &str) {
    write_rows(
        folder,
        90,
        "shots = [0, 3, 6]\nseeds = 2\nsearch = false",
        "labels = [6, 24]\nseeds = 2",
        extra,
    );
}

/// Neither a search nor hybrids: the tests of those replace this.
const SEARCH: &str = "search_share = 0\nhybrids = [\"none\"]";

fn write_rows(folder: &Path, rows: usize, in_context: &str, fine_tune: &str, extra: &str) {
    let mut lines = Vec::new();
    for row in 0..rows {
        let (label, text) = support::message(row);
        lines.push(serde_json::json!({ "text": text, "label": label }).to_string());
    }
    task::atomic::write(&folder.join("rows.jsonl"), lines.join("\n").as_bytes()).unwrap();
    let text = format!(
        "[task]\nname = \"queues\"\n\n[data]\ntrain = \"rows.jsonl\"\nnear_duplicates = false\n\n[model]\nsource = \"embedded\"\n\n\
         [in_context]\n{in_context}\n\n[fine_tune]\n{fine_tune}\nlearning_rates = [1e-3, 5e-4]\n{SEARCH}\n{extra}\n\n[budget]\ntop_up = false\n"
    );
    task::atomic::write(&folder.join("weigh.toml"), text.as_bytes()).unwrap();
}

/// Everything of a record that must not depend on when the run was interrupted: all but seconds and places.
fn timeless(record: &RunRecord) -> BTreeMap<String, serde_json::Value> {
    let strip = |experiment: &Experiment| {
        let mut experiment = experiment.clone();
        experiment.setup.seconds = 0.0;
        experiment.seconds_per_request = 0.0;
        // How many requests are timed depends on how long they take.
        experiment.calls.timed.clear();
        if let Some(artefact) = &mut experiment.artefact {
            artefact.path = None;
        }
        serde_json::to_value(experiment).unwrap()
    };
    let mut all: BTreeMap<String, serde_json::Value> =
        record.experiments.iter().map(|e| (e.id.clone(), strip(e))).collect();
    all.insert("finalists".to_owned(), serde_json::to_value(&record.finalists).unwrap());
    all
}

/// Dies after so many stored experiments, as a killed process would.
struct Mortal(usize);

impl Observer for Mortal {
    fn stored(&mut self, _: &Experiment, _: f64) {
        assert!(self.0 > 0, "killed");
        self.0 -= 1;
    }
}

#[test]
fn a_run_covers_both_arms_and_the_floors_on_dev_and_test() {
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), "");
    let record = run(folder.path(), &ScriptedModel::default(), &mut Silent).unwrap();
    let count =
        |family, part| record.experiments.iter().filter(|e| e.family == family && e.part == part).count();
    // Zero-shot x 3 calibrations; random 2 sizes x 2 draws x 3; BM25 2 sizes x 2 (no contextual calibration).
    assert_eq!(count(Family::InContext, Part::Dev), 3 + 12 + 4);
    // One calibration of each prompt goes to test.
    assert_eq!(count(Family::InContext, Part::Test), 1 + 4 + 2);
    // Two methods x 2 sizes x (2 rates + 1 repeat).
    assert_eq!(count(Family::FineTune, Part::Dev), 12);
    assert_eq!(count(Family::FineTune, Part::Test), 8);
    // Majority, and two learners at 6, 24 and all labels.
    assert_eq!(count(Family::Floor, Part::Dev), 7);
    assert_eq!(count(Family::Floor, Part::Test), 7);
    let finalists = record.finalists.unwrap();
    for id in [&finalists.in_context, &finalists.fine_tune, &finalists.floor] {
        assert!(record.experiments.iter().any(|e| e.id == *id && e.part == Part::Test), "{id} is not stored");
    }
}

/// Prompts of these selections, a search, and one training.
fn write_search(folder: &Path, shots: &str, selection: &str) {
    // Words like the examples that this model reads: with them it knows what a prompt without demonstrations leaves to chance.
    let known = "invoice refund charge payment\\nOutput: billing\\n\\nparcel courier address late\\nOutput: delivery\\n\\n\
                 password account code locked\\nOutput: login";
    let prompts =
        format!("shots = {shots}\nseeds = 2\nselection = [{selection}]\ninstructions = [\"{known}\"]");
    write_rows(folder, 150, &prompts, "labels = [24]\nseeds = 1\nmethods = [\"lora\"]", "");
}

const ALL: &str = "\"random\", \"bm25\", \"embedding\", \"diverse\", \"hybrid\"";

#[test]
fn a_search_is_recorded_and_its_winner_is_measured_like_any_prompt() {
    let folder = tempfile::tempdir().unwrap();
    write_search(folder.path(), "[0]", "\"random\"");
    let record = run(folder.path(), &ScriptedModel::default(), &mut Silent).unwrap();
    let search = record.prompt_search.as_ref().unwrap();
    let base = record.experiments.iter().find(|e| e.id == search.base).unwrap();
    assert!(base.part == Part::Dev && base.method != "searched");
    let names: Vec<&str> = search.candidates.iter().map(|candidate| candidate.name.as_str()).collect();
    for name in ["own 1", "list", "no instruction", "template 2", "chat", "arrow", "format 1"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let answered: usize = search.candidates.iter().map(|candidate| candidate.items).sum();
    assert_eq!(search.answers, answered as u64);
    assert!(search.tokens > 0);
    for candidate in &search.candidates {
        assert!(candidate.items >= 16, "{candidate:?}");
    }
    let found: Vec<_> = record.experiments.iter().filter(|e| e.method == "searched").collect();
    assert_eq!(search.found.is_some(), !found.is_empty());
    for experiment in &found {
        assert_eq!(experiment.shots, base.shots);
        assert_eq!(experiment.configuration["selection"], base.configuration["selection"]);
        assert!(experiment.configuration.contains_key("layout"));
        let items =
            if experiment.part == Part::Dev { base.predictions.len() } else { record.task.items.test };
        assert!(
            experiment.predictions.len() == items || record.test_stop.is_some(),
            "all of dev, not the search's part"
        );
    }
    assert_eq!(search.found.as_deref(), Some("own 1"), "{search:?}");
    assert_eq!(found.iter().filter(|e| e.part == Part::Dev).count(), 3, "one for each calibration");
    // What is chosen is the better one on all of dev.
    let chosen = record.finalists.unwrap().in_context.replace("@test", "@dev");
    let chosen = record.experiments.iter().find(|e| e.id == chosen).unwrap();
    assert!(chosen.mean_score() >= base.mean_score());
}

/// Dies at the start of the search's `n`th question.
struct MortalSearcher(usize);

impl Observer for MortalSearcher {
    fn started(&mut self, name: &str) {
        if name.contains("searched") {
            assert!(self.0 > 0, "killed");
            self.0 -= 1;
        }
    }
}

#[test]
fn a_killed_search_ends_with_the_same_choice() {
    let whole = tempfile::tempdir().unwrap();
    write_search(whole.path(), "[0, 4]", ALL);
    let expected = run(whole.path(), &ScriptedModel::default(), &mut Silent).unwrap();
    for survived in [0, 1, 5, 17, 22] {
        let folder = tempfile::tempdir().unwrap();
        write_search(folder.path(), "[0, 4]", ALL);
        let killed = catch_unwind(AssertUnwindSafe(|| {
            run(folder.path(), &ScriptedModel::default(), &mut MortalSearcher(survived))
        }));
        assert!(killed.is_err(), "the search asks more than {survived} times");
        let resumed = run(folder.path(), &ScriptedModel::default(), &mut Silent).unwrap();
        let [one, other] = [&resumed, &expected]
            .map(|record| record.prompt_search.clone().map(|search| PromptSearch { seconds: 0.0, ..search }));
        assert_eq!(one, other, "killed after {survived}");
        assert_eq!(timeless(&resumed), timeless(&expected), "killed after {survived}");
    }
}

#[test]
fn test_is_answered_only_after_every_dev_experiment() {
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), "");
    let record = run(folder.path(), &ScriptedModel::default(), &mut Silent).unwrap();
    let first_test = record.experiments.iter().position(|e| e.part == Part::Test).unwrap();
    assert!(record.experiments[first_test..].iter().all(|e| e.part == Part::Test));
}

#[test]
fn a_killed_run_goes_on_and_ends_with_the_same_figures() {
    let whole = tempfile::tempdir().unwrap();
    write_task(whole.path(), "");
    let expected = run(whole.path(), &ScriptedModel::default(), &mut Silent).unwrap();
    for survived in [0, 1, 8, 9, 20, 33, 40, 50] {
        let folder = tempfile::tempdir().unwrap();
        write_task(folder.path(), "");
        let killed = catch_unwind(AssertUnwindSafe(|| {
            run(folder.path(), &ScriptedModel::default(), &mut Mortal(survived)).map(drop)
        }));
        assert!(killed.is_err(), "the run was to be killed after {survived}");
        let resumed = run(folder.path(), &ScriptedModel::default(), &mut Silent).unwrap();
        assert_eq!(timeless(&resumed), timeless(&expected), "killed after {survived}");
    }
}

#[test]
fn a_finished_run_does_nothing_again() {
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), "");
    run(folder.path(), &ScriptedModel::default(), &mut Silent).unwrap();
    run(folder.path(), &ScriptedModel::default(), &mut Mortal(0)).unwrap();
}

#[test]
fn a_training_that_diverges_is_counted_and_never_chosen() {
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), "");
    let model = ScriptedModel { diverges_at: 1e-3, ..ScriptedModel::default() };
    let record = run(folder.path(), &model, &mut Silent).unwrap();
    let collapsed: Vec<&Experiment> = record.experiments.iter().filter(|e| e.collapse.is_some()).collect();
    assert_eq!(collapsed.len(), 2, "LoRA at 1e-3 on both sizes");
    assert!(collapsed.iter().all(|e| e.part == Part::Dev && e.predictions.is_empty()));
    assert!(!record.finalists.unwrap().fine_tune.contains("lr0.001/"));
}

#[test]
fn a_context_without_room_for_one_demonstration_is_an_error_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), "");
    let model = ScriptedModel { context: 30, ..ScriptedModel::default() };
    let error = run(folder.path(), &model, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("the prompt with one demonstration needs"), "{error}");
    assert!(error.contains("holds 30"), "{error}");
}

#[test]
fn the_plan_is_told_before_anything_runs() {
    #[derive(Default)]
    struct Told(Option<Summary>, usize);
    impl Observer for Told {
        fn planned(&mut self, plan: &Summary) {
            assert_eq!(self.1, 0);
            self.0 = Some(plan.clone());
        }
        fn stored(&mut self, _: &Experiment, share: f64) {
            assert!((0.0..=1.0).contains(&share));
            self.1 += 1;
        }
    }
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), "");
    let mut told = Told::default();
    run(folder.path(), &ScriptedModel::default(), &mut told).unwrap();
    let plan = told.0.unwrap();
    assert_eq!((plan.prompts, plan.trainings, plan.done), (7, 12, 0));
}

/// The search, the trainings with its recipe and both hybrids, killed and not.
#[test]
fn a_search_and_hybrids_are_rows_of_the_same_record() {
    let write = |folder: &Path| {
        write_task(folder, "");
        let path = folder.join("weigh.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let wanted = "search_share = 0.3\nvariants = [\"plain\", \"dora\"]\nranks = [16, 4]\nhybrids = [\"distilled\", \"few_shot\", \"virtual_tokens\"]";
        task::atomic::write(&path, text.replace(SEARCH, wanted).as_bytes()).unwrap();
    };
    // At either rate of the task file training breaks down; a third of the smaller one is the second try.
    let model = ScriptedModel { diverges_at: 4e-4, ..ScriptedModel::default() };
    let whole = tempfile::tempdir().unwrap();
    write(whole.path());
    let collapsed = run(whole.path(), &model, &mut Silent).unwrap();
    let dev = |id: &str| collapsed.experiments.iter().find(|e| e.id == format!("{id}@dev"));
    assert!(dev("fine_tune/lora/n24/lr0.0005/s0").unwrap().collapse.is_some());
    assert!(dev("fine_tune/lora/n24/lr0.00017/s0").unwrap().collapse.is_none(), "tried again");
    assert!(dev("fine_tune/lora/n24/lr0.00033/s0").is_none(), "a smaller rate was planned");
    let searched: Vec<_> = collapsed.experiments.iter().filter(|e| e.method == "recipe_search").collect();
    // 2 variants x 2 ranks x 2 rates = 8; 3; 1.
    assert_eq!(searched.len(), 8 + 3, "all of them collapsed, and all are counted");
    assert!(searched.iter().all(|e| e.collapse.is_some() && e.part == Part::Dev && e.artefact.is_none()));
    let comparison = eval::comparison::Comparison::from_record(&collapsed).unwrap();
    let counted = collapsed.experiments.iter().filter(|e| e.collapse.is_some()).count();
    assert!(counted > searched.len());
    assert!(comparison.curves.iter().all(|curve| curve.method != "recipe_search"));

    let healthy = ScriptedModel::default();
    let whole = tempfile::tempdir().unwrap();
    write(whole.path());
    let record = run(whole.path(), &healthy, &mut Silent).unwrap();
    let tested = |method: &str| {
        record.experiments.iter().filter(|e| e.part == Part::Test && e.method == method).count()
    };
    // Every recipe is as good as the others here: the default wins, and its trainings are there already.
    assert_eq!((tested("lora_recipe"), tested("recipe_search")), (0, 0));
    assert_eq!((tested("distilled"), tested("few_shot_tuned"), tested("virtual_tokens")), (1, 1, 1));
    let find = |method: &str| {
        record.experiments.iter().find(|e| e.part == Part::Test && e.method == method).unwrap()
    };
    let (distilled, few_shot) = (find("distilled"), find("few_shot_tuned"));
    assert_eq!((distilled.family, distilled.shots, few_shot.shots), (Family::Hybrid, None, Some(4)));
    let teacher = record.finalists.as_ref().unwrap().in_context.replace("@test", "@dev");
    assert_eq!(distilled.configuration["teacher"], teacher);
    assert!(few_shot.tokens.prompt > 3.0 * distilled.tokens.prompt);
    let comparison = eval::comparison::Comparison::from_record(&record).unwrap();
    assert!(comparison.distillation.is_some());
    for survived in [30, 40, 45, 48] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let _ =
            catch_unwind(AssertUnwindSafe(|| run(folder.path(), &healthy, &mut Mortal(survived)).map(drop)));
        let resumed = run(folder.path(), &healthy, &mut Silent).unwrap();
        assert_eq!(timeless(&resumed), timeless(&record), "killed after {survived}");
    }
}

/// A prompt without demonstrations against 200 labels, on 300 to 400 test items.
fn write_clear_task(folder: &Path, extra: &str) {
    let data = "[decision]\nmargin = 0.1";
    write_rows(
        folder,
        900,
        "shots = [0]\nseeds = 1\nsearch = false",
        "labels = [200]\nseeds = 1",
        &format!("{data}\n{extra}"),
    );
    let path = folder.join("weigh.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("near_duplicates = false", "near_duplicates = false\ntest_share = 0.4");
    task::atomic::write(&path, text.as_bytes()).unwrap();
}

#[test]
fn a_test_set_is_left_once_the_finalists_are_told_apart_and_every_experiment_answers_the_same_items() {
    let folder = tempfile::tempdir().unwrap();
    write_clear_task(folder.path(), "");
    let record = run(folder.path(), &ScriptedModel::default(), &mut Silent).unwrap();
    let TestStop { answered, available } = record.test_stop.unwrap();
    assert!(answered < available && available == record.task.items.test, "{answered} of {available}");
    let ids = |experiment: &Experiment| {
        experiment.predictions.iter().map(|p| p.example.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    let on_test: Vec<&Experiment> = record.experiments.iter().filter(|e| e.part == Part::Test).collect();
    assert!(on_test.len() > 3 && on_test.iter().all(|e| e.predictions.len() == answered));
    assert!(on_test.iter().all(|e| ids(e) == ids(on_test[0])));
    let comparison = eval::comparison::Comparison::from_record(&record).unwrap();
    assert_eq!(comparison.contrast.outcome, eval::contrast::Outcome::FineTuneBetter);
    // Killed while it looks, and after the first finalist is stored.
    for survived in [15, 17] {
        let folder = tempfile::tempdir().unwrap();
        write_clear_task(folder.path(), "");
        let _ = catch_unwind(AssertUnwindSafe(|| {
            run(folder.path(), &ScriptedModel::default(), &mut Mortal(survived)).map(drop)
        }));
        let resumed = run(folder.path(), &ScriptedModel::default(), &mut Silent).unwrap();
        assert_eq!(
            (timeless(&resumed), resumed.test_stop),
            (timeless(&record), record.test_stop),
            "{survived}"
        );
    }
    let whole = tempfile::tempdir().unwrap();
    write_clear_task(whole.path(), "early_stopping = false");
    let whole = run(whole.path(), &ScriptedModel::default(), &mut Silent).unwrap();
    let all = whole.experiments.iter().filter(|e| e.part == Part::Test);
    assert!(whole.test_stop.is_none() && all.clone().all(|e| e.predictions.len() == available));
}

#[test]
fn every_request_is_kept_as_a_hash_of_its_text_and_the_finalists_are_timed() {
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), "");
    let record = run(folder.path(), &ScriptedModel::default(), &mut Silent).unwrap();
    for experiment in record.experiments.iter().filter(|e| e.family != Family::Floor) {
        assert_eq!(experiment.calls.sha256.len(), experiment.predictions.len(), "{}", experiment.id);
        assert!(experiment.calls.sha256.iter().all(|hash| hash.len() == 64));
    }
    let finalists = record.finalists.unwrap();
    for experiment in record.experiments {
        let is_finalist = [&finalists.in_context, &finalists.fine_tune].contains(&&experiment.id);
        assert_eq!(experiment.calls.timed.is_empty(), !is_finalist, "{}", experiment.id);
    }
}

#[test]
fn flipped_labels_are_tried_by_both_finalists_and_harm() {
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), "[probes]\nlabel_noise = [0.1, 0.6]");
    let record = run(folder.path(), &ScriptedModel::default(), &mut Silent).unwrap();
    assert_eq!(record.label_noise.len(), 4);
    let finalists = record.finalists.clone().unwrap();
    let clean = record.experiments.iter().find(|e| e.id == finalists.fine_tune).unwrap().mean_score();
    let noisy =
        record.label_noise.iter().find(|run| run.rate == 0.6 && run.experiment.family == Family::FineTune);
    let noisy = noisy.unwrap().experiment.mean_score();
    assert!(noisy < clean, "{noisy} against {clean}");
    assert!(record.experiments.iter().all(|e| !e.id.contains("noise")), "they are no part of the comparison");
    run(folder.path(), &ScriptedModel::default(), &mut Mortal(0)).unwrap();
}

#[test]
fn a_session_that_is_to_stop_stops_after_an_experiment_and_the_next_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), "");
    let settings = Settings::load(&folder.path().join("weigh.toml")).unwrap();
    let dataset = Dataset::load(&settings).unwrap();
    let model = ScriptedModel::default();
    let mut store = Store::open(&settings.run_folder(), &settings.fingerprint()).unwrap();
    let stopped = Run {
        settings: &settings,
        dataset: &dataset,
        engine: &model,
        store: &mut store,
        observer: &mut Silent,
        stop_after: Some(0.0),
    };
    assert!(matches!(stopped.execute(), Err(Error::Stopped { .. })));
    assert_eq!(store.experiments().unwrap().len(), 1);
    drop(store);
    assert!(run(folder.path(), &model, &mut Silent).unwrap().finalists.is_some());
}

/// Presses Ctrl-C while the first unit of work of a session runs.
#[derive(Default)]
struct Pressed(bool);

impl Observer for Pressed {
    fn started(&mut self, name: &str) {
        assert!(!self.0, "{name} begins after Ctrl-C");
        self.0 = true;
    }

    fn wants_stop(&self) -> bool {
        self.0
    }

    fn opened_test(&mut self, _: &[String]) {
        assert!(!self.0, "the test set is opened after Ctrl-C");
    }
}

#[test]
fn whatever_runs_when_ctrl_c_is_pressed_is_the_last_thing_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), "");
    let model = ScriptedModel::default();
    let mut stops = 0;
    loop {
        match run(folder.path(), &model, &mut Pressed::default()) {
            Err(Error::Interrupted) => stops += 1,
            done => {
                assert!(done.unwrap().finalists.is_some());
                break;
            }
        }
        assert!(stops < 200, "each session does one unit of work");
    }
    assert!(stops > 20, "{stops}: floors, prompts, trainings, answers to test and probes are units");
}
