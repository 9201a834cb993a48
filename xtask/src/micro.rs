//! The embedded model: its corpus, tokenizer, training and evaluation.

mod demonstration;
mod dice;
mod evaluate;
mod export;
mod family;
mod grammar;
mod initial;
pub(crate) mod labelled;
mod lexicon;
mod measure;
mod message;
mod objective;
mod sequence;
mod tokenizer;
mod train;
mod vocabulary;

use crate::options::Options;
use anyhow::{Result, anyhow, bail};
use dice::Dice;
use evaluate::Extent;
use export::Folder;
use family::{Breadth, Families, Part};
use kernels::matrix::Use;
use lexicon::Lexicon;
use lm::Precision;
use sequence::Generator;
use std::path::Path;
use vocabulary::Vocabulary;

const USAGE: &str = "usage: cargo xtask micro <step> [--option value ...]

  corpus     prints sequences of the corpus            --seed 1 --length 256 --count 3 --held false
                                                       --written false
  tokenizer  trains the tokenizer                      --out models/micro --seed 1
  train      makes everything from a seed; goes on     --out models/micro --hours 1 (or --steps N) --seed 1
             where it was, if there is a checkpoint    --work target/micro --pause 240 --precision bf16 --threads 2
  evaluate   accuracy on what training never saw       --model models/micro --tasks 24 --draws 3 --queries 40
                                                       --demo examples/demo --real train.jsonl,test.jsonl[;...]
                                                       --only-floors false
  tune       LoRA on held-out tasks                    --model models/micro --tasks 24 --draws 1 --queries 40
                                                       --labels 256 --rank 8 --rate 3e-3 --epochs 10
  demo-data  writes the data of the demo task          --out examples/demo --seed 1";

/// Runs `cargo xtask micro <step> ...`.
pub(super) fn run(arguments: &[&str]) -> Result<()> {
    let Some((step, rest)) = arguments.split_first() else { bail!("{USAGE}") };
    let mut options = Options::parse(rest)?;
    match *step {
        "corpus" => corpus(&mut options),
        "tokenizer" => make_tokenizer(&mut options),
        "train" => train(&mut options),
        "evaluate" => measure::evaluate(&mut options),
        "tune" => measure::tune(&mut options),
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
    let seed = options.number("seed", 1)?;
    let (length, count) = (options.number("length", 256usize)?, options.number("count", 3usize)?);
    let held = options.number("held", false)?;
    let written = options.number("written", false)?;
    let model = options.path("model", "models/micro")?;
    let binary = options.path("binary", "")?;
    options.finish()?;
    let lexicon = Lexicon::load()?;
    let vocabulary = open_vocabulary(&model, &lexicon)?;
    let part = if held { Part::Held } else { Part::Training };
    let generator = Generator { families: Families { lexicon: &lexicon, vocabulary: &vocabulary, part } };
    let mut dice = Dice::new(seed, 1);
    if !binary.as_os_str().is_empty() {
        return dump(&generator, &binary, (length, count), &mut dice);
    }
    println!(
        "{} words, {} label words of {} tokens",
        vocabulary.words.len(),
        vocabulary.labels.len(),
        vocabulary.size()
    );
    for _ in 0..count {
        let sequence = match written {
            true => generator.written(length, &mut dice)?,
            false => generator.sequence(length, &mut dice)?,
        };
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
    // A run that goes on has its tokenizer already; a test holds the stored one to its seed.
    if !train::checkpoint(&work).exists() {
        let json = tokenizer::train(&lexicon, seed)?.to_string(true).map_err(|error| anyhow!("{error}"))?;
        replace(&out.join("tokenizer.json"), json.as_bytes())?;
    }
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
    let folder = Folder(out);
    run.train(|run| {
        println!("{}", run.facts());
        run.export(&folder)
    })?;
    let model = run.transformer().converted(precision, Use::Inference);
    let extent = Extent { tasks: 12, draws: 1, queries: 32, shots: evaluate::SHOTS };
    for (name, part, breadth) in [
        ("held out", Part::Held, Breadth::FEW),
        ("held out, all ways", Part::Held, Breadth::ALL),
        ("new tasks of what was seen", Part::Training, Breadth::FEW),
    ] {
        let words = (&lexicon, &vocabulary);
        let curves = measure::generated(Some(&model), words, (part, false), (4, breadth), extent)?;
        print!("{}", evaluate::lines(name, &curves));
    }
    Ok(())
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

/// Writes sequences as JSON lines, for a look with other tools.
fn dump(
    generator: &Generator<'_>,
    path: &Path,
    (length, count): (usize, usize),
    dice: &mut Dice,
) -> Result<()> {
    let mut lines = String::new();
    for _ in 0..count {
        let sequence = generator.sequence(length, dice)?;
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
