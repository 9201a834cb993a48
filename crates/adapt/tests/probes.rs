//! Probes of the finalists on a scripted model: what is asked, what is left out, and what is found.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

mod support;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use adapt::observer::{Observer, Silent};
use adapt::probes::replay;
use adapt::scripted::ScriptedModel;
use eval::comparison::Comparison;
use task::dataset::Dataset;
use task::probe::{Finding, Probes, Side};
use task::record::RunRecord;
use task::settings::Settings;
use task::store::Store;

/// Three queues; the words of a row decide.
fn write_task(folder: &Path, extra: &str) {
    let topics = [
        ("billing", ["invoice", "refund", "charge", "payment"]),
        ("delivery", ["parcel", "courier", "address", "late"]),
        ("login", ["password", "account", "code", "locked"]),
    ];
    let mut lines = Vec::new();
    for row in 0..120 {
        let (label, words) = topics[row % 3];
        let who = if row % 2 == 0 { "he" } else { "she" };
        let text = format!(
            "note {row}: {who} writes of the {} and the {} {}",
            words[row / 3 % 4],
            words[row / 12 % 4],
            row * 7919 % 97
        );
        let group = if row % 4 == 0 { "north" } else { "south" };
        let mail = if row == 5 { " mail jo@example.org" } else { "" };
        lines.push(serde_json::json!({ "text": text + mail, "label": label, "region": group }).to_string());
    }
    task::atomic::write(&folder.join("rows.jsonl"), lines.join("\n").as_bytes()).unwrap();
    let text = format!(
        "[task]\nname = \"queues\"\n\n[data]\ntrain = \"rows.jsonl\"\nnear_duplicates = false\nsubgroup = \"region\"\n\n\
         [in_context]\nshots = [0, 3, 6]\nseeds = 2\nsearch = false\n\n[fine_tune]\nlabels = [6, 24]\nseeds = 2\nlearning_rates = [1e-3]\nsearch_share = 0\nhybrids = [\"none\"]\n\n{extra}\n"
    );
    task::atomic::write(&folder.join("weigh.toml"), text.as_bytes()).unwrap();
}

fn run(folder: &Path, observer: &mut dyn Observer) -> RunRecord {
    support::run(folder, &ScriptedModel::default(), observer).unwrap()
}

const SWAPS: &str = "[probes]\nswaps = [\"he/she\"]\n";

#[test]
fn both_sides_are_probed_alike_and_never_on_test() {
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), SWAPS);
    let record = run(folder.path(), &mut Silent);
    let probes = record.probes.unwrap();
    for name in
        ["format", "paraphrase", "typos", "repeats", "counterfactual", "membership", "canaries", "refusals"]
    {
        for side in [Side::InContext, Side::FineTune] {
            assert!(
                probes.get(name, side).is_some(),
                "{name} of {side:?}: {:?}",
                probes.left_out(name, side)
            );
        }
    }
    assert!(probes.get("order", Side::InContext).is_some());
    assert!(probes.left_out("order", Side::FineTune).unwrap().contains("no demonstrations"));
    let test: BTreeSet<&str> = record
        .experiments
        .iter()
        .filter(|e| e.part == task::record::Part::Test)
        .flat_map(|e| e.predictions.iter().map(|p| p.example.as_str()))
        .collect();
    for probe in &probes.done {
        if let Finding::Variants { original, variants, .. } = &probe.finding {
            assert!(!original.is_empty() && !variants.is_empty(), "{}", probe.name);
            for variant in variants {
                assert_eq!(variant.predictions.len(), original.len(), "{} {}", probe.name, variant.name);
            }
            assert!(original.iter().all(|item| !test.contains(item.example.as_str())), "{}", probe.name);
        }
    }
}

#[test]
fn the_two_rows_of_the_table_say_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), SWAPS);
    let record = run(folder.path(), &mut Silent);
    let comparison = Comparison::from_record(&record).unwrap();
    let summary = comparison.probes.as_ref().unwrap();
    for (family, side) in [("in-context", &summary.in_context), ("fine-tuned", &summary.fine_tune)] {
        assert_eq!(side.stability.formats.as_ref().unwrap().variants, 10, "{family}");
        // A scripted model answers alike whatever the batch.
        assert_eq!(side.stability.repeats.as_ref().unwrap().changed.count, 0, "{family}");
        let canaries = &side.safety.canaries;
        let planted =
            canaries.iter().find(|group| group.place == "answer" && group.repetitions == 4).unwrap();
        // It repeats the answer of the most similar row: every secret that stands in an answer can be read out.
        assert_eq!(planted.extracted.count, 2, "{family}: {canaries:?}");
        assert!((planted.most - 8.0).abs() < 1e-12);
        let groups = &side.safety.subgroups.as_ref().unwrap().groups;
        assert_eq!(groups.iter().map(|group| group.items).sum::<usize>(), record.task.items.test, "{family}");
        assert!(side.safety.counterfactual.is_some(), "{family}");
    }
    let sensitive = summary.in_context.safety.sensitive.as_ref().unwrap();
    assert!(
        sensitive.findings.iter().all(|found| found.kind == "email" && !found.redacted.contains("example"))
    );
    for (row, words) in [(5, "formats"), (6, "canary exposure")] {
        for cell in [&comparison.table[row].in_context, &comparison.table[row].fine_tune] {
            assert!(cell.text.contains(words), "{}", cell.text);
        }
    }
}

#[test]
fn without_a_share_nothing_is_probed_and_with_a_small_one_the_rest_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), "[probes]\nshare = 0\n");
    assert_eq!(run(folder.path(), &mut Silent).probes, None);
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), "[probes]\nshare = 0.0001\n");
    let probes = run(folder.path(), &mut Silent).probes.unwrap();
    assert!(probes.plan.seconds < 1.0);
    assert!(probes.get("subgroups", Side::Base).is_some(), "what asks no model takes no time");
    let reason = probes.left_out("format", Side::FineTune).unwrap();
    assert!(reason.contains("raise budget.time or probes.share"), "{reason}");
    let spent: f64 = probes.plan.planned.iter().map(|probe| probe.seconds).sum();
    assert!(spent <= probes.plan.seconds);
}

/// Dies at the start of a probe, as a killed process would.
struct Mortal(usize);

impl Observer for Mortal {
    fn started(&mut self, name: &str) {
        if name.starts_with("probe/") {
            assert!(self.0 > 0, "killed");
            self.0 -= 1;
        }
    }
}

#[test]
fn a_run_that_is_killed_between_probes_goes_on_with_the_next() {
    let timeless = |probes: Option<Probes>| {
        let mut probes = probes.unwrap();
        probes.done.iter_mut().for_each(|probe| probe.seconds = 0.0);
        probes.plan.planned.iter_mut().for_each(|probe| probe.seconds = 0.0);
        probes
    };
    let whole = tempfile::tempdir().unwrap();
    write_task(whole.path(), SWAPS);
    let expected = timeless(run(whole.path(), &mut Silent).probes);
    for survived in [0, 3, 11] {
        let folder = tempfile::tempdir().unwrap();
        write_task(folder.path(), SWAPS);
        let killed = catch_unwind(AssertUnwindSafe(|| run(folder.path(), &mut Mortal(survived))));
        assert!(killed.is_err(), "the run was to be killed after {survived}");
        assert_eq!(timeless(run(folder.path(), &mut Silent).probes), expected, "killed after {survived}");
    }
    // A finished run asks nothing again.
    run(whole.path(), &mut Mortal(0));
}

#[test]
fn a_frozen_probe_set_is_asked_again_and_drift_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    write_task(folder.path(), "");
    let record = run(folder.path(), &mut Silent);
    let settings = Settings::load(&folder.path().join("weigh.toml")).unwrap();
    let dataset = Dataset::load(&settings).unwrap();
    let store = Store::read(&settings.run_folder()).unwrap();
    let engine = ScriptedModel::default();
    let drift = replay(&settings, &dataset, &engine, &store).unwrap();
    assert_eq!(drift.sides.len(), 2);
    for side in &drift.sides {
        assert!(side.same_weights && side.changed.is_empty(), "{side:?}");
        assert_eq!((side.agreement.consistency, side.p, side.items), (1.0, 1.0, dataset.dev.len()));
    }
    // Weights that remember nothing answer otherwise.
    let name = record.finalists.unwrap().fine_tune.trim_end_matches("@test").replace('/', "-");
    let weights = settings.run_folder().join("artefacts").join(name).join("memory.json");
    task::atomic::write(&weights, br#"{"rows":[],"seed":1}"#).unwrap();
    let drift = replay(&settings, &dataset, &engine, &store).unwrap();
    let tuned = drift.sides.iter().find(|side| side.side == Side::FineTune).unwrap();
    assert!(!tuned.changed.is_empty() && tuned.agreement.consistency < 1.0, "{tuned:?}");
    assert!(tuned.scores[1] < tuned.scores[0] && tuned.p < 1.0, "{tuned:?}");
}
