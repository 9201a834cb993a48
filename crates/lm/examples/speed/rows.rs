//! From the name of a row to its work.

use std::error::Error;

use lm::Use;
use lm::transformer::Transformer;
use lm::weights::Checkpoint;

use crate::options::Options;
use crate::problem;
use crate::work::{Decode, FullStep, LoraStep, Prefill, Scoring, Work, random, smollm2_135m};

/// The work of a row, ready to run.
pub(crate) fn work(row: &str, options: &Options) -> Result<Box<dyn Work + Send>, Box<dyn Error>> {
    let inference = || transformer(options, Use::Inference);
    match row.split_once('-').unwrap_or((row, "")) {
        ("lora", "") => Ok(Box::new(LoraStep::new(transformer(options, Use::Frozen)?)?)),
        ("full", "") => Ok(Box::new(FullStep::new(transformer(options, Use::Trainable)?))),
        ("prefill", shape) => {
            let (sequences, length) = shape.split_once('x').ok_or("a row such as prefill-8x256")?;
            Ok(Box::new(Prefill::new(inference()?, sequences.parse()?, length.parse()?)))
        }
        ("decode", sequences) => Ok(Box::new(Decode::new(inference()?, sequences.parse()?)?)),
        ("scoring", "") => Ok(Box::new(Scoring::new(inference()?, problem::read(options)?)?)),
        _ => Err(format!("no row {row}; crates/lm/examples/speed/main.rs lists them").into()),
    }
}

/// The weights asked for, or random ones.
pub(crate) fn transformer(options: &Options, usage: Use) -> Result<Transformer, lm::Error> {
    match options.source() {
        Some(source) => {
            let checkpoint = Checkpoint::open(&source)?;
            Transformer::new(checkpoint.config, checkpoint.tensors.as_ref(), options.precision, usage)
        }
        None => random(smollm2_135m()?, options.precision, usage),
    }
}
