//! Whole runs of tasks whose answers are written: free text and JSON by a schema, on a scripted model and on the embedded one.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

mod support;

use std::path::Path;

use adapt::Error;
use adapt::observer::{Observer, Silent};
use adapt::scripted::ScriptedModel;
use eval::comparison::Comparison;
use task::record::{Answer, Experiment, Family, Part, RunRecord};
use task::schema::Schema;
use task::settings::Settings;
use task::store::Store;

use support::{embedded, run};

const GRID: &str = "[model]\nsource = \"embedded\"\n[in_context]\nshots = [0, 3]\nseeds = 2\n\
                    [fine_tune]\nlabels = [6, 24]\nseeds = 2\nlearning_rates = [1e-3]\nmethods = [\"lora\"]\nsearch_share = 0\nhybrids = [\"none\"]\n[budget]\ntop_up = false\n";
const SCHEMA: &str = r#"schema = '''{"type": "object", "additionalProperties": false, "properties": {
    "thing": {"type": "string"}, "count": {"type": "integer"}}}'''"#;

/// Rows about things and how many of them; the answer is a sentence, or an object.
fn write_task(folder: &Path, rows: usize, json: bool, task: &str, rest: &str) {
    let things = ["chairs", "lamps", "tables", "books", "plates"];
    let lines: Vec<String> = (0..rows)
        .map(|row| {
            let (thing, count) = (things[row % 5], row / 5 % 4 + 1);
            let text = format!("order {row}: please send {count} {thing} to room {}", row * 7919 % 97);
            let target = if json {
                serde_json::json!({ "count": count, "thing": thing })
            } else {
                format!("We send {count} {thing} today.").into()
            };
            serde_json::json!({ "text": text, "target": target }).to_string()
        })
        .collect();
    task::atomic::write(&folder.join("rows.jsonl"), lines.join("\n").as_bytes()).unwrap();
    let text = format!("[task]\n{task}\n[data]\ntrain = \"rows.jsonl\"\nnear_duplicates = false\n{rest}");
    task::atomic::write(&folder.join("weigh.toml"), text.as_bytes()).unwrap();
}

/// Everything but times and places.
fn timeless(record: &RunRecord) -> Vec<(String, Vec<task::record::Prediction>, u64)> {
    let bare = |e: &Experiment| (e.id.clone(), e.predictions.clone(), e.setup.tokens);
    let mut all: Vec<_> = record.experiments.iter().map(bare).collect();
    all.sort_by(|left, right| left.0.cmp(&right.0));
    all
}

#[test]
fn a_test_set_of_graded_answers_is_left_once_the_finalists_are_told_apart() {
    let grid =
        GRID.replace("shots = [0, 3]", "shots = [0]\nsearch = false").replace("seeds = 2", "seeds = 1");
    let run = |decision: &str| {
        let folder = tempfile::tempdir().unwrap();
        let rest = format!("test_share = 0.4\n{grid}[probes]\nshare = 0\n[decision]\n{decision}");
        write_task(folder.path(), 900, false, "kind = \"generate\"\nmetric = \"token_f1\"", &rest);
        run(folder.path(), &ScriptedModel::default(), &mut Silent).unwrap()
    };
    let record = run("");
    let stop = record.test_stop.unwrap();
    assert!(stop.answered < stop.available && stop.available == record.task.items.test, "{stop:?}");
    let mut on_test = record.experiments.iter().filter(|e| e.part == Part::Test);
    assert!(on_test.all(|e| e.predictions.len() == stop.answered));
    let contrast = Comparison::from_record(&record).unwrap().contrast;
    assert_eq!(contrast.difference.interval, eval::interval::Method::AnytimeValid);
    assert_eq!(contrast.outcome, eval::contrast::Outcome::FineTuneBetter, "{:?}", contrast.difference);
    assert_eq!((contrast.test.name.as_str(), contrast.sequential), ("paired_permutation", None));
    let whole = run("early_stopping = false");
    assert!(whole.test_stop.is_none());
    let difference = Comparison::from_record(&whole).unwrap().contrast.difference;
    assert!(contrast.difference.low <= difference.value && difference.value <= contrast.difference.high);
}

#[test]
fn free_text_goes_from_the_task_file_to_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), 80, false, "kind = \"generate\"\nmetric = \"rouge_l\"", GRID);
    let record = run(folder.path(), &ScriptedModel::default(), &mut Silent).unwrap();
    assert_eq!(record.task.metrics, ["rouge_l", "token_f1", "exact_match", "chrf"]);
    let count =
        |family, part| record.experiments.iter().filter(|e| e.family == family && e.part == part).count();
    // Zero-shot, 2 random draws, retrieval; 2 sizes x (1 rate + 1 repeat); one constant and 6, 24 and all rows.
    assert_eq!([Part::Dev, Part::Test].map(|part| count(Family::InContext, part)), [4, 4]);
    assert_eq!([Part::Dev, Part::Test].map(|part| count(Family::FineTune, part)), [4, 4]);
    assert_eq!([Part::Dev, Part::Test].map(|part| count(Family::Floor, part)), [4, 4]);
    let comparison = Comparison::from_record(&record).unwrap();
    assert_eq!((comparison.metric.as_str(), comparison.table.len()), ("rouge_l", 8));
    assert_eq!(comparison.contrast.test.name, "paired_permutation");
    let tuned = comparison.arm(&comparison.contrast.fine_tune).unwrap().metrics.as_ref().unwrap();
    for metric in &record.task.metrics {
        let estimate = tuned.get(metric).unwrap();
        assert!(estimate.low <= estimate.value && estimate.value <= estimate.high, "{metric} {estimate:?}");
    }
    assert!(tuned.get("rouge_l").unwrap().value > 0.6, "every answer begins and ends alike: {tuned:?}");
    let again: Comparison = serde_json::from_str(&serde_json::to_string(&comparison).unwrap()).unwrap();
    assert_eq!(again.verdict, comparison.verdict);
}

#[test]
fn json_goes_from_the_task_file_to_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), 80, true, &format!("kind = \"extract\"\n{SCHEMA}"), GRID);
    let record = run(folder.path(), &ScriptedModel::default(), &mut Silent).unwrap();
    let comparison = Comparison::from_record(&record).unwrap();
    assert_eq!((record.task.kind.as_str(), comparison.metric.as_str()), ("extract", "field_f1"));
    let metrics = comparison.arm(&comparison.contrast.in_context).unwrap().metrics.as_ref().unwrap();
    for metric in ["field_f1", "exact_match", "valid", "micro_f1", "micro_precision", "micro_recall"] {
        assert!((0.0..=1.0).contains(&metrics.get(metric).unwrap().value), "{metric}");
    }
    assert!(comparison.table[5].fine_tune.text.contains("100.0% valid JSON"), "{:?}", comparison.table[5]);
    let first = record.experiments.iter().find(|e| e.id.contains("/n24/")).unwrap();
    assert!(
        matches!(&first.predictions[0].answer, Answer::Text { text, .. } if text.starts_with("{\"thing\":"))
    );
}

#[test]
fn a_killed_run_goes_on_to_the_same_answers() {
    struct Mortal(usize);
    impl Observer for Mortal {
        fn stored(&mut self, _: &Experiment, _: f64) {
            assert!(self.0 > 0, "killed");
            self.0 -= 1;
        }
    }
    let task = format!("kind = \"extract\"\n{SCHEMA}");
    let whole = tempfile::tempdir().unwrap();
    write_task(whole.path(), 80, true, &task, GRID);
    let expected = timeless(&run(whole.path(), &ScriptedModel::default(), &mut Silent).unwrap());
    for survived in [0, 5, 9, 15] {
        let folder = tempfile::tempdir().unwrap();
        write_task(folder.path(), 80, true, &task, GRID);
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(folder.path(), &ScriptedModel::default(), &mut Mortal(survived)).map(drop)
        }));
        assert!(killed.is_err());
        let resumed = run(folder.path(), &ScriptedModel::default(), &mut Silent).unwrap();
        assert_eq!(timeless(&resumed), expected, "killed after {survived}");
    }
}

#[cfg(unix)]
#[test]
fn a_users_command_is_the_metric_and_its_failure_stops_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let script = "while read -r line; do case \"$line\" in *today*) echo 1;; *) echo 0;; esac; done";
    let task =
        |script: &str| format!("kind = \"generate\"\nmetric_command = [\"sh\", \"-c\", '''{script}''']");
    write_task(folder.path(), 80, false, &task(script), GRID);
    let record = run(folder.path(), &ScriptedModel::default(), &mut Silent).unwrap();
    assert_eq!(record.task.metrics[0], "command");
    // All scores are 0 or 1: they are counted, as right and wrong answers are.
    assert_eq!(Comparison::from_record(&record).unwrap().contrast.test.name, "mcnemar");
    let broken = tempfile::tempdir().unwrap();
    write_task(broken.path(), 80, false, &task("echo no; exit 7"), GRID);
    let error = run(broken.path(), &ScriptedModel::default(), &mut Silent).unwrap_err();
    assert!(matches!(error, Error::MetricCommand(_)), "{error}");
    // Nothing is kept of what could not be scored: the mended command scores it.
    write_task(broken.path(), 80, false, &task(script), GRID);
    std::fs::remove_dir_all(broken.path().join("weigh.weigh")).unwrap();
    run(broken.path(), &ScriptedModel::default(), &mut Silent).unwrap();
}

#[test]
fn the_embedded_model_answers_in_valid_json_in_both_arms() {
    let folder = tempfile::tempdir().unwrap();
    let grid = "[model]\nsource = \"embedded\"\n[prompt]\nstyle = \"arrow\"\n[in_context]\nshots = [0, 2]\nseeds = 1\n\
                [fine_tune]\nlabels = [16]\nseeds = 1\nlearning_rates = [3e-3]\nmethods = [\"lora\"]\nepochs = 4\nsearch_share = 0\nhybrids = [\"none\"]\n[budget]\ntop_up = false\n";
    write_task(folder.path(), 50, true, &format!("kind = \"extract\"\n{SCHEMA}"), grid);
    // So small a model may give one answer to everything after so little training: a collapsed run, and no finalist then. Its
    // answers are stored all the same.
    match run(folder.path(), &embedded(), &mut Silent) {
        Ok(record) => assert!(Comparison::from_record(&record).is_ok()),
        Err(error) => assert!(matches!(error, Error::NothingRan("fine-tuning")), "{error}"),
    }
    let settings = Settings::load(&folder.path().join("weigh.toml")).unwrap();
    let schema = Schema::new(settings.task.answers.clone().unwrap().schema.unwrap()).unwrap();
    let experiments = Store::read(&settings.run_folder()).unwrap().experiments().unwrap();
    for family in [Family::InContext, Family::FineTune] {
        let answered = experiments.iter().filter(|e| e.family == family).flat_map(|e| &e.predictions);
        let mut answers = 0;
        for prediction in answered {
            let Answer::Text { text, .. } = &prediction.answer else { panic!("a label: {prediction:?}") };
            assert!(schema.accepts(text), "{text}");
            answers += 1;
        }
        assert!(answers > 0, "{family:?}");
    }
    let tuned = experiments.iter().find(|e| e.family == Family::FineTune).unwrap();
    let path = tuned.artefact.as_ref().unwrap().path.clone().unwrap();
    assert!(settings.run_folder().join(path).join("adapter_config.json").is_file());
}
