//! A run on the embedded model, shipped in every form that it has, and what happens to a shipment that is not what was measured.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

mod support;

use std::path::Path;

use adapt::Error;
use adapt::local::LocalModel;
use adapt::observer::Silent;
use adapt::plan::Plan;
use adapt::shipping::{PromptProgram, Shipment, Shipping, Weights};
use lm::adapter::compatibility::{self, Server, Severity};
use lm::weights::Dtype;
use task::dataset::Dataset;
use task::record::{Answer, Part, RunRecord};
use task::settings::Settings;
use task::store::Store;

const TASK: &str = "[data]\ntrain = \"rows.jsonl\"\nnear_duplicates = false\n[model]\nsource = \"embedded\"\nprecision = \"f32\"\n\
    [prompt]\nstyle = \"arrow\"\n[in_context]\nshots = [0, 6]\nseeds = 1\nsearch = false\nselection = [\"random\", \"bm25\", \"embedding\", \"diverse\", \"hybrid\"]\ncalibration = [\"none\", \"contextual\"]\n\
    [fine_tune]\nlabels = [12]\nseeds = 1\nlearning_rates = [3e-3]\nmethods = [\"lora\"]\nsearch_share = 0\n";

/// A finished run.
struct Finished {
    folder: tempfile::TempDir,
    settings: Settings,
    dataset: Dataset,
    engine: LocalModel,
    record: RunRecord,
    plan: Plan,
}

impl Finished {
    /// With one kind of adapter, and combinations of both arms.
    fn new(variant: &str, hybrids: &str) -> Self {
        Self::of(&format!("{TASK}variants = [\"{variant}\"]\nhybrids = {hybrids}\n"))
    }

    fn of(task: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let topics = [("billing", "invoice"), ("delivery", "parcel"), ("login", "password")];
        let lines: Vec<String> = (0..60)
            .map(|row| {
                let (label, word) = topics[row % 3];
                let text = format!("note {}: about the {word}", row * 7919 % 97);
                serde_json::json!({ "text": text, "label": label }).to_string()
            })
            .collect();
        task::atomic::write(&folder.path().join("rows.jsonl"), lines.join("\n").as_bytes()).unwrap();
        let path = folder.path().join("weigh.toml");
        task::atomic::write(&path, task.as_bytes()).unwrap();
        let settings = Settings::load(&path).unwrap();
        let dataset = Dataset::load(&settings).unwrap();
        let engine = support::embedded();
        let record = support::run(folder.path(), &engine, &mut Silent).unwrap();
        let plan = Store::read(&settings.run_folder()).unwrap().fact("plan").unwrap().unwrap();
        Self { folder, settings, dataset, engine, record, plan }
    }

    fn shipping<'a>(&'a self, record: &'a RunRecord, artefacts: &'a Path) -> Shipping<'a> {
        let Self { settings, dataset, engine, plan, .. } = self;
        Shipping { settings, dataset, engine, record, plan, artefacts }
    }

    /// Ships into the folder `name` of the run's own.
    fn ship(
        &self,
        record: &RunRecord,
        name: &str,
        what: impl Fn(&Shipping<'_>, &Path) -> Result<Shipment, Error>,
    ) -> Result<Shipment, Error> {
        let artefacts = self.settings.run_folder().join("artefacts");
        let to = self.folder.path().join(name);
        std::fs::create_dir_all(&to).unwrap();
        what(&self.shipping(record, &artefacts), &to)
    }
}

#[test]
fn what_is_shipped_answers_as_what_was_measured() {
    let finished = Finished::new("plain", "[\"none\"]");
    let record = &finished.record;
    for family in ["in_context", "fine_tune"] {
        let work = record.work_by_family[family];
        assert!(work.tokens > 1000 && work.flops > 0.0, "{family}: {work:?}");
    }
    let finalists = record.finalists.as_ref().unwrap();
    for id in
        record.experiments.iter().filter(|one| one.part == Part::Test && one.id.starts_with("in_context"))
    {
        let shipment = finished.ship(record, "prompt", |s, to| s.prompt(&id.id, to)).unwrap();
        assert_eq!(shipment.rechecks[0].same, finished.dataset.dev.len(), "{}", id.id);
        let program = PromptProgram::read(&finished.folder.path().join("prompt/prompt.json")).unwrap();
        assert_eq!(program.log_prior.is_some(), id.id.contains("contextual"));
        let shown = std::fs::read_to_string(finished.folder.path().join("prompt/prompt.txt")).unwrap();
        assert!(shown.ends_with("->"), "{shown}");
    }
    let forms = [
        ("adapter", Weights::Adapter, "adapter_model.safetensors"),
        ("gguf", Weights::AdapterGguf, "adapter.gguf"),
        ("model", Weights::Model(Dtype::F32), "model.safetensors"),
        ("whole-gguf", Weights::ModelGguf(Dtype::F32), "model.gguf"),
    ];
    for (name, weights, file) in forms {
        let shipment =
            finished.ship(record, name, |s, to| s.weights(&finalists.fine_tune, weights, to)).unwrap();
        assert!(shipment.files.iter().any(|one| one.name == file), "{shipment:?}");
        assert_eq!(shipment.rechecks[0].same, finished.dataset.dev.len(), "{name}");
    }
    let report = compatibility::check(&finished.folder.path().join("adapter")).unwrap();
    assert!(Server::ALL.iter().all(|&server| report.worst(server).is_none_or(|one| one == Severity::Note)));
}

/// The embedded model was trained on arrows alone: from another style the search finds its way there, and what it found is shipped.
#[test]
fn a_searched_prompt_is_shipped_as_it_was_measured() {
    let task = TASK
        .replace("style = \"arrow\"", "style = \"plain\"")
        .replace("near_duplicates = false", "near_duplicates = false\ndev_share = 0.3")
        .replace("search = false", "search = true")
        .replace("labels = [12]", "labels = [36]\nepochs = 12")
        .replace("\"random\", \"bm25\", \"embedding\", \"diverse\", \"hybrid\"", "\"random\"");
    let finished = Finished::of(&task);
    let search = finished.record.prompt_search.as_ref().unwrap();
    assert!(search.found.as_ref().is_some_and(|found| found.contains("arrow")), "{search:?}");
    let mut tests =
        finished.record.experiments.iter().filter(|e| e.part == Part::Test && e.method == "searched");
    let experiment = tests.next_back().unwrap();
    let shipment = finished.ship(&finished.record, "prompt", |s, to| s.prompt(&experiment.id, to)).unwrap();
    assert_eq!(shipment.rechecks[0].same, finished.dataset.dev.len());
    let shown = std::fs::read_to_string(finished.folder.path().join("prompt/prompt.txt")).unwrap();
    assert!(shown.ends_with("->"), "{shown}");
}

/// A DoRA adapter and hybrids.
#[test]
fn what_servers_do_not_read_is_said() {
    let finished = Finished::new("dora", "[\"distilled\", \"few_shot\", \"virtual_tokens\"]");
    let record = &finished.record;
    let finalists = record.finalists.as_ref().unwrap();
    for (name, weights) in [("adapter", Weights::Adapter), ("model", Weights::Model(Dtype::F32))] {
        let shipment =
            finished.ship(record, name, |s, to| s.weights(&finalists.fine_tune, weights, to)).unwrap();
        assert_eq!(shipment.rechecks[0].same, finished.dataset.dev.len(), "{name}");
    }
    // This engine reads it, the servers do not, and llama.cpp has no form for it.
    let report = compatibility::check(&finished.folder.path().join("adapter")).unwrap();
    let others = Server::ALL.iter().filter(|&&server| server != Server::Weigh);
    assert!(others.clone().all(|&server| report.worst(server) == Some(Severity::Refused)));
    assert_eq!(report.worst(Server::Weigh), None);
    let refused =
        finished.ship(record, "gguf", |s, to| s.weights(&finalists.fine_tune, Weights::AdapterGguf, to));
    assert!(refused.unwrap_err().to_string().contains("magnitudes"));
    let hybrid = |method: &str| {
        let own = |one: &&task::record::Experiment| one.part == Part::Test && one.method == method;
        record.experiments.iter().find(own).unwrap().id.clone()
    };
    for method in ["distilled", "virtual_tokens"] {
        let shipment =
            finished.ship(record, method, |s, to| s.weights(&hybrid(method), Weights::Adapter, to)).unwrap();
        assert_eq!(shipment.rechecks[0].same, finished.dataset.dev.len(), "{method}");
    }
    let trained = record.experiments.iter().find(|one| one.id == hybrid("virtual_tokens")).unwrap();
    assert_eq!(trained.artefact.as_ref().unwrap().prompt_tokens, 20);
    let alone = record.experiments.iter().find(|one| one.id == hybrid("distilled")).unwrap();
    assert!((trained.tokens.prompt - alone.tokens.prompt - 20.0).abs() < 1e-9, "they are paid for");
    // Its prompt.json gives what goes before a request: the answers of the weights alone would be other ones.
    let shots = hybrid("few_shot_tuned");
    let shipment = finished.ship(record, "shots", |s, to| s.weights(&shots, Weights::Adapter, to)).unwrap();
    assert_eq!(shipment.rechecks[0].same, finished.dataset.dev.len());
    let names: Vec<&str> = shipment.files.iter().map(|file| file.name.as_str()).collect();
    assert!(names.contains(&"prompt.json") && names.contains(&"adapter_model.safetensors"), "{names:?}");
    let program = PromptProgram::read(&finished.folder.path().join("shots/prompt.json")).unwrap();
    assert_eq!((program.demonstrations.len(), program.retrieval), (4, None));
}

/// A record that says something else than the artefacts do: the answers of every dev experiment moved on by one label.
#[test]
fn what_answers_otherwise_is_refused() {
    let finished = Finished::new("plain", "[\"none\"]");
    let mut record = finished.record.clone();
    for experiment in record.experiments.iter_mut().filter(|one| one.part == Part::Dev) {
        for prediction in &mut experiment.predictions {
            if let Answer::Label { predicted, .. } = &mut prediction.answer {
                *predicted = (*predicted + 1) % 3;
            }
        }
    }
    let finalists = record.finalists.clone().unwrap();
    let prompt = finished.ship(&record, "prompt", |s, to| s.prompt(&finalists.in_context, to));
    assert!(matches!(prompt, Err(Error::Shipping { reason, .. }) if reason.contains("gives 0 of")));
    let weights =
        finished.ship(&record, "adapter", |s, to| s.weights(&finalists.fine_tune, Weights::Adapter, to));
    assert!(matches!(weights, Err(Error::Shipping { reason, .. }) if reason.contains("gives 0 of")));
    for name in ["prompt", "adapter"] {
        assert!(!finished.folder.path().join(name).join("shipment.json").exists(), "{name}");
    }
}
