//! Written answers of the local engine: what requests begin with in common once, then token by token, several answers at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use lm::score::{Constraint, Guide, Scorer, TextGuide};
use lm::transformer::Prefix;
use task::predictor::{PredictError, Usage, WritingBatch, Written};
use task::record::TokensPerRequest;

use super::LocalModel;
use super::scoring::{Weights, beginning, shared_length, tokenize};

/// Answers that are written at a time, which bounds the memory of their pasts.
const LANES: usize = 32;
/// Fewest tokens that an answer must have room for.
const FEWEST: usize = 4;

/// The constraint that was compiled last, with what it was compiled from: a run has one schema and asks for it again and again.
pub(super) type Compiled = Mutex<Option<(String, Arc<Constraint>)>>;

/// See [`task::predictor::Predictor::write`].
pub(super) fn write(
    owner: &LocalModel,
    weights: Weights<'_>,
    batch: &WritingBatch<'_>,
) -> Result<Written, PredictError> {
    if batch.requests.is_empty() {
        return Ok(Written { texts: Vec::new(), usage: Usage::default() });
    }
    let constraint = batch.schema.map(|schema| constraint(owner, schema, batch)).transpose()?;
    let prompts = tokenize(owner, batch.shared, batch.requests)?;
    let shared = shared_length(owner, batch.shared, &prompts)?;
    let virtual_ids = weights.virtual_ids();
    let before = virtual_ids.len();
    let closing = before + if constraint.is_some() { Constraint::ROOM } else { 0 };
    let limits = limits(owner, batch, &prompts, closing)?;
    let scorer = Scorer::new(weights.transformer, weights.adapter);
    let started = Instant::now();
    let prefix = beginning(&scorer, &virtual_ids, &prompts[0][..shared])?;
    let shared_seconds = started.elapsed().as_secs_f64();
    let mut answers = Vec::with_capacity(prompts.len());
    for (prompts, limits) in prompts.chunks(LANES).zip(limits.chunks(LANES)) {
        let queries: Vec<&[u32]> = prompts.iter().map(|prompt| &prompt[shared..]).collect();
        let prefix = prefix.as_ref();
        answers.extend(match &constraint {
            Some(constraint) => {
                run(&scorer, prefix, &queries, limits.iter().map(|&limit| constraint.guide(limit)))?
            }
            None => {
                let guide = |&limit: &usize| TextGuide::new(&owner.model.tokenizer, &batch.frame.end, limit);
                run(&scorer, prefix, &queries, limits.iter().map(guide))?
            }
        });
    }
    let seconds = started.elapsed().as_secs_f64();
    let texts = answers.iter().map(|tokens| text(owner, batch, tokens)).collect::<Result<_, _>>()?;
    let [prompt, completion] = [&prompts, &answers].map(|all| all.iter().map(Vec::len).sum::<usize>());
    let requests = prompts.len() as f64;
    Ok(Written {
        texts,
        usage: Usage {
            tokens: TokensPerRequest {
                prompt: before as f64 + prompt as f64 / requests,
                cached: (before + shared) as f64,
                completion: completion as f64 / requests,
            },
            processed_tokens: (before + prompt - shared * prompts.len() + shared + completion) as u64,
            shared_tokens: (before + shared) as u64,
            answer_tokens: 0,
            seconds,
            shared_seconds,
        },
    })
}

fn run<G: Guide>(
    scorer: &Scorer<'_>,
    prefix: Option<&Prefix>,
    queries: &[&[u32]],
    guides: impl Iterator<Item = G>,
) -> Result<Vec<Vec<u32>>, PredictError> {
    let mut guides: Vec<G> = guides.collect();
    Ok(scorer.generate_guided(prefix, queries, &mut guides)?)
}

/// Tokens that each answer may have: as asked, or what the context leaves beside the prompt and `closing` tokens.
fn limits(
    owner: &LocalModel,
    batch: &WritingBatch<'_>,
    prompts: &[Vec<u32>],
    closing: usize,
) -> Result<Vec<usize>, PredictError> {
    prompts
        .iter()
        .map(|prompt| {
            let needed = prompt.len() + closing + FEWEST.min(batch.max_tokens);
            match owner.context.checked_sub(needed) {
                Some(_) => Ok(batch.max_tokens.min(owner.context - prompt.len() - closing)),
                None => Err(lm::Error::Context { needed, limit: owner.context }.into()),
            }
        })
        .collect()
}

/// An answer's text, without what stands around it.
fn text(owner: &LocalModel, batch: &WritingBatch<'_>, tokens: &[u32]) -> Result<String, PredictError> {
    let text = TextGuide::text(&owner.model.tokenizer, &batch.frame.end, tokens)?;
    Ok(text.strip_prefix(batch.frame.lead.as_str()).unwrap_or(&text).trim().to_owned())
}

fn constraint(
    owner: &LocalModel,
    schema: &serde_json::Value,
    batch: &WritingBatch<'_>,
) -> Result<Arc<Constraint>, PredictError> {
    let key = format!("{schema}\0{}\0{}", batch.frame.lead, batch.frame.end);
    let mut compiled = owner.constraint.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((known, constraint)) = compiled.as_ref()
        && *known == key
    {
        return Ok(Arc::clone(constraint));
    }
    let fresh = Constraint::new(&owner.model.tokenizer, schema, &batch.frame.lead, &batch.frame.end)?;
    let fresh = Arc::new(fresh);
    *compiled = Some((key, Arc::clone(&fresh)));
    Ok(fresh)
}
