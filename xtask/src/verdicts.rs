//! `cargo xtask verdicts`: how good the verdict is, on worlds whose truth is known.
//!
//! `verdicts embedded` and `verdicts data` run the product itself, with a model and texts ([`trials`]); plain `verdicts` simulates,
//! which is quick. There, a world has a law for each arm (accuracy against demonstrations and against labels), luck of draws and seeds, and items whose
//! difficulty all experiments share. It is run twice by the rules of a real run: **exhaustively** (every size, many draws and
//! seeds, thousands of test items) and **within a budget** of about a tenth of the tokens, with the test set left early. Both
//! records go through [`Comparison`] as a user's would. The budgeted verdict is right where it says what the exhaustive one
//! says; where it cannot tell it is to say so.

mod data_sets;
mod embedded;
mod measured;
mod page;
mod report;
mod trial;
mod trials;
mod world;

use anyhow::{Result, bail};
use eval::comparison::Comparison;
use eval::contrast::Outcome;
use eval::crossing::LabelsUntil;
use eval::looking::{self, FEWEST, Looked};
use eval::paired::{PairedCounts, mcnemar_mid_p};
use eval::replication::RunSpread;
use task::record::Decision;

use crate::options::Options;
use world::{Effort, Source, World};

const USAGE: &str =
    "usage: cargo xtask verdicts [--worlds N] [--repeats N] [--null N] [--seed N] [--write FILE]
       cargo xtask verdicts embedded [--worlds N] [--only N,N,...] [--repeats N] [--threads N] [--seed N]
                                     [--model DIR] [--work DIR] [--write FILE]
       cargo xtask verdicts data --data DIR [--model DIR] [--style NAME] [and the options of embedded]

  (nothing)     simulated answers, which is quick
  embedded      whole runs of the embedded model on tasks of its generator that its training never saw
  data          whole runs on a few labels at a time of banking77, clinc150 and restaurant8k (NAME.train.jsonl and
                NAME.test.jsonl in --data), with the embedded model or the one in the folder --model

  --worlds N    worlds: 48 simulated (eight sizes of the true difference, in turn), 30 embedded, 12 of data
  --only N,...  of those only these, counted from 0
  --repeats N   budgeted runs of each world (default 4 simulated, else 3)
  --null N      comparisons without a difference, for the rate of false positives (default 1000)
  --threads N   threads of the engine (default 1)
  --work DIR    where records are kept as soon as they are there (default target/verdicts/embedded or .../data): the same
                command goes on there after it was stopped, and judges them by the rules of today. Where a change of rules
                changes when a test set is left, remove the budgeted runs' (record-*-[1-9].json)
  --write FILE  the report; otherwise it is printed";

/// What became of one budgeted run.
pub(super) struct Outcomes {
    /// True difference of the arms at their best.
    pub(super) truth: f64,
    /// The exhaustive answer.
    pub(super) exhaustive: Outcome,
    /// The budgeted answers.
    pub(super) budgeted: Vec<Budgeted>,
    /// Tokens of the exhaustive run.
    pub(super) tokens: f64,
}

/// One budgeted run.
pub(super) struct Budgeted {
    pub(super) outcome: Outcome,
    /// True difference of the two finalists: the weights and the prompt that would be used.
    pub(super) own: f64,
    pub(super) tokens: f64,
    /// Test items that were asked.
    pub(super) items: usize,
    /// Whether the interval of the labels until fine-tuning draws level holds the true number; `None` where it was refused, or
    /// the true crossing lies beyond what was looked at.
    pub(super) crossing: Option<bool>,
    pub(super) refused: bool,
}

/// False positives among comparisons of two sides that do not differ.
pub(super) struct Null {
    pub(super) trials: usize,
    /// "Better", by the rule that the runner asks.
    pub(super) looking: usize,
    /// The same, or by the interval of all items where the looks had told nothing.
    pub(super) whole: usize,
    /// McNemar's mid-p below alpha at one of the same looks.
    pub(super) naive: usize,
}

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["help"] => bail!("{USAGE}"),
        ["embedded", rest @ ..] => measured::run(Options::parse(rest)?, measured::Kind::Embedded),
        ["data", rest @ ..] => measured::run(Options::parse(rest)?, measured::Kind::Data),
        _ => simulate(Options::parse(arguments)?),
    }
}

fn simulate(mut options: Options) -> Result<()> {
    let (worlds, repeats) = (options.number("worlds", 48usize)?, options.number("repeats", 4usize)?);
    let (null, seed) = (options.number("null", 1000usize)?, options.number("seed", 2026u64)?);
    let write = options.text("write");
    options.finish()?;
    let mut all = Vec::new();
    for number in 0..worlds {
        let mut source = Source::new(seed.wrapping_add(number as u64));
        let world = World::new(number, &mut source);
        all.push(outcomes(&world, repeats, &mut source)?);
        eprintln!("world {} of {worlds}: {:+.3}", number + 1, world.truth());
    }
    let text = report::report(&all, &false_positives(null, seed), [worlds, repeats]);
    match write {
        Some(path) => task::atomic::write(std::path::Path::new(&path), text.as_bytes())?,
        None => println!("{text}"),
    }
    Ok(())
}

fn outcomes(world: &World, repeats: usize, source: &mut Source) -> Result<Outcomes> {
    let (record, tokens, _) = world.run(&Effort::EXHAUSTIVE, source);
    let exhaustive = Comparison::from_record(&record)?.contrast.outcome;
    let mut budgeted = Vec::new();
    for _ in 0..repeats {
        let (record, tokens, own) = world.run(&Effort::BUDGETED, source);
        let comparison = Comparison::from_record(&record)?;
        let items = record.test_stop.map_or(record.task.items.test, |stop| stop.answered);
        let truth = world.crossing(&record);
        let (crossing, refused) = match &comparison.requirement.draws_level {
            Some(LabelsUntil::Estimated(found)) => {
                let horizon = found.horizon as f64;
                let low = found.low.map_or(horizon, |low| low as f64);
                let high = found.high.map_or(f64::INFINITY, |high| high as f64);
                // The smallest size stands for itself or fewer.
                let within = |labels: f64| (low <= labels || low <= world.smallest()) && labels <= high;
                (Some(truth.map_or(found.high.is_none(), within)), false)
            }
            _ => (None, true),
        };
        budgeted.push(Budgeted {
            outcome: comparison.contrast.outcome,
            own,
            tokens,
            items,
            crossing,
            refused,
        });
    }
    Ok(Outcomes { truth: world.truth(), exhaustive, budgeted, tokens })
}

/// Two sides that are right equally often, looked at as the runner looks, on test sets of several sizes.
fn false_positives(trials: usize, seed: u64) -> Null {
    const ITEMS: [usize; 3] = [150, 300, 1000];
    let decision = Decision::default();
    let mut source = Source::new(seed ^ 0x9e37_79b9);
    let mut null = Null { trials, looking: 0, whole: 0, naive: 0 };
    for trial in 0..trials {
        let (accuracy, items) = ([0.5, 0.7, 0.9][trial % 3], ITEMS[trial / 3 % 3]);
        let sides: [Vec<bool>; 2] = [0, 1].map(|_| (0..items).map(|_| source.uniform() < accuracy).collect());
        let (mut answered, mut found, mut fooled) = (FEWEST, None, false);
        let scores = sides
            .each_ref()
            .map(|side| side.iter().map(|&right| f64::from(u8::from(right))).collect::<Vec<f64>>());
        loop {
            let looked = Looked {
                in_context: &scores[0][..answered],
                fine_tune: &scores[1][..answered],
                floor: None,
                spreads: [RunSpread::NONE; 2],
            };
            found = found.or_else(|| looking::decided(&looked, &decision));
            let pairs = sides[0][..answered].iter().zip(&sides[1][..answered]);
            let [wins, losses] = [(false, true), (true, false)]
                .map(|kind| pairs.clone().filter(|pair| (*pair.0, *pair.1) == kind).count() as u64);
            fooled |= mcnemar_mid_p(wins, losses) < 0.05;
            if answered == items {
                break;
            }
            answered = (answered + (answered / 4).max(25)).min(items);
        }
        let better = matches!(found, Some(Outcome::FineTuneBetter | Outcome::InContextBetter));
        null.looking += usize::from(better);
        let mut counts = PairedCounts::default();
        sides[0].iter().zip(&sides[1]).for_each(|(&first, &second)| counts.observe(first, second));
        let all = counts.interval(decision.confidence);
        null.whole += usize::from(better || found.is_none() && (all.low > 0.0 || all.high < 0.0));
        null.naive += usize::from(fooled);
    }
    null
}
