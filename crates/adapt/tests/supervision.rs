//! What is supervised of a training row, and the rows that are refused: the embedded model and its tokenizer.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

mod support;

use adapt::supervision;
use task::dataset::Dataset;
use task::predictor::{
    Control, OptimizerSettings, RateSchedule, Trainer, TrainingJob, TrainingMethod, TrainingRow,
};
use task::settings::Settings;

fn job(rows: Vec<TrainingRow>) -> TrainingJob {
    TrainingJob {
        rows,
        weights: Vec::new(),
        method: TrainingMethod::lora(4, 8.0),
        learning_rate: 1e-3,
        epochs: 2,
        optimizer: OptimizerSettings::default(),
        seed: 0,
    }
}

fn row(prompt: &str, completion: &str) -> TrainingRow {
    TrainingRow { prompt: prompt.to_owned(), completion: completion.to_owned() }
}

#[test]
fn rows_that_would_teach_nothing_or_the_wrong_thing_are_refused() {
    let model = support::embedded();
    let refused = |wrong: TrainingRow| {
        let rows = vec![row("my invoice ->", " billing\n"), wrong];
        model.train(&job(rows), &mut |_, _| Ok(Control::Continue)).err().unwrap().to_string()
    };
    let long = "word ".repeat(2_100);
    for (prompt, completion, reason) in [
        ("my parcel ->", "", "nothing is supervised"),
        ("my parcel ->", " delivery", "no end after the answer"),
        ("<|endoftext|>my parcel ->", " delivery\n", "stands twice"),
        (&format!("{long} ->"), " delivery\n", "its answer would be cut off"),
    ] {
        let said = refused(row(prompt, completion));
        assert!(said.contains(reason), "{completion:?}: {said}");
    }
}

#[test]
fn the_loss_is_on_the_answer_and_its_end_alone() {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..60)
        .map(|number| {
            let (label, text) = support::message(number);
            serde_json::json!({ "text": text, "label": label }).to_string()
        })
        .collect();
    task::atomic::write(&folder.path().join("rows.jsonl"), lines.join("\n").as_bytes()).unwrap();
    let text = "[data]\ntrain = \"rows.jsonl\"\n\n[prompt]\nstyle = \"arrow\"\n";
    task::atomic::write(&folder.path().join("weigh.toml"), text.as_bytes()).unwrap();
    let settings = Settings::load(&folder.path().join("weigh.toml")).unwrap();
    let dataset = Dataset::load(&settings).unwrap();
    let shown = supervision::show(&settings, &dataset, &support::embedded(), 5).unwrap();
    assert_eq!(shown.len(), 5);
    for (one, example) in shown.iter().zip(&dataset.train) {
        let part = |supervised: bool| -> String {
            let own = one.tokens.iter().filter(|token| token.supervised == supervised);
            own.map(|token| token.text.as_str()).collect()
        };
        assert_eq!(part(true), format!(" {}\n", example.target), "{one:?}");
        assert!(part(false).ends_with(&format!("{} ->", example.input)), "{one:?}");
        let first = one.tokens.iter().position(|token| token.supervised).unwrap();
        assert!(one.tokens[first..].iter().all(|token| token.supervised), "the answer stands at the end");
    }
}

/// Each setting of the optimiser changes what is learned, but for the rows of a pass, which change the order of sums alone.
#[test]
fn the_optimizers_settings_reach_the_training() {
    let model = support::embedded();
    let rows: Vec<TrainingRow> = (0..16)
        .map(|number| {
            let (label, text) = support::message(number);
            row(&format!("{text} ->"), &format!(" {label}\n"))
        })
        .collect();
    let losses = |optimizer: OptimizerSettings| {
        let mut losses = Vec::new();
        let job = TrainingJob { optimizer, epochs: 3, learning_rate: 3e-3, ..job(rows.clone()) };
        model
            .train(&job, &mut |report, _| {
                losses.push(report.loss);
                Ok(Control::Continue)
            })
            .unwrap();
        losses
    };
    let usual = OptimizerSettings::default();
    let expected = losses(usual);
    assert_eq!(losses(usual), expected);
    for other in [
        OptimizerSettings { schedule: RateSchedule::Constant, ..usual },
        OptimizerSettings { schedule: RateSchedule::Cosine, ..usual },
        OptimizerSettings { warmup_share: 0.6, ..usual },
        OptimizerSettings { weight_decay: 5.0, ..usual },
        OptimizerSettings { clip_norm: 1e-3, ..usual },
        OptimizerSettings { dropout: 0.5, ..usual },
        OptimizerSettings { batch_rows: 4, ..usual },
    ] {
        assert_ne!(losses(other), expected, "{other:?}");
    }
    for (passes, whole) in losses(OptimizerSettings { pass_rows: Some(3), ..usual }).iter().zip(&expected) {
        assert!((passes - whole).abs() < 1e-3, "{passes} {whole}");
    }
}
