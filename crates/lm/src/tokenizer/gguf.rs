//! A tokenizer from GGUF metadata: byte-level BPE with a named pre-tokenizer, or SentencePiece BPE with scores.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper};

use super::{Inner, Tokenizer};
use crate::Error;
use crate::weights::gguf::Metadata;

/// Kinds of tokens (`tokenizer.ggml.token_type`). Those from unknown to user-defined are matched in a text before it is
/// split.
pub(super) const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
pub(super) const CONTROL: i64 = 3;
pub(super) const USER_DEFINED: i64 = 4;
pub(super) const UNUSED: i64 = 5;

/// What differs between byte-level tokenizers.
pub(super) struct ByteLevel {
    /// Regular expressions, applied one after another; each match is a word of its own.
    patterns: &'static [&'static str],
    /// A word that is in the vocabulary is one token, whatever the merges say.
    pub(super) ignore_merges: bool,
    /// Unicode normalization form C first.
    pub(super) compose: bool,
    /// A beginning of sequence is added where the file does not say.
    add_bos: bool,
}

const GPT_2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const ONE_DIGIT: &str = r"\p{N}";
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The byte-level tokenizer of this name (`tokenizer.ggml.pre`).
fn byte_level(name: &str) -> Option<ByteLevel> {
    let plain = ByteLevel { patterns: &[GPT_2], ignore_merges: false, compose: false, add_bos: false };
    Some(match name {
        "default" | "gpt-2" | "gpt2" => plain,
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" => {
            ByteLevel { patterns: &[ONE_DIGIT, GPT_2], ..plain }
        }
        "llama-bpe" | "llama3" | "llama-v3" => {
            ByteLevel { patterns: &[LLAMA_3], ignore_merges: true, add_bos: true, ..plain }
        }
        "qwen2" | "deepseek-r1-qwen" => {
            let add_bos = name == "deepseek-r1-qwen";
            ByteLevel { patterns: &[QWEN_2], compose: name == "qwen2", add_bos, ..plain }
        }
        "tekken" => ByteLevel { patterns: &[TEKKEN], ignore_merges: true, add_bos: true, ..plain },
        _ => return None,
    })
}

/// Builds the tokenizer.
pub(super) fn read(metadata: &Metadata) -> Result<Tokenizer, Error> {
    let tokens = metadata.texts("tokenizer.ggml.tokens")?;
    let tokens = tokens.ok_or_else(|| Error::format(metadata.place("tokenizer.ggml.tokens"), "absent"))?;
    if tokens.is_empty() || u32::try_from(tokens.len()).is_err() {
        let reason = format!("{} tokens", tokens.len());
        return Err(Error::format(metadata.place("tokenizer.ggml.tokens"), reason));
    }
    let mut inner = match metadata.text("tokenizer.ggml.model")? {
        Some("gpt2") => read_byte_level(metadata, tokens)?,
        Some("llama") => read_sentencepiece(metadata, tokens)?,
        other => {
            let reason = format!("{other:?} (this engine has gpt2 and llama)");
            return Err(Error::unsupported(metadata.place("tokenizer.ggml.model"), reason));
        }
    };
    add_tokens(metadata, tokens, &mut inner)?;
    let bos = metadata.token("tokenizer.ggml.bos_token_id", tokens.len())?;
    let eos = metadata.token("tokenizer.ggml.eos_token_id", tokens.len())?;
    Ok(Tokenizer { inner, bos, eos })
}

/// Byte-level BPE: the vocabulary, the merges and the named way of splitting.
fn read_byte_level(metadata: &Metadata, tokens: &[String]) -> Result<Inner, Error> {
    const PRE: &str = "tokenizer.ggml.pre";
    let name = metadata.text(PRE)?.unwrap_or("default");
    let byte_level = byte_level(name)
        .ok_or_else(|| Error::unsupported(metadata.place(PRE), format!("the pre-tokenizer {name:?}")))?;
    const MERGES: &str = "tokenizer.ggml.merges";
    let merges = metadata.texts(MERGES)?.ok_or_else(|| Error::format(metadata.place(MERGES), "absent"))?;
    let merge = |merge: &String| {
        let parts = merge.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned()));
        parts.ok_or_else(|| Error::format(metadata.place(MERGES), format!("{merge:?} is no pair")))
    };
    let merges = merges.iter().map(merge).collect::<Result<Vec<_>, _>>()?;
    let builder = BPE::builder().vocab_and_merges(vocabulary(tokens), merges);
    let model = builder.ignore_merges(byte_level.ignore_merges).build().map_err(failed(metadata))?;
    let mut inner = Inner::new(model);
    split_as(&byte_level, &mut inner)?;
    if byte_level.compose {
        inner.with_normalizer(Some(part::<NormalizerWrapper>(json!({"type": "NFC"}))?));
    }
    let decoder =
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    inner.with_decoder(Some(part::<DecoderWrapper>(decoder)?));
    add_ends(metadata, tokens, &mut inner, byte_level.add_bos)?;
    Ok(inner)
}

/// Has the tokenizer split texts by the patterns.
fn split_as(byte_level: &ByteLevel, inner: &mut Inner) -> Result<(), Error> {
    let split = |pattern: &&str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    let mut steps: Vec<Value> = byte_level.patterns.iter().map(split).collect();
    steps.push(
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}),
    );
    let sequence = json!({"type": "Sequence", "pretokenizers": steps});
    inner.with_pre_tokenizer(Some(part::<PreTokenizerWrapper>(sequence)?));
    Ok(())
}

/// A tokenizer without words that splits texts under this name, and its rule; `None` where there is no such name.
pub(super) fn splitter(name: &str) -> Result<Option<(Inner, ByteLevel)>, Error> {
    let Some(byte_level) = byte_level(name) else { return Ok(None) };
    let mut inner = Inner::new(BPE::default());
    split_as(&byte_level, &mut inner)?;
    Ok(Some((inner, byte_level)))
}

/// SentencePiece BPE: merges follow from the scores; what is not in the vocabulary falls back to bytes.
fn read_sentencepiece(metadata: &Metadata, tokens: &[String]) -> Result<Inner, Error> {
    const SCORES: &str = "tokenizer.ggml.scores";
    let scores = metadata.floats(SCORES)?.ok_or_else(|| Error::format(metadata.place(SCORES), "absent"))?;
    if scores.len() != tokens.len() {
        let reason = format!("{} scores for {} tokens", scores.len(), tokens.len());
        return Err(Error::format(metadata.place(SCORES), reason));
    }
    let unknown = metadata.token("tokenizer.ggml.unknown_token_id", tokens.len())?;
    let mut builder = BPE::builder()
        .vocab_and_merges(vocabulary(tokens), merges_from_scores(tokens, scores))
        .byte_fallback(true)
        .fuse_unk(true);
    if let Some(unknown) = unknown {
        builder = builder.unk_token(tokens[unknown as usize].clone());
    }
    let mut inner = Inner::new(builder.build().map_err(failed(metadata))?);
    let prefix = metadata.boolean("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let scheme = if prefix { "first" } else { "never" };
    let spaces = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
    inner.with_pre_tokenizer(Some(part::<PreTokenizerWrapper>(spaces)?));
    let mut steps = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    inner.with_decoder(Some(part::<DecoderWrapper>(json!({"type": "Sequence", "decoders": steps}))?));
    add_ends(metadata, tokens, &mut inner, true)?;
    Ok(inner)
}

/// Every way in which a token parts into two others, the best-scored token first: joining by score is joining by the
/// rank of these. Among the ways of one token the order is that of the parts' ids, as in the Hugging Face converter.
fn merges_from_scores(tokens: &[String], scores: &[f32]) -> Vec<(String, String)> {
    /// Longer tokens (a run of a thousand dashes) would take a square of their length.
    const LONGEST: usize = 512;
    let ids: HashMap<&str, usize> =
        tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
    let mut merges = Vec::new();
    for (id, token) in tokens.iter().enumerate().filter(|(_, token)| token.len() <= LONGEST) {
        for (cut, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(cut);
            if let (Some(&left), Some(&right)) = (ids.get(left), ids.get(right)) {
                merges.push((id, left, right));
            }
        }
    }
    // Total order on floats, so that a NaN in a damaged file sorts somewhere instead of breaking the sort.
    merges.sort_by(|one, two| {
        let key = |merge: &(usize, usize, usize)| (Reverse(merge.0), merge.1, merge.2);
        scores[two.0]
            .total_cmp(&scores[one.0])
            .then_with(|| Reverse(key(one).0).cmp(&Reverse(key(two).0)))
            .then_with(|| (one.1, one.2).cmp(&(two.1, two.2)))
    });
    merges.into_iter().map(|(_, left, right)| (tokens[left].clone(), tokens[right].clone())).collect()
}

/// Ids by token. A token that occurs twice keeps its first id.
fn vocabulary(tokens: &[String]) -> Vocab {
    tokens.iter().enumerate().rev().map(|(id, token)| (token.clone(), id as u32)).collect()
}

/// Marks the tokens that are matched in a text before it is split.
fn add_tokens(metadata: &Metadata, tokens: &[String], inner: &mut Inner) -> Result<(), Error> {
    const KINDS: &str = "tokenizer.ggml.token_type";
    let Some(kinds) = metadata.integers(KINDS)? else { return Ok(()) };
    if kinds.len() != tokens.len() {
        let reason = format!("{} types for {} tokens", kinds.len(), tokens.len());
        return Err(Error::format(metadata.place(KINDS), reason));
    }
    let mut added = Vec::new();
    for (token, &kind) in tokens.iter().zip(kinds).filter(|(token, _)| !token.is_empty()) {
        match kind {
            CONTROL | UNKNOWN => added.push(AddedToken::from(token.clone(), true).normalized(false)),
            USER_DEFINED => added.push(AddedToken::from(token.clone(), false).normalized(false)),
            _ => {}
        }
    }
    let (special, plain): (Vec<_>, Vec<_>) = added.into_iter().partition(|token| token.special);
    inner.add_special_tokens(&special);
    inner.add_tokens(&plain);
    Ok(())
}

/// Has the tokenizer add the beginning and the end of a sequence where the file says so.
fn add_ends(metadata: &Metadata, tokens: &[String], inner: &mut Inner, add_bos: bool) -> Result<(), Error> {
    let wanted = |name: &str, default: bool| -> Result<Option<u32>, Error> {
        let add = metadata.boolean(&format!("tokenizer.ggml.add_{name}_token"))?.unwrap_or(default);
        if add { metadata.token(&format!("tokenizer.ggml.{name}_token_id"), tokens.len()) } else { Ok(None) }
    };
    let (bos, eos) = (wanted("bos", add_bos)?, wanted("eos", false)?);
    if bos.is_none() && eos.is_none() {
        return Ok(());
    }
    let special = |id: u32| json!({"SpecialToken": {"id": tokens[id as usize], "type_id": 0}});
    let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    let around = |texts: Vec<Value>| -> Vec<Value> {
        bos.map(special).into_iter().chain(texts).chain(eos.map(special)).collect()
    };
    let entry = |id: u32| {
        let token = &tokens[id as usize];
        (token.clone(), json!({"id": token, "ids": [id], "tokens": [token]}))
    };
    let specials: serde_json::Map<String, Value> = bos.into_iter().chain(eos).map(entry).collect();
    let template = json!({
        "type": "TemplateProcessing",
        "single": around(vec![text("A")]),
        "pair": around(vec![text("A"), text("B")]),
        "special_tokens": specials,
    });
    inner.with_post_processor(Some(part::<PostProcessorWrapper>(template)?));
    Ok(())
}

/// A part of a tokenizer from its description.
fn part<T: DeserializeOwned>(description: Value) -> Result<T, Error> {
    serde_json::from_value(description).map_err(|error| Error::Tokenizer(error.to_string()))
}

/// The error of the BPE builder.
fn failed(metadata: &Metadata) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> Error {
    move |error| Error::format(metadata.place("tokenizer.ggml"), error.to_string())
}
