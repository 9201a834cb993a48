//! Models that are kept in the quantised blocks of their file, against the same weights unpacked first: the bits are
//! the same, of logits and of the gradients of an adapter.
//!
//! The small files are those of `fixtures/scripts/formats_gguf.py`; SmolLM2-135M-Instruct is checked as well where
//! `WEIGH_SMOLLM2_GGUF` names its file.

use std::path::{Path, PathBuf};

use kernels::loss::cross_entropy;
use lm::adapter::{Lora, LoraConfig};
use lm::transformer::{Batch, Gradients, Parameters, Transformer, Workspace};
use lm::weights::Checkpoint;
use lm::{ModelSource, Precision, Use};

fn files() -> Vec<PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let small = ["llama", "qwen2", "qwen3"].map(|name| fixtures.join(format!("formats_{name}.gguf")));
    let large = std::env::var_os("WEIGH_SMOLLM2_GGUF").filter(|path| !path.is_empty()).map(PathBuf::from);
    small.into_iter().chain(large).collect()
}

fn load(path: &Path, precision: Precision, usage: Use) -> Transformer {
    let checkpoint = Checkpoint::open(&ModelSource::Gguf(path.to_path_buf())).expect("a readable file");
    Transformer::new(checkpoint.config, &*checkpoint.tensors, precision, usage).expect("a model")
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Twenty tokens in two sequences.
fn batch(transformer: &Transformer) -> Batch {
    let tokens: Vec<u32> =
        (0..20).map(|index| (index * 7 + 3) % transformer.config().vocabulary as u32).collect();
    Batch::of(&[&tokens[..7], &tokens[7..]])
}

fn logits(transformer: &Transformer) -> Vec<u32> {
    let rows: Vec<usize> = (0..20).collect();
    let states = transformer
        .hidden_states(&batch(transformer), &rows, None, None, &mut Workspace::new())
        .expect("a forward pass");
    bits(&transformer.logits(&states))
}

/// The loss and the gradients of an adapter whose B matrices are not zero.
fn gradients(transformer: &Transformer) -> Vec<Vec<u32>> {
    let mut lora = Lora::new(LoraConfig::with_rank(4), transformer.config()).expect("an adapter");
    for mut parameter in lora.parameters_mut() {
        parameter.update(|values| {
            for (index, value) in values.iter_mut().enumerate() {
                *value += (index % 7) as f32 / 100.0;
            }
        });
    }
    let mut gradients = Gradients::new(&lora);
    let vocabulary = transformer.config().vocabulary;
    let mut loss = |_: usize, logits: &mut [f32]| cross_entropy(logits, vocabulary, &[1, 2], &[0.5, 0.5]);
    transformer
        .train_step(
            &batch(transformer),
            &[5, 19],
            Some(&lora),
            &mut loss,
            &mut gradients,
            &mut Workspace::new(),
        )
        .expect("a step");
    gradients.values().iter().map(|values| bits(values)).collect()
}

#[test]
fn logits_and_gradients_have_the_bits_of_unpacked_weights() {
    for path in files() {
        for usage in [Use::Inference, Use::Frozen] {
            let [stored, plain] =
                [Precision::Stored, Precision::Bf16].map(|precision| load(&path, precision, usage));
            assert!(stored.bytes() < plain.bytes(), "{}: {} bytes", path.display(), stored.bytes());
            assert!(logits(&stored) == logits(&plain), "{}: logits, {usage:?}", path.display());
            if usage == Use::Frozen {
                assert!(gradients(&stored) == gradients(&plain), "{}: gradients", path.display());
            }
            let converted = stored.converted(Precision::Bf16, usage);
            assert!(logits(&converted) == logits(&plain), "{}: converted", path.display());
        }
    }
}
