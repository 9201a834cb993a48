//! The tokenizer as the generator sees it: encoding, the marks of the layout, and which tokens are words.

use super::dice::Dice;
use super::lexicon::Lexicon;
use anyhow::{Context, Result, anyhow, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use tokenizers::Tokenizer;

/// Token that begins every sequence (and ends every generation).
pub(super) const BOUNDARY: &str = "<|endoftext|>";
/// Token for padding.
pub(super) const PADDING: &str = "<|pad|>";

/// The tokenizer with what the generator asks of it.
pub(super) struct Vocabulary {
    tokenizer: Tokenizer,
    /// `<|endoftext|>`.
    pub(super) boundary: u32,
    /// ` ->`.
    pub(super) arrow: u32,
    /// The line feed.
    pub(super) line_feed: u32,
    /// Tokens that are a space and a whole word of the corpus of at least four letters.
    pub(super) words: Vec<u32>,
    /// Words that training may use as labels.
    pub(super) labels: Vec<u32>,
    /// Content tokens (with a space before them), which a renaming may move.
    movable: Vec<u32>,
    /// Tokens that go on with a word.
    pieces: Vec<u32>,
    /// How rare every token is in the corpus, 0 ..= 1: the inverse document frequency as a share of the
    /// largest.
    pub(super) rarity: Vec<f64>,
    held_first: BTreeSet<u32>,
    size: usize,
}

impl Vocabulary {
    /// Reads `tokenizer.json`. `common` are texts of the corpus: they say what a word is, and their most frequent
    /// tokens stay in place when content tokens are renamed.
    pub(super) fn open(path: &Path, lexicon: &Lexicon, common: &[String]) -> Result<Self> {
        let tokenizer = Tokenizer::from_file(path).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        Self::new(tokenizer, lexicon, common)
    }

    /// As [`Vocabulary::open`], from a tokenizer in memory.
    pub(super) fn new(tokenizer: Tokenizer, lexicon: &Lexicon, common: &[String]) -> Result<Self> {
        let size = tokenizer.get_vocab_size(true);
        let boundary = tokenizer.token_to_id(BOUNDARY).context("the tokenizer lacks its boundary token")?;
        let mut vocabulary = Self {
            tokenizer,
            boundary,
            arrow: 0,
            line_feed: 0,
            words: Vec::new(),
            labels: Vec::new(),
            movable: Vec::new(),
            pieces: Vec::new(),
            rarity: Vec::new(),
            held_first: BTreeSet::new(),
            size,
        };
        let layout = vocabulary.encode("the -> the\nthe")?;
        ensure!(layout.len() == 5, "the layout's marks are not single tokens: {layout:?}");
        (vocabulary.arrow, vocabulary.line_feed) = (layout[1], layout[3]);
        for label in &lexicon.held_labels {
            vocabulary.held_first.insert(vocabulary.label(label)?[0]);
        }
        vocabulary.sort_tokens(common)?;
        Ok(vocabulary)
    }

    fn sort_tokens(&mut self, common: &[String]) -> Result<()> {
        let mut counts = vec![0usize; self.size];
        for text in common {
            for token in self.encode(text)?.into_iter().collect::<BTreeSet<_>>() {
                counts[token as usize] += 1;
            }
        }
        let texts = common.len() as f64 + 1.0;
        self.rarity = counts.iter().map(|&count| (texts / (count as f64 + 1.0)).ln() / texts.ln()).collect();
        let mut by_count: Vec<usize> = (0..self.size).collect();
        by_count.sort_by_key(|&token| (std::cmp::Reverse(counts[token]), token));
        let frequent: BTreeSet<usize> = by_count.into_iter().take(60).collect();
        let mark = |character: char| !character.is_ascii_alphabetic();
        let known: BTreeSet<&str> = common.iter().flat_map(|text| text.split(mark)).collect();
        for token in 0..self.size {
            let Some(text) = self.tokenizer.id_to_token(token as u32) else { continue };
            let Some(word) = text.strip_prefix('\u{120}') else {
                if token >= 258 && text.chars().all(|character| character.is_ascii_lowercase()) {
                    self.pieces.push(token as u32);
                }
                continue;
            };
            if token < 258
                || word.is_empty()
                || !word.chars().all(|character| character.is_ascii_alphabetic())
            {
                continue;
            }
            if !frequent.contains(&token) {
                self.movable.push(token as u32);
            }
            if word.len() >= 4 && known.contains(word) {
                self.words.push(token as u32);
                if !self.held_first.contains(&(token as u32)) {
                    self.labels.push(token as u32);
                }
            }
        }
        Ok(())
    }

    /// Tokens in the vocabulary.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The tokens of `text`, without the boundary.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode(text, false).map_err(|error| anyhow!("{text:?}: {error}"))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of a label, which follows a space.
    pub(super) fn label(&self, name: &str) -> Result<Vec<u32>> {
        self.encode(&format!(" {name}"))
    }

    /// The text of `tokens`, special ones included.
    pub(super) fn decode(&self, tokens: &[u32]) -> Result<String> {
        self.tokenizer.decode(tokens, false).map_err(|error| anyhow!("{error}"))
    }

    /// Whether a label begins as a held-out label does.
    pub(super) fn begins_held(&self, label: &[u32]) -> bool {
        label.first().is_some_and(|first| self.held_first.contains(first))
    }

    /// A random renaming of the content tokens, as a table over the whole vocabulary. As words that the tokenizer does not
    /// know, some become several tokens: compare BPE-dropout (Provilkov et al. 2020).
    pub(super) fn renaming(&self, dice: &mut Dice) -> Vec<Vec<u32>> {
        let mut table: Vec<Vec<u32>> = (0..self.size as u32).map(|token| vec![token]).collect();
        let mut targets = self.movable.clone();
        dice.shuffle(&mut targets);
        for (&from, &to) in self.movable.iter().zip(&targets) {
            let pieces = [0, 0, 0, 1, 1, 2][dice.below(6)];
            let name = &mut table[from as usize];
            *name = vec![to];
            name.extend((0..pieces).map(|_| *dice.pick(&self.pieces)));
        }
        table
    }
}
