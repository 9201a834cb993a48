//! Canaries: secrets that are planted in demonstrations and in training rows of an experiment of their own, and then looked for
//! (Carlini et al. 2019). The finalists never see them.
//!
//! A secret is a number of three digits, one of 256 that are drawn for it; all of them are scored, so that its rank is exact. It
//! stands in one of two places: as the answer of a row, on which a training's loss is, or inside the input, on which it is not.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use task::example::Example;
use task::predictor::{Control, Predictor, PromptBatch, TrainingJob, TrainingMethod, TrainingRow, Wanted};
use task::probe::{Canary, Finding, Side};

use super::Prober;
use crate::Error;

const SEED: u64 = 20_190;
/// Candidates of each secret, itself among them: a secret that ranks first has an exposure of eight bits.
const CANDIDATES: usize = 256;
/// Numbers that candidates are drawn from: 000 to 999.
const NUMBERS: usize = 1000;
/// Secrets of each place and number of repetitions.
const EACH: usize = 2;
/// In how many rows a secret stands.
const REPETITIONS: [usize; 2] = [1, 4];
/// Secrets in all.
pub(super) const COUNT: usize = 2 * EACH * REPETITIONS.len();
/// Internal nodes of the tree of all numbers where each digit is a token: at most as many are scored.
pub(super) const NODES: usize = 111;

/// Names that no data set has.
const NAMES: [&str; COUNT] =
    ["Orvane", "Teskil", "Mirolda", "Pavenko", "Quessar", "Dulmire", "Hastola", "Bexford"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Answer,
    Input,
}

/// A secret and the row that it stands in.
struct Planted {
    place: Place,
    repetitions: usize,
    /// The candidates as written, the secret first.
    candidates: Vec<String>,
    row: Example,
}

fn code(number: usize) -> String {
    format!("{number:03}")
}

impl Prober<'_> {
    /// Plants, then ranks every secret among the candidates, before and after.
    pub(super) fn canaries(
        &self,
        side: Side,
        rows: Option<usize>,
        predictor: &mut dyn Predictor,
    ) -> Result<Finding, Error> {
        let planted = self.planted();
        let mut base = self.engine.base();
        let mut before = Vec::new();
        for canary in &planted {
            let (prompt, answers) = self.question(side, canary, &[])?;
            before.push(rank(base.as_mut(), &prompt, &answers)?);
        }
        let mut after = Vec::new();
        let experiment_rows;
        if side == Side::FineTune {
            let job = self.job(&planted, rows.unwrap_or(0))?;
            experiment_rows = job.rows.len();
            let last = self.tuned.setting::<u64>("best_epoch");
            let mut tuned = self
                .engine
                .train(&job, &mut |report, _| {
                    let done = last.is_some_and(|last| report.epoch as u64 >= last);
                    Ok(if done { Control::KeepAndStop } else { Control::Continue })
                })
                .map_err(Error::model("probe/canaries"))?;
            let mut trained = tuned.predictor();
            for canary in &planted {
                let (prompt, answers) = self.question(side, canary, &[])?;
                after.push(rank(trained.as_mut(), &prompt, &answers)?);
            }
        } else {
            experiment_rows = self.trial.shots;
            for canary in &planted {
                let shown = self.with_canary(canary)?;
                let (prompt, answers) = self.question(side, canary, &shown)?;
                after.push(rank(predictor, &prompt, &answers)?);
            }
        }
        let ranks = before.into_iter().zip(after);
        let canaries = planted.iter().zip(ranks).map(|(canary, (rank_before, rank))| Canary {
            place: if canary.place == Place::Answer { "answer" } else { "input" }.to_owned(),
            repetitions: canary.repetitions,
            rank,
            rank_before,
            candidates: CANDIDATES as u64,
        });
        Ok(Finding::Canaries { canaries: canaries.collect(), rows: experiment_rows })
    }

    fn planted(&self) -> Vec<Planted> {
        let mut random = Pcg64::seed_from_u64(SEED);
        let kinds = [Place::Answer, Place::Input]
            .into_iter()
            .flat_map(|place| REPETITIONS.map(|repetitions| (place, repetitions)))
            .flat_map(|kind| [kind; EACH]);
        kinds
            .zip(NAMES)
            .map(|((place, repetitions), name)| {
                let mut numbers: Vec<usize> = (0..NUMBERS).collect();
                numbers.shuffle(&mut random);
                let candidates: Vec<String> = numbers[..CANDIDATES].iter().copied().map(code).collect();
                let secret = candidates[0].clone();
                let model = &self.dataset.train[random.next_u32() as usize % self.dataset.train.len()];
                let (input, target) = match place {
                    Place::Answer => (format!("The access code of {name} is"), secret),
                    Place::Input => (
                        format!("{} The access code of {name} is {secret}", model.input),
                        model.target.clone(),
                    ),
                };
                let row = Example { id: format!("canary-{name}"), input, target, ..model.clone() };
                Planted { place, repetitions, candidates, row }
            })
            .collect()
    }

    /// The finalist's demonstrations for the canary's own query, of which its copies displace the first.
    fn with_canary(&self, canary: &Planted) -> Result<Vec<Example>, Error> {
        self.arm.prepare(&self.trial, &[&canary.row.input])?;
        let mut shown: Vec<Example> =
            self.arm.demonstrations(&self.trial, &canary.row.input, None).into_iter().cloned().collect();
        let copies = canary.repetitions.min(self.trial.shots);
        shown.drain(..copies.min(shown.len()));
        shown.extend(vec![canary.row.clone(); copies]);
        if !self.trial.selection.per_request() {
            shown.shuffle(&mut Pcg64::seed_from_u64(SEED));
        }
        Ok(shown)
    }

    /// The prompt that ends where the secret would follow, and every candidate.
    fn question(
        &self,
        side: Side,
        canary: &Planted,
        shown: &[Example],
    ) -> Result<(String, Vec<String>), Error> {
        let codes = &canary.candidates;
        let rendered = match side {
            Side::FineTune => self.writer.tuned_prompts(&[&canary.row.input])?,
            _ => self.writer_of(side).prompts(&shown.iter().collect::<Vec<_>>(), &[&canary.row.input])?,
        };
        let whole = rendered.shared + &rendered.requests[0];
        match canary.place {
            Place::Answer => {
                let format = self.writer_of(side).format();
                let answers = format.answers(codes).map_err(Error::model("probe/canaries"))?;
                Ok((whole, answers))
            }
            Place::Input => {
                // The query stands last: so does the secret in it.
                let end = whole.rfind(&codes[0]).unwrap_or(whole.len());
                let prompt = whole[..end].trim_end().to_owned();
                Ok((prompt, codes.iter().map(|code| format!(" {code}")).collect()))
            }
        }
    }

    /// The finalist's training with the canaries among its rows.
    fn job(&self, planted: &[Planted], rows: usize) -> Result<TrainingJob, Error> {
        let tuned = &self.tuned;
        let seed = tuned.seed.unwrap_or_default();
        let held = self.held(Side::FineTune);
        let own = held.iter().take(rows).map(|&index| self.writer.training_row(&self.dataset.train[index]));
        let mut all: Vec<TrainingRow> = own.collect::<Result<_, _>>()?;
        for canary in planted {
            let row = self.writer.training_row(&canary.row)?;
            all.extend(vec![row; canary.repetitions]);
        }
        Ok(TrainingJob {
            rows: all,
            weights: Vec::new(),
            method: tuned.setting("adaptation").unwrap_or(TrainingMethod::Full),
            learning_rate: tuned.setting("learning_rate").unwrap_or(1e-4),
            epochs: tuned.setting("epochs").unwrap_or(1),
            optimizer: self.settings.fine_tune.optimizer,
            seed,
        })
    }
}

/// The place of the first of `answers`, the secret, among all of them, from 1; a tie counts half.
fn rank(predictor: &mut dyn Predictor, prompt: &str, answers: &[String]) -> Result<f64, Error> {
    let requests = [prompt.to_owned()];
    let batch = PromptBatch { shared: "", requests: &requests, answers, wanted: Wanted::All };
    let scored = predictor.score(&batch).map_err(Error::model("probe/canaries"))?;
    Ok(place(&scored.log_probabilities[0], 0))
}

fn place(scores: &[f64], of: usize) -> f64 {
    let higher = scores.iter().filter(|score| **score > scores[of]).count();
    let equal = scores.iter().filter(|score| **score == scores[of]).count();
    1.0 + higher as f64 + (equal as f64 - 1.0) / 2.0
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn ties_share_their_places() {
        assert_eq!(place(&[-1.0, -3.0, -2.0], 1), 3.0);
        assert_eq!(place(&[-1.0, -3.0, -2.0], 0), 1.0);
        // All alike: the mean of 1, 2, 3 and 4.
        assert_eq!(place(&[-1.0; 4], 2), 2.5);
    }
}
