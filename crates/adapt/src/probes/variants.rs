//! The same items asked in several ways: formats, orders, names, words, typos, batches.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use task::example::Example;
use task::predictor::Predictor;
use task::probe::{Finding, Side, Variant};
use task::prompt::Rendered;
use task::record::{Part, Prediction};

use super::Prober;
use super::asking::Prior;
use super::rewrite::{RULES, rephrased, swapped, typos};
use crate::Error;
use crate::digest::hashed;
use crate::formats;

/// Other orders of the demonstrations.
pub(super) const ORDERS: u64 = 4;
/// Most exchanges of label names.
pub(super) const EXCHANGES: usize = 3;
/// Rates of typos, as multiples of the task file's.
pub(super) const TYPO_RATES: [f64; 2] = [1.0, 2.0];
/// Items that are asked again in other batches.
pub(super) const REPEATED: usize = 16;
/// Requests of a batch of the second repetition.
pub(super) const BATCH: usize = 7;

fn variant(name: String, detail: String, seed: Option<u64>, predictions: Vec<Prediction>) -> Variant {
    Variant { name, detail, seed, predictions, largest_difference: None }
}

/// Requests that begin with nothing that was told apart: the model finds by itself what they share.
fn whole(requests: Vec<String>) -> Rendered {
    Rendered { shared: String::new(), requests }
}

impl Prober<'_> {
    fn found(&self, side: Side, items: &[Example], variants: Vec<Variant>) -> Finding {
        Finding::Variants { part: Part::Dev, original: self.usual(side, items), variants }
    }

    /// So many other prompt formats, on so many items.
    pub(super) fn formats(
        &self,
        side: Side,
        (count, formats): (usize, usize),
        predictor: &mut dyn Predictor,
    ) -> Result<Finding, Error> {
        let items = self.items(count);
        let format = self.writer_of(side).format();
        let written = self.writer.texts().is_some();
        let layouts = formats::draw(format, formats, written);
        let instruction = if side == Side::InContext { format.instruction() } else { "" };
        let places = self.arm.places(&self.trial);
        let mut variants = Vec::new();
        for (at, layout) in layouts.iter().enumerate() {
            let format = format.with_layout(layout);
            let answers = format.answers(&self.dataset.labels).map_err(Error::model("probe/format"))?;
            let prompt = |query: &&str| {
                let shown = match side {
                    Side::InContext => self.arm.demonstrations(&self.trial, query, places.as_deref()),
                    _ => Vec::new(),
                };
                let shown: Vec<(&str, &str)> =
                    shown.iter().map(|e| (e.input.as_str(), e.target.as_str())).collect();
                let one =
                    format.render(instruction, &shown, &[query]).map_err(Error::model("probe/format"))?;
                Ok(one.shared + &one.requests[0])
            };
            let render =
                |queries: &[&str]| Ok(whole(queries.iter().map(prompt).collect::<Result<_, Error>>()?));
            let asked = self.answered(side, items, &answers, Prior::Renewed, &render, predictor)?;
            variants.push(variant(
                format!("format {}", at + 1),
                formats::detail(layout),
                None,
                asked.predictions,
            ));
        }
        Ok(self.found(side, items, variants))
    }

    /// The demonstrations in other orders.
    pub(super) fn orders(&self, count: usize, predictor: &mut dyn Predictor) -> Result<Finding, Error> {
        let items = self.items(count);
        let mut variants = Vec::new();
        for seed in 0..ORDERS {
            let prompt = |query: &&str| {
                let mut shown = self.arm.demonstrations(&self.trial, query, None);
                shown.shuffle(&mut Pcg64::seed_from_u64(seed));
                let one = self.prompt_writer.prompts(&shown, &[query])?;
                Ok(one.shared + &one.requests[0])
            };
            let render =
                |queries: &[&str]| Ok(whole(queries.iter().map(prompt).collect::<Result<_, Error>>()?));
            let asked = self.answered(
                Side::InContext,
                items,
                self.prompt_writer.answers(),
                Prior::Renewed,
                &render,
                predictor,
            )?;
            let detail = "demonstrations shuffled".to_owned();
            variants.push(variant(format!("order {}", seed + 1), detail, Some(seed), asked.predictions));
        }
        Ok(self.found(Side::InContext, items, variants))
    }

    /// How many exchanges of label names there are.
    pub(super) fn exchanges(&self) -> usize {
        EXCHANGES.min(self.dataset.labels.len().saturating_sub(1))
    }

    /// The labels' names exchanged in a circle, in the demonstrations and in the answers alike: what is asked is the same, and
    /// only what the names suggest is wrong.
    pub(super) fn label_names(&self, count: usize, predictor: &mut dyn Predictor) -> Result<Finding, Error> {
        let items = self.items(count);
        let labels = &self.dataset.labels;
        let places = self.arm.places(&self.trial);
        let mut variants = Vec::new();
        for shift in 1..=self.exchanges() {
            let name = |label: usize| (label + shift) % labels.len();
            let answers: Vec<String> =
                (0..labels.len()).map(|label| self.prompt_writer.answers()[name(label)].clone()).collect();
            let prompt = |query: &&str| {
                let renamed: Vec<Example> = self
                    .arm
                    .demonstrations(&self.trial, query, places.as_deref())
                    .into_iter()
                    .map(|example| {
                        let label = self.dataset.label_index(&example.target).unwrap_or_default();
                        Example { target: labels[name(label)].clone(), ..example.clone() }
                    })
                    .collect();
                let one = self.prompt_writer.prompts(&renamed.iter().collect::<Vec<_>>(), &[query])?;
                Ok(one.shared + &one.requests[0])
            };
            let render =
                |queries: &[&str]| Ok(whole(queries.iter().map(prompt).collect::<Result<_, Error>>()?));
            let asked =
                self.answered(Side::InContext, items, &answers, Prior::Renewed, &render, predictor)?;
            let detail = format!("each label is called by the name of the one {shift} further");
            variants.push(variant(format!("exchange {shift}"), detail, None, asked.predictions));
        }
        Ok(self.found(Side::InContext, items, variants))
    }

    /// `items` with other inputs, asked as usual.
    fn rewritten(
        &self,
        side: Side,
        items: &[Example],
        predictor: &mut dyn Predictor,
    ) -> Result<Vec<Prediction>, Error> {
        let render = |queries: &[&str]| self.prompts(side, queries);
        let answers = self.writer_of(side).answers();
        Ok(self.answered(side, items, answers, Prior::Frozen, &render, predictor)?.predictions)
    }

    /// Inputs in other words: the user's, where the data have them, else by rules.
    pub(super) fn paraphrases(
        &self,
        side: Side,
        count: usize,
        predictor: &mut dyn Predictor,
    ) -> Result<Finding, Error> {
        let with = |item: &Example, input: String| Example { input, ..item.clone() };
        if let Some(column) = &self.settings.data.paraphrase {
            let all = self.dataset.dev.iter().filter(|item| item.paraphrase.is_some());
            let items: Vec<Example> = all.take(count).cloned().collect();
            let rewritten: Vec<Example> =
                items.iter().filter_map(|item| Some(with(item, item.paraphrase.clone()?))).collect();
            let predictions = self.rewritten(side, &rewritten, predictor)?;
            let variants =
                vec![variant("paraphrase".to_owned(), format!("column {column}"), None, predictions)];
            return Ok(self.found(side, &items, variants));
        }
        let items = self.items(count);
        let mut variants = Vec::new();
        for (rule, name) in RULES.iter().enumerate() {
            let rewritten: Vec<Example> =
                items.iter().map(|item| with(item, rephrased(&item.input, rule))).collect();
            let predictions = self.rewritten(side, &rewritten, predictor)?;
            variants.push(variant((*name).to_owned(), format!("rule {rule}"), None, predictions));
        }
        Ok(self.found(side, items, variants))
    }

    /// Inputs with typos.
    pub(super) fn typos(
        &self,
        side: Side,
        count: usize,
        predictor: &mut dyn Predictor,
    ) -> Result<Finding, Error> {
        let items = self.items(count);
        let mut variants = Vec::new();
        for (seed, factor) in TYPO_RATES.iter().enumerate() {
            let rate = (factor * self.settings.probes.typo_rate).min(1.0);
            let mistyped: Vec<Example> = items
                .iter()
                .map(|item| {
                    let input = typos(&item.input, rate, hashed(&item.id, seed as u64));
                    Example { input, ..item.clone() }
                })
                .collect();
            let predictions = self.rewritten(side, &mistyped, predictor)?;
            let name = format!("{}% typos", (1000.0 * rate).round() / 10.0);
            let detail = "share of letters edited".to_owned();
            variants.push(variant(name, detail, Some(seed as u64), predictions));
        }
        Ok(self.found(side, items, variants))
    }

    /// Dev items that have one of the words to exchange, at most `count`, with the exchanged input.
    pub(super) fn swappable(&self, count: usize) -> Vec<(Example, String)> {
        let pairs = &self.settings.probes.swaps;
        let all =
            self.dataset.dev.iter().filter_map(|item| Some((item.clone(), swapped(&item.input, pairs)?)));
        all.take(count).collect()
    }

    /// Words exchanged for each other.
    pub(super) fn counterfactual(
        &self,
        side: Side,
        count: usize,
        predictor: &mut dyn Predictor,
    ) -> Result<Finding, Error> {
        let (items, inputs): (Vec<Example>, Vec<String>) = self.swappable(count).into_iter().unzip();
        let other: Vec<Example> =
            items.iter().zip(inputs).map(|(item, input)| Example { input, ..item.clone() }).collect();
        let predictions = self.rewritten(side, &other, predictor)?;
        let detail = self.settings.probes.swaps.iter().map(|[one, other]| format!("{one}/{other}"));
        let detail = detail.collect::<Vec<_>>().join(", ");
        Ok(self.found(side, &items, vec![variant("exchanged".to_owned(), detail, None, predictions)]))
    }

    /// The same requests again: in the same batch, one at a time, and in batches of seven.
    pub(super) fn repeats(
        &self,
        side: Side,
        count: usize,
        predictor: &mut dyn Predictor,
    ) -> Result<Finding, Error> {
        let items = self.items(count.min(REPEATED));
        let render = |queries: &[&str]| self.prompts(side, queries);
        let answers = self.writer_of(side).answers();
        let first = self.answered(side, items, answers, Prior::FrozenScores, &render, predictor)?;
        let mut variants = Vec::new();
        for (name, size) in [("the same batch", items.len()), ("one at a time", 1), ("batches of 7", BATCH)] {
            let (mut predictions, mut rows) = (Vec::new(), Vec::new());
            for chunk in items.chunks(size.max(1)) {
                let asked = self.answered(side, chunk, answers, Prior::FrozenScores, &render, predictor)?;
                predictions.extend(asked.predictions);
                rows.extend(asked.rows);
            }
            let differences = rows
                .iter()
                .flatten()
                .zip(first.rows.iter().flatten())
                .map(|(one, other)| (one - other).abs());
            let largest_difference = differences.max_by(f64::total_cmp);
            variants.push(Variant {
                largest_difference,
                ..variant(name.to_owned(), format!("{size} a batch"), None, predictions)
            });
        }
        Ok(Finding::Variants { part: Part::Dev, original: first.predictions, variants })
    }
}
