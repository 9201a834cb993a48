//! The container and its blocks, from bytes in memory.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

use super::blocks::BlockFormat;
use super::container::Container;
use super::description::{describe, in_gguf};
use super::model::GgufTensors;
use super::shape::read_config;
use super::writer::GgufWriter;
use crate::Error;
use crate::config::{ModelConfig, RotaryConfig, RotaryScaling};
use crate::tokenizer::Tokenizer;
use crate::weights::checkpoint::{Checkpoint, open_gguf};
use crate::weights::{Dtype, Source, Tensors};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

fn open(bytes: Vec<u8>) -> Result<Checkpoint, Error> {
    open_gguf(Source::memory("test.gguf", bytes), "test".to_owned())
}

/// Reads everything but the tokenizer, as far as the file allows.
fn read_all(bytes: Vec<u8>) -> Result<(), Error> {
    let container = container(bytes)?;
    let config = read_config(&container)?;
    let (tensors, _) = GgufTensors::new(container, &config)?;
    for name in tensors.names() {
        let count = tensors.shape(&name).unwrap().iter().product::<usize>();
        if let Ok(values) = tensors.read(&name) {
            assert_eq!(values.len(), count, "{name}");
        }
    }
    let (frequencies, _) = config.rotary.inverse_frequencies(config.head_dim, config.context);
    assert_eq!(frequencies.len(), config.head_dim / 2);
    Ok(())
}

/// Builds and uses the tokenizer, as far as the file allows.
fn use_tokenizer(bytes: Vec<u8>) -> Result<(), Error> {
    let tokenizer = Tokenizer::from_gguf(&container(bytes)?.metadata)?;
    let ids = tokenizer.encode("abc 12<|im_end|>")?;
    tokenizer.decode(&ids, true).map(drop)
}

#[test]
fn every_block_format_is_widened_as_the_gguf_package_does() {
    // fixtures/scripts/formats_blocks.py
    use BlockFormat::{BF16, F16, F32, F64, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};
    let bytes = bytes_of("formats_blocks.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for format in [F32, F16, BF16, F64, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K] {
        let blocks = file.tensor(&format!("{format:?}.bytes")).unwrap();
        let expected = file.tensor(&format!("{format:?}.values")).unwrap();
        let expected: Vec<f32> =
            expected.data().as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect();
        assert_eq!(format.decode(blocks.data()), expected, "{format:?}");
        assert_eq!(blocks.data().len() / format.bytes() * format.values(), expected.len(), "{format:?}");
    }
}

#[test]
fn tokenizers_of_every_kind_give_the_ids_of_transformers() {
    // fixtures/scripts/formats_tokenizer.py
    let texts: Vec<String> = serde_json::from_slice(&bytes_of("formats_texts.json")).unwrap();
    let expected: serde_json::Value =
        serde_json::from_slice(&bytes_of("formats_tokenizer_ids.json")).unwrap();
    for (kind, expected) in expected.as_object().unwrap() {
        let container =
            Container::new(Source::open(&fixture(&format!("formats_tokenizer_{kind}.gguf"))).unwrap())
                .unwrap();
        let tokenizer = Tokenizer::from_gguf(&container.metadata).unwrap();
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)), "{kind}");
        let before: Vec<u32> = serde_json::from_value(expected["before"].clone()).unwrap();
        for (index, text) in texts.iter().enumerate() {
            let plain: Vec<u32> = serde_json::from_value(expected["plain"][index].clone()).unwrap();
            assert_eq!(tokenizer.encode_plain(text).unwrap(), plain, "{kind}: {text:?}");
            assert_eq!(
                tokenizer.encode(text).unwrap(),
                [before.as_slice(), &plain].concat(),
                "{kind}: {text:?}"
            );
            let decoded = expected["decoded"][index].as_str().unwrap();
            assert_eq!(tokenizer.decode(&plain, false).unwrap(), decoded, "{kind}: {text:?}");
        }
    }
}

/// A file of metadata without tensors; each value comes with its type's number.
fn metadata_file(version: u32, entries: &[(&str, u32, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = [b"GGUF".as_slice(), &version.to_le_bytes(), &0u64.to_le_bytes()].concat();
    bytes.extend((entries.len() as u64).to_le_bytes());
    for (key, kind, value) in entries {
        bytes.extend(text(key));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(value);
    }
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn list(kind: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), elements].concat()
}

fn container(bytes: Vec<u8>) -> Result<Container, Error> {
    Container::new(Source::memory("test.gguf", bytes))
}

#[test]
fn every_type_of_value_is_read_in_both_versions() {
    let entries = [
        ("u8", 0, vec![200]),
        ("i8", 1, vec![0x80]),
        ("u16", 2, 60_000u16.to_le_bytes().to_vec()),
        ("i16", 3, (-5i16).to_le_bytes().to_vec()),
        ("u32", 4, u32::MAX.to_le_bytes().to_vec()),
        ("i32", 5, (-7i32).to_le_bytes().to_vec()),
        ("f32", 6, 1.5f32.to_le_bytes().to_vec()),
        ("bool", 7, vec![1]),
        ("text", 8, text("é")),
        ("list", 9, list(4, 2, &[1, 0, 0, 0, 2, 0, 0, 0])),
        ("texts", 9, list(8, 2, &[text("a"), text("")].concat())),
        ("u64", 10, u64::MAX.to_le_bytes().to_vec()),
        ("i64", 11, i64::MIN.to_le_bytes().to_vec()),
        ("f64", 12, 0.1f64.to_le_bytes().to_vec()),
    ];
    for version in [2, 3] {
        let metadata = container(metadata_file(version, &entries)).unwrap().metadata;
        let numbers = [
            ("u8", 200.0),
            ("i8", -128.0),
            ("u16", 6e4),
            ("i16", -5.0),
            ("i32", -7.0),
            ("f32", 1.5),
            ("f64", 0.1),
        ];
        for (key, expected) in numbers {
            assert_eq!(metadata.number(key).unwrap(), Some(expected), "{key}");
        }
        assert_eq!(metadata.number("u64").unwrap(), Some(u64::MAX as f64));
        assert_eq!(metadata.number("i64").unwrap(), Some(i64::MIN as f64));
        assert_eq!(metadata.size("u32", usize::MAX).unwrap(), Some(u32::MAX as usize));
        assert_eq!(
            (metadata.boolean("bool").unwrap(), metadata.text("text").unwrap()),
            (Some(true), Some("é"))
        );
        assert_eq!(metadata.integers("list").unwrap(), Some(&[1, 2][..]));
        assert_eq!(metadata.texts("texts").unwrap().unwrap(), ["a", ""]);
        assert_eq!(metadata.text("absent").unwrap(), None);
        assert!(
            metadata.text("u8").is_err()
                && metadata.size("text", 9).is_err()
                && metadata.floats("list").is_err()
        );
    }
}

#[test]
fn wrong_containers_are_refused_for_what_is_wrong() {
    let message = |bytes: Vec<u8>| container(bytes).err().expect("an error").to_string();
    assert!(message(vec![]).contains("magic"));
    assert!(message(b"GGML\x03\0\0\0".to_vec()).contains("not a GGUF file"));
    assert!(message(metadata_file(1, &[])).contains("version 1"));
    assert!(message(metadata_file(3u32.swap_bytes(), &[])).contains("little-endian"));
    assert!(message(metadata_file(3, &[("a", 13, vec![])])).contains("unknown type 13"));
    assert!(message(metadata_file(3, &[("a", 7, vec![2])])).contains("neither true nor false"));
    assert!(message(metadata_file(3, &[("a", 0, vec![1]), ("a", 0, vec![1])])).contains("given twice"));
    let nested = list(9, 1, &list(0, 1, &[1]));
    assert!(message(metadata_file(3, &[("a", 9, nested)])).contains("a list of lists"));
    let huge = [u64::MAX, 1 << 40, 1 << 25, 100];
    for count in huge {
        assert!(message(metadata_file(3, &[("a", 9, list(8, count, &[]))])).contains("count"), "{count}");
        assert!(message(metadata_file(3, &[("a", 9, list(0, count, &[]))])).contains("count"), "{count}");
        let string = [count.to_le_bytes().to_vec(), vec![]].concat();
        assert!(message(metadata_file(3, &[("a", 8, string)])).contains("count"), "{count}");
        for field in [8, 16] {
            let mut bytes = metadata_file(3, &[]);
            bytes[field..field + 8].copy_from_slice(&count.to_le_bytes());
            assert!(message(bytes).contains("count"), "{count}");
        }
    }
    let not_text = [2u64.to_le_bytes().to_vec(), vec![0xff, 0xfe]].concat();
    assert!(message(metadata_file(3, &[("a", 8, not_text)])).contains("UTF-8"));
    let zero = metadata_file(3, &[("general.alignment", 4, vec![0; 4])]);
    assert!(message(zero).contains("general.alignment"));
}

#[test]
fn a_pre_tokenizer_or_model_that_is_not_known_is_named() {
    let tokens = list(8, 1, &text("a"));
    for (key, value) in [("tokenizer.ggml.pre", "some-new-one"), ("tokenizer.ggml.model", "bert")] {
        let mut entries = vec![
            ("tokenizer.ggml.tokens", 9, tokens.clone()),
            ("tokenizer.ggml.merges", 9, list(8, 0, &[])),
            (key, 8, text(value)),
        ];
        if key != "tokenizer.ggml.model" {
            entries.push(("tokenizer.ggml.model", 8, text("gpt2")));
        }
        let metadata = container(metadata_file(3, &entries)).unwrap().metadata;
        let error = Tokenizer::from_gguf(&metadata).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains(value), "{error}");
    }
}

/// Where the header of a fixture ends: nothing before the first tensor's data is anything but structure.
fn header_length(bytes: &[u8]) -> usize {
    let container = container(bytes.to_vec()).unwrap();
    container.places.values().map(|place| place.offset).min().unwrap() as usize
}

#[test]
fn a_truncated_file_is_an_error_at_every_length() {
    let bytes = bytes_of("formats_llama.gguf");
    assert!(open(bytes.clone()).is_ok());
    let header = header_length(&bytes);
    for length in (0..header + 64).chain((header + 64..bytes.len() - 32).step_by(509)) {
        assert!(open(bytes[..length].to_vec()).is_err(), "{length} of {}", bytes.len());
    }
}

#[test]
fn no_byte_of_the_header_makes_a_file_panic() {
    let bytes = bytes_of("formats_llama.gguf");
    let header = header_length(&bytes);
    for position in 0..header {
        for byte in [0, 0xff, bytes[position] ^ 1] {
            let mut damaged = bytes.clone();
            damaged[position] = byte;
            let _ = read_all(damaged);
        }
    }
}

#[test]
fn no_byte_of_the_metadata_makes_a_tokenizer_panic() {
    for kind in ["smollm", "sentencepiece"] {
        let bytes = bytes_of(&format!("formats_tokenizer_{kind}.gguf"));
        for position in (0..bytes.len()).step_by(11) {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1 << (position % 8);
            let _ = use_tokenizer(damaged);
        }
    }
}

#[test]
fn no_number_of_the_header_makes_a_file_panic_or_allocate() {
    for architecture in ["llama", "qwen2", "qwen3"] {
        let bytes = bytes_of(&format!("formats_{architecture}.gguf"));
        let header = header_length(&bytes);
        for (turn, position) in (0..header - 8).step_by(3).enumerate() {
            let numbers = [u64::MAX, 1 << 63, 1 << 40, u64::from(u32::MAX), 1 << 20, 0];
            let mut damaged = bytes.clone();
            damaged[position..position + 8].copy_from_slice(&numbers[turn % numbers.len()].to_le_bytes());
            let _ = read_all(damaged);
        }
    }
}

#[test]
fn a_tensor_of_no_rows_is_refused() {
    let bytes = bytes_of("formats_llama.gguf");
    let name = text("blk.0.attn_q.weight");
    let position = bytes.windows(name.len()).position(|window| window == name).unwrap() + name.len() + 4;
    for dimension in [0, 8] {
        let mut damaged = bytes.clone();
        damaged[position + dimension..position + dimension + 8].fill(0);
        let error = read_all(damaged).unwrap_err();
        assert!(error.to_string().contains("blk.0.attn_q.weight"), "{error}");
    }
}

/// The configuration of a fixture with another rotary embedding, written and read again.
fn described(config: &ModelConfig) -> Result<ModelConfig, Error> {
    let config = in_gguf(config)?;
    let mut file = GgufWriter::new();
    describe(&config, "described", &mut file)?;
    let values = vec![0.0; config.vocabulary * config.hidden];
    file.tensor("token_embd.weight".to_owned(), vec![config.vocabulary, config.hidden], Dtype::F16, values);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("described.gguf");
    file.write(&path)?;
    read_config(&Container::new(Source::open(&path)?)?)
}

#[test]
fn a_rotary_embedding_that_is_written_turns_as_it_did() {
    let fixture = read_config(&container(bytes_of("formats_llama.gguf")).unwrap()).unwrap();
    let half = fixture.head_dim / 2;
    let original_context = fixture.context / 2;
    let factors = |first: f64| (0..half).map(|index| first + index as f64).collect::<Vec<f64>>();
    let scalings = [
        RotaryScaling::Default,
        RotaryScaling::Linear { factor: 4.0 },
        RotaryScaling::Llama3 {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context,
        },
        RotaryScaling::Yarn {
            factor: 4.0,
            beta_fast: 16.0,
            beta_slow: 2.0,
            attention_factor: Some(1.5),
            original_context,
            truncate: true,
        },
        RotaryScaling::LongRope {
            short: factors(1.0),
            long: factors(2.0),
            attention_factor: Some(1.25),
            original_context,
        },
    ];
    for scaling in scalings {
        let rotary = RotaryConfig { theta: 500_000.0, scaling };
        let config = ModelConfig { rotary, ..fixture.clone() };
        let read = described(&config).unwrap();
        for context in [original_context, config.context] {
            let (expected, factor) = config.rotary.inverse_frequencies(config.head_dim, context);
            let (found, found_factor) = read.rotary.inverse_frequencies(config.head_dim, context);
            assert!((factor - found_factor).abs() < 1e-6, "{:?}: {factor} {found_factor}", config.rotary);
            for (expected, found) in expected.iter().zip(&found) {
                assert!((found / expected - 1.0).abs() < 1e-6, "{:?}: {found} {expected}", config.rotary);
            }
        }
        let shapes = [read.hidden, read.intermediate, read.layers, read.heads, read.kv_heads, read.head_dim];
        let expected = [
            config.hidden,
            config.intermediate,
            config.layers,
            config.heads,
            config.kv_heads,
            config.head_dim,
        ];
        assert_eq!(
            (shapes, read.context, read.norm_epsilon),
            (expected, config.context, config.norm_epsilon)
        );
    }
    let dynamic = RotaryScaling::Dynamic { factor: 2.0, original_context };
    let rotary = RotaryConfig { scaling: dynamic, ..fixture.rotary.clone() };
    assert!(described(&ModelConfig { rotary, ..fixture.clone() }).is_err());
    let windows = vec![Some(fixture.context / 2); fixture.layers];
    assert!(described(&ModelConfig { windows, ..fixture }).is_err());
}
