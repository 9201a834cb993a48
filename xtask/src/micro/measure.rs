//! `micro evaluate` and `micro tune`: tables of what the model does on what training never saw.

use super::dice::Dice;
use super::evaluate::tune::Recipe;
use super::evaluate::{self, Curves, Evaluation, Extent};
use super::family::{Breadth, Families, Part, Written};
use super::lexicon::Lexicon;
use super::open_vocabulary;
use super::vocabulary::Vocabulary;
use crate::options::Options;
use anyhow::Result;
use kernels::matrix::Use;
use lm::Precision;
use lm::transformer::Transformer;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The options that say how much is measured.
fn extent(options: &mut Options, draws: usize) -> Result<Extent> {
    Ok(Extent {
        tasks: options.number("tasks", 24)?,
        draws: options.number("draws", draws)?,
        queries: options.number("queries", 40)?,
        shots: evaluate::SHOTS,
    })
}

/// The words, and the model of a folder kept for `usage`.
fn open(model: PathBuf, usage: Use) -> Result<(Lexicon, Vocabulary, Transformer)> {
    let lexicon = Lexicon::load()?;
    let vocabulary = open_vocabulary(&model, &lexicon)?;
    let checkpoint = lm::weights::Checkpoint::open(&lm::ModelSource::Folder(model))?;
    let transformer =
        Transformer::new(checkpoint.config, checkpoint.tensors.as_ref(), Precision::Bf16, usage)?;
    Ok((lexicon, vocabulary, transformer))
}

/// Accuracy on generated tasks: held-out ones, or new ones of what training draws from.
pub(super) fn generated(
    model: Option<&Transformer>,
    (lexicon, vocabulary): (&Lexicon, &Vocabulary),
    (part, floors): (Part, bool),
    (classes, breadth): (usize, Breadth),
    extent: Extent,
) -> Result<Curves> {
    let families = Families { lexicon, vocabulary, part };
    let labels = match part {
        Part::Held => evaluate::held_labels(&lexicon.held_labels, vocabulary)?,
        Part::Training => vocabulary.labels.iter().map(|&label| vec![label]).collect(),
    };
    let evaluation = Evaluation { transformer: model, floors, vocabulary, labels, extent };
    let mut dice = Dice::new(77, 5);
    let mut curves = Curves::new();
    for example in evaluate::held_tasks(&families, (classes, breadth), extent, &mut dice)? {
        evaluation.measure(&example, &mut dice, &mut curves)?;
    }
    Ok(curves)
}

/// `cargo xtask micro evaluate`.
pub(super) fn evaluate(options: &mut Options) -> Result<()> {
    let model = options.path("model", "models/micro")?;
    let extent = extent(options, 3)?;
    let only_floors = options.number("only-floors", false)?;
    let demo = options.path("demo", "examples/demo")?;
    let real = options.path("real", "")?;
    options.finish()?;
    let started = Instant::now();
    let (lexicon, vocabulary, transformer) = open(model, Use::Inference)?;
    let transformer = Some(&transformer).filter(|_| !only_floors);
    print!("{}", evaluate::heading());
    for (classes, breadth, name) in
        [(4, Breadth::FEW, "few ways"), (4, Breadth::ALL, "all ways"), (8, Breadth::FEW, "few ways")]
    {
        let own =
            Extent { tasks: if classes == 4 { extent.tasks } else { extent.tasks.div_ceil(4) }, ..extent };
        let words = (&lexicon, &vocabulary);
        let curves = generated(transformer, words, (Part::Held, true), (classes, breadth), own)?;
        print!("{}", evaluate::lines(&format!("{classes} classes, {name}, {} tasks", own.tasks), &curves));
    }
    let labels = evaluate::held_labels(&lexicon.held_labels, &vocabulary)?;
    let evaluation = Evaluation { transformer, floors: true, vocabulary: &vocabulary, labels, extent };
    written(&evaluation, &lexicon)?;
    if demo.join("dev.jsonl").exists() {
        demonstration(&evaluation, &demo)?;
    }
    for pair in real.to_string_lossy().split(';').filter(|pair| !pair.is_empty()) {
        let (train, test) = pair.split_once(',').unwrap_or((pair, pair));
        real_text(&evaluation, (&PathBuf::from(train), &PathBuf::from(test)))?;
    }
    println!("{:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Tasks whose answers are written: with what training never saw, and new ones of what it did.
fn written(evaluation: &Evaluation<'_>, lexicon: &Lexicon) -> Result<()> {
    for kind in Written::ALL {
        for (part, seen) in [(Part::Held, "held out"), (Part::Training, "as in training")] {
            let families = Families { lexicon, vocabulary: evaluation.vocabulary, part };
            let curves = evaluation.written((kind, &families), &mut Dice::new(82, 10))?;
            print!("{}", evaluate::lines(&format!("{}, {seen}", kind.name()), &curves));
        }
    }
    Ok(())
}

/// The demo's training rows as demonstrations, its dev rows as questions, under its own labels and under random ones.
fn demonstration(evaluation: &Evaluation<'_>, demo: &Path) -> Result<()> {
    let pair = (evaluate::rows(&demo.join("train.jsonl"))?, evaluate::rows(&demo.join("dev.jsonl"))?);
    let names = evaluate::names(&pair.0);
    for natural in [true, false] {
        let example = evaluate::from_rows((&pair.0, &pair.1), &names, natural, evaluation.vocabulary)?;
        let extent =
            Extent { draws: evaluation.extent.draws.max(5), queries: pair.1.len(), ..evaluation.extent };
        let own = Evaluation { extent, labels: evaluation.labels.clone(), ..*evaluation };
        let mut curves = Curves::new();
        own.measure(&example, &mut Dice::new(78, 6), &mut curves)?;
        let labels = if natural { "its own" } else { "random" };
        print!("{}", evaluate::lines(&format!("demo, dev set, {labels} labels"), &curves));
    }
    Ok(())
}

/// `cargo xtask micro tune`.
pub(super) fn tune(options: &mut Options) -> Result<()> {
    let model = options.path("model", "models/micro")?;
    let extent = extent(options, 1)?;
    let recipe = Recipe {
        labels: options.number("labels", 256)?,
        rank: options.number("rank", 8)?,
        rate: options.number("rate", 3e-3)?,
        epochs: options.number("epochs", 10)?,
    };
    options.finish()?;
    let (lexicon, vocabulary, base) = open(model, Use::Frozen)?;
    let families = Families { lexicon: &lexicon, vocabulary: &vocabulary, part: Part::Held };
    let labels = evaluate::held_labels(&lexicon.held_labels, &vocabulary)?;
    let evaluation = Evaluation { transformer: None, floors: false, vocabulary: &vocabulary, labels, extent };
    for (breadth, name) in [(Breadth::FEW, "few ways"), (Breadth::ALL, "all ways")] {
        let accuracies = evaluate::tune::lora(&evaluation, (&base, &families), (4, breadth), recipe)?;
        println!("| 4 classes, {name}, {} tasks, LoRA | {} |", extent.tasks, evaluate::interval(&accuracies));
    }
    Ok(())
}

/// Four labels of a real set at a time, under random labels.
fn real_text(evaluation: &Evaluation<'_>, (train, test): (&Path, &Path)) -> Result<()> {
    let (train_rows, test_rows) = (evaluate::rows(train)?, evaluate::rows(test)?);
    let all = evaluate::names(&train_rows);
    let mut dice = Dice::new(79, 7);
    let mut curves = Curves::new();
    for _ in 0..evaluation.extent.tasks {
        let names: Vec<&str> = dice.sample(all.len(), 4).into_iter().map(|index| all[index]).collect();
        let example = evaluate::from_rows((&train_rows, &test_rows), &names, false, evaluation.vocabulary)?;
        evaluation.measure(&example, &mut dice, &mut curves)?;
    }
    let name = train.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    print!("{}", evaluate::lines(&format!("{name}, 4 labels"), &curves));
    Ok(())
}
