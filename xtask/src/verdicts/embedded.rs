//! Worlds of the embedded model: tasks of its generator, of words, concepts and labels that its training never saw.

use std::path::Path;

use anyhow::Result;

use super::trials::{FEWEST, Source, World};
use crate::micro::labelled::{Design, Tasks};

/// Draws them.
pub(super) struct Generated {
    tasks: Tasks,
    seed: u64,
    /// Rows beside the training rows.
    wanted: usize,
}

impl Generated {
    /// Worlds of `seed`, with the tokenizer in the folder `model`.
    pub(super) fn open(model: &Path, seed: u64, wanted: usize) -> Result<Self> {
        Ok(Self { tasks: Tasks::open(model)?, seed, wanted })
    }
}

impl Source for Generated {
    fn world(&self, number: usize) -> Result<World> {
        let design = Design::new(number);
        let amounts = [FEWEST, self.wanted].map(|rows| design.train + rows);
        let mut train = self.tasks.rows(&design, self.seed.wrapping_add(number as u64), amounts)?;
        let rest = train.split_off(design.train);
        Ok(World { name: design.name(), noise: design.noise, train, rest })
    }
}
