//! Text to token ids and back (the `tokenizers` crate), from `tokenizer.json` or GGUF metadata.
