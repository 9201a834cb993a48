//! A model that is written as GGUF from its configuration and tokenizer.

mod embedded;

use embedded::embedded;
use lm::weights::Dtype;
use lm::{Model, ModelSource, Precision, Use};

/// Contractions, digits, spaces, line ends, other scripts, marks, special tokens.
const TEXTS: [&str; 6] = [
    "I'm sure they'll say it's 1234567, don't you?",
    "  two  spaces\n\n\ttab\r\n",
    "Unic\u{f6}de \u{c9}COLE \u{65e5}\u{672c}\u{8a9e} 12\u{ff13} \u{bd}",
    "my bicycle is broken -> repair\nwhere is it ->",
    "<|endoftext|>a<|pad|>b",
    "",
];

#[test]
fn the_embedded_model_is_itself_after_a_way_through_gguf() {
    let model = embedded(Use::Inference);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("embedded.gguf");
    model.save_gguf(&model.transformer, &path, Dtype::F16).unwrap();
    let read = Model::load(&ModelSource::Gguf(path), Precision::F32, Use::Inference).unwrap();
    assert_eq!(read.config, model.config);
    assert_eq!(read.chat_template, model.chat_template);
    // The model is stored in 16 bits, so that nothing is rounded.
    assert!(read.transformer.named_tensors() == model.transformer.named_tensors());
    let (own, other) = (&model.tokenizer, &read.tokenizer);
    assert_eq!((own.bos(), own.eos(), own.size()), (other.bos(), other.eos(), other.size()));
    for text in TEXTS {
        let ids = own.encode(text).unwrap();
        assert_eq!(other.encode(text).unwrap(), ids, "{text:?}");
        assert_eq!(other.encode_plain(text).unwrap(), own.encode_plain(text).unwrap(), "{text:?}");
        for skip_special in [false, true] {
            assert_eq!(
                other.decode(&ids, skip_special).unwrap(),
                own.decode(&ids, skip_special).unwrap(),
                "{text:?}"
            );
        }
    }
}
