use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::record::{
    Answer, Artefact, Decision, Economics, Experiment, Family, Finalists, ModelIdentity, Part, PartSizes,
    Prediction, RunRecord, Setup, TaskFacts, Terms, TokensPerRequest, Work,
};

fn fingerprint() -> Fingerprint {
    Fingerprint::default().with("dataset", "d1").with("in_context.seeds", "3")
}

fn experiment(id: &str) -> Experiment {
    Experiment {
        id: id.to_owned(),
        family: Family::InContext,
        method: "random".to_owned(),
        labels_used: 8,
        shots: Some(8),
        seed: Some(1),
        configuration: BTreeMap::from([
            ("calibration".to_owned(), json!("batch")),
            ("rate".to_owned(), json!(0.1)),
        ]),
        part: Part::Dev,
        predictions: vec![Prediction {
            example: "e1".to_owned(),
            answer: Answer::Label { gold: 1, predicted: 0, scores: vec![-0.1, f32::NEG_INFINITY, 1.0e-40] },
        }],
        tokens: TokensPerRequest { prompt: 12.25, cached: 0.1, completion: 2.0 },
        setup: Setup { seconds: 0.3, tokens: 7, flops: 1.0e18 },
        seconds_per_request: 1.0 / 3.0,
        artefact: Some(Artefact { kind: "prompt".to_owned(), ..Artefact::default() }),
        collapse: None,
        calls: Default::default(),
    }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("tickets.weigh");
    (folder, run)
}

#[test]
fn an_experiment_is_read_back_bit_by_bit_and_the_first_result_stays() {
    let (_folder, run) = folder();
    let mut store = Store::open(&run, &fingerprint()).unwrap();
    let (one, two) = (experiment("b"), experiment("a"));
    assert!(store.put(&one).unwrap());
    assert!(store.put_timed(&two, 2.5).unwrap());
    assert!(!store.put_timed(&Experiment { labels_used: 9, ..one.clone() }, 4.0).unwrap(), "the id is taken");
    assert_eq!(store.get("b").unwrap(), Some(one.clone()));
    assert_eq!(store.get("c").unwrap(), None);
    assert!(store.contains("a").unwrap() && !store.contains("c").unwrap());
    assert_eq!(store.experiments().unwrap(), [one, two], "in the order in which they ended");
    assert_eq!(store.seconds().unwrap().1, BTreeMap::from([("in_context".to_owned(), 2.5)]));
}

#[test]
fn numbers_that_json_does_not_have_are_refused() {
    let (_folder, run) = folder();
    let mut store = Store::open(&run, &fingerprint()).unwrap();
    for bad in [f64::NAN, f64::INFINITY] {
        let error = store.put(&Experiment { seconds_per_request: bad, ..experiment("x") }).unwrap_err();
        assert!(error.to_string().ends_with("experiment x: it holds a number that is not finite"), "{error}");
    }
    assert!(store.experiments().unwrap().is_empty());
}

#[test]
fn facts_seconds_and_events_outlive_the_session() {
    let (_folder, run) = folder();
    {
        let store = Store::open(&run, &fingerprint()).unwrap();
        store.set_fact("plan", &vec!["a", "b"]).unwrap();
        store.set_fact("plan", &vec!["a", "c"]).unwrap();
        store.add_wall_seconds(1.5).unwrap();
        store.add_family_seconds(Family::FineTune, 0.25).unwrap();
        store.add_work(Family::FineTune, Work { tokens: 40, flops: 1e9 }).unwrap();
        store.log("started", &json!({ "version": 1 })).unwrap();
    }
    let store = Store::open(&run, &fingerprint()).unwrap();
    store.add_wall_seconds(2.0).unwrap();
    store.add_family_seconds(Family::FineTune, 0.5).unwrap();
    store.add_work(Family::FineTune, Work { tokens: 2, flops: 5e8 }).unwrap();
    assert_eq!(
        store.work().unwrap(),
        BTreeMap::from([("fine_tune".to_owned(), Work { tokens: 42, flops: 1.5e9 })])
    );
    assert_eq!(store.fact::<Vec<String>>("plan").unwrap().unwrap(), ["a", "c"]);
    assert_eq!(store.fact::<bool>("none").unwrap(), None);
    assert_eq!(store.seconds().unwrap(), (3.5, BTreeMap::from([("fine_tune".to_owned(), 0.75)])));
    let events = store.events().unwrap();
    assert_eq!((events[0].name.as_str(), &events[0].detail), ("started", &json!({ "version": 1 })));
    assert!(events[0].time.starts_with("20") && events[0].time.ends_with('Z'), "{}", events[0].time);
    let error = store.fact::<u32>("plan").unwrap_err().to_string();
    assert!(error.contains("fact `plan` cannot be read"), "{error}");
}

#[test]
fn events_cannot_be_changed() {
    let (_folder, run) = folder();
    let store = Store::open(&run, &fingerprint()).unwrap();
    store.log("a", &json!(null)).unwrap();
    for statement in ["DELETE FROM event", "UPDATE event SET name = 'b'"] {
        let error = store.connection.execute(statement, []).unwrap_err().to_string();
        assert_eq!(error, "events are only added");
    }
}

#[test]
fn the_test_set_is_opened_once() {
    let (_folder, run) = folder();
    let mut store = Store::open(&run, &fingerprint()).unwrap();
    let finalists = Finalists { in_context: "i".into(), fine_tune: "f".into(), floor: "o".into() };
    assert_eq!(store.finalists().unwrap(), None);
    store.open_test(&finalists, &Terms::default()).unwrap();
    store.open_test(&finalists, &Terms::default()).unwrap();
    assert_eq!(store.events().unwrap().len(), 1);
    assert_eq!(store.events().unwrap()[0].name, "test_opened");
    // The terms of the first time stay.
    let mut later = Terms::default();
    later.decision.margin = 0.2;
    store.open_test(&finalists, &later).unwrap();
    assert_eq!(store.terms().unwrap(), Some(Terms::default()));
    let other = Finalists { floor: "p".into(), ..finalists.clone() };
    let error = store.open_test(&other, &Terms::default()).unwrap_err().to_string();
    assert!(
        error.ends_with("the test set was opened for other finalists (i; f; o) and is opened only once"),
        "{error}"
    );
    assert_eq!(store.finalists().unwrap(), Some(finalists));
}

#[test]
fn the_record_holds_everything() {
    let (_folder, run) = folder();
    let mut store = Store::open(&run, &fingerprint()).unwrap();
    let (decision, economics) = (Decision::default(), Economics::default());
    let error = store.record(&decision, &economics).unwrap_err().to_string();
    assert!(error.ends_with("the run ended before it began: run the task again"), "{error}");
    let task = TaskFacts {
        name: "t".into(),
        kind: "classify".into(),
        metrics: Vec::new(),
        items: PartSizes { train: 1, dev: 2, test: 3 },
        data_sha256: "d".into(),
    };
    let model = ModelIdentity { source: "embedded".into(), parameters: 1, sha256: "m".into() };
    store.describe(&task, &model, &["a".to_owned(), "b".to_owned()]).unwrap();
    store.put_timed(&experiment("x"), 2.0).unwrap();
    store.add_wall_seconds(3.0).unwrap();
    let record = RunRecord {
        task,
        model,
        labels: vec!["a".into(), "b".into()],
        experiments: vec![experiment("x")],
        finalists: None,
        decision: decision.clone(),
        economics: economics.clone(),
        wall_seconds: 3.0,
        seconds_by_family: BTreeMap::from([("in_context".to_owned(), 2.0)]),
        work_by_family: BTreeMap::new(),
        joules_by_family: BTreeMap::new(),
        decided_on: None,
        prices: None,
        test_stop: None,
        clusters: BTreeMap::new(),
        label_noise: Vec::new(),
        probes: None,
        prompt_search: None,
        search_budget: None,
        terms: None,
    };
    assert_eq!(store.record(&decision, &economics).unwrap(), record);
    // A reader sees the same while the run goes on, and cannot change it.
    let reader = Store::read(&run).unwrap();
    assert_eq!(reader.record(&decision, &economics).unwrap(), record);
    assert!(reader.set_fact("a", &1).is_err());
}

#[test]
fn two_processes_do_not_run_one_task() {
    let (_folder, run) = folder();
    let first = Store::open(&run, &fingerprint()).unwrap();
    let error = Store::open(&run, &fingerprint()).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "run store {}: another process is running this task; wait for it, or end it",
            run.join(DATABASE).display()
        )
    );
    assert!(archive(&run).is_err(), "a running task is not moved");
    drop(first);
    Store::open(&run, &fingerprint()).unwrap();
}

#[test]
fn other_settings_are_refused_with_what_changed() {
    let (_folder, run) = folder();
    drop(Store::open(&run, &fingerprint()).unwrap());
    let other = fingerprint().with("in_context.seeds", "5").with("model.context", "64");
    let error = Store::open(&run, &other).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "run store {}: it holds a run under other settings (in_context.seeds was \"3\", is \"5\"; model.context was \
             not set, is \"64\"). Put them back to go on with it, or move the folder {} away to begin anew (`weigh run \
             --fresh` does)",
            run.join(DATABASE).display(),
            run.display()
        )
    );
    assert_eq!(archive(&run).unwrap().unwrap().file_name().unwrap(), "tickets.1.weigh");
    assert_eq!(archive(&run).unwrap(), None, "nothing is left to move");
    drop(Store::open(&run, &other).unwrap());
    let second = archive(&run).unwrap().unwrap();
    assert_eq!(second.file_name().unwrap(), "tickets.2.weigh");
    assert_eq!(Store::read(&second).unwrap().fingerprint().unwrap(), Some(other));
}

#[test]
fn what_is_no_store_of_ours_is_refused() {
    let (_folder, run) = folder();
    let error = Store::read(&run).unwrap_err().to_string();
    assert!(error.ends_with("there is no run yet"), "{error}");
    drop(Store::open(&run, &fingerprint()).unwrap());
    let database = run.join(DATABASE);
    let change = |sql: &str| Connection::open(&database).unwrap().execute_batch(sql).unwrap();
    change("PRAGMA user_version = 2");
    for error in [Store::open(&run, &fingerprint()).unwrap_err(), Store::read(&run).unwrap_err()] {
        let error = error.to_string();
        assert!(
            error.ends_with("a newer version of weigh wrote it (format 2; this one knows up to 1)"),
            "{error}"
        );
    }
    change("PRAGMA application_id = 1");
    let error = Store::open(&run, &fingerprint()).unwrap_err().to_string();
    assert!(error.ends_with("it is a database, but not a run store"), "{error}");
    crate::atomic::write(&database, "no database at all ".repeat(100).as_bytes()).unwrap();
    let error = Store::open(&run, &fingerprint()).unwrap_err().to_string();
    assert!(error.ends_with("it is not a run store (SQLite cannot read it)"), "{error}");
}

#[test]
fn artefacts_and_ignore_file_are_in_the_folder() {
    let (_folder, run) = folder();
    let store = Store::open(&run, &fingerprint()).unwrap();
    assert_eq!(store.artefacts().unwrap(), run.join("artefacts"));
    assert!(run.join("artefacts").is_dir());
    assert_eq!(std::fs::read_to_string(run.join(".gitignore")).unwrap(), "*\n");
}

#[test]
fn other_data_or_weights_under_the_same_settings_are_refused() {
    let (_folder, run) = folder();
    let store = Store::open(&run, &fingerprint()).unwrap();
    let task = |name: &str, sha256: &str| TaskFacts {
        name: name.into(),
        kind: "classify".into(),
        metrics: Vec::new(),
        items: PartSizes { train: 5, dev: 2, test: 3 },
        data_sha256: sha256.into(),
    };
    let model = |source: &str, sha256: &str| ModelIdentity {
        source: source.into(),
        parameters: 1,
        sha256: sha256.into(),
    };
    let labels = ["a".to_owned(), "b".to_owned()];
    store.describe(&task("t", "d"), &model("m", "w"), &labels).unwrap();
    store.describe(&task("renamed", "d"), &model("moved", "w"), &labels).unwrap();
    let error = store.describe(&task("t", "e"), &model("m", "x"), &labels[..1]).unwrap_err().to_string();
    let changes = "(the rows changed: 5 + 2 + 3 before, 5 + 2 + 3 now; the labels changed: 2 before, 1 now; the weights of m \
                   changed)";
    assert!(
        error.contains(&format!("it holds a run under other data or weights {changes}. Put them back")),
        "{error}"
    );
}

/// A store with two experiments, a fact and an opened test set, and what a check of its log says after `tamper`.
fn audited(tamper: &str) -> AuditReport {
    let (_folder, run) = folder();
    let mut store = Store::open(&run, &fingerprint()).unwrap();
    let mut one = experiment("a");
    one.calls.sha256 = vec!["11".repeat(32), "22".repeat(32)];
    store.put(&one).unwrap();
    store.set_fact("plan", &["x"]).unwrap();
    store.set_fact("plan", &["y"]).unwrap();
    store.put(&experiment("b")).unwrap();
    let finalists = Finalists { in_context: "a".into(), fine_tune: "b".into(), floor: String::new() };
    store.open_test(&finalists, &Terms::default()).unwrap();
    store
        .connection
        .execute_batch(&format!("DROP TRIGGER audit_is_kept; DROP TRIGGER audit_is_final; {tamper}"))
        .unwrap();
    store.verify_audit(None).unwrap()
}

#[test]
fn an_audit_finds_what_was_changed_dropped_or_moved() {
    let clean = audited("");
    assert!(clean.problems.is_empty(), "{:?}", clean.problems);
    // The fingerprint, two experiments, the plan twice, the finalists, the terms and the opening of the test set.
    assert_eq!((clean.entries, clean.experiments, clean.requests, clean.adopted), (8, 2, 2, 0));
    for (tamper, expected) in [
        (
            "UPDATE audit SET detail = replace(detail, '\"seed\":1', '\"seed\":2') WHERE sequence = 2",
            "entry 2 (experiment) was changed",
        ),
        ("UPDATE audit SET time = '2020' WHERE sequence = 8", "entry 8 (test_opened) was changed"),
        ("DELETE FROM audit WHERE sequence = 3", "entry 3 is missing or was moved: entry 4 stands there"),
        (
            "DELETE FROM audit WHERE sequence = 3; UPDATE audit SET sequence = sequence - 1 WHERE sequence > 3",
            "entry 3 (fact) does not follow on the one before it",
        ),
        (
            "UPDATE audit SET sequence = 99 WHERE sequence = 2; UPDATE audit SET sequence = 2 WHERE sequence = 5; \
             UPDATE audit SET sequence = 5 WHERE sequence = 99",
            "entry 2 (experiment) does not follow on the one before it",
        ),
        (
            "UPDATE experiment SET body = replace(body, '0.1', '0.2') WHERE id = 'a'",
            "experiment `a` is not what the log says",
        ),
        (
            "UPDATE experiment SET predictions = zeroblob(4) WHERE id = 'b'",
            "experiment `b` is not what the log says",
        ),
        ("DELETE FROM experiment WHERE id = 'a'", "experiment `a` is in the log, but not in the record"),
        ("UPDATE fact SET value = '[\"x\"]' WHERE name = 'plan'", "fact `plan` is not what the log says"),
        ("UPDATE fact SET value = '{}' WHERE name = 'terms'", "fact `terms` is not what the log says"),
        ("DELETE FROM audit WHERE sequence > 4", "experiment `b` is in the record, but not in the log"),
    ] {
        let problems = audited(tamper).problems.join("; ");
        assert!(problems.contains(expected), "{tamper}: {problems}");
    }
}

#[test]
fn an_earlier_store_is_adopted_and_a_noted_hash_must_stay() {
    let (_folder, run) = folder();
    {
        let mut store = Store::open(&run, &fingerprint()).unwrap();
        store.put(&experiment("a")).unwrap();
        store.connection.execute_batch("DROP TABLE audit").unwrap();
        assert!(store.audit().unwrap().is_empty());
        assert!(store.verify_audit(None).unwrap_err().to_string().contains("it has no audit log"));
    }
    let mut store = Store::open(&run, &fingerprint()).unwrap();
    store.put(&experiment("b")).unwrap();
    let report = store.verify_audit(None).unwrap();
    assert_eq!((report.problems.len(), report.experiments, report.adopted), (0, 2, 1));
    assert!(store.verify_audit(Some(&report.head)).unwrap().problems.is_empty());
    let gone = store.verify_audit(Some("ab")).unwrap().problems;
    assert_eq!(gone, ["the entry with the hash ab is gone"]);
    let error = store.connection.execute("UPDATE audit SET name = 'x'", []).unwrap_err().to_string();
    assert_eq!(error, "the audit log is only added to");
}
