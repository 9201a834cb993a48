//! The work that is timed: one training step, one prefill, some decoding steps, one scoring job, on fixed inputs.
//!
//! Shared by the benchmarks (`cargo bench -p weigh-lm`) and the example `speed`, which is what `cargo xtask peers`
//! runs beside the Python stack.

#![allow(dead_code, unused_imports, reason = "each user needs a part")]

mod inference;
mod scoring;
mod shapes;
mod training;

pub(crate) use inference::{Decode, Prefill};
pub(crate) use scoring::{Problem, Scoring};
pub(crate) use shapes::{random, small, smollm2_135m};
pub(crate) use training::{FullStep, LoraStep};

use lm::Error;

/// Something that can be done again and again, each time the same.
pub(crate) trait Work {
    /// Tokens that one run passes through the model.
    fn tokens(&self) -> usize;

    /// Floating-point operations of one run, as [`lm::transformer::Flops`] counts them.
    fn flops(&self) -> f64;

    /// Bytes of weights that one run reads from memory at least, where that is what bounds it.
    fn streamed_bytes(&self) -> Option<f64> {
        None
    }

    /// Share of right answers of the last run, where there is a right answer.
    fn accuracy(&self) -> Option<f64> {
        None
    }

    /// What must happen before a run and is not part of it.
    fn prepare(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Does it once.
    fn run(&mut self) -> Result<(), Error>;
}

/// `count` tokens that spread over a vocabulary.
pub(crate) fn tokens(vocabulary: usize, count: usize) -> Vec<u32> {
    (0..count).map(|index| ((index * 7919 + 13) % vocabulary) as u32).collect()
}
