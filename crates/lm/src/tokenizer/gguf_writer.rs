//! A byte-level tokenizer as GGUF metadata: the inverse of [`gguf`](super::gguf).

use serde_json::Value;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _};

use super::gguf::{self, CONTROL, NORMAL, UNUSED, USER_DEFINED};
use super::{Inner, Tokenizer, guarded};
use crate::Error;
use crate::weights::gguf::GgufWriter;

/// The names of pre-tokenizers (`tokenizer.ggml.pre`) that are tried, one for each way of splitting.
const NAMES: [&str; 5] = ["gpt-2", "smollm", "llama-bpe", "qwen2", "tekken"];

/// Texts on which the ways of splitting differ: contractions, digits and other numbers, spaces, line ends, scripts, case,
/// marks. llama.cpp's converter, too, knows a tokenizer by what it makes of such a text.
const TELLING: [&str; 6] = [
    "I'm sure THEY'LL say it isn't 1234567, but 3.14 m\u{b2} (don't you?) ...!!! x=1;y/2//z\r\n",
    "  two  spaces\n\n\n \t tab\r\n\r\nend of   line   \n",
    "CamelCaseWORDS \u{dc}n\u{ef}c\u{f6}d\u{e9} \u{c9}COLE stra\u{df}e cafe\u{301}",
    "\u{65e5}\u{672c}\u{8a9e}\u{306e}\u{30c6}\u{30ad}\u{30b9}\u{30c8} 12\u{ff13}\u{ff14} \u{440}\u{443}\u{441}\u{441}\u{43a}\u{438}\u{439} \u{661}\u{662}\u{663} \u{bd} \u{216b}",
    "\u{1f469}\u{200d}\u{1f467} \u{1f389}!! path/to//file.txt/\n/\n",
    "'s 'S a1b22c333 _under_score-dash\u{2014}dash \u{201c}quoted\u{201d}",
];

impl Tokenizer {
    /// Adds this tokenizer to a file whose model has `rows` tokens. `ends` are the tokens that end a generation, the
    /// model's own first.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where llama.cpp has no such tokenizer under a name that is known here: only byte-level BPE is
    /// written.
    pub(crate) fn describe(&self, rows: usize, ends: &[u32], file: &mut GgufWriter) -> Result<(), Error> {
        let json: Value = serde_json::from_str(&self.to_json()?).map_err(wrong)?;
        let model = &json["model"];
        if model["type"] != "BPE" || model["byte_fallback"] == true || json["decoder"]["type"] != "ByteLevel"
        {
            return Err(unsupported("only byte-level BPE is written"));
        }
        file.text("tokenizer.ggml.model", "gpt2");
        file.text("tokenizer.ggml.pre", self.splitting(&json)?);
        let (tokens, kinds) = tokens(&json, rows)?;
        file.texts("tokenizer.ggml.tokens", tokens.iter().map(String::as_str));
        file.integers("tokenizer.ggml.token_type", &kinds);
        let merges = merges(model)?;
        file.texts("tokenizer.ggml.merges", merges.iter().map(String::as_str));
        for (name, id) in ["eos", "eot", "eom"].into_iter().zip(ends) {
            file.unsigned(&format!("tokenizer.ggml.{name}_token_id"), *id);
        }
        if let Some(bos) = self.bos {
            file.unsigned("tokenizer.ggml.bos_token_id", bos);
        }
        file.boolean("tokenizer.ggml.add_bos_token", self.adds_beginning()?);
        Ok(())
    }

    /// Whether a text gets the beginning of a sequence; another addition has no key.
    fn adds_beginning(&self) -> Result<bool, Error> {
        let (whole, plain) = (self.encode("a")?, self.encode_plain("a")?);
        let before = whole.strip_suffix(plain.as_slice());
        match (before, self.bos) {
            (Some([]), _) => Ok(false),
            (Some([first]), Some(bos)) if *first == bos => Ok(true),
            _ => Err(unsupported("it adds other tokens to a text than the beginning of a sequence")),
        }
    }

    /// The name under which llama.cpp splits texts as this tokenizer does.
    fn splitting(&self, json: &Value) -> Result<&'static str, Error> {
        let composes = match &json["normalizer"] {
            Value::Null => false,
            normalizer if normalizer["type"] == "NFC" => true,
            _ => return Err(unsupported("its normalizer")),
        };
        let own = pieces(&self.inner)?;
        for name in NAMES {
            let Some((candidate, rule)) = gguf::splitter(name)? else { continue };
            let same_rule =
                rule.compose == composes && rule.ignore_merges == (json["model"]["ignore_merges"] == true);
            if same_rule && pieces(&candidate)? == own {
                return Ok(name);
            }
        }
        Err(unsupported(&format!("it splits texts as none of {} does", NAMES.join(", "))))
    }
}

/// The words that the telling texts are split into.
fn pieces(inner: &Inner) -> Result<Vec<String>, Error> {
    let Some(splitter) = inner.get_pre_tokenizer() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for text in TELLING {
        let mut split = PreTokenizedString::from(text);
        guarded(|| splitter.pre_tokenize(&mut split))?;
        let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
        found.extend(splits.into_iter().map(|(word, ..)| word.to_owned()));
    }
    Ok(found)
}

/// Every token and its kind; rows of the embedding beyond the vocabulary get names of their own.
fn tokens(json: &Value, rows: usize) -> Result<(Vec<String>, Vec<i32>), Error> {
    let mut tokens: Vec<String> = (0..rows).map(|id| format!("[PAD{id}]")).collect();
    let mut kinds = vec![UNUSED as i32; rows];
    let mut put = |token: &str, id: &Value, kind: i64| {
        let at = id.as_u64().and_then(|id| usize::try_from(id).ok()).filter(|&id| id < rows);
        let at =
            at.ok_or_else(|| unsupported(&format!("token {token:?} is beyond the model's {rows} rows")))?;
        token.clone_into(&mut tokens[at]);
        kinds[at] = kind as i32;
        Ok::<(), Error>(())
    };
    for (token, id) in json["model"]["vocab"].as_object().into_iter().flatten() {
        put(token, id, NORMAL)?;
    }
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        let kind = if added["special"] == true { CONTROL } else { USER_DEFINED };
        put(added["content"].as_str().unwrap_or_default(), &added["id"], kind)?;
    }
    Ok((tokens, kinds))
}

/// The merges, each as two tokens with a space between them.
fn merges(model: &Value) -> Result<Vec<String>, Error> {
    let line = |merge: &Value| match merge {
        Value::String(line) => Some(line.clone()),
        Value::Array(pair) => Some(format!("{} {}", pair.first()?.as_str()?, pair.get(1)?.as_str()?)),
        _ => None,
    };
    let lines = model["merges"].as_array().into_iter().flatten().map(line);
    lines.collect::<Option<_>>().ok_or_else(|| wrong("a merge that is no pair"))
}

fn unsupported(reason: &str) -> Error {
    Error::unsupported("the tokenizer in GGUF", reason)
}

fn wrong(reason: impl ToString) -> Error {
    Error::Tokenizer(reason.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::weights::Source;
    use crate::weights::gguf::Container;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }

    fn tokenizer(kind: &str) -> Tokenizer {
        // fixtures/scripts/formats_tokenizer.py
        let bytes = std::fs::read(fixture(&format!("formats_tokenizer_{kind}.json"))).unwrap();
        let tokenizer = Tokenizer::from_json(&bytes).unwrap();
        let begins = tokenizer.encode("").unwrap().first().copied();
        tokenizer.with_ends(begins, None)
    }

    #[test]
    fn every_way_of_splitting_is_found_and_read_back() {
        let texts: Vec<String> =
            serde_json::from_slice(&std::fs::read(fixture("formats_texts.json")).unwrap()).unwrap();
        let kinds = ["gpt2", "smollm", "llama3", "qwen2", "tekken"];
        for (kind, name) in kinds.into_iter().zip(NAMES) {
            let tokenizer = tokenizer(kind);
            let mut file = GgufWriter::new();
            // Two rows more than tokens.
            tokenizer.describe(tokenizer.size() + 2, &[0], &mut file).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("tokenizer.gguf");
            file.write(&path).unwrap();
            let metadata = Container::new(Source::open(&path).unwrap()).unwrap().metadata;
            assert_eq!(metadata.text("tokenizer.ggml.pre").unwrap(), Some(name));
            let read = Tokenizer::from_gguf(&metadata).unwrap();
            for text in &texts {
                let ids = tokenizer.encode(text).unwrap();
                assert_eq!(read.encode(text).unwrap(), ids, "{kind}: {text:?}");
                assert_eq!(
                    read.decode(&ids, true).unwrap(),
                    tokenizer.decode(&ids, true).unwrap(),
                    "{kind}: {text:?}"
                );
            }
        }
    }

    #[test]
    fn what_gguf_cannot_say_is_refused() {
        let refused = |tokenizer: Tokenizer, rows: usize| {
            let error = tokenizer.describe(rows, &[0], &mut GgufWriter::new()).unwrap_err();
            assert!(matches!(error, Error::Unsupported { .. }), "{error}");
            error.to_string()
        };
        assert!(refused(tokenizer("sentencepiece"), 800).contains("byte-level BPE"));
        assert!(refused(tokenizer("gpt2"), 10).contains("beyond the model's 10 rows"));
        let changed = |part: &str, value: Value| {
            let bytes = std::fs::read(fixture("formats_tokenizer_gpt2.json")).unwrap();
            let mut json: Value = serde_json::from_slice(&bytes).unwrap();
            json[part] = value;
            Tokenizer::from_json(json.to_string().as_bytes()).unwrap()
        };
        assert!(
            refused(changed("normalizer", serde_json::json!({"type": "Lowercase"})), 800)
                .contains("normalizer")
        );
        let whitespace = serde_json::json!({"type": "Whitespace"});
        assert!(refused(changed("pre_tokenizer", whitespace), 800).contains("splits texts as none of"));
    }
}
