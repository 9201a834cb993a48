//! `weigh compare`: is a later run no worse than an earlier one?

use std::path::Path;

use anyhow::{Result, bail};
use eval::regression::{Change, Judgement, Regression};
use task::record::RunRecord;
use task::settings::Settings;
use task::store::Store;

use super::verdict::{record, stored};
use crate::args::ComparedArm;
use crate::failure::Failure;
use crate::printer::Printer;

/// Compares two runs and fails (exit code 100) where the later one is not shown to be no worse; `lenient` lets pass what the items
/// cannot tell.
pub(crate) fn compare(
    before: &Path,
    after: &Path,
    margin: Option<f64>,
    arm: ComparedArm,
    lenient: bool,
    printer: &Printer,
) -> Result<()> {
    let (old, new) = (load(before)?, load(after)?);
    let margin = margin.unwrap_or(new.decision.margin);
    if !(margin > 0.0 && margin < 1.0) {
        return Err(Failure::Usage(format!("--margin {margin}: write a number above 0 and below 1")).into());
    }
    let regression = Regression::new(&old, &new, margin)?;
    printer.regression(&regression)?;
    let name = match arm {
        ComparedArm::Verdict => "verdict",
        ComparedArm::InContext => "in_context",
        ComparedArm::FineTune => "fine_tune",
        ComparedArm::Floor => "floor",
    };
    let Some(change) = regression.arm(name) else { bail!("the two runs do not both have a {name}") };
    match change.judgement {
        Judgement::NoWorse => Ok(()),
        Judgement::Undecided if lenient => Ok(()),
        Judgement::Worse => Err(Failure::Gate(sentence(change, "is worse", margin)).into()),
        Judgement::Undecided => {
            Err(Failure::Gate(sentence(change, "is not shown to be no worse", margin)).into())
        }
    }
}

fn sentence(change: &Change, what: &str, margin: f64) -> String {
    format!(
        "{} {what} than before: {:+.1} points ({:+.1} to {:+.1}) on {} items, with a margin of {:.1}",
        change.after,
        100.0 * change.difference.value,
        100.0 * change.difference.low,
        100.0 * change.difference.high,
        change.items,
        100.0 * margin
    )
}

/// The record of a task file, judged by what that says today, or of a run folder, judged by what stood when its test set was opened.
fn load(run: &Path) -> Result<RunRecord> {
    if run.is_dir() {
        let store = Store::read(run)?;
        let terms = store.terms()?.unwrap_or_default();
        return Ok(store.record(&terms.decision, &terms.economics)?);
    }
    let settings = Settings::load(run)?;
    record(&settings, &stored(&settings, run)?)
}
