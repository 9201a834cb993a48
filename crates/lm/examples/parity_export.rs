//! Writes what PEFT and transformers are to read, with the engine's own logits beside it.
//!
//! `cargo run --release -p weigh-lm --example parity_export -- MODEL FOLDER` takes a Hugging Face folder or a GGUF file,
//! puts an adapter with random A and B on it, and writes `FOLDER/adapter` (PEFT), `FOLDER/merged` (Hugging Face),
//! `FOLDER/gguf/merged.gguf`, `FOLDER/prefix` (a prefix tuning that begins as a text), `FOLDER/tokens.json` and
//! `FOLDER/logits.safetensors`: logits after the last token of each sequence, in 32 bits, of the base, of base and adapter, of the
//! merged model, and of base and prefix. `fixtures/scripts/parity_check_peft.py` compares.

#![expect(clippy::print_stdout, reason = "an example prints what it did")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use lm::adapter::{Lora, LoraConfig};
use lm::transformer::{Batch, Parameters, Transformer, Workspace};
use lm::weights::{Dtype, write_safetensors};
use lm::{Model, ModelSource, Precision, Use};

const TEXTS: [&str; 4] = [
    "A kettle that whistles",
    "fn main() {\n    let answer =",
    "Message: when does my card arrive?\nIntent:",
    "naïve 東京 🙂",
];

/// What the virtual tokens begin as.
const START: &str = "Message: my card was stolen\nIntent: lost card\n";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, folder] = arguments.as_slice() else {
        return Err("usage: parity_export MODEL FOLDER".into());
    };
    let source =
        if model.is_dir() { ModelSource::Folder(model.clone()) } else { ModelSource::Gguf(model.clone()) };
    let model = Model::load(&source, Precision::F32, Use::Inference)?;
    let adapter = random_adapter(&model)?;
    let merged = adapter.merge_into(&model.transformer)?;

    let start = model.tokenizer.encode_plain(START)?;
    let config = LoraConfig { virtual_start: start, ..LoraConfig::prefix(8) };
    let prefix = Lora::for_base(config, &model.transformer)?;
    let before: Vec<u32> = prefix.config().virtual_ids(model.config.vocabulary).collect();

    let mut sequences = Vec::new();
    for text in TEXTS {
        sequences.push(model.tokenizer.encode_plain(text)?);
    }
    let mut tensors = Vec::new();
    for (index, tokens) in sequences.iter().enumerate() {
        for (name, transformer, adapter) in [
            ("base", &model.transformer, None),
            ("adapter", &model.transformer, Some(&adapter)),
            ("merged", &merged, None),
        ] {
            tensors.push((format!("{name}.{index}"), last_logits(transformer, adapter, tokens)?));
        }
        let whole = [before.as_slice(), tokens].concat();
        let logits = last_logits(&model.transformer, Some(&prefix), &whole)?;
        tensors.push((format!("prefix.{index}"), logits));
    }

    adapter.save(&folder.join("adapter"), &model.name)?;
    merged.save(&folder.join("merged"), Dtype::F32)?;
    prefix.save(&folder.join("prefix"), &model.name)?;
    std::fs::create_dir_all(folder.join("gguf"))?;
    model.save_gguf(&merged, &folder.join("gguf/merged.gguf"), Dtype::F32)?;
    write(&folder.join("merged/tokenizer.json"), model.tokenizer.to_json()?.as_bytes())?;
    let views: Vec<(String, Vec<usize>, &[f32])> =
        tensors.iter().map(|(name, values)| (name.clone(), vec![values.len()], values.as_slice())).collect();
    write_safetensors(&folder.join("logits.safetensors"), &views, Dtype::F32, &BTreeMap::new())?;
    write(&folder.join("tokens.json"), &serde_json::to_vec(&sequences)?)?;
    println!("{}: adapter of {} values written to {}", model.name, adapter.parameters(), folder.display());
    Ok(())
}

/// Rank 8, alpha 12 (a scale that is neither 1 nor a power of two), A and B uniform.
fn random_adapter(model: &Model) -> Result<Lora, lm::Error> {
    let config = LoraConfig { alpha: 12.0, seed: 7, ..LoraConfig::with_rank(8) };
    let mut adapter = Lora::new(config, &model.config)?;
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let outer: Vec<bool> = adapter.specs().iter().map(|spec| spec.parts[0].name.contains("lora_B")).collect();
    for (mut parameter, _) in adapter.parameters_mut().into_iter().zip(outer).filter(|(_, outer)| *outer) {
        parameter.update(|values| {
            for value in values {
                // Marsaglia's xorshift.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *value = ((state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 0.05;
            }
        });
    }
    Ok(adapter)
}

fn last_logits(
    transformer: &Transformer,
    adapter: Option<&Lora>,
    tokens: &[u32],
) -> Result<Vec<f32>, lm::Error> {
    let batch = Batch::of(&[tokens]);
    let hidden =
        transformer.hidden_states(&batch, &[tokens.len() - 1], adapter, None, &mut Workspace::new())?;
    Ok(transformer.logits(&hidden))
}

/// Writes beside the target, then renames over it.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("partial");
    std::io::Write::write_all(&mut std::fs::File::create(&temporary)?, bytes)?;
    std::fs::rename(temporary, path)
}
