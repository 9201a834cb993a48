//! Worlds that are run for real: once exhaustively and some times within a tenth of that, one after the other, each run kept as soon
//! as it ends.

use std::path::{Path, PathBuf};

use adapt::local::LocalModel;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::trial::{Effort, Manner, Sample, Trial, shuffle};
use crate::micro::labelled::Row;

/// Rows that must be there beside the training rows: fewer would decide nothing.
pub(super) const FEWEST: usize = 600;

/// Where worlds come from.
pub(super) trait Source {
    /// World `number`.
    fn world(&self, number: usize) -> Result<World>;
}

/// A world: its rows, and what it is.
pub(super) struct World {
    pub(super) name: String,
    /// Share of wrong labels.
    pub(super) noise: f64,
    pub(super) train: Vec<Row>,
    /// Rows for dev and test.
    pub(super) rest: Vec<Row>,
}

/// Rows beside the training rows that the two efforts use: the exhaustive run's own, and for the budgeted runs three quarters more
/// than one of them takes, so that they differ.
pub(super) fn wanted(exhaustive: &Effort, budgeted: &Effort) -> usize {
    exhaustive.dev + exhaustive.test + (budgeted.dev + budgeted.test) * 7 / 4
}

/// What is kept of a world.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// What it was made with: another one's results are not taken for these.
    key: String,
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) classes: usize,
    pub(super) train: usize,
    pub(super) noise: f64,
    pub(super) exhaustive: Option<Trial>,
    pub(super) budgeted: Vec<Trial>,
    /// Why it has no result.
    #[serde(default)]
    pub(super) failed: Option<String>,
}

/// How worlds are run.
pub(super) struct Runs<'a> {
    pub(super) engine: &'a LocalModel,
    pub(super) manner: Manner,
    pub(super) efforts: [Effort; 2],
    /// Budgeted runs of each world.
    pub(super) repeats: usize,
    /// Seed, model and source of worlds, in words: part of the key.
    pub(super) origin: String,
    /// Where results and runs in progress are kept.
    pub(super) work: PathBuf,
}

impl Runs<'_> {
    /// Runs what is not kept yet of the worlds `numbers`, and returns them all.
    pub(super) fn run(&self, source: &dyn Source, numbers: &[usize]) -> Result<Vec<Outcome>> {
        std::fs::create_dir_all(&self.work).with_context(|| self.work.display().to_string())?;
        let mut outcomes = Vec::new();
        for (done, &number) in numbers.iter().enumerate() {
            let path = self.work.join(format!("world-{number:02}.json"));
            let world = source.world(number).with_context(|| format!("world {number}"))?;
            let mut outcome = self.kept(&path, number, &world)?;
            eprintln!("world {number} ({} of {}): {}", done + 1, numbers.len(), outcome.describe());
            if let Err(error) = self.finish(&world, &mut outcome, &path) {
                eprintln!("  failed: {error:#}");
                outcome.failed = Some(format!("{error:#}"));
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// What is kept of a world, if it was made alike; else nothing yet.
    fn kept(&self, path: &Path, number: usize, world: &World) -> Result<Outcome> {
        let key = format!("{} {:?} {:?}", self.origin, self.manner, self.efforts);
        if path.exists() {
            let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
            let kept: Outcome = serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
            if kept.key == key {
                return self.judged_again(kept);
            }
        }
        let mut labels: Vec<&String> = world.train.iter().map(|(_, label)| label).collect();
        labels.sort_unstable();
        labels.dedup();
        Ok(Outcome {
            key,
            number,
            name: world.name.clone(),
            classes: labels.len(),
            train: world.train.len(),
            noise: world.noise,
            exhaustive: None,
            budgeted: Vec::new(),
            failed: None,
        })
    }

    /// The runs of `kept` whose records are there, by the rules of today.
    fn judged_again(&self, kept: Outcome) -> Result<Outcome> {
        let again = |seed: u64, trial: &Trial| trial.judged_again(&self.record(kept.number, seed));
        let exhaustive = match &kept.exhaustive {
            Some(trial) => again(0, trial)?,
            None => None,
        };
        let mut budgeted = Vec::new();
        for (seed, trial) in (1..).zip(&kept.budgeted) {
            let Some(trial) = again(seed, trial)? else { break };
            budgeted.push(trial);
        }
        Ok(Outcome { exhaustive, budgeted, ..kept })
    }

    /// Where the record of the run with `seed` in world `number` is kept; the exhaustive run has seed 0.
    fn record(&self, number: usize, seed: u64) -> PathBuf {
        self.work.join(format!("record-{number:02}-{seed}.json"))
    }

    fn finish(&self, world: &World, outcome: &mut Outcome, path: &Path) -> Result<()> {
        let [exhaustive, budgeted] = &self.efforts;
        let share = world.rest.len() as f64 / wanted(exhaustive, budgeted) as f64;
        let [exhaustive, budgeted] = [exhaustive, budgeted].map(|effort| effort.scaled(share));
        let (first, left) = world.rest.split_at((exhaustive.dev + exhaustive.test).min(world.rest.len()));
        let folder = self.work.join(format!("run-{:02}", outcome.number));
        if outcome.exhaustive.is_none() {
            let sample = sample(world, first, &exhaustive, 0);
            let kept = self.record(outcome.number, 0);
            let trial = Trial::run(self.engine, &self.manner, &sample, &exhaustive, [&folder, &kept])?;
            eprintln!("  exhaustive: {}", trial.describe());
            outcome.exhaustive = Some(trial);
            outcome.keep(path)?;
        }
        while outcome.budgeted.len() < self.repeats {
            let seed = outcome.budgeted.len() as u64 + 1;
            let sample = sample(world, left, &budgeted, seed);
            let kept = self.record(outcome.number, seed);
            let trial = Trial::run(self.engine, &self.manner, &sample, &budgeted, [&folder, &kept])?;
            eprintln!("  budgeted {seed}: {}", trial.describe());
            outcome.budgeted.push(trial);
            outcome.keep(path)?;
        }
        outcome.failed = None;
        std::fs::remove_dir_all(&folder).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        Ok(())
    }
}

/// The rows of a run: all training rows, and a draw of `rows` for dev and test.
fn sample(world: &World, rows: &[Row], effort: &Effort, seed: u64) -> Sample {
    let mut rows = rows.to_vec();
    shuffle(&mut rows, seed);
    let dev: Vec<Row> = rows.drain(..effort.dev.min(rows.len())).collect();
    rows.truncate(effort.test);
    Sample { train: world.train.clone(), dev, test: rows, seed }
}

impl Outcome {
    fn keep(&self, path: &Path) -> Result<()> {
        Ok(task::atomic::write(path, &serde_json::to_vec_pretty(self)?)?)
    }

    /// The world in a few words.
    pub(super) fn describe(&self) -> String {
        let noise = if self.noise > 0.0 {
            format!(", {:.0}% wrong labels", 100.0 * self.noise)
        } else {
            String::new()
        };
        format!("{}, {} labels, {} rows{noise}", self.name, self.classes, self.train)
    }
}

impl Trial {
    fn describe(&self) -> String {
        let [value, low, high] = self.difference.map(|part| 100.0 * part);
        format!(
            "{:?}, difference {value:+.1} [{low:+.1}, {high:+.1}], {} of {} items, {:.0} thousand tokens, {:.0} s",
            self.choice,
            self.items[0],
            self.items[1],
            self.tokens / 1e3,
            self.seconds
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(rest: usize) -> World {
        let row = |number: usize| (format!("text {number}"), format!("label {}", number % 2));
        let train = (0..20).map(row).collect();
        World { name: "a world".to_owned(), noise: 0.0, train, rest: (100..100 + rest).map(row).collect() }
    }

    #[test]
    fn budgeted_runs_see_other_rows_than_the_exhaustive_one_and_than_each_other() {
        let (exhaustive, budgeted) = (Effort::exhaustive(), Effort::budgeted());
        let world = world(wanted(&exhaustive, &budgeted));
        let (first, left) = world.rest.split_at(exhaustive.dev + exhaustive.test);
        let truth = sample(&world, first, &exhaustive, 0);
        let [one, other] = [1, 2].map(|seed| sample(&world, left, &budgeted, seed));
        assert_eq!([truth.dev.len(), truth.test.len()], [exhaustive.dev, exhaustive.test]);
        for run in [&one, &other] {
            assert_eq!([run.dev.len(), run.test.len()], [budgeted.dev, budgeted.test]);
            let seen = |row: &&Row| truth.dev.contains(row) || truth.test.contains(row);
            assert_eq!(run.dev.iter().chain(&run.test).filter(seen).count(), 0);
            assert!(run.dev.iter().all(|row| !run.test.contains(row)));
        }
        assert_ne!(one.test, other.test);
        assert_ne!(one.dev, other.dev);
    }
}
