//! Cold start: `cargo run --release -p weigh-lm --example first_label -- MODEL [f32|bf16]`.
//!
//! Loads a model, scores one short request against four labels, and prints the seconds from the start of the program
//! to the first label, with the parts that can be told apart.

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::path::PathBuf;
use std::time::Instant;

use lm::score::{LabelTree, Scorer};
use lm::{Error, Model, ModelSource, Precision, Use, threads};

fn main() -> Result<(), Error> {
    let started = Instant::now();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = PathBuf::from(arguments.first().map_or("model", String::as_str));
    let precision = match arguments.get(1).map(String::as_str) {
        Some("f32") => Precision::F32,
        _ => Precision::Bf16,
    };
    let source = if path.is_dir() { ModelSource::Folder(path) } else { ModelSource::Gguf(path) };
    let model = Model::load(&source, precision, Use::Inference)?;
    let loaded = started.elapsed().as_secs_f64();
    let query = model.tokenizer.encode("Input: I still have not received my new card.\nLabel:")?;
    let labels = [" card arrival\n", " lost card\n", " exchange rate\n", " top up failed\n"];
    let labels =
        labels.iter().map(|label| model.tokenizer.encode_plain(label)).collect::<Result<Vec<_>, _>>()?;
    let tree = LabelTree::new(&labels)?;
    let tokenized = started.elapsed().as_secs_f64();
    let scorer = Scorer::new(&model.transformer, None);
    let scores = threads::within(|| scorer.score(None, &[query], &tree, 1024))?;
    let scored = started.elapsed().as_secs_f64();
    println!(
        "first label after {scored:.3} s: model {loaded:.3}, tokens {:.3}, scores {:.3}; {:?}",
        tokenized - loaded,
        scored - tokenized,
        scores[0],
    );
    Ok(())
}
