//! The tokenizer: byte-level BPE, trained on texts of the training part of the corpus alone.

use super::dice::Dice;
use super::family::Part;
use super::lexicon::Lexicon;
use super::message::{Style, Writer, capital};
use super::vocabulary::{BOUNDARY, PADDING};
use anyhow::{Result, anyhow};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer, TokenizerImpl};

/// Tokens of the vocabulary.
pub(super) const VOCABULARY: usize = 4096;

/// Texts of a part of the corpus, in the layout's terms; the same for the same seed.
pub(super) fn texts(lexicon: &Lexicon, part: Part, count: usize, seed: u64) -> Vec<String> {
    let mut dice = Dice::new(seed, 11);
    let held = part == Part::Held;
    let writer = Writer { lexicon, held };
    let domains: Vec<_> = lexicon.domains.iter().filter(|domain| domain.held == held).collect();
    let acts: Vec<_> = lexicon.acts.iter().filter(|act| act.held == held).collect();
    (0..count)
        .map(|_| {
            let domain = *dice.pick(&domains);
            let intent = if dice.chance(0.5) { dice.pick(&domain.intents) } else { *dice.pick(&acts) };
            let core = writer.core(dice.pick(&intent.templates), domain, &[], &mut dice);
            let style = Style::draw(&mut dice);
            writer.message(&core, None, None, style, &mut dice)
        })
        .collect()
}

/// Trains the tokenizer of `seed`.
pub(super) fn train(lexicon: &Lexicon, seed: u64) -> Result<Tokenizer> {
    let mut lines: Vec<String> =
        texts(lexicon, Part::Training, 40_000, seed).iter().map(|text| format!("{text} -> ")).collect();
    lines.extend(std::iter::repeat_n("\n".to_owned(), 1000));
    // Single words, with the space that labels and words inside a text have: all categories (a name of a word says
    // nothing of its class), and the words that evaluation uses as labels.
    let categories = lexicon.categories.iter().flat_map(|category| &category.words).map(|word| (word, 12));
    // Enough that a label of one word is one token, as ordinary words are in a tokenizer of ordinary size.
    let labels = lexicon.held_labels.iter().filter(|word| !word.starts_with('#')).map(|word| (word, 60));
    for (word, times) in categories.chain(labels) {
        for _ in 0..times {
            lines.push(format!(" {word}"));
        }
        lines.push(word.clone());
        lines.push(capital(word));
    }
    let boundary = AddedToken::from(BOUNDARY, true);
    let padding = AddedToken::from(PADDING, true);
    let mut trainer = BpeTrainer::builder()
        .vocab_size(VOCABULARY)
        .show_progress(false)
        .special_tokens(vec![boundary.clone(), padding.clone()])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let mut tokenizer = TokenizerImpl::<
        BPE,
        tokenizers::normalizers::NormalizerWrapper,
        PreTokenizerWrapper,
        tokenizers::processors::PostProcessorWrapper,
        tokenizers::decoders::DecoderWrapper,
    >::new(BPE::default());
    let bytes = ByteLevel::new(false, true, true);
    tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(Sequence::new(vec![
        PreTokenizerWrapper::Digits(Digits::new(true)),
        PreTokenizerWrapper::ByteLevel(bytes),
    ]))));
    tokenizer.with_decoder(Some(tokenizers::decoders::DecoderWrapper::ByteLevel(bytes)));
    tokenizer.train(&mut trainer, lines.into_iter()).map_err(|error| anyhow!("{error}"))?;
    let processor = TemplateProcessing::builder()
        .try_single(format!("{BOUNDARY} $A"))
        .map_err(|error| anyhow!("{error}"))?
        .try_pair(format!("{BOUNDARY} $A $B"))
        .map_err(|error| anyhow!("{error}"))?
        .special_tokens(vec![(BOUNDARY, 0)])
        .build()?;
    tokenizer.with_post_processor(Some(tokenizers::processors::PostProcessorWrapper::Template(processor)));
    let json = tokenizer.to_string(true).map_err(|error| anyhow!("{error}"))?;
    Tokenizer::from_bytes(json.as_bytes()).map_err(|error| anyhow!("{error}"))
}
