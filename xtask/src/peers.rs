//! `cargo xtask peers`: the same work in this engine and in what people use today, back to back.

mod child;
mod measure;
mod peak;
mod place;
mod record;
mod report;
mod roofline;
mod row;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::options::Options;
use measure::Measurement;
use place::Place;
use record::Record;

const USAGE: &str = "usage: cargo xtask peers [--option value ...]

  Runs each row's work in turn here and in each peer (A B A B ...), after a warm-up of both, and prints the ratios. What is
  not there (Python, a module, llama.cpp, a file) is said, and its rows are left out.

  --python PATH      Python with torch, transformers, peft, trl, datasets, llama-cpp-python [python3]
  --folder DIR       SmolLM2-135M-Instruct as a Hugging Face folder [WEIGH_SMOLLM2_HF]
  --model FILE.gguf  the same as a GGUF file, for llama.cpp [WEIGH_SMOLLM2_GGUF]
  --f16 FILE.gguf    the same in 16 bits [target/peers/NAME-f16.gguf, made by to_f16_gguf.py of --peers]
  --peers DIR        folder with to_f16_gguf.py
  --train FILE --test FILE   rows of Banking77 (JSON lines with text and label), for scoring
  --speed PATH       a built example `speed` of another state of the engine [built here]
  --items N          test rows that are scored [250]
  --only NAMES       rows to measure, by their first words, with commas (lora, trl, full, prefill, decode, scoring,
                     first-label, threads); lora/amp measures one mode
  --pairs N          pairs of runs [7]
  --threads N        [2]
  --peak GFLOPS      what the machine's multiply-adds for bf16 can do [measured by the kernels' benchmark, where there is one]
  --json FILE        keeps the raw seconds; rows that are not measured now stay as they are in it
  --markdown FILE    writes the table of all rows in the record
  --measure false    only writes the table
  --roofline FILE    instead of all this, takes a LoRA step, a full step and prefill apart and rewrites the tables between
                     the marks in FILE (docs/bench/roofline.md)";

/// Runs `cargo xtask peers ...`.
pub(super) fn run(arguments: &[&str]) -> Result<()> {
    if arguments.first().is_some_and(|first| !first.starts_with("--")) {
        bail!("{USAGE}");
    }
    let mut options = Options::parse(arguments).with_context(|| USAGE)?;
    let json = options.text("json").map(PathBuf::from);
    let markdown = options.text("markdown").map(PathBuf::from);
    let only = options.text("only").unwrap_or_default();
    let pairs: usize = options.number("pairs", 7)?;
    let measure: bool = options.number("measure", true)?;
    let peak: f64 = options.number("peak", 0.0)?;
    let roofline = options.text("roofline").map(PathBuf::from);
    let place = Place::find(&mut options)?;
    options.finish()?;
    if let Some(page) = &roofline {
        place.build()?;
        let peak = if peak > 0.0 { Some(peak) } else { peak::measure(&place) };
        return roofline::rewrite(page, &place, peak);
    }

    let mut record = match &json {
        Some(path) if path.exists() => Record::read(path)?,
        _ => Record::default(),
    };
    if measure {
        place.build()?;
        record.machine = place::machine();
        record.peak = if peak > 0.0 { Some(peak) } else { peak::measure(&place).or(record.peak) };
        for row in row::rows() {
            for peer in row.peers.iter().filter(|peer| wanted(&only, row.name, peer.mode)) {
                let measurement = Measurement::take(&place, &row, peer, pairs)?;
                println!("{}", report::line(&measurement, record.peak));
                record.put(measurement);
                if let Some(path) = &json {
                    record.write(path)?;
                }
            }
        }
    }
    let table = report::table(&record);
    match &markdown {
        Some(path) => record::replace(path, table.as_bytes())?,
        None => println!("\n{table}"),
    }
    Ok(())
}

/// Whether `only` (names with commas, each a row, the first words of its name, or ROW/MODE) asks for this.
fn wanted(only: &str, row: &str, mode: &str) -> bool {
    only.is_empty()
        || only.split(',').any(|name| match name.split_once('/') {
            Some((own, of)) => own == row && of == mode,
            None => row == name || row.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')),
        })
}

#[cfg(test)]
mod tests {
    use super::wanted;

    #[test]
    fn rows_are_asked_for_by_their_first_words_and_modes() {
        assert!(wanted("", "lora", "amp"));
        assert!(wanted("full,prefill", "prefill-8x256", "bf16"));
        assert!(wanted("lora/amp", "lora", "amp"));
        assert!(!wanted("lora/amp", "lora", "f32"));
        assert!(wanted("decode", "decode-16", "bf16"));
        assert!(!wanted("decode-1", "decode-16", "bf16"));
        assert!(!wanted("decode", "lora", "f32"));
    }
}
