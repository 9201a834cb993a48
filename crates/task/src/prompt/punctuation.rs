//! What stands between the parts of a prompt: separators, spacing, casing (the choices of FormatSpread, Sclar et al. 2024).

use serde::{Deserialize, Serialize};

/// Casing of labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Casing {
    /// As the data have them.
    #[default]
    AsIs,
    /// `card arrival`.
    Lower,
    /// `Card Arrival`.
    Title,
    /// `CARD ARRIVAL`.
    Upper,
}

impl Casing {
    /// `text` in this casing.
    pub fn apply(self, text: &str) -> String {
        match self {
            Self::AsIs => text.to_owned(),
            Self::Lower => text.to_lowercase(),
            Self::Upper => text.to_uppercase(),
            Self::Title => {
                let mut start = true;
                text.chars()
                    .flat_map(|character| {
                        let first = std::mem::replace(&mut start, !character.is_alphanumeric());
                        if first { character.to_uppercase().collect() } else { vec![character] }
                    })
                    .collect()
            }
        }
    }
}

/// Other marks than the usual ones of a style. What a style does not show is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Punctuation {
    /// Between a name and its content; in arrow style between input and label. White space at its end begins the answer.
    pub separator: String,
    /// Between input and answer of the plain style.
    pub joint: String,
    /// Between demonstrations, and after the instruction. Begins with what ends an answer.
    pub gap: String,
    /// What a user's turn of the chat style says, with `{}` for the input.
    pub wrapper: String,
    /// How labels are written.
    pub labels: Casing,
}

impl Punctuation {
    /// What an answer begins with: the white space at the separator's end.
    pub(super) fn lead(separator: &str) -> &str {
        &separator[separator.trim_end().len()..]
    }
}
