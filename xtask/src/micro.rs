//! The embedded model: its corpus, tokenizer, training and evaluation.

mod curriculum;
mod demonstration;
mod dice;
mod evaluate;
mod export;
mod family;
mod grammar;
mod initial;
mod lexicon;
mod message;
mod objective;
mod sequence;
mod tokenizer;
mod train;
mod vocabulary;

use crate::options::Options;
use anyhow::{Result, anyhow, bail};
use dice::Dice;
use evaluate::{Curve, Evaluation, Extent};
use export::Folder;
use family::{Families, Part};
use kernels::matrix::Use;
use lexicon::Lexicon;
use lm::Precision;
use lm::transformer::Transformer;
use sequence::Generator;
use std::path::{Path, PathBuf};
use std::time::Instant;
use vocabulary::Vocabulary;

const USAGE: &str = "usage: cargo xtask micro <step> [--option value ...]

  corpus     prints sequences of the corpus            --seed 1 --level 1.0 --length 256 --count 3 --held false
  tokenizer  trains the tokenizer                      --out models/micro --seed 1
  train      makes everything from a seed; goes on     --out models/micro --hours 1 (or --steps N) --seed 1
             where it was, if there is a checkpoint    --work target/micro --pause 240 --precision bf16 --threads 2
  evaluate   accuracy on what training never saw       --model models/micro --tasks 24 --draws 3 --queries 40
                                                       --demo examples/demo --real train.jsonl,test.jsonl[;...]
  demo-data  writes the data of the demo task          --out examples/demo --seed 1";

/// Runs `cargo xtask micro <step> ...`.
pub(super) fn run(arguments: &[&str]) -> Result<()> {
    let Some((step, rest)) = arguments.split_first() else { bail!("{USAGE}") };
    let mut options = Options::parse(rest)?;
    match *step {
        "corpus" => corpus(&mut options),
        "tokenizer" => make_tokenizer(&mut options),
        "train" => train(&mut options),
        "evaluate" => evaluate(&mut options),
        "demo-data" => demo_data(&mut options),
        _ => bail!("{USAGE}"),
    }
}

fn make_tokenizer(options: &mut Options) -> Result<()> {
    let (out, seed) = (options.path("out", "models/micro")?, options.number("seed", 1)?);
    options.finish()?;
    let lexicon = Lexicon::load()?;
    let trained = tokenizer::train(&lexicon, seed)?;
    std::fs::create_dir_all(&out)?;
    let json = trained.to_string(true).map_err(|error| anyhow!("{error}"))?;
    replace(&out.join("tokenizer.json"), json.as_bytes())?;
    println!("{} tokens", trained.get_vocab_size(true));
    for text in tokenizer::texts(&lexicon, Part::Held, 5, seed) {
        let encoding = trained.encode(text.as_str(), true).map_err(|error| anyhow!("{error}"))?;
        println!("{}", encoding.get_tokens().join(" "));
    }
    Ok(())
}

fn corpus(options: &mut Options) -> Result<()> {
    let (seed, level) = (options.number("seed", 1)?, options.number("level", 1.0)?);
    let (length, count) = (options.number("length", 256usize)?, options.number("count", 3usize)?);
    let held = options.number("held", false)?;
    let model = options.path("model", "models/micro")?;
    let binary = options.path("binary", "")?;
    options.finish()?;
    let lexicon = Lexicon::load()?;
    let vocabulary = open_vocabulary(&model, &lexicon)?;
    let part = if held { Part::Held } else { Part::Training };
    let generator = Generator { families: Families { lexicon: &lexicon, vocabulary: &vocabulary, part } };
    let mut dice = Dice::new(seed, 1);
    if !binary.as_os_str().is_empty() {
        return dump(&generator, &binary, (length, count, level), &mut dice);
    }
    println!(
        "{} words, {} label words of {} tokens",
        vocabulary.words.len(),
        vocabulary.labels.len(),
        vocabulary.size()
    );
    for _ in 0..count {
        let sequence = generator.sequence(length, level, &mut dice)?;
        println!("{}\n", vocabulary.decode(&sequence.tokens)?);
    }
    Ok(())
}

/// The tokenizer in the folder `model`, with the words of the corpus.
fn open_vocabulary(model: &Path, lexicon: &Lexicon) -> Result<Vocabulary> {
    let mut common = tokenizer::texts(lexicon, Part::Training, 20_000, 1);
    common.extend(lexicon.categories.iter().map(|category| category.words.join(" ")));
    Vocabulary::open(&model.join("tokenizer.json"), lexicon, &common)
}

fn train(options: &mut Options) -> Result<()> {
    let (out, work) = (options.path("out", "models/micro")?, options.path("work", "target/micro")?);
    let (seed, hours) = (options.number("seed", 1)?, options.number("hours", 1.0)?);
    let steps: u32 = options.number("steps", 0)?;
    let precision = match options.path("precision", "bf16")?.to_str() {
        Some("f32") => Precision::F32,
        Some("bf16") => Precision::Bf16,
        _ => bail!("--precision f32 or bf16"),
    };
    let pause = options.number("pause", 240.0)?;
    let threads = options.number("threads", 2)?;
    options.finish()?;
    println!("{} threads", kernels::threads::set(threads));
    let lexicon = Lexicon::load()?;
    std::fs::create_dir_all(&out)?;
    let json = tokenizer::train(&lexicon, seed)?.to_string(true).map_err(|error| anyhow!("{error}"))?;
    replace(&out.join("tokenizer.json"), json.as_bytes())?;
    let vocabulary = open_vocabulary(&out, &lexicon)?;
    let families = Families { lexicon: &lexicon, vocabulary: &vocabulary, part: Part::Training };
    let plan = train::Plan {
        seed,
        seconds: hours * 3600.0,
        steps: (steps > 0).then_some(steps),
        checkpoint: train::checkpoint(&work),
        pause,
        precision,
    };
    let mut run = train::Run::open(plan, export::config(vocabulary.size()), Generator { families })?;
    println!("{} parameters, {} label words", run.transformer().parameters(), vocabulary.labels.len());
    let extent = Extent { tasks: 12, draws: 1, queries: 32 };
    let folder = Folder(out);
    run.train(|run| {
        run.export(&folder)?;
        let model = run.transformer().converted(precision, Use::Inference);
        let curve = held(&model, (&lexicon, &vocabulary), 4, extent)?;
        println!("{} {}", evaluate::line("held out, 4 classes", &curve), run.facts());
        Ok(())
    })
}

fn demo_data(options: &mut Options) -> Result<()> {
    let (out, seed) = (options.path("out", "examples/demo")?, options.number("seed", 1)?);
    options.finish()?;
    std::fs::create_dir_all(&out)?;
    let parts = demonstration::parts(&Lexicon::load()?, seed)?;
    for ((name, _), rows) in demonstration::SIZES.iter().zip(&parts) {
        let content: String = rows.iter().map(demonstration::line).collect();
        replace(&out.join(format!("{name}.jsonl")), content.as_bytes())?;
    }
    Ok(())
}

/// The held-out tasks with `classes` classes.
fn held(
    model: &Transformer,
    (lexicon, vocabulary): (&Lexicon, &Vocabulary),
    classes: usize,
    extent: Extent,
) -> Result<Curve> {
    let families = Families { lexicon, vocabulary, part: Part::Held };
    let labels = evaluate::held_labels(&lexicon.held_labels, vocabulary)?;
    let evaluation = Evaluation { transformer: model, vocabulary, labels, extent };
    let mut dice = Dice::new(77, 5);
    let mut curve = Curve::new();
    for example in evaluate::held_tasks(&families, (classes, extent.tasks), 2 * extent.queries, &mut dice)? {
        evaluation.measure(&example, &mut dice, &mut curve)?;
    }
    Ok(curve)
}

fn evaluate(options: &mut Options) -> Result<()> {
    let model = options.path("model", "models/micro")?;
    let extent = Extent {
        tasks: options.number("tasks", 24)?,
        draws: options.number("draws", 3)?,
        queries: options.number("queries", 40)?,
    };
    let demo = options.path("demo", "examples/demo")?;
    let real = options.path("real", "")?;
    options.finish()?;
    let started = Instant::now();
    let lexicon = Lexicon::load()?;
    let vocabulary = open_vocabulary(&model, &lexicon)?;
    let checkpoint = lm::weights::Checkpoint::open(&lm::ModelSource::Folder(model))?;
    let transformer =
        Transformer::new(checkpoint.config, checkpoint.tensors.as_ref(), Precision::Bf16, Use::Inference)?;
    println!("| task | {} |", evaluate::SHOTS.map(|shots| format!("k={shots}")).join(" | "));
    println!("|---{}|", "|---".repeat(evaluate::SHOTS.len()));
    for classes in [4, 8] {
        let own =
            Extent { tasks: if classes == 4 { extent.tasks } else { extent.tasks.div_ceil(4) }, ..extent };
        let curve = held(&transformer, (&lexicon, &vocabulary), classes, own)?;
        println!("{}", evaluate::line(&format!("held out, {classes} classes, {} tasks", own.tasks), &curve));
    }
    let labels = evaluate::held_labels(&lexicon.held_labels, &vocabulary)?;
    let evaluation = Evaluation { transformer: &transformer, vocabulary: &vocabulary, labels, extent };
    if demo.join("dev.jsonl").exists() {
        for natural in [true, false] {
            let pair = (evaluate::rows(&demo.join("train.jsonl"))?, evaluate::rows(&demo.join("dev.jsonl"))?);
            let names = evaluate::names(&pair.0);
            let example = evaluate::from_rows((&pair.0, &pair.1), &names, natural, &vocabulary)?;
            let own = Extent { draws: extent.draws.max(5), queries: pair.1.len(), ..extent };
            let mut curve = Curve::new();
            Evaluation { extent: own, labels: evaluation.labels.clone(), ..evaluation }.measure(
                &example,
                &mut Dice::new(78, 6),
                &mut curve,
            )?;
            let labels = if natural { "its own" } else { "random" };
            println!("{}", evaluate::line(&format!("demo, dev set, {labels} labels"), &curve));
        }
    }
    for pair in real.to_string_lossy().split(';').filter(|pair| !pair.is_empty()) {
        let (train, test) = pair.split_once(',').unwrap_or((pair, pair));
        real_text(&evaluation, (&PathBuf::from(train), &PathBuf::from(test)))?;
    }
    println!("{:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Four labels of a real set at a time, under random labels.
fn real_text(evaluation: &Evaluation<'_>, (train, test): (&Path, &Path)) -> Result<()> {
    let (train_rows, test_rows) = (evaluate::rows(train)?, evaluate::rows(test)?);
    let all = evaluate::names(&train_rows);
    let mut dice = Dice::new(79, 7);
    let mut curve = Curve::new();
    for _ in 0..evaluation.extent.tasks {
        let names: Vec<&str> = dice.sample(all.len(), 4).into_iter().map(|index| all[index]).collect();
        let example = evaluate::from_rows((&train_rows, &test_rows), &names, false, evaluation.vocabulary)?;
        evaluation.measure(&example, &mut dice, &mut curve)?;
    }
    let name = train.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    println!("{}", evaluate::line(&format!("{name}, 4 labels"), &curve));
    Ok(())
}

/// Writes sequences as JSON lines, for a look with other tools.
fn dump(
    generator: &Generator<'_>,
    path: &Path,
    (length, count, level): (usize, usize, f64),
    dice: &mut Dice,
) -> Result<()> {
    let mut lines = String::new();
    for _ in 0..count {
        let sequence = generator.sequence(length, level, dice)?;
        let choices: Vec<_> = sequence
            .choices
            .iter()
            .map(|choice| {
                serde_json::json!([
                    choice.row,
                    choice.target,
                    choice.candidates,
                    choice.weight,
                    choice.restricted
                ])
            })
            .collect();
        let line =
            serde_json::json!({"tokens": sequence.tokens, "choices": choices, "language": sequence.language});
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    replace(path, lines.as_bytes())
}

/// Writes a file whole or not at all: a temporary file in the same folder, renamed.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let mut file = std::fs::File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    Ok(())
}
