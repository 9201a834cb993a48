//! Hidden states of texts by themselves.

use std::time::Instant;

use lm::threads;
use lm::transformer::{Batch, Workspace};
use task::predictor::{Embedded, PredictError};

use super::LocalModel;
use super::scoring::Weights;

/// Tokens of texts that go through the model together.
const TOKEN_BUDGET: usize = 1024;

/// See [`task::predictor::Predictor::embed`]. What does not fit the context is cut off; the beginning-of-sequence token, which every
/// text has, does not count.
pub(super) fn embed(
    owner: &LocalModel,
    weights: Weights<'_>,
    texts: &[&str],
) -> Result<Embedded, PredictError> {
    let owned: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    let mut tokens = owner.model.tokenizer.encode_batch(&owned)?;
    tokens.iter_mut().for_each(|tokens| tokens.truncate(owner.context));
    let started = Instant::now();
    let mut workspace = Workspace::default();
    let mut vectors = Vec::with_capacity(texts.len());
    let mut rest = tokens.as_slice();
    while !rest.is_empty() {
        let mut held = 0;
        let fit = rest.iter().take_while(|text| {
            held += text.len();
            held <= TOKEN_BUDGET
        });
        let (now, later) = rest.split_at(fit.count().max(1));
        vectors.extend(means(owner, weights, now, &mut workspace)?);
        rest = later;
    }
    Ok(Embedded {
        vectors,
        tokens: tokens.iter().map(|tokens| tokens.len() as u64).collect(),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// The mean of the last layer's states over each text's tokens; zeros for a text without any.
fn means(
    owner: &LocalModel,
    weights: Weights<'_>,
    texts: &[Vec<u32>],
    workspace: &mut Workspace,
) -> Result<Vec<Vec<f32>>, PredictError> {
    let hidden = owner.model.config.hidden;
    let mut batch = Batch::new();
    texts.iter().filter(|text| !text.is_empty()).for_each(|text| {
        batch.push(text);
    });
    let rows: Vec<usize> = (0..batch.len()).collect();
    let states = match rows.is_empty() {
        true => Vec::new(),
        false => threads::within(|| {
            weights.transformer.hidden_states(&batch, &rows, weights.adapter, None, workspace)
        })?,
    };
    let mut states = states.chunks_exact(hidden);
    let mean = |text: &Vec<u32>| {
        let mut sums = vec![0.0_f64; hidden];
        let begins = text.len() > 1 && owner.model.tokenizer.bos() == text.first().copied();
        for (place, state) in states.by_ref().take(text.len()).enumerate() {
            if !(begins && place == 0) {
                sums.iter_mut().zip(state).for_each(|(sum, value)| *sum += f64::from(*value));
            }
        }
        let counted = (text.len() - usize::from(begins)).max(1) as f64;
        sums.into_iter().map(|sum| (sum / counted) as f32).collect()
    };
    Ok(texts.iter().map(mean).collect())
}
