//! The embedded model, for tests of what a trained one does.

use lm::{Model, ModelSource, Precision, Use};

/// It, in 32 bits.
pub(crate) fn embedded(usage: Use) -> Model {
    let source = ModelSource::Memory {
        name: "embedded",
        config: include_bytes!("../../../../models/micro/config.json"),
        tokenizer: include_bytes!("../../../../models/micro/tokenizer.json"),
        weights: include_bytes!("../../../../models/micro/model.safetensors"),
    };
    Model::load(&source, Precision::F32, usage).expect("the embedded model")
}
