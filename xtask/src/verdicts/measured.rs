//! `verdicts embedded` and `verdicts data`: worlds that the product itself is run on.

use std::path::Path;

use adapt::local::{LocalModel, set_threads};
use anyhow::{Context, Result};
use lm::{ModelSource, Precision};

use super::data_sets::DataSets;
use super::embedded::Generated;
use super::page::page;
use super::trial::{Effort, Manner};
use super::trials::{Runs, Source, wanted};
use crate::options::Options;

/// The embedded model's folder.
const EMBEDDED: &str = "models/micro";

/// Which worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Embedded,
    Data,
}

impl Kind {
    /// The word after `verdicts`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Data => "data",
        }
    }
}

/// Runs the worlds and writes or prints the page.
pub(super) fn run(mut options: Options, kind: Kind) -> Result<()> {
    let worlds = options.number("worlds", if kind == Kind::Data { 12usize } else { 30 })?;
    let only = options.text("only");
    let (repeats, threads) = (options.number("repeats", 3usize)?, options.number("threads", 1usize)?);
    let seed = options.number("seed", 2026u64)?;
    let model = options.path("model", EMBEDDED)?;
    let name = kind.word();
    let work = options.path("work", &format!("target/verdicts/{name}"))?;
    let (style, data, write) = (options.text("style"), options.text("data"), options.text("write"));
    options.finish()?;
    let numbers: Vec<usize> = match &only {
        Some(list) => {
            list.split(',').map(|text| text.trim().parse().context("--only")).collect::<Result<_>>()?
        }
        None => (0..worlds).collect(),
    };
    let own = model.as_path() == Path::new(EMBEDDED);
    let manner = Manner {
        style: style.unwrap_or_else(|| if own { "arrow" } else { "plain" }.to_owned()),
        rates: if own { [3e-3, 1e-3] } else { [1e-3, 3e-4] },
    };
    let efforts = [Effort::exhaustive(), Effort::budgeted()];
    let rows = wanted(&efforts[0], &efforts[1]);
    let source: Box<dyn Source> = match (kind, &data) {
        (Kind::Embedded, _) => Box::new(Generated::open(&model, seed, rows)?),
        (Kind::Data, Some(folder)) => Box::new(DataSets::open(Path::new(folder), seed, rows)?),
        (Kind::Data, None) => anyhow::bail!("--data DIR: the folder of the data sets"),
    };
    eprintln!("{} threads", set_threads(threads));
    let called = if own { "embedded".to_owned() } else { model.display().to_string() };
    let engine = LocalModel::load(&ModelSource::Folder(model), &called, Precision::Bf16, None)?;
    let runs =
        Runs { engine: &engine, manner, efforts, repeats, origin: format!("{name} {called} {seed}"), work };
    let outcomes = runs.run(source.as_ref(), &numbers)?;
    let text = page(&outcomes, &runs, (kind, &called));
    match write {
        Some(path) => task::atomic::write(Path::new(&path), text.as_bytes())?,
        None => println!("{text}"),
    }
    Ok(())
}
