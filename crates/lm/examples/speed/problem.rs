//! The scoring job on real text, and the first scored label of a process.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

use lm::score::{LabelTree, Scorer};
use lm::tokenizer::Tokenizer;
use lm::weights::Checkpoint;
use lm::{Model, Use};
use serde::Deserialize;

use crate::options::Options;
use crate::work::Problem;

/// Demonstrations in the prefix.
const SHOTS: usize = 32;

#[derive(Deserialize)]
struct Row {
    text: String,
    label: String,
}

/// Writes the job of [`Problem`]: 32 demonstrations (the first row of each of the first 32 labels in the order of the
/// alphabet), `items` queries spread evenly over the test rows, every label.
pub(crate) fn write(options: &Options) -> Result<(), Box<dyn Error>> {
    let source = options.source().ok_or("the problem needs --model for its tokenizer")?;
    let (Some(train), Some(test), Some(out)) = (&options.train, &options.test, &options.problem) else {
        return Err("the problem needs --train, --test and --problem".into());
    };
    let tokenizer = Checkpoint::open(&source)?.tokenizer;
    let (train, test) = (rows(train)?, rows(test)?);
    let labels: Vec<&str> =
        train.iter().map(|row| row.label.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    let mut text = String::from("Tell the intent of each message.\n\n");
    for label in labels.iter().take(SHOTS) {
        let shown = train.iter().find(|row| row.label == *label).ok_or("every label has a row")?;
        text.push_str(&format!("{} {}\n\n", query(&shown.text), shown.label));
    }
    let items = options.items.min(test.len());
    let asked: Vec<&Row> = (0..items).map(|item| &test[item * test.len() / items]).collect();
    let encode = |text: &str| tokenizer.encode_plain(text);
    let problem = Problem {
        prefix: encode(&text)?,
        queries: asked.iter().map(|row| encode(&query(&row.text))).collect::<Result<_, _>>()?,
        labels: labels.iter().map(|label| answer(&tokenizer, label)).collect::<Result<_, _>>()?,
        gold: asked
            .iter()
            .map(|row| labels.binary_search(&row.label.as_str()))
            .collect::<Result<_, _>>()
            .map_err(|_| "a test row has a label without a training row")?,
    };
    println!(
        "{}: prefix of {} tokens, {} queries, {} labels",
        out.display(),
        problem.prefix.len(),
        problem.queries.len(),
        problem.labels.len()
    );
    replace(out, &serde_json::to_vec(&problem)?)
}

/// The job in the file `--problem`, or an artificial one.
pub(crate) fn read(options: &Options) -> Result<Problem, Box<dyn Error>> {
    let mut problem = match &options.problem {
        Some(path) => serde_json::from_slice(&std::fs::read(path)?)?,
        None => Problem::artificial(crate::work::smollm2_135m()?.vocabulary, options.items),
    };
    problem.queries.truncate(options.items);
    problem.gold.truncate(options.items);
    Ok(problem)
}

/// Loads the model, scores two labels of one query, says so: what a user waits for at least.
pub(crate) fn first_label(options: &Options) -> Result<(), Box<dyn Error>> {
    let source = options.source().ok_or("the first label needs --model")?;
    let model = Model::load(&source, options.precision, Use::Inference)?;
    let labels = ["positive", "negative"];
    let tokens: Result<Vec<_>, _> = labels.iter().map(|label| answer(&model.tokenizer, label)).collect();
    let tree = LabelTree::new(&tokens?)?;
    let asked = model.tokenizer.encode_plain(&query("what a lovely day"))?;
    let scores = Scorer::new(&model.transformer, None).score(None, &[asked], &tree, 1024)?;
    println!("{}", serde_json::json!({"labels": labels, "scores": scores[0]}));
    Ok(())
}

fn query(text: &str) -> String {
    format!("Message: {text}\nIntent:")
}

/// A label as it follows a query, with the newline that ends it.
fn answer(tokenizer: &Tokenizer, label: &str) -> Result<Vec<u32>, lm::Error> {
    tokenizer.encode_plain(&format!(" {label}\n"))
}

fn rows(path: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Writes beside the target, then renames over it.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let temporary = path.with_extension("partial");
    std::io::Write::write_all(&mut std::fs::File::create(&temporary)?, bytes)?;
    Ok(std::fs::rename(temporary, path)?)
}
