//! Text to token ids and back (the `tokenizers` crate), from `tokenizer.json` or GGUF metadata.

mod gguf;
mod gguf_writer;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::IgnoredAny;
use tokenizers::Tokenizer as Inner;

use crate::Error;
use crate::weights::gguf::Metadata;

/// The longest text that is tokenized, in bytes.
const LONGEST_TEXT: usize = 64 << 20;

/// A model's tokenizer.
///
/// Special tokens that stand in a text are recognised, as transformers does.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Inner,
    bos: Option<u32>,
    eos: Option<u32>,
}

impl Tokenizer {
    /// The tokenizer in a `tokenizer.json`. Truncation and padding that the file prescribes are switched off.
    ///
    /// The file does not say which tokens begin and end a sequence: see [`Tokenizer::with_ends`].
    ///
    /// # Errors
    /// [`Error::Tokenizer`] says what the file lacks.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        // The library panics over a syntax error within some parts.
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| Error::Tokenizer(error.to_string()))?;
        let mut inner = guarded(|| Inner::from_bytes(bytes))?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| Error::Tokenizer(error.to_string()))?;
        Ok(Self { inner, bos: None, eos: None })
    }

    /// The tokenizer in a GGUF file's metadata.
    ///
    /// # Errors
    /// [`Error::Unsupported`] names a model or pre-tokenizer that this engine does not have, [`Error::Format`] the key
    /// that is absent or wrong.
    pub(crate) fn from_gguf(metadata: &Metadata) -> Result<Self, Error> {
        gguf::read(metadata)
    }

    /// The same tokenizer with these tokens for the beginning and the end of a sequence.
    #[must_use]
    pub fn with_ends(mut self, bos: Option<u32>, eos: Option<u32>) -> Self {
        self.bos = bos;
        self.eos = eos;
        self
    }

    /// The ids of a text, with the tokens that the tokenizer itself adds (a beginning of sequence where prescribed):
    /// `tok(text).input_ids` in transformers.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where the text is over 64 MB or has a part that the vocabulary cannot express.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.encode_with(text, true)
    }

    /// As [`Tokenizer::encode`], without added tokens.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.encode_with(text, false)
    }

    /// As [`Tokenizer::encode`] for many texts, on all cores.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_batch<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<Vec<u32>>, Error> {
        texts.iter().try_for_each(|text| check_length(text.as_ref()))?;
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let encodings = guarded(|| self.inner.encode_batch_fast(texts, true))?;
        Ok(encodings.iter().map(|encoding| encoding.get_ids().to_vec()).collect())
    }

    /// The text of the ids; special tokens are left out where `skip_special`. Ids outside the vocabulary are skipped.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where the decoder fails.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, Error> {
        guarded(|| self.inner.decode(ids, skip_special))
    }

    /// The token with this id, as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a token, as the vocabulary spells it.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Tokens in the vocabulary, added ones included.
    pub fn size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The token that begins a sequence.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a sequence.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The `tokenizer.json` of this tokenizer.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where it cannot be serialised.
    pub fn to_json(&self) -> Result<String, Error> {
        guarded(|| self.inner.to_string(false))
    }

    fn encode_with(&self, text: &str, add_special: bool) -> Result<Vec<u32>, Error> {
        check_length(text)?;
        Ok(guarded(|| self.inner.encode_fast(text, add_special))?.get_ids().to_vec())
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Tokenizer({} tokens)", self.size())
    }
}

/// Calls the library, whose panics over an inconsistent tokenizer file become errors: a file is no invariant.
fn guarded<T>(
    call: impl FnOnce() -> Result<T, Box<dyn std::error::Error + Send + Sync>>,
) -> Result<T, Error> {
    // Safe to go on: the library's only shared state is a cache of words, which it passes by when poisoned.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| Error::Tokenizer(error.to_string())),
        Err(_) => Err(Error::Tokenizer("the tokenizer file contradicts itself".to_owned())),
    }
}

/// Refuses a text that no context could hold.
fn check_length(text: &str) -> Result<(), Error> {
    if text.len() > LONGEST_TEXT {
        return Err(Error::Tokenizer(format!("a text of {} bytes, more than {LONGEST_TEXT}", text.len())));
    }
    Ok(())
}
