//! What chooses the tokens of an answer.

use crate::Error;
use crate::tokenizer::Tokenizer;
use kernels::row::largest_index;

/// Chooses the tokens of one answer, one after another.
pub trait Guide {
    /// The next token, from the `logits` of the whole vocabulary; `None` where the answer ends here.
    ///
    /// # Errors
    /// Where the guide cannot go on.
    fn next(&mut self, logits: &[f32]) -> Result<Option<u32>, Error>;

    /// Whether the answer is known to have ended with the last token, so that the model need not be asked again.
    fn is_complete(&self) -> bool {
        false
    }
}

/// The most probable token until one of `stop`, or until so many are there. Of equal logits the lowest token wins.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenGuide<'a> {
    stop: &'a [u32],
    left: usize,
}

impl<'a> TokenGuide<'a> {
    pub(super) fn new(stop: &'a [u32], max_tokens: usize) -> Self {
        Self { stop, left: max_tokens }
    }
}

impl Guide for TokenGuide<'_> {
    fn next(&mut self, logits: &[f32]) -> Result<Option<u32>, Error> {
        let token = largest_index(logits) as u32;
        self.left = self.left.saturating_sub(1);
        Ok((!self.stop.contains(&token)).then_some(token))
    }

    fn is_complete(&self) -> bool {
        self.left == 0
    }
}

/// The most probable token until the text holds `end` (which a token may hold with other characters), the end of the sequence, or so
/// many tokens are there.
#[derive(Clone, Debug)]
pub struct TextGuide<'a> {
    tokenizer: &'a Tokenizer,
    end: &'a str,
    tokens: Vec<u32>,
    /// Tokens that the answer may still have.
    left: usize,
    ended: bool,
}

/// Tokens before the newest one in which an end may begin.
const LOOK_BACK: usize = 8;

impl<'a> TextGuide<'a> {
    /// A guide for one answer of at most `max_tokens`.
    pub fn new(tokenizer: &'a Tokenizer, end: &'a str, max_tokens: usize) -> Self {
        Self { tokenizer, end, tokens: Vec::new(), left: max_tokens, ended: false }
    }

    /// The text of an answer, up to what ends it.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where its tokens cannot be read.
    pub fn text(tokenizer: &Tokenizer, end: &str, tokens: &[u32]) -> Result<String, Error> {
        let mut text = tokenizer.decode(tokens, false)?;
        if let Some(at) = text.find(end) {
            text.truncate(at);
        }
        Ok(text)
    }
}

impl Guide for TextGuide<'_> {
    fn next(&mut self, logits: &[f32]) -> Result<Option<u32>, Error> {
        let token = largest_index(logits) as u32;
        if self.tokenizer.eos() == Some(token) || self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.tokens.push(token);
        let newest = &self.tokens[self.tokens.len().saturating_sub(LOOK_BACK)..];
        self.ended = self.tokenizer.decode(newest, false)?.contains(self.end);
        Ok(Some(token))
    }

    fn is_complete(&self) -> bool {
        self.ended || self.left == 0
    }
}
