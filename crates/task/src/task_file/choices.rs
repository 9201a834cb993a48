//! What the keys with a fixed set of values choose from.

use serde::{Deserialize, Serialize};

/// What kind of answer the task wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// One label of a fixed set.
    #[default]
    Classify,
    /// A JSON object.
    Extract,
    /// Free text.
    Generate,
}

/// How a written answer is scored, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The same as the target: of a text after SQuAD's normalisation, of JSON field by field.
    ExactMatch,
    /// F1 over words, as SQuAD has it.
    TokenF1,
    /// F1 of the longest common subsequence of words.
    RougeL,
    /// F2 over runs of characters.
    Chrf,
    /// F1 over the fields of JSON.
    FieldF1,
    /// Whether the answer is JSON by the schema; reported, never chosen by.
    Valid,
    /// What the user's command says.
    Command,
}

impl Metric {
    /// As it stands in records: `exact_match`, `token_f1`, `rouge_l`, `chrf`, `field_f1`, `valid`, `command`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactMatch => "exact_match",
            Self::TokenF1 => "token_f1",
            Self::RougeL => "rouge_l",
            Self::Chrf => "chrf",
            Self::FieldF1 => "field_f1",
            Self::Valid => "valid",
            Self::Command => "command",
        }
    }
}

/// Numeric type of the model's frozen weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 16 bits: half the memory, faster where the processor multiplies bf16.
    #[default]
    Bf16,
    /// 32 bits.
    F32,
    /// As the file has them: weights quantised to 8 bits or fewer stay so and are widened to bf16 while they are
    /// multiplied, with the results of `Bf16` in a fraction of its memory.
    Stored,
    /// Prompting scores in 8-bit integers; training, and what is trained, stay in bf16.
    Int8,
}

/// How a prompt is laid out; the exact text is in [`crate::prompt`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptStyle {
    /// Named lines: `Input: ...` and `Output: ...`.
    #[default]
    Plain,
    /// `input -> label`, one example a line.
    Arrow,
    /// Messages, through the model's own chat template.
    Chat,
}

/// How demonstrations are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Random, balanced over the labels; the same for every request.
    Random,
    /// The training rows that resemble the request most (BM25); other ones for every request.
    Bm25,
    /// The training rows whose hidden states are nearest to the request's.
    Embedding,
    /// Rows that resemble the request, but not each other (maximal marginal relevance over BM25).
    Diverse,
    /// A random block that all requests share, and after it a few rows that resemble the request (BM25).
    Hybrid,
}

/// In which order demonstrations stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The most similar last, right before the request.
    #[default]
    Similarity,
    /// The same for all requests, so that prompts have beginnings in common.
    Fixed,
    /// In rounds over the labels, each round in the labels' order.
    Cycled,
}

/// How label scores are corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calibration {
    /// Not at all.
    None,
    /// By the scores of inputs without content (Zhao et al. 2021).
    Contextual,
    /// By the mean scores over a batch of inputs (Zhou et al. 2024).
    Batch,
}

/// Which weights are adapted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FineTuneMethod {
    /// Low-rank adapters on all linear layers.
    Lora,
    /// All weights.
    Full,
}

/// Combinations of both arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HybridMethod {
    /// None of them.
    None,
    /// An adapter trained on what the best prompt answers, asked without that prompt.
    Distilled,
    /// Every training row comes after demonstrations, and so does every request.
    FewShot,
    /// Trained keys and values before every request: the smallest artefact.
    VirtualTokens,
}

/// What the underscores of a label mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Underscores {
    /// They are read as spaces.
    #[default]
    Space,
    /// They stay.
    Keep,
}
