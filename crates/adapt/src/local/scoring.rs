//! Scoring answers with the local engine: what requests begin with in common once, all answers of a request in one pass.

use std::borrow::Cow;
use std::time::Instant;

use lm::adapter::Lora;
use lm::score::{Found, LabelTree, PromptTree, SHORTEST_SHARED, Scorer, SearchGoal};
use lm::threads;
use lm::transformer::{Prefix, Transformer};
use task::predictor::{PredictError, PromptBatch, Scored, Usage, Wanted};
use task::record::TokensPerRequest;

use super::LocalModel;

/// Tokens of requests that go through the model together.
const TOKEN_BUDGET: usize = 1024;

/// Inner nodes of a tree of answers up to which all are scored at once, whatever is wanted: a search in several passes saves nothing
/// there (docs/bench/2026-11-30-label-search.md).
const WHOLE_TREE: usize = 24;

/// The weights that score: a transformer, with or without an adapter.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) transformer: &'a Transformer,
    pub(super) adapter: Option<&'a Lora>,
}

impl Weights<'_> {
    /// The virtual tokens before every prompt, where the adapter has some.
    pub(super) fn virtual_ids(&self) -> Vec<u32> {
        let vocabulary = self.transformer.config().vocabulary;
        self.adapter.map_or_else(Vec::new, |adapter| adapter.config().virtual_ids(vocabulary).collect())
    }
}

/// What all prompts begin with, computed once: virtual tokens, and those that the prompts have in common.
pub(super) fn beginning(
    scorer: &Scorer<'_>,
    virtual_ids: &[u32],
    shared: &[u32],
) -> Result<Option<Prefix>, lm::Error> {
    let tokens = [virtual_ids, shared].concat();
    if tokens.is_empty() { Ok(None) } else { threads::within(|| scorer.prefill(&tokens)).map(Some) }
}

/// See [`task::predictor::Predictor::score`].
pub(super) fn score(
    owner: &LocalModel,
    weights: Weights<'_>,
    batch: &PromptBatch<'_>,
) -> Result<Scored, PredictError> {
    if batch.requests.is_empty() {
        return Ok(Scored { log_probabilities: Vec::new(), complete: Vec::new(), usage: Usage::default() });
    }
    let prompts = tokenize(owner, batch.shared, batch.requests)?;
    let answers = answer_tokens(owner, batch, &prompts[0])?;
    let tree = LabelTree::new(&answers)?;
    let shared = shared_length(owner, batch.shared, &prompts)?;
    let virtual_ids = weights.virtual_ids();
    let longest = virtual_ids.len()
        + prompts.iter().map(Vec::len).max().unwrap_or(0)
        + answers.iter().map(Vec::len).max().unwrap_or(0)
        - 1;
    if longest > owner.context {
        return Err(lm::Error::Context { needed: longest, limit: owner.context }.into());
    }
    let scorer = Scorer::new(weights.transformer, weights.adapter);
    let started = Instant::now();
    let prefix = beginning(&scorer, &virtual_ids, &prompts[0][..shared])?;
    let shared_seconds = started.elapsed().as_secs_f64();
    let rest: Vec<&[u32]> = prompts.iter().map(|prompt| &prompt[shared..]).collect();
    let queries = PromptTree::new(&rest);
    let Found { scores: log_probabilities, complete, nodes } =
        threads::within(|| found(&scorer, prefix.as_ref(), &queries, &tree, batch.wanted))?;
    let seconds = started.elapsed().as_secs_f64();
    let before = virtual_ids.len();
    let own = queries.tokens() + nodes;
    let reused = queries.tokens_alone() - queries.tokens();
    let requests = prompts.len() as f64;
    Ok(Scored {
        log_probabilities,
        complete,
        usage: Usage {
            tokens: TokensPerRequest {
                prompt: before as f64 + prompts.iter().map(Vec::len).sum::<usize>() as f64 / requests,
                cached: (before + shared) as f64 + reused as f64 / requests,
                completion: answers.iter().map(Vec::len).sum::<usize>() as f64 / answers.len().max(1) as f64,
            },
            processed_tokens: (before + shared + own) as u64,
            shared_tokens: (before + shared) as u64,
            answer_tokens: nodes as u64,
            seconds,
            shared_seconds,
        },
    })
}

/// Scores of all answers, or of those that are wanted, where that is less work.
fn found(
    scorer: &Scorer<'_>,
    prefix: Option<&Prefix>,
    queries: &PromptTree<'_>,
    tree: &LabelTree,
    wanted: Wanted<'_>,
) -> Result<Found, lm::Error> {
    let Some(log_prior) = (match wanted {
        Wanted::Best { log_prior } if tree.nodes() > WHOLE_TREE => Some(log_prior),
        _ => None,
    }) else {
        let scores = scorer.score_tree(prefix, queries, tree, TOKEN_BUDGET)?;
        let (complete, nodes) = (vec![true; queries.len()], queries.len() * tree.nodes());
        return Ok(Found { scores, complete, nodes });
    };
    let offsets: Option<Vec<f64>> = log_prior.map(|prior| prior.iter().map(|bias| -bias).collect());
    let goal =
        SearchGoal { offsets: offsets.as_deref(), tolerance: Wanted::TOLERANCE, ..SearchGoal::default() };
    scorer.search_tree(prefix, queries, tree, goal, TOKEN_BUDGET)
}

/// Each prompt tokenized as one text: a join in the middle could give tokens that no text has.
pub(super) fn tokenize(
    owner: &LocalModel,
    shared: &str,
    requests: &[String],
) -> Result<Vec<Vec<u32>>, PredictError> {
    let texts: Vec<String> = requests.iter().map(|request| format!("{shared}{request}")).collect();
    Ok(owner.model.tokenizer.encode_batch(&texts)?)
}

/// The tokens of each answer as they follow a prompt. Where the tokenizer would merge the end of the prompt with the answer, the
/// answer is tokenized alone.
fn answer_tokens(
    owner: &LocalModel,
    batch: &PromptBatch<'_>,
    prompt: &[u32],
) -> Result<Vec<Vec<u32>>, PredictError> {
    let text = format!("{}{}", batch.shared, batch.requests[0]);
    let (text, prompt) = match tail(owner, &text, prompt)? {
        Some((tail, tokens)) => (tail, Cow::Owned(tokens)),
        None => (text.as_str(), Cow::Borrowed(prompt)),
    };
    batch.answers.iter().map(|answer| completion_tokens(owner, text, &prompt, answer)).collect()
}

/// Bytes of a prompt before an answer that are tokenized with it.
const TAIL: usize = 48;

/// The last words of `text` where they are tokenized as they are within the whole, with their tokens: a long prompt is not tokenized
/// again for each of many answers.
fn tail<'t>(
    owner: &LocalModel,
    text: &'t str,
    prompt: &[u32],
) -> Result<Option<(&'t str, Vec<u32>)>, PredictError> {
    // A space is one byte, and so the beginning of a character.
    let limit = text.len().saturating_sub(TAIL);
    let Some(start) = text.as_bytes()[..limit].iter().rposition(|&byte| byte == b' ') else {
        return Ok(None);
    };
    let tail = &text[start..];
    let tokens = owner.model.tokenizer.encode(tail)?;
    // A tokenizer that begins every text with a token of its own does not find that within the whole.
    Ok(prompt.ends_with(&tokens).then_some((tail, tokens)))
}

/// The tokens of `completion` after the prompt `text`, whose own tokens are `prompt`.
pub(super) fn completion_tokens(
    owner: &LocalModel,
    text: &str,
    prompt: &[u32],
    completion: &str,
) -> Result<Vec<u32>, PredictError> {
    let whole = owner.model.tokenizer.encode(&format!("{text}{completion}"))?;
    match whole.strip_prefix(prompt) {
        Some(rest) if !rest.is_empty() => Ok(rest.to_vec()),
        _ => Ok(owner.model.tokenizer.encode_plain(completion)?),
    }
}

/// How many tokens all prompts begin with, leaving each at least one of its own; 0 where too few to matter.
pub(super) fn shared_length(
    owner: &LocalModel,
    shared: &str,
    prompts: &[Vec<u32>],
) -> Result<usize, PredictError> {
    let first = &prompts[0];
    let mut length = first.len() - 1;
    for prompt in &prompts[1..] {
        length = length.min(prompt.len() - 1);
        length = common(&first[..length], prompt);
    }
    if prompts.len() == 1 {
        length = length.min(common(first, &owner.model.tokenizer.encode(shared)?));
    }
    Ok(if length < SHORTEST_SHARED { 0 } else { length })
}

fn common(one: &[u32], other: &[u32]) -> usize {
    one.iter().zip(other).take_while(|(left, right)| left == right).count()
}
