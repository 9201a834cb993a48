//! Answers that are JSON by a schema whatever the model would rather say: at each step only tokens that can go on to such an answer
//! are looked at (`llguidance`).

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

use super::guide::Guide;
use crate::Error;
use crate::tokenizer::Tokenizer;

/// Tokens that an answer may have beyond its limit, in which it is brought to an end.
const CLOSING: usize = 64;

/// Tokens that bring an answer nearer to its end.
struct Closers {
    /// They end a text where one is being written, and begin one elsewhere.
    quotes: Vec<u32>,
    /// They close a list or an object.
    brackets: Vec<u32>,
    /// They end a number where something else must follow.
    separators: Vec<u32>,
}

impl Closers {
    fn new(bytes: &[Vec<u8>]) -> Self {
        let with = |wanted: &[&[u8]]| -> Vec<u32> {
            (0_u32..)
                .zip(bytes)
                .filter(|(_, bytes)| wanted.contains(&bytes.as_slice()))
                .map(|(token, _)| token)
                .collect()
        };
        Self { quotes: with(&[b"\""]), brackets: with(&[b"]", b"}"]), separators: with(&[b","]) }
    }

    /// How much a token does for an end; the more the better. Quotes come first, since within a text brackets close nothing.
    fn rank(&self, token: u32) -> u8 {
        match token {
            quote if self.quotes.contains(&quote) => 3,
            bracket if self.brackets.contains(&bracket) => 2,
            separator => u8::from(self.separators.contains(&separator)),
        }
    }
}

/// A compiled constraint; it makes one guide an answer.
pub struct Constraint {
    matcher: Matcher,
    /// Tokens that end an answer where the grammar allows an end.
    ends: Arc<[u32]>,
    closers: Arc<Closers>,
}

impl Constraint {
    /// Room that a context must have for an answer beyond its limit of tokens.
    pub const ROOM: usize = CLOSING;

    /// Answers are `lead`, then JSON by `schema` without spaces between its parts, keys in the schema's order, then `end` (which is
    /// not generated: its first token, or the end of the sequence, ends the answer).
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the schema uses what cannot be enforced; [`Error::Tokenizer`] where the tokens' bytes are unknown.
    pub fn new(tokenizer: &Tokenizer, schema: &Value, lead: &str, end: &str) -> Result<Self, Error> {
        let refuse = |error: &dyn std::fmt::Display| Error::unsupported("JSON schema", error.to_string());
        let bytes = token_bytes(tokenizer)?;
        let mut ends: Vec<u32> = tokenizer.eos().into_iter().collect();
        ends.extend(tokenizer.encode_plain(end)?.first());
        // The library wants an end of its own; a token without a use will do where the model has none.
        let eos = ends.first().copied().unwrap_or(0);
        let info = TokRxInfo {
            vocab_size: u32::try_from(bytes.len()).map_err(|error| Error::Tokenizer(error.to_string()))?,
            tok_eos: eos,
            tok_bos: None,
            tok_pad: None,
            tok_unk: None,
            tok_end_of_turn: None,
        };
        let closers = Arc::new(Closers::new(&bytes));
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(TokTrie::from(&info, &bytes)));
        let mut factory = ParserFactory::new_simple(&environment).map_err(|error| refuse(&error))?;
        factory.quiet();
        let parser = factory.create_parser(grammar(schema, lead)).map_err(|error| refuse(&error))?;
        let matcher = Matcher::new(Ok(parser));
        match matcher.get_error() {
            Some(error) => Err(refuse(&error)),
            None => Ok(Self { matcher, ends: ends.into(), closers }),
        }
    }

    /// A guide for one answer of at most `max_tokens`. From there on it takes the shortest way to an end that it sees, for which it has
    /// 64 tokens more; a schema that asks for more than those (long fixed texts, patterns, many required items) may leave the answer
    /// unfinished.
    pub fn guide(&self, max_tokens: usize) -> ConstraintGuide {
        ConstraintGuide {
            matcher: self.matcher.deep_clone(),
            ends: Arc::clone(&self.ends),
            closers: Arc::clone(&self.closers),
            left: max_tokens,
            closing: CLOSING,
        }
    }
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Constraint").field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// The lead, then JSON by the schema.
fn grammar(schema: &Value, lead: &str) -> TopLevelGrammar {
    let mut schema = schema.clone();
    schema["x-guidance"] = json!({"whitespace_flexible": false, "item_separator": ",", "key_separator": ":"});
    let lead = if lead.is_empty() { String::new() } else { format!("{} ", Value::from(lead)) };
    TopLevelGrammar::from_lark(format!("start: {lead}answer\nanswer: %json {schema}\n"))
}

/// The bytes of every token. Of those that the model has beyond its tokenizer nothing is known: they are never chosen.
fn token_bytes(tokenizer: &Tokenizer) -> Result<Vec<Vec<u8>>, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Tokenizer(format!("bytes of the tokens: {error}"));
    let json: Value = serde_json::from_str(&tokenizer.to_json()?).map_err(|error| failed(&error))?;
    llguidance::token_bytes_from_tokenizer_json(&json).map_err(|error| failed(&error))
}

/// The most probable token that a [`Constraint`] allows.
pub struct ConstraintGuide {
    matcher: Matcher,
    ends: Arc<[u32]>,
    closers: Arc<Closers>,
    left: usize,
    closing: usize,
}

impl ConstraintGuide {
    /// The allowed token of the highest logit, and whether the answer may end here instead.
    fn best(&mut self, logits: &[f32]) -> Result<(Option<u32>, bool), Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Invalid(format!("constrained decoding: {error}"));
        let may_end = self.matcher.is_accepting().map_err(|error| failed(&error))?;
        let mask = self.matcher.compute_mask().map_err(|error| failed(&error))?;
        let closing = self.left == 0;
        let mut best: Option<(u8, f32, u32)> = None;
        for token in mask.iter().filter(|token| !self.ends.contains(token)) {
            let Some(&logit) = logits.get(token as usize) else { continue };
            let closes = if closing { self.closers.rank(token) } else { 0 };
            if best.is_none_or(|(closed, highest, _)| (closes, logit) > (closed, highest)) {
                best = Some((closes, logit, token));
            }
        }
        let end = self.ends.iter().filter_map(|&token| logits.get(token as usize)).copied().reduce(f32::max);
        let ends =
            may_end && (closing || best.is_none_or(|(_, logit, _)| end.is_some_and(|end| end >= logit)));
        Ok((best.map(|(_, _, token)| token), ends))
    }
}

impl Guide for ConstraintGuide {
    fn next(&mut self, logits: &[f32]) -> Result<Option<u32>, Error> {
        if self.matcher.is_stopped() {
            return Ok(None);
        }
        let (Some(token), false) = self.best(logits)? else { return Ok(None) };
        if self.left > 0 {
            self.left -= 1;
        } else if self.closing > 0 {
            self.closing -= 1;
        } else {
            return Ok(None);
        }
        self.matcher
            .consume_token(token)
            .map_err(|error| Error::Invalid(format!("constrained decoding: {error}")))?;
        Ok(Some(token))
    }

    fn is_complete(&self) -> bool {
        self.matcher.is_stopped()
    }
}
