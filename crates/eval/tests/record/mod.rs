//! Records made by hand.

use std::collections::BTreeMap;

use task::record::{
    Answer, Artefact, Decision, Economics, Experiment, Family, Finalists, ModelIdentity, Part, PartSizes,
    Prediction, RunRecord, Setup, TaskFacts, TokensPerRequest,
};

/// Labels of every record.
pub(crate) const LABELS: [&str; 3] = ["billing", "delivery", "returns"];

/// Answers to `items` examples of alternating labels; where `right` is false the next label is given.
pub(crate) fn answers(items: usize, right: impl Fn(usize) -> bool) -> Vec<Prediction> {
    (0..items)
        .map(|item| {
            let gold = item % LABELS.len();
            let predicted = if right(item) { gold } else { (gold + 1) % LABELS.len() };
            let answer = Answer::Label { gold, predicted, scores: Vec::new() };
            Prediction { example: format!("example-{item:04}"), answer }
        })
        .collect()
}

/// A bare experiment `family/method/rest@part` over `items` examples.
pub(crate) fn experiment(
    id: &str,
    family: Family,
    items: usize,
    right: impl Fn(usize) -> bool,
) -> Experiment {
    let (name, part) = id.split_once('@').expect("an id names its part");
    Experiment {
        id: id.to_owned(),
        family,
        method: name.split('/').nth(1).expect("an id names its method").to_owned(),
        labels_used: 0,
        shots: None,
        seed: Some(0),
        configuration: BTreeMap::new(),
        part: if part == "test" { Part::Test } else { Part::Dev },
        predictions: answers(items, right),
        tokens: TokensPerRequest::default(),
        setup: Setup::default(),
        seconds_per_request: 0.0,
        artefact: None,
        collapse: None,
        calls: Default::default(),
    }
}

/// A prompt with `shots` demonstrations of 20 tokens each, an instruction of 10 and a query of 30.
pub(crate) fn prompt(
    id: &str,
    shots: usize,
    seed: u64,
    items: usize,
    right: impl Fn(usize) -> bool,
) -> Experiment {
    let prefix = 10 + 20 * shots as u64;
    Experiment {
        shots: Some(shots),
        labels_used: shots,
        seed: Some(seed),
        configuration: BTreeMap::from([(
            "calibration".to_owned(),
            id.rsplit('/').next().unwrap_or(id).into(),
        )]),
        tokens: TokensPerRequest { prompt: prefix as f64 + 30.0, cached: prefix as f64, completion: 4.0 },
        setup: Setup { seconds: 0.5, tokens: prefix, flops: 2e6 * prefix as f64 },
        seconds_per_request: 0.012,
        artefact: Some(Artefact {
            kind: "prompt".to_owned(),
            bytes: 4 * prefix,
            sha256: "ab".repeat(32),
            prompt_tokens: prefix,
            path: None,
        }),
        ..experiment(id, Family::InContext, items, right)
    }
}

/// A LoRA run on `labels` rows, whose request is the query of 30 tokens.
pub(crate) fn tuned(
    id: &str,
    labels: usize,
    seed: u64,
    items: usize,
    right: impl Fn(usize) -> bool,
) -> Experiment {
    let tokens = 8 * 34 * labels as u64;
    Experiment {
        labels_used: labels,
        seed: Some(seed),
        configuration: BTreeMap::from([("learning_rate".to_owned(), 0.001.into())]),
        tokens: TokensPerRequest { prompt: 30.0, cached: 0.0, completion: 4.0 },
        setup: Setup { seconds: 20.0, tokens, flops: 4e6 * tokens as f64 },
        seconds_per_request: 0.008,
        artefact: Some(Artefact {
            kind: "adapter".to_owned(),
            bytes: 123_456,
            sha256: "cd".repeat(32),
            prompt_tokens: 0,
            path: Some(format!("weights/{labels}-{seed}")),
        }),
        ..experiment(id, Family::FineTune, items, right)
    }
}

/// A floor.
pub(crate) fn floor(id: &str, items: usize, right: impl Fn(usize) -> bool) -> Experiment {
    Experiment { labels_used: 64, ..experiment(id, Family::Floor, items, right) }
}

/// A record of these experiments. A model of a million parameters makes 2e6 operations a token.
pub(crate) fn record(experiments: Vec<Experiment>, finalists: [&str; 3]) -> RunRecord {
    let [in_context, fine_tune, floor] = finalists.map(str::to_owned);
    RunRecord {
        task: TaskFacts {
            name: "tickets".to_owned(),
            kind: "classify".to_owned(),
            metrics: Vec::new(),
            items: PartSizes { train: 64, dev: 60, test: 120 },
            data_sha256: "ef".repeat(32),
        },
        model: ModelIdentity {
            source: "embedded".to_owned(),
            parameters: 1_000_000,
            sha256: "01".repeat(32),
        },
        labels: LABELS.map(str::to_owned).to_vec(),
        experiments,
        finalists: Some(Finalists { in_context, fine_tune, floor }),
        decision: Decision::default(),
        economics: Economics::default(),
        wall_seconds: 190.0,
        seconds_by_family: BTreeMap::from([("in_context".to_owned(), 60.0), ("fine_tune".to_owned(), 120.0)]),
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
    }
}

/// One prompt, one tuned model and one floor over `items` test examples; each is right where its function says so.
pub(crate) fn duel(
    items: usize,
    in_context: impl Fn(usize) -> bool,
    fine_tune: impl Fn(usize) -> bool,
    majority: impl Fn(usize) -> bool,
) -> RunRecord {
    let ids = [
        "in_context/random/k8/s0/batch@test",
        "fine_tune/lora/n64/lr0.001/s0@test",
        "floor/majority/n64@test",
    ];
    let experiments = vec![
        prompt(ids[0], 8, 0, items, in_context),
        tuned(ids[1], 64, 0, items, fine_tune),
        floor(ids[2], items, majority),
    ];
    record(experiments, ids)
}

/// A whole run: two sizes in both arms, several seeds, calibrations and learning rates, a run that collapsed, two floors.
pub(crate) fn whole_run() -> RunRecord {
    let mut experiments = Vec::new();
    for (part, items) in [("dev", 60), ("test", 120)] {
        let wrong_in = move |every: usize, shift: usize| move |item: usize| (item * 7 + shift) % 30 >= every;
        experiments.push(floor(&format!("floor/majority/n64@{part}"), items, |item| item % 3 == 0));
        experiments.push(floor(&format!("floor/logistic_regression/n64@{part}"), items, wrong_in(14, 3)));
        experiments.push(prompt(
            &format!("in_context/zero_shot/k0/s0/none@{part}"),
            0,
            0,
            items,
            wrong_in(17, 0),
        ));
        for (shots, wrong) in [(4, 14), (8, 11)] {
            for seed in 0..2 {
                let name = format!("in_context/random/k{shots}/s{seed}");
                let shift = seed as usize;
                experiments.push(prompt(
                    &format!("{name}/batch@{part}"),
                    shots,
                    seed,
                    items,
                    wrong_in(wrong + shift, shift),
                ));
                if part == "dev" {
                    experiments.push(prompt(
                        &format!("{name}/none@{part}"),
                        shots,
                        seed,
                        items,
                        wrong_in(wrong + 3, 5),
                    ));
                }
            }
        }
        for (labels, wrong) in [(16, 12), (64, 4)] {
            for seed in 0..3 {
                let name = format!("fine_tune/lora/n{labels}/lr0.001/s{seed}");
                let shift = seed as usize;
                experiments.push(tuned(
                    &format!("{name}@{part}"),
                    labels,
                    seed,
                    items,
                    wrong_in(wrong + shift, 2 * shift),
                ));
            }
        }
    }
    let mut diverged = tuned("fine_tune/lora/n64/lr0.01/s0@dev", 64, 0, 0, |_| false);
    diverged.collapse = Some("the loss is not a number after 12 steps".to_owned());
    diverged.artefact = None;
    diverged.setup = Setup { seconds: 3.0, ..Setup::default() };
    experiments.push(diverged);
    let finalists = [
        "in_context/random/k8/s0/batch@test",
        "fine_tune/lora/n64/lr0.001/s0@test",
        "floor/logistic_regression/n64@test",
    ];
    let mut whole = record(experiments, finalists);
    whole.economics = Economics {
        requests_per_month: Some(200_000.0),
        task_life_months: Some(12.0),
        ..Economics::default()
    };
    whole
}
