//! Tokenizers against transformers (`fixtures/scripts/formats_tokenizer.py`). Those in GGUF metadata are tested in the
//! crate, as files without tensors.

use lm::ModelSource;
use lm::tokenizer::Tokenizer;
use lm::weights::Checkpoint;

use super::{fixture, given, json};

fn texts() -> Vec<String> {
    serde_json::from_value(json("formats_texts.json")).unwrap()
}

fn small(kind: &str) -> Tokenizer {
    let bytes = std::fs::read(fixture(&format!("formats_tokenizer_{kind}.json"))).unwrap();
    Tokenizer::from_json(&bytes).unwrap()
}

#[test]
fn ids_and_texts_are_those_of_transformers() {
    let texts = texts();
    for (kind, expected) in json("formats_tokenizer_ids.json").as_object().unwrap() {
        let tokenizer = small(kind);
        let before: Vec<u32> = serde_json::from_value(expected["before"].clone()).unwrap();
        let plain: Vec<Vec<u32>> = serde_json::from_value(expected["plain"].clone()).unwrap();
        let batch = tokenizer.encode_batch(&texts).unwrap();
        for (index, text) in texts.iter().enumerate() {
            assert_eq!(tokenizer.encode_plain(text).unwrap(), plain[index], "{kind}: {text:?}");
            let with_added = [before.as_slice(), &plain[index]].concat();
            assert_eq!(tokenizer.encode(text).unwrap(), with_added, "{kind}: {text:?}");
            assert_eq!(batch[index], with_added, "{kind}: {text:?}");
            let decoded = tokenizer.decode(&plain[index], false).unwrap();
            assert_eq!(decoded, expected["decoded"][index].as_str().unwrap(), "{kind}: {text:?}");
            let decoded = tokenizer.decode(&plain[index], true).unwrap();
            assert_eq!(
                decoded,
                expected["decoded_without_special"][index].as_str().unwrap(),
                "{kind}: {text:?}"
            );
        }
    }
}

#[test]
fn tokens_and_ids_lead_to_each_other() {
    let tokenizer = small("gpt2").with_ends(tokenizer_id("<|im_start|>"), tokenizer_id("<|im_end|>"));
    assert_eq!(tokenizer.size(), 700);
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
    assert_eq!(tokenizer.token(1).as_deref(), Some("<|im_start|>"));
    assert_eq!((tokenizer.id("\u{120}the"), tokenizer.id("no such token")), (tokenizer.id("Ġthe"), None));
    assert!((0..700).all(|id| tokenizer.id(&tokenizer.token(id).unwrap()) == Some(id)));
    assert_eq!(tokenizer.token(700), None);
    assert_eq!(tokenizer.decode(&[700, u32::MAX], false).unwrap(), "");
}

fn tokenizer_id(token: &str) -> Option<u32> {
    small("gpt2").id(token)
}

#[test]
fn a_written_tokenizer_reads_as_the_same() {
    let tokenizer = small("llama3");
    let again = Tokenizer::from_json(tokenizer.to_json().unwrap().as_bytes()).unwrap();
    for text in texts() {
        assert_eq!(again.encode(&text).unwrap(), tokenizer.encode(&text).unwrap());
    }
}

#[test]
fn truncation_and_padding_of_the_file_do_not_apply() {
    let bytes = std::fs::read(fixture("formats_tokenizer_gpt2.json")).unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    value["truncation"] =
        serde_json::json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
    value["padding"] = serde_json::json!({
        "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "<|endoftext|>"
    });
    let tokenizer = Tokenizer::from_json(value.to_string().as_bytes()).unwrap();
    let text = "a text of more than two tokens";
    assert_eq!(tokenizer.encode(text).unwrap(), small("gpt2").encode(text).unwrap());
}

#[test]
fn long_texts_are_tokenized_whole() {
    // A run of spaces before a word makes the splitting expression look back at every one of them.
    let spaces = "x".to_owned() + &" ".repeat(1_200_000) + "x";
    for text in [spaces, "a".repeat(60_000), "\n".repeat(60_000) + " y", "1".repeat(60_000)] {
        for kind in ["gpt2", "llama3", "sentencepiece"] {
            let tokenizer = small(kind);
            let ids = tokenizer.encode_plain(&text).unwrap();
            assert_eq!(tokenizer.decode(&ids, false).unwrap().len(), text.len(), "{kind}: {:?}", &text[..5]);
        }
    }
    assert!(small("gpt2").encode(&"a".repeat((64 << 20) + 1)).is_err());
}

#[test]
fn a_damaged_file_is_an_error() {
    let bytes = std::fs::read(fixture("formats_tokenizer_llama3.json")).unwrap();
    for length in (0..bytes.len()).step_by(211) {
        assert!(Tokenizer::from_json(&bytes[..length]).is_err(), "{length}");
    }
    for text in ["", "null", "[]", "{}", "{\"version\": \"1.0\"}", "{\"model\": {\"type\": \"BPE\"}}"] {
        assert!(Tokenizer::from_json(text.as_bytes()).is_err(), "{text}");
    }
    let mut value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    value["model"]["merges"][0] = serde_json::json!(["no such", "tokens"]);
    assert!(Tokenizer::from_json(value.to_string().as_bytes()).is_err());
}

#[test]
fn every_byte_of_a_small_file_may_be_wrong() {
    let bytes = std::fs::read(fixture("formats_tokenizer_smollm.json")).unwrap();
    // The head of the file has its structure; the rest is a list of tokens and merges.
    for position in (0..600).chain((600..bytes.len()).step_by(53)) {
        for byte in [0, b'"', b'9', b'}', bytes[position] ^ 1] {
            let mut damaged = bytes.clone();
            damaged[position] = byte;
            if let Ok(tokenizer) = Tokenizer::from_json(&damaged) {
                let _ = tokenizer.encode("a <|im_end|> 12 text").map(|ids| tokenizer.decode(&ids, true));
            }
        }
    }
}

#[test]
fn smollm2_of_a_folder_gives_the_ids_of_transformers() {
    let Some(folder) = given("WEIGH_SMOLLM2_HF") else { return };
    let checkpoint = Checkpoint::open(&ModelSource::Folder(folder)).unwrap();
    check_real(&checkpoint, "folder");
}

#[test]
fn smollm2_of_a_gguf_file_gives_the_ids_of_transformers() {
    let Some(file) = given("WEIGH_SMOLLM2_GGUF") else { return };
    let checkpoint = Checkpoint::open(&ModelSource::Gguf(file)).unwrap();
    check_real(&checkpoint, "gguf");
}

fn check_real(checkpoint: &Checkpoint, key: &str) {
    let expected: Vec<Vec<u32>> =
        serde_json::from_value(json("formats_smollm2_ids.json")[key].clone()).unwrap();
    let mut different = Vec::new();
    for (text, expected) in texts().iter().zip(&expected) {
        if checkpoint.tokenizer.encode(text).unwrap() != *expected {
            different.push(text.clone());
        }
    }
    assert!(different.is_empty(), "{} of {}: {different:?}", different.len(), expected.len());
    assert_eq!((checkpoint.tokenizer.bos(), checkpoint.tokenizer.eos()), (Some(1), Some(2)));
    assert_eq!(checkpoint.config.layers, 30);
    assert!(checkpoint.chat_template.as_ref().unwrap().contains("<|im_start|>"));
}
